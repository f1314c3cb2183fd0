"""Cards of networks that were not trained."""

from typing import Any

from neurohorizon.config import Config
from neurohorizon.models.weights import Card
from neurohorizon.units.reference import feature_names


def made_card(config: Config, **changes: Any) -> Card:
    """Return the card of a network with the settings of a configuration; fields are replaced as given."""
    features = changes.get("features", config.features)
    values = {
        "method": "neurohorizon",
        "model": config.model,
        "features": features,
        "feature_names": tuple(name for group in feature_names(features).values() for name in group),
        "timeline": config.timeline,
        "population_readout": True,
        "fold": "main",
        "sessions": ("another",),
        "code": "c0de",
        "scores": {},
    }
    return Card(**values | changes)
