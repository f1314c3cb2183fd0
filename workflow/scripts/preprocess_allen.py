"""Turn one downloaded Allen session into a session file."""

from neurohorizon.ingest.allen import preprocess_allen
from neurohorizon.session import SessionError
from workflow.command import run

if __name__ == "__main__":
    run(preprocess_allen, faults=(SessionError,))
