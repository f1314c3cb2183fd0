"""Make every table of calibration from its sums."""

import argparse
from pathlib import Path

from neurohorizon.analysis.tables import Resampling
from neurohorizon.experiments.horizons.calibration_tables import make_calibration_tables

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--sums", type=Path, nargs="+", required=True, help="one file per fold, session and seed")
parser.add_argument("--examples", type=Path, nargs="+", required=True, help="example windows, likewise")
parser.add_argument("--horizons-ms", type=int, nargs="+", required=True, help="ends of the parts of the horizon")
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

make_calibration_tables(
    sums=arguments.sums,
    examples=arguments.examples,
    horizons_ms=arguments.horizons_ms,
    folder=arguments.output_folder,
    resampling=Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed),
)
