"""Turn one NWB file into a session file."""

from neurohorizon.ingest.nwb import preprocess_nwb
from neurohorizon.session import SessionError
from workflow.command import run

if __name__ == "__main__":
    run(preprocess_nwb, faults=(SessionError,))
