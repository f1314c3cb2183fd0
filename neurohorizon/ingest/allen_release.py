"""The session table of the Allen Visual Coding Neuropixels release, from its public bucket."""

from pathlib import Path

from neurohorizon.config import AllenSource
from neurohorizon.ingest.allen_download import read_sessions
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.paper_cohort import ALLEN_COLUMNS, write_release


def fetch_allen_release(output: Path, *, allen: AllenSource | None) -> None:
    """Write the release's sessions as a table with :data:`neurohorizon.ingest.paper_cohort.ALLEN_COLUMNS`.

    Args:
        output: The table.
        allen: The section ``sources.allen`` of the configuration, whose folder holds the release's own table.

    Raises:
        SourceUnavailable: There is no such section, or the table is not in the folder and cannot be fetched.
    """
    if allen is None:
        raise SourceUnavailable(
            "a cohort that is made from the releases needs sources.allen, which is null; take that section from "
            "config/config.yaml, or give the table with ALLEN_TABLE="
        )
    try:
        sessions = read_sessions(allen)
    except SourceUnavailable as error:
        raise SourceUnavailable(f"{error}; or give the table with ALLEN_TABLE=") from None
    write_release(output, sessions.to_dict("records"), ALLEN_COLUMNS)
