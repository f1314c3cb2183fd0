"""Make the tables of downstream decoding from the scores of sessions."""

import argparse
from pathlib import Path

from neurohorizon.analysis.tables import Resampling
from neurohorizon.experiments.downstream.tables import make_downstream_tables

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scores", type=Path, nargs="+", required=True)
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

make_downstream_tables(
    scores=arguments.scores,
    resampling=Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed),
    folder=arguments.output_folder,
)
