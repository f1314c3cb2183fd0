"""Score a network that is told the counts of the horizon so far, in the windows that sample paths are drawn for."""

import argparse
from pathlib import Path

from neurohorizon.config import Rollout, Timeline
from neurohorizon.experiments.horizons.teacher_forcing import score_teacher_forcing
from neurohorizon.inputs.sessions import pair_paths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", type=Path, required=True, help="weights; their card lies beside them")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
for files in ("sessions", "features", "readouts"):
    parser.add_argument(f"--{files}", type=Path, nargs="+", required=True, help="of the held-out sessions, in order")
parser.add_argument("--oracles", type=Path, nargs="*", default=[], help="true rates, where they are known")
for section in ("timeline", "rollout"):
    parser.add_argument(f"--{section}-json", required=True, help=f"the section `{section}` of the configuration")
parser.add_argument("--minimum-rate-hz", type=float, required=True, help="units below it are not scored")
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--output", type=Path, required=True, help="Parquet table of sums to write")
arguments = parser.parse_args()

score_teacher_forcing(
    weights=arguments.model,
    paths=pair_paths(arguments.sessions, arguments.features, arguments.readouts),
    oracles=arguments.oracles,
    fold=arguments.fold,
    method="neurohorizon",
    seed=arguments.seed,
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    every_windows=Rollout.model_validate_json(arguments.rollout_json).every_windows,
    minimum_rate_hz=arguments.minimum_rate_hz,
    code=arguments.code,
    output=arguments.output,
)
