"""Write the pictures of an image set of the Allen release as one file."""

from neurohorizon.ingest.allen import export_images
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.session import SessionError
from workflow.command import run

if __name__ == "__main__":
    run(export_images, faults=(SessionError, SourceUnavailable))
