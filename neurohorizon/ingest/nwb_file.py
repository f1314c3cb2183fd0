"""Objects of an NWB 2 file, read with h5py.

The file is on this machine, or remote (:mod:`neurohorizon.ingest.remote`). Only what a forecast needs is read: tables,
ragged columns, time series and texts. A part that the file does not need for that, such as an extension's type or a
broken series, stops nothing. A file cannot lead the reader elsewhere: links to files outside of its folder, links of a
remote file to any other, raw data in other files and virtual datasets are refused by name.

Format: NWB 2 (https://nwb-schema.readthedocs.io) and HDMF common (https://hdmf-common-schema.readthedocs.io).
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Protocol

import h5py
import hdf5plugin  # noqa: F401 - registers the compression filters of HDF5 plugins
import numpy as np

from neurohorizon.files import file_hash
from neurohorizon.hdf5_storage import other_file
from neurohorizon.session import SessionError

MOST_VALUES = 1 << 28
"""Most values of one dataset that are read; a larger one is no spike train and no behaviour."""
_MOST_LINKS = 16
_SECONDS = ("", "s", "sec", "second", "seconds")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FILTERS = {32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32015: "zstd", 32026: "blosc2"}


class LinkedFileGone(SessionError):  # noqa: N818 - a state of the folder
    """A link leads to a file that is not in the folder."""


class RemoteBytes(Protocol):
    """A file elsewhere that is read like an open file; :class:`neurohorizon.ingest.remote.RemoteFile`.

    Attributes:
        name: Name of the file.
        size: Its length in bytes.
        fingerprint: What identifies its version.
        fault: The error of a read that failed, which HDF5 may hide.
    """

    name: str
    size: int
    fingerprint: str
    fault: BaseException | None

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""


class NwbFile:
    """An NWB 2 file that is open for reading.

    Attributes:
        origin: The file, or the open remote file.
        path: Path of the file; of a remote file only its name.
        root: Its root group.
    """

    def __init__(self, origin: Path | RemoteBytes, root: h5py.File, files: ExitStack) -> None:
        self.origin = origin
        self.path = _path_of(origin)
        self.root = root
        self._files = files

    def fingerprint(self) -> str:
        """Return what identifies the content of the file: its SHA-256, or the version that a server gives."""
        return (
            f"sha256:{file_hash(self.origin, 'sha256')}" if isinstance(self.origin, Path) else self.origin.fingerprint
        )

    def fault(self, inside: str, found: str, remedy: str) -> SessionError:
        """Return an error about an object of the file, in one sentence of three parts."""
        return SessionError(f"{self.path.name}: {inside} {found}; {remedy}")

    def find(self, inside: str) -> h5py.Group | h5py.Dataset | None:
        """Return the object at a path, None where there is none.

        Raises:
            LinkedFileGone: The path leads to another file that is absent.
            SessionError: The path leaves the folder of the file.
        """
        return self._walk(self.root, self.path, inside, inside, links=0)

    def _walk(self, at: h5py.Group, path: PurePath, rest: str, inside: str, links: int) -> Any:
        parts = [part for part in rest.split("/") if part and part != "."]
        for index, part in enumerate(parts):
            if not isinstance(at, h5py.Group) or not at.id.links.exists(part.encode()):
                return None
            kind = at.id.links.get_info(part.encode()).type
            if kind == h5py.h5l.TYPE_HARD:
                at = at[part]
                continue
            if links >= _MOST_LINKS:
                raise self.fault(inside, "is a link that leads to itself", "export the file again")
            target = at.id.links.get_val(part.encode())
            remaining = parts[index + 1 :]
            if kind == h5py.h5l.TYPE_SOFT:
                name = target.decode(errors="replace")
                start = at.file["/"] if name.startswith("/") else at
                return self._walk(start, path, "/".join([name, *remaining]), inside, links + 1)
            if kind == h5py.h5l.TYPE_EXTERNAL:
                name, place = (value.decode(errors="replace") for value in target)
                other = self._linked(path, name, inside)
                return self._walk(other["/"], Path(other.filename), "/".join([place, *remaining]), inside, links + 1)
            raise self.fault(inside, "is a link of an unknown kind", "export the file again")
        return at

    def _linked(self, path: PurePath, name: str, inside: str) -> h5py.File:
        if not isinstance(self.origin, Path):
            raise self.fault(
                inside, f"is a link to another file ({name})", "a remote file may have none: download both files"
            )
        folder = Path(path).parent.resolve()
        target = (folder / name).resolve()
        if not target.is_relative_to(self.origin.parent.resolve()):
            raise self.fault(inside, f"is a link to {name}, outside of the file's folder", "put both into one folder")
        if not target.is_file():
            raise LinkedFileGone(
                f"{self.path.name}: {inside} is a link to {name}, which is not there; put it next to the file"
            )
        try:
            return self._files.enter_context(h5py.File(target, "r"))
        except OSError as error:
            raise self.fault(inside, f"is a link to {name}, which cannot be opened", "fetch that file again") from error

    def text(self, inside: str) -> str:
        """Return a text, "" where there is none."""
        found = self.find(inside)
        if not isinstance(found, h5py.Dataset) or found.shape not in ((), (1,)):
            return ""
        return text(self.read(found, inside).reshape(-1)[0])

    def table(self, inside: str) -> "Table | None":
        """Return a table, None where there is none."""
        group = self.find(inside)
        return Table(self, group, inside) if isinstance(group, h5py.Group) else None

    def names(self, inside: str) -> list[str]:
        """Return the names of the objects of a group, sorted; none where there is no group."""
        group = self.find(inside)
        return sorted(group) if isinstance(group, h5py.Group) else []

    def read(self, dataset: h5py.Dataset, inside: str) -> np.ndarray:
        """Return the values of a dataset.

        Raises:
            SessionError: The values are in another file, are too many, or cannot be decompressed.
        """
        if other := other_file(dataset):
            raise self.fault(inside, f"has its values in another file ({other!r})", "export them into this file")
        if dataset.size is not None and dataset.size > MOST_VALUES:
            raise self.fault(
                inside, f"has {dataset.size} values", f"expected at most {MOST_VALUES}: name another object"
            )
        if dataset.dtype.kind == "V" and dataset.dtype.names is None:
            raise self.fault(inside, "has opaque values", "export numbers or text")
        missing = [one for one in _filters(dataset) if not h5py.h5z.filter_avail(one)]
        if missing:
            names = ", ".join(_FILTERS.get(one, f"number {one}") for one in missing)
            raise self.fault(
                inside, f"is compressed with a filter that is not installed ({names})", "add it to envs/nwb.in"
            )
        try:
            return np.asarray(dataset[()])
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise self.fault(inside, f"cannot be read ({_short(error)})", "fetch the file again") from error

    def numbers(self, inside: str, dataset: h5py.Dataset) -> np.ndarray:
        """Return numbers as float64, with the shape of the dataset.

        Raises:
            SessionError: The values are no numbers.
        """
        return self._as_numbers(inside, self.read(dataset, inside))

    def _as_numbers(self, inside: str, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind not in "biuf":
            raise self.fault(inside, f"holds {_kind(values)}, expected numbers", "name a series of numbers")
        return values.astype(np.float64, copy=False)

    def seconds(self, inside: str, dataset: h5py.Dataset) -> np.ndarray:
        """Return times in seconds, float64 [time]; a column of one is a vector.

        Raises:
            SessionError: The values are no vector of numbers, or declare another unit.
        """
        return self.as_seconds(inside, dataset, self.read(dataset, inside))

    def as_seconds(self, inside: str, dataset: h5py.Dataset, values: np.ndarray) -> np.ndarray:
        """Return values that were read from a dataset as :meth:`seconds` returns them.

        Raises:
            SessionError: The values are no vector of numbers, or the dataset declares another unit.
        """
        unit = text(dataset.attrs.get("unit", "")).strip().lower()
        if unit not in _SECONDS:
            raise self.fault(inside, f"declares the unit {unit!r}, NWB has seconds", "convert the times to seconds")
        return self.vector(inside, self._as_numbers(inside, values))

    def vector(self, inside: str, values: np.ndarray) -> np.ndarray:
        """Return values whose shape has at most one axis longer than 1 as [value]."""
        if values.ndim != 1 and values.size != max(values.shape, default=0) and values.ndim:
            raise self.fault(inside, f"has shape {values.shape}, expected one axis", "export a vector")
        return values.reshape(-1)


class Table:
    """A DynamicTable.

    Attributes:
        inside: Path of the table in the file.
        names: Names of the columns.
        rows: Number of rows.
    """

    def __init__(self, file: NwbFile, group: h5py.Group, inside: str) -> None:
        self.file = file
        self.group = group
        self.inside = inside
        present = [name for name in group if not _is_own_group(group, name)]
        listed = [text(name) for name in np.asarray(group.attrs.get("colnames", [])).reshape(-1).tolist()]
        columns = [name for name in present if name != "id" and not name.endswith(("_index", "_elements"))]
        self.names = [name for name in listed if name in present and name != "id"] + [
            name for name in columns if name not in listed
        ]
        lengths = [len(self._dataset("id"))] if "id" in present else []
        lengths += [len(self._dataset(f"{name}_index" if self.is_ragged(name) else name)) for name in self.names[:1]]
        self.rows = lengths[0] if lengths else 0

    def _dataset(self, name: str) -> h5py.Dataset:
        dataset = self.file.find(f"{self.inside}/{name}")
        if not isinstance(dataset, h5py.Dataset) or not dataset.shape:
            raise self.file.fault(f"{self.inside}/{name}", "is no column of values", "export the file again")
        return dataset

    def is_ragged(self, name: str) -> bool:
        """Return whether a row of a column holds several values."""
        return f"{name}_index" in self.group

    def ids(self) -> list[str]:
        """Return the id of each row as text; the row's number where the table has no ids."""
        if "id" not in self.group:
            return [str(row) for row in range(self.rows)]
        return [text(one) for one in self._values("id").tolist()]

    def plain(self, name: str) -> np.ndarray | None:
        """Return a column of one number or text per row, [row]; None where there is no such column."""
        if name == "id" and "id" in self.group:
            return self._values("id")
        if name not in self.names or self.is_ragged(name):
            return None
        dataset = self._dataset(name)
        if "table" in dataset.attrs or dataset.dtype.kind not in "biufSUO":
            return None
        if dataset.dtype.kind == "O" and h5py.check_string_dtype(dataset.dtype) is None:
            return None
        if dataset.ndim != 1 and dataset.size != max(dataset.shape):
            return None
        values = self._values(name)
        elements = dataset.attrs.get("elements")
        if isinstance(elements, h5py.Reference) and elements:
            listed = self.file.read(dataset.file[elements], f"{self.inside}/{name}_elements")
            labels = np.array([*map(text, listed.tolist()), ""])
            values = values.astype(np.int64)
            return labels[np.where((values >= 0) & (values < len(labels) - 1), values, -1)]
        if values.dtype.kind in "SUO":
            return np.array([text(value) for value in values.tolist()], dtype=str)
        return values

    def seconds(self, name: str) -> np.ndarray:
        """Return a column of times in seconds, float64 [row]."""
        inside = f"{self.inside}/{name}"
        if name not in self.group:
            raise self.file.fault(self.inside, f"has no column {name}, only {self.names}", "export the table again")
        return self._of_rows(name, self.file.seconds(inside, self._dataset(name)))

    def references(self, name: str) -> list[h5py.Group | None]:
        """Return the objects that a column refers to, one per row; None where a reference is empty.

        Raises:
            SessionError: A reference leads to an object that is gone.
        """
        dataset = self._dataset(name)
        if h5py.check_ref_dtype(dataset.dtype) is not h5py.Reference:
            return [None] * self.rows
        values = self._of_rows(name, self.file.read(dataset, f"{self.inside}/{name}").reshape(-1))
        try:
            return [dataset.file[one] if one else None for one in values.tolist()]
        except (KeyError, ValueError) as error:
            raise self.file.fault(
                f"{self.inside}/{name}", "refers to an object that is not in the file", "export the file again"
            ) from error

    def ragged(self, name: str) -> list[np.ndarray]:
        """Return the values of a ragged column, one array per row.

        Raises:
            SessionError: The index does not rise, or does not end at the number of values.
        """
        inside = f"{self.inside}/{name}"
        dataset = self._dataset(name)
        values = self.file.read(dataset, inside)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values.reshape(-1)
        if not self.is_ragged(name):
            if self.rows == 1:
                return [values]
            raise self.file.fault(
                inside, f"has {len(values)} values for {self.rows} rows and no {name}_index", "export the index with it"
            )
        if f"{name}_index_index" in self.group:
            raise self.file.fault(inside, "is ragged twice", "export one list of values per row")
        stops = self._values(f"{name}_index")
        if stops.dtype.kind not in "iu":
            raise self.file.fault(f"{inside}_index", f"holds {_kind(stops)}, expected integers", "export it again")
        stops = stops.astype(np.int64)
        last = int(stops[-1]) if len(stops) else 0
        if values.ndim == 2 and len(values) == 1 and last == values.size:
            values = values.reshape(-1)
        if last != len(values):
            counts = ": it holds counts, not stops" if stops.sum() == len(values) else ""
            raise self.file.fault(
                f"{inside}_index",
                f"ends at {last}, but {name} has {len(values)} values (shape {values.shape}){counts}",
                "export the file again",
            )
        if (np.diff(stops, prepend=0) < 0).any():
            raise self.file.fault(f"{inside}_index", "does not rise from row to row", "export the file again")
        return np.split(values, stops[:-1])

    def _values(self, name: str) -> np.ndarray:
        inside = f"{self.inside}/{name}"
        return self._of_rows(name, self.file.vector(inside, self.file.read(self._dataset(name), inside)))

    def _of_rows(self, name: str, values: np.ndarray) -> np.ndarray:
        rows = getattr(self, "rows", len(values))
        if len(values) != rows:
            raise self.file.fault(
                f"{self.inside}/{name}", f"has {len(values)} values for {rows} rows", "export the file again"
            )
        return values


@contextmanager
def open_nwb(origin: Path | RemoteBytes) -> Iterator[NwbFile]:
    """Open an NWB 2 file for reading.

    Args:
        origin: The file, or an open remote file.

    Raises:
        SessionError: The file is absent, another format, another version of NWB, in use, or broken.
    """
    if isinstance(origin, Path):
        _check_there(origin)
    with _faults_of(origin), ExitStack() as files:
        try:
            root = files.enter_context(h5py.File(origin, "r"))
        except OSError as error:
            raise SessionError(f"{_path_of(origin).name} {_why_not_open(origin, error)}") from error
        file = NwbFile(origin, root, files)
        found = _version(file)
        if found is None:
            raise SessionError(
                f"{file.path.name} is not a readable NWB file: it has no nwb_version, only {sorted(root)[:5]}; "
                "export the recording to NWB 2"
            )
        if not re.fullmatch(r"2\.\d+(\.\d+)?(-\w+)?", found):
            raise SessionError(
                f"{file.path.name} is NWB {found}; expected NWB 2: export it again with a current program"
            )
        yield file


def _check_there(path: Path) -> None:
    if path.is_dir():
        raise SessionError(f"{path.name} is a folder, as Zarr files are; expected an HDF5 file: export it to HDF5")
    if not path.is_file():
        raise SessionError(f"there is no file {path}: put it there, or set sources.nwb.folder or NEUROHORIZON_NWB")


@contextmanager
def _faults_of(origin: Path | RemoteBytes) -> Iterator[None]:
    """Raise the error of a read of a remote file that failed, in place of that of HDF5, which may also hide it."""
    try:
        yield
    except Exception:
        if not isinstance(origin, Path) and origin.fault is not None:
            raise origin.fault from None
        raise
    if not isinstance(origin, Path) and origin.fault is not None:
        raise origin.fault


def _path_of(origin: Path | RemoteBytes) -> PurePath:
    return origin if isinstance(origin, Path) else PurePosixPath(origin.name)


def _why_not_open(origin: Path | RemoteBytes, error: OSError) -> str:
    if "unable to lock" in str(error):
        return (
            "is open in another program that writes to it; close that program, or set "
            "HDF5_USE_FILE_LOCKING=FALSE where the file system has no locks"
        )
    if isinstance(origin, Path):
        size = origin.stat().st_size
        with origin.open("rb") as file:
            start = file.read(4096)
    else:
        size = origin.size
        origin.seek(0)
        start = origin.read(4096)
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself; fetch the file with `git lfs pull`"
    if b"<html" in start.lower() or start.lower().startswith(b"<!doctype html"):
        return "is a web page and no HDF5 file; give the address of the file itself, or download it again"
    if not (h5py.is_hdf5(origin) if isinstance(origin, Path) else _SIGNATURE in start):
        return f"is not an HDF5 file ({size} bytes), as NWB files are; fetch it again"
    return f"cannot be opened, it may be cut short ({_short(error)}); fetch it again"


def _version(file: NwbFile) -> str | None:
    found = file.root.attrs.get("nwb_version")
    return (text(found) if found is not None else file.text("nwb_version")).removeprefix("NWB-") or None


def _is_own_group(group: h5py.Group, name: str) -> bool:
    hard = group.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD
    return hard and group.get(name, getclass=True) is h5py.Group


def _filters(dataset: h5py.Dataset) -> list[int]:
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]


def text(value: Any) -> str:
    """Return a label as text: bytes are UTF-8, else Latin-1; None is ""."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size == 1 else ""
    if isinstance(value, bytes):
        try:
            return value.decode().rstrip("\0")
        except UnicodeDecodeError:
            return value.decode("latin-1").rstrip("\0")
    return "" if value is None else str(value)


def _kind(values: np.ndarray) -> str:
    return "text" if values.dtype.kind in "SUO" else f"values of type {values.dtype}"


def _short(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error))[:120]
