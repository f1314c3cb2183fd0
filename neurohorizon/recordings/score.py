"""Score of forecasts of one recording."""

from dataclasses import dataclass

import numpy as np

from neurohorizon.scores import Sums, bits_per_spike


@dataclass(frozen=True, eq=False)
class Score:
    """Bits per spike relative to the mean rate of each unit in the reference window; see :mod:`neurohorizon.scores`.

    0 is the score of the mean rates, and more is better. A ratio is taken of sums, so units weigh by their spikes.

    Attributes:
        sums: Log-likelihoods and spikes, [bin, unit].
        unit_ids: Ids of the units as given, [unit].
        bin_s: Width of a bin in seconds.
        scored: True for units that reach the minimum rate in the reference window, [unit].

    >>> score = recording.score()
    >>> score.windows, score.of_unit.shape, score.of_bin.shape
    (329, (5,), (6,))
    >>> bool(float(score) == score.bits_per_spike)
    True
    """

    sums: Sums
    unit_ids: np.ndarray
    bin_s: float
    scored: np.ndarray

    @property
    def bits_per_spike(self) -> float:
        """Score of all scored units and bins; NaN without a spike."""
        return float(self._ratio(self.scored, axis=None))

    @property
    def of_unit(self) -> np.ndarray:
        """Score of each unit over the horizon, [unit]; NaN for a unit without a spike. All units have one."""
        return self._ratio(slice(None), axis=0)

    @property
    def of_bin(self) -> np.ndarray:
        """Score of the scored units in each bin of the horizon, [bin]."""
        return self._ratio(self.scored, axis=1)

    @property
    def windows(self) -> int:
        """Number of forecast origins whose first bin was recorded."""
        return int(self.sums.windows[0])

    def _ratio(self, units: np.ndarray | slice, axis: int | None) -> np.ndarray:
        names = {"model_nats": "model_nats", "null_nats": "reference_nats", "spikes": "spikes"}
        sums = {key: getattr(self.sums, name)[:, units].sum(axis=axis) for key, name in names.items()}
        return bits_per_spike(**sums)

    def __float__(self) -> float:
        return self.bits_per_spike

    def __repr__(self) -> str:
        units = f"{self.scored.sum()} of {self.scored.size} units"
        return f"Score({self.bits_per_spike:+.3f} bits per spike, {units}, {self.windows} windows)"
