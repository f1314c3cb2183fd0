"""Ask the tables of a simulated run for what was planted in its recordings."""

import argparse
from pathlib import Path

from neurohorizon.agreement.planted_truths import make_truths
from neurohorizon.analysis.tables import Resampling

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--results", type=Path, required=True, help="folder of the run")
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

resampling = Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed)
make_truths(results=arguments.results, folder=arguments.output_folder, resampling=resampling)
