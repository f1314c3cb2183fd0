"""Two ways of doing the same thing, timed in turn in one process: their ratio and its spread."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Pair:
    """How much faster, or how much smaller, ours is than the other.

    Attributes:
        name: What is compared.
        ours: Ours, in words.
        other: The other, in words.
        unit: What is counted: ``windows/s``, ``MB``.
        aim: Ratio that was aimed for; None: none was set.
        ratios: One for each repeat, above 1 where ours is better, [repeat].
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
    """Run both once to warm up, then time them in turn; which one begins alternates.

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
    """Compare two ways of doing an amount of the same work.

    Args:
        name: What is compared.
        ours: Ours, in words and as a call.
        other: The other.
        amount: How much one call does, in ``unit`` without its ``/s``.
        unit: Such as ``windows/s``.
        aim: Ratio that was aimed for.
        repeats: Times that each is run after a warm-up.
    """
    seconds = seconds_in_turn(ours[1], other[1], repeats=repeats)
    medians = amount / np.median(seconds, axis=0)
    ratios = seconds[:, 1] / seconds[:, 0]
    return Pair(name, ours[0], other[0], unit, aim, tuple(ratios.tolist()), *medians.tolist())


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def median_seconds(call: Callable[[], object], *, repeats: int) -> float:
    """Median over repeats of the seconds that a call takes, after one to warm up."""
    call()
    return float(np.median([seconds_of(call) for _ in range(repeats)]))
