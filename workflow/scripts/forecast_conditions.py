"""Forecast one held-out session under each condition of the multimodal experiment; no gradient step is taken."""

import argparse
from pathlib import Path

from neurohorizon.config import Multimodal, Readout, Timeline
from neurohorizon.forecasts.forecast import forecast_conditions
from neurohorizon.inputs.session_modalities import ModalitySettings
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", type=Path, required=True, help="weights; their card lies beside them")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
for name in ("session", "features", "readout", "modalities"):
    parser.add_argument(f"--{name}", type=Path, required=True)
parser.add_argument("--embeddings", type=Path, nargs="*", default=[])
parser.add_argument("--conditions", nargs="+", required=True)
parser.add_argument("--multimodal-json", type=Multimodal.model_validate_json, required=True)
parser.add_argument("--readout-json", type=Readout.model_validate_json, required=True)
parser.add_argument("--timeline-json", type=Timeline.model_validate_json, required=True)
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--output-folder", type=Path, required=True)
a = parser.parse_args()

forecast_conditions(
    weights=a.model,
    paths=SessionPaths(a.session, a.features, a.readout),
    readouts=a.modalities,
    embeddings=a.embeddings,
    conditions=a.conditions,
    fold=a.fold,
    seed=a.seed,
    settings=ModalitySettings(a.multimodal_json, a.readout_json, a.timeline_json),
    code=a.code,
    output_folder=a.output_folder,
)
