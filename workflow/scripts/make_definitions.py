"""Make the table of the same forecasts under every published definition of bits per spike."""

import argparse
from pathlib import Path

from neurohorizon.agreement.definition_tables import make_definitions
from neurohorizon.analysis.tables import Resampling

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scores", type=Path, nargs="+", required=True, help="one file per fold and session")
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

resampling = Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed)
make_definitions(scores=arguments.scores, folder=arguments.output_folder, resampling=resampling)
