"""Files of the Allen Visual Coding Neuropixels release: their folder, their download, and the pictures that were shown.

Files are fetched over HTTPS from the public bucket, without an account and without AllenSDK, whose queries of the
release's tables may never end. The folder has the layout of the bucket, which is that of an AllenSDK cache::

    sessions.csv
    session_{id}/session_{id}.nwb
    natural_movie_templates/natural_movie_{number}.h5
    natural_scene_templates/natural_scene_{number}.tiff

A file that is there is never written to. If it cannot be read, it is set aside and downloaded again (remote), or is an
error (local). The archive publishes no hashes: a file counts as whole if it has the length that the server gives and
can be opened.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from neurohorizon.cohort import Row
from neurohorizon.config import AllenSource
from neurohorizon.files import file_hash
from neurohorizon.ingest.downloads import Expected, NotOffered, download
from neurohorizon.ingest.leave_out import OnFatal, PassingFault, SourceUnavailable, download_or_note
from neurohorizon.ingest.listed_files import path_within
from neurohorizon.modalities.images import ImageSet, write_images
from neurohorizon.session import SessionError

SESSIONS = "sessions.csv"
SESSION_COLUMNS = ("id", "date_of_acquisition", "specimen_id", "session_type")
MOVIES = {"natural_movie_one": 1, "natural_movie_three": 3}
"""Templates of movies, by image set: their number in the release."""
SCENES = 118
"""Templates of natural scenes."""
GRAY = 127
GRAY_SIDE_PX = (120, 240)

_PARTS_OF_A_RECORDING = ("units/spike_times", "intervals", "general/extracellular_ephys/electrodes")
_BROKEN = (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, AttributeError)  # what readers raise


def download_allen(*, row: Row, allen: AllenSource, on_fatal: OnFatal, attempt: int, output: Path) -> None:
    """Fetch one Allen session from the public bucket and list its files, or note why it cannot be used.

    Args:
        row: Row of the cohort table.
        allen: The section ``sources.allen`` of the configuration.
        on_fatal: Effect of a fatal fault.
        attempt: Number of the attempt, from 0.
        output: List of the session's files; see :func:`download_session`.
    """
    download_or_note(partial(download_session, row, source=allen), manifest=output, on_fatal=on_fatal, attempt=attempt)


def download_session(row: Row, *, source: AllenSource) -> dict[str, Any]:
    """Fetch one session and the table of sessions, and return the list of its files.

    Files that are there already are not fetched again. The list has the session's id and type, and its file's
    path within ``source.folder``, size and sha256; no path of this machine.

    Args:
        row: The session; its name is its id in the release.

    Raises:
        SessionError: The session is not in the release, is another animal's, or its file is not offered (remote) or
            cannot be read (local).
        PassingFault: Its file is damaged in each download.
        SourceUnavailable: A file is not in the folder (local), or the archive cannot be reached (remote).
    """
    session_id = _session_id(row)
    sessions = read_sessions(source).set_index("id")
    if str(session_id) not in sessions.index:
        raise SessionError(f"session {row.session} is not in the release: {SESSIONS} lists {len(sessions)} others")
    found = sessions.loc[str(session_id)]
    if found["specimen_id"] != row.subject:
        raise SessionError(
            f"session {row.session} is of specimen {found['specimen_id']} in the release, the cohort table has "
            f"{row.subject}: correct the table"
        )
    name = f"session_{session_id}/session_{session_id}.nwb"
    recording = release_file(name, source=source, read=partial(_open_recording, session_id), fault=SessionError)
    return {
        "session": row.session,
        "id": session_id,
        "session_type": found["session_type"],
        "release": "local" if source.mode == "local" else source.base_url,
        "files": {
            "session": {
                "path": path_within(recording, Path(source.folder), session=row.session).as_posix(),
                "size": recording.stat().st_size,
                "sha256": file_hash(recording, "sha256"),
            }
        },
    }


def _session_id(row: Row) -> int:
    if not row.session.isdigit():
        raise SessionError(f"session {row.session}: an Allen session is named by its id, only digits")
    return int(row.session)


def read_sessions(source: AllenSource) -> pd.DataFrame:
    """Return the release's table of sessions as text, fetched if it is not there.

    Raises:
        SourceUnavailable: It is not in the folder (local), cannot be read, or the archive cannot be reached (remote).
    """
    return _read_sessions(release_file(SESSIONS, source=source, read=_read_sessions))


def release_file(
    name: str, *, source: AllenSource, read: Callable[[Path], Any], fault: type[Exception] = SourceUnavailable
) -> Path:
    """Return the path of a file of the release that can be read, fetched if it is not there.

    Args:
        name: Its path in the release.
        source: The section ``sources.allen`` of the configuration.
        read: Reads enough of the file to find that it is damaged, and then raises an error.
        fault: Error if the release does not offer the file, or it cannot be read: the session's, or the source's.

    Raises:
        SourceUnavailable: It is not there (local), or the archive cannot be reached (remote).
        PassingFault: The file of a session is damaged in each download.
        Exception: ``fault``.
    """

    def fault_of(path: Path) -> str:
        try:
            read(path)
        except _BROKEN as error:
            return f"it cannot be read ({error})"
        return ""

    path = Path(source.folder) / name
    if source.mode == "local":
        if not path.is_file():
            raise SourceUnavailable(
                f"sources.allen.folder {source.folder} lacks {name}; put it there, or set sources.allen.mode to remote "
                "to download it"
            )
        if found := fault_of(path):
            raise fault(
                f"{path.name}: {found}; it may be cut short: put the file back, or set sources.allen.mode to remote to "
                "download it again"
            )
        return path
    url = f"{source.base_url.rstrip('/')}/{name}"
    try:
        return download(url, path, outage_hours=source.outage_hours, expected=Expected(fault_of=fault_of))
    except NotOffered as error:
        raise fault(f"{error}; check sources.allen.base_url, or put it into sources.allen.folder as {name}") from None
    except PassingFault as error:
        if issubclass(fault, SessionError):
            raise
        raise fault(str(error)) from None


def _read_sessions(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str)
    if absent := [name for name in SESSION_COLUMNS if name not in table]:
        raise ValueError(f"it has no column {', '.join(absent)}")
    return table


def _open_recording(session_id: int, path: Path) -> None:
    """Raise an error unless a file is whole enough to be opened, and is of the session."""
    with h5py.File(path, "r") as file:
        found = file["identifier"].asstr()[()]
        for name in _PARTS_OF_A_RECORDING:
            file[name]
    if found != str(session_id):
        raise ValueError(f"it is of session {found}")


def _read_movie(path: Path) -> np.ndarray:
    """Frames of a movie, [frame, y, x]."""
    return np.load(path, allow_pickle=False)  # the name ends in .h5, and yet it is what np.save writes


def _read_scene(path: Path) -> np.ndarray:
    """A natural scene, [y, x]."""
    from tifffile import imread

    return imread(path)


def export_images(image_set: str, *, allen: AllenSource, output: Path) -> None:
    """Write the pictures of an image set, in the order of their numbers in the stimulus tables.

    Args:
        image_set: ``gray``, a movie of :data:`MOVIES`, or ``natural_scenes``.
        allen: The section ``sources.allen`` of the configuration.
        output: File of :func:`neurohorizon.modalities.images.write_images`.

    Raises:
        SessionError: There is no such set.
        SourceUnavailable: A template is not in the folder (local), cannot be read, is not offered, or the archive
            cannot be reached (remote).
    """
    known = ("gray", *MOVIES, "natural_scenes")
    if image_set not in known:
        raise SessionError(f"multimodal.images.sets names {image_set!r}; the release has {', '.join(known)}")
    if image_set == "gray":
        images = np.full((1, *GRAY_SIDE_PX), GRAY, np.uint8)
    elif image_set == "natural_scenes":
        names = [f"natural_scene_templates/natural_scene_{number}.tiff" for number in range(SCENES)]
        images = np.stack([_read_scene(release_file(name, source=allen, read=_read_scene)) for name in names])
    else:
        name = f"natural_movie_templates/natural_movie_{MOVIES[image_set]}.h5"
        images = _read_movie(release_file(name, source=allen, read=_read_movie))
    write_images(output, ImageSet(name=image_set, images=np.ascontiguousarray(images)))
