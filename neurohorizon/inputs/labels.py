"""Labels of windows for decoding: what a behaviour series was at the end of a context.

A label is the series' mean over the last ``span_bins`` bins before an origin, so it is of the same time as the last
spikes that are read: decoding, not forecasting. Labels stand on a grid, one span apart, and a budget of labels is
counted in them, so that every decoder learns from the same ones.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.session import Series, SpikeReader, read_behaviour, read_identity, read_splits, read_unit_ids
from neurohorizon.timeline import MICROSECONDS, Intervals, Splits, to_us


@dataclass(frozen=True, eq=False)
class LabelSeries:
    """A behaviour series as labels.

    Attributes:
        times_us: Sample times, int64 [sample], sorted.
        total: Sum of the known samples before each one, float64 [sample + 1, channel].
        unknown: How many samples before each one are not known, int64 [sample + 1].
        name: Name of the series.
        unit: Unit of its values.
    """

    times_us: np.ndarray
    total: np.ndarray
    unknown: np.ndarray
    name: str
    unit: str

    @classmethod
    def of(cls, series: Series, *, name: str, still_s: float | None) -> "LabelSeries":
        """Take a series; what is not finite is not known.

        Args:
            series: The series, as stored.
            name: Its name.
            still_s: Samples in a longer run of exactly one value are not known either: a tracker that lost the animal
                repeats itself; None: runs of any length are believed.
        """
        times_us = to_us(series.times_s)
        known = np.isfinite(series.values).all(axis=1)
        if still_s is not None:
            begins = np.append(True, (series.values[1:] != series.values[:-1]).any(axis=1))
            first = np.flatnonzero(begins)
            last_us = np.append(times_us[first[1:]], times_us[-1])
            still = last_us - times_us[first] > still_s * MICROSECONDS
            known &= ~still[np.cumsum(begins) - 1]
        values = np.where(known[:, None], series.values, 0).astype(np.float64)
        return cls(
            times_us=times_us,
            total=np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0)]),
            unknown=np.append(0, np.cumsum(~known)),
            name=name,
            unit=series.unit,
        )

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.total.shape[1]

    def at(self, origin_us: np.ndarray, span_us: int) -> tuple[np.ndarray, np.ndarray]:
        """Average over the span that ends at each origin.

        Args:
            origin_us: Ends of the spans, int64, any shape.
            span_us: Length of a span.

        Returns:
            Mean of the samples in the span, 0 where not known, float32 [..., channel]; and whether it is known: there
            is a sample, and none of them is unknown, [...].
        """
        first, last = (np.searchsorted(self.times_us, origin_us - back) for back in (span_us, 0))
        known = (last > first) & (self.unknown[last] == self.unknown[first])
        mean = (self.total[last] - self.total[first]) / np.maximum(last - first, 1)[..., None]
        return np.where(known[..., None], mean, 0).astype(np.float32), known


@dataclass(frozen=True, eq=False)
class LabelledSession:
    """A session whose behaviour is decoded.

    Attributes:
        session_id, subject, lab, source: Who it is.
        unit_ids: Names of its units, unique across sessions, [unit].
        spikes: Its spikes.
        splits: Parts of its valid time.
        labels: Its behaviour; None where the session does not have the series.
    """

    session_id: str
    subject: str
    lab: str
    source: str
    unit_ids: tuple[str, ...]
    spikes: SpikeReader
    splits: Splits
    labels: LabelSeries | None


def read_labelled(path: Path, *, target: str, still_s: float | None) -> LabelledSession | None:
    """Read a session and the series that is decoded; None for a session that was left out."""
    identity = read_identity(path)
    if identity.pop("left_out"):
        return None
    series = read_behaviour(path).get(target)
    session_id = identity.pop("session")
    return LabelledSession(
        session_id=session_id,
        **identity,
        unit_ids=tuple(f"{session_id}/{unit}" for unit in read_unit_ids(path)),
        spikes=SpikeReader(path),
        splits=read_splits(path),
        labels=None if series is None else LabelSeries.of(series, name=target, still_s=still_s),
    )


def labelled_origins(
    part: Intervals, labels: LabelSeries, shape: WindowShape, *, span_bins: int, stride_bins: int | None = None
) -> np.ndarray:
    """List the ends of the windows that lie wholly inside one interval and whose label is known.

    Args:
        part: Valid time.
        labels: What is decoded.
        shape: Lengths in bins; its horizon plays no part in decoding, and should be 0.
        span_bins: Bins that a label is the mean of.
        stride_bins: Distance between windows; None: one span, the grid of all labels.

    Returns:
        Origins, int64 microseconds, rising, [window].
    """
    origins = evaluation_origins(part, shape, stride_bins or span_bins)
    return origins[labels.at(origins, span_bins * shape.bin_us)[1]]


def last_labels(origin_us: np.ndarray, *, seconds: float, span_us: int) -> np.ndarray:
    """Return the last labels of a grid, as many as so many seconds hold: those nearest to what comes after."""
    return origin_us[max(len(origin_us) - int(seconds * MICROSECONDS) // span_us, 0) :]
