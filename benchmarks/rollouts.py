"""Sample paths with cached keys and values of earlier bins, and with the full horizon decoded again at every step."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.side_by_side import Pair, compare
from neurohorizon.config import Rollout
from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import FedBackCounts
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.likelihoods import CountDistribution
from neurohorizon.models.rollout import Paths, draw_in_steps, sample_paths

AIMS = {"autoregressive": 5, "blockwise": None, "coarse_to_fine": None}
"""Rollout modes with fed-back draws, and the intended ratio."""


class RecomputedDecoding:
    """The stepwise decoder of ``models.decoder_cache`` without a cache: each step decodes the full horizon."""

    def __init__(self, forecaster: Forecaster, x: Tensors, paths: int) -> None:
        self.forecaster = forecaster
        self.shape = (*x.history.shape[:2], paths)
        # each path is a window
        names = ("history", "history_bins", "readout", "modality_gain")
        self.x = replace(x, **{name: getattr(x, name).repeat_interleave(paths, dim=1) for name in names})
        encoded = forecaster.encode(x)
        self.encoded = replace(
            encoded,
            state=encoded.state.repeat_interleave(paths, dim=1),
            latents=encoded.latents.repeat_interleave(paths, dim=1),
        )
        sessions, windows, _, units = x.counts.shape
        horizon_bins = len(forecaster.horizon_queries)
        self.counts = x.reference_log_rate.new_zeros(sessions, windows * paths, horizon_bins, units)
        self.is_given = torch.zeros(self.counts.shape[:3], dtype=torch.bool, device=self.counts.device)

    def predict(self, first: int, n_bins: int) -> CountDistribution:
        """Return the distributions of the next bins, [S, W, path, bin, O]."""
        forecast = self.forecaster.decode_given(self.encoded, self.x, FedBackCounts(self.counts, self.is_given))
        return forecast.map(lambda bins: bins[:, :, first : first + n_bins].unflatten(1, self.shape[1:]))

    def feed_back(self, counts: Tensor, first: int, n_bins: int) -> None:
        """Feed back the counts of the predicted bins, [S, W, path, bin, O]."""
        self.counts[:, :, first : first + n_bins] = counts.flatten(1, 2)
        self.is_given[:, :, first : first + n_bins] = True


@torch.inference_mode()
def recomputed_paths(
    forecaster: Forecaster, x: Tensors, *, decoding: str, rollout: Rollout, bin_us: int, generator: torch.Generator
) -> Paths:
    """Draw the paths of ``sample_paths`` without a cache."""
    return draw_in_steps(
        RecomputedDecoding(forecaster, x, rollout.paths),
        len(forecaster.horizon_queries),
        decoding=decoding,
        block_bins=rollout.block_bins,
        cap=math.log(rollout.maximum_rate_hz * bin_us / 1e6),
        generator=generator,
    )


def draw_zero_weights(forecaster: Forecaster) -> Forecaster:
    """Draw the weights that start at zero, so that feedback has an effect as in a trained network."""
    generator = torch.Generator().manual_seed(0)
    for parameter in forecaster.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02, generator=generator)
    return forecaster.eval()


def paths_of(
    forecaster: Forecaster, x: Tensors, decoding: str, *, rollout: Rollout, bin_us: int, cached: bool
) -> Callable[[], Paths]:
    """Return a call that draws the same paths each time."""

    def draw() -> Paths:
        generator = torch.Generator().manual_seed(0)
        drawn = sample_paths if cached else recomputed_paths
        return drawn(forecaster, x, decoding=decoding, rollout=rollout, bin_us=bin_us, generator=generator)

    return draw


def compare_rollouts(
    forecaster: Forecaster, x: Tensors, *, size: str, rollout: Rollout, bin_us: int, repeats: int
) -> list[Pair]:
    """Compare time with and without the cache, for each rollout mode with fed-back draws.

    Args:
        forecaster: A network with feedback.
        x: Windows to draw paths of.
        size: Name of the network's size.
        rollout: Paths, length of a block and cap.
        bin_us: Width of a bin.
        repeats: Repeats of each.
    """
    forecaster = draw_zero_weights(forecaster)
    pairs = []
    for decoding, aim in AIMS.items():
        with_cache, without = (
            paths_of(forecaster, x, decoding, rollout=rollout, bin_us=bin_us, cached=cached) for cached in (True, False)
        )
        pairs.append(
            compare(
                f"rollout of {len(forecaster.horizon)} bins, {size}, {decoding}",
                ours=("sample_paths, with cached keys and values", with_cache),
                other=("the full horizon decoded again at every step", without),
                amount=x.history.shape[0] * x.history.shape[1] * rollout.paths,
                unit="paths/s",
                aim=aim,
                repeats=repeats,
            )
        )
    return pairs
