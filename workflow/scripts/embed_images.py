"""Embed image sets with one frozen encoder."""

from neurohorizon.modalities.images import ImageError
from neurohorizon.models.image_encoders import embed_images
from workflow.command import run

if __name__ == "__main__":
    run(embed_images, faults=(ImageError,))
