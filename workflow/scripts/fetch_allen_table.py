"""Download the session table of the Allen Visual Coding Neuropixels release."""

import argparse
from pathlib import Path

from neurohorizon.ingest.allen_release import fetch_allen_release

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--manifest", type=Path, required=True, help="manifest of the AllenSDK cache")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

try:
    fetch_allen_release(arguments.output, manifest=arguments.manifest)
except RuntimeError as error:
    raise SystemExit(f"fetch_allen_table: {error}") from None
