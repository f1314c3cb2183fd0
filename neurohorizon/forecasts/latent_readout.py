"""Forecasts of a network whose latent readout is fitted on the reference window of the session, in closed form."""

from pathlib import Path

import numpy as np
import torch

from neurohorizon.config import Timeline
from neurohorizon.forecasts.forecast import forecast_windows, heldout_windows
from neurohorizon.forecasts.held_out import forecast_session
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.inputs.windows import Windows, WindowShape
from neurohorizon.methods import LATENT_READOUT, ZERO_SHOT
from neurohorizon.models.latent_readout import Population, recent_counts
from neurohorizon.models.latent_readout_training import load_latent_readout, reference_windows
from neurohorizon.models.weights import load_forecaster


def forecast_with_latent_readout(
    *,
    weights: Path,
    readout: Path,
    paths: SessionPaths,
    fold: str,
    seed: int,
    timeline: Timeline,
    code: str,
    output: Path,
) -> None:
    """Write the forecasts of one held-out session by a network and its latent readout.

    Args:
        weights: The network; its card is next to it.
        readout: The latent readout; its card is next to it.

    Raises:
        ValueError: The session is one that the network was trained on, its features are not the network's, or the
            readout was trained with another network.
    """
    network, card = load_forecaster(weights)
    held_out = heldout_windows(weights, card, paths, timeline)
    shape = WindowShape.of(timeline, card.model)
    latent = load_latent_readout(readout, weights, card)

    def by(windows: Windows, inputs: SessionInputs) -> np.ndarray:
        log_rate = forecast_windows(network, inputs, windows.origin_us, shape)
        with torch.no_grad():
            reference = reference_windows(network.cpu(), inputs, paths.features, "test", shape, latent.settings)
            population = Population.of(network, inputs, n_modes=card.model.readout.modes)
            recent = recent_counts(inputs, windows.origin_us, shape)
            first = 0
            for gain in latent.gains(population, reference, recent):
                units = slice(first, first + gain.shape[2])
                log_rate[..., units] += gain[:, network.head.group].numpy()
                first = units.stop
        return log_rate

    names = {"method_class": ZERO_SHOT, "fold": fold, "seed": seed, "code": code}
    forecast_session(held_out, by, output, timeline, method=LATENT_READOUT, **names)
