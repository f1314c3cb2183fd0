"""Train the forecaster, or a network of own history, on the training sessions of a fold."""

import argparse
import json
from pathlib import Path

from neurohorizon.config import Features, Model, Timeline, Training
from neurohorizon.inputs.sessions import pair_paths
from neurohorizon.models.training import train_on_files

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", required=True, choices=["neurohorizon", "own_history", "own_history_readout"])
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--sessions", type=Path, nargs="+", required=True, help="training sessions")
parser.add_argument("--features", type=Path, nargs="+", required=True, help="their features, in the same order")
parser.add_argument("--readouts", type=Path, nargs="*", default=[], help="their readouts, in the same order")
parser.add_argument("--only", type=Path, nargs="?", help="JSON whose `sessions` are those to use of these")
for section in ("timeline", "features", "model", "training"):
    parser.add_argument(f"--{section}-json", required=True, help=f"the section `{section}` of the configuration")
parser.add_argument("--code", required=True, help="fingerprint of this code")
parser.add_argument("--checkpoints", type=Path, required=True, help="folder for resuming a killed training")
parser.add_argument("--output", type=Path, required=True, help="weights; the card and the log go beside them")
if __name__ == "__main__":  # the loader's workers import this file
    arguments = parser.parse_args()
    paths = pair_paths(arguments.sessions, arguments.features, arguments.readouts)
    if arguments.only:
        chosen = json.loads(arguments.only.read_text())["sessions"]
        paths = [one for one in paths if one.session.stem in chosen]
    train_on_files(
        method=arguments.model,
        paths=paths,
        timeline=Timeline.model_validate_json(arguments.timeline_json),
        features=Features.model_validate_json(arguments.features_json),
        model=Model.model_validate_json(arguments.model_json),
        training=Training.model_validate_json(arguments.training_json),
        fold=arguments.fold,
        seed=arguments.seed,
        code=arguments.code,
        checkpoints=arguments.checkpoints,
        output=arguments.output,
        log=arguments.output.with_name("log.csv"),
    )
