"""Compute the reference features of one session file."""

import argparse
from pathlib import Path

from neurohorizon.config import Features, Splits, Timeline
from neurohorizon.session import SessionError
from neurohorizon.units.reference import compute_reference_file

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--session", type=Path, required=True, help="session file")
parser.add_argument("--features-json", required=True, help="the section `features` of the configuration")
parser.add_argument("--timeline-json", required=True, help="the section `timeline` of the configuration")
parser.add_argument("--splits-json", required=True, help="the section `splits` of the configuration")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

try:
    compute_reference_file(
        arguments.session,
        arguments.output,
        features=Features.model_validate_json(arguments.features_json),
        timeline=Timeline.model_validate_json(arguments.timeline_json),
        splits=Splits.model_validate_json(arguments.splits_json),
    )
except SessionError as error:
    raise SystemExit(f"reference_features: {error}") from None
