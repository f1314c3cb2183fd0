"""Seconds to integer microseconds and bins; valid intervals; splits with gaps.

Inside the package time is int64 microseconds since the session's own zero, and every interval is half open,
``[start, stop)``. Seconds live only in files. ``floor(t * rate)`` puts exact bin edges in the wrong bin,
since neither ``t`` nor the bin width is exact in binary; integers leave nothing to round.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurohorizon.config import Splits as SplitSettings

MICROSECONDS = 1_000_000
"""Microseconds in a second."""
FARTHEST_S = 1e12
"""Largest time, in seconds, that is converted to microseconds."""
BLOCK = 1 << 18
"""Values that are converted at once where a recording may have a hundred million."""
MINIMUM_REFERENCE_S = 10.0
"""Shortest reference window, in seconds of whole bins; below it unit statistics say little."""


def to_us(seconds: np.ndarray | float) -> np.ndarray:
    """Seconds to the nearest integer microsecond, int64, same shape.

    Raises:
        ValueError: A time is not finite, or too large for microseconds.
    """
    seconds = np.asarray(seconds, dtype=np.float64)
    if not np.isfinite(seconds).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(seconds))} of {seconds.size} times are NaN or infinite")
    if seconds.size and np.abs(seconds).max() > FARTHEST_S:
        raise ValueError(f"a time of {np.abs(seconds).max():g} s: times must be seconds from the session's start")
    return np.rint(seconds * MICROSECONDS).astype(np.int64)


def nearest_us(seconds: np.ndarray, *, overwrite: bool = False) -> np.ndarray:
    """Any times to the nearest integer microsecond, int64 [time]; converted in blocks, which saves memory.

    A time that is no number is before all others; one that is too large for microseconds is :data:`FARTHEST_S`.

    Args:
        seconds: Times, [time].
        overwrite: Put the result in the memory of ``seconds``, which is float64.
    """
    us = seconds.view(np.int64) if overwrite else np.empty(len(seconds), np.int64)
    for part in blocks(len(seconds)):
        known = np.nan_to_num(np.asarray(seconds[part], np.float64), nan=-FARTHEST_S)
        us[part] = to_us(np.clip(known, -FARTHEST_S, FARTHEST_S))
    return us


def blocks(count: int) -> Iterator[slice]:
    """Give slices of :data:`BLOCK` values that cover an array."""
    return (slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK))


def compact(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Move the values that are kept to the start of their array, and return that part of it; saves memory.

    Args:
        values: Any, [value]; overwritten.
        kept: Whether to keep each, bool [value].
    """
    count = 0
    for part in blocks(len(values)):
        some = values[part][kept[part]]
        values[count : count + len(some)] = some
        count += len(some)
    return values[:count]


def to_s(us: np.ndarray | int) -> np.ndarray:
    """Microseconds to seconds, float64; order and equality of the integers are kept."""
    return np.asarray(us, dtype=np.int64) / MICROSECONDS


@dataclass(frozen=True, eq=False)
class Intervals:
    """Sorted, disjoint, half-open intervals; touching ones, such as trials without a pause, stay apart.

    Attributes:
        start_us: First microsecond of each interval, int64 [interval].
        stop_us: First microsecond after each interval, int64 [interval].
    """

    start_us: np.ndarray
    stop_us: np.ndarray

    def __post_init__(self) -> None:
        for name in ("start_us", "stop_us"):
            values = np.asarray(getattr(self, name))
            if values.size and not np.issubdtype(values.dtype, np.integer):
                raise ValueError(f"{name} must be integer microseconds, found {values.dtype}; convert with to_us")
            object.__setattr__(self, name, values.astype(np.int64).reshape(-1))
        if len(self.start_us) != len(self.stop_us):
            raise ValueError(f"{len(self.start_us)} starts and {len(self.stop_us)} stops")
        if (self.stop_us <= self.start_us).any():
            first = int(np.argmax(self.stop_us <= self.start_us))
            raise ValueError(f"interval {first} does not stop after it starts: {self._in_words(first)}")
        if (self.start_us[1:] < self.stop_us[:-1]).any():
            first = int(np.argmax(self.start_us[1:] < self.stop_us[:-1]))
            raise ValueError(
                f"intervals must be sorted and disjoint; {self._in_words(first)} is followed by "
                f"{self._in_words(first + 1)}; Intervals.merged sorts and joins"
            )

    @classmethod
    def empty(cls) -> "Intervals":
        """No interval at all."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    @classmethod
    def merged(cls, start_us: np.ndarray, stop_us: np.ndarray) -> "Intervals":
        """Union of any intervals: sorted, joined where they overlap or touch, empty ones dropped."""
        start_us, stop_us = (np.asarray(values, dtype=np.int64).reshape(-1) for values in (start_us, stop_us))
        kept = stop_us > start_us
        order = np.argsort(start_us[kept], kind="stable")
        start_us, stop_us = start_us[kept][order], stop_us[kept][order]
        if not len(start_us):
            return cls.empty()
        reached = np.maximum.accumulate(stop_us)
        opens = np.concatenate([[True], start_us[1:] > reached[:-1]])
        closes = np.concatenate([opens[1:], [True]])
        return cls(start_us[opens], reached[closes])

    @property
    def duration_us(self) -> int:
        """Total length."""
        return int((self.stop_us - self.start_us).sum())

    @property
    def hull_s(self) -> tuple[float, float]:
        """Seconds of the first start and of the last stop; there must be an interval."""
        return float(self.start_us[0]) / MICROSECONDS, float(self.stop_us[-1]) / MICROSECONDS

    def intersect(self, other: "Intervals") -> "Intervals":
        """Time in both; an interval of either is cut, never joined."""
        first = np.searchsorted(other.stop_us, self.start_us, side="right")
        after = np.searchsorted(other.start_us, self.stop_us, side="left")
        theirs, mine = concatenated_ranges(first, np.maximum(after, first))
        return Intervals(
            np.maximum(self.start_us[mine], other.start_us[theirs]),
            np.minimum(self.stop_us[mine], other.stop_us[theirs]),
        )

    def without(self, other: "Intervals") -> "Intervals":
        """Time in this and not in the other."""
        if not len(self) or not len(other):
            return self
        far = int(max(self.stop_us[-1], other.stop_us[-1])) + 1
        near = int(min(self.start_us[0], other.start_us[0])) - 1
        start_us, stop_us = np.append(near, other.stop_us), np.append(other.start_us, far)
        pauses = stop_us > start_us  # touching intervals have none between them
        return self.intersect(Intervals(start_us[pauses], stop_us[pauses]))

    def clip(self, start_us: int, stop_us: int) -> "Intervals":
        """What lies in ``[start_us, stop_us)``."""
        if stop_us <= start_us:
            return Intervals.empty()
        return self.intersect(Intervals(np.array([start_us]), np.array([stop_us])))

    def index_of(self, us: np.ndarray) -> np.ndarray:
        """Interval that holds each time, -1 for none; int64, shape of ``us``."""
        us = np.asarray(us, dtype=np.int64)
        index = np.searchsorted(self.start_us, us, side="right") - 1
        if not len(self):
            return index
        return np.where((index >= 0) & (us < self.stop_us[np.maximum(index, 0)]), index, -1)

    def contains(self, us: np.ndarray) -> np.ndarray:
        """Whether each time lies inside; bool, shape of ``us``."""
        us = np.asarray(us)
        inside = np.empty(us.size, bool)
        for part in blocks(us.size):
            inside[part] = self.index_of(us.reshape(-1)[part]) >= 0
        return inside.reshape(us.shape)[()]

    def __len__(self) -> int:
        return len(self.start_us)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.start_us.tolist(), self.stop_us.tolist(), strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Intervals):
            return NotImplemented
        return np.array_equal(self.start_us, other.start_us) and np.array_equal(self.stop_us, other.stop_us)

    def __repr__(self) -> str:
        shown = ", ".join(self._in_words(index) for index in range(min(len(self), 3)))
        more = ", ..." if len(self) > 3 else ""
        return f"Intervals({len(self)}, {self.duration_us / MICROSECONDS:g} s: {shown}{more})"

    def _in_words(self, index: int) -> str:
        return f"[{self.start_us[index] / MICROSECONDS:g} s, {self.stop_us[index] / MICROSECONDS:g} s)"


@dataclass(frozen=True)
class Splits:
    """Parts of a session's valid time.

    A session that is forecast uses ``reference`` then ``test``; one that is trained on uses ``train`` then
    ``validation``. The two pairs overlap: a session plays one of the two roles in a fold.
    """

    reference: Intervals
    test: Intervals
    train: Intervals
    validation: Intervals

    @classmethod
    def empty(cls) -> "Splits":
        """Splits of a session with no valid time."""
        return cls(*(Intervals.empty() for _ in range(4)))


def cut_domain(domain: Intervals, *, first_us: int, gap_us: int) -> tuple[Intervals, Intervals]:
    """Cut valid time in two with a gap between.

    Intervals no longer than the gap, such as trials, stay whole: a cut inside one moves to its end. Inside
    longer ones cuts move up to a whole second from the interval's start, so that bins of any width that
    divides a second have the same edges in the parts as in the whole.

    Args:
        domain: Valid time.
        first_us: Valid time that the first part should get, not counting pauses between intervals.
        gap_us: Clock time left out between the parts, pauses included.

    Returns:
        The first part, and what starts at least ``gap_us`` after its end; either may be empty.
    """
    if first_us <= 0 or not len(domain):
        return Intervals.empty(), domain
    reached = np.cumsum(domain.stop_us - domain.start_us)
    index = int(np.searchsorted(reached, first_us, side="left"))
    if index == len(domain):
        return domain, Intervals.empty()
    cut_us = int(domain.stop_us[index]) - (int(reached[index]) - first_us)
    cut_us = _clean_edge(domain, cut_us, gap_us)
    resume_us = _clean_edge(domain, cut_us + gap_us, gap_us)
    return domain.clip(int(domain.start_us[0]), cut_us), domain.clip(resume_us, int(domain.stop_us[-1]))


def _clean_edge(domain: Intervals, edge_us: int, gap_us: int) -> int:
    index = int(domain.index_of(np.array([edge_us]))[0])
    if index < 0 or edge_us == domain.start_us[index]:
        return edge_us
    start_us, stop_us = int(domain.start_us[index]), int(domain.stop_us[index])
    if stop_us - start_us <= gap_us:
        return stop_us
    return min(start_us + -(-(edge_us - start_us) // MICROSECONDS) * MICROSECONDS, stop_us)


def split_domain(domain: Intervals, splits: SplitSettings) -> Splits:
    """Split a session's valid time, in order and by cumulative valid time; for the edges see cut_domain.

    ``reference`` is the first ``reference_fraction``, at most ``reference_maximum_s``; ``test`` is what
    starts ``gap_s`` after it. ``train`` is the first ``1 - validation_fraction``; ``validation`` is what
    starts ``gap_s`` after it.

    Raises:
        ValueError: A part is empty; the message gives the valid time found and the requested parts.
    """
    gap_us = int(to_us(splits.gap_s))
    reference_us = round(splits.reference_fraction * domain.duration_us)
    if splits.reference_maximum_s is not None:
        reference_us = min(reference_us, int(to_us(splits.reference_maximum_s)))
    train_us = domain.duration_us - round(splits.validation_fraction * domain.duration_us)
    reference, test = cut_domain(domain, first_us=reference_us, gap_us=gap_us)
    train, validation = cut_domain(domain, first_us=train_us, gap_us=gap_us)
    parts = Splits(reference=reference, test=test, train=train, validation=validation)
    for name in ("reference", "test", "train", "validation"):
        if not len(getattr(parts, name)):
            raise ValueError(
                f"nothing is left for {name}: {domain.duration_us / MICROSECONDS:g} s of valid time in "
                f"{len(domain)} intervals, to be cut after {reference_us / MICROSECONDS:g} s (reference) and "
                f"{train_us / MICROSECONDS:g} s (train) with gaps of {splits.gap_s:g} s; record longer, or "
                "lower splits.gap_s"
            )
    return parts


@dataclass(frozen=True, eq=False)
class BinnedDomain:
    """Whole bins of valid time.

    Attributes:
        start_us: First microsecond of each bin, int64 [bin], sorted; a bin is ``[start, start + bin_us)``.
        segment: Index of the interval that the bin lies in, int32 [bin]; a window must stay in one segment.
        bin_us: Width of a bin.
    """

    start_us: np.ndarray
    segment: np.ndarray
    bin_us: int

    def __len__(self) -> int:
        return len(self.start_us)


def concatenated_ranges(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all of ``range(first[i], last[i])`` one after the other, and the ``i`` of each; ``last`` is excluded."""
    length = last - first
    owner = np.repeat(np.arange(length.size), length)
    offset = np.arange(length.sum()) - np.repeat(length.cumsum() - length, length)
    return first[owner] + offset, owner


def bin_domain(domain: Intervals, bin_us: int) -> BinnedDomain:
    """Lay bins from each interval's start; the partial bin that may remain at its end is left out."""
    if bin_us <= 0:
        raise ValueError(f"bin_us must be positive, found {bin_us}")
    bins = (domain.stop_us - domain.start_us) // bin_us
    ordinal, segment = concatenated_ranges(np.zeros_like(bins), bins)
    return BinnedDomain(domain.start_us[segment] + ordinal * bin_us, segment.astype(np.int32), bin_us)


def count_spikes(
    times_us: np.ndarray, unit_index: np.ndarray, *, n_units: int, start_us: np.ndarray, bin_us: int
) -> np.ndarray:
    """Count spikes of every unit in every bin, exactly.

    Args:
        times_us: Spike times, int64 [spike], in any order.
        unit_index: Unit of each spike, integer [spike].
        n_units: Units, silent ones included.
        start_us: Starts of the bins, int64 [bin], sorted and at least ``bin_us`` apart; there may be gaps.
        bin_us: Width of every bin.

    Returns:
        Spikes with ``start <= time < start + bin_us``, uint16 [bin, unit].

    Raises:
        ValueError: Bins overlap, times are not integers, or a bin holds more than 65535 spikes of a unit.
    """
    times_us, start_us = np.asarray(times_us), np.asarray(start_us)
    for name, values in (("times_us", times_us), ("start_us", start_us)):
        if values.size and not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{name} must be integer microseconds, found {values.dtype}; convert with to_us")
    if (np.diff(start_us) < bin_us).any():
        raise ValueError(f"bins must be sorted and at least {bin_us} us apart")
    counts = np.zeros((len(start_us), n_units), np.uint16)
    if not counts.size or not times_us.size:
        return counts
    index = np.searchsorted(start_us, times_us, side="right") - 1
    inside = (index >= 0) & (times_us - start_us[np.maximum(index, 0)] < bin_us)
    cells = index[inside] * n_units + np.asarray(unit_index)[inside].astype(np.int64)
    cells, spikes = np.unique(cells, return_counts=True)
    if spikes.size and spikes.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"{spikes.max()} spikes of one unit in one bin of {bin_us} us")
    counts.reshape(-1)[cells] = spikes
    return counts
