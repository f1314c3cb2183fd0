"""One NWB file as a session, without a cohort table and a configuration.

The reader is that of the workflow, :func:`neurohorizon.ingest.nwb.ingest_nwb`. Its settings fit the file:
valid time, the column of regions, and the units that the user excludes. Each choice has its reason in words. The
command line and Python read files by this module, so both have the same session and the same notes. A remote file is
read in place.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from neurohorizon.cohort import Row
from neurohorizon.config import NwbReading, ValueRange
from neurohorizon.ingest.address import Address, AddressError, is_address, read_address
from neurohorizon.ingest.exclusions import without_units
from neurohorizon.ingest.findings import decode_findings, list_names
from neurohorizon.ingest.nwb import WHOLE, ingest_nwb, passes, what_there_is
from neurohorizon.ingest.nwb_file import NwbFile, Table, open_nwb
from neurohorizon.ingest.recording_checks import check_recording
from neurohorizon.ingest.session_checks import mean_rates_hz
from neurohorizon.ingest.unit_checks import propose_exclusions
from neurohorizon.ingest.unit_filter import UnitFilter
from neurohorizon.ingest.valid_time import TABLES, confined_why, inferred_note, is_confined
from neurohorizon.session import Session, SessionError, with_domain
from neurohorizon.timeline import Intervals

OBSERVED, GIVEN = "obs_intervals", "given"
VALID_TIMES = (WHOLE, OBSERVED, *TABLES)
"""Names of choices of valid time."""
REGION_COLUMNS = ("location", "region", "brain_region", "brain_area", "area", "structure", "acronym", "ccf_acronym")
"""Names of columns of regions; the first that the units have, else the electrodes, is used."""
QUALITY_COLUMNS = (
    "quality",
    "unit_quality",
    "quality_label",
    "curation_label",
    "ks_label",
    "KSLabel",
    "group",
    "label",
)
"""Names of columns of the result of spike sorting or curation, such as ``good`` and ``mua``; the first that the units
have is reported."""
NO_REGION = "none"
"""Choice of the column of regions: no unit has a region."""
_NOT_NOTED = {
    *("no_subject", "whole_valid_time", "no_region_column", "other_date"),
    *("unit_columns_skipped", "unit_columns_replaced"),
}
_SHOWN_IDS = 30
_Wanted = tuple[str, ...] | tuple[float, ...] | ValueRange
_MOST_LABELS = 10


@dataclass(frozen=True, eq=False)
class NwbRecording:
    """A file as a session.

    Attributes:
        session: Spikes, units and valid time; its name is that of the file without its ending. It has no splits.
        valid_from: ``obs_intervals``, ``trials``, ``epochs``, ``whole`` or ``given``.
        valid_why: The reason for this choice, as a sentence.
        region_column: Column of the regions; None if no unit has a region.
        quality_column: Column of the quality of the units; None if they have none.
        excluded: Reason for each excluded unit, by its id.
        notes: Oddities of the file, and its valid time if that was inferred, one sentence each.
        preparation: ``in vivo`` or ``ex vivo``, if the file names it; else "".
        preparation_why: It, and what in the file names it, as a clause.
        faults: Why it cannot be forecast, as far as this depends on the file only; empty if it can.
    """

    session: Session
    valid_from: str
    valid_why: str
    region_column: str | None
    quality_column: str | None
    excluded: dict[str, str]
    notes: tuple[str, ...]
    preparation: str
    preparation_why: str
    faults: tuple[str, ...] = ()


class _OneFile(NwbReading):
    """Settings of the reader, with the names of options of the command line in its errors."""

    key: ClassVar[str] = ""
    reports: ClassVar[bool] = False
    prefix: ClassVar[str] = "--"

    @classmethod
    def option(cls, field: str) -> str:
        """Return the option that sets a field."""
        return cls.prefix + {"valid_time": "valid", "unit_filters": "exclude"}.get(field, field)


class _InPython(_OneFile):
    """The same with the names of arguments."""

    prefix: ClassVar[str] = ""


def read_recording(
    place: str | Path | Address,
    *,
    valid: str | Intervals | None = None,
    region: str | None = None,
    keep: Sequence[UnitFilter] = (),
    exclude: Sequence[str] = (),
    maximum_rate_hz: float | None = None,
    exclude_proposed: bool = False,
    in_python: bool = False,
    report: Callable[[str], None] | None = None,
) -> NwbRecording:
    """Read an NWB file, from this machine or in place from another.

    Without ``valid``, valid time is ``obs_intervals`` of the units. In a file without them it is the time of trials or
    epochs, if nearly no spike lies outside of them, else the time from the first to the last spike.

    Args:
        place: The file, or the address of a remote file.
        valid: One of :data:`VALID_TIMES`; intervals; or None.
        region: Column of the regions, of the units or of their electrodes; :data:`NO_REGION`: none; None: the first of
            :data:`REGION_COLUMNS`.
        keep: Filters, each of another column, that a unit must pass.
        exclude: Ids of units that are excluded. Valid time is computed from the other units.
        maximum_rate_hz: Mean rate in valid time above which a unit is excluded.
        exclude_proposed: Whether units that are likely no single neurons are excluded.
        in_python: Whether messages name the arguments of Python, not the options of the command line.
        report: Receives lines about the bytes of a remote file; None: standard error.

    Raises:
        SessionError: The file cannot be read or used.
        ModuleNotFoundError: The packages for remote files are not installed.
    """
    settings = _InPython if in_python else _OneFile
    with _opened(place, report) as file:
        reader = _Reader(file, exclude, settings, keep, region)
        session, valid_from, why = reader.read(valid)
        column = reader.region if (session.units["region"] != "").any() else None
        prepared = preparation_of(file)
        notes = [one.message for one in decode_findings(session.provenance["findings"]) if one.code not in _NOT_NOTED]
    reasons = dict(reader.excluded)
    late = {}
    for row in np.flatnonzero(mean_rates_hz(session) > maximum_rate_hz) if maximum_rate_hz is not None else ():
        late[str(session.units["id"][row])] = f"{mean_rates_hz(session)[row]:.1f} Hz, above {maximum_rate_hz:g} Hz"
    for one in propose_exclusions(session) if exclude_proposed else ():
        late.setdefault(one.unit, one.detail)
    if late:
        session = without_units(session, late)
    found = check_recording(session)
    notes += [one.message for one in found if one.severity != "fatal"]
    inferred = inferred_note(valid_from, option=settings.option("valid_time"))
    if inferred and (valid is None or valid_from == WHOLE):
        notes.append(inferred)
    faults = tuple(one.message for one in found if one.severity == "fatal")
    return NwbRecording(
        session=session,
        valid_from=valid_from,
        valid_why=why,
        region_column=column,
        quality_column=quality_column(session),
        excluded=reasons | late,
        notes=(*reader.faults, *notes),
        preparation=prepared[0],
        preparation_why=prepared[1],
        faults=faults,
    )


@contextmanager
def _opened(place: str | Path | Address, report: Callable[[str], None] | None) -> Iterator[NwbFile]:
    if isinstance(place, str) and is_address(place):
        try:
            place = read_address(place)
        except AddressError as error:
            raise SessionError(str(error)) from None
    with ExitStack() as opened:
        if isinstance(place, Address):
            try:
                from neurohorizon.ingest.remote import open_remote
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    f'remote files are read with {error.name}: pip install "neurohorizon[nwb,remote]"', name=error.name
                ) from error
            yield opened.enter_context(open_nwb(opened.enter_context(open_remote(place, report))))
        elif not Path(place).exists():
            raise SessionError(f"there is no file {place}; expected the path of an NWB file")
        else:
            yield opened.enter_context(open_nwb(Path(place)))


class _Reader:
    """Reads one open file with one choice of valid time after another."""

    def __init__(
        self,
        file: NwbFile,
        exclude: Sequence[str],
        settings: type[_OneFile],
        keep: Sequence[UnitFilter],
        region: str | None,
    ) -> None:
        self.file = file
        self.settings = settings
        self.region = region_column(file) if region is None else self._region(region)
        self.excluded = dict.fromkeys(exclude, "listed")
        self.faults: list[str] = []
        self._filters = self._kept(exclude) if exclude else {}
        self._filters |= self._passed(keep)
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

    @property
    def _exclude(self) -> str:
        return self.settings.option("unit_filters")

    def _region(self, wanted: str) -> str | None:
        """Return the requested column of regions, None for none."""
        if wanted == NO_REGION:
            return None
        of_units, of_electrodes = (_columns(table) for table in _tables_of_regions(self.file))
        if wanted not in of_units + of_electrodes:
            raise SessionError(
                f"{self.file.path.name}: {self.settings.option('region')} is {wanted!r}, which is no column of single "
                f"values of its units {of_units} or of electrodes that they point to {of_electrodes}; name one of "
                f"these, or {NO_REGION}"
            )
        return wanted

    def _passed(self, keep: Sequence[UnitFilter]) -> dict[str, _Wanted]:
        """Return the filters as settings of the reader, and list the units that they exclude."""
        table = self.file.table("units")
        filters: dict[str, _Wanted] = {}
        if not keep or table is None:
            return filters
        ids, kept = table.ids(), np.ones(table.rows, bool)
        labels: list[str] = []
        for one in keep:
            values = table.plain(one.column)
            if values is None:
                raise SessionError(
                    f"{self.file.path.name}: --keep names {one.column!r}, which is no column of single values of its "
                    f"units; they have {['id', *_columns(table)]}"
                )
            wanted = _wanted(one, values, self.file.path.name)
            passed, labels = passes(values, wanted), list(dict.fromkeys(map(str, values.tolist())))
            kept &= passed
            if one.column == "id":  # which `exclude` also filters
                wanted = tuple(ids[row] for row in np.flatnonzero(passed) if ids[row] not in self.excluded)
            filters[one.column] = wanted
            for row in np.flatnonzero(~passed):
                self.excluded.setdefault(ids[row], f"{one.column} is {values[row]}")
        if not kept.any():
            found = list_names(labels)
            raise SessionError(
                f"{self.file.path.name}: none of its {len(kept)} units passes --keep {' '.join(map(str, keep))}; "
                f"{keep[-1].column} is {found}"
            )
        return filters

    def _kept(self, exclude: Sequence[str]) -> dict[str, _Wanted]:
        table = self.file.table("units")
        ids = table.ids() if table is not None else []
        if absent := [one for one in exclude if one not in ids]:
            raise SessionError(
                f"{self.file.path.name} has no unit {list_names(absent)}, which {self._exclude} lists; its units are "
                f"{list_names(ids, _SHOWN_IDS)}"
            )
        kept = tuple(one for one in ids if one not in set(exclude))
        if not kept:
            raise SessionError(f"{self.file.path.name}: {self._exclude} lists all its {len(ids)} units; keep some")
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
                return inside, name, confined_why(name)
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
                f"{self.file.path.name}: no spike lies in {self.settings.option('valid_time')}, {first_s:g} to "
                f"{last_s:g} s; its spikes lie in {from_s:g} to {to_s:g} s"
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
        source = self.settings(
            valid_time=valid_time, region=region, behaviour={}, trials=False, unit_filters={**self._filters}
        )
        return ingest_nwb(self.file.origin, self.row, source=source, splits=None)


def preparation_of(file: NwbFile) -> tuple[str, str]:
    """Return the preparation that a file names, and what names it as a clause; "" if none is named.

    NWB has no field for it. Its description of slices (``general/slices``) is of tissue ex vivo, and data of behaviour
    are of an animal. Free text is not interpreted.
    """
    of_slices, of_behaviour = bool(file.text("general/slices").strip()), bool(file.names("processing/behavior"))
    if of_slices == of_behaviour:
        return "", "not named in the file"
    return ("ex vivo", "ex vivo, the file describes slices") if of_slices else ("in vivo", "in vivo, it has behaviour")


def region_column(file: NwbFile) -> str | None:
    """Return the column that names regions, of the units or else of the electrodes that they point to."""
    units, electrodes = _tables_of_regions(file)
    of_units = _columns(units)
    of_electrodes = [] if electrodes is None else electrodes.names
    return next((name for names in (of_units, of_electrodes) for name in REGION_COLUMNS if name in names), None)


def quality_column(session: Session) -> str | None:
    """Return the first known column of the quality of units that has a few different values."""
    for name in QUALITY_COLUMNS:
        labels = set(map(str, session.units[name].tolist())) if name in session.units else set()
        if len(labels) <= _MOST_LABELS and labels - {""}:
            return name
    return None


def _tables_of_regions(file: NwbFile) -> tuple[Table | None, Table | None]:
    """Return the units, and the electrodes if units point to them."""
    units = file.table("units")
    pointing = units is not None and {"electrodes", "electrode_group"} & set(units.names)
    return units, file.table("general/extracellular_ephys/electrodes") if pointing else None


def _columns(table: Table | None) -> list[str]:
    """Return the names of the columns whose rows have one value."""
    return [] if table is None else [name for name in table.names if not table.is_ragged(name)]


def _wanted(one: UnitFilter, values: np.ndarray, file: str) -> _Wanted:
    """Return a filter as a setting of the reader, with values of the kind of the column."""
    kind = values.dtype.kind
    if not one.values:
        if kind not in "biuf":
            raise SessionError(
                f"{file}: --keep {one} is a range, and {one.column} holds texts such as {str(values[0])!r}"
            )
        return ValueRange(
            minimum=one.least if np.isfinite(one.least) else None, maximum=one.most if np.isfinite(one.most) else None
        )
    if kind == "b":
        return tuple(value.capitalize() for value in one.values)
    if kind in "iuf":
        try:
            return tuple(map(float, one.values))
        except ValueError:
            raise SessionError(
                f"{file}: --keep {one} names a text, and {one.column} holds numbers such as {values[0]:g}"
            ) from None
    return one.values
