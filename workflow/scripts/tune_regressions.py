"""Choose the settings of the regressions on the training sessions of a fold, and fit the one that all units share."""

import argparse
from pathlib import Path

from neurohorizon.baselines.tuning import tune_regressions_on_files
from neurohorizon.config import Regressions, Timeline
from neurohorizon.inputs.sessions import pair_paths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--sessions", type=Path, nargs="+", required=True, help="training sessions")
parser.add_argument("--features", type=Path, nargs="+", required=True, help="their features, in the same order")
parser.add_argument("--timeline-json", required=True, help="the section `timeline` of the configuration")
parser.add_argument("--regressions-json", required=True, help="the section `regressions` of the configuration")
parser.add_argument("--minimum-rate-hz", type=float, default=0.0, help="units below it do not count")
parser.add_argument("--output", type=Path, required=True, help="settings, and every score that was tried")
parser.add_argument("--pooled", type=Path, required=True, help="the regression that all units share")
arguments = parser.parse_args()

tune_regressions_on_files(
    pair_paths(arguments.sessions, arguments.features, []),
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    regressions=Regressions.model_validate_json(arguments.regressions_json),
    minimum_rate_hz=arguments.minimum_rate_hz,
    output=arguments.output,
    pooled_output=arguments.pooled,
)
