"""Report what is wrong or odd in one session, in words and as a picture."""

import argparse
from pathlib import Path

from neurohorizon.config import Splits, Timeline
from neurohorizon.ingest.validation_figure import validate_file

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--session", type=Path, required=True, help="session file")
parser.add_argument("--timeline-json", type=Timeline.model_validate_json, required=True)
parser.add_argument("--splits-json", type=Splits.model_validate_json, required=True)
parser.add_argument("--findings", type=Path, required=True, help="report as JSON")
parser.add_argument("--picture", type=Path, required=True)
arguments = parser.parse_args()

validate_file(
    arguments.session,
    findings=arguments.findings,
    picture=arguments.picture,
    timeline=arguments.timeline_json,
    splits=arguments.splits_json,
)
