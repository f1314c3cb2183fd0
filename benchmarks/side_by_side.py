"""Ratio of the times of two implementations of the same work, which run in turn in one process."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Pair:
    """Ratio by which our implementation is faster, or smaller, than the other one.

    Attributes:
        name: Name of the comparison.
        ours: Description of ours.
        other: Description of the other.
        unit: Unit of the values: ``windows/s``, ``MB``.
        aim: Intended ratio; None: no aim.
        ratios: Ratio of each repeat, above 1 if ours is better, [repeat].
        ours_value: Median of ours, in ``unit``.
        other_value: Median of the other, in ``unit``.
    """

    name: str
    ours: str
    other: str
    unit: str
    aim: float | None
    ratios: tuple[float, ...]
    ours_value: float
    other_value: float

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the ratios."""
        return tuple(np.quantile(self.ratios, [0.25, 0.5, 0.75]).tolist())

    def as_dict(self) -> dict:
        """Fields and quartiles, for JSON."""
        return {**asdict(self), "quartiles": self.quartiles}


def seconds_in_turn(first: Callable[[], object], second: Callable[[], object], *, repeats: int) -> np.ndarray:
    """Run both once as a warm-up, then time them in turn; the first one alternates.

    Returns:
        Seconds, [repeat, first or second].
    """
    both = (first, second)
    for call in both:
        call()
    seconds = np.zeros((repeats, 2))
    for repeat in range(repeats):
        for index in (0, 1) if repeat % 2 == 0 else (1, 0):
            seconds[repeat, index] = seconds_of(both[index])
    return seconds


def compare(
    name: str,
    *,
    ours: tuple[str, Callable[[], object]],
    other: tuple[str, Callable[[], object]],
    amount: float,
    unit: str,
    aim: float | None,
    repeats: int,
) -> Pair:
    """Compare two implementations of the same work.

    Args:
        name: Name of the comparison.
        ours: Description and call of ours.
        other: Description and call of the other.
        amount: Amount of work of one call, in ``unit`` without its ``/s``.
        unit: Unit of the speed, such as ``windows/s``.
        aim: Intended ratio.
        repeats: Repeats of each after a warm-up.
    """
    seconds = seconds_in_turn(ours[1], other[1], repeats=repeats)
    medians = amount / np.median(seconds, axis=0)
    ratios = seconds[:, 1] / seconds[:, 0]
    return Pair(name, ours[0], other[0], unit, aim, tuple(ratios.tolist()), *medians.tolist())


def seconds_of(call: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def median_seconds(call: Callable[[], object], *, repeats: int) -> float:
    """Return the median over repeats of the seconds of a call, after one as a warm-up."""
    call()
    return float(np.median([seconds_of(call) for _ in range(repeats)]))
