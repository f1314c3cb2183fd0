"""Download the session table of the Allen Visual Coding Neuropixels release."""

from neurohorizon.ingest.allen_release import fetch_allen_release
from workflow.command import run

if __name__ == "__main__":
    run(fetch_allen_release, faults=(RuntimeError,))
