"""Make every table of the ablations from their score sums."""

import argparse
from pathlib import Path

from neurohorizon.analysis.tables import Resampling
from neurohorizon.experiments.ablations.tables import make_ablations_tables

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scores", type=Path, nargs="+", required=True, help="one file per fold, variant and seed")
parser.add_argument("--horizons-ms", type=int, nargs="+", required=True, help="ends of the horizons told apart")
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

make_ablations_tables(
    scores=arguments.scores,
    horizons_ms=arguments.horizons_ms,
    folder=arguments.output_folder,
    resampling=Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed),
)
