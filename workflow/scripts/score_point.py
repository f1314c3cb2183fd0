"""Forecast and score all held-out sessions of a fold with a trained network; no gradient step but where a use asks."""

import argparse
from pathlib import Path

import torch

from neurohorizon.config import Features, LearnedEmbedding, Rollout, Splits, Timeline
from neurohorizon.forecasts.points import Point, PointSettings, score_point
from neurohorizon.inputs.sessions import pair_paths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", type=Path, required=True, help="weights; their card lies beside them")
parser.add_argument("--method", required=True, help="its name in tables")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--uses", nargs="*", default=[], help="what else the weights are scored as")
parser.add_argument("--sessions", type=Path, nargs="+", required=True, help="held-out sessions")
parser.add_argument("--features", type=Path, nargs="+", required=True, help="their features, in the same order")
parser.add_argument("--readouts", type=Path, nargs="*", default=[], help="their readouts, in the same order")
for section in ("timeline", "splits", "features"):
    parser.add_argument(f"--{section}-json", required=True, help=f"the section `{section}` of the configuration")
parser.add_argument("--rollout-json", help="the section `rollout`, for the use `autoregressive`")
parser.add_argument("--fit-json", help="the section `baselines.learned_embedding`, for that use")
parser.add_argument("--minimum-rate-hz", type=float, required=True)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--parts", type=Path, required=True, help="folder for resuming a killed job")
parser.add_argument("--output", type=Path, required=True, help="table of sums; point.json is written beside it")
arguments = parser.parse_args()

torch.set_num_threads(arguments.threads)
given = vars(arguments)
score_point(
    point=Point(
        arguments.model, arguments.method, arguments.fold, arguments.seed, tuple(arguments.uses), arguments.code
    ),
    sessions=pair_paths(arguments.sessions, arguments.features, arguments.readouts),
    settings=PointSettings(
        timeline=Timeline.model_validate_json(arguments.timeline_json),
        splits=Splits.model_validate_json(arguments.splits_json),
        features=Features.model_validate_json(arguments.features_json),
        rollout=Rollout.model_validate_json(given["rollout_json"]) if given["rollout_json"] else None,
        learned_embedding=LearnedEmbedding.model_validate_json(given["fit_json"]) if given["fit_json"] else None,
        minimum_rate_hz=arguments.minimum_rate_hz,
    ),
    parts=arguments.parts,
    output=arguments.output,
)
