"""Teach a trained forecaster to read behaviour and images beside the spikes."""

import argparse
from pathlib import Path

from neurohorizon.config import Multimodal, Readout, Timeline, Training
from neurohorizon.experiments.multimodal.training import train_multimodal_on_files
from neurohorizon.inputs.session_modalities import ModalitySettings
from neurohorizon.inputs.sessions import pair_paths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--base", type=Path, required=True, help="weights of the forecaster that reads spikes alone")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
for name in ("sessions", "features", "readouts", "modalities", "embeddings"):
    parser.add_argument(f"--{name}", type=Path, nargs="*", default=[])
parser.add_argument("--multimodal-json", type=Multimodal.model_validate_json, required=True)
parser.add_argument("--readout-json", type=Readout.model_validate_json, required=True)
parser.add_argument("--timeline-json", type=Timeline.model_validate_json, required=True)
parser.add_argument("--training-json", type=Training.model_validate_json, required=True)
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--checkpoints", type=Path, required=True, help="folder for resuming")
parser.add_argument("--output", type=Path, required=True, help="weights; card and log are written beside them")
a = parser.parse_args()

train_multimodal_on_files(
    base=a.base,
    paths=pair_paths(a.sessions, a.features, a.readouts),
    readouts=a.modalities,
    embeddings=a.embeddings,
    settings=ModalitySettings(a.multimodal_json, a.readout_json, a.timeline_json),
    training=a.training_json,
    fold=a.fold,
    seed=a.seed,
    code=a.code,
    checkpoints=a.checkpoints,
    output=a.output,
    log=a.output.with_name("log.csv"),
)
