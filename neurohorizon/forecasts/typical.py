"""Rules that choose a typical window and the units of its picture; they prefer neither good nor bad forecasts."""

from collections.abc import Callable

import numpy as np

WINDOW_RULE = (
    "of the windows with at least the median number of spikes of scored units, the one whose score is closest to their "
    "median score"
)
UNITS_RULE = "units at evenly spaced ranks of spikes among those that fired in it"
SPAN_MS = 100.0
"""Length of the spans in which counts are shown."""
INTERVAL = (0.05, 0.95)
"""Quantiles of the bounds of a count."""


def choose_typical(usable: np.ndarray, spikes: np.ndarray, score: Callable[[int], float]) -> tuple[int | None, float]:
    """Choose a window by :data:`WINDOW_RULE`, and return its place and its score.

    Args:
        usable: Windows to choose from, such as those of valid time throughout, bool [window].
        spikes: Observed spikes of scored units, [window].
        score: Score of the window at a place, bits per spike.

    Returns:
        The earliest of equals; None if no usable window has a spike.
    """
    places = np.flatnonzero(usable & (spikes > 0))
    if not places.size:
        return None, float("nan")
    places = places[spikes[places] >= np.median(spikes[places])]
    scores = np.array([score(int(place)) for place in places])
    best = int(np.argmin(np.abs(scores - np.median(scores))))
    return int(places[best]), float(scores[best])


def spread_by_spikes(spikes: np.ndarray, most: int) -> np.ndarray:
    """Choose units by :data:`UNITS_RULE`, from the most spikes down.

    Args:
        spikes: Observed spikes in the window, 0 for units that are not candidates, [unit].
        most: Largest number of units.
    """
    ranked = np.argsort(-spikes, kind="stable")[: np.count_nonzero(spikes)]
    places = np.linspace(0, ranked.size - 1, min(most, ranked.size))
    return ranked[np.unique(places.round().astype(int))]


def span_starts(bins: int, bin_ms: float) -> np.ndarray:
    """Return the first bins of the spans of :data:`SPAN_MS` in which counts are shown, [span]."""
    return np.arange(0, bins, max(1, round(SPAN_MS / bin_ms)))


def median_count_window(*, observed: np.ndarray, target_mask: np.ndarray, context_valid: np.ndarray) -> int:
    """Choose the window with the median population spike count among windows that are valid throughout.

    Args:
        observed: Spikes per bin, [window, horizon_bin, unit].
        target_mask: Valid horizon bins, [window, horizon_bin].
        context_valid: True for windows whose whole context is valid time, [window].

    Returns:
        Its index; the lower median of an even number, the earliest of equals. If no window is valid throughout, the
        windows with the most valid bins are used.
    """
    validity = target_mask.sum(axis=1) + context_valid
    candidates = np.flatnonzero(validity == validity.max())
    spikes = observed[candidates].sum(axis=(1, 2), dtype=np.int64)
    order = np.argsort(spikes, kind="stable")
    median = spikes[order[(len(order) - 1) // 2]]
    return int(candidates[np.flatnonzero(spikes == median)[0]])
