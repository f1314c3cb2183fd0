"""Score all forecasts of one session into a table of sums."""

import argparse
from pathlib import Path

from neurohorizon.forecasts.scoring import score_session

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--forecasts", type=Path, nargs="+", required=True, help="one file per method and seed")
parser.add_argument("--output", type=Path, required=True, help="Parquet table of sums")
parser.add_argument("--minimum-rate-hz", type=float, default=0.0, help="units below it are not scored")
arguments = parser.parse_args()

score_session(forecasts=arguments.forecasts, output=arguments.output, minimum_rate_hz=arguments.minimum_rate_hz)
