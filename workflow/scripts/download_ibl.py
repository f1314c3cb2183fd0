"""Fetch one IBL session's tables through ONE and list them."""

import argparse
import json
from functools import partial
from pathlib import Path

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.ingest.ibl import download_session
from neurohorizon.ingest.leave_out import SourceUnavailable, download_or_note
from neurohorizon.session import SessionError

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--row-json", type=json.loads, required=True, help="row of the cohort table")
parser.add_argument("--ibl-json", type=IblSource.model_validate_json, required=True)
parser.add_argument("--on-fatal", choices=("stop", "leave_out"), required=True)
parser.add_argument("--output", type=Path, required=True, help="list of the session's files")
a = parser.parse_args()

row = Row(**a.row_json)
download = partial(download_session, row, source=a.ibl_json, manifest=a.output)
try:
    download_or_note(download, manifest=a.output, on_fatal=a.on_fatal)
except (SessionError, SourceUnavailable) as fault:
    raise SystemExit(f"download_ibl: {fault}") from None
