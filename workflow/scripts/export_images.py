"""Write the pictures of an image set of the Allen release as one file."""

import argparse
from pathlib import Path

from neurohorizon.config import AllenSource
from neurohorizon.ingest.allen import export_images
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.session import SessionError

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--image-set", required=True, help="gray, natural_scenes, or a movie of the release")
parser.add_argument("--allen-json", type=AllenSource.model_validate_json, required=True)
parser.add_argument("--output", type=Path, required=True)
a = parser.parse_args()

try:
    export_images(a.image_set, source=a.allen_json, output=a.output)
except (SessionError, SourceUnavailable) as fault:
    raise SystemExit(f"export_images: {fault}") from None
