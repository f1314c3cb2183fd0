"""Weights on disk: a safetensors file with a JSON card next to it, loaded without pickle."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from neurohorizon.config import Model, Training
from neurohorizon.files import replacing
from neurohorizon.modalities.tokens import ModalityLayout
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.multimodal import MultimodalForecaster
from neurohorizon.models.own_history import OwnHistoryForecaster


@dataclass(frozen=True)
class Card:
    """Description of a network: its parts, its training data and its scores.

    Attributes:
        method: Its name in tables, such as ``neurohorizon``.
        model: Its section of the configuration.
        feature_groups: Groups of its reference features.
        features: Names of its reference features, in order.
        bin_ms: Bin width.
        context_bins: Bins of context.
        horizon_bins: Bins of the horizon.
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
    """

    method: str
    model: Model
    feature_groups: tuple[str, ...]
    features: tuple[str, ...]
    bin_ms: int
    context_bins: int
    horizon_bins: int
    fold: str
    sessions: tuple[str, ...]
    code: str
    scores: dict[str, float]
    training: Training | None = None
    trained_on: dict[str, int | float | dict[str, int]] = field(default_factory=dict)
    modalities: ModalityLayout | None = None
    encoder: str = ""
    image_space: str = ""

    def build(self, *, dropout: float = 0.0, feature_noise: float = 0.0) -> Forecaster | OwnHistoryForecaster:
        """Build the untrained network."""
        sizes = {
            "model": self.model,
            "n_features": len(self.features),
            "horizon_bins": self.horizon_bins,
            "feature_noise": feature_noise,
        }
        if not self.model.population:
            return OwnHistoryForecaster(**sizes)
        sizes |= {"context_bins": self.context_bins, "dropout": dropout}
        if self.modalities is None:
            return Forecaster(**sizes)
        return MultimodalForecaster(**sizes, modalities=self.modalities)

    def scored(self, **scores: float) -> "Card":
        """Return the card with the scores of a training."""
        return replace(self, scores=scores)


def save_forecaster(path: Path, forecaster: nn.Module, card: Card) -> None:
    """Write the card, then the weights; each file is complete or absent."""
    values = asdict(card) | {
        "model": card.model.model_dump(mode="json"),
        "training": card.training and card.training.model_dump(mode="json"),
    }
    with replacing(card_path(path)) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
    with replacing(path) as temporary:
        save_file(forecaster.state_dict(), temporary)


def load_forecaster(path: Path) -> tuple[Forecaster | OwnHistoryForecaster, Card]:
    """Read a network for forecasting."""
    values = json.loads(card_path(path).read_text())
    model = Model.model_validate_json(json.dumps(values.pop("model")))
    if training := values["training"]:
        values["training"] = Training.model_validate_json(json.dumps(training))
    values |= {"features": tuple(values["features"]), "sessions": tuple(values["sessions"])}
    values["feature_groups"] = tuple(values["feature_groups"])
    if sizes := values["modalities"]:
        values["modalities"] = ModalityLayout(**sizes | {"behaviour": tuple(sizes["behaviour"])})
    card = Card(model=model, **values)
    forecaster = card.build()
    forecaster.load_state_dict(load_file(path))
    return forecaster.eval(), card


def card_path(weights: Path) -> Path:
    """Return the path of the card of a weights file."""
    return weights.with_suffix(".json")
