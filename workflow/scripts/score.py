"""Score all forecasts of one session into a table of sums."""

import argparse
from pathlib import Path

from neurohorizon.evaluation.scoring import score_session

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--forecasts", type=Path, nargs="+", required=True, help="one file per method and seed")
parser.add_argument("--output", type=Path, required=True, help="Parquet table of sums")
arguments = parser.parse_args()

score_session(forecasts=arguments.forecasts, output=arguments.output)
