"""Files of a release that a manifest lists: they lie in the release's folder, and are as they were downloaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurohorizon.files import file_hash
from neurohorizon.session import SessionError


def path_within(path: Path, folder: Path, *, session: str) -> Path:
    """Return the path of a downloaded file from the release's folder on.

    Raises:
        SessionError: It is a link that leaves the folder.
    """
    try:
        return Path(path).resolve().relative_to(Path(folder).resolve())
    except ValueError:
        raise SessionError(
            f"session {session}: {path} leads to {Path(path).resolve()}, outside the release's folder {folder}; put "
            "the file itself there"
        ) from None


def listed_file(entry: Mapping[str, Any], folder: Path, *, session: str, kind: str) -> Path:
    """Return the path of a file that is what was downloaded.

    Args:
        entry: The file's ``path`` from ``folder`` on, its ``size``, and its hash under the name ``kind``.
        folder: The release's folder.
        session: Name of the session, for messages.
        kind: Kind of the hash.

    Raises:
        SessionError: The path leaves the folder, or the file is absent or differs.
    """
    listed = Path(entry["path"])
    path = folder / listed
    if listed.is_absolute() or ".." in listed.parts or not path.resolve().is_relative_to(folder.resolve()):
        raise SessionError(
            f"session {session}: its list of files names {entry['path']!r}, which is outside the release's folder "
            f"{folder}; refused: download the session again"
        )
    if not path.is_file():
        raise SessionError(f"session {session}: {entry['path']} is gone since its download; download it again")
    if path.stat().st_size != entry["size"] or file_hash(path, kind) != entry[kind]:
        raise SessionError(
            f"session {session}: {entry['path']} is not what was downloaded: {path.stat().st_size} bytes, expected "
            f"{entry['size']} with {kind} {entry[kind]}; download it again"
        )
    return path
