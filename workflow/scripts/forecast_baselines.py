"""Forecast the test time of one held-out session with every closed-form baseline."""

import argparse
from pathlib import Path

from neurohorizon.config import Timeline
from neurohorizon.forecasts.forecast import forecast_with_baselines
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--baselines", type=Path, required=True, help="their settings, tuned on training sessions")
parser.add_argument("--fold", required=True)
parser.add_argument("--session", type=Path, required=True, help="held-out session")
parser.add_argument("--features", type=Path, required=True, help="its reference features")
parser.add_argument("--timeline-json", required=True, help="the section `timeline` of the configuration")
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

forecast_with_baselines(
    baselines=arguments.baselines,
    paths=SessionPaths(arguments.session, arguments.features),
    fold=arguments.fold,
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    code=arguments.code,
    output_folder=arguments.output_folder,
)
