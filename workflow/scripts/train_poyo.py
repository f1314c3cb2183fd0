"""Train POYO on the behaviour of the training sessions of a fold."""

import argparse
from pathlib import Path

from neurohorizon.config import Poyo, Timeline
from neurohorizon.experiments.downstream.poyo import train_poyo

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--sessions", type=Path, nargs="+", required=True, help="training sessions")
parser.add_argument("--poyo-json", required=True, help="section poyo of the configuration")
parser.add_argument("--timeline-json", required=True, help="section timeline of the configuration")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--accelerator", required=True, choices=["auto", "cpu", "gpu"])
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--code", required=True, help="fingerprint of this code")
parser.add_argument("--checkpoints", type=Path, required=True, help="folder for resuming a killed training")
parser.add_argument("--output", type=Path, required=True, help="weights; the card goes beside them")
arguments = parser.parse_args()

train_poyo(
    paths=arguments.sessions,
    poyo=Poyo.model_validate_json(arguments.poyo_json),
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    fold=arguments.fold,
    seed=arguments.seed,
    code=arguments.code,
    accelerator=arguments.accelerator,
    threads=arguments.threads,
    checkpoints=arguments.checkpoints,
    output=arguments.output,
)
