"""The list of insertions of the IBL Brain-Wide Map release, from the IBL's public database."""

from functools import partial
from pathlib import Path
from typing import Any

from neurohorizon.config import IblSource
from neurohorizon.ingest.downloads import NotOffered
from neurohorizon.ingest.ibl_one import open_one, patiently_at
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.paper_cohort import IBL_COLUMNS, write_release

RELEASE_TAGS = ("2022_Q4_IBL_et_al_BWM", "2023_Q4_IBL_et_al_BWM_2")
"""The release of December 2023: the first Brain-Wide Map release and the insertions added by the second."""


def fetch_ibl_release(output: Path, *, ibl: IblSource) -> None:
    """Write the release's insertions as a table with :data:`neurohorizon.ingest.paper_cohort.IBL_COLUMNS`.

    The query is the one that ONE documents for a release (``OneAlyx.search_insertions``): the insertions
    that have datasets with its tag.

    Args:
        output: The table.
        ibl: The section ``sources.ibl`` of the configuration.

    Raises:
        SourceUnavailable: The database cannot be reached (one line gives the reason) or has no insertion of a tag.
    """
    one = open_one(ibl)
    insertions = {}
    for tag in RELEASE_TAGS:
        try:
            found = patiently_at(partial(_insertions, one, tag), ibl)
        except (NotOffered, SourceUnavailable) as error:
            raise SourceUnavailable(f"no list of insertions: {error}; or give the table with IBL_TABLE=") from None
        if not found:
            raise SourceUnavailable(
                f"{ibl.base_url} lists no insertion of the release {tag}; give the table with IBL_TABLE="
            )
        insertions |= found
    rows = sorted(insertions.values(), key=lambda row: (row["lab"], row["subject"], row["date"], row["pid"]))
    write_release(output, rows, IBL_COLUMNS)


def _insertions(one: Any, tag: str) -> dict[str, dict[str, str]]:
    answer = one.alyx.rest("insertions", "list", django=f"datasets__tags__name,{tag}")
    return {insertion["id"]: _row(insertion) for insertion in answer}  # loads page after page


def _row(insertion: dict) -> dict[str, str]:
    session = insertion["session_info"]
    return {
        "pid": insertion["id"],
        "eid": insertion["session"],
        "probe_name": insertion["name"],
        "session_number": str(session["number"]),
        "date": session["start_time"][:10],
        "subject": session["subject"],
        "lab": session["lab"],
    }
