"""Sample paths: how one network goes on from its own draws, in four ways.

* ``parallel``: every bin is drawn by itself from the parallel forecast; no bin knows what was drawn in another.
* ``autoregressive``: bin by bin, each fed the counts that were drawn in those before it.
* ``blockwise``: a block of bins at a time, drawn by themselves, then fed back all together.
* ``coarse_to_fine``: the total of each block is drawn, and fed back as if it were spread evenly; in the end each total
  is split over its bins by an exact multinomial draw. Of Poisson counts, total and split together are distributed
  as the bins drawn apart; of negative binomial counts, the bins of a block share one gamma variable.

Paths of a window lie beside each other in every product, and keys and values of what was decoded are kept, so a step
costs what its own bins cost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neurohorizon.config import Rollout
from neurohorizon.methods import WAYS_OF_DECODING
from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import FED_SPANS_BINS, Fed, log_surprise
from neurohorizon.models.distributions import Outlook
from neurohorizon.models.forecaster import Encoded, Forecaster
from neurohorizon.models.scheduled_sampling import draw_counts

DECODINGS = ("parallel", *WAYS_OF_DECODING)
LARGEST_COUNT = 255


@dataclass(frozen=True)
class Paths:
    """Sample paths of the windows of a batch.

    Attributes:
        counts: Drawn counts, uint8, [session, window, path, horizon bin, unit].
        log_rate: Natural log of the expected count of each bin given what was fed back of its path; what is drawn from
            is capped, float32, same axes.
    """

    counts: Tensor
    log_rate: Tensor

    def log_mean(self, some: slice = slice(None)) -> Tensor:
        """Return the log of the expected counts, averaged over paths, [session, window, horizon bin, unit].

        Rates are averaged rather than counts: the same expectation with less noise (Rao-Blackwell).

        Args:
            some: Which paths; all by default.
        """
        log_rate = self.log_rate[:, :, some]
        return torch.logsumexp(log_rate, dim=2) - math.log(log_rate.shape[2])

    def halves(self) -> tuple[slice, slice]:
        """Return two halves of the paths, as many in each."""
        half = self.log_rate.shape[2] // 2
        return slice(0, half), slice(half, 2 * half)

    def quantiles(self, levels: Sequence[float]) -> Tensor:
        """Return the smallest counts whose share of paths at or below reaches each level.

        Args:
            levels: Between 0 and 1, [quantile].

        Returns:
            uint8, [quantile, session, window, horizon bin, unit].
        """
        ranked = self.counts.sort(dim=2).values
        n_paths = ranked.shape[2]
        ranks = [min(max(math.ceil(level * n_paths - 1e-9) - 1, 0), n_paths - 1) for level in levels]
        return torch.stack([ranked[:, :, rank] for rank in ranks])

    def population_sums(self, units: Tensor) -> Tensor:
        """Return each path's spikes summed over some units, int64, [session, window, path, horizon bin].

        Args:
            units: Whether a unit is summed, [session, unit].
        """
        return (self.counts.long() * units[:, None, None, None]).sum(-1)


@torch.inference_mode()
def sample_paths(
    forecaster: Forecaster,
    x: Tensors,
    *,
    decoding: str,
    rollout: Rollout,
    bin_us: int,
    generator: torch.Generator,
    cached: bool = True,
) -> Paths:
    """Draw sample paths of every window of a batch.

    Args:
        forecaster: A network that was trained with feedback; for ``parallel`` any.
        x: The batch, of spikes alone; its targets are not looked at.
        decoding: One of :data:`DECODINGS`.
        rollout: Number of paths, length of a block and cap of the rates.
        bin_us: Width of a bin in microseconds.
        generator: Where all draws come from, on the batch's device.
        cached: Whether keys and values of earlier bins are kept; False decodes the whole horizon anew for every
            step, to the same result.

    Raises:
        ValueError: The decoding is unknown, needs feedback that the network lacks, or the batch has modalities.
    """
    if decoding not in DECODINGS:
        raise ValueError(f"decoding {decoding!r} is not one of {', '.join(DECODINGS)}")
    if x.token_value.shape[2] or x.ahead_value.shape[2] or x.modality_gain.shape[2]:
        raise ValueError("sample paths read spikes alone; this batch has behaviour or images")
    cap = math.log(rollout.maximum_rate_hz * bin_us / 1e6)
    encoded = forecaster.encode(x)
    if decoding == "parallel":
        outlook = _capped(forecaster.decode(encoded, x), cap)
        outlook = outlook.map(lambda bins: _beside(bins, rollout.paths))
        return Paths(_as_counts(draw_counts(outlook, generator)), outlook.log_rate.contiguous())
    if forecaster.feedback is None:
        raise ValueError(
            f"{decoding} paths need a network with feedback (model.feedback); this one has the parallel forecast alone"
        )
    horizon = len(forecaster.horizon)
    walk = (_CachedWalk if cached else _RecomputedWalk)(forecaster, encoded, x, rollout.paths)
    length = 1 if decoding == "autoregressive" else rollout.block_bins
    drawn, log_rate = [], []
    for first in range(0, horizon, length):
        n_bins = min(length, horizon - first)
        outlook = _capped(walk.look(first, n_bins), cap)
        if decoding == "coarse_to_fine":
            counts = split_totals(outlook, generator)
            fed = counts.sum(3, keepdim=True).expand_as(counts) / n_bins
        else:
            fed = counts = draw_counts(outlook, generator).clamp_max(LARGEST_COUNT)
        walk.take(fed, first, n_bins)
        drawn.append(_as_counts(counts))
        log_rate.append(outlook.log_rate)
    return Paths(torch.cat(drawn, dim=3), torch.cat(log_rate, dim=3))


def split_totals(outlook: Outlook, generator: torch.Generator) -> Tensor:
    """Draw the total of a block and split it over its bins by an exact multinomial draw, bin by bin binomially.

    Args:
        outlook: Distributions of the bins of one block, [..., bin, unit].
        generator: Where the draws come from.

    Returns:
        Counts of the bins, floats of the same shape.
    """
    rate = outlook.log_rate.exp()
    log_shape = None if outlook.log_shape is None else outlook.log_shape.mean(-2)
    left = draw_counts(Outlook(rate.sum(-2).log(), log_shape), generator).clamp_max(LARGEST_COUNT)
    # the share of a bin in what is left of the block from it on
    share = rate / rate.flip(-2).cumsum(-2).flip(-2)
    counts = []
    for index in range(rate.shape[-2] - 1):
        counts.append(torch.binomial(left, share[..., index, :].clamp(0, 1).contiguous(), generator=generator))
        left = left - counts[-1]
    return torch.stack([*counts, left], dim=-2)


def _capped(outlook: Outlook, cap: float) -> Outlook:
    return replace(outlook, log_rate=outlook.log_rate.float().clamp_max(cap))


def _beside(bins: Tensor, paths: int) -> Tensor:
    """Repeat [S, W, H, O] for every path, [S, W, path, H, O], without a copy."""
    return bins[:, :, None].expand(-1, -1, paths, -1, -1)


def _as_counts(counts: Tensor) -> Tensor:
    return counts.clamp_max(LARGEST_COUNT).to(torch.uint8)


class _CachedWalk:
    """A decoding in steps that keeps keys and values of the bins behind it, and their counts for the head."""

    def __init__(self, forecaster: Forecaster, encoded: Encoded, x: Tensors, paths: int) -> None:
        self.forecaster, self.encoded, self.x, self.paths = forecaster, encoded, x, paths
        self.cache = forecaster.decoder.start(encoded.latents)
        self.shape = (*x.history.shape[:2], paths)
        self.rate = x.reference_log_rate.exp()[:, None, None]
        self.fed: list[Tensor] = []  # counts of each bin so far, [S, W, path, O]
        self.pending: Tensor | None = None  # what the bin before gave, [S, W, path, D]

    def look(self, first: int, n_bins: int) -> Outlook:
        """Return the distributions of the next bins, [S, W, path, bin, O]."""
        queries = self._queries(first, [self.pending, *[None] * (n_bins - 1)])
        bins, cache = self.forecaster.decoder.step(queries, first, self.cache)
        if n_bins == 1:
            self.cache = cache  # nothing will be known of this bin that was not fed to it
        rows = bins.reshape(*self.shape[:2], -1, bins.shape[-1])  # paths and bins are rows of the head
        place = torch.arange(first, first + n_bins, device=rows.device).repeat(self.paths)
        outlook = self.forecaster.head(rows, self.encoded.state, self.x, place, surprise=self._surprise(first, n_bins))
        return outlook.map(lambda rows: rows.unflatten(2, (self.paths, n_bins)))

    def take(self, counts: Tensor, first: int, n_bins: int) -> None:
        """Feed back the counts of the bins that were looked at, [S, W, path, bin, O]."""
        self.fed += counts.unbind(3)
        given = [self._pooled(one) for one in counts.unbind(3)]
        if n_bins > 1:
            queries = self._queries(first, [self.pending, *given[:-1]])
            _, self.cache = self.forecaster.decoder.step(queries, first, self.cache)
        self.pending = given[-1]

    def _queries(self, first: int, before: list[Tensor | None]) -> Tensor:
        """Return queries of bins that hear what the bin before each gave, where it is known, [S*W, path, bin, D]."""
        queries = self.forecaster.horizon[first : first + len(before)]
        heard = [
            query.expand(*self.shape, -1) if one is None else query + one
            for query, one in zip(queries, before, strict=True)
        ]
        return torch.stack(heard, dim=3).flatten(0, 1)

    def _pooled(self, counts: Tensor) -> Tensor:
        known = torch.ones(counts.shape[:3], dtype=torch.bool, device=counts.device)
        return self.forecaster.feedback(
            self.encoded.unit, counts, self.x.reference_log_rate, self.x.target_unit_mask, known
        )

    def _surprise(self, first: int, n_bins: int) -> list[Tensor]:
        """Return what the head is told of each span before each bin, of rows [S, W, path * bin, O]."""
        found = []
        for span in FED_SPANS_BINS:
            rows = []
            for place in range(first, first + n_bins):
                behind = self.fed[max(place - span, 0) :]
                sums = torch.stack(behind).sum(0) if behind else self._no_counts()
                rows.append(log_surprise(sums, self.rate * len(behind)))
            found.append(torch.stack(rows, dim=3).flatten(2, 3))
        return found

    def _no_counts(self) -> Tensor:
        return self.x.reference_log_rate.new_zeros(*self.shape, self.x.reference_log_rate.shape[1])


class _RecomputedWalk:
    """The same by decoding the whole horizon anew at every step, as a network without a cache would."""

    def __init__(self, forecaster: Forecaster, encoded: Encoded, x: Tensors, paths: int) -> None:
        horizon, units = len(forecaster.horizon), x.reference_log_rate.shape[1]
        self.forecaster, self.paths = forecaster, paths
        # a path is a window of its own
        self.x = replace(
            x,
            **{
                name: getattr(x, name).repeat_interleave(paths, dim=1)
                for name in ("history", "history_bins", "readout", "modality_gain")
            },
        )
        self.encoded = replace(
            encoded,
            state=encoded.state.repeat_interleave(paths, dim=1),
            latents=encoded.latents.repeat_interleave(paths, dim=1),
        )
        self.shape = (*x.history.shape[:2], paths)
        self.counts = x.reference_log_rate.new_zeros(self.shape[0], self.shape[1] * paths, horizon, units)
        self.known = torch.zeros(self.counts.shape[:3], dtype=torch.bool, device=self.counts.device)

    def look(self, first: int, n_bins: int) -> Outlook:
        """Return the distributions of the next bins, [S, W, path, bin, O]."""
        outlook = self.forecaster.decode(self.encoded, self.x, Fed(self.counts, self.known))
        return outlook.map(lambda bins: bins[:, :, first : first + n_bins].unflatten(1, self.shape[1:]))

    def take(self, counts: Tensor, first: int, n_bins: int) -> None:
        """Feed back the counts of the bins that were looked at, [S, W, path, bin, O]."""
        self.counts[:, :, first : first + n_bins] = counts.flatten(1, 2)
        self.known[:, :, first : first + n_bins] = True
