"""The online mixture while a recording runs: several networks receive the same spikes and are weighed by outcomes."""

from collections.abc import Mapping

import numpy as np

from neurohorizon.config import Adaptive
from neurohorizon.forecasts.online_mixture import OnlineMixture, Pending
from neurohorizon.methods import REFERENCE_MEAN
from neurohorizon.models.stream import Stream


class AdaptiveStream:
    """A running forecast of one recording by an online mixture.

    The experts are the networks and the reference mean. The numbers are those of
    :func:`neurohorizon.forecasts.online_mixture.mix_windows` for the same experts at the same origins.

    Args:
        streams: A stream of each network, by the name of its method, all of the same recording, shape and start.
        settings: Groups of horizon bins, shares and prior.
        stride_bins: Every how many bins a forecast is learned from.

    Raises:
        ValueError: The streams differ in start, units or horizon, or there are none.
    """

    def __init__(self, streams: Mapping[str, Stream], settings: Adaptive, *, stride_bins: int) -> None:
        found = {(one.origin_us, one.n_units, one.shape) for one in streams.values()}
        if len(found) != 1:
            raise ValueError(f"the streams have {len(found)} different starts, units or shapes; expected one")
        self.streams = dict(streams)
        self.first = next(iter(self.streams.values()))
        mean = self.first.inputs.reference_log_rate.astype(np.float32)
        self.reference = np.tile(mean, (self.first.shape.horizon_bins, 1))
        self.mixture = OnlineMixture(
            (REFERENCE_MEAN, *self.streams), self.first.n_units, settings, stride_bins=stride_bins
        )
        self.passed_bins = 0
        self.pending: list[_Running] = []

    def push(self, times_s: np.ndarray, unit: np.ndarray) -> None:
        """Add spikes of bins that are not over; see :meth:`neurohorizon.models.stream.Stream.push`."""
        for stream in self.streams.values():
            stream.push(times_s, unit)

    def next(self, *, valid: bool = True) -> np.ndarray:
        """End the current bin, learn from outcomes that are complete, and forecast from the bin's end.

        Args:
            valid: True if the bin was recorded.

        Returns:
            Natural log of expected counts per bin over the horizon from there on, float32, [horizon bin, unit].
        """
        log_rate = np.stack([self.reference, *(stream.next(valid=valid) for stream in self.streams.values())])
        counts = self.first.context[0, -1].copy()
        for running in self.pending:
            running.add(counts, valid, self.mixture)
        self.pending = [one for one in self.pending if len(one.counts) < self.first.shape.horizon_bins]
        mixed, pending = self.mixture.forecast(log_rate)
        if self.passed_bins % self.mixture.stride_bins == 0:
            self.pending.append(_Running(pending))
        self.passed_bins += 1
        return mixed.astype(np.float32)


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
