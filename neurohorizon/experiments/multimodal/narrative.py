"""Sentences on the multimodal experiment, each decided by the numbers, whatever their direction."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import read_tables
from neurohorizon.analysis.wording import (
    adjusted_p_text,
    bullets,
    few_animals,
    interval_text,
    paragraphs,
    prose,
    verdict,
)
from neurohorizon.experiments.multimodal.tables import REGION_GROUPS, SPIKES, cell_name, shown_encoder
from neurohorizon.printed_names import counted, in_sentence

_NAMES = {
    "spikes": "spikes only",
    "behaviour": "behaviour",
    "image": "the images seen so far",
    "image_ahead": "the images known ahead",
    "both": "behaviour and the images seen so far",
    "behaviour_shifted": "behaviour of another time",
    "image_shuffled": "images in shuffled order",
    "image_ahead_shuffled": "images known ahead in shuffled order",
    "psth": "the other repeats of the movie",
    "oracle": "the true rates",
}
_ENCODERS = {"dinov2": "DINOv2", "imagenet": "the ImageNet network", "pixels": "pixels"}
_FORGOTTEN = 0.1


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    table = read_tables(folder, "gain", "regions", "encoders", "psth")
    gain = table["gain"]
    ahead = _row(gain, "image_ahead", region="visual", stimulus="all")
    return paragraphs(
        prose(
            f"Images known ahead gain {_gain(ahead)[:-1]} in visual regions." if ahead is not None else "",
            "Gains are relative to the forecasts of the same network from spikes only.",
            describe_run(gain, table["encoders"]),
        ),
        prose(_without_bullets(describe_images(gain)), describe_regions(table["regions"])),
        prose(describe_ceiling(gain), describe_encoders(gain), describe_psth(table["psth"])),
        f"Behaviour: {_without_bullets(describe_behaviour(gain))}",
    )


def _without_bullets(lines: str) -> str:
    """A list as running text."""
    return " ".join(line.removeprefix("- ") for line in lines.splitlines())


def describe_run(gain: pd.DataFrame, encoders: pd.DataFrame) -> str:
    """Amount of data, and image encoder."""
    parts = []
    for source, rows in gain.groupby("source", sort=True):
        sessions, animals = rows["sessions"].max(), rows["animals"].max()
        parts.append(f"{counted(sessions, 'session')} of {counted(animals, 'animal')} of source {source}")
    return prose(
        f"{' and '.join(parts)} were forecast.", *encoders["note"].unique(), few_animals(int(gain["animals"].max()))
    )


def describe_images(gain: pd.DataFrame) -> str:
    """Gain from images in visual regions, elsewhere, in parts of the movie never trained on, and shuffled."""
    cells = [
        ("image", "visual", "all", "In visual regions"),
        ("image_ahead", "visual", "all", "In visual regions"),
        (
            "image_ahead",
            "visual",
            "movie_heldout",
            "In seconds of the movie that nothing was fitted on, visual regions",
        ),
        ("image", "visual", "movie_heldout", "In the same seconds"),
        ("image_ahead", "non-visual", "all", "In other regions"),
        ("image_shuffled", "visual", "all", "Control, visual regions"),
        ("image_ahead_shuffled", "visual", "all", "Control, visual regions"),
    ]
    lines = []
    for condition, region, stimulus, words in cells:
        row = _row(gain, condition, region=region, stimulus=stimulus)
        if row is not None:
            lines.append(f"{words}, with {_NAMES[condition]}: {_gain(row)}")
    return bullets(lines, "No session of this run shows images with embeddings.")


def describe_ceiling(gain: pd.DataFrame) -> str:
    """Shares of the gain of the true rates, if they are available, and the row of other repeats."""
    sentences = []
    for condition in ("image", "image_ahead", "both"):
        row = _row(gain, condition, region="visual", stimulus="all")
        if row is not None and np.isfinite(row["gain_share_of_oracle"]):
            sentences.append(
                f"With {_NAMES[condition]}, forecasts reach {row['gain_share_of_oracle']:.0%} of the gain of the true "
                f"rates relative to spikes only in visual regions, and {row['share_of_oracle']:.0%} of their score."
            )
    repeats, ahead = (_row(gain, name, region="visual", stimulus="movies") for name in ("psth", "image_ahead"))
    if repeats is not None and ahead is not None:
        order = "more" if ahead["gain"] > repeats["gain"] else "less"
        sentences.append(
            f"In visual regions during movies {_NAMES['image_ahead']} gain {ahead['gain']:+.3f} bits/spike, "
            f"{order} than with all other repeats of the movie in the same session ({repeats['gain']:+.3f})."
        )
    return prose(*sentences) or "There is no ceiling: the true rates are not available."


def describe_encoders(gain: pd.DataFrame) -> str:
    """Encoders from best to worst, by the gain from images known ahead in visual regions."""
    rows = gain[(gain["condition"] == "image_ahead") & (gain["region"] == "visual") & (gain["stimulus"] == "all")]
    if rows.empty:
        return "No image encoder was used."
    rows = rows.sort_values("gain", ascending=False, kind="stable")
    best = [f"{_ENCODERS[row.encoder]} ({row.gain:+.3f})" for row in rows.itertuples()]
    text = f"With images known ahead, visual regions gain, in bits/spike: {', '.join(best)}."
    out = gain[(gain["condition"] == "image_ahead") & (gain["region"] == "visual")]
    out = out[out["stimulus"] == "movie_heldout"].set_index("encoder")["gain"]
    if len(out):
        found = ", ".join(f"{_ENCODERS[name]} ({value:+.3f})" for name, value in out.items())
        text += f" In the held-out seconds: {found}."
    return text


def describe_declared(comparisons: pd.DataFrame) -> str:
    """The declared comparisons as a list."""
    lines = []
    for row in comparisons.to_dict("records"):
        first, second = (
            cell_name({name: row[f"{side}{name}"] for name in ("condition", "encoder", "region", "stimulus")})
            for side in ("", "against_")
        )
        lines.append(
            f"{row['source']}: {first} minus {second}: {row['difference']:+.4f} bits/spike ({interval_text(row)}), "
            f"better in {row['sessions_better']} of {counted(row['sessions'], 'session')}{adjusted_p_text(row)}."
        )
    return bullets(lines, "No declared comparison can be made in this run.")


def describe_behaviour(gain: pd.DataFrame) -> str:
    """Gain from behaviour, by source, next to its control."""
    lines = []
    for source in sorted(gain["source"].unique()):
        rows = gain[gain["source"] == source]
        behaviour, shifted = (_row(rows, name) for name in ("behaviour", "behaviour_shifted"))
        if behaviour is None:
            continue
        line = f"Source {source}, all units: {_gain(behaviour)}"
        if shifted is not None:
            line += f" Shifted in time: {shifted['gain']:+.4f} ({interval_text(shifted)})."
        lines.append(line)
    return bullets(lines, "No session of this run has behaviour.")


def describe_control(autocorrelation: pd.DataFrame) -> str:
    """Whether the control's shift is longer than the autocorrelation of behaviour."""
    if autocorrelation.empty:
        return "No forecast session has behaviour."
    shift_s = autocorrelation["shift_s"].iloc[0]
    still = autocorrelation[~(autocorrelation["at_shift"] < _FORGOTTEN)]
    mean = autocorrelation["at_shift"].mean()
    text = (
        f"Behaviour is shifted by {shift_s:g} s. Its autocorrelation there is {mean:.2f}, "
        f"the mean of {len(autocorrelation)} series of sessions"
    )
    if len(still):
        return (
            f"{text}; in {len(still)} it is not below {_FORGOTTEN:g}, so that the control keeps **some information** "
            "that it should not have."
        )
    return f"{text}, below {_FORGOTTEN:g} in each."


def describe_regions(regions: pd.DataFrame) -> str:
    """Regions in which the interval of images known ahead lies above zero, and the others."""
    rows = regions[(regions["condition"] == "image_ahead") & (regions["stimulus"] == "all")]
    rows = rows[~rows["region"].isin(REGION_GROUPS) & (rows["encoder"] == shown_encoder(regions))]
    if rows.empty or rows["lower"].isna().all():
        return "There are no intervals by region."
    above, rest = rows[rows["lower"] > 0], rows[~(rows["lower"] > 0)]
    text = f"With images known ahead the interval lies above zero in {_listed(above['region'])}"
    return f"{text}, and does not in {_listed(rest['region'])}." if len(rest) else f"{text}."


def describe_psth(psth: pd.DataFrame) -> str:
    """R2 of forecasts and the shared response to a movie, against the same and against other repeats."""
    rows = psth[(psth["region"] == "visual") & (psth["stimulus"] == "movies") & (psth["first_ms"] == 0)]
    rows = rows[rows["last_ms"] == psth["last_ms"].max()] if len(rows) else rows
    if rows.empty:
        return "No session of this run repeats a movie."
    first = shown_encoder(psth)
    sentences = []
    for name in (SPIKES, "image", "image_ahead", "psth", "oracle"):
        of = rows[(rows["condition"] == name) & rows["encoder"].isin(["", first])].set_index("against")["r2"]
        if len(of):
            other = f", {of['other']:+.2f} against other repeats" if "other" in of else ""
            sentences.append(f"{_NAMES[name]}: {of['same']:+.2f}{other}")
    return f"PSTH R2 in visual regions, over the whole horizon: {'; '.join(sentences)}."


def _row(gain: pd.DataFrame, condition: str, *, region: str = "all", stimulus: str = "all") -> pd.Series | None:
    rows = gain[gain["encoder"].isin(["", shown_encoder(gain)]) & (gain["condition"] == condition)]
    rows = rows[(rows["region"] == region) & (rows["stimulus"] == stimulus)]
    return rows.iloc[0] if len(rows) else None


def _gain(row: pd.Series) -> str:
    return f"**{row['gain']:+.4f}** bits/spike ({interval_text(row)}), {verdict(row, 'spikes only')}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(in_sentence, names)) if len(names) else "none"
