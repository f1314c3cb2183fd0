"""Report errors and oddities of one session as text and as a picture."""

from neurohorizon.ingest.validation_figure import validate_file
from workflow.command import run

if __name__ == "__main__":
    run(validate_file)
