"""Closed-form readout of behaviour and images: from past values of a signal to each unit's log rate.

It is fitted only on a reference window, like the population readout. Held-out movie seconds are not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from neurohorizon.config import Readout
from neurohorizon.modalities.signals import Signal
from neurohorizon.units.gains import FOLDS, LARGEST_LOG_GAIN, Origins, fit_gains, mean_between, ridge_gain

AXES = {
    "spans_bins": "span, bound",
    "center": "span * channel",
    "scale": "span * channel",
    "weights": "span * channel, unit, group",
    "cv_gain": "unit, 2 * group",
}
"""Arrays of a readout and their axes, in memory and in its file."""


@dataclass(frozen=True, eq=False)
class SignalReadout:
    """Weights that turn means of a signal over spans into log gains.

    Attributes:
        spans_bins: Nearest and farthest bin of each span, counted back from the time of reading, [span, 2].
        center, scale: Mean and standard deviation of each state in the reference window, [span * channel].
        weights: Log gain per standard deviation, float32, [span * channel, unit, group].
        cv_gain: Cross-validated on blocks of the reference window: first the gain in nats per expected spike for
            each group, then the slope of the outcome on the readout, float32, [unit, 2 * group].
    """

    spans_bins: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    cv_gain: np.ndarray

    def log_gain(self, signals: Sequence[Signal], at_us: np.ndarray, units: np.ndarray, bin_us: int) -> np.ndarray:
        """Compute the log gain of units.

        Args:
            signals: The signals that it was fitted on, with their current values.
            at_us: Times of reading, int64; no later value is read, [...].
            units: Indices of the units to read out, [head].

        Returns:
            Natural log gain relative to the reference rate, float32, [..., head, group].
        """
        state = _state(signals, at_us.reshape(-1), self.spans_bins, bin_us)
        state = np.where(state == 0, 0, (state - self.center) / self.scale).astype(np.float32)
        weights = self.weights[:, units]
        gain = (state @ weights.reshape(len(weights), -1)).reshape(*at_us.shape, *weights.shape[1:])
        return np.clip(gain, -LARGEST_LOG_GAIN, LARGEST_LOG_GAIN)


def fit_signal_readout(
    signals: Sequence[Signal],
    *,
    relative: np.ndarray,
    segment: np.ndarray,
    start_us: np.ndarray,
    mean_counts: np.ndarray,
    spans_bins: np.ndarray,
    readout: Readout,
    bin_us: int,
    ahead: bool,
) -> SignalReadout:
    """Fit the readout on binned spikes of a reference window.

    Args:
        signals: Signals that are read; their channels are concatenated.
        relative: Counts divided by their mean, minus one, summed by :func:`neurohorizon.units.gains.cumulative`,
            [bin + 1, unit].
        segment: Index of the valid interval that each bin lies in, non-decreasing, [bin].
        start_us: Start of each bin, [bin].
        mean_counts: Expected spikes per bin, [unit].
        spans_bins: Nearest and farthest bin of each span, counted back from the time of reading, [span, 2].
        readout: Spans of own history, groups of horizon bins and candidate precisions.
        ahead: False: signals are read up to the forecast origin, and each group of horizon bins has its weights.
            True: they are read up to the end of the bin that is forecast, and there is one group.
    """
    origins = Origins.of(segment)
    at_us = start_us[origins.index] + (bin_us if ahead else 0)
    raw = _state(signals, at_us, spans_bins, bin_us)
    known = raw != 0
    center = raw.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    scale = np.sqrt(((raw - center) ** 2 * known).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    scale = np.where(scale > 1e-6, scale, 1.0)
    state = np.where(known, (raw - center) / scale, 0).astype(np.float32)
    if ahead:
        outcome = mean_between(relative, origins.index, origins.index + 1)
        share = np.ones(origins.index.size, np.float32)
        block = np.arange(origins.index.size) * FOLDS // max(origins.index.size, 1)
        precisions = np.asarray(readout.ridge)
        weights, cv_gain = ridge_gain(state, outcome, share, mean_counts, block, precisions, each_unit=True)
        weights = weights[..., None]
    else:
        weights, cv_gain = fit_gains(state, relative, origins, mean_counts, readout, each_unit=True)
    return SignalReadout(
        spans_bins=np.asarray(spans_bins),
        center=center.astype(np.float32),
        scale=scale.astype(np.float32),
        weights=weights.astype(np.float32),
        cv_gain=cv_gain.astype(np.float32),
    )


def spans_before(edges_bins: Sequence[int], delay_bins: int = 0) -> np.ndarray:
    """List the spans between rising ends, counted back from ``delay_bins`` before the reading time, [span, 2]."""
    return np.column_stack([[0, *edges_bins[:-1]], edges_bins]) + delay_bins


def write_readouts(group: h5py.Group, readouts: Mapping[str, SignalReadout]) -> None:
    """Write readouts by name."""
    for name, readout in readouts.items():
        for field, axes in AXES.items():
            dataset = group.create_dataset(f"{name}/{field}", data=getattr(readout, field))
            dataset.attrs["axes"] = axes


def read_readouts(group: h5py.Group) -> dict[str, SignalReadout]:
    """Read all readouts of a group by name."""
    return {name: SignalReadout(**{field: part[field][:] for field in AXES}) for name, part in group.items()}


def _state(signals: Sequence[Signal], at_us: np.ndarray, spans_bins: np.ndarray, bin_us: int) -> np.ndarray:
    """Average all signals over all spans before each time, 0 where unknown, [time, span * channel]."""
    return np.concatenate(
        [
            signal.means(at_us - far * bin_us, at_us - near * bin_us)[0]
            for near, far in np.asarray(spans_bins)
            for signal in signals
        ],
        axis=1,
    )
