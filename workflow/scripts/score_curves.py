"""Score a network on one held-out session against the length of its reference part and its number of units."""

import argparse
from pathlib import Path

from neurohorizon.config import CrossSession, Features, Timeline
from neurohorizon.experiments.cross_session.curve_scores import score_curves
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", type=Path, required=True, help="weights; their card lies beside them")
for file in ("session", "features", "readout"):
    parser.add_argument(f"--{file}", type=Path, required=True)
parser.add_argument(
    "--forecasts", type=Path, nargs="+", required=True, help="of the whole session, the network's first"
)
for section in ("settings", "timeline", "features"):
    parser.add_argument(f"--{section}-json", required=True, help="a section of the configuration")
parser.add_argument("--minimum-rate-hz", type=float, required=True, help="units below it are not scored")
parser.add_argument("--random-seed", type=int, required=True, help="seed of the draws of units")
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

score_curves(
    weights=arguments.model,
    paths=SessionPaths(arguments.session, arguments.features, arguments.readout),
    forecasts=arguments.forecasts,
    settings=CrossSession.model_validate_json(arguments.settings_json),
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    features=Features.model_validate_json(arguments.features_json),
    minimum_rate_hz=arguments.minimum_rate_hz,
    random_seed=arguments.random_seed,
    code=arguments.code,
    output=arguments.output,
)
