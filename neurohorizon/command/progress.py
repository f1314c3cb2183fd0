"""Lines about a long computation: what is done, how far it is, and how long it still takes."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from neurohorizon.durations import as_time

PAUSE_S = 5.0
"""Shortest time between two lines about one step."""


class Progress:
    """Prints a line at each new step, and every few seconds.

    Args:
        label: Start of each line, such as the name of a file.
        quiet: Whether nothing is printed.
        stream: Stream of the lines; None: standard error.
        clock: Returns seconds.
    """

    def __init__(
        self,
        label: str,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label
        self.quiet = quiet
        self._stream = stream
        self._clock = clock
        self._began: float | None = None
        self._last: tuple[str, float] | None = None

    def __call__(self, step: str, share: float) -> None:
        """Print a step and the finished share of the computation, from 0 to 1."""
        now = self._clock()
        if self._began is None:
            self._began = now
        if self._last is not None and self._last[0] == step and now - self._last[1] < PAUSE_S:
            return
        self._last = (step, now)
        left = ""
        if 0.05 <= share < 1:
            left = f", about {as_time((now - self._began) * (1 - share) / share)} left"
        self.say(f"{step}, {100 * share:.0f} %{left}")

    def say(self, text: str) -> None:
        """Print a line."""
        if not self.quiet:
            print(f"{self.label}: {text}", file=self._stream or sys.stderr, flush=True)
