"""Download the list of insertions of the IBL Brain-Wide Map release."""

from neurohorizon.ingest.ibl_release import fetch_ibl_release
from workflow.command import run

if __name__ == "__main__":
    run(fetch_ibl_release, faults=(RuntimeError,))
