"""Turn one downloaded IBL session into a session file."""

import argparse
import json
from functools import partial
from pathlib import Path

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource, Splits, Timeline
from neurohorizon.ingest.ibl import ingest_ibl
from neurohorizon.ingest.leave_out import write_ingested
from neurohorizon.session import SessionError

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--manifest", type=Path, required=True, help="list of the session's files")
parser.add_argument("--row-json", type=json.loads, required=True, help="row of the cohort table")
parser.add_argument("--ibl-json", type=IblSource.model_validate_json, required=True)
parser.add_argument("--timeline-json", type=Timeline.model_validate_json, required=True)
parser.add_argument("--splits-json", type=Splits.model_validate_json, required=True)
parser.add_argument("--on-fatal", choices=("stop", "leave_out"), required=True)
parser.add_argument("--output", type=Path, required=True)
a = parser.parse_args()

row = Row(**a.row_json)
ingest = partial(ingest_ibl, a.manifest, row, source=a.ibl_json, splits=a.splits_json)
try:
    write_ingested(
        a.output,
        ingest,
        row=row,
        on_fatal=a.on_fatal,
        timeline=a.timeline_json,
        splits=a.splits_json,
        manifest=a.manifest,
    )
except SessionError as fault:
    raise SystemExit(f"preprocess_ibl: {fault}") from None
