"""Restore a score archive: check every hash, then write its files to their places in the run."""

from collections.abc import Mapping
from pathlib import Path

from neurohorizon.report.archive import ArchiveError, restore_archive
from workflow.command import run


def restore_scores(*, archive: Path, folder: Path, cohort: Path, config: Mapping, output: Path) -> None:
    """Restore a score archive and list the restored files."""
    names = restore_archive(archive, folder=folder, cohort=cohort, config=config)
    output.write_text("".join(f"{name}\n" for name in names))


run(restore_scores, faults=(ArchiveError,))
