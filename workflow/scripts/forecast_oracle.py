"""Write the true expected counts of one simulated session as a forecast: a ceiling."""

import argparse
from pathlib import Path

from neurohorizon.config import Timeline
from neurohorizon.forecasts.forecast import forecast_with_oracle
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--truth", type=Path, required=True, help="expected counts, as the simulator saved them")
parser.add_argument("--fold", required=True)
parser.add_argument("--session", type=Path, required=True, help="held-out session")
parser.add_argument("--features", type=Path, required=True, help="its reference features")
parser.add_argument("--timeline-json", required=True, help="the section `timeline` of the configuration")
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

forecast_with_oracle(
    truth=arguments.truth,
    paths=SessionPaths(arguments.session, arguments.features),
    fold=arguments.fold,
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    code=arguments.code,
    output=arguments.output,
)
