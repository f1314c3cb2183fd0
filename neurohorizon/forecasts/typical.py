"""Rules that choose a typical window and the units of its picture; they prefer neither good nor bad forecasts."""

from collections.abc import Callable

import numpy as np

WINDOW_RULE = (
    "of the windows with at least the median number of spikes of scored units, the one whose score is closest to their "
    "median score"
)
UNITS_RULE = "units at evenly spaced ranks of spikes among those that fired in it"


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
