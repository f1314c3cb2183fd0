"""Make the tables of decoded behaviour."""

import argparse
from pathlib import Path

from neurohorizon.analysis.tables import Resampling
from neurohorizon.experiments.downstream.poyo_tables import make_decoding_tables

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--decodings", type=Path, nargs="+", required=True)
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

make_decoding_tables(
    decodings=arguments.decodings,
    resampling=Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed),
    folder=arguments.output_folder,
)
