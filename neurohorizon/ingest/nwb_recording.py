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
from neurohorizon.config import NwbReading, Splits, Timeline
from neurohorizon.ingest.address import Address, AddressError, is_address, read_address
from neurohorizon.ingest.exclusions import without_units
from neurohorizon.ingest.findings import decode_findings, list_names
from neurohorizon.ingest.nwb import WHOLE, ingest_nwb, what_there_is
from neurohorizon.ingest.nwb_file import NwbFile, open_nwb
from neurohorizon.ingest.session_checks import (
    Settings,
    long_valid_time,
    mean_rates_hz,
    partial_probes,
    rates,
    silences,
)
from neurohorizon.ingest.unit_checks import propose_exclusions
from neurohorizon.ingest.valid_time import TABLES, confined_why, inferred_note, is_confined
from neurohorizon.session import Session, SessionError, with_domain
from neurohorizon.timeline import Intervals

OBSERVED, GIVEN = "obs_intervals", "given"
VALID_TIMES = (WHOLE, OBSERVED, *TABLES)
"""Names of choices of valid time."""
REGION_COLUMNS = ("location", "region", "brain_region", "brain_area", "area", "structure", "acronym", "ccf_acronym")
"""Names of columns of regions; the first that the units have, else the electrodes, is used."""
_NOT_NOTED = {
    *("no_subject", "whole_valid_time", "no_region_column", "other_date"),
    *("unit_columns_skipped", "unit_columns_replaced"),
}
_ELSEWHERE = {"implausible_rate"}  # such units are among the proposals
_SHOWN_IDS = 30
_CHECKS = (rates, long_valid_time, silences, partial_probes)
"""Checks of the workflow that apply to a recording without behaviour; none of them uses its settings."""
_SETTINGS = Settings(
    Timeline(bin_ms=20, context_bins=50, horizon_bins=50, evaluation_stride_bins=50),
    Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.1, gap_s=2.0),
)


@dataclass(frozen=True, eq=False)
class NwbRecording:
    """A file as a session.

    Attributes:
        session: Spikes, units and valid time; its name is that of the file without its ending. It has no splits.
        valid_from: ``obs_intervals``, ``trials``, ``epochs``, ``whole`` or ``given``.
        valid_why: The reason for this choice, as a sentence.
        region_column: Column of the regions; None if no unit has a region.
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
        reader = _Reader(file, exclude, settings)
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
    found = [one for check in _CHECKS for one in check(session, _SETTINGS)]
    notes += [one.message for one in found if one.severity != "fatal" and one.code not in _ELSEWHERE]
    inferred = inferred_note(valid_from, option=settings.option("valid_time"))
    if inferred and (valid is None or valid_from == WHOLE):
        notes.append(inferred)
    faults = tuple(one.message for one in found if one.severity == "fatal")
    return NwbRecording(session, valid_from, why, column, reasons | late, (*reader.faults, *notes), *prepared, faults)


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
        else:
            yield opened.enter_context(open_nwb(Path(place)))


class _Reader:
    """Reads one open file with one choice of valid time after another."""

    def __init__(self, file: NwbFile, exclude: Sequence[str], settings: type[_OneFile]) -> None:
        self.file = file
        self.settings = settings
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

    @property
    def _exclude(self) -> str:
        return self.settings.option("unit_filters")

    def _kept(self, exclude: Sequence[str]) -> dict[str, tuple[str, ...]]:
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
