"""Fit a trained network on the reference part of one held-out session, and forecast its test time."""

import argparse
from pathlib import Path

import torch

from neurohorizon.config import Features, LearnedEmbedding, Splits, Timeline, Training
from neurohorizon.forecasts.forecast import forecast_with_learned_embedding
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", type=Path, required=True, help="weights; their card lies beside them")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--session", type=Path, required=True, help="held-out session")
parser.add_argument("--reference", type=Path, required=True, help="its reference features")
parser.add_argument("--readout", type=Path, required=True, help="its readout")
for section in ("timeline", "splits", "features", "training"):
    parser.add_argument(f"--{section}-json", required=True, help=f"the section `{section}` of the configuration")
parser.add_argument("--fit-json", required=True, help="the section `baselines.learned_embedding` of the configuration")
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

training = Training.model_validate_json(arguments.training_json)
torch.set_num_threads(training.threads)
told = forecast_with_learned_embedding(
    weights=arguments.model,
    paths=SessionPaths(arguments.session, arguments.reference, arguments.readout),
    fold=arguments.fold,
    seed=arguments.seed,
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    splits=Splits.model_validate_json(arguments.splits_json),
    features=Features.model_validate_json(arguments.features_json),
    training=training,
    settings=LearnedEmbedding.model_validate_json(arguments.fit_json),
    code=arguments.code,
    output=arguments.output,
)
print(told)
