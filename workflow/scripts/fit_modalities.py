"""Fit the closed-form readouts of behaviour and images on a session's reference windows."""

import argparse
from pathlib import Path

from neurohorizon.config import Multimodal, Readout, Timeline
from neurohorizon.inputs.session_modalities import ModalitySettings, by_encoder, compute_modality_file

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--session", type=Path, required=True)
parser.add_argument("--features", type=Path, required=True, help="its reference features")
parser.add_argument("--uses", nargs="+", required=True, help="reference windows to fit on")
parser.add_argument("--embeddings", type=Path, nargs="*", default=[], help="of all image sets, by one or more encoders")
parser.add_argument("--multimodal-json", type=Multimodal.model_validate_json, required=True)
parser.add_argument("--readout-json", type=Readout.model_validate_json, required=True)
parser.add_argument("--timeline-json", type=Timeline.model_validate_json, required=True)
parser.add_argument("--output", type=Path, required=True)
a = parser.parse_args()

compute_modality_file(
    a.session,
    a.features,
    a.output,
    uses=a.uses,
    embeddings=by_encoder(a.embeddings),
    settings=ModalitySettings(a.multimodal_json, a.readout_json, a.timeline_json),
)
