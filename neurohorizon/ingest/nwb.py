"""Any NWB file to a :class:`~neurohorizon.session.Session`; the only module that imports pynwb.

What is read: the ``units`` table with ``spike_times``; valid time from ``obs_intervals``, ``trials`` or
``epochs``, as configured; regions; named behaviour series; the trials table; the subject. What a
file lacks beyond spikes and valid time is noted in ``provenance["notes"]`` and does not stop it.
"""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hdmf.common import DynamicTable, DynamicTableRegion, VectorData, VectorIndex
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from neurohorizon.cohort import Row
from neurohorizon.config import NwbSource, Splits, Timeline
from neurohorizon.ingest.leave_out import OnFatal, write_ingested
from neurohorizon.session import Series, Session, SessionError, order_spikes
from neurohorizon.timeline import Intervals, split_domain, to_us

_UNKNOWN_REGIONS = {"", "nan", "none", "unknown", "n/a"}


def preprocess_nwb(
    *,
    recording: Path,
    row: Row,
    nwb: NwbSource,
    timeline: Timeline,
    splits: Splits,
    on_fatal: OnFatal,
    output: Path,
) -> None:
    """Turn one NWB file into a session file, or into one that holds the reason why it is left out.

    Args:
        recording: NWB file.
        row: Row of the cohort table.
        nwb: The section ``sources.nwb`` of the configuration.
        timeline: The section ``timeline``.
        splits: The section ``splits``.
        on_fatal: Effect of a fatal fault.
        output: Session file.
    """
    ingest = partial(ingest_nwb, recording, row, source=nwb, splits=splits)
    write_ingested(output, ingest, row=row, on_fatal=on_fatal, timeline=timeline, splits=splits)


def ingest_nwb(path: str | Path, row: Row, *, source: NwbSource, splits: Splits) -> Session:
    """Read one NWB file.

    Subject, lab and date are those of the cohort table. A file that names another subject is refused, since
    who is trained on depends on it; another date (often made up to hide the real one) or lab is noted.

    Args:
        path: The file.
        row: The session's row of the cohort table.
        source: What to read and from where in the file.
        splits: How valid time is split.

    Raises:
        SessionError: The file cannot be read or used: what was found, what was expected and what to do.
    """
    path = Path(path)
    with _opened(path) as nwb:
        notes: list[str] = []
        _check_identity(nwb, row, path, notes)
        units = _Units(nwb, path, source)
        domain = _VALID_TIME[source.valid_time](nwb, units, path).without(_declared_invalid(nwb, path))
        if not len(domain):
            raise SessionError(
                f"{path.name}: {source.valid_time} leave no valid time for its {len(units)} units; "
                f"{_what_there_is(nwb)}; choose another sources.nwb.valid_time, or drop units that were not "
                "observed with sources.nwb.unit_filters"
            )
        try:
            parts = split_domain(domain, splits)
        except ValueError as error:
            raise SessionError(f"{path.name}: {error}") from error
        columns = units.columns(nwb, source, notes)
        spike_times_us, spike_unit, found = order_spikes(*units.spikes(), domain=domain)
        behaviour = {}
        for name, inside in source.behaviour.items():
            series = _behaviour(nwb, inside, path, notes)
            if series is not None:
                behaviour[name] = series
        return Session(
            session_id=row.session,
            source=row.source,
            subject=row.subject,
            lab=row.lab,
            date=row.date or nwb.session_start_time.date().isoformat(),
            spike_times_us=spike_times_us,
            spike_unit=spike_unit,
            units=columns,
            domain=domain,
            splits=parts,
            behaviour=behaviour,
            trials=_trials(nwb, notes) if source.trials else {},
            provenance=_provenance(nwb, path, source, notes),
            repairs={**found, "filtered_units": units.filtered},
        )


@contextmanager
def _opened(path: Path) -> Iterator[NWBFile]:
    if not path.is_file():
        raise SessionError(f"there is no file {path}: put it there, or set sources.nwb.folder or NEUROHORIZON_NWB")
    if not h5py.is_hdf5(path):
        raise SessionError(f"{path.name} is not an HDF5 file, as NWB files are: it may be broken; fetch it again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old files name old schemas; what matters is checked here
        try:
            io = NWBHDF5IO(path, "r")
        except Exception as error:
            raise SessionError(
                f"{path.name} cannot be opened, it may be cut short ({error}); fetch it again"
            ) from error
        with io:
            try:
                nwb = io.read()
            except Exception as error:  # hdmf raises what it pleases on a malformed file
                raise SessionError(f"{path.name} is not a readable NWB file ({error}); fetch it again") from error
            try:
                yield nwb
            except OSError as error:
                raise SessionError(f"{path.name} is broken inside ({error}); fetch it again") from error


def _check_identity(nwb: NWBFile, row: Row, path: Path, notes: list[str]) -> None:
    named = _text(getattr(nwb.subject, "subject_id", None))
    if named and named != row.subject:
        raise SessionError(
            f"{path.name} is of subject {named!r}, the cohort table has {row.subject!r} for {row.session}: "
            "correct the table, or put the right file there"
        )
    if not named:
        notes.append(f"the file names no subject; {row.subject} is the cohort table's")
    began = nwb.session_start_time.date().isoformat()
    if row.date and began != row.date:
        notes.append(f"the file's date is {began}, the cohort table's {row.date}")
    if nwb.lab and row.lab and nwb.lab != row.lab:
        notes.append(f"the file's lab is {nwb.lab!r}, the cohort table's {row.lab!r}")


class _Units:
    """The units table after its filters."""

    def __init__(self, nwb: NWBFile, path: Path, source: NwbSource) -> None:
        if nwb.units is None or "spike_times" not in nwb.units.colnames:
            raise SessionError(f"{path.name} has no units with spike_times; {_what_there_is(nwb)}")
        self.table = nwb.units
        kept = np.ones(len(nwb.units), bool)
        for name, wanted in source.unit_filters.items():
            values = _plain_column(nwb.units, name)
            if values is None:
                raise SessionError(
                    f"{path.name}: sources.nwb.unit_filters names {name!r}, no column of single values of "
                    f"its units; they have {list(nwb.units.colnames)}"
                )
            kept &= _equal(values, wanted)
        if not kept.any():
            raise SessionError(
                f"{path.name}: none of its {len(kept)} units passes sources.nwb.unit_filters {source.unit_filters}"
            )
        self.rows = np.flatnonzero(kept)
        self.filtered = len(kept) - len(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def ragged(self, name: str) -> list[np.ndarray]:
        """Values of a ragged column, an array for each kept unit."""
        column = self.table[name]
        if not isinstance(column, VectorIndex):
            return [np.asarray(column.data[row : row + 1]) for row in self.rows]
        stops = np.asarray(column.data[:], dtype=np.int64)
        starts = np.concatenate([[0], stops[:-1]])
        values = np.asarray(column.target.data[:])
        return [values[starts[row] : stops[row]] for row in self.rows]

    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        """Times in seconds and unit of every spike of the kept units, [spike]."""
        times = self.ragged("spike_times")
        return np.concatenate(times), np.repeat(np.arange(len(times)), [len(unit) for unit in times])

    def columns(self, nwb: NWBFile, source: NwbSource, notes: list[str]) -> dict[str, np.ndarray]:
        """Columns of the session's units, [unit]."""
        ids = [str(identity) for identity in np.asarray(self.table.id[:]).tolist()]
        if len(set(ids)) < len(ids):
            notes.append("unit ids occur more than once in the file; each got its row added")
            ids = [f"{identity}_row-{row}" for row, identity in enumerate(ids)]
        columns = {"id": np.array(ids)[self.rows], "region": self._regions(nwb, source.region)}
        for name in self.table.colnames:
            values = _plain_column(self.table, name)
            if name not in (*columns, source.region) and values is not None:
                columns[name] = values[self.rows]
        return columns

    def _regions(self, nwb: NWBFile, column: str | None) -> np.ndarray:
        if column is None:
            return np.full(len(self), "")
        named = _plain_column(self.table, column)
        if named is not None:
            return np.array([_region(named[row]) for row in self.rows])
        electrodes = nwb.electrodes
        by_electrode = _plain_column(electrodes, column) if electrodes is not None else None
        if by_electrode is not None and "electrodes" in self.table.colnames:
            return np.array([_most_common(by_electrode[rows]) for rows in self.ragged("electrodes")])
        if by_electrode is not None and "electrode_group" in self.table.colnames:
            groups = np.array([_text(name) for name in electrodes["group_name"].data[:]])
            of_unit = [self.table["electrode_group"][int(row)].name for row in self.rows]
            return np.array([_most_common(by_electrode[groups == name]) for name in of_unit])
        of_electrodes = list(electrodes.colnames) if electrodes is not None else []
        raise SessionError(
            f"sources.nwb.region is {column!r}, which is neither a column of the units "
            f"{list(self.table.colnames)} nor one of electrodes that units point to {of_electrodes}; name "
            "one of these, or null for none"
        )


def _observed(_: NWBFile, units: _Units, path: Path) -> Intervals:
    if "obs_intervals" not in units.table.colnames:
        raise SessionError(
            f"{path.name}: sources.nwb.valid_time is obs_intervals, which its units lack; "
            f"{_what_there_is(units.table.get_ancestor('NWBFile'))}"
        )
    observed = {values.tobytes(): values for values in units.ragged("obs_intervals")}
    domain = None
    for values in observed.values():
        own = _union(values[:, 0], values[:, 1], path)
        domain = own if domain is None else domain.intersect(own)
    return domain


def _table_of_times(name: str) -> Callable[[NWBFile, _Units, Path], Intervals]:
    def read(nwb: NWBFile, _: _Units, path: Path) -> Intervals:
        table = getattr(nwb, name)
        if table is None or not len(table):
            raise SessionError(
                f"{path.name}: sources.nwb.valid_time is {name}, which it does not have; {_what_there_is(nwb)}"
            )
        return _union(table["start_time"].data[:], table["stop_time"].data[:], path)

    return read


_VALID_TIME = {
    "obs_intervals": _observed,
    "trials": _table_of_times("trials"),
    "epochs": _table_of_times("epochs"),
}
"""Readers of valid time. A time counts as observed when it is so for every kept unit: the intersection of the
units' ``obs_intervals`` (each unit's own are joined); of trials and epochs, which hold for all units, the
union. What the file's ``invalid_times`` say is taken out of either."""


def _declared_invalid(nwb: NWBFile, path: Path) -> Intervals:
    table = nwb.invalid_times
    if table is None or not len(table):
        return Intervals.empty()
    return _union(table["start_time"].data[:], table["stop_time"].data[:], path)


def _union(start_s: np.ndarray, stop_s: np.ndarray, path: Path) -> Intervals:
    start_s, stop_s = np.asarray(start_s, dtype=np.float64), np.asarray(stop_s, dtype=np.float64)
    known = np.isfinite(start_s) & np.isfinite(stop_s)
    try:
        return Intervals.merged(to_us(start_s[known]), to_us(stop_s[known]))
    except ValueError as error:
        raise SessionError(f"{path.name}: {error}") from error


def _behaviour(nwb: NWBFile, inside: str, path: Path, notes: list[str]) -> Series | None:
    with h5py.File(path, "r") as file:
        if inside not in file:
            notes.append(f"no behaviour series {inside}")
            return None
        series = nwb.objects.get(file[inside].attrs.get("object_id"))
        among = list(file[inside]) if isinstance(file[inside], h5py.Group) else []
    if not isinstance(series, TimeSeries):
        raise SessionError(
            f"{path.name}: {inside} is a {type(series).__name__ if series else 'plain dataset'}, not a time "
            f"series; inside are {among}; name one in sources.nwb.behaviour"
        )
    values = np.asarray(series.data[:], dtype=np.float64)
    if values.ndim > 2:
        raise SessionError(f"{path.name}: {inside} has shape {values.shape}; a behaviour series is [sample, channel]")
    if series.timestamps is not None:
        times_s = np.asarray(series.timestamps[:], dtype=np.float64)
    else:
        times_s = series.starting_time + np.arange(len(values)) / series.rate
    if len(times_s) != len(values):
        raise SessionError(f"{path.name}: {inside} has {len(values)} samples and {len(times_s)} times")
    known = np.isfinite(times_s)
    if not known.any():
        notes.append(f"behaviour series {inside} is empty")
        return None
    order = np.argsort(times_s[known], kind="stable")
    if not known.all() or (np.diff(order) < 0).any():
        notes.append(f"behaviour series {inside} had unsorted times or times that are none; sorted, those dropped")
    values = values[known][order] * series.conversion + series.offset
    return Series(times_s[known][order], values, series.unit or "")


def _trials(nwb: NWBFile, notes: list[str]) -> dict[str, np.ndarray]:
    if nwb.trials is None or not len(nwb.trials):
        notes.append("no trials table")
        return {}
    columns = {name: _plain_column(nwb.trials, name) for name in nwb.trials.colnames}
    skipped = [name for name, values in columns.items() if values is None]
    if skipped:
        notes.append(f"columns of trials that are not single values were not kept: {', '.join(skipped)}")
    start, end = columns.pop("start_time").astype(np.float64), columns.pop("stop_time").astype(np.float64)
    kept = np.flatnonzero(np.isfinite(start) & np.isfinite(end))
    if len(kept) < len(start):
        notes.append(f"{len(start) - len(kept)} trials without a start or stop were not kept")
    kept = kept[np.argsort(start[kept], kind="stable")]
    others = {name: values[kept] for name, values in columns.items() if values is not None}
    return {**others, "start": start[kept], "end": end[kept]}


def _provenance(nwb: NWBFile, path: Path, source: NwbSource, notes: list[str]) -> dict[str, str]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return {
        "source": "nwb",
        "identifier": _text(nwb.identifier),
        "description": _text(nwb.session_description),
        "species": _text(getattr(nwb.subject, "species", None)),
        "valid_time": source.valid_time,
        "files": json.dumps({path.name: f"sha256:{digest.hexdigest()}"}),
        "notes": "\n".join(notes),
    }


def _what_there_is(nwb: NWBFile) -> str:
    units = f"units with {list(nwb.units.colnames)}" if nwb.units is not None else "no units"
    counts = {
        "trials": len(nwb.trials) if nwb.trials is not None else 0,
        "epochs": len(nwb.epochs) if nwb.epochs is not None else 0,
    }
    others = [name for name in nwb.intervals if name not in counts]
    listed = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"it has {units}, {listed}" + (f" and other intervals {others}" if others else "")


def _plain_column(table: DynamicTable, name: str) -> np.ndarray | None:
    """A column of one number or text a row, [row]; None if there is none such."""
    column = table[name] if name in table.colnames else None
    if not isinstance(column, VectorData) or isinstance(column, VectorIndex | DynamicTableRegion):
        return None
    values = np.asarray(column[:])
    if values.ndim != 1:
        return None
    if values.dtype == object:
        if not all(isinstance(value, str | bytes | None | float) for value in values.tolist()):
            return None
        values = np.array([_text(value) for value in values.tolist()], dtype=str)
    return values if values.dtype.kind in "biufUS" else None


def _equal(values: np.ndarray, wanted: float | int | str | bool) -> np.ndarray:
    if values.dtype.kind in "US" or isinstance(wanted, str):
        return values.astype(str) == str(wanted)
    return values == wanted


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else "" if value is None else str(value)


def _region(value: Any) -> str:
    text = _text(value).strip()
    return "" if text.lower() in _UNKNOWN_REGIONS else text


def _most_common(values: np.ndarray) -> str:
    regions = Counter(_region(value) for value in values.tolist())
    return regions.most_common(1)[0][0] if regions else ""
