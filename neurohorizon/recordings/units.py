"""Units and valid time of a recording, from the forms in which a user holds them.

================================  ====================================================================================
form                              valid time, if none is given
================================  ====================================================================================
list of arrays, mapping           from the first to the last spike, with a note
pynapple ``TsGroup``              its ``time_support``
NWB file on disk, remote address  that of the command line, :func:`neurohorizon.ingest.nwb_recording.read_recording`
pynwb ``NWBFile``                 by the same rule: ``obs_intervals`` of all units; else trials or epochs, if nearly no
                                  spike lies outside of them, else from the first to the last spike, both with a note;
                                  never ``invalid_times``
``neurohorizon.session``          its own
================================  ====================================================================================
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from neurohorizon.ingest.address import is_address
from neurohorizon.ingest.checks import check_spikes
from neurohorizon.ingest.findings import Finding, list_names
from neurohorizon.ingest.recording_checks import check_recording
from neurohorizon.ingest.spike_checks import RawSpikes
from neurohorizon.ingest.thresholds import limit
from neurohorizon.ingest.unit_checks import propose_exclusions
from neurohorizon.ingest.valid_time import TABLES, close_pauses, inferred_note, is_confined
from neurohorizon.session import Session, SessionError, order_spikes, with_domain
from neurohorizon.timeline import MICROSECONDS, Intervals, Splits, to_us


class FileWithUnits(Protocol):
    """A file in memory with a table of units: a pynwb ``NWBFile``."""

    units: Any


class Bounds(Protocol):
    """Starts and ends of intervals: a pynapple ``IntervalSet``."""

    start: Any
    end: Any


Units = Sequence[ArrayLike] | Mapping[Any, Any] | FileWithUnits | Session | str | Path
"""Forms of units; a pynapple ``TsGroup`` is a mapping."""
Times = ArrayLike | Bounds | Intervals
"""Forms of intervals."""


class _Found(NamedTuple):
    """Units as given.

    Attributes:
        ids: Their ids.
        times: Spike times of each.
        observed: The time in which each was observed, None if unknown.
        file: The file in memory that they are from, if there is one.
    """

    ids: list
    times: list
    observed: list | None = None
    file: Any = None


class Recorded(NamedTuple):
    """A recording, checked.

    Attributes:
        session: Its spikes and valid time; units are named by text.
        unit_ids: Ids of the units as given, [unit].
        notes: Oddities of the recording, one sentence each.
    """

    session: Session
    unit_ids: np.ndarray
    notes: tuple[str, ...]


def read_units(
    units: Units, *, valid: Times | str | None = None, exclude: Sequence[Any] = (), name: str = ""
) -> Recorded:
    """Return the record of a recording.

    Args:
        units: Spike times in seconds, in one of the forms of this module.
        valid: When all units were recorded, ``(start, stop)`` or intervals, [interval, 2], in seconds; of an NWB file
            also ``obs_intervals``, ``trials``, ``epochs`` or ``whole``; None: as in the table of this module.
        exclude: Ids of units that are excluded.
        name: Name of the recording; "": that of the file without its ending, else ``recording``.

    Raises:
        SessionError: The spikes or the valid time cannot be used.
    """
    if isinstance(units, str | Path):
        return _of_nwb_file(units, valid, exclude, name)
    if isinstance(units, Session):
        if units.left_out is not None:
            raise SessionError(f"session {units.session_id} cannot be used: {units.left_out}")
        if len(exclude):
            raise SessionError("a session of the workflow has its own exclusions; set cohort.exclude_units instead")
        domain = units.domain if valid is None else units.domain.intersect(intervals_of(valid, "valid"))
        return Recorded(with_domain(units, domain), units.units["id"], ())
    found = _units_of(units)
    texts = [str(one) for one in found.ids]
    if repeated := [one for one, times in Counter(texts).items() if times > 1]:
        raise SessionError(f"unit ids occur more than once: {list_names(repeated)}; give each unit its own id")
    if absent := [str(one) for one in exclude if str(one) not in texts]:
        raise SessionError(f"exclude names {list_names(absent)}, no units of the recording; it has {list_names(texts)}")
    found = _without(found, {str(one) for one in exclude})
    texts = [str(one) for one in found.ids]
    times = [_checked_times(one, values) for one, values in zip(texts, found.times, strict=True)]
    times_s, unit = np.concatenate([np.zeros(0), *times]), np.repeat(np.arange(len(times)), [len(one) for one in times])
    if not len(times_s):
        raise SessionError(f"none of the {len(times)} units has a spike: a forecast needs spikes, in seconds")
    domain, inferred = _domain(found, texts, times_s, valid)
    notes = [inferred] if inferred else []
    notes += _oddities(
        one
        for one in check_spikes(RawSpikes(times_s, unit, np.array(texts), None, domain))
        if valid is None or one.code != "outside_domain"
    )
    times_us, unit, _ = order_spikes(times_s, unit, domain=domain)
    session = Session(
        session_id=name or "recording",
        source="",
        subject="",
        lab="",
        date="",
        spike_times_us=times_us,
        spike_unit=unit,
        units={"id": np.array(texts), "region": np.full(len(texts), "")},
        domain=domain,
        splits=Splits.empty(),
    )
    notes += _oddities(check_recording(session))
    return Recorded(session, _as_array(found.ids), (*notes, *_likely_noise(session)))


def _oddities(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield what is unusual, one sentence each.

    Raises:
        SessionError: A finding is fatal.
    """
    for one in findings:
        if one.severity == "fatal":
            raise SessionError(one.message)
        yield one.message


def _likely_noise(session: Session) -> Iterator[str]:
    """Yield a note if units are likely no single neurons."""
    of_unit: dict[str, str] = {}
    for each in propose_exclusions(session):
        of_unit.setdefault(each.unit, each.detail)
    if of_unit:
        named = [f"{unit} ({detail})" for unit, detail in of_unit.items()]
        yield (
            f"units that are likely no single neurons: {len(of_unit)}; {list_names(named, 3)}; one of them can decide "
            "a score, and `exclude` leaves units out"
        )


def intervals_of(given: Times, name: str) -> Intervals:
    """Return intervals in seconds, sorted and joined where they overlap or touch.

    Args:
        given: ``(start, stop)``; intervals, [interval, 2]; or an object with ``start`` and ``end``, such as a pynapple
            ``IntervalSet``.
        name: Name of the argument, for errors.

    Raises:
        SessionError: The values are not intervals of seconds.
    """
    if isinstance(given, Intervals):
        return given
    if hasattr(given, "start") and hasattr(given, "end"):
        given = np.stack([np.atleast_1d(given.start), np.atleast_1d(given.end)], axis=1)
    try:
        pairs = np.asarray(given, np.float64)
        pairs = pairs[None] if pairs.shape == (2,) else pairs
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
            raise ValueError(f"shape {pairs.shape}")
        us = to_us(pairs)
    except (TypeError, ValueError) as error:
        raise SessionError(
            f"{name} must be (start, stop) or intervals [interval, 2], finite and in seconds; found {error}"
        ) from None
    if (wrong := us[:, 1] <= us[:, 0]).any():
        start_s, stop_s = pairs[int(np.argmax(wrong))]
        raise SessionError(f"{name}: an interval from {start_s:g} s to {stop_s:g} s; expected a stop after the start")
    return Intervals.merged(us[:, 0], us[:, 1])


def _units_of(units: Any) -> _Found:
    if hasattr(units, "time_support") and hasattr(units, "keys"):
        ids = list(units.keys())
        return _Found(ids, [units[one].times() for one in ids], [units.time_support] * len(ids))
    file = units if hasattr(units, "session_start_time") else None
    table = file.units if file is not None else units
    if hasattr(table, "get_unit_spike_times") or table is None:
        return _of_nwb_table(table, file)
    if isinstance(units, Mapping):
        return _Found(list(units), list(units.values()))
    is_numbers = isinstance(units, np.ndarray) and units.dtype != object
    if is_numbers or not isinstance(units, Sequence | np.ndarray) or any(np.ndim(one) == 0 for one in units):
        kind = f"an array of shape {units.shape}" if isinstance(units, np.ndarray) else f"a {type(units).__name__}"
        raise SessionError(
            f"units are {kind}; expected spike times in seconds, one array for each unit: a list, a mapping from "
            "ids, a pynapple TsGroup, a pynwb NWBFile or the path of an NWB file"
        )
    return _Found(list(range(len(units))), list(units))


def _of_nwb_table(table: Any, file: Any) -> _Found:
    if table is None or "spike_times" not in table.colnames or not len(table):
        raise SessionError("the NWB file has no units with spike_times; sort the spikes first")
    rows = range(len(table))
    observed = [table.get_unit_obs_intervals(row) for row in rows] if "obs_intervals" in table.colnames else None
    return _Found(np.asarray(table.id[:]).tolist(), [table.get_unit_spike_times(row) for row in rows], observed, file)


def _of_nwb_file(place: str | Path, valid: Times | str | None, exclude: Sequence[Any], name: str) -> Recorded:
    """Return the record of an NWB file, or of a remote one, as the command line reads it."""
    if not is_address(place) and Path(place).suffix != ".nwb":
        raise SessionError(f"{place} is no NWB file (.nwb): read it yourself, and give spike times by unit")
    try:
        from neurohorizon.ingest.nwb_recording import read_recording
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'NWB files are read with {error.name}: pip install "neurohorizon[nwb]"', name=error.name
        ) from error
    chosen = valid if valid is None or isinstance(valid, str) else intervals_of(valid, "valid")
    found = read_recording(place, valid=chosen, exclude=[str(one) for one in exclude], in_python=True)
    if found.faults:
        raise SessionError(f"{found.session.session_id}: {found.faults[0]}")
    session = replace(found.session, session_id=name or found.session.session_id)
    return Recorded(session, session.units["id"], (*found.notes, *_likely_noise(session)))


def _without(found: _Found, excluded: Collection[str]) -> _Found:
    kept = [index for index, one in enumerate(found.ids) if str(one) not in excluded]
    ids, times = [found.ids[index] for index in kept], [found.times[index] for index in kept]
    return _Found(ids, times, found.observed and [found.observed[index] for index in kept], found.file)


def _checked_times(unit: str, values: Any) -> np.ndarray:
    """Return the spike times of a unit as float64 seconds, [spike]."""
    try:
        times = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise SessionError(f"unit {unit}: its times are {type(values).__name__}, expected seconds, [spike]") from None
    if times.ndim != 1:
        raise SessionError(f"unit {unit}: its times have shape {times.shape}, expected [spike]: times, not counts")
    if (unknown := ~np.isfinite(times)).any():
        raise SessionError(
            f"unit {unit}: {unknown.sum()} of {times.size} spike times are NaN or infinite, the first at index "
            f"{np.argmax(unknown)}; remove them"
        )
    if (early := times < 0).any():
        raise SessionError(
            f"unit {unit}: {early.sum()} of {times.size} spike times are negative, from {times.min():g} s; expected "
            "seconds since the recording began: add an offset to all units"
        )
    if (back := np.diff(times) < 0).any():
        first = int(np.argmax(back))
        raise SessionError(
            f"unit {unit}: spike times go back {back.sum()} times, first at index {first + 1} ({times[first]:g} s, "
            f"then {times[first + 1]:g} s); expected the spikes of one unit in order: sort them"
        )
    return times


def _observed_for_all(ids: Sequence[str], observed: Iterable[Any]) -> Intervals:
    """Return the time in which every unit was observed."""
    parts: dict[bytes, Intervals] = {}
    for one, given in zip(ids, observed, strict=True):
        key = given.tobytes() if isinstance(given, np.ndarray) else str(id(given)).encode()
        if key not in parts:
            parts[key] = intervals_of(given, f"the time in which unit {one} was observed")
    domain, *others = parts.values()
    for other in others:
        domain = domain.intersect(other)
    if not len(domain):
        raise SessionError("at no time were all units observed; give valid time with valid=, or drop units")
    return domain


def _domain(
    found: _Found, ids: Sequence[str], times_s: np.ndarray, valid: Times | str | None
) -> tuple[Intervals, str | None]:
    """Return valid time, and a note if it was inferred.

    Args:
        found: The units.
        ids: Their ids as text.
        times_s: Spike times of all units.
        valid: Valid time as given.
    """
    invalid, note = _table(found.file, "invalid_times"), None
    if valid is not None:
        domain = intervals_of(valid, "valid")
    elif found.observed is not None:
        domain = _observed_for_all(ids, found.observed)
    else:
        domain = _whole(times_s)
        first_s, last_s = domain.hull_s
        note = (
            f"no valid time is given: it is {first_s:g} to {last_s:g} s, the first to the last spike, and time "
            "without spikes in between counts as silent; give valid=(start, stop) or intervals"
            if found.file is None
            else inferred_note("whole", option="valid")
        )
        whole = domain.without(invalid)
        times_us = to_us(times_s)
        times_us = times_us[whole.contains(times_us)]
        for name in TABLES if len(whole) else ():
            inside = _table(found.file, name).without(invalid)
            if is_confined(times_us, whole, inside):
                domain, note = inside, inferred_note(name, option="valid")
                break
    domain = domain.without(invalid)
    if not len(domain):
        raise SessionError("the file's invalid_times leave no valid time; give other spikes, or correct that table")
    if (valid_s := domain.duration_us / MICROSECONDS) > limit("longest_interval_s"):
        raise SessionError(
            f"valid time lasts {valid_s:g} s, from {domain.hull_s[0]:g} to {domain.hull_s[1]:g} s; expected seconds of "
            f"one recording, at most {limit('longest_interval_s'):g}: are its times in another unit?"
        )
    return domain, note


def _table(file: Any, name: str) -> Intervals:
    """Return the intervals of a table of a pynwb ``NWBFile``; none if there is no such table."""
    table = getattr(file, name, None)
    if table is None or not len(table):
        return Intervals.empty()
    start_s, stop_s = (np.asarray(table[edge][:], np.float64) for edge in ("start_time", "stop_time"))
    timed = np.isfinite(start_s) & np.isfinite(stop_s) & (stop_s > start_s)
    if not timed.any():
        return Intervals.empty()
    merged = Intervals.merged(to_us(start_s[timed]), to_us(stop_s[timed]))
    return merged if name == "invalid_times" else close_pauses(merged)


def _whole(times_s: np.ndarray) -> Intervals:
    first_us, last_us = to_us(np.array([times_s.min(), times_s.max()]))
    return Intervals(np.array([first_us]), np.array([last_us + 1]))


def _as_array(ids: Sequence[Any]) -> np.ndarray:
    """Return ids with their own type: whole numbers, text, or else objects."""
    if all(isinstance(one, int | np.integer) for one in ids) or all(isinstance(one, str) for one in ids):
        return np.array(ids)
    kept = np.empty(len(ids), object)
    kept[:] = ids
    return kept
