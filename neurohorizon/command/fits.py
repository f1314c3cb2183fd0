"""Which networks have windows that fit a recording: the first part of the choice among released networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neurohorizon.command.cards import Candidate

LEAST_SHARE = 0.1
"""Share of the time that is forecast with the windows of another network, from which on windows are enough."""


@dataclass(frozen=True)
class Fit:
    """Windows of a network in the valid time of a recording.

    Attributes:
        candidate: The network.
        windows: Number of its windows after the reference window, one horizon apart.
    """

    candidate: Candidate
    windows: int

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.candidate.name

    @property
    def forecast_s(self) -> float:
        """Time that its windows forecast, in seconds."""
        return self.windows * self.candidate.lengths.horizon_s

    def as_text(self) -> str:
        """Return its lengths and its number of windows as text."""
        lengths, preparation = self.candidate.lengths, self.candidate.preparation
        inside = f"{lengths.context_s:g} s to {lengths.horizon_s:g} s" + (f", {preparation}" if preparation else "")
        return f"{self.name} ({inside}): {self.windows or 'no'} windows"

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        lengths = self.candidate.lengths
        return {
            "name": self.name,
            "context_s": lengths.context_s,
            "horizon_s": lengths.horizon_s,
            "preparation": self.candidate.preparation,
            "windows": self.windows,
        }


def fitting(fits: Sequence[Fit], preparation: str) -> tuple[Fit, ...]:
    """Return the networks that are left to choose from, in their order.

    First, those with enough windows: their windows forecast at least :data:`LEAST_SHARE` of the time that those of any
    other network forecast. Then, if the file names its preparation and a network of this preparation is left, those of
    this preparation. Then, those with the longest horizon, then with the longest context. Networks that are left have
    windows of the same lengths.

    Args:
        fits: Windows of each network; at least one.
        preparation: Preparation that the file names; "": none.
    """
    most_s = max(one.forecast_s for one in fits)
    left = [one for one in fits if one.forecast_s >= LEAST_SHARE * most_s]
    left = [one for one in left if preparation and one.candidate.preparation == preparation] or left
    longest = max((one.candidate.lengths for one in left), key=lambda one: (one.horizon_s, one.context_s, -one.bin_ms))
    return tuple(one for one in left if one.candidate.lengths == longest)
