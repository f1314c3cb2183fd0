"""Fetch one Allen session through AllenSDK's cache and list its files."""

from neurohorizon.ingest.allen import download_allen
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.session import SessionError
from workflow.command import run

if __name__ == "__main__":
    run(download_allen, faults=(SessionError, SourceUnavailable))
