"""Forecast the test time of one held-out session with a trained network whose units' identities are tampered with."""

import argparse
from pathlib import Path

from neurohorizon.config import Timeline
from neurohorizon.forecasts.forecast import forecast_with_controls
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.models.identity import CONTROLS

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", type=Path, required=True, help="weights; their card lies beside them")
parser.add_argument("--controls", nargs="+", required=True, choices=CONTROLS)
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--session", type=Path, required=True, help="held-out session")
parser.add_argument("--features", type=Path, required=True, help="its reference features")
parser.add_argument("--readout", type=Path, required=True, help="its readout")
parser.add_argument("--timeline-json", required=True, help="the section `timeline` of the configuration")
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

forecast_with_controls(
    weights=arguments.model,
    paths=SessionPaths(arguments.session, arguments.features, arguments.readout),
    controls=arguments.controls,
    fold=arguments.fold,
    seed=arguments.seed,
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    code=arguments.code,
    output_folder=arguments.output_folder,
)
