"""A running forecast of a recording, with the ids of its units."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from neurohorizon.config import Adaptive
from neurohorizon.forecasts.adaptive_stream import AdaptiveStream
from neurohorizon.inputs.windows import WindowShape, cut_windows
from neurohorizon.methods import ADAPTIVE
from neurohorizon.models.stream import Stream
from neurohorizon.recordings.forecast import Forecast
from neurohorizon.timeline import MICROSECONDS, to_us

if TYPE_CHECKING:
    from neurohorizon.recordings.recording import Recording


class RecordingStream:
    """A running forecast of a recording, from :meth:`Recording.stream`.

    An adaptive stream mixes every expert of the network's adaptive forecast. Of the spikes only the last context is
    kept, and of the far history its sums, so memory does not grow.
    """

    def __init__(self, recording: "Recording", start_us: int, *, adaptive: Adaptive | None) -> None:
        self.recording = recording
        self.adaptive = adaptive is not None
        self._index = {one: index for index, one in enumerate(recording.unit_ids.tolist())}
        shapes = [recording.shape] if adaptive is None else [one.shape for one in recording.experts.of_method.values()]
        reach = max(max(one.history_edges_bins[-1], one.context_bins) for one in shapes)
        times_us, unit, valid = _before(recording, start_us, reach)
        bin_us = recording.shape.bin_us
        first_us = start_us - valid.size * bin_us
        self._stream = _stream(recording, adaptive, first_us / MICROSECONDS)
        edges = np.searchsorted(times_us, first_us + np.arange(valid.size + 1) * bin_us)
        for bin_index, recorded in enumerate(valid.tolist()):
            spikes = slice(edges[bin_index], edges[bin_index + 1])
            self._stream.push(times_us[spikes] / MICROSECONDS, unit[spikes])
            self._stream.end_bin(valid=recorded)

    @property
    def origin_s(self) -> float:
        """Start of the current bin, which is the origin of the last forecast, in seconds."""
        return self._stream.origin_s

    def push(self, times: ArrayLike, unit_ids: ArrayLike) -> None:
        """Add spikes of bins that are not over, in any order.

        Args:
            times: Times in seconds, [spike].
            unit_ids: Id of the unit of each, [spike], or one id for all.

        Raises:
            ValueError: A spike is of a bin that is over, or of an unknown unit. None of the spikes is added.
        """
        times_s = np.atleast_1d(np.asarray(times, np.float64))
        ids = np.asarray(unit_ids)
        ids = np.full(times_s.shape, ids) if ids.ndim == 0 else ids
        if times_s.ndim != 1 or ids.shape != times_s.shape:
            raise ValueError(f"times have shape {times_s.shape} and unit_ids {ids.shape}; expected [spike] for both")
        unit = [self._index.get(one, -1) for one in ids.tolist()]
        if -1 in unit:
            raise ValueError(
                f"unit {ids.tolist()[unit.index(-1)]!r} is none of the {len(self._index)} units of the recording, such "
                f"as {next(iter(self._index))!r}; no spike was added"
            )
        late = to_us(times_s) < to_us(self.origin_s)
        if late.any():
            first = int(np.argmax(late))
            raise ValueError(
                f"{late.sum()} of {late.size} spikes are out of order, first that of unit {ids.tolist()[first]!r} at "
                f"{times_s[first]:.6f} s: the bins before {self.origin_s:.3f} s are over, and no spike was added; push "
                "each spike before `next` ends its bin"
            )
        self._stream.push(times_s, np.array(unit, np.int64))

    def next(self, *, valid: bool = True) -> Forecast:
        """End the current bin, and forecast from its end.

        Args:
            valid: True if the bin was recorded. If not, its spikes are dropped and it counts as unknown, not silent.

        Returns:
            A forecast of one origin, whose counts are not observed yet.
        """
        log_rate = self._stream.next(valid=valid)[None]
        return Forecast(
            log_rate=log_rate,
            origin_us=to_us(np.array([self.origin_s])),
            counts=np.zeros(log_rate.shape, np.int16),
            valid=np.zeros(log_rate.shape[:2], bool),
            method=ADAPTIVE if self.adaptive else self.recording.card.method,
            recording=self.recording,
        )


def _stream(recording: "Recording", adaptive: Adaptive | None, start_s: float) -> Stream | AdaptiveStream:
    if adaptive is None:
        return Stream(recording.forecaster, recording.inputs, recording.shape, start_s=start_s)
    stride_bins = recording.card.timeline.evaluation_stride_bins
    return AdaptiveStream(recording.experts, adaptive, stride_bins=stride_bins, start_s=start_s)


def _before(recording: "Recording", start_us: int, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return spikes of the recording before the start, and the validity of their bins.

    Args:
        reach: Maximum number of bins that the first contexts and histories reach back.

    Returns:
        Microseconds and units of spikes, [spike], and True for bins of valid time up to the start, [bin].
    """
    shape, part, session = recording.shape, recording.inputs.part, recording.session
    first_us = int(part.start_us[0]) if len(part) else start_us
    bins = min(reach, max(-(-(start_us - first_us) // shape.bin_us), 0))
    if not bins:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool)
    before = WindowShape(shape.bin_us, context_bins=bins, horizon_bins=1, history_edges_bins=(bins,))
    valid = cut_windows(recording.inputs.spikes, part, np.array([start_us]), before).context_mask[0]
    first, last = np.searchsorted(session.spike_times_us, [start_us - bins * shape.bin_us, start_us])
    return session.spike_times_us[first:last], session.spike_unit[first:last].astype(np.int64), valid
