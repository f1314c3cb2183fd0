"""What a frozen forecaster makes of a context, for linear probes: latents, and forecasts of every unit."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from neurohorizon.inputs.batches import SessionInputs, collate, session_block
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.timeline import Intervals

WINDOWS_PER_BATCH = 64


@dataclass(frozen=True)
class FrozenFeatures:
    """What a forecaster makes of contexts.

    Attributes:
        latents: Latents after the last layer of the encoder, oldest first, float32 [window, latent, width].
        log_rate: Natural log of expected counts in some bins of the horizon, float32 [window, bin, heard unit].
        age_bins: Age at the end of the context of the time that a latent stands for, in bins, [latent].
    """

    latents: np.ndarray
    log_rate: np.ndarray
    age_bins: np.ndarray


def frozen_features(
    forecaster: Forecaster,
    session: SessionInputs,
    part: Intervals,
    origin_us: np.ndarray,
    shape: WindowShape,
    *,
    bins: tuple[int, ...],
    heard: np.ndarray | None = None,
) -> FrozenFeatures:
    """Pass contexts through a forecaster that stays as it is.

    Args:
        forecaster: A trained forecaster with an encoder.
        session: What it may know of the session: its reference features and its spikes, no behaviour.
        part: Valid time that contexts may read.
        origin_us: Ends of the contexts, int64 [window]; at least one.
        shape: Lengths that the forecaster was trained with.
        bins: Bins of the horizon whose forecasts are given; none where latents alone are wanted, which is quicker.
        heard: Whether a unit is heard and forecast, [unit]; None: all are.

    Raises:
        ValueError: The network has no encoder.
    """
    if not forecaster.population:
        raise ValueError("this network has no encoder, so there are no latents; use one with model.population: true")
    forecaster.eval()
    session = replace(session, part=part)
    heard = np.ones(session.spikes.n_units, bool) if heard is None else heard
    head = np.flatnonzero(heard)
    latents, log_rate = [], []
    with torch.inference_mode():
        for first in range(0, len(origin_us), WINDOWS_PER_BATCH):
            origins = origin_us[first : first + WINDOWS_PER_BATCH]
            block = session_block(session, origins, shape, heard=heard, head=head)
            x = Tensors.of(collate([block]))
            encoded = forecaster.encode(x)
            latents.append(encoded.latents[0].numpy())
            if bins:
                log_rate.append(forecaster.decode(encoded, x).log_rate[0][:, list(bins)].numpy())
    nothing = np.zeros((len(origin_us), 0, head.size), np.float32)
    return FrozenFeatures(
        latents=np.concatenate(latents),
        log_rate=np.concatenate(log_rate) if bins else nothing,
        age_bins=forecaster.encoder.grid_age_bins.numpy(),
    )
