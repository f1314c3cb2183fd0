"""Files and folders that are complete or absent, their hashes, and their sizes as text."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    try:
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder next to a folder; it replaces the folder, or is removed after an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, earlier = (folder.with_name(f".{kind}-{os.getpid()}-{folder.name}") for kind in ("part", "earlier"))
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            folder.rename(earlier)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if earlier.exists() and not folder.exists():
            earlier.rename(folder)
        shutil.rmtree(earlier, ignore_errors=True)


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
