"""A tiny network with drawn weights, and units in the form in which a user holds them."""

from pathlib import Path

import numpy as np
import torch

from factories.cards import made_card
from factories.sessions import made_session, small_config
from neurohorizon.models.weights import save_forecaster
from neurohorizon.session import Session

CONFIG = small_config()
DURATION_S = 80.0


def saved_network(folder: Path, *, std: float = 0.2, **changes: object) -> Path:
    """Save a network whose forecasts differ from the reference mean, and return the path of its weights."""
    torch.manual_seed(0)
    card = made_card(CONFIG, **changes)
    forecaster = card.build()
    for part in (forecaster.head.rate_weights, forecaster.head.readout_weights):
        torch.nn.init.normal_(part.weight, std=std)
    path = folder / "model.safetensors"
    save_forecaster(path, forecaster, card)
    return path


def session(*, n_units: int = 5) -> Session:
    """Return a session of 80 s."""
    return made_session("made", CONFIG.splits, n_units=n_units, duration_s=DURATION_S, seed=3)


def units_of(made: Session) -> dict[int, np.ndarray]:
    """Return the spike times of each unit in seconds, by whole numbers as ids."""
    times_s = made.spike_times_us / 1e6
    return {unit: times_s[made.spike_unit == unit] for unit in range(made.n_units)}
