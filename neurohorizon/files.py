"""Files and folders that are complete or absent, what their content was, their hashes, and their sizes as text.

A file of a run has a record next to it, ``.NAME.crc32``, of its CRC-32 and its length. A disk or a copy that changes
one byte is found before the file is read, whatever its format: no format that is used here has a checksum for all of
its bytes. A CRC-32 finds faults, not forgeries, and takes less time than a hash.
"""

import errno
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RECORDED_FOLDER = "NEUROHORIZON_RECORDED_FOLDER"
"""Environment variable: the folder whose files have a record. The workflow sets it to the results of a run."""
_BLOCK_BYTES = 1 << 20
_STOPPED = -1
_NO_SPACE = {
    errno.ENOSPC: "its disk is full",
    errno.EDQUOT: "the quota of its disk is reached",
    errno.EFBIG: "it is larger than the limit for files (`ulimit -f`)",
    _STOPPED: "its disk took only a part of it",
}
_WORDS_OF_NO_SPACE = {
    errno.ENOSPC: ("No space left on device", f"errno = {errno.ENOSPC},", "StorageFull"),
    errno.EDQUOT: ("Disk quota exceeded", f"errno = {errno.EDQUOT},"),
    errno.EFBIG: ("File too large", f"errno = {errno.EFBIG},"),
    # numpy and torch write only that they stopped early
    _STOPPED: (" requested and ", "PytorchStreamWriter failed", "iostream error"),
}
"""What the messages of libraries contain whose errors have no number."""
_NEARLY_NOTHING_BYTES = 1 << 16
_LITTLE = 64_000_000


class DamagedFileError(ValueError):
    """A file is not what was written; the message gives the file and what to do."""


class DiskFullError(OSError):
    """A file cannot be written for want of space; the message gives the file and what to do."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; its content becomes the file, or is removed after an error.

    A missing folder is made, and the suffix is kept. After a kill, the old file or none is left. The mode is that of a
    new file in the folder, whatever the writer's: libraries that write to a private file first would keep it private.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".part-{os.getpid()}-{path.name}")
    temporary.touch()
    mode = temporary.stat().st_mode
    temporary.unlink()  # so that a writer that writes nothing leaves nothing
    record, new_record = record_path(path), record_path(temporary)
    try:
        with naming_full_disk(path):
            yield temporary
            temporary.chmod(mode)
            if _is_recorded(path):
                new_record.write_text(_content(temporary))
        record.unlink(missing_ok=True)  # a kill between these lines leaves a file without a record, never a wrong one
        os.replace(temporary, path)
        if new_record.exists():
            os.replace(new_record, record)
    finally:
        for part in (temporary, new_record):
            part.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder next to a folder; it replaces the folder, or is removed after an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, earlier = (folder.with_name(f".{kind}-{os.getpid()}-{folder.name}") for kind in ("part", "earlier"))
    temporary.mkdir()
    try:
        with naming_full_disk(folder):
            yield temporary
        if folder.exists():
            folder.rename(earlier)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if earlier.exists() and not folder.exists():
            earlier.rename(folder)
        shutil.rmtree(earlier, ignore_errors=True)


@contextmanager
def naming_full_disk(path: str | Path) -> Iterator[None]:
    """Turn any error of writing a file on a full disk into one that names the file and what to do.

    Raises:
        DiskFullError: The disk of the file is full, or the file would be too large.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as fault:
        folder = Path(path).parent
        if not (reason := _lack_of_space(fault, folder)):
            raise
        left = f"{bytes_as_text(_free_bytes(folder))} are free" if folder.exists() else "it does not exist"
        raise DiskFullError(
            f"{path} cannot be written: {reason} ({left} in {folder})\n"
            "Free space there, then start the same command again: it continues with the files that are there."
        ) from fault


def record_path(path: str | Path) -> Path:
    """Return the path of the record of a file's content."""
    return Path(path).with_name(f".{Path(path).name}.crc32")


def recorded_files(folder: Path, below: str = "**/") -> list[Path]:
    """Return the files of a folder, and of folders below it, that have a record, also those that are gone.

    Args:
        below: Pattern of the folders, with a slash at its end; "" for the folder itself.
    """
    records = folder.glob(f"{below}.*.crc32")
    return sorted(one.with_name(one.name.removeprefix(".").removesuffix(".crc32")) for one in records)


def unfinished_parts(folder: Path) -> list[Path]:
    """Return what processes that were killed left unfinished below a folder: files, folders and records."""
    return [*folder.rglob(".part-*"), *folder.rglob("..part-*")]


def damage(path: str | Path) -> str:
    """Return how a file differs from what was written; "" if it does not, or if it has no record."""
    record = record_path(path)
    while written := _text(record):
        if not Path(path).is_file() or (found := _content(path)) == written:
            return ""
        if _text(record) == written:  # no other process has written the file meanwhile
            return f"it has CRC-32 and length {found}, and was written with {written}"
    return ""


def damage_message(path: str | Path) -> str:
    """Return how a file differs from what was written, and what to do; "" as :func:`damage`."""
    fault = damage(path)
    return fault and (
        f"{path} is damaged: {fault}\n"
        "Delete it and start the same command again: it is made again, with all that depends on it. If it was\n"
        f"changed on purpose, delete {record_path(path)} instead."
    )


def require_as_written(path: str | Path) -> None:
    """Check a file, or the files of a folder and the tables below it, against the records next to them.

    A file without a record passes. With weights, their card is checked, which is next to them.

    Raises:
        DamagedFileError: A file is not what was written.
    """
    path = Path(path)
    if path.is_file():
        named = [path, path.with_suffix(".json")] if path.suffix == ".safetensors" else [path]
    else:
        named = [*recorded_files(path, ""), *recorded_files(path, "*/tables/")]
    for one in sorted(named):
        if message := damage_message(one):
            raise DamagedFileError(message)


def _is_recorded(path: Path) -> bool:
    folder = os.environ.get(RECORDED_FOLDER, "")
    return folder != "" and path.resolve().is_relative_to(Path(folder).resolve())


def _content(path: str | Path) -> str:
    """Return the CRC-32 of a file in hexadecimal, and its length in bytes."""
    crc, size, block = 0, 0, bytearray(_BLOCK_BYTES)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block):
            crc = zlib.crc32(memoryview(block)[:count], crc)
            size += count
    return f"{crc:08x} {size}"


def _text(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text(errors="replace")
    return ""


def _lack_of_space(fault: BaseException | None, folder: Path) -> str:
    """Return which lack of space an error or one of its causes is about; "" if none."""
    while fault is not None:
        number, text = getattr(fault, "errno", None), str(fault)
        found = [number] if number in _NO_SPACE else []
        found += [one for one, some in _WORDS_OF_NO_SPACE.items() if any(each in text for each in some)]
        if found:
            return _NO_SPACE[found[0]]
        fault = fault.__cause__ or fault.__context__
    # some libraries only write that they failed
    return _NO_SPACE[errno.ENOSPC] if folder.exists() and _is_full(folder) else ""


def full_disks(*folders: str | Path) -> list[str]:
    """Return a line for each folder whose disk has little space, with what to do; one for each disk.

    A program that is not of the package, or a log that is cut, may not name a full disk. What a failed job had written
    is deleted by then, so that the disk is no longer full.
    """
    small = {Path(one).stat().st_dev: one for one in folders if Path(one).exists() and _free_bytes(Path(one)) < _LITTLE}
    return [
        f"The disk of {folder} has only {bytes_as_text(_free_bytes(Path(folder)))} left: if a job failed for want of "
        "space, free some there, then start the same command again; it continues with the files that are there."
        for folder in small.values()
    ]


def _is_full(folder: Path) -> bool:
    return _free_bytes(folder) < _NEARLY_NOTHING_BYTES


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def file_hash(path: str | Path, kind: str) -> str:
    """Return the hash of a file, such as its ``md5`` or ``sha256``, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def bytes_as_text(size: float) -> str:
    """Return a number of bytes with a decimal unit, such as ``2.7 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
