"""The session table of the Allen Visual Coding Neuropixels release, through AllenSDK."""

from pathlib import Path

from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.paper_cohort import ALLEN_COLUMNS, write_release


def fetch_allen_release(output: Path, *, manifest: Path) -> None:
    """Write the release's sessions as a table with :data:`neurohorizon.ingest.paper_cohort.ALLEN_COLUMNS`.

    Args:
        output: The table.
        manifest: Manifest file of the AllenSDK cache that downloads go to; made if absent.

    Raises:
        SourceUnavailable: AllenSDK is not in this environment, or the archive cannot be reached.
    """
    try:
        # AllenSDK pins an old numpy and needs its own environment, which most users never build
        from allensdk.brain_observatory.ecephys.ecephys_project_cache import EcephysProjectCache
    except ImportError as error:
        raise SourceUnavailable(
            f"AllenSDK is not in this environment ({error}); give the table with ALLEN_TABLE="
        ) from None
    manifest.parent.mkdir(parents=True, exist_ok=True)
    try:
        cache = EcephysProjectCache.from_warehouse(manifest=str(manifest))
        # an empty list keeps date_of_acquisition, which the default leaves out
        sessions = cache.get_session_table(suppress=[]).reset_index()
    except OSError as error:
        raise SourceUnavailable(
            f"the Allen archive cannot be reached ({type(error).__name__}); give the table with ALLEN_TABLE="
        ) from error
    write_release(output, sessions.astype(str).to_dict("records"), ALLEN_COLUMNS)
