"""One recording session: the record in memory and its HDF5 file.

The file follows the on-disk schema of ``torch_brain.data`` 0.2, so ``torch_brain.data.Data.load`` opens it.
Each dataset carries its axes and unit as attributes. Spike arrays are contiguous, so that a window read at
random costs a page or two and any number of processes share one mapping.
"""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.files import replacing
from neurohorizon.printed_names import CONTROL_CHARACTERS
from neurohorizon.timeline import MICROSECONDS, Intervals, Splits, blocks, compact, nearest_us, to_s, to_us

SCHEMA_VERSION = 1
"""Raised when a file written before can no longer be read."""

_SPLIT_GROUPS = {
    "reference": "reference_domain",
    "test": "test_domain",
    "train": "train_domain",
    "validation": "valid_domain",
}
_RESERVED = {
    *("spikes", "units", "domain", "trials", "stimuli", "subject", "session", "brainset", "provenance", "repairs"),
    *_SPLIT_GROUPS.values(),
}
_STIMULI = {
    "start": np.float64,
    "end": np.float64,
    "name": np.str_,
    "image_set": np.str_,
    "frame": np.int32,
    "block": np.int32,
}
_STIMULUS_UNITS = {"start": "s", "end": "s", "frame": "row of the image set"}
_DESCRIPTIONS = ("subject", "session", "brainset", "provenance", "repairs")
_TORCH_BRAIN_NAMES = {
    "object",
    "absolute_start",
    "domain",
    "start",
    "end",
    "file",
    "slice",
    "keys",
    "load",
    "save",
    "close",
}


class SessionError(ValueError):
    """A session that cannot be used; the message gives what was found, what was expected and what to do."""


@dataclass(frozen=True, eq=False)
class Series:
    """A behaviour series.

    Attributes:
        times_s: Sample times on the session clock, float64 [sample], sorted.
        values: float32 [sample, channel]; NaN where the value is not known.
        unit: Unit of the values, such as ``rad/s``.
    """

    times_s: np.ndarray
    values: np.ndarray
    unit: str

    def __post_init__(self) -> None:
        times_s = np.asarray(self.times_s, dtype=np.float64)
        values = np.asarray(self.values, dtype=np.float32)
        values = values[:, None] if values.ndim == 1 else values
        if times_s.ndim != 1 or values.ndim != 2 or len(times_s) != len(values) or not len(times_s):
            raise SessionError(
                "a behaviour series needs times [sample] and values [sample, channel], one sample or more; "
                f"found {times_s.shape} and {values.shape}"
            )
        if not np.isfinite(times_s).all() or (np.diff(times_s) < 0).any():
            raise SessionError("the times of a behaviour series must be finite and sorted")
        object.__setattr__(self, "times_s", times_s)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, eq=False)
class Session:
    """One recording.

    Attributes:
        session_id: Name in the cohort table and of the file.
        source: Kind of release: ``ibl``, ``allen``, ``nwb``.
        subject: Animal.
        lab: Laboratory, as the cohort counts them.
        date: ISO date of the recording; "" where not known.
        spike_times_us: int64 [spike], sorted, on the session clock.
        spike_unit: Row of ``units`` of each spike, uint16 or uint32 [spike].
        units: Columns [unit]; always ``id`` (unique) and ``region`` ("" where not known).
        domain: When every unit was recorded; outside of it nothing is known, and silence means nothing.
        splits: Parts of ``domain``.
        behaviour: Series by name.
        trials: Columns [trial]; ``start`` and ``end`` in seconds, then those of the release. May be empty.
        stimuli: What the screen showed, columns [presentation], sorted by ``start``: ``start`` and ``end`` in seconds;
            ``name`` of the stimulus in the release; ``image_set`` whose row ``frame`` (int32) was shown: a template of
            the release such as ``natural_movie_one``, or ``gray``, whose only row is 0; "" and -1 where the image
            is not known; ``block`` (int32), -1 where there is none. The screen is gray between presentations. Empty
            if the screen was not recorded.
        provenance: Source, release, revision, hashes of the files read (JSON text); ``notes`` are lines for
            people on what is odd. Writing adds ``package_version``.
        repairs: What ingest found, by code, such as ``outside_domain`` -> spikes dropped; see order_spikes.
        left_out: Why the session cannot be used; its arrays are then empty. None for a usable one.
    """

    session_id: str
    source: str
    subject: str
    lab: str
    date: str
    spike_times_us: np.ndarray
    spike_unit: np.ndarray
    units: Mapping[str, np.ndarray]
    domain: Intervals
    splits: Splits
    behaviour: Mapping[str, Series] = field(default_factory=dict)
    trials: Mapping[str, np.ndarray] = field(default_factory=dict)
    stimuli: Mapping[str, np.ndarray] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    repairs: Mapping[str, int] = field(default_factory=dict)
    left_out: str | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "units", {name: _column(values) for name, values in self.units.items()})
        trials = self.trials or {"start": np.zeros(0), "end": np.zeros(0)}
        put(self, "trials", {name: _column(values) for name, values in trials.items()})
        stimuli = {name: _column(values) for name, values in (self.stimuli or _no_stimuli()).items()}
        put(
            self, "stimuli", {name: values.astype(_STIMULI.get(name, values.dtype)) for name, values in stimuli.items()}
        )
        self._check_tables()
        put(self, "spike_times_us", np.asarray(self.spike_times_us))
        put(self, "spike_unit", np.asarray(self.spike_unit))
        self._check_spikes()
        small = self.n_units <= np.iinfo(np.uint16).max + 1
        put(self, "spike_unit", self.spike_unit.astype(np.uint16 if small else np.uint32, copy=False))
        put(self, "spike_times_us", self.spike_times_us.astype(np.int64, copy=False))
        clash = _RESERVED & set(self.behaviour)
        if clash:
            raise SessionError(f"behaviour series cannot be called {sorted(clash)}: the session file uses these names")
        clash = _TORCH_BRAIN_NAMES & {*self.provenance, *self.repairs}
        if clash:
            raise SessionError(f"provenance cannot have keys {sorted(clash)}: torch_brain gives them another meaning")
        if self.left_out is None and not (self.n_units and len(self.domain)):
            raise SessionError(
                f"session {self.session_id} has {self.n_units} units and {self.domain.duration_us} us of "
                "valid time; a usable session needs both, others are made with left_out_session"
            )

    @property
    def n_units(self) -> int:
        """Units, silent ones included."""
        return len(self.units["id"])

    def _check_tables(self) -> None:
        for table, columns, needed in (
            ("units", self.units, ("id", "region")),
            ("trials", self.trials, ("start", "end")),
            ("stimuli", self.stimuli, tuple(_STIMULI)),
        ):
            missing = [name for name in needed if name not in columns]
            if missing:
                raise SessionError(f"{table} lacks {missing}; it has {sorted(columns)}")
            lengths = {name: len(values) for name, values in columns.items()}
            if len(set(lengths.values())) > 1:
                raise SessionError(f"columns of {table} differ in length: {lengths}")
        for name in {"id", "region", "probe"} & self.units.keys():
            if odd := [one for one in self.units[name].tolist() if CONTROL_CHARACTERS.search(str(one))]:
                raise SessionError(f"units['{name}'] has control characters in {odd[0]!r}; export them without")
        if self.units["id"].dtype.kind != "U" or len(set(self.units["id"].tolist())) != self.n_units:
            raise SessionError("units['id'] must be strings, each once")
        for table, columns in (("trials", self.trials), ("stimuli", self.stimuli)):
            start, end = columns["start"], columns["end"]
            if not (np.isfinite(start).all() and np.isfinite(end).all()) or (np.diff(start) < 0).any():
                raise SessionError(f"{table} must have finite times and be sorted by start")
        known = self.stimuli["image_set"] != ""
        if (known != (self.stimuli["frame"] >= 0)).any():
            raise SessionError('a stimulus has a frame of 0 or more if its image_set is known, and -1 if it is ""')

    def _check_spikes(self) -> None:
        times_us, unit = self.spike_times_us, self.spike_unit
        if times_us.shape != unit.shape or times_us.ndim != 1:
            raise SessionError(f"spike times {times_us.shape} and units {unit.shape} must be two equal lists")
        if not times_us.size:
            return
        if not (np.issubdtype(times_us.dtype, np.integer) and np.issubdtype(unit.dtype, np.integer)):
            raise SessionError(f"spike times and units must be integers, found {times_us.dtype} and {unit.dtype}")
        if (times_us[1:] < times_us[:-1]).any():
            raise SessionError("spike times must be sorted; order_spikes does it")
        if unit.min() < 0 or unit.max() >= self.n_units:
            raise SessionError(f"spikes name units {unit.min()} to {unit.max()}; there are {self.n_units}")


def left_out_session(
    *,
    session_id: str,
    source: str,
    subject: str,
    lab: str,
    date: str,
    reason: str,
    provenance: Mapping[str, str] | None = None,
) -> Session:
    """A session with nothing in it but the reason why."""
    return Session(
        session_id=session_id,
        source=source,
        subject=subject,
        lab=lab,
        date=date,
        spike_times_us=np.zeros(0, np.int64),
        spike_unit=np.zeros(0, np.uint16),
        units={"id": np.zeros(0, "U1"), "region": np.zeros(0, "U1")},
        domain=Intervals.empty(),
        splits=Splits.empty(),
        provenance=provenance or {},
        left_out=reason,
    )


def with_domain(session: Session, domain: Intervals) -> Session:
    """Return a session with other valid time, and without the spikes outside of it."""
    if domain == session.domain:
        return session
    inside = domain.contains(session.spike_times_us)
    return replace(
        session,
        domain=domain,
        spike_times_us=session.spike_times_us[inside],
        spike_unit=session.spike_unit[inside],
    )


def order_spikes(
    times_s: np.ndarray, unit_index: np.ndarray, *, domain: Intervals, overwrite: bool = False
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Spikes of a release, as they come, to the order and the clock of a :class:`Session`.

    Args:
        times_s: Spike times, [spike].
        unit_index: Row of the unit of each spike, integer [spike].
        domain: Valid time; spikes outside are dropped, so that nothing downstream can count them.
        overwrite: Whether the memory of ``times_s``, float64, may be used for the result.

    Returns:
        Times, int64 microseconds [spike], sorted (ties by unit); units [spike]; and what was found, by code:
        ``not_finite`` and ``outside_domain`` were dropped, ``unsorted`` spikes (earlier than the one before
        of the same unit) were sorted, ``duplicate`` ones (same unit, same microsecond) were kept.
    """
    times_s, unit_index = np.asarray(times_s, dtype=np.float64), np.asarray(unit_index)
    finite = np.isfinite(times_s)
    unknown = len(finite) - int(np.count_nonzero(finite))
    if unknown:
        times_s, unit_index = times_s[finite], unit_index[finite]
    # a time too far for microseconds lies outside of any domain
    times_us = nearest_us(times_s, overwrite=overwrite)
    unsorted = len(steps_back(times_us, unit_index))
    inside = domain.contains(times_us)
    dropped = len(inside) - int(np.count_nonzero(inside))
    if dropped:
        times_us, unit_index = compact(times_us, inside), unit_index[inside]
    times_us, unit_index = sorted_by_time(times_us, unit_index)
    found = {
        "not_finite": unknown,
        "outside_domain": dropped,
        "unsorted": unsorted,
        "duplicate": int(
            np.count_nonzero((times_us[1:] == times_us[:-1]) & (unit_index[1:] == unit_index[:-1])),
        ),
    }
    return times_us, unit_index, found


def steps_back(times: np.ndarray, unit_index: np.ndarray) -> np.ndarray:
    """Return the place of each spike that is earlier than the one before of its unit, among spikes ordered by unit.

    Args:
        times: Time of each spike, [spike].
        unit_index: Unit of each spike, [spike].

    Returns:
        Rows of the stable order by unit, int64 [found]; the spikes go back from each row to the next.
    """
    if (unit_index[1:] < unit_index[:-1]).any():
        by_unit = np.argsort(unit_index, kind="stable")
        times, unit_index = times[by_unit], unit_index[by_unit]
    return np.flatnonzero((times[1:] < times[:-1]) & (unit_index[1:] == unit_index[:-1]))


def sorted_by_time(times_us: np.ndarray, unit_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort spikes by time, and those of one time by unit; the memory of ``times_us`` is used for the result.

    Args:
        times_us: int64 [spike].
        unit_index: Integer [spike].
    """
    if not len(times_us):
        return times_us, unit_index
    count = int(unit_index.max()) + 1
    if int(unit_index.min()) < 0 or not joins(times_us, count):
        order = np.lexsort((unit_index, times_us))
        return times_us[order], unit_index[order]
    key, unit = sorted_keys(times_us, unit_index, count), np.empty_like(unit_index)
    for part in blocks(len(key)):
        key[part], unit[part] = np.divmod(key[part], count)
    return key, unit


def joins(times_us: np.ndarray, count: int) -> bool:
    """Whether times are small enough to be joined with the number of a unit; see :func:`sorted_keys`."""
    return max(-int(times_us.min()), int(times_us.max())) < 2**62 // count


def sorted_keys(times_us: np.ndarray, unit_index: np.ndarray, count: int) -> np.ndarray:
    """Join each spike's time and unit into one number, ``time * count + unit``, and sort these, int64 [spike].

    Such a sort takes no memory but that of ``times_us``, which is overwritten.

    Args:
        times_us: int64 [spike].
        unit_index: Integer of 0 to ``count - 1``, [spike].
        count: Number of units.
    """
    for part in blocks(len(times_us)):
        times_us[part] *= count
        times_us[part] += unit_index[part]
    times_us.sort()
    return times_us


def write_session(path: str | Path, session: Session) -> None:
    """Write a session's file whole or not at all: under a temporary name in the same folder, then renamed."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        _write(file, session)


def read_session(path: str | Path) -> Session:
    """Read a session's file into memory.

    Raises:
        SessionError: The file is missing, broken, or not a session file.
    """
    with _opened(path) as file:
        try:
            return _read(file)
        except KeyError as error:
            raise SessionError(f"{path} lacks a part of a session file: {error}; make it again") from error


def read_identity(path: str | Path) -> dict[str, str]:
    """Who a session is, and why it was left out ("" if it was not), without reading its spikes."""
    with _opened(path) as file:
        return {
            "session": file["session"].attrs["id"],
            "subject": file["subject"].attrs["id"],
            "lab": file["session"].attrs["lab"],
            "source": file["brainset"].attrs["source"],
            "left_out": file.attrs["left_out"],
        }


def read_excluded_units(path: str | Path) -> dict[str, str]:
    """Return the ids of the units that ingest excluded, each with the reason, without reading spikes."""
    with _opened(path) as file:
        return json.loads(file["provenance"].attrs.get("excluded_units", "{}"))


def read_size(path: str | Path) -> dict[str, float]:
    """How many units and spikes a session has, and how many seconds of valid time, without reading its spikes."""
    with _opened(path) as file:
        return {
            "units": file["units/id"].shape[0],
            "spikes": file["spikes/timestamps"].shape[0],
            "recorded_s": float(to_s(_read_intervals(file["domain"]).duration_us)),
        }


def read_splits(path: str | Path) -> Splits:
    """The parts of a session's valid time, without reading its spikes."""
    with _opened(path) as file:
        return _read_splits(file)


def read_stimuli(path: str | Path) -> dict[str, np.ndarray]:
    """What the screen showed, columns [presentation], without reading a session's spikes; see :class:`Session`."""
    with _opened(path) as file:
        return _read_stimuli(file)


def read_trials(path: str | Path) -> dict[str, np.ndarray]:
    """A session's trials, columns [trial], without reading its spikes; see :class:`Session`."""
    with _opened(path) as file:
        return _read_trials(file)


def read_behaviour(path: str | Path) -> dict[str, Series]:
    """A session's behaviour series by name, without reading its spikes."""
    with _opened(path) as file:
        return _read_behaviour(file)


def read_unit_ids(path: str | Path) -> np.ndarray:
    """Names of a session's units, [unit], without reading its spikes."""
    with _opened(path) as file:
        return _column(_read_column(file["units/id"]))


def read_unit_regions(path: str | Path) -> np.ndarray:
    """Brain region of each unit of a session, [unit], without reading its spikes."""
    with _opened(path) as file:
        return _column(_read_column(file["units/region"]))


class CountedSpikes:
    """Spikes that also know how many of each unit came before every second, for sums over long spans."""

    times_s: np.ndarray
    unit: np.ndarray
    n_units: int

    @cached_property
    def seconds(self) -> tuple[np.ndarray, np.ndarray]:
        """Seconds of the clock that hold spikes, and the spikes of each unit before each and after the last.

        The first array is int64 [second], sorted; the second is int32 [second + 1, unit], and its first row is zero.
        Pauses take no memory. They are made at the first call.
        """
        second, row = np.unique(to_us(np.asarray(self.times_s)) // MICROSECONDS, return_inverse=True)
        cell = row * self.n_units + np.asarray(self.unit)
        counts = np.bincount(cell, minlength=len(second) * self.n_units).reshape(len(second), self.n_units)
        before = np.zeros((len(second) + 1, self.n_units), np.int32)
        counts.cumsum(axis=0, out=before[1:])
        return second, before


class SpikeReader(CountedSpikes):
    """A session's spikes as read-only views on the file: a slice touches only its own pages.

    Keeps no open HDF5 handle, and travels between processes as its path.

    Attributes:
        path: The session file.
        times_s: float64 [spike], sorted, memory-mapped.
        unit: Row of ``units`` of each spike, uint16 or uint32 [spike], memory-mapped.
        n_units: Units, silent ones included.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with _opened(path) as file:
            self.n_units = len(file["units/id"])
            self.times_s = _mapped(self.path, file["spikes/timestamps"])
            self.unit = _mapped(self.path, file["spikes/unit_index"])

    def between(self, start_us: int, stop_us: int) -> tuple[np.ndarray, np.ndarray]:
        """Spikes with ``start_us <= time < stop_us``: microseconds and units, both int64 [spike]."""
        # the file's seconds are us / 1e6, and so are these: equal integers give equal floats
        first, last = np.searchsorted(self.times_s, to_s(np.array([start_us, stop_us])))
        return to_us(self.times_s[first:last]), self.unit[first:last].astype(np.int64)

    def __reduce__(self) -> tuple:
        return SpikeReader, (self.path,)


def _column(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind in "OST":
        decoded = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
        values = np.array(decoded, dtype="U") if decoded else np.zeros(0, "U1")
    if values.dtype.kind not in "biufU":
        raise SessionError(f"a column must hold numbers or text, found {values.dtype}")
    return values


def _opened(path: str | Path) -> h5py.File:
    if not Path(path).is_file():
        raise SessionError(f"there is no session file {path}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise SessionError(f"{path} is not a readable HDF5 file ({error}); make it again") from error
    version = file.attrs.get("schema_version")
    if version != SCHEMA_VERSION:
        file.close()
        raise SessionError(f"{path} has session schema {version}, this package reads {SCHEMA_VERSION}; make it again")
    return file


def _mapped(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    if not dataset.size:
        return np.zeros(dataset.shape, dataset.dtype)  # nothing was laid out on disk, so there is no offset
    offset = dataset.id.get_offset()
    if offset is None:
        raise SessionError(f"{dataset.name} of {path} is not contiguous, as session files are; make it again")
    return np.memmap(path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)


def _write(file: h5py.File, session: Session) -> None:
    file.attrs["object"] = "Data"
    file.attrs["absolute_start"] = 0.0
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["left_out"] = session.left_out or ""
    spikes = _group(file, "spikes", "IrregularTimeSeries", timekeys=["timestamps"])
    times_s = to_s(session.spike_times_us)
    _dataset(spikes, "timestamps", times_s, axes="spike", unit="s")
    _dataset(spikes, "unit_index", session.spike_unit, axes="spike", unit="row of units")
    _write_intervals(spikes, "domain", session.domain)
    _write_seconds(spikes, times_s, session.domain)
    units = _group(file, "units", "ArrayDict")
    for name, values in session.units.items():
        _dataset(units, name, values, axes="unit", unit="")
    _write_intervals(file, "domain", session.domain)
    for name, group in _SPLIT_GROUPS.items():
        _write_intervals(file, group, getattr(session.splits, name))
    times = [name for name in session.trials if name in ("start", "end") or name.endswith(("_time", "_times"))]
    trials = _group(file, "trials", "Interval", timekeys=times)
    for name, values in session.trials.items():
        values = values.astype(np.float64) if name in times else values
        _dataset(trials, name, values, axes="trial", unit="s" if name in times else "")
    stimuli = _group(file, "stimuli", "Interval", timekeys=["start", "end"])
    for name, values in session.stimuli.items():
        _dataset(stimuli, name, values, axes="presentation", unit=_STIMULUS_UNITS.get(name, ""))
    for name, series in session.behaviour.items():
        group = _group(file, name, "IrregularTimeSeries", timekeys=["timestamps"])
        _dataset(group, "timestamps", series.times_s, axes="sample", unit="s")
        _dataset(group, "values", series.values, axes="sample, channel", unit=series.unit)
        first_us, last_us = to_us(series.times_s[[0, -1]]).tolist()
        span = Intervals(np.array([first_us]), np.array([last_us + 1]))
        _write_intervals(group, "domain", span)
        _write_seconds(group, series.times_s, span)
    _write_descriptions(file, session)


def package_version() -> str:
    """Return the version of the package."""
    # not an import that code fingerprints follow: a new version number must rerun nothing
    return str(importlib.import_module("neurohorizon").__version__)


def _write_descriptions(file: h5py.File, session: Session) -> None:
    version = package_version()
    described = {
        "subject": {"id": session.subject},
        "session": {
            "id": session.session_id,
            "recording_date": f"{session.date} 00:00:00" if session.date else "",
            "lab": session.lab,
        },
        "brainset": {
            "id": session.source,
            "source": session.source,
            "origin_version": session.provenance.get("revision", ""),
            "derived_version": version,
            "description": "spikes for forecasting, with valid time and its splits",
        },
        "provenance": {**session.provenance, "package_version": version},
        "repairs": session.repairs,
    }
    for name in _DESCRIPTIONS:
        group = file.create_group(name)
        group.attrs["object"] = "Data"
        group.attrs["absolute_start"] = 0.0
        for key, value in described[name].items():
            group.attrs[key] = value


def _group(parent: h5py.Group, name: str, kind: str, timekeys: list[str] | None = None) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["object"] = kind
    group.attrs["_unicode_keys"] = np.zeros(0, "S1")
    if timekeys is not None:
        group.attrs["timekeys"] = np.array(timekeys, dtype="S")
    return group


def _dataset(
    group: h5py.Group, name: str, values: np.ndarray, *, axes: str, unit: str, compressed: bool = False
) -> None:
    if values.dtype.kind == "U":
        if all(text.isascii() for text in values.tolist()):
            # torch_brain's convention: fixed-width ASCII, listed so that it is read back as text
            values = values.astype("S") if values.dtype.itemsize else np.zeros(len(values), "S1")
            listed = [*group.attrs["_unicode_keys"].tolist(), name.encode()]
            group.attrs["_unicode_keys"] = np.array(listed, dtype="S")
        else:
            values = values.astype(object)
    kind = h5py.string_dtype() if values.dtype == object else None
    # months between two pieces of a recording repeat one number
    dataset = group.create_dataset(name, data=values, dtype=kind, compression="gzip" if compressed else None)
    dataset.attrs["axes"] = axes
    dataset.attrs["unit"] = unit


def _write_intervals(parent: h5py.Group, name: str, intervals: Intervals) -> None:
    group = _group(parent, name, "Interval", timekeys=["start", "end"])
    _dataset(group, "start", to_s(intervals.start_us), axes="interval", unit="s")
    _dataset(group, "end", to_s(intervals.stop_us), axes="interval", unit="s")


def _write_seconds(group: h5py.Group, times_s: np.ndarray, domain: Intervals) -> None:
    # index of the first event at or after each whole second of the domain; torch_brain slices with it
    start, stop = to_s(domain.start_us[:1]), to_s(domain.stop_us[-1:])
    seconds = np.arange(start[0], stop[0] + 1.0, 1.0) if len(domain) else np.zeros(0)
    _dataset(
        group,
        "timestamp_indices_1s",
        np.searchsorted(times_s, seconds),
        axes="second",
        unit="row of timestamps",
        compressed=len(seconds) > MICROSECONDS,
    )


def _read(file: h5py.File) -> Session:
    described = {name: dict(file[name].attrs) for name in _DESCRIPTIONS}
    for attributes in described.values():
        del attributes["object"], attributes["absolute_start"]
    return Session(
        session_id=described["session"]["id"],
        source=described["brainset"]["source"],
        subject=described["subject"]["id"],
        lab=described["session"]["lab"],
        date=described["session"]["recording_date"][:10],
        spike_times_us=to_us(file["spikes/timestamps"][:]),
        spike_unit=file["spikes/unit_index"][:],
        units={name: _read_column(dataset) for name, dataset in file["units"].items()},
        domain=_read_intervals(file["domain"]),
        splits=_read_splits(file),
        behaviour=_read_behaviour(file),
        trials=_read_trials(file),
        stimuli=_read_stimuli(file),
        provenance={name: str(value) for name, value in described["provenance"].items()},
        repairs={name: int(value) for name, value in described["repairs"].items()},
        left_out=file.attrs["left_out"] or None,
    )


def _read_splits(file: h5py.File) -> Splits:
    return Splits(**{name: _read_intervals(file[group]) for name, group in _SPLIT_GROUPS.items()})


def _read_behaviour(file: h5py.File) -> dict[str, Series]:
    return {
        name: Series(group["timestamps"][:], group["values"][:], group["values"].attrs["unit"])
        for name, group in file.items()
        if name not in _RESERVED
    }


def _read_trials(file: h5py.File) -> dict[str, np.ndarray]:
    return {name: _read_column(dataset) for name, dataset in file["trials"].items()}


def _read_stimuli(file: h5py.File) -> dict[str, np.ndarray]:
    # files written before stimuli were kept have none
    columns = {name: _read_column(dataset) for name, dataset in file.get("stimuli", {}).items()}
    return {name: _column(values) for name, values in columns.items()} or _no_stimuli()


def _no_stimuli() -> dict[str, np.ndarray]:
    return {name: np.zeros(0, "U1" if kind is np.str_ else kind) for name, kind in _STIMULI.items()}


def _read_column(dataset: h5py.Dataset) -> np.ndarray:
    if dataset.dtype == object:
        return dataset.asstr()[:]
    return dataset[:]


def _read_intervals(group: h5py.Group) -> Intervals:
    return Intervals(to_us(group["start"][:]), to_us(group["end"][:]))
