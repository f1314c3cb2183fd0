"""Weights on disk: a safetensors file with a JSON card next to it, loaded without pickle.

The two files contain all that a forecast of a new recording needs; no configuration of the run is read.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from neurohorizon.config import Features, Model, Section, Timeline, Training
from neurohorizon.files import replacing
from neurohorizon.modalities.tokens import ModalityLayout
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.multimodal import MultimodalForecaster
from neurohorizon.models.own_history import OwnHistoryForecaster

_SECTIONS: dict[str, type[Section]] = {"model": Model, "features": Features, "timeline": Timeline, "training": Training}
_TUPLES = ("feature_names", "sessions", "subjects")
_ADDED: dict[str, Any] = {"subjects": (), "started_from": None}
"""Keys that older cards lack, and their values there."""
_ADDED_TO_TRAINING: dict[str, Any] = {"start_from": None, "nodes": 1}
HUB_CARD = "config.json"
"""Name of the card in a folder for the Hugging Face hub, which counts the downloads of this file."""


class WeightsError(ValueError):
    """Weights that cannot be loaded; the message gives what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Card:
    """Description of a network: its parts, its training data and its scores.

    Attributes:
        method: Its name in tables, such as ``neurohorizon``.
        model: Its section of the configuration.
        features: Groups of its reference features, and their settings.
        feature_names: Names of its reference features, in order.
        timeline: Its bins, its context and its horizon, and the distance between forecast origins in evaluations.
        population_readout: True if it reads the population readout, False if it receives one of zeros.
        fold: Fold whose held-out sessions were not in its training data.
        sessions: Its training sessions.
        code: Fingerprint of the code that trained it.
        scores: Validation score, steps and seed, filled in by training.
        training: Settings of its training; None for a network that this package did not train.
        trained_on: Amount of training data: animals, labs (sessions of each), units, and recorded_s and spikes of the
            training parts.
        modalities: Sizes of its behaviour and images; None for a network that reads spikes only.
        encoder: Image encoder of its training, "" for none.
        image_space: Identity of the image space of its training, "" for none.
        subjects: Animals of its training sessions; empty on older cards.
        started_from: Weights that its training started from: their ``name``, and the ``sha256`` of their file. None if
            it started from random weights.
    """

    method: str
    model: Model
    features: Features
    feature_names: tuple[str, ...]
    timeline: Timeline
    population_readout: bool
    fold: str
    sessions: tuple[str, ...]
    code: str
    scores: dict[str, float]
    training: Training | None = None
    trained_on: dict[str, int | float | dict[str, int]] = field(default_factory=dict)
    modalities: ModalityLayout | None = None
    encoder: str = ""
    image_space: str = ""
    subjects: tuple[str, ...] = ()
    started_from: dict[str, str] | None = None

    def build(self, *, dropout: float = 0.0, feature_noise: float = 0.0) -> Forecaster | OwnHistoryForecaster:
        """Build the untrained network."""
        sizes: dict[str, Any] = {
            "model": self.model,
            "n_features": len(self.feature_names),
            "horizon_bins": self.timeline.horizon_bins,
            "feature_noise": feature_noise,
        }
        if not self.model.population:
            return OwnHistoryForecaster(**sizes)
        sizes |= {"context_bins": self.timeline.context_bins, "dropout": dropout}
        if self.modalities is None:
            return Forecaster(**sizes)
        return MultimodalForecaster(**sizes, modalities=self.modalities)

    def scored(self, **scores: float) -> "Card":
        """Return the card with the scores of a training."""
        return replace(self, scores=scores)


def save_forecaster(path: str | Path, forecaster: nn.Module, card: Card) -> None:
    """Write the card, then the weights; each file is complete or absent."""
    with replacing(card_path(Path(path))) as temporary:
        temporary.write_text(json.dumps(card_values(card), indent=2) + "\n")
    with replacing(path) as temporary:
        save_file(forecaster.state_dict(), temporary)


def load_forecaster(path: str | Path) -> tuple[Forecaster | OwnHistoryForecaster, Card]:
    """Read a network for forecasting.

    Args:
        path: The weights; their card is next to them.

    Raises:
        FileNotFoundError: The weights or their card are missing.
        WeightsError: The card is of another version of the package, or of other weights.
    """
    path = Path(path)
    for one, what in ((path, "weights"), (card_path(path), "card of these weights")):
        if not one.is_file():
            raise FileNotFoundError(
                f"{one}: no such file, expected the {what}; a network is two files in one folder, such as "
                "model.safetensors and model.json"
            )
    card = read_card(card_path(path))
    return build_network(card, read_tensors(path), path), card


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file.

    Raises:
        WeightsError: The file is damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _misfit(path, error) from None


def build_network(card: Card, tensors: Mapping[str, Tensor], path: Path) -> Forecaster | OwnHistoryForecaster:
    """Build the network of a card with its tensors.

    Args:
        path: The file of the tensors, for errors.

    Raises:
        WeightsError: The tensors are of another network.
    """
    forecaster = card.build()
    try:
        forecaster.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise _misfit(path, error) from None
    return forecaster.eval()


def _misfit(path: Path, error: Exception) -> WeightsError:
    first = str(error).strip().split("\n")[-1].strip()
    return WeightsError(f"{path} does not fit its card, or is damaged ({first}); copy both files again")


def read_card(path: str | Path) -> Card:
    """Read a card.

    Raises:
        WeightsError: The file is no card, or the card of another version of the package.
    """
    try:
        values = json.loads(Path(path).read_text())
    except ValueError as error:
        raise WeightsError(f"{path} is no card of weights: it is not JSON ({error}); copy both files again") from None
    return card_of(values, path)


def card_values(card: Card) -> dict[str, Any]:
    """Return a card as values of JSON."""
    sections = {name: getattr(card, name) for name in _SECTIONS}
    return asdict(card) | {name: one and one.model_dump(mode="json") for name, one in sections.items()}


def card_of(values: Any, path: str | Path) -> Card:
    """Return the card of values of JSON, as :func:`card_values` returns them.

    Args:
        path: The file that holds them, for errors.

    Raises:
        WeightsError: The values are no card, or the card of another version of the package.
    """
    if isinstance(values, dict):
        values = _ADDED | values
        if isinstance(values.get("training"), dict):
            values["training"] = _ADDED_TO_TRAINING | values["training"]
    expected, found = {one.name for one in fields(Card)}, set(values) if isinstance(values, dict) else set()
    if found != expected:
        raise WeightsError(
            f"{path} is no card of this version of neurohorizon: it lacks {sorted(expected - found)}"
            + (f" and has {sorted(found - expected)}" if found - expected else "")
            + "; train the network again, or install the version that wrote it"
        )
    try:
        for name, section in _SECTIONS.items():
            if values[name] is not None:
                values[name] = section.model_validate_json(json.dumps(values[name]))
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, (name, *fault["loc"])))
        raise WeightsError(
            f"{path} is no card of this version of neurohorizon: {key}: {fault['msg']}; "
            "train the network again, or install the version that wrote it"
        ) from None
    values |= {name: tuple(values[name]) for name in _TUPLES}
    if sizes := values["modalities"]:
        values["modalities"] = ModalityLayout(**sizes | {"behaviour": tuple(sizes["behaviour"])})
    return Card(**values)


def card_path(weights: Path) -> Path:
    """Return the path of the card of a weights file; in a folder for the Hugging Face hub it is ``config.json``."""
    card, of_hub = weights.with_suffix(".json"), weights.with_name(HUB_CARD)
    return of_hub if of_hub.is_file() and not card.is_file() else card
