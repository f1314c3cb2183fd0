"""Measure how far behaviour resembles itself at the shift of the control, for the tables."""

import argparse
from pathlib import Path

from neurohorizon.config import Multimodal
from neurohorizon.experiments.multimodal.tables import write_autocorrelation

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--sessions", type=Path, nargs="+", required=True, help="files of the held-out sessions")
parser.add_argument("--multimodal-json", required=True, help="section multimodal of the configuration")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

write_autocorrelation(
    arguments.sessions, Multimodal.model_validate_json(arguments.multimodal_json), output=arguments.output
)
