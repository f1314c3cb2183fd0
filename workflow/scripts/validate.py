"""Report what is wrong or odd in one session, in words and as a picture."""

from neurohorizon.ingest.validation_figure import validate_file
from workflow.command import run

if __name__ == "__main__":
    run(validate_file)
