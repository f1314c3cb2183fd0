"""Checks on a session: its valid time, its spikes, its behaviour and its tables.

Each check is a generator of findings over a session and its settings; :data:`neurohorizon.ingest.checks.CHECKS` lists
them.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurohorizon.config import Splits as SplitSettings
from neurohorizon.config import Timeline
from neurohorizon.ingest.findings import Finding, list_names
from neurohorizon.ingest.thresholds import limit
from neurohorizon.session import Session
from neurohorizon.timeline import MICROSECONDS, MINIMUM_REFERENCE_S, Intervals, bin_domain, cut_domain, to_us

INVALID_STIMULUS = "invalid_presentation"
"""AllenSDK's name of stimuli during which the screen failed."""


@dataclass(frozen=True)
class Settings:
    """Settings that checks use.

    Attributes:
        timeline: Bins and windows that a session must have room for.
        splits: Gap between the halves of the training part.
    """

    timeline: Timeline
    splits: SplitSettings


def count_windows(part: Intervals, timeline: Timeline) -> int:
    """Windows of whole valid bins in a part, as far apart as forecast origins on held-out time are."""
    bins = np.bincount(bin_domain(part, timeline.bin_ms * 1000).segment)
    room = bins - (timeline.context_bins + timeline.horizon_bins)
    return int((room[room >= 0] // timeline.evaluation_stride_bins + 1).sum())


def too_short(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find parts without room for a description of units or for a window."""
    timeline, splits = settings.timeline, settings.splits
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
        pauses_us = session.domain.start_us[1:] - session.domain.stop_us[:-1]
        cut = f", cut by pauses of {np.median(pauses_us) / MICROSECONDS:g} s" if len(pauses_us) else ""
        yield Finding(
            "too_short",
            "fatal",
            f"no window of context and horizon ({window_s:g} s) fits into {', '.join(narrow)}, whose longest interval "
            f"is {longest_s:g} s{cut}: leave the session out, or shorten the context or the horizon",
            len(narrow),
        )


def no_spikes(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find parts in which no unit fires."""
    for name in ("reference", "test", "train", "validation"):
        if not getattr(session.splits, name).contains(session.spike_times_us).any():
            yield Finding("no_spikes", "fatal", f"no unit fires in {name}: nothing can be learned or scored", 1)


def silent_units(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find units that never fire, or not in the reference window or the test part."""
    spikes = np.bincount(session.spike_unit, minlength=session.n_units)
    silent = spikes == 0
    if silent.any():
        yield _of_units(session, "empty_units", "never fire in valid time", silent)
    for name in ("reference", "test"):
        inside = getattr(session.splits, name).contains(session.spike_times_us)
        missing = (np.bincount(session.spike_unit[inside], minlength=session.n_units) == 0) & ~silent
        if missing.any():
            yield _of_units(session, f"silent_in_{name}", f"are silent in {name} and fire elsewhere", missing)


def mean_rates_hz(session: Session) -> np.ndarray:
    """Return the mean rate of each unit in valid time in Hz, [unit]."""
    spikes = np.bincount(session.spike_unit, minlength=session.n_units)
    return spikes / (session.domain.duration_us / MICROSECONDS)


def rates(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find mean rates that no neuron has."""
    rate_hz = mean_rates_hz(session)
    median_hz = float(np.median(rate_hz))
    if median_hz > limit("impossible_rate_hz"):
        message = (
            f"the median unit fires at {median_hz:.0f} Hz on average; are spike times in minutes or hours? Convert "
            "them to seconds"
        )
        yield Finding("impossible_rates", "fatal", message, session.n_units)
    elif (rate_hz > limit("implausible_rate_hz")).any():
        what = f"fire above {limit('implausible_rate_hz'):g} Hz on average (up to {rate_hz.max():.0f} Hz): likely noise"
        yield _of_units(session, "implausible_rate", what, rate_hz > limit("implausible_rate_hz"))


def long_valid_time(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find valid time that is longer than a recording, as from milliseconds."""
    valid_s = session.domain.duration_us / MICROSECONDS
    median_hz = float(np.median(np.bincount(session.spike_unit, minlength=session.n_units))) / valid_s
    message = f"valid time lasts {valid_s / 3600:.3g} h, and the median unit fires at {median_hz:.2g} Hz"
    if valid_s > limit("half_day_s") and median_hz < limit("slow_long_rate_hz"):
        message += "; are all times in milliseconds? Convert them to seconds"
        yield Finding("long_valid_time", "fatal", message, 1)
    elif valid_s > limit("long_recording_s"):
        yield Finding("long_valid_time", "warning", message, 1)


def one_sided_units(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find units that fire in one half of the valid time only."""
    spikes = np.bincount(session.spike_unit, minlength=session.n_units)
    first_half, _ = cut_domain(session.domain, first_us=session.domain.duration_us // 2, gap_us=1)
    early = np.bincount(session.spike_unit[first_half.contains(session.spike_times_us)], minlength=session.n_units)
    one_sided = (spikes >= limit("one_sided_spikes")) & ((early == 0) | (early == spikes))
    if one_sided.any():
        yield _of_units(session, "one_sided_units", "fire in one half of the valid time only", one_sided)


def partial_probes(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find probes that are silent at the start or the end of the valid time."""
    probe = session.units.get("probe")
    if probe is None or len(set(probe.tolist())) < 2:
        return
    total_us = session.domain.duration_us
    place_us, unit = _valid_clock(session)
    fired_us = int(np.ptp(place_us)) if len(place_us) else 0
    for name in np.unique(probe).tolist():
        own = place_us[probe[unit] == name]
        if len(own) < 2:
            continue
        missing_us = fired_us - int(np.ptp(own))
        expected = len(own) / max(int(np.ptp(own)), 1) * missing_us
        if missing_us > limit("partial_share") * total_us and expected > limit("silence_spikes"):
            first_s, last_s = _clock_of(session.domain, own[[0, -1]]) / MICROSECONDS
            message = (
                f"probe {name} fires only from {first_s:g} to {last_s:g} s: silent in {missing_us / MICROSECONDS:g} s "
                f"({missing_us / total_us:.0%}) of the valid time; leave the probe out, or shorten the valid time"
            )
            yield Finding("partial_probes", "warning", message, int((probe == name).sum()))


def _of_units(session: Session, code: str, what: str, which: np.ndarray) -> Finding:
    names = session.units["id"][which].tolist()
    return Finding(code, "warning", f"{len(names)} of {session.n_units} units {what}: {list_names(names)}", len(names))


def gaps(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find pauses of the valid time."""
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


def silences(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find times within valid time that no unit fires, also across pauses."""
    found_us = _silences(session)
    if not len(found_us):
        return
    lengths_us = found_us[:, 1] - found_us[:, 0]
    longest = int(np.argmax(lengths_us))
    start_s, stop_s = _clock_of(session.domain, found_us[longest]) / MICROSECONDS
    share = lengths_us.max() / session.domain.duration_us
    covered = session.domain.clip(int(start_s * MICROSECONDS), int(stop_s * MICROSECONDS))
    pieces = f" ({len(covered)} pieces of valid time)" if len(covered) > 1 else ""
    message = (
        f"times within valid time that all units fall silent at once: {len(found_us)}, the longest from {start_s:.3f} "
        f"to {stop_s:.3f} s{pieces}, {share:.0%} of the valid time; the recording paused, or its clock jumped"
    )
    if share > limit("silent_share"):
        message += ": correct the valid time or the spike times"
        yield Finding("silence", "fatal", message, len(found_us))
    else:
        yield Finding("silence", "warning", message, len(found_us))


def behaviour_clock(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find behaviour series on another clock or in another unit, such as numbers of frames."""
    first_s, last_s = session.domain.hull_s
    for name, series in session.behaviour.items():
        times_s = series.times_s
        inside = int(np.count_nonzero((times_s >= first_s) & (times_s < last_s)))
        whole = int(np.count_nonzero(times_s == np.rint(times_s)))
        where = f"times from {times_s[0]:g} to {times_s[-1]:g} s; valid time is {first_s:g} to {last_s:g} s"
        if inside < limit("series_inside") * len(times_s):
            message = (
                f"{inside} of {len(times_s)} samples of {name} lie in the valid time: {where}; another clock or unit?"
            )
            yield Finding("behaviour_clock", "warning", message, len(times_s) - inside)
        elif whole > limit("whole_seconds_share") * len(times_s) and len(times_s) > limit("series_whole"):
            message = f"all {whole} times of {name} are whole numbers, as numbers of frames are: {where}"
            yield Finding("behaviour_clock", "warning", message, whole)


def behaviour_pauses(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find pauses and clock jumps of behaviour series."""
    for name, series in session.behaviour.items():
        steps_s = np.diff(series.times_s)
        if not len(steps_s):
            continue
        jumps = steps_s > max(limit("series_pause_s"), limit("series_pause_steps") * float(np.median(steps_s)))
        jumps &= session.domain.contains(to_us(series.times_s[:-1]))
        if jumps.any():
            at_s = series.times_s[:-1][jumps]
            yield Finding(
                "behaviour_pause",
                "warning",
                f"pauses or clock jumps of {name}: {len(at_s)}, up to {steps_s[jumps].max():.3g} s, the "
                f"first after {at_s[0]:.3f} s",
                len(at_s),
            )


def _valid_clock(session: Session) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes in valid time, in microseconds of valid time since its start, and their units, [spike]."""
    domain = session.domain
    index = domain.index_of(session.spike_times_us)
    inside = index >= 0
    before_us = np.cumsum(domain.stop_us - domain.start_us) - (domain.stop_us - domain.start_us)
    place_us = session.spike_times_us[inside] - domain.start_us[index[inside]] + before_us[index[inside]]
    return place_us, session.spike_unit[inside]


def _clock_of(domain: Intervals, place_us: np.ndarray) -> np.ndarray:
    """Return times on the session clock of places in valid time; of the end of an interval, its stop."""
    reached = np.cumsum(domain.stop_us - domain.start_us)
    index = np.minimum(np.searchsorted(reached, place_us, side="left"), len(domain) - 1)
    return domain.stop_us[index] - (reached[index] - place_us)


def _usual_length(lengths_us: np.ndarray) -> int:
    """Return the length of the pause between spikes in which half of the time lies; lengths are sorted."""
    reached = np.cumsum(lengths_us)
    return int(lengths_us[np.searchsorted(reached, reached[-1] / 2)]) if len(lengths_us) else 0


def _silences(session: Session) -> np.ndarray:
    """Return starts and stops of long silences of all units, int64 microseconds of valid time, [silence, 2]."""
    place_us, _ = _valid_clock(session)
    if not len(place_us):
        return np.zeros((0, 2), np.int64)
    total_us = session.domain.duration_us
    events = np.unique(np.concatenate([place_us, [0, total_us]]))
    lengths_us = np.diff(events)
    expected_us = math.ceil(limit("silence_spikes") * total_us / len(place_us))
    usual_us = limit("silence_usual") * _usual_length(np.sort(lengths_us)[:-2])
    long = lengths_us > max(int(limit("silence_s") * MICROSECONDS), expected_us, usual_us)
    return np.stack([events[:-1][long], events[1:][long]], axis=1)


_REPAIRS = {
    "not_finite": "spikes without a time (NaN or infinite), dropped: {}",
    "outside_domain": "spikes outside valid time, dropped: {}",
    "unsorted": "spikes listed after a later one of their unit, sorted: {}; did the clock jump back?",
    "filtered_units": "units dropped by their released labels: {}",
    "excluded_units": "units excluded by the configuration: {}; the session file has the reasons",
}


def repairs(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find what reading the spikes dropped or sorted, and spikes that are listed twice."""
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


def behaviour_cover(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find absent behaviour, unknown samples, and series that span a part of the valid time."""
    if not session.behaviour:
        yield Finding("no_behaviour", "warning", "no behaviour series", 1)
    for name, series in session.behaviour.items():
        unknown = float(np.mean(~np.isfinite(series.values).all(axis=1)))
        if unknown:
            yield Finding("behaviour_unknown", "warning", f"{unknown:.1%} of the samples of {name} are NaN", 1)
        span = Intervals(to_us(series.times_s[:1]), to_us(series.times_s[-1:]) + 1)
        covered = session.domain.intersect(span).duration_us / session.domain.duration_us
        if covered < limit("series_cover"):
            message = f"{name} spans {covered:.0%} of the valid time"
            yield Finding("behaviour_short", "warning", message, 1)


def events(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find trials and stimuli that overlap, end first, or lie outside of the valid time."""
    start, end = session.trials["start"], session.trials["end"]
    shown, over = session.stimuli["start"], session.stimuli["end"]
    if not len(start) and not len(shown):
        yield Finding("no_trials", "warning", "no trials table", 1)
    for code, message, wrong in (
        ("trials_end_first", "trials that end before they start: {}", end < start),
        (
            "trials_long",
            f"trials that last over {limit('long_trial_s'):g} s: {{}}; are their times in another unit?",
            end - start > limit("long_trial_s"),
        ),
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
            shown[1:] < over[:-1] - limit("stimulus_overlap_s"),
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


def regions(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find units without a region."""
    unnamed = session.units["region"] == ""
    if unnamed.any():
        yield _of_units(session, "no_region", "have no region", unnamed)


def missing_tables(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find tables that the release lacks."""
    missing = json.loads(session.provenance.get("missing") or "[]")
    if missing:
        yield Finding("missing", "warning", f"the release lacks {', '.join(missing)}", len(missing))
