"""Download the list of insertions of the IBL Brain-Wide Map release."""

import argparse
from pathlib import Path

from neurohorizon.config import IblSource
from neurohorizon.ingest.ibl_release import fetch_ibl_release

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--ibl-json", required=True, help="the section `sources.ibl` of the configuration")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

try:
    fetch_ibl_release(arguments.output, source=IblSource.model_validate_json(arguments.ibl_json))
except RuntimeError as error:
    raise SystemExit(f"fetch_ibl_table: {error}") from None
