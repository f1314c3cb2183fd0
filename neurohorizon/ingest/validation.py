"""What is wrong or odd in a session: checks on the session's record, and their report as JSON.

A fatal finding means that the session cannot be trained on or forecast; :func:`require_usable` stops it
before its file is written. Warnings are for people: nothing downstream reads them. The picture is drawn by
:mod:`neurohorizon.ingest.validation_figure`.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from neurohorizon.config import Splits as SplitSettings
from neurohorizon.config import Timeline
from neurohorizon.files import replacing
from neurohorizon.ingest.findings import Finding, decode_findings, list_names
from neurohorizon.session import Session, SessionError
from neurohorizon.timeline import MICROSECONDS, MINIMUM_REFERENCE_S, Intervals, bin_domain, cut_domain, to_us

IMPLAUSIBLE_RATE_HZ = 100.0
"""No well-isolated neuron of these preparations keeps this up on average; noise clusters do."""
SILENCE_S = 2.0
"""Shortest silence of a whole population that is reported ..."""
SILENCE_EXPECTED_SPIKES = 50
"""... if this number of spikes is expected in it, from the session's mean rate."""
SERIES_PAUSE_S = 1.0
"""Shortest pause between two samples of a behaviour series that is reported ..."""
SERIES_PAUSE_STEPS = 10
"""... if it is this many times the usual step."""
OVERLAP_S = 1e-4
"""Stimuli that overlap by less are taken to follow one another: their times come from another clock."""
INVALID_STIMULUS = "invalid_presentation"
"""AllenSDK's name of stimuli during which the screen failed."""
LOST_UNIT_SPIKES = 50
"""A unit with at least this number of spikes, all in one half of the valid time, appeared or was lost on the way."""


@dataclass(frozen=True)
class Report:
    """Findings on a session, and the numbers behind them.

    Attributes:
        session: Session id.
        source: Kind of release.
        subject: Animal.
        lab: Laboratory.
        date: ISO date.
        left_out: Why ingest left the session out; None where it did not.
        summary: Units, spikes, seconds of valid time, windows of each part; empty for one left out.
        findings: Fatal ones first.
    """

    session: str
    source: str
    subject: str
    lab: str
    date: str
    left_out: str | None
    summary: dict[str, float]
    findings: tuple[Finding, ...]

    @property
    def fatal(self) -> tuple[Finding, ...]:
        """Findings because of which the session cannot be used."""
        return tuple(finding for finding in self.findings if finding.severity == "fatal")


def validate_session(session: Session, *, timeline: Timeline, splits: SplitSettings) -> Report:
    """Check a session.

    Args:
        session: The record as read or as ingest made it.
        timeline: Bins and windows that it must have room for.
        splits: For the gap between the halves of its training part.
    """
    if session.left_out is not None:
        summary: dict[str, float] = {}
        findings = [Finding("left_out", "fatal", f"left out: {session.left_out}", 1)]
    else:
        summary = _summary(session, timeline)
        found = [*_room(session, timeline, splits), *_units(session), *_clock(session), *_spikes(session)]
        found += [*_tables(session), *_notes(session)]
        findings = sorted(found, key=lambda finding: finding.severity != "fatal")
    return Report(
        session=session.session_id,
        source=session.source,
        subject=session.subject,
        lab=session.lab,
        date=session.date,
        left_out=session.left_out,
        summary=summary,
        findings=tuple(findings),
    )


def require_usable(session: Session, *, timeline: Timeline, splits: SplitSettings) -> None:
    """Refuse a session with a fatal finding.

    Raises:
        SessionError: Its fatal findings, in words.
    """
    fatal = validate_session(session, timeline=timeline, splits=splits).fatal
    if fatal:
        raise SessionError(f"{session.session_id}: " + "; ".join(finding.message for finding in fatal))


def write_report(path: str | Path, report: Report) -> None:
    """Write a report as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def count_windows(part: Intervals, timeline: Timeline) -> int:
    """Windows of whole valid bins in a part, as far apart as forecast origins on held-out time are."""
    bins = np.bincount(bin_domain(part, timeline.bin_ms * 1000).segment)
    room = bins - (timeline.context_bins + timeline.horizon_bins)
    return int((room[room >= 0] // timeline.evaluation_stride_bins + 1).sum())


def _summary(session: Session, timeline: Timeline) -> dict[str, float]:
    parts = {name: getattr(session.splits, name) for name in ("reference", "test", "train", "validation")}
    return {
        "units": session.n_units,
        "spikes": len(session.spike_times_us),
        "trials": len(session.trials["start"]),
        "presentations": len(session.stimuli["start"]),
        "intervals": len(session.domain),
        "valid_s": session.domain.duration_us / MICROSECONDS,
        **{f"{name}_s": part.duration_us / MICROSECONDS for name, part in parts.items()},
        **{f"{name}_windows": count_windows(part, timeline) for name, part in parts.items()},
    }


def _room(session: Session, timeline: Timeline, splits: SplitSettings) -> Iterator[Finding]:
    train = session.splits.train
    halves = cut_domain(train, first_us=train.duration_us // 2, gap_us=int(to_us(splits.gap_s)))
    references = {"reference": session.splits.reference}
    references |= dict(zip(("first half of train", "second half of train"), halves, strict=True))
    for name, part in references.items():
        whole_s = len(bin_domain(part, timeline.bin_ms * 1000)) * timeline.bin_ms / 1000
        if whole_s < MINIMUM_REFERENCE_S:
            yield Finding(
                "too_short",
                "fatal",
                f"the {name} has {whole_s:g} s of whole bins, less than the {MINIMUM_REFERENCE_S:g} s "
                "from which units are described: leave the session out, or give it more time in splits",
                1,
            )
    window_s = (timeline.context_bins + timeline.horizon_bins) * timeline.bin_ms / 1000
    narrow = [
        name for name in ("test", "train", "validation") if not count_windows(getattr(session.splits, name), timeline)
    ]
    if narrow:
        parts = [getattr(session.splits, name) for name in narrow]
        longest_s = max((part.stop_us - part.start_us).max(initial=0) for part in parts) / MICROSECONDS
        yield Finding(
            "too_short",
            "fatal",
            f"no window of context and horizon ({window_s:g} s) fits into {', '.join(narrow)}, whose longest interval "
            f"is {longest_s:g} s: leave the session out, or shorten the context or the horizon",
            len(narrow),
        )
    for name in ("reference", "test", "train", "validation"):
        if not getattr(session.splits, name).contains(session.spike_times_us).any():
            yield Finding("no_spikes", "fatal", f"no unit fires in {name}: nothing can be learned or scored", 1)


def _units(session: Session) -> Iterator[Finding]:
    spikes = np.bincount(session.spike_unit, minlength=session.n_units)
    silent = spikes == 0
    if silent.any():
        yield _of_units(session, "empty_units", "never fire in valid time", silent)
    for name in ("reference", "test"):
        inside = getattr(session.splits, name).contains(session.spike_times_us)
        missing = (np.bincount(session.spike_unit[inside], minlength=session.n_units) == 0) & ~silent
        if missing.any():
            yield _of_units(session, f"silent_in_{name}", f"are silent in {name} and fire elsewhere", missing)
    rate_hz = spikes / (session.domain.duration_us / MICROSECONDS)
    if (rate_hz > IMPLAUSIBLE_RATE_HZ).any():
        what = f"fire above {IMPLAUSIBLE_RATE_HZ:g} Hz on average (up to {rate_hz.max():.0f} Hz): likely noise"
        yield _of_units(session, "implausible_rate", what, rate_hz > IMPLAUSIBLE_RATE_HZ)
    first_half, _ = cut_domain(session.domain, first_us=session.domain.duration_us // 2, gap_us=1)
    early = np.bincount(session.spike_unit[first_half.contains(session.spike_times_us)], minlength=session.n_units)
    one_sided = (spikes >= LOST_UNIT_SPIKES) & ((early == 0) | (early == spikes))
    if one_sided.any():
        yield _of_units(session, "one_sided_units", "fire in one half of the valid time only", one_sided)


def _of_units(session: Session, code: str, what: str, which: np.ndarray) -> Finding:
    names = session.units["id"][which].tolist()
    return Finding(code, "warning", f"{len(names)} of {session.n_units} units {what}: {list_names(names)}", len(names))


def _clock(session: Session) -> Iterator[Finding]:
    domain = session.domain
    pauses_us = domain.start_us[1:] - domain.stop_us[:-1]
    if pauses_us.any():
        yield Finding(
            "gaps",
            "warning",
            f"valid time is in {len(domain)} pieces; pauses last {pauses_us.min() / MICROSECONDS:g} to "
            f"{pauses_us.max() / MICROSECONDS:g} s, and no window crosses one",
            int(np.count_nonzero(pauses_us)),
        )
    silences = _silences(session)
    if len(silences):
        longest = int(np.argmax(silences[:, 1] - silences[:, 0]))
        start_s, stop_s = silences[longest] / MICROSECONDS
        yield Finding(
            "silence",
            "warning",
            f"times within valid time that all units fall silent at once: {len(silences)}, the longest from "
            f"{start_s:.3f} to {stop_s:.3f} s; the recording paused, or its clock jumped",
            len(silences),
        )
    for name, series in session.behaviour.items():
        steps_s = np.diff(series.times_s)
        if not len(steps_s):
            continue
        jumps = steps_s > max(SERIES_PAUSE_S, SERIES_PAUSE_STEPS * float(np.median(steps_s)))
        jumps &= domain.contains(to_us(series.times_s[:-1]))
        if jumps.any():
            at_s = series.times_s[:-1][jumps]
            yield Finding(
                "behaviour_pause",
                "warning",
                f"pauses or clock jumps of {name}: {len(at_s)}, up to {steps_s[jumps].max():.3g} s, the "
                f"first after {at_s[0]:.3f} s",
                len(at_s),
            )


def _silences(session: Session) -> np.ndarray:
    """Starts and stops of long silences of the whole population, int64 microseconds [silence, 2]."""
    domain, times_us = session.domain, session.spike_times_us
    if not len(times_us):
        return np.zeros((0, 2), np.int64)
    # interval edges count as events, so that a pause between intervals is no silence
    events = np.unique(np.concatenate([times_us, domain.start_us, domain.stop_us]))
    lengths_us = np.diff(events)
    expected_us = math.ceil(SILENCE_EXPECTED_SPIKES * domain.duration_us / len(times_us))
    long = lengths_us > max(int(SILENCE_S * MICROSECONDS), expected_us)
    long &= domain.contains(events[:-1])
    return np.stack([events[:-1][long], events[1:][long]], axis=1)


_REPAIRS = {
    "not_finite": "spikes without a time (NaN or infinite), dropped: {}",
    "outside_domain": "spikes outside valid time, dropped: {}",
    "unsorted": "spikes listed after a later one of their unit, sorted: {}; did the clock jump back?",
    "filtered_units": "units dropped by their released labels: {}",
}


def _spikes(session: Session) -> Iterator[Finding]:
    for code, message in _REPAIRS.items():
        count = session.repairs.get(code, 0)
        if count:
            yield Finding(code, "warning", message.format(count), count)
    # the record orders ties only by time, so equal times of one unit need not be neighbours
    order = np.lexsort((session.spike_unit, session.spike_times_us))
    times_us, unit = session.spike_times_us[order], session.spike_unit[order]
    twice = (np.diff(times_us) == 0) & (np.diff(unit.astype(np.int64)) == 0)
    if twice.any():
        yield Finding(
            "duplicate_spikes",
            "warning",
            f"spikes with the unit and the microsecond of another, kept: {np.count_nonzero(twice)}",
            int(np.count_nonzero(twice)),
        )
    outside = int(np.count_nonzero(~session.domain.contains(session.spike_times_us)))
    if outside:
        yield Finding("spikes_outside", "warning", f"{outside} spikes lie outside valid time; they are masked", outside)


def _tables(session: Session) -> Iterator[Finding]:
    if not session.behaviour:
        yield Finding("no_behaviour", "warning", "no behaviour series", 1)
    for name, series in session.behaviour.items():
        unknown = float(np.mean(~np.isfinite(series.values).all(axis=1)))
        if unknown:
            yield Finding("behaviour_unknown", "warning", f"{unknown:.1%} of the samples of {name} are NaN", 1)
        span = Intervals(to_us(series.times_s[:1]), to_us(series.times_s[-1:]) + 1)
        covered = session.domain.intersect(span).duration_us / session.domain.duration_us
        if covered < 0.95:
            message = f"{name} spans {covered:.0%} of the valid time"
            yield Finding("behaviour_short", "warning", message, 1)
    start, end = session.trials["start"], session.trials["end"]
    shown, over = session.stimuli["start"], session.stimuli["end"]
    if not len(start) and not len(shown):
        yield Finding("no_trials", "warning", "no trials table", 1)
    for code, message, wrong in (
        ("trials_end_first", "trials that end before they start: {}", end < start),
        ("trials_overlap", "trials that start before the one before ends: {}", start[1:] < end[:-1]),
        (
            "trials_outside",
            "trials that start outside valid time: {}",
            ~session.domain.contains(to_us(start)),
        ),
        ("stimuli_end_first", "stimuli that end before they start: {}", over < shown),
        (
            "stimuli_overlap",
            "stimuli that start before the one before ends: {}",
            shown[1:] < over[:-1] - OVERLAP_S,
        ),
        (
            "stimuli_invalid",
            "stimuli that the release declares invalid, whose image is then not known: {}",
            session.stimuli["name"] == INVALID_STIMULUS,
        ),
    ):
        count = int(np.count_nonzero(wrong))
        if count:
            yield Finding(code, "warning", message.format(count), count)
    unnamed = session.units["region"] == ""
    if unnamed.any():
        yield _of_units(session, "no_region", "have no region", unnamed)


def _notes(session: Session) -> Iterator[Finding]:
    yield from decode_findings(session.provenance.get("findings", ""))
    missing = json.loads(session.provenance.get("missing") or "[]")
    if missing:
        yield Finding("missing", "warning", f"the release lacks {', '.join(missing)}", len(missing))
    for note in session.provenance.get("notes", "").splitlines():
        # the tables themselves are described above
        if note not in ("no trials table", "no behaviour series"):
            yield Finding("note", "warning", note, 1)
