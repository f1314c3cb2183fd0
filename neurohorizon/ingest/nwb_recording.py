"""One NWB file as a session, without a cohort table and a configuration.

The reader is that of the workflow, :func:`neurohorizon.ingest.nwb.ingest_nwb`. Its settings fit the file:
valid time, the column of regions, and the units that the user excludes. Each choice has its reason in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from neurohorizon.cohort import Row
from neurohorizon.config import NwbReading
from neurohorizon.ingest.exclusions import without_units
from neurohorizon.ingest.findings import decode_findings, list_names
from neurohorizon.ingest.nwb import WHOLE, ingest_nwb, what_there_is
from neurohorizon.ingest.nwb_file import NwbFile, open_nwb
from neurohorizon.ingest.session_checks import mean_rates_hz
from neurohorizon.ingest.unit_checks import propose_exclusions
from neurohorizon.session import Session, SessionError, with_domain
from neurohorizon.timeline import MICROSECONDS, Intervals

OBSERVED, GIVEN = "obs_intervals", "given"
TABLES = ("trials", "epochs")
VALID_TIMES = (WHOLE, OBSERVED, *TABLES)
"""Names of choices of valid time."""
CONFINED = 0.05
"""Rate of spikes outside of a table's intervals, relative to that inside, below which only they were recorded."""
REGION_COLUMNS = ("location", "region", "brain_region", "brain_area", "area", "structure", "acronym", "ccf_acronym")
"""Names of columns of regions; the first that the units have, else the electrodes, is used."""
_NOT_NOTED = {
    *("no_subject", "whole_valid_time", "noregion_column", "other_date"),
    *("unit_columns_skipped", "unit_columns_replaced"),
}
_SHOWN_IDS = 30


@dataclass(frozen=True, eq=False)
class NwbRecording:
    """A file as a session.

    Attributes:
        session: Spikes, units and valid time; its name is that of the file without its ending. It has no splits.
        valid_from: ``obs_intervals``, ``trials``, ``epochs``, ``whole`` or ``given``.
        valid_why: The reason for this choice, as a sentence.
        region_column: Column of the regions; None if no unit has a region.
        excluded: Reason for each excluded unit, by its id.
        notes: Oddities of the file, one sentence each.
    """

    session: Session
    valid_from: str
    valid_why: str
    region_column: str | None
    excluded: dict[str, str]
    notes: tuple[str, ...]


class _OneFile(NwbReading):
    """Settings of the reader, with the names of options in its errors."""

    key: ClassVar[str] = ""
    reports: ClassVar[bool] = False

    @classmethod
    def option(cls, field: str) -> str:
        """Return the option of the command line that sets a field."""
        return {"valid_time": "--valid", "unit_filters": "--exclude"}.get(field, field)


def read_recording(
    path: str | Path,
    *,
    valid: str | Intervals | None = None,
    exclude: Sequence[str] = (),
    maximum_rate_hz: float | None = None,
    exclude_proposed: bool = False,
) -> NwbRecording:
    """Read an NWB file.

    Without ``valid``, valid time is ``obs_intervals`` of the units. In a file without them it is the time of trials or
    epochs, if nearly no spike lies outside of them, else the time from the first to the last spike.

    Args:
        path: The file.
        valid: One of :data:`VALID_TIMES`; intervals; or None.
        exclude: Ids of units that are excluded. Valid time is computed from the other units.
        maximum_rate_hz: Mean rate in valid time above which a unit is excluded.
        exclude_proposed: Whether units that are likely no single neurons are excluded.

    Raises:
        SessionError: The file cannot be read or used.
    """
    path = Path(path)
    with open_nwb(path) as file:
        reader = _Reader(file, exclude)
        session, valid_from, why = reader.read(valid)
        column = reader.region if (session.units["region"] != "").any() else None
        notes = [one.message for one in decode_findings(session.provenance["findings"]) if one.code not in _NOT_NOTED]
    reasons = dict(reader.excluded)
    late = {}
    for row in np.flatnonzero(mean_rates_hz(session) > maximum_rate_hz) if maximum_rate_hz is not None else ():
        late[str(session.units["id"][row])] = f"{mean_rates_hz(session)[row]:.1f} Hz, above {maximum_rate_hz:g} Hz"
    for one in propose_exclusions(session) if exclude_proposed else ():
        late.setdefault(one.unit, one.detail)
    if late:
        session = without_units(session, late)
    return NwbRecording(session, valid_from, why, column, reasons | late, (*reader.faults, *notes))


class _Reader:
    """Reads one open file with one choice of valid time after another."""

    def __init__(self, file: NwbFile, exclude: Sequence[str]) -> None:
        self.file = file
        self.region = region_column(file)
        self.excluded = dict.fromkeys(exclude, "listed")
        self.faults: list[str] = []
        self._filters = self._kept(exclude) if exclude else {}
        self.row = Row(
            session=file.path.stem,
            source="nwb",
            subject=file.text("general/subject/subject_id").strip(),
            lab=file.text("general/lab"),
            date="",
            role="heldout",
            fold="",
            why="",
        )

    def _kept(self, exclude: Sequence[str]) -> dict[str, tuple[str, ...]]:
        table = self.file.table("units")
        ids = table.ids() if table is not None else []
        if absent := [one for one in exclude if one not in ids]:
            raise SessionError(
                f"{self.file.path.name} has no unit {list_names(absent)}, which --exclude lists; its units are "
                f"{list_names(ids, _SHOWN_IDS)}"
            )
        kept = tuple(one for one in ids if one not in set(exclude))
        if not kept:
            raise SessionError(f"{self.file.path.name}: --exclude lists all its {len(ids)} units; keep some")
        return {"id": kept}

    def read(self, valid: str | Intervals | None) -> tuple[Session, str, str]:
        """Return the session, its choice of valid time, and the reason."""
        if isinstance(valid, Intervals):
            return self._given(valid), GIVEN, "as given"
        if valid is not None:
            return self._session(valid), valid, "as given"
        table = self.file.table("units")
        if table is not None and OBSERVED in table.names:
            return self._session(OBSERVED), OBSERVED, "the file lists when its units were observed"
        whole = self._session(WHOLE)
        for name in TABLES:
            if not self._has_rows(name):
                continue
            inside = self._session(name)
            if is_confined(whole.spike_times_us, whole.domain, inside.domain):
                return inside, name, f"the file has no obs_intervals, and nearly no spike lies outside of its {name}"
        return whole, WHOLE, f"from the first to the last spike, since {what_there_is(self.file)}"

    def _has_rows(self, name: str) -> bool:
        table = self.file.table(f"intervals/{name}")
        return table is not None and table.rows > 0

    def _given(self, valid: Intervals) -> Session:
        whole = self._session(WHOLE)
        hull = Intervals(whole.domain.start_us[:1], whole.domain.stop_us[-1:])
        session = with_domain(whole, valid.without(hull.without(whole.domain)))
        if not len(session.spike_times_us):
            (first_s, last_s), (from_s, to_s) = valid.hull_s, whole.domain.hull_s
            raise SessionError(
                f"{self.file.path.name}: no spike lies in --valid {first_s:g}:{last_s:g}; its spikes lie in {from_s:g} "
                f"to {to_s:g} s"
            )
        return session

    def _session(self, valid_time: str) -> Session:
        try:
            session = self._ingested(valid_time, self.region)
        except SessionError as error:
            if self.region is None or not any(word in str(error) for word in ("electrode", "region")):
                raise
            self.faults.append(f"regions are not used: {error}")  # a forecast does not need them
            self.region = None
            session = self._ingested(valid_time, None)
        fatal = [one.message for one in decode_findings(session.provenance["findings"]) if one.severity == "fatal"]
        if fatal:
            raise SessionError(f"{self.file.path.name}: {fatal[0]}")
        return session

    def _ingested(self, valid_time: str, region: str | None) -> Session:
        source = _OneFile(
            valid_time=valid_time, region=region, behaviour={}, trials=False, unit_filters={**self._filters}
        )
        return ingest_nwb(self.file.path, self.row, source=source, splits=None)


def region_column(file: NwbFile) -> str | None:
    """Return the column that names regions, of the units or else of the electrodes that they point to."""
    units = file.table("units")
    if units is None:
        return None
    of_units = [name for name in REGION_COLUMNS if name in units.names and not units.is_ragged(name)]
    if of_units:
        return of_units[0]
    electrodes = file.table("general/extracellular_ephys/electrodes")
    if electrodes is None or not {"electrodes", "electrode_group"} & set(units.names):
        return None
    return next((name for name in REGION_COLUMNS if name in electrodes.names), None)


def is_confined(times_us: np.ndarray, whole: Intervals, inside: Intervals) -> bool:
    """Return True if spikes were recorded in some intervals only.

    Args:
        times_us: Spike times of all units in microseconds.
        whole: Time from the first to the last spike.
        inside: The intervals.
    """
    outside = whole.without(inside)
    inside_s, outside_s = (one.duration_us / MICROSECONDS for one in (whole.intersect(inside), outside))
    if not inside_s or outside_s < 1:
        return False
    beyond = int(np.count_nonzero(outside.contains(times_us)))
    within = len(times_us) - beyond
    return beyond / outside_s < CONFINED * within / inside_s
