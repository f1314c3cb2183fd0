"""Files inside a plain tar file, read in place: a reader takes only the bytes of the files that it needs."""

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from neurohorizon.ingest.leave_out import SourceUnavailable


@dataclass(frozen=True)
class Member:
    """Where the bytes of one file are.

    Attributes:
        path: File that has them, from the folder of the archive on: the tar file, or the file itself.
        offset: Their start in that file.
        size: Their number.
        sha256: Their hash; "" if none is known.
    """

    path: str
    offset: int
    size: int
    sha256: str = ""


def tar_members(path: Path) -> dict[str, tuple[int, int]]:
    """Return start and length of each regular file in a tar file that is not compressed, by name.

    Raises:
        tarfile.TarError: It is no such tar file, or it ends before one of its files does.
    """
    with tarfile.open(path, "r:") as tar:
        return {entry.name: (entry.offset_data, entry.size) for entry in tar if entry.isfile() and not entry.sparse}


def read_member(member: Member, folder: Path, *, name: str) -> bytes:
    """Return the bytes of one file, which must have its hash.

    Args:
        member: Where they are.
        folder: Folder of the archive.
        name: Name of the file, for messages.

    Raises:
        SourceUnavailable: The archive is gone or has changed since it was checked.
    """
    with open_member(member, folder, name=name) as file:
        content = file.read()
    if len(content) != member.size or (member.sha256 and hashlib.sha256(content).hexdigest() != member.sha256):
        raise SourceUnavailable(
            f"{name} in {folder / member.path} is damaged: {len(content)} bytes that differ from those that were "
            "checked; delete the file, and run with --forcerun download_ibl_archive to fetch it again"
        )
    return content


def hash_member(member: Member, folder: Path, *, name: str) -> str:
    """Return the SHA-256 of one file."""
    with open_member(member, folder, name=name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


@contextmanager
def open_member(member: Member, folder: Path, *, name: str) -> Iterator[BinaryIO]:
    """Open one file for reading, as a file that has only its bytes.

    Raises:
        SourceUnavailable: The archive is gone.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(open(folder / member.path, "rb"))
        except OSError as error:
            raise SourceUnavailable(
                f"{folder / member.path}, which has {name}, cannot be read ({type(error).__name__}); put it back, or "
                "run with --forcerun download_ibl_archive to fetch it again"
            ) from None
        yield io.BufferedReader(_Window(file, member.offset, member.size), buffer_size=1 << 20)


class _Window(io.RawIOBase):
    """A part of an open file."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes; return their number."""
        self._file.seek(self._offset + self._at)
        content = self._file.read(max(min(len(buffer), self._size - self._at), 0))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, from the start, from here or from the end."""
        self._at = position + (0, self._at, self._size)[whence]
        return self._at

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True


def as_entry(member: Member, **names: Any) -> dict[str, Any]:
    """Return a member as an entry of a list of files."""
    return {**names, "path": member.path, "offset": member.offset, "size": member.size, "sha256": member.sha256}


def from_entry(entry: Mapping[str, Any]) -> Member:
    """Return the member of an entry of a list of files."""
    return Member(str(entry["path"]), int(entry["offset"]), int(entry["size"]), str(entry["sha256"]))
