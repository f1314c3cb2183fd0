"""Forecast each movie bin of a session by all other repeats of the movie."""

import argparse
from pathlib import Path

from neurohorizon.experiments.multimodal.psth import forecast_psth

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--session", type=Path, required=True, help="session file")
parser.add_argument("--task", type=Path, required=True, help="any forecast of it: says what is to be forecast")
parser.add_argument("--code", required=True, help="fingerprint of this script")
parser.add_argument("--output", type=Path, required=True, help="forecast file")
arguments = parser.parse_args()

forecast_psth(session=arguments.session, task=arguments.task, code=arguments.code, output=arguments.output)
