"""Labels of windows for decoding: the mean of a behaviour series at the end of a context.

A label is the series' mean over the last ``span_bins`` bins before an origin, so it is of the same time as the last
spikes that are read: decoding, not forecasting. Labels are on a grid, one span apart, and a budget of labels is
counted in them, so that every decoder learns from the same ones.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neurohorizon.config import Poyo, Timeline
from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.session import Series, SpikeReader, read_behaviour, read_identity, read_splits, read_unit_ids
from neurohorizon.timeline import MICROSECONDS, Splits, to_us

MINIMUM_LABELS = 20
"""Fewest labels that anything is fitted on, or scored on."""


@dataclass(frozen=True, eq=False)
class LabelSeries:
    """A behaviour series as labels.

    Attributes:
        times_us: Sample times, int64 [sample], sorted.
        total: Sum of the known samples before each one, float64 [sample + 1, channel].
        unknown: Number of unknown samples before each one, int64 [sample + 1].
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
        """Take a series; samples that are not finite are unknown.

        Samples in a run of one value longer than ``still_s`` are unknown too, since a tracker that lost the animal
        repeats its value; None allows runs of any length.
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
        """Average over the span that ends at each origin, int64, any shape.

        Returns:
            Mean of the samples in the span, 0 where unknown, float32 [..., channel]; and whether it is known, [...]:
            there is a sample, and no unknown one.
        """
        first, last = (np.searchsorted(self.times_us, origin_us - back) for back in (span_us, 0))
        known = (last > first) & (self.unknown[last] == self.unknown[first])
        mean = (self.total[last] - self.total[first]) / np.maximum(last - first, 1)[..., None]
        return np.where(known[..., None], mean, 0).astype(np.float32), known


@dataclass(frozen=True, eq=False)
class LabelledSession:
    """A session whose behaviour is decoded.

    Attributes:
        session_id, subject, lab, source: Its identity.
        unit_ids: Names of its units, unique across sessions, [unit].
        spikes: Its spikes.
        splits: Parts of its valid time.
        labels: Its behaviour; None where the session does not have the series.
        left_out: Reason why it cannot be decoded; "" where it can.
    """

    session_id: str
    subject: str
    lab: str
    source: str
    unit_ids: tuple[str, ...]
    spikes: SpikeReader
    splits: Splits
    labels: LabelSeries | None
    left_out: str


def read_labelled(path: Path, *, target: str, still_s: float | None) -> LabelledSession:
    """Read a session and the series that is decoded."""
    identity = read_identity(path)
    series = read_behaviour(path).get(target)
    session_id = identity.pop("session")
    if series is None:
        identity["left_out"] = identity["left_out"] or f"the session has no behaviour series {target}"
    return LabelledSession(
        session_id=session_id,
        **identity,
        unit_ids=tuple(f"{session_id}/{unit}" for unit in read_unit_ids(path)),
        spikes=SpikeReader(path),
        splits=read_splits(path),
        labels=None if series is None else LabelSeries.of(series, name=target, still_s=still_s),
    )


def decoding_shape(timeline: Timeline) -> WindowShape:
    """Windows for decoding: a context and no horizon."""
    return replace(WindowShape.of(timeline), horizon_bins=0)


def label_span_us(poyo: Poyo, timeline: Timeline) -> int:
    """Time that a label is the mean of, and that it counts for."""
    return poyo.target_bins * timeline.bin_ms * 1000


def learned_origins(session: LabelledSession, part: str, poyo: Poyo, timeline: Timeline) -> np.ndarray:
    """Ends of the windows of a part of a session whose labels are known, one for each label, int64 [window]."""
    return _origins(session, part, poyo, timeline, poyo.target_bins)


def scored_origins(session: LabelledSession, part: str, poyo: Poyo, timeline: Timeline) -> np.ndarray:
    """Ends of the windows of a part that are scored, at the distance of scored forecasts, int64 [window]."""
    return _origins(session, part, poyo, timeline, timeline.evaluation_stride_bins)


def labelled_origins(session: LabelledSession, poyo: Poyo, timeline: Timeline) -> np.ndarray:
    """Ends of the windows of a new session whose labels may be learned from, int64 [window].

    These are the last ``labelled_s`` of known labels in its reference window, those nearest to the test part.
    """
    origins = learned_origins(session, "reference", poyo, timeline)
    wanted = int(poyo.labelled_s * MICROSECONDS) // label_span_us(poyo, timeline)
    return origins[max(len(origins) - wanted, 0) :]


def _origins(session: LabelledSession, part: str, poyo: Poyo, timeline: Timeline, stride_bins: int) -> np.ndarray:
    if session.labels is None:
        return np.zeros(0, np.int64)
    origins = evaluation_origins(getattr(session.splits, part), decoding_shape(timeline), stride_bins)
    return origins[session.labels.at(origins, label_span_us(poyo, timeline))[1]]
