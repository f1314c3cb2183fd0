"""The step from a list of an IBL session's files to its session file, for each ``sources.ibl.mode``."""

from functools import partial
from pathlib import Path

from neurohorizon.cohort import Row
from neurohorizon.config import Exclusions, IblSource, Timeline
from neurohorizon.config import Splits as SplitSettings
from neurohorizon.ingest.ibl import ingest_ibl
from neurohorizon.ingest.ibl_archive_session import ingest_archive
from neurohorizon.ingest.leave_out import OnFatal, write_ingested


def preprocess_ibl(
    *,
    manifest: Path,
    row: Row,
    ibl: IblSource,
    timeline: Timeline,
    splits: SplitSettings,
    exclusions: Exclusions,
    on_fatal: OnFatal,
    output: Path,
) -> None:
    """Turn one IBL session into a session file, or into one that holds the reason why it is left out.

    Args:
        manifest: List of the session's files.
        row: Row of the cohort table.
        ibl: The section ``sources.ibl`` of the configuration.
        timeline: The section ``timeline``.
        splits: The section ``splits``.
        exclusions: Units of the session that are excluded.
        on_fatal: Effect of a fatal fault.
        output: Session file.
    """
    reader = ingest_archive if ibl.mode == "archive" else ingest_ibl
    ingest = partial(reader, manifest, row, source=ibl, splits=splits)
    write_ingested(
        output,
        ingest,
        row=row,
        on_fatal=on_fatal,
        timeline=timeline,
        splits=splits,
        manifest=manifest,
        exclusions=exclusions,
    )
