"""Spike counts in valid time: sparse for statistics of each unit, dense for fits on the population."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from neurohorizon.timeline import Intervals, bin_domain, count_spikes

SPIKES_PER_BLOCK = 2**15


@dataclass(frozen=True, eq=False)
class SparseCounts:
    """The bins in which units fire, and the position of each bin in its interval of valid time.

    Attributes:
        unit: Unit of each entry, int64, sorted, [entry].
        bin: Bin of each entry, int64, rising within a unit, [entry].
        count: Spikes of that unit in that bin, above 0, int64, [entry].
        n_units: Units, silent ones included.
        segment: Interval that contains each bin, int64, [bin].
        position: Bins between the interval's start and this bin, int64, [bin].
        length: Whole bins in this bin's interval, int64, [bin].
    """

    unit: np.ndarray
    bin: np.ndarray
    count: np.ndarray
    n_units: int
    segment: np.ndarray
    position: np.ndarray
    length: np.ndarray

    @property
    def n_bins(self) -> int:
        """Whole bins of valid time."""
        return self.segment.size

    @property
    def segment_bins(self) -> np.ndarray:
        """Whole bins in each interval that holds at least one, int64, [interval]."""
        return self.length[self.position == 0]

    def of_units(self, units: slice) -> "SparseCounts":
        """Return the counts of some units, numbered from 0."""
        entries = slice(*np.searchsorted(self.unit, (units.start, units.stop)))
        return replace(
            self,
            unit=self.unit[entries] - units.start,
            bin=self.bin[entries],
            count=self.count[entries],
            n_units=units.stop - units.start,
        )


def reference_counts(
    times_us: np.ndarray, unit_index: np.ndarray, *, n_units: int, intervals: Intervals, bin_us: int
) -> tuple[np.ndarray, np.ndarray]:
    """Count every unit's spikes in the whole bins of some valid time.

    Args:
        times_us: Spike times, int64 microseconds, [spike].
        unit_index: Unit of each spike, [spike].
        n_units: Units, silent ones included.
        intervals: Valid time; bins begin at each interval's start.

    Returns:
        Counts, uint16, [bin, unit]; and the interval of each bin, int32, [bin]. Neighbouring bins of
        different intervals are not neighbours in time.
    """
    bins = bin_domain(intervals, bin_us)
    counts = count_spikes(times_us, unit_index, n_units=n_units, start_us=bins.start_us, bin_us=bin_us)
    return counts, bins.segment


@dataclass(frozen=True, eq=False)
class SortedSpikes:
    """Spikes inside some valid time, sorted by unit and then by time.

    Attributes:
        unit: Unit, int64, [spike].
        times_us: Time, int64 microseconds, [spike].
        interval: Interval of the valid time that the spike lies in, int64, [spike].
        n_units: Units, silent ones included.
        intervals: The valid time.
    """

    unit: np.ndarray
    times_us: np.ndarray
    interval: np.ndarray
    n_units: int
    intervals: Intervals

    def of_units(self, units: slice) -> "SortedSpikes":
        """Return the spikes of some units, numbered from 0."""
        own = slice(*np.searchsorted(self.unit, (units.start, units.stop)))
        return replace(
            self,
            unit=self.unit[own] - units.start,
            times_us=self.times_us[own],
            interval=self.interval[own],
            n_units=units.stop - units.start,
        )

    def unit_blocks(self, spikes_per_block: int) -> list[slice]:
        """Divide the units, in their order, into blocks of about the given number of spikes."""
        before = np.searchsorted(self.unit, np.arange(self.n_units + 1))
        first = np.searchsorted(before, np.arange(spikes_per_block, self.unit.size, spikes_per_block))
        edges = np.unique([0, *first, self.n_units])
        return [slice(*edge) for edge in pairwise(edges.tolist())] or [slice(0, 0)]


def sort_spikes(times_us: np.ndarray, unit_index: np.ndarray, *, n_units: int, intervals: Intervals) -> SortedSpikes:
    """Pick the spikes of some valid time and sort them by unit.

    Args:
        times_us: Spike times, int64 microseconds, sorted, [spike].
        unit_index: Unit of each spike, [spike].
        n_units: Units, silent ones included.
    """
    first = np.searchsorted(times_us, intervals.start_us, side="left")
    last = np.searchsorted(times_us, intervals.stop_us, side="left")
    spans = [slice(*span) for span in zip(first.tolist(), last.tolist(), strict=True)]
    if not len(intervals):
        return SortedSpikes(*np.zeros((3, 0), np.int64), n_units=n_units, intervals=intervals)
    origin_us = int(intervals.start_us[0])
    bits = (int(intervals.stop_us[-1]) - origin_us).bit_length()
    # unit and time in one integer need only one sort, without random access; a month leaves room for 2 million units
    packed = np.concatenate([unit_index[span] for span in spans]).astype(np.int64) << bits
    packed |= np.concatenate([times_us[span] for span in spans]) - origin_us
    packed.sort()
    unit = packed >> bits
    packed &= (1 << bits) - 1
    packed += origin_us
    interval = np.searchsorted(intervals.start_us, packed, side="right") - 1
    return SortedSpikes(unit=unit, times_us=packed, interval=interval, n_units=n_units, intervals=intervals)


def sparse_counts(spikes: SortedSpikes, *, bin_us: int) -> SparseCounts:
    """Count as :func:`reference_counts` does, in time and memory that grow with the spikes.

    Args:
        bin_us: Bin width; bins begin at each interval's start, and a partial last bin is excluded.
    """
    length = (spikes.intervals.stop_us - spikes.intervals.start_us) // bin_us
    before = length.cumsum() - length
    segment = np.repeat(np.arange(length.size), length)
    bin_index = (spikes.times_us - spikes.intervals.start_us[spikes.interval]) // bin_us
    whole = bin_index < length[spikes.interval]
    unit, bin_index = spikes.unit, bin_index + before[spikes.interval]
    if not whole.all():
        unit, bin_index = unit[whole], bin_index[whole]
    opens = np.ones(unit.size, bool)
    opens[1:] = (unit[1:] != unit[:-1]) | (bin_index[1:] != bin_index[:-1])
    first = np.flatnonzero(opens)
    return SparseCounts(
        unit=unit[first],
        bin=bin_index[first],
        count=np.diff(first, append=unit.size),
        n_units=spikes.n_units,
        segment=segment,
        position=np.arange(segment.size) - before[segment],
        length=length[segment],
    )


def lagged_products(counts: SparseCounts, lags: int) -> np.ndarray:
    """Sum, for every unit, the products of its count and its count ``lag`` bins later in the same interval.

    Two entries of one unit whose bins differ by ``lag`` are at most ``lag`` places apart, since each bin has one entry
    or none. So ``lags`` passes over the entries find all pairs.

    Returns:
        Exact sums for lags 0 to ``lags``, float64, [unit, lag].
    """
    # room between intervals and between units, so that only pairs of one unit and interval are near
    stride = counts.n_bins + (counts.segment.max(initial=0) + 1) * lags
    address = counts.unit * stride + (np.arange(counts.n_bins) + counts.segment * lags)[counts.bin]
    width = lags + 1
    cell = counts.unit * width
    products = np.bincount(cell, counts.count**2, minlength=counts.n_units * width)
    lag = np.diff(address)
    left = np.flatnonzero(lag <= lags)
    lag = lag[left]
    for step in range(1, lags + 1):
        product = counts.count[left] * counts.count[left + step]
        products += np.bincount(cell[left] + lag, product, minlength=products.size)
        left = left[: np.searchsorted(left, counts.unit.size - step - 1)]
        lag = address[left + step + 1] - address[left]
        near = np.flatnonzero(lag <= lags)
        left, lag = left[near], lag[near]
    return products.reshape(counts.n_units, width)
