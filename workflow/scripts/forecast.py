"""Forecast the test time of one held-out session with a trained network; no gradient step is taken."""

import argparse
from pathlib import Path

from neurohorizon.config import Timeline
from neurohorizon.forecasts.forecast import forecast_with_network
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", type=Path, required=True, help="weights; their card lies beside them")
parser.add_argument("--method", required=True, help="its name in tables")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--session", type=Path, required=True, help="held-out session")
parser.add_argument("--features", type=Path, required=True, help="its reference features")
parser.add_argument("--readout", type=Path, nargs="?", help="its readout, for a network that reads one")
parser.add_argument("--timeline-json", required=True, help="the section `timeline` of the configuration")
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

forecast_with_network(
    weights=arguments.model,
    paths=SessionPaths(arguments.session, arguments.features, arguments.readout),
    fold=arguments.fold,
    method=arguments.method,
    seed=arguments.seed,
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    code=arguments.code,
    output=arguments.output,
)
