"""Files of a release that a manifest lists: they lie in the release's folder, and are as they were downloaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurohorizon.files import file_hash
from neurohorizon.ingest.leave_out import SourceUnavailable
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
        SessionError: The path leaves the folder.
        SourceUnavailable: The file is gone or differs. No session is left out for a fault of this machine's disk.
    """
    listed = Path(entry["path"])
    path = folder / listed
    if listed.is_absolute() or ".." in listed.parts or not path.resolve().is_relative_to(folder.resolve()):
        raise SessionError(
            f"session {session}: its list of files names {entry['path']!r}, which is outside the release's folder "
            f"{folder}; refused: download the session again"
        )
    if not path.is_file():
        raise SourceUnavailable(f"session {session}: {path} is gone since its download\n{_what_to_do(session)}")
    if path.stat().st_size != entry["size"] or file_hash(path, kind) != entry[kind]:
        raise SourceUnavailable(
            f"session {session}: {path} is not what was downloaded: {path.stat().st_size} bytes, expected "
            f"{entry['size']} with {kind} {entry[kind]}\n{_what_to_do(session)}"
        )
    return path


def _what_to_do(session: str) -> str:
    return (
        f"Put the file back, or delete it and raw/*/{session}.json in the folder of the results, the list of files.\n"
        "Then start the same command again: it is downloaded again."
    )
