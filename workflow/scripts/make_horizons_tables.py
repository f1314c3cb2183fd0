"""Make every table of the experiment on horizons from its score sums."""

import argparse
from pathlib import Path

from neurohorizon.analysis.tables import Resampling
from neurohorizon.experiments.horizons.tables import make_horizons_tables

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--calibration", type=Path, nargs="+", required=True, help="sums, a file per session and seed")
parser.add_argument("--teacher-forced", type=Path, nargs="+", required=True, help="sums, a file per fold and seed")
parser.add_argument("--horizons-ms", type=int, nargs="+", required=True, help="ends of the horizons told apart")
parser.add_argument("--block-bins", type=int, required=True, help="bins of a step of the decodings by blocks")
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

make_horizons_tables(
    calibration=arguments.calibration,
    told=arguments.teacher_forced,
    horizons_ms=arguments.horizons_ms,
    block_bins=arguments.block_bins,
    folder=arguments.output_folder,
    resampling=Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed),
)
