"""What becomes of a session that cannot be used: it stops the run, or is left out with its reason.

A session that is left out still has its files, empty but for the reason, so that the workflow goes on and
the report can list it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from neurohorizon.cohort import Row
from neurohorizon.config import Splits, Timeline
from neurohorizon.files import replacing
from neurohorizon.ingest.validation import require_usable
from neurohorizon.session import Session, SessionError, left_out_session, write_session

OnFatal = Literal["stop", "leave_out"]


class SourceUnavailable(RuntimeError):  # noqa: N818 - a state of the world, not an error of the caller
    """The release cannot be reached; one line names what is missing and how to provide it."""


def download_or_note(download: Callable[[], None], *, manifest: Path, on_fatal: OnFatal) -> None:
    """Download a session; where the release lacks it, note why in its manifest.

    Raises:
        SessionError: The session cannot be used, and ``on_fatal`` is ``stop``.
    """
    try:
        download()
    except SessionError as fault:
        if on_fatal == "stop":
            raise
        with replacing(manifest) as temporary:
            temporary.write_text(json.dumps({"left_out": str(fault)}) + "\n")


def write_ingested(
    path: Path,
    ingest: Callable[[], Session],
    *,
    row: Row,
    on_fatal: OnFatal,
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
        session = ingest()
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
            reason=str(fault),
        )
    write_session(path, session)
