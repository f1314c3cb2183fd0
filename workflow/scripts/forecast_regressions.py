"""Fit the regressions on one held-out session's reference window and forecast its test time."""

import argparse
from pathlib import Path

from neurohorizon.config import Regressions, Timeline
from neurohorizon.forecasts.regressions import forecast_with_regressions
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--tuned", type=Path, required=True, help="their settings, chosen on training sessions")
parser.add_argument("--pooled", type=Path, required=True, help="the regression that all units share")
parser.add_argument("--fold", required=True)
parser.add_argument("--session", type=Path, required=True, help="held-out session")
parser.add_argument("--features", type=Path, required=True, help="its reference features")
parser.add_argument("--timeline-json", required=True, help="the section `timeline` of the configuration")
parser.add_argument("--regressions-json", required=True, help="the section `regressions` of the configuration")
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

forecast_with_regressions(
    tuned=arguments.tuned,
    pooled=arguments.pooled,
    paths=SessionPaths(arguments.session, arguments.features),
    fold=arguments.fold,
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    regressions=Regressions.model_validate_json(arguments.regressions_json),
    code=arguments.code,
    output_folder=arguments.output_folder,
)
