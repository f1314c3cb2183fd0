"""Latents and forecasts of a frozen forecaster, as inputs of linear probes."""

from collections.abc import Sequence
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
    """Latents and forecasts of a forecaster for some contexts.

    Attributes:
        latents: Latents after the last layer of the encoder, oldest first, float32 [window, latent, width].
        log_rate: Natural log of mean expected counts per bin in groups of horizon bins, float32 [window, group, encoded
            unit].
        age_bins: Age of each latent's place on the time grid at the end of the context, in bins, [latent].
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
    groups: Sequence[Sequence[int]],
    encoded_units: np.ndarray | None = None,
) -> FrozenFeatures:
    """Pass contexts through a forecaster without changing it.

    Args:
        forecaster: A trained forecaster with an encoder.
        session: Reference features and spikes of the session, without behaviour.
        part: Valid time that contexts may read.
        origin_us: Ends of the contexts, int64 [window]; at least one.
        shape: Lengths with which the forecaster was trained.
        groups: Bins of the horizon in each group, over which expected counts are averaged; empty for latents only,
            which is faster.
        encoded_units: True for units that are encoded and forecast, [unit]; None: all.

    Raises:
        ValueError: The network has no encoder.
    """
    if not isinstance(forecaster, Forecaster):
        raise ValueError("this network has no encoder, so there are no latents; use one with model.population: true")
    forecaster.eval()
    session = replace(session, part=part)
    encoded_units = np.ones(session.spikes.n_units, bool) if encoded_units is None else encoded_units
    head = np.flatnonzero(encoded_units)
    latents, log_rate = [], []
    with torch.inference_mode():
        for first in range(0, len(origin_us), WINDOWS_PER_BATCH):
            origins = origin_us[first : first + WINDOWS_PER_BATCH]
            block = session_block(session, origins, shape, encoded_units=encoded_units, head=head)
            x = Tensors.of(collate([block]))
            encoded = forecaster.encode(x)
            latents.append(encoded.latents[0].numpy())
            if groups:
                forecast = forecaster.decode(encoded, x).log_rate[0]
                means = [forecast[:, list(bins)].logsumexp(dim=1) - np.log(len(bins)) for bins in groups]
                log_rate.append(torch.stack(means, dim=1).numpy())
    nothing = np.zeros((len(origin_us), 0, head.size), np.float32)
    return FrozenFeatures(
        latents=np.concatenate(latents),
        log_rate=np.concatenate(log_rate) if groups else nothing,
        age_bins=forecaster.encoder.grid_age_bins.numpy(),
    )
