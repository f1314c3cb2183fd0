"""Turn one downloaded IBL session into a session file."""

from neurohorizon.ingest.ibl import preprocess_ibl
from neurohorizon.session import SessionError
from workflow.command import run

if __name__ == "__main__":
    run(preprocess_ibl, faults=(SessionError,))
