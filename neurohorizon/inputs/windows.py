"""Windows of a session: context before a forecast origin, target after it.

All counting is exact integer arithmetic on microseconds. Bins that are not wholly inside valid time
are masked, never zero. A model reads no spike at or after the origin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neurohorizon.config import Model, Timeline
from neurohorizon.session import CountedSpikes, SpikeReader
from neurohorizon.timeline import MICROSECONDS, Intervals, concatenated_ranges


@dataclass(frozen=True)
class WindowShape:
    """Lengths of a window in integer bins, and the spans of recent history.

    Attributes:
        bin_us: Bin width in microseconds.
        context_bins: Bins before the forecast origin.
        horizon_bins: Bins from the forecast origin on.
        history_edges_bins: Rising ends of the spans, in bins before the origin; the first span starts at the origin.
            They may reach further back than the context; the length of the context must then be one of them.
    """

    bin_us: int
    context_bins: int
    horizon_bins: int
    history_edges_bins: tuple[int, ...]

    @classmethod
    def of(cls, timeline: Timeline, model: Model | None = None) -> "WindowShape":
        """Take lengths from the configuration; without a model the context is one span of history."""
        return cls(
            bin_us=timeline.bin_ms * 1000,
            context_bins=timeline.context_bins,
            horizon_bins=timeline.horizon_bins,
            history_edges_bins=model.history_edges_bins if model else (timeline.context_bins,),
        )

    def history_edges(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ends of the spans within the context, and of the spans before it."""
        edges = self.history_edges_bins
        return (
            tuple(edge for edge in edges if edge <= self.context_bins),
            tuple(edge for edge in edges if edge > self.context_bins),
        )


@dataclass(frozen=True)
class Spikes(CountedSpikes):
    """Spikes of a session, sorted by time; of arrays that are memory maps only windows are read.

    Attributes:
        times_s: Times in seconds, float64, [spike].
        unit: Index of the unit, [spike].
        n_units: Number of units, silent ones included.
    """

    times_s: np.ndarray
    unit: np.ndarray
    n_units: int


@dataclass(frozen=True)
class Windows:
    """Counts and spikes of windows of one session.

    Attributes:
        origin_us: First microsecond of the first target bin, [window].
        context: Observed counts before the origin, oldest bin first, 0 where masked, int16, or int32 for bins with
            more spikes than int16 can hold, [window, context bin, unit].
        context_mask: True for context bins of valid time, [window, context bin].
        counts: Observed counts from the origin on, 0 where masked, type of ``context``, [window, horizon bin, unit].
        target_mask: True for target bins of valid time, [window, horizon bin].
        spike_window: Window of each context spike in valid time, [spike].
        spike_unit: Unit of that spike, [spike].
        spike_age_bins: Its age at the origin in bins, above 0, float32, [spike].
        history_edges_bins: Rising ends of the spans of recent history, in bins before the origin.
        history: Observed counts in each span, also of spans before the context, float32, [window, unit, span].
        history_bins: Valid bins in each span, float32, [window, span].
    """

    origin_us: np.ndarray
    context: np.ndarray
    context_mask: np.ndarray
    counts: np.ndarray
    target_mask: np.ndarray
    spike_window: np.ndarray
    spike_unit: np.ndarray
    spike_age_bins: np.ndarray
    history_edges_bins: tuple[int, ...]
    history: np.ndarray
    history_bins: np.ndarray


def cut_windows(spikes: Spikes | SpikeReader, domain: Intervals, origin_us: np.ndarray, shape: WindowShape) -> Windows:
    """Count the spikes around each forecast origin.

    Args:
        origin_us: Forecast origins, int64 microseconds, in any order, [window].
    """
    origin_us = np.asarray(origin_us, np.int64)
    n_windows, n_bins = origin_us.size, shape.context_bins + shape.horizon_bins
    edge_us = (origin_us - shape.context_bins * shape.bin_us)[:, None] + np.arange(n_bins + 1) * shape.bin_us
    mask = _valid_bins(domain, edge_us[:, :-1], shape.bin_us)
    # plain views: to slice a memory map takes longer than to read its values
    times_s, units = np.asarray(spikes.times_s), np.asarray(spikes.unit)
    place = _places(times_s, edge_us)
    first, origin, last = place[:, 0], place[:, shape.context_bins], place[:, -1]

    per_bin = np.diff(place, axis=1).ravel()
    cell = np.repeat(np.arange(per_bin.size) * spikes.n_units, per_bin)
    cell += _laid_out(units, first, last)
    if not mask.all():
        cell = cell[np.repeat(mask.ravel(), per_bin)]
    # memory takes most of the time: use the narrowest integers that hold the fullest bin of all units together
    kind = np.int16 if per_bin.max(initial=0) <= np.iinfo(np.int16).max else np.int32
    counts = np.zeros((n_windows, n_bins, spikes.n_units), kind)
    np.add.at(counts.reshape(-1), cell, kind(1))

    window = np.repeat(np.arange(n_windows), origin - first)
    unit = _laid_out(units, first, origin).astype(np.int64)
    # whole microseconds of this size are exact in float64
    age_us = origin_us.astype(np.float64)[window] - np.rint(_laid_out(times_s, first, origin) * MICROSECONDS)
    age_bins = (age_us / shape.bin_us).astype(np.float32)
    before = slice(0, shape.context_bins)
    if not mask[:, before].all():
        keep = np.repeat(mask[:, before].ravel(), per_bin.reshape(n_windows, n_bins)[:, before].ravel())
        window, unit, age_bins = window[keep], unit[keep], age_bins[keep]
    history, history_bins = _own_history(spikes, domain, origin_us, counts[:, before], mask[:, before], shape)
    return Windows(
        origin_us=origin_us,
        context=counts[:, before],
        context_mask=mask[:, before],
        counts=counts[:, shape.context_bins :],
        target_mask=mask[:, shape.context_bins :],
        spike_window=window,
        spike_unit=unit,
        spike_age_bins=age_bins,
        history_edges_bins=shape.history_edges_bins,
        history=history,
        history_bins=history_bins,
    )


def _places(times_s: np.ndarray, edge_us: np.ndarray) -> np.ndarray:
    """Return the index of the first spike at or after each edge, [window, edge]; edges rise within each window."""
    # half a microsecond before the edge: spike times are whole microseconds, so rounding has no effect
    edge_s = (edge_us - 0.5) / MICROSECONDS
    place = np.empty(edge_us.shape, np.int64)
    ends = np.searchsorted(times_s, edge_s[:, [0, -1]])
    # the other edges are searched in the few spikes of the window, which are in the cache
    for row, edges, (first, last) in zip(place, edge_s, ends.tolist(), strict=True):
        row[:] = np.searchsorted(times_s[first:last], edges)
    return place + ends[:, :1]


def _laid_out(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return ``values[first:last]`` of all windows one after the other."""
    spans = zip(first.tolist(), last.tolist(), strict=True)
    return np.concatenate([values[:0], *(values[start:stop] for start, stop in spans)])


def evaluation_origins(part: Intervals, shape: WindowShape, stride_bins: int) -> np.ndarray:
    """List the origins of windows, one per stride, that lie wholly inside one interval.

    The first window begins at the start of each interval, so that all trials are cut at the same place.

    Returns:
        Forecast origins, int64 microseconds, rising, [window].
    """
    first = part.start_us + shape.context_bins * shape.bin_us
    last = part.stop_us - shape.horizon_bins * shape.bin_us  # included
    step = stride_bins * shape.bin_us
    counts = np.maximum((last - first) // step + 1, 0)
    index, interval = concatenated_ranges(np.zeros_like(counts), counts)
    return first[interval] + index * step


def subsample(values: Sequence, maximum: int) -> Sequence:
    """Return every n-th value, starting at the first, with the smallest n that leaves at most ``maximum`` values."""
    return values[:: max(-(-len(values) // maximum), 1)]


def spread_origins(part: Intervals, shape: WindowShape, most: int) -> np.ndarray:
    """List evenly spaced origins whose horizons do not overlap, including the first and the last possible origin.

    Returns:
        At most ``most`` forecast origins, int64 microseconds, rising, [window].
    """
    origins = evaluation_origins(part, shape, shape.horizon_bins)
    return origins[np.linspace(0, origins.size - 1, min(most, origins.size)).round().astype(int)]


def sample_origins(
    part: Intervals,
    shape: WindowShape,
    n_windows: int,
    rng: np.random.Generator,
    *,
    minimum_context_bins: int,
    minimum_horizon_bins: int,
) -> np.ndarray:
    """Draw forecast origins uniformly over the valid time of a part.

    A window may reach past its interval; bins there are masked. At least the given numbers of bins next to
    the origin are valid.

    Raises:
        ValueError: No interval is long enough.
    """
    first = part.start_us + minimum_context_bins * shape.bin_us
    last = part.stop_us - minimum_horizon_bins * shape.bin_us  # included
    positions = np.maximum(last - first + 1, 0)
    total = positions.cumsum()
    if not total.size or total[-1] == 0:
        raise ValueError(
            f"no interval holds {minimum_context_bins} context and {minimum_horizon_bins} horizon bins of "
            f"{shape.bin_us} us; the longest of {len(part.start_us)} is "
            f"{int((part.stop_us - part.start_us).max(initial=0))} us"
        )
    draw = rng.integers(total[-1], size=n_windows)
    interval = np.searchsorted(total, draw, side="right")
    return first[interval] + draw - (total[interval] - positions[interval])


def history_sums(context: np.ndarray, context_mask: np.ndarray, edges_bins: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Sum the context over spans of recent history.

    Args:
        context: Counts, oldest bin first, [window, context bin, unit].
        context_mask: Valid bins, [window, context bin].
        edges_bins: Rising ends of the spans, in bins before the origin.

    Returns:
        Counts in each span, float32, [window, unit, span], and valid bins in each span, float32, [window, span].
    """
    starts = [0, *edges_bins[:-1]]
    n_bins = context.shape[1]
    newest_first = context[:, ::-1]
    # sums use the integer type of the counts if they fit, and add bin after bin for all units: several times as fast
    # as to sum each unit's bins in wider integers
    fits = int(context.max(initial=0)) * n_bins <= np.iinfo(context.dtype).max
    kind = context.dtype if fits else np.int64
    sums = np.empty((*context.shape[::2], len(starts)), np.float32)
    for span, (near, far) in enumerate(pairwise([*starts, n_bins])):
        sums[:, :, span] = newest_first[:, near:far].sum(axis=1, dtype=kind)
    return sums, np.add.reduceat(context_mask[:, ::-1].astype(np.float32), starts, axis=1)


def _own_history(
    spikes: Spikes | SpikeReader,
    domain: Intervals,
    origin_us: np.ndarray,
    context: np.ndarray,
    context_mask: np.ndarray,
    shape: WindowShape,
) -> tuple[np.ndarray, np.ndarray]:
    """Sum all spans of recent history: spans within the context, and spans before it."""
    recent, past = shape.history_edges()
    history, history_bins = history_sums(context, context_mask, recent)
    if not past:
        return history, history_bins
    sums, valid = past_sums(
        spikes, domain, origin_us, from_bin=shape.context_bins, edges_bins=past, bin_us=shape.bin_us
    )
    return np.concatenate([history, sums], axis=2), np.concatenate([history_bins, valid], axis=1)


def past_sums(
    spikes: Spikes | SpikeReader,
    domain: Intervals,
    origin_us: np.ndarray,
    *,
    from_bin: int,
    edges_bins: Sequence[int],
    bin_us: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Sum spans that reach far back; sums equal those of :func:`history_sums` with a context of that length.

    Bins are counted back from each origin, also through pauses; only bins wholly inside valid time are used. The work
    grows with the pieces of valid time in a span, not with its bins or spikes.

    Args:
        origin_us: Forecast origins, int64 microseconds, [window].
        from_bin: Bins before the origin at which the first span starts.
        edges_bins: Rising ends of the spans, in bins before the origin.

    Returns:
        Counts in each span, float32, [window, unit, span], and valid bins in each span, float32, [window, span].
    """
    origin_us = np.asarray(origin_us, np.int64)
    times_s, units = np.asarray(spikes.times_s), np.asarray(spikes.unit)
    seconds, before = spikes.seconds
    sums = np.zeros((len(edges_bins), origin_us.size, spikes.n_units), np.float32)
    valid = np.zeros((origin_us.size, len(edges_bins)), np.float32)
    for span, (near, far) in enumerate(zip([from_bin, *edges_bins[:-1]], edges_bins, strict=True)):
        first = np.searchsorted(domain.stop_us, origin_us - far * bin_us, side="right")
        last = np.searchsorted(domain.start_us, origin_us - near * bin_us)
        interval, window = concatenated_ranges(first, np.maximum(first, last))
        # whole bins of the interval, counted back from the origin
        oldest = np.minimum((origin_us[window] - domain.start_us[interval]) // bin_us, far)
        newest = np.maximum(-((domain.stop_us[interval] - origin_us[window]) // bin_us), near)
        oldest = np.maximum(oldest, newest)
        valid[:, span] = np.bincount(window, oldest - newest, minlength=origin_us.size)
        start_us, stop_us = origin_us[window] - oldest * bin_us, origin_us[window] - newest * bin_us
        # whole seconds are read from the table; spikes in the rest are counted singly
        from_s, until_s = -(-start_us // MICROSECONDS), stop_us // MICROSECONDS
        whole = from_s < until_s
        rests = [
            (start_us, np.where(whole, from_s * MICROSECONDS, stop_us)),
            (np.where(whole, until_s * MICROSECONDS, stop_us), stop_us),
        ]
        counts = np.zeros((origin_us.size, spikes.n_units), np.int64)
        for rest in rests:
            # half a microsecond before the edge, as in :func:`_places`
            place = np.searchsorted(times_s, (np.stack(rest) - 0.5) / MICROSECONDS)
            index, owner = concatenated_ranges(*place)
            cell = window[owner] * spikes.n_units + units[index]
            counts += np.bincount(cell, minlength=counts.size).reshape(counts.shape)
        row = np.searchsorted(seconds, np.stack([from_s, until_s]))
        for one in np.flatnonzero(whole):
            counts[window[one]] += before[row[1, one]] - before[row[0, one]]
        sums[span] = counts
    return sums.transpose(1, 2, 0), valid


def _valid_bins(domain: Intervals, bin_start_us: np.ndarray, bin_us: int) -> np.ndarray:
    interval = domain.index_of(bin_start_us)
    return (interval >= 0) & (bin_start_us + bin_us <= domain.stop_us[interval])
