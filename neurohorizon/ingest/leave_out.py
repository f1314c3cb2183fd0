"""What becomes of a session that cannot be used: it stops the run, or is left out with its reason.

A session that is left out still has its files, empty but for the reason, so that the workflow goes on and
the report can list it.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

from neurohorizon.cohort import Row
from neurohorizon.config import Exclusions, Splits, Timeline
from neurohorizon.files import replacing
from neurohorizon.ingest.exclusions import exclude_units
from neurohorizon.ingest.validation import require_usable
from neurohorizon.printed_names import one_line
from neurohorizon.session import Session, SessionError, left_out_session, write_session

OnFatal = Literal["stop", "leave_out"]


class SourceUnavailable(RuntimeError):  # noqa: N818 - a state of the world, not an error of the caller
    """The release cannot be reached; one line names what is missing and how to provide it."""


class PassingFault(SessionError):  # noqa: N818 - a state of the world, not an error of the caller
    """A session cannot be downloaded for a reason that may pass: it is tried again by the next run."""


@contextmanager
def faults_of_session(name: str) -> Iterator[None]:
    """Turn any error of reading one session into a :class:`SessionError`; its traceback goes to the log.

    Raises:
        SessionError: Reading raised an error that is not the state of an archive.
    """
    try:
        yield
    except (SessionError, SourceUnavailable):
        raise
    except Exception as error:
        traceback.print_exc()
        raise SessionError(
            f"session {name} cannot be read: {type(error).__name__}: {shorten(str(error), 160)}; expected a sound "
            "recording; the log has the place in the code: please report it, and leave the session out"
        ) from error


def download_or_note(
    download: Callable[[], dict[str, Any]], *, manifest: Path, on_fatal: OnFatal, attempt: int
) -> None:
    """Download a session and write the list of its files; where that is impossible, write the reason.

    The list is JSON. It has the number of the attempt, and for a session that is left out, whether the reason may pass:
    the next run then plans the download again, with the next number.

    Args:
        download: Downloads the session and returns its list of files.
        manifest: File to write, whole or not at all.
        on_fatal: Effect of a fatal fault.
        attempt: Number of the attempt, from 0.

    Raises:
        SessionError: The session cannot be used, and ``on_fatal`` is ``stop``.
    """
    try:
        listed = download()
    except SessionError as fault:
        if on_fatal == "stop":
            raise
        print(f"left out: {fault}", file=sys.stderr)
        listed = {"left_out": str(fault), "passing": isinstance(fault, PassingFault)}
    with replacing(manifest) as temporary:
        temporary.write_text(json.dumps(listed | {"attempt": attempt}, indent=1) + "\n")


def write_ingested(
    path: Path,
    ingest: Callable[[], Session],
    *,
    row: Row,
    on_fatal: OnFatal,
    exclusions: Exclusions,
    timeline: Timeline,
    splits: Splits,
    manifest: Path | None = None,
) -> None:
    """Write a session file, or one that holds the reason why the session is left out.

    Args:
        path: File to write.
        ingest: Reads the session.
        row: The session's row of the cohort table.
        on_fatal: What a fatal fault does.
        exclusions: Units of the session that are excluded.
        timeline: Bins and windows that the session must have room for.
        splits: Its parts.
        manifest: List of downloaded files, where the source has one.

    Raises:
        SessionError: The session cannot be used, and ``on_fatal`` is ``stop``.
    """
    noted = json.loads(manifest.read_text()).get("left_out") if manifest else None
    try:
        if noted:
            raise SessionError(noted)
        with faults_of_session(row.session):
            session = exclude_units(ingest(), exclusions)
            require_usable(session, timeline=timeline, splits=splits)
    except SessionError as fault:
        if on_fatal == "stop":
            raise
        session = left_out_session(
            session_id=row.session,
            source=row.source,
            subject=row.subject,
            lab=row.lab,
            date=row.date,
            reason=one_line(fault),
        )
    write_session(path, session)
