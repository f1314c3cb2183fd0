"""Embed image sets with one frozen encoder."""

import argparse
from pathlib import Path

from neurohorizon.config import Images
from neurohorizon.modalities.images import ImageError
from neurohorizon.models.image_encoders import embed_images

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--encoder", choices=("dinov2", "imagenet", "pixels"), required=True)
parser.add_argument("--images", type=Path, nargs="+", required=True, help="image sets")
parser.add_argument("--images-json", type=Images.model_validate_json, required=True)
parser.add_argument("--weights", default="", help="folder or hub name of the DINOv2 weights")
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--output-folder", type=Path, required=True, help="one file per image set goes there")
arguments = parser.parse_args()

try:
    embed_images(
        arguments.images,
        encoder=arguments.encoder,
        images=arguments.images_json,
        weights=arguments.weights,
        folder=arguments.output_folder,
        threads=arguments.threads,
    )
except ImageError as error:
    raise SystemExit(f"embed_images: {error}") from None
