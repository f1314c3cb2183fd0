"""When the probes of a session recorded together, which probe costs the others time, and which spikes are trimmed.

A reader takes the dropouts of each probe out of the valid time: zeros of a probe that did not record are no silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurohorizon.ingest.findings import Notes, list_names
from neurohorizon.ingest.thresholds import limit
from neurohorizon.session import SessionError
from neurohorizon.timeline import MICROSECONDS, Intervals


@dataclass(frozen=True)
class ProbeSpan:
    """When a probe recorded: from its first spike to its last."""

    probe: str
    first_s: float
    last_s: float


def recorded_span(probe: str, times_s: np.ndarray, notes: Notes) -> ProbeSpan:
    """Return when a probe recorded, without a few spikes that lie far from all others.

    Args:
        probe: Name of the probe.
        times_s: Its spikes, [spike], in any order; one or more must be finite.
        notes: Receives the finding ``stray_spikes``.
    """
    times_s = times_s[np.isfinite(times_s)]
    early, late = _strays(times_s), _strays(-times_s)
    kept = times_s
    if early or late:
        order = np.sort(times_s)
        kept = order[early : len(order) - late]
        strays = np.concatenate([order[:early], order[len(order) - late :]])
        notes.add(
            "stray_spikes",
            f"{probe}: {len(strays)} of {len(order)} spikes lie at {_times(strays)} s, all others at "
            f"{kept[0]:g} to {kept[-1]:g} s; they do not count as valid time: check the probe's clock",
            len(strays),
        )
    return ProbeSpan(probe, float(kept.min()), float(kept.max()))


def _strays(times_s: np.ndarray) -> int:
    """Count the first spikes that a long pause separates from all others."""
    if len(times_s) < limit("stray_of_spikes"):
        return 0
    most = int(max(limit("stray_spikes"), limit("stray_share") * len(times_s)))
    pauses = np.flatnonzero(np.diff(np.sort(np.partition(times_s, most)[: most + 1])) > limit("stray_pause_s"))
    return int(pauses[-1]) + 1 if len(pauses) else 0


def _times(times_s: np.ndarray) -> str:
    first, last = f"{times_s.min():g}", f"{times_s.max():g}"
    return first if first == last else f"{first} to {last}"


def shared_time(
    session: str, spans: Sequence[ProbeSpan], *, first_s: float = -np.inf, last_s: float = np.inf
) -> tuple[int, int]:
    """Return start and stop, in microseconds, of the whole seconds in which every probe recorded.

    Args:
        session: Name of the session, for messages.
        spans: When each probe recorded.
        first_s: Nothing before this counts, such as the first stimulus.
        last_s: Nothing after this counts.

    Raises:
        SessionError: The probes share no second, or their times are no seconds of one recording.
    """
    lengths_s = [span.last_s - span.first_s for span in spans]
    farthest_s = max(max(abs(span.first_s), abs(span.last_s)) for span in spans)
    if max(lengths_s) > limit("long_recording_s") or farthest_s > limit("far_recording_s"):
        raise SessionError(
            f"session {session}: spike times of {_listed(spans)}; expected seconds, less than a day of them: divide "
            "them by the sampling rate, or by 1000 if they are in milliseconds"
        )
    edges_s = max(first_s, *(span.first_s for span in spans)), min(last_s, *(span.last_s for span in spans))
    start_us, stop_us = (int(edge) * MICROSECONDS for edge in (np.ceil(edges_s[0]), np.floor(edges_s[1])))
    if stop_us <= start_us:
        shown = f", stimuli from {first_s:g} to {last_s:g} s" if np.isfinite([first_s, last_s]).all() else ""
        raise SessionError(
            f"session {session}: its probes share no second of recording: {_listed(spans)}{shown}; name the probes to "
            "use in the cohort table's column probes, or leave the session out"
        )
    return start_us, stop_us


def _listed(spans: Sequence[ProbeSpan]) -> str:
    return ", ".join(f"{span.probe} from {span.first_s:g} to {span.last_s:g} s" for span in spans)


def note_short_probes(
    spans: Sequence[ProbeSpan], notes: Notes, *, first_s: float = -np.inf, last_s: float = np.inf
) -> None:
    """Note each probe that recorded much less than the session, as ``short_probe``, with the seconds it costs.

    Args:
        spans: When each probe recorded.
        notes: Receives the findings.
        first_s: Nothing before this counts.
        last_s: Nothing after this counts.
    """
    clipped = clip(spans, first_s=first_s, last_s=last_s)
    whole_s = max(span.last_s for span in clipped) - min(span.first_s for span in clipped)
    length_s = {span.probe: span.last_s - span.first_s for span in clipped}
    longest = max(length_s, key=lambda probe: length_s[probe])
    long = [
        span
        for span in clipped
        if span.probe == longest or length_s[span.probe] >= (1 - limit("partial_share")) * whole_s
    ]
    names = [span.probe for span in long]
    for span in clipped:
        cost_s = _shared_s(long) - _shared_s([*long, span])
        if span.probe in names or not cost_s:
            continue
        notes.add(
            "short_probe",
            f"{span.probe} recorded from {span.first_s:g} to {span.last_s:g} s and costs the session {cost_s:g} s of "
            f"the {_shared_s(long):g} s of {', '.join(names)}; to leave it out, set the cohort table's column probes "
            f"to {','.join(names)}",
            round(cost_s),
        )


def clip(spans: Sequence[ProbeSpan], *, first_s: float, last_s: float) -> list[ProbeSpan]:
    """Return what of each span lies between two times."""
    return [ProbeSpan(span.probe, max(span.first_s, first_s), min(span.last_s, last_s)) for span in spans]


def _shared_s(spans: Sequence[ProbeSpan]) -> float:
    """Whole seconds that spans share."""
    first_s, last_s = max(span.first_s for span in spans), min(span.last_s for span in spans)
    return float(max(np.floor(last_s) - np.ceil(first_s), 0))


def count_trimmed(
    spans: Sequence[ProbeSpan], times_s: Mapping[str, np.ndarray], notes: Notes, *, start_us: int, stop_us: int
) -> None:
    """Count the spikes of each probe outside the shared time as the repair ``trimmed_{probe}``.

    Rounding to whole seconds trims some of every probe. If other probes cost more than that, it is a finding too,
    ``trimmed_spikes``.

    Args:
        spans: When each probe recorded.
        times_s: Spikes of the units of each probe, [spike], by probe.
        notes: Receives both.
        start_us: Start of the shared time.
        stop_us: Stop of the shared time.
    """
    start_s, stop_s = start_us / MICROSECONDS, stop_us / MICROSECONDS
    parts, lost = [], 0
    for span in spans:
        times = times_s[span.probe]
        outside = (times < start_s) | (times >= stop_s)
        count = int(np.count_nonzero(outside))
        notes.repairs[f"trimmed_{span.probe}"] = count
        parts.append(f"{count} of {len(times)} of {span.probe}")
        lost += int(np.count_nonzero(outside & (times >= np.ceil(span.first_s)) & (times < np.floor(span.last_s))))
    if lost:
        message = f"spikes outside {start_s:g} to {stop_s:g} s, when all probes recorded, dropped: {', '.join(parts)}"
        notes.add("trimmed_spikes", message, lost)


def silent_spans(times_s: np.ndarray, span: ProbeSpan) -> np.ndarray:
    """Return start and stop, in seconds, of silences in which a probe cannot have recorded, [silence, 2].

    They are longer than all usual pauses of the probe, and the probe's median rate expects many spikes in them.

    Args:
        times_s: Spikes of one probe, of all its clusters where the release has them, [spike], in any order.
        span: When the probe recorded; strays outside do not count.
    """
    order = times_s[(times_s >= span.first_s) & (times_s <= span.last_s)]
    order.sort()
    lengths_s = np.diff(order)
    if len(order) < limit("stray_of_spikes") or lengths_s.max() <= limit("dropout_s"):
        # nearly always, and without further copies of all spikes
        return np.zeros((0, 2))
    # most of the time is recorded, and so is the median second
    last_of_second = np.flatnonzero(np.diff(np.floor(order - order[0])))
    counts = np.diff(np.concatenate([[-1], last_of_second, [len(order) - 1]]))
    empty = np.floor(order[-1] - order[0]) + 1 - len(counts)
    middle = int((len(counts) - empty) // 2)
    rate_hz = np.sort(counts)[middle] if middle >= 0 else 0
    rising = np.sort(lengths_s)
    long_s = rising[np.searchsorted(np.cumsum(rising), 0.9 * rising.sum())]
    silent = (
        (lengths_s > limit("dropout_s"))
        & (rate_hz * lengths_s >= limit("dropout_spikes"))
        & (lengths_s > limit("dropout_usual") * long_s)
    )
    return np.stack([order[:-1][silent], order[1:][silent]], axis=1)


def without_dropouts(domain: Intervals, silent_s: Mapping[str, np.ndarray], notes: Notes) -> Intervals:
    """Take silences in which a probe cannot have recorded out of the valid time, as ``dropout``.

    Valid time stops and starts again at whole seconds.

    Args:
        domain: Valid time of the session.
        silent_s: Silences of each probe, of :func:`silent_spans`, by probe.
        notes: Receives the findings.
    """
    lost = Intervals.empty()
    for probe, spans_s in silent_s.items():
        edges_us = np.stack([np.floor(spans_s[:, 0]), np.ceil(spans_s[:, 1])]).astype(np.int64) * MICROSECONDS
        spans = Intervals.merged(*edges_us)
        cost_s = domain.intersect(spans).duration_us / MICROSECONDS
        if not cost_s:
            continue
        inside = [f"{start:.1f} to {stop:.1f} s" for start, stop in spans_s]
        notes.add(
            "dropout",
            f"{probe} has no spike at {list_names(inside)}, where its usual rate expects {limit('dropout_spikes'):g} "
            f"or more; {cost_s:g} s are taken out of valid time",
            len(spans_s),
        )
        lost = Intervals.merged(np.append(lost.start_us, spans.start_us), np.append(lost.stop_us, spans.stop_us))
    return domain.without(lost)
