"""Fit the closed-form population readout of one session file on each of its reference windows."""

import argparse
from pathlib import Path

from neurohorizon.config import Readout, Timeline
from neurohorizon.units.population_readout import compute_readout_file

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--session", type=Path, required=True, help="session file")
parser.add_argument("--features", type=Path, required=True, help="its reference features")
parser.add_argument("--timeline-json", required=True, help="the section `timeline` of the configuration")
parser.add_argument("--readout-json", required=True, help="the section `model.readout` of the configuration")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

compute_readout_file(
    arguments.session,
    arguments.features,
    arguments.output,
    readout=Readout.model_validate_json(arguments.readout_json),
    timeline=Timeline.model_validate_json(arguments.timeline_json),
)
