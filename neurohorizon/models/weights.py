"""Weights on disk: safetensors and a JSON card beside them, loaded without pickle."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from safetensors.torch import load_file, save_file

from neurohorizon.config import Model, Training
from neurohorizon.files import replacing
from neurohorizon.modalities.tokens import ModalityLayout
from neurohorizon.models.forecaster import Forecaster


@dataclass(frozen=True)
class Card:
    """What a network is, what it was trained on and how it did.

    Attributes:
        method: Its name in tables, such as ``neurohorizon``.
        model: Its section of the configuration.
        feature_groups: Groups of reference features that it reads.
        features: Names of the reference features that it reads, in order.
        bin_ms: Bin width.
        context_bins: Bins of context.
        horizon_bins: Bins of the horizon.
        fold: Fold whose held-out sessions it never saw.
        sessions: Sessions that it was trained on.
        code: Fingerprint of the code that trained it.
        scores: Validation score, steps and seed, filled in by training.
        training: Settings of its training; None for one that was not trained by this package.
        trained_on: How much it was trained on: animals, labs (of each, its sessions), units, and recorded_s and spikes
            of the training parts.
        modalities: Sizes of behaviour and images that it reads beside the spikes; None for spikes alone.
        encoder: Image encoder that it was trained with, "" for none.
        image_space: Identity of the image space that it was trained with, "" for none.
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

    def build(self, *, dropout: float = 0.0, feature_noise: float = 0.0) -> Forecaster:
        """Make the untrained network."""
        return Forecaster(
            model=self.model,
            n_features=len(self.features),
            horizon_bins=self.horizon_bins,
            dropout=dropout,
            feature_noise=feature_noise,
            modalities=self.modalities,
        )

    def scored(self, **scores: float) -> "Card":
        """Return the card with the scores of a training."""
        return replace(self, scores=scores)


def save_forecaster(path: Path, forecaster: Forecaster, card: Card) -> None:
    """Write weights and card, each whole or not at all; the weights come last."""
    values = asdict(card) | {
        "model": card.model.model_dump(mode="json"),
        "training": card.training and card.training.model_dump(mode="json"),
    }
    with replacing(card_path(path)) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
    with replacing(path) as temporary:
        save_file(forecaster.state_dict(), temporary)


def load_forecaster(path: Path) -> tuple[Forecaster, Card]:
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
    """Return the path of the card beside a weights file."""
    return weights.with_suffix(".json")
