"""A cohort table and the way of reading for a user's own NWB files, proposed from the files.

Files are read twice, by the readers of the workflow: first what they hold, from which one valid time for all is chosen;
then as the workflow will read them, with all checks of a session.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePosixPath

import numpy as np

from neurohorizon.cohort import Row, same_name
from neurohorizon.config import Config, NwbSource
from neurohorizon.ingest.checks import check_session
from neurohorizon.ingest.findings import Finding, decode_findings
from neurohorizon.ingest.leave_out import faults_of_session
from neurohorizon.ingest.nwb import WHOLE, ingest_nwb
from neurohorizon.ingest.nwb_file import NwbFile, open_nwb
from neurohorizon.ingest.nwb_recording import OBSERVED, region_column
from neurohorizon.ingest.session_checks import Settings
from neurohorizon.ingest.unit_checks import Proposal, propose_exclusions
from neurohorizon.ingest.valid_time import is_confined
from neurohorizon.printed_names import one_line
from neurohorizon.session import Session, SessionError
from neurohorizon.timeline import MICROSECONDS, Intervals, to_us

TRIALS = "trials"
CONTINUOUS = "continuous"
SHORT_S = 4.0
"""If half of the valid time lies in intervals shorter than this, two windows of the preset ``continuous``, it is cut
into trials."""
_NO_SUBJECT = "unknown"


@dataclass(frozen=True)
class Described:
    """Content of one NWB file, as far as a cohort depends on it.

    Attributes:
        path: The file.
        subject: Its subject, "" if it names none.
        date: Day of the recording, YYYY-MM-DD, "" if unknown.
        lab: Its lab, "" if it names none.
        units: Number of units with spike times.
        valid_time: Value of ``sources.nwb.valid_time`` that suits it.
        reason: Reason for this value, as a clause.
        is_cut: Whether its valid time is cut into trials.
        region: Column of its regions; None if it has none.
        fault: Reason why it cannot be used, "" if it can.
    """

    path: Path
    subject: str = ""
    date: str = ""
    lab: str = ""
    units: int = 0
    valid_time: str = ""
    reason: str = ""
    is_cut: bool = False
    region: str | None = None
    fault: str = ""


@dataclass(frozen=True)
class Examined:
    """One recording as the workflow will read it.

    Attributes:
        row: Its row of the cohort table.
        units: Number of its units.
        valid_s: Seconds of valid time.
        findings: Warnings about it.
        proposals: Units that are likely no single neurons.
    """

    row: Row
    units: int
    valid_s: float = 0.0
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


def describe(path: Path) -> Described:
    """Return the content of one NWB file; a fault in place of an error."""
    found = Described(path)
    try:
        with faults_of_session(path.stem), open_nwb(path) as file:
            found = replace(
                found,
                subject=one_line(file.text("general/subject/subject_id")),
                date=_day(file.text("session_start_time")),
                lab=one_line(file.text("general/lab")),
            )
            units = file.table("units")
            if units is None or "spike_times" not in units.names or not units.rows:
                return replace(found, fault="it has no units with spike_times; sort the spikes first")
            found = replace(found, units=units.rows, region=region_column(file))
            times_s = file.as_seconds(
                "units/spike_times", file.find("units/spike_times"), np.concatenate(units.ragged("spike_times"))
            )
            times_s = times_s[np.isfinite(times_s)]
            if not len(times_s):
                return replace(found, fault="none of its units has a spike")
            valid_time, reason, is_cut = _valid_time(file, times_s)
            return replace(found, valid_time=valid_time, reason=reason, is_cut=is_cut)
    except SessionError as error:
        return replace(found, fault=one_line(error))


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        return ""


def _valid_time(file: NwbFile, times_s: np.ndarray) -> tuple[str, str, bool]:
    """Return the valid time that suits a file, the reason, and whether it is cut into trials."""
    trials = _trials(file)
    if len(trials):
        times_us = to_us(times_s)
        whole = Intervals(times_us.min(keepdims=True), times_us.max(keepdims=True) + 1)
        within = float(np.mean(trials.contains(times_us)))
        covered = whole.intersect(trials).duration_us / whole.duration_us
        if is_confined(times_us, whole, trials):
            reason = f"{within:.1%} of the spikes lie within trials, which cover {covered:.0%} of the time"
            return TRIALS, reason, True
    units = file.table("units")
    if units is not None and OBSERVED in units.names:
        observed = np.concatenate([one.reshape(-1, 2) for one in units.ragged(OBSERVED)]).astype(np.float64)
        lengths_s = np.sort(observed[:, 1] - observed[:, 0])
        lengths_s = lengths_s[lengths_s > 0]  # the reader names the others
        if not len(lengths_s):
            return OBSERVED, "units have obs_intervals", False
        usual_s = lengths_s[np.searchsorted(np.cumsum(lengths_s), lengths_s.sum() / 2)]
        reason = f"units have obs_intervals, half of whose time lies in intervals of {usual_s:.1f} s or less"
        return OBSERVED, reason, bool(usual_s < SHORT_S)
    return WHOLE, "units have no obs_intervals, and spikes also lie outside of trials, if there are any", False


def _trials(file: NwbFile) -> Intervals:
    table = file.table("intervals/trials")
    if table is None or not table.rows:
        return Intervals.empty()
    start_s, stop_s = table.seconds("start_time"), table.seconds("stop_time")
    timed = np.isfinite(start_s) & np.isfinite(stop_s) & (stop_s > start_s)
    return Intervals.merged(to_us(start_s[timed]), to_us(stop_s[timed])) if timed.any() else Intervals.empty()


def choose_reading(files: Sequence[Described]) -> Described | None:
    """Return the file whose valid time and preset suit most files; None if no file can be used."""
    usable = [one for one in files if not one.fault]
    counts = Counter((one.valid_time, one.is_cut) for one in usable)
    return max(usable, key=lambda one: counts[one.valid_time, one.is_cut], default=None)


def choose_region(files: Sequence[Described]) -> str | None:
    """Return the column of regions that most usable files have; None if most have none."""
    counts = Counter(one.region for one in files if not one.fault)
    return max(counts, key=lambda column: (counts[column], column is not None), default=None)


def preset_of(chosen: Described) -> str:
    """Return the name of the preset that suits the chosen way of reading."""
    return TRIALS if chosen.is_cut else CONTINUOUS


def common_folder(paths: Iterable[Path]) -> Path:
    """Return the deepest folder that holds all files."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def rows_of(files: Sequence[Described], folder: Path) -> list[Row]:
    """Return one row of a cohort table for each file, without roles of usable files yet.

    Args:
        files: The files, all below the folder.
        folder: The folder of ``sources.nwb``.
    """
    inside = [one.path.relative_to(folder).as_posix() for one in files]
    subjects: dict[str, str] = {}
    rows = []
    for one, path, session in zip(files, inside, _session_names(inside), strict=True):
        # names that differ only in case, blanks or the form of a letter are one animal
        subject = subjects.setdefault(same_name(one.subject), one.subject)
        fault = one.fault or ("" if subject else "it names no subject; write one here, then set role and fold")
        extras = {"file": path} if path != f"{session}.nwb" and not fault else {}
        if subject != one.subject:
            extras["file_subject"] = one.subject
        rows.append(
            Row(
                session=session,
                source="nwb",
                subject=subject or _NO_SUBJECT,
                lab=one.lab or "lab",
                date=one.date,
                role="left_out" if fault else "",
                fold="",
                why=_reason(one, fault),
                extras=extras,
            )
        )
    return rows


def _reason(one: Described, fault: str) -> str:
    return f"{one_line(one.path.name)}: {fault.removeprefix(f'{one.path.name}: ')}" if fault else ""


def _session_names(paths: Sequence[str]) -> list[str]:
    """Return a name for each file that can name files of a run, each once."""
    counts = Counter(PurePosixPath(path).stem for path in paths)
    names: list[str] = []
    for path in paths:
        stem = PurePosixPath(path).stem
        whole = stem if counts[stem] == 1 else path.removesuffix(".nwb").replace("/", "_")
        name = re.sub(r"[^\w.+=@,-]", "-", whole, flags=re.ASCII).lstrip("-._+=@,")[:150] or "recording"
        while name in names:
            name += "_2"
        names.append(name)
    return names


def examine(file: Described, row: Row, config: Config, source: NwbSource) -> Examined:
    """Read one recording as the workflow does; a fault becomes the reason of the role ``left_out``."""
    if row.role == "left_out":
        return Examined(row, file.units)
    try:
        with faults_of_session(row.session):
            session = ingest_nwb(file.path, row, source=source, splits=config.splits)
            found = check_session(session, Settings(config.timeline, config.splits))
        noted = decode_findings(session.provenance["findings"])
        if fatal := [one.message for one in (*noted, *found) if one.severity == "fatal"]:
            raise SessionError(fatal[0])
    except SessionError as error:
        unused = {name: value for name, value in row.extras.items() if name != "file"}
        why = _reason(file, one_line(error))
        return Examined(replace(row, role="left_out", why=why, extras=unused), file.units)
    return Examined(row, _units(session), _seconds(session), (*noted, *found), propose_exclusions(session))


def _units(session: Session) -> int:
    return len(session.units["id"])


def _seconds(session: Session) -> float:
    return session.domain.duration_us / MICROSECONDS


def with_roles(recordings: Sequence[Examined]) -> tuple[list[Examined], str]:
    """Return recordings with roles that hold out one animal at a time, or one day of the only animal, and the claim.

    Raises:
        SessionError: There is nothing to train on: one animal on one day, or no recording.
    """
    used = [one.row for one in recordings if one.row.role != "left_out"]
    animals = list(dict.fromkeys(row.subject for row in used))
    if not used:
        raise SessionError("no file can be used; the reasons are in the table above")
    if len(animals) > 1:
        of_row, why = {row.session: row.subject for row in used}, "leave one animal out"
        claim = f"each of {len(animals)} animals is forecast by networks that are trained on the others"
    else:
        of_row = {row.session: f"{row.subject}_{row.date}" for row in used if row.date}
        days = sorted(set(of_row.values()))
        if len(days) < 2 or len(of_row) < len(used):
            raise SessionError(
                f"all usable files are of one animal, {animals[0]}, and of {len(days)} recording "
                f"{'day' if len(days) == 1 else 'days'}: training needs other animals, or at least another day. "
                "Released weights forecast each file without training: neurohorizon forecast FILE"
            )
        why = "leave one day out: one animal, so units of other days, and no unseen animal"
        claim = f"each of {len(days)} days of {animals[0]} is forecast by networks trained on the other days"
    folds = _fold_names(of_row.values())
    done = []
    for one in recordings:
        if one.row.role != "left_out":
            held_out = of_row[one.row.session]
            extras = dict(one.row.extras) | ({"group": held_out} if len(animals) == 1 else {})
            row = replace(one.row, role="rotate", fold=folds[held_out], why=why, extras=extras)
            one = replace(one, row=row)
        done.append(one)
    return done, claim


def _fold_names(held_out: Iterable[str]) -> dict[str, str]:
    """Return a name of a fold for each animal or day, each once."""
    names: dict[str, str] = {}
    for one in dict.fromkeys(held_out):
        name = re.sub(r"[^A-Za-z0-9._-]", "-", one).lstrip("-._") or "fold"
        while name in names.values():
            name += "_2"
        names[one] = name
    return names
