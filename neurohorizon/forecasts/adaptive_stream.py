"""The online mixture while a recording runs: experts receive the same spikes and are weighed by outcomes."""

import numpy as np

from neurohorizon.config import Adaptive
from neurohorizon.forecasts.experts import Experts
from neurohorizon.forecasts.online_mixture import OnlineMixture, Pending
from neurohorizon.inputs.running_windows import RunningWindow
from neurohorizon.models.stream import Stream


class AdaptiveStream:
    """A running forecast of one recording by an online mixture.

    The numbers are those of :func:`neurohorizon.forecasts.online_mixture.mix_windows` for the same experts at the same
    origins.

    Args:
        experts: The experts, a network among them.
        settings: Groups of horizon bins, shares and prior.
        stride_bins: Every how many bins a forecast is learned from.
        start_s: Start of the first bin on the clock of the spikes, in seconds. Time before it counts as not recorded.

    Raises:
        ValueError: No expert is a network.
    """

    def __init__(self, experts: Experts, settings: Adaptive, *, stride_bins: int, start_s: float) -> None:
        self.experts = experts.of_method
        self.streams = {
            name: Stream(one.network, one.inputs, one.shape, start_s=start_s)
            for name, one in self.experts.items()
            if one.network is not None
        }
        if not self.streams:
            raise ValueError(f"the experts are {experts.methods}; expected a network among them")
        self.first = next(iter(self.streams.values()))
        shapes = {one.shape for one in self.experts.values() if one.network is None}
        self.windows = {shape: RunningWindow(shape, self.first.n_units) for shape in shapes}
        self.mixture = OnlineMixture(experts.methods, self.first.n_units, settings, stride_bins=stride_bins)
        self.passed_bins = 0
        self.pending: list[_Running] = []

    @property
    def origin_s(self) -> float:
        """Start of the current bin, which is the origin of the last forecast, in seconds."""
        return self.first.origin_s

    def push(self, times_s: np.ndarray, unit: np.ndarray) -> None:
        """Add spikes of bins that are not over; see :meth:`neurohorizon.models.stream.Stream.push`."""
        for stream in self.streams.values():
            stream.push(times_s, unit)

    def end_bin(self, *, valid: bool = True) -> None:
        """End the current bin without a forecast; see :meth:`neurohorizon.models.stream.Stream.end_bin`."""
        for stream in self.streams.values():
            stream.end_bin(valid=valid)
        self._count(valid)

    def next(self, *, valid: bool = True) -> np.ndarray:
        """End the current bin, learn from outcomes that are complete, and forecast from the bin's end.

        Args:
            valid: True if the bin was recorded.

        Returns:
            Natural log of expected counts per bin over the horizon from there on, float32, [horizon bin, unit].
        """
        forecasts = {name: stream.next(valid=valid) for name, stream in self.streams.items()}
        counts = self._count(valid)
        windows = {shape: one.windows(self.first.origin_us) for shape, one in self.windows.items()}
        for name, one in self.experts.items():
            if one.network is None:
                forecasts[name] = one.by(windows[one.shape], one.inputs)[0].astype(np.float32)
        for running in self.pending:
            running.add(counts, valid, self.mixture)
        self.pending = [one for one in self.pending if len(one.counts) < self.first.shape.horizon_bins]
        mixed, pending = self.mixture.forecast(np.stack([forecasts[name] for name in self.experts]))
        if self.passed_bins % self.mixture.stride_bins == 0:
            self.pending.append(_Running(pending))
        self.passed_bins += 1
        return mixed.astype(np.float32)

    def _count(self, valid: bool) -> np.ndarray:
        """Add the bin that the networks' streams have ended to all windows, and return its counts, [unit]."""
        counts = self.first.counted.context[0, -1].copy()
        for window in self.windows.values():
            window.add(counts, valid)
        return counts


class _Running:
    """A forecast and the outcome so far."""

    def __init__(self, pending: Pending) -> None:
        self.pending = pending
        self.counts: list[np.ndarray] = []
        self.valid: list[bool] = []

    def add(self, counts: np.ndarray, valid: bool, mixture: OnlineMixture) -> None:
        """Add a bin, [unit], and learn from the group of bins that it completes."""
        self.counts.append(counts)
        self.valid.append(valid)
        for group, bins in enumerate(mixture.groups):
            if bins.stop == len(self.counts):
                mixture.learn(self.pending, group, np.stack(self.counts[bins]), np.array(self.valid[bins]))
