"""Population readout in closed form: from a session's own population modes to each unit's log rate.

It is fitted only on the reference window; see :mod:`neurohorizon.units.gains`.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy.sparse.linalg import eigsh

from neurohorizon.config import Readout, Timeline
from neurohorizon.files import replacing
from neurohorizon.session import read_session
from neurohorizon.units.counts import reference_counts
from neurohorizon.units.gains import LARGEST_LOG_GAIN, Origins, cumulative, fit_gains, mean_between
from neurohorizon.units.reference import WINDOW_NAMES, read_reference

LEAST_SPREAD = 0.01
"""Variance that is added to each direction of the state for its leverage, as a share of the mean variance."""
AXES = {
    "mean_counts": "unit",
    "modes": "unit, mode",
    "scale": "span, mode",
    "span_edges_bins": "span",
    "weights": "span * mode, unit, group",
    "distrust": "span * mode, direction",
    "cv_gain": "unit, 2 * group",
}
"""Arrays of a readout and their axes, in memory and in its file."""


@dataclass(frozen=True)
class PopulationReadout:
    """Weights from population modes over spans of recent history to log gains.

    Attributes:
        mean_counts: Expected counts per bin in the reference window, [unit].
        modes: Loading of each unit on each mode, for Pearson residuals, [unit, mode].
        scale: Standard deviation of each mode's mean over each span, [span, mode].
        span_edges_bins: Rising ends of the spans, in bins before the origin, [span].
        weights: Log gain per standard deviation, float32, [span * mode, unit, group].
        distrust: Directions of the state whose squared sum is its leverage times ``readout.leverage``, float32,
            [span * mode, direction]; no direction where leverage does not count.
        cv_gain: Cross-validated on blocks of the reference window: first the gain in nats per expected spike for
            each group of horizon bins, then the slope of the outcome on the readout, float32, [unit, 2 * group].
    """

    mean_counts: np.ndarray
    modes: np.ndarray
    scale: np.ndarray
    span_edges_bins: np.ndarray
    weights: np.ndarray
    distrust: np.ndarray
    cv_gain: np.ndarray

    def log_gain(
        self, context: np.ndarray, context_mask: np.ndarray, units: np.ndarray, encoded_units: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute the log gain of units from contexts.

        Far from the states of the reference window the weights are less certain. A gain is therefore divided by
        ``sqrt(1 + readout.leverage * h)``, where ``h`` is the leverage of the state in the reference window, relative
        to its mean there. This is the form of the mean of a Bayesian classifier whose weights are Gaussian (MacKay,
        Neural Computation 1992).

        Args:
            context: Counts, oldest bin first, 0 where masked, [window, context bin, unit].
            context_mask: Valid bins, [window, context bin].
            units: Indices of the units to read out, [head].
            encoded_units: True for units whose counts are read, [unit]; None: all.

        Returns:
            Natural log gain relative to the reference rate, float32, [window, head, group].
        """
        weights = self.weights[:, units]
        if not weights.size:
            return np.zeros((context.shape[0], *weights.shape[1:]), np.float32)
        # newest bins first, and none before the last span
        reach = slice(None, -int(self.span_edges_bins[-1]) - 1, -1)
        valid_bin = context_mask[:, reach]
        residual = self._residual(context[:, reach])
        if encoded_units is not None:
            residual *= encoded_units
        # one product for all bins, then sums over spans
        activity = (residual @ self.modes) * valid_bin[..., None]
        starts = [0, *self.span_edges_bins[:-1]]
        sums = np.add.reduceat(activity, starts, axis=1)
        valid = np.add.reduceat(valid_bin.astype(np.float32), starts, axis=1)
        state = sums / np.maximum(valid, 1)[..., None] / self.scale
        state = state.reshape(len(state), -1).astype(np.float32)
        gain = (state @ weights.reshape(len(weights), -1)).reshape(len(state), *weights.shape[1:])
        if self.distrust.size:
            leverage = np.square(state @ self.distrust).sum(axis=1)
            gain /= np.sqrt(1 + leverage)[:, None, None]
        return np.clip(gain, -LARGEST_LOG_GAIN, LARGEST_LOG_GAIN)

    def _residual(self, counts: np.ndarray) -> np.ndarray:
        """Compute the residuals of :func:`_pearson` window by window in one buffer, since memory takes most time."""
        residual = np.empty(counts.shape, np.float32)
        buffer, root = np.empty(counts.shape[1:]), np.sqrt(self.mean_counts)
        for one, out in zip(counts, residual, strict=True):
            np.subtract(one, self.mean_counts, out=buffer, dtype=np.float64)
            np.divide(buffer, root, out=out, casting="same_kind")
        return residual


def fit_readout(counts: np.ndarray, segment: np.ndarray, log_rate: np.ndarray, readout: Readout) -> PopulationReadout:
    """Fit the readout on binned spikes of a reference window.

    The population state at a forecast origin is the mean, over each span before it, of the leading principal
    components of Pearson residuals; log gains are regressed on it by :func:`neurohorizon.units.gains.fit_gains`.

    Args:
        counts: Observed spikes per bin, [bin, unit].
        segment: Index of the valid interval that each bin lies in, non-decreasing, [bin].
        log_rate: Natural log of the expected spikes per bin, [unit].
    """
    n_bins, n_units = counts.shape
    edges = np.asarray(readout.span_edges_bins)
    n_modes = min(readout.modes, n_units, n_bins)
    mean_counts = np.exp(log_rate)
    if n_modes == 0:
        return zero_readout(log_rate, readout)

    residual = _pearson(counts, mean_counts)
    modes = _principal_modes(residual, segment, n_modes)
    origins = Origins.of(segment)
    projected = cumulative(residual @ modes)
    state = np.stack([mean_between(projected, *span) for span in origins.past(edges)], axis=1)  # [origin, span, mode]
    scale = np.maximum(state.std(axis=0), 1e-6)
    state = (state / scale).reshape(len(state), -1)
    weights, cv_gain = fit_gains(state, cumulative(counts / mean_counts - 1), origins, mean_counts, readout)
    return PopulationReadout(
        mean_counts=mean_counts.astype(np.float32),
        modes=modes,
        scale=scale.astype(np.float32),
        span_edges_bins=edges,
        weights=weights,
        distrust=_distrust(state, readout.leverage),
        cv_gain=cv_gain,
    )


def _distrust(state: np.ndarray, leverage: float) -> np.ndarray:
    """Return directions of states [origin, state] whose squared sum has the mean ``leverage`` over these states."""
    if not leverage or not state.any():
        return np.zeros((state.shape[1], 0), np.float32)
    values, vectors = np.linalg.eigh(np.asarray(state.T @ state, np.float64) / len(state))
    # directions that hardly vary are shrunk: a change of one would otherwise count without bound
    spread = values + LEAST_SPREAD * values.mean()
    return (vectors * np.sqrt(leverage / (values / spread).sum() / spread)).astype(np.float32)


def zero_readout(log_rate: np.ndarray, readout: Readout) -> PopulationReadout:
    """Make a readout of zeros: no modes, no gain."""
    n_units, n_groups = log_rate.size, len(readout.horizon_edges_bins)
    edges = np.asarray(readout.span_edges_bins)
    return PopulationReadout(
        mean_counts=np.exp(log_rate).astype(np.float32),
        modes=np.zeros((n_units, 0), np.float32),
        scale=np.ones((edges.size, 0), np.float32),
        span_edges_bins=edges,
        weights=np.zeros((0, n_units, n_groups), np.float32),
        distrust=np.zeros((0, 0), np.float32),
        cv_gain=np.zeros((n_units, 2 * n_groups), np.float32),
    )


def _pearson(counts: np.ndarray, mean_counts: np.ndarray) -> np.ndarray:
    return ((counts - mean_counts) / np.sqrt(mean_counts)).astype(np.float32)


def _principal_modes(residual: np.ndarray, segment: np.ndarray, n_modes: int) -> np.ndarray:
    """Return the leading eigenvectors of the covariance of residuals, smoothed over pairs of bins in a segment."""
    same = segment[1:] == segment[:-1]
    pairs = (residual[1:] + residual[:-1])[same] / 2 if same.any() else residual
    covariance = np.asarray(pairs.T @ pairs, np.float64) / len(pairs)
    if 4 * n_modes > len(covariance):
        return np.linalg.eigh(covariance)[1][:, : -n_modes - 1 : -1].astype(np.float32)
    # an iteration for a dozen modes of a thousand units; a fixed start makes it reproducible
    start = np.ones(len(covariance))
    return eigsh(covariance, k=n_modes, v0=start)[1][:, ::-1].astype(np.float32)


def compute_readout_file(session: Path, features: Path, output: Path, *, readout: Readout, timeline: Timeline) -> None:
    """Fit the readout on every reference window of a session's feature file, and write them whole or not at all.

    The file of an excluded session has no units.

    Args:
        features: Its reference features.
    """
    read = read_session(session)
    with replacing(output) as temporary, h5py.File(temporary, "w") as file:
        for name in WINDOW_NAMES:
            window = read_reference(features, name)
            counts, segment = reference_counts(
                read.spike_times_us,
                read.spike_unit,
                n_units=read.n_units,
                intervals=window.intervals,
                bin_us=timeline.bin_ms * 1000,
            )
            fitted = fit_readout(counts, segment, window.reference_log_rate, readout)
            for field, axes in AXES.items():
                dataset = file.create_dataset(f"{name}/{field}", data=getattr(fitted, field))
                dataset.attrs["axes"] = axes


def read_readout(path: str | Path, name: str) -> PopulationReadout:
    """Read the readout of one reference window."""
    with h5py.File(path, "r") as file:
        return PopulationReadout(**{field: file[name][field][:] for field in AXES})
