"""Choose the settings of the closed-form baselines on the training sessions of a fold."""

import argparse
from pathlib import Path

from neurohorizon.baselines.closed_form import tune_on_files
from neurohorizon.config import Baselines, Timeline
from neurohorizon.inputs.sessions import pair_paths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--sessions", type=Path, nargs="+", required=True, help="training sessions")
parser.add_argument("--features", type=Path, nargs="+", required=True, help="their features, in the same order")
parser.add_argument("--timeline-json", required=True, help="the section `timeline` of the configuration")
parser.add_argument("--baselines-json", required=True, help="the section `baselines` of the configuration")
parser.add_argument("--minimum-rate-hz", type=float, default=0.0, help="units below it do not count")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

tune_on_files(
    pair_paths(arguments.sessions, arguments.features, []),
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    baselines=Baselines.model_validate_json(arguments.baselines_json),
    output=arguments.output,
    minimum_rate_hz=arguments.minimum_rate_hz,
)
