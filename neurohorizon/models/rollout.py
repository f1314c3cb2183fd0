"""Sample paths: one network continues from its own draws, in four ways.

* ``parallel``: every bin is drawn independently from the parallel forecast; no draw depends on another bin's draw.
* ``autoregressive``: bin by bin, each given the counts drawn in the bins before it.
* ``blockwise``: a block of bins at a time; its bins are drawn independently, then all fed back.
* ``coarse_to_fine``: the total of each block is drawn, and fed back as if it were spread evenly; at the end each total
  is split over its bins by an exact multinomial draw. Of Poisson counts, total and split together have the
  distribution of independent bins; of negative binomial counts, the bins of a block share one gamma variable.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neurohorizon.config import Rollout
from neurohorizon.methods import WAYS_OF_DECODING
from neurohorizon.models.batch import Tensors
from neurohorizon.models.decoder_cache import CachedDecoding
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.likelihoods import CountDistribution, draw_counts

DECODINGS = ("parallel", *WAYS_OF_DECODING)
LARGEST_COUNT = 255


@dataclass(frozen=True)
class Paths:
    """Sample paths of the windows of a batch.

    Attributes:
        counts: Drawn counts, uint8, [session, window, path, horizon bin, unit].
        log_rate: Natural log of the capped rate that each count was drawn from, given the fed-back counts of its path,
            float32, same axes.
    """

    counts: Tensor
    log_rate: Tensor

    def log_mean(self, some: slice = slice(None)) -> Tensor:
        """Return the log of the expected counts, averaged over paths, [session, window, horizon bin, unit].

        Rates are averaged rather than counts: the same expectation with less noise (Rao-Blackwell).

        Args:
            some: Paths to average; all by default.
        """
        log_rate = self.log_rate[:, :, some]
        return torch.logsumexp(log_rate, dim=2) - math.log(log_rate.shape[2])

    def halves(self) -> tuple[slice, slice]:
        """Return two halves of the paths, of equal size."""
        half = self.log_rate.shape[2] // 2
        return slice(0, half), slice(half, 2 * half)


@torch.inference_mode()
def sample_paths(
    forecaster: Forecaster,
    x: Tensors,
    *,
    decoding: str,
    rollout: Rollout,
    bin_us: int,
    generator: torch.Generator,
) -> Paths:
    """Draw sample paths of every window of a batch.

    Args:
        forecaster: A network that was trained with feedback; for ``parallel`` any.
        x: The batch, with spikes only; its targets are not read.
        decoding: One of :data:`DECODINGS`.
        rollout: Number of paths, length of a block and cap of the rates.
        generator: Source of all draws, on the batch's device.

    Raises:
        ValueError: The decoding is unknown, needs feedback that the network lacks, or the batch has modalities.
    """
    if decoding not in DECODINGS:
        raise ValueError(f"decoding {decoding!r} is not one of {', '.join(DECODINGS)}")
    if x.token_value.shape[2] or x.ahead_value.shape[2] or x.modality_gain.shape[2]:
        raise ValueError("sample paths read spikes only; this batch has behaviour or images")
    cap = math.log(rollout.maximum_rate_hz * bin_us / 1e6)
    if decoding == "parallel":
        forecast = _capped(forecaster(x), cap).map(lambda bins: _per_path(bins, rollout.paths))
        return Paths(_as_counts(draw_counts(forecast, generator)), forecast.log_rate.contiguous())
    if forecaster.feedback is None:
        raise ValueError(
            f"{decoding} paths need a network with feedback (model.feedback); this one only has the parallel forecast"
        )
    steps = CachedDecoding(forecaster, x, rollout.paths)
    horizon_bins = len(forecaster.horizon_queries)
    return draw_in_steps(
        steps, horizon_bins, decoding=decoding, block_bins=rollout.block_bins, cap=cap, generator=generator
    )


def draw_in_steps(
    steps: CachedDecoding, horizon_bins: int, *, decoding: str, block_bins: int, cap: float, generator: torch.Generator
) -> Paths:
    """Draw the bins of the horizon in turn, and feed the draws back.

    Args:
        decoding: One of :data:`DECODINGS` other than ``parallel``.
        block_bins: Bins of a block; ``autoregressive`` has blocks of one bin.
        cap: Largest log rate that is drawn from.
    """
    length = 1 if decoding == "autoregressive" else block_bins
    drawn, log_rate = [], []
    for first in range(0, horizon_bins, length):
        n_bins = min(length, horizon_bins - first)
        forecast = _capped(steps.predict(first, n_bins), cap)
        if decoding == "coarse_to_fine":
            counts = split_totals(forecast, generator)
            fed_back = counts.sum(3, keepdim=True).expand_as(counts) / n_bins
        else:
            fed_back = counts = draw_counts(forecast, generator).clamp_max(LARGEST_COUNT)
        steps.feed_back(fed_back, first, n_bins)
        drawn.append(_as_counts(counts))
        log_rate.append(forecast.log_rate)
    return Paths(torch.cat(drawn, dim=3), torch.cat(log_rate, dim=3))


def split_totals(forecast: CountDistribution, generator: torch.Generator) -> Tensor:
    """Draw the total of a block and split it over its bins by an exact multinomial draw, as successive binomial draws.

    Args:
        forecast: Distributions of the bins of one block, [..., bin, unit].

    Returns:
        Counts of the bins, floats of the same shape.
    """
    rate = forecast.log_rate.exp()
    log_shape = None if forecast.log_shape is None else forecast.log_shape.mean(-2)
    left = draw_counts(CountDistribution(rate.sum(-2).log(), log_shape), generator).clamp_max(LARGEST_COUNT)
    # the share of a bin in the rest of its block
    share = rate / rate.flip(-2).cumsum(-2).flip(-2)
    counts = []
    for index in range(rate.shape[-2] - 1):
        counts.append(torch.binomial(left, share[..., index, :].clamp(0, 1).contiguous(), generator=generator))
        left = left - counts[-1]
    return torch.stack([*counts, left], dim=-2)


def _capped(forecast: CountDistribution, cap: float) -> CountDistribution:
    return replace(forecast, log_rate=forecast.log_rate.float().clamp_max(cap))


def _per_path(bins: Tensor, paths: int) -> Tensor:
    """Repeat [S, W, H, O] for every path, [S, W, path, H, O], without a copy."""
    return bins[:, :, None].expand(-1, -1, paths, -1, -1)


def _as_counts(counts: Tensor) -> Tensor:
    return counts.clamp_max(LARGEST_COUNT).to(torch.uint8)
