"""Fetch one IBL session's tables through ONE and list them."""

from neurohorizon.ingest.ibl import download_ibl
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.session import SessionError
from workflow.command import run

if __name__ == "__main__":
    run(download_ibl, faults=(SessionError, SourceUnavailable))
