"""Blocks of remote files on this disk.

The blocks of one version of a file are in two files: ``VERSION.blocks`` holds each at its place, with holes for those
that are absent, and ``VERSION.sums`` holds 16 bytes of a hash for each. A block whose hash differs counts as absent, so
nothing that was cut short by a kill or a full disk is used, and two processes may write at once.
"""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 1 << 17
"""Length of a block."""
_SUM_BYTES = 16


def cache_folder() -> Path:
    """Return the folder of the user's cached blocks, by the XDG base directory specification; it need not exist."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    return base / "neurohorizon" / "remote"


class BlockCache:
    """Blocks of one version of a file.

    Args:
        folder: Folder of all versions of this file, which is made; blocks of other versions are removed from it.
        version: What identifies the version.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, folder: Path, version: str) -> None:
        for made in (folder.parent, folder):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(version.encode()).hexdigest()[:32]
        for other in folder.iterdir():
            if other.stem != name:
                other.unlink(missing_ok=True)
        self._blocks, self._sums = (_opened(folder / f"{name}.{kind}") for kind in ("blocks", "sums"))

    def read(self, index: int) -> bytes | None:
        """Return a block, None if it is absent or damaged."""
        expected = os.pread(self._sums.fileno(), _SUM_BYTES, index * _SUM_BYTES)
        if len(expected) < _SUM_BYTES or not any(expected):
            return None
        block = os.pread(self._blocks.fileno(), BLOCK_BYTES, index * BLOCK_BYTES)
        return block if _sum(block) == expected else None

    def write(self, index: int, block: bytes) -> None:
        """Store a block; only the last of a file is shorter than the others.

        Raises:
            OSError: The disk is full.
        """
        _write_all(self._blocks.fileno(), block, index * BLOCK_BYTES)
        _write_all(self._sums.fileno(), _sum(block), index * _SUM_BYTES)

    def close(self) -> None:
        """Close both files."""
        self._blocks.close()
        self._sums.close()


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)


def _sum(block: bytes) -> bytes:
    return hashlib.blake2b(block, digest_size=_SUM_BYTES).digest()


def _write_all(file: int, content: bytes, at: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, at)
        left, at = left[written:], at + written
