"""A network as a folder for the Hugging Face hub: weights, card, and a model card with metadata.

Metadata: https://huggingface.co/docs/hub/model-cards
"""

import math
import re
import shutil
from pathlib import Path

import yaml
from torch import nn

from neurohorizon.files import file_hash, replacing_folder
from neurohorizon.forecasts.release import About
from neurohorizon.models.weights import HUB_CARD, Card, WeightsError, card_path, save_forecaster
from neurohorizon.printed_names import in_sentence
from neurohorizon.recordings.export import new_folder

WEIGHTS = "model.safetensors"
LICENCE = "mit"
"""Licence of the project, and so of the weights; the recordings have their own terms of use."""
_TAGS = ("neuroscience", "spike-trains", "neural-population", "zero-shot", "safetensors")


def write_hub_folder(
    folder: str | Path, *, forecaster: nn.Module, card: Card, about: About | None, path: Path | None
) -> None:
    """Write the folder of a network or of a release, complete or not at all; see :meth:`Network.to_hugging_face`.

    Args:
        folder: The folder, which does not exist.
        forecaster: The network.
        card: Its card.
        about: Description of the release; None for a network of a run.
        path: File of the release's tensors, which are copied with their card.
    """
    folder = new_folder(folder)
    with replacing_folder(folder) as made:
        if about and path:
            shutil.copyfile(path, made / WEIGHTS)
            shutil.copyfile(card_path(path), made / HUB_CARD)
        else:
            save_forecaster(made / WEIGHTS, forecaster, card)
            card_path(made / WEIGHTS).rename(made / HUB_CARD)
        sha256 = file_hash(made / WEIGHTS, "sha256")
        if about and path and sha256 != about.sha256:
            raise WeightsError(f"{path} was changed since it was read: its SHA-256 is {sha256}; load it again")
        text = model_card(folder.name, card=card, about=about, sha256=sha256)
        (made / "README.md").write_text(text, encoding="utf-8")


def model_card(name: str, *, card: Card, about: About | None, sha256: str) -> str:
    """Return the text of a model card: metadata as YAML between two lines of dashes, then Markdown.

    Args:
        name: Name of the model.
        card: Card of the network.
        about: Description of the release; None for a network of a run.
        sha256: SHA-256 of the weights.
    """
    metadata = {
        "license": LICENCE,
        "library_name": "neurohorizon",
        "pipeline_tag": "time-series-forecasting",
        "tags": [*_TAGS, *(_slug(one) for one in (about.species if about else ()))],
        "datasets": [_slug(one["name"]) for one in about.data] if about else [],
        "metrics": ["bits_per_spike"],
    }
    front = yaml.safe_dump({key: value for key, value in metadata.items() if value}, sort_keys=False)
    timeline = card.timeline
    context_ms, horizon_ms = (bins * timeline.bin_ms for bins in (timeline.context_bins, timeline.horizon_bins))
    lines = [
        f"# {in_sentence(about.name if about else name)}",
        "",
        f"{in_sentence(about.summary).rstrip('.')}."
        if about
        else f"A network of a run of NeuroHorizon, fold {in_sentence(card.fold)}.",
        "",
        f"It forecasts spike counts of all units of a recording that it was never trained on, from {context_ms} ms of "
        f"context up to {horizon_ms} ms ahead, in bins of {timeline.bin_ms} ms. A reference window of the recording "
        "describes its units; there is no training step.",
        "",
        "```python",
        "import neurohorizon as nh",
        "from huggingface_hub import snapshot_download",
        "",
        f'network = nh.load(snapshot_download("OWNER/{_slug(name)}"))',
        'recording = network.fit_reference("recording.nwb", reference=0.5)',
        "forecast = recording.forecast(at=recording.origins(every=1.0))",
        "```",
        "",
        "## Training data",
        "",
        *(_of_release(about) if about else _of_run(card)),
        "",
        "## Files",
        "",
        f"- `{WEIGHTS}`: tensors, SHA-256 `{sha256}`",
        f"- `{HUB_CARD}`: settings, reference features and training data, which `neurohorizon.load` reads",
        "",
        f"Fingerprint of the code that trained it: `{card.code or 'unknown'}`.",
    ]
    return "\n".join(["---", front.rstrip(), "---", "", *lines, ""])


def _of_release(about: About) -> list[str]:
    lines = [f"{in_sentence(', '.join(about.species))}; {about.preparation}; version {in_sentence(about.version)}.", ""]
    lines += ["| data | recordings | animals | terms of use | citation |", "|---|---|---|---|---|"]
    for one in about.data:
        values = (one[key] for key in ("name", "recordings", "animals", "licence", "citation"))
        lines.append(f"| {' | '.join(map(in_sentence, values))} |")
    lines += ["", "## Scores", "", "Bits per spike, with the interval, on recordings that were held out.", ""]
    lines += ["| method | bits per spike | interval | sessions | relative to | held out |", "|---|---|---|---|---|---|"]
    for one in about.scores:
        numbers = (f"{one['bits_per_spike']:.3f}", f"{_number(one['low'])} to {_number(one['high'])}")
        row = (one["method"], *numbers, one["sessions"], one["null"], one["heldout"])
        lines.append(f"| {' | '.join(map(in_sentence, row))} |")
    return lines


def _of_run(card: Card) -> list[str]:
    lines = [f"{len(card.sessions)} sessions: {', '.join(map(in_sentence, card.sessions))}."]
    if card.scores:
        shown = ", ".join(f"{in_sentence(name)} {value:g}" for name, value in card.scores.items())
        lines += ["", "## Scores", "", f"In training: {shown}."]
    return lines


def _number(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:.3f}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"
