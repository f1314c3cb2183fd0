"""Intervals whose width follows their misses, so that they keep their coverage while a recording changes.

The quantiles of draws are moved away from their median, or towards it, by a factor that is learned while the recording
runs: after each complete outcome, ``log factor <- log factor + rate (miss - allowed)``, where ``miss`` is 1 if the
count was outside and ``allowed`` is the share that may be outside. In the long run the share of misses is the allowed
one, whatever the recording does. This is adaptive conformal inference (Gibbs and Candes, 2021) with a factor instead of
a level, since a level cannot reach beyond the largest of few draws. An outcome counts only after its last bin is over.
"""

from collections import deque

import numpy as np

RATE = 0.05
_LARGEST = 20.0


class AdaptedInterval:
    """Central intervals of the counts of one recording, with a factor for each count.

    Args:
        interval: Nominal coverage, such as 0.9.
        rate: Change of the log factor after a miss, divided by the nominal coverage.
    """

    def __init__(self, interval: float, rate: float = RATE) -> None:
        self.allowed = 1 - interval
        self.rate = rate
        self.log_factor: np.ndarray | None = None
        self._waiting: deque[tuple[int, np.ndarray, np.ndarray]] = deque()

    def bounds(self, draws: np.ndarray, origin_us: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the interval at one origin, after learning from outcomes that are complete there.

        Args:
            draws: Draws of each count, [..., path].
            origin_us: Forecast origin in microseconds; it must not fall from call to call.

        Returns:
            Smallest and largest count inside, [...].
        """
        if self.log_factor is None:
            self.log_factor = np.zeros(draws.shape[:-1])
        while self._waiting and self._waiting[0][0] <= origin_us:
            _, miss, valid = self._waiting.popleft()
            moved = self.log_factor + self.rate * (miss - self.allowed)
            self.log_factor = np.where(valid, np.clip(moved, -np.log(_LARGEST), np.log(_LARGEST)), self.log_factor)
        levels = [self.allowed / 2, 0.5, 1 - self.allowed / 2]
        low, middle, high = np.quantile(draws, levels, axis=-1)
        factor = np.exp(self.log_factor)
        return np.maximum(np.ceil(middle - factor * (middle - low)), 0), np.floor(middle + factor * (high - middle))

    def expect(self, inside: np.ndarray, valid: np.ndarray, complete_us: int) -> None:
        """Note an outcome, from which later intervals learn.

        Args:
            inside: True where the count was inside its interval, [...].
            valid: True where the count is of valid time, broadcasts with ``inside``.
            complete_us: End of the last bin of the outcome in microseconds.
        """
        self._waiting.append((int(complete_us), ~inside, np.broadcast_to(valid, inside.shape)))
