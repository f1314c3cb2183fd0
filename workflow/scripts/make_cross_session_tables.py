"""Make the tables of the curves of experiment 1 from their sums."""

import argparse
from pathlib import Path

from neurohorizon.analysis.tables import Resampling
from neurohorizon.experiments.cross_session.curve_tables import make_cross_session_tables

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--curves", type=Path, nargs="+", required=True, help="one file per fold, session and seed")
parser.add_argument("--elapsed", type=Path, nargs="+", required=True, help="one file per fold and session")
parser.add_argument("--by-unit", type=Path, nargs="+", required=True, help="one file per fold and session")
parser.add_argument("--horizons-ms", type=int, nargs="+", required=True, help="ends of the parts of the horizon")
parser.add_argument("--matched-units", type=int, required=True, help="fewest scored units of a region")
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

make_cross_session_tables(
    curves=arguments.curves,
    elapsed=arguments.elapsed,
    by_unit=arguments.by_unit,
    horizons_ms=arguments.horizons_ms,
    matched_units=arguments.matched_units,
    folder=arguments.output_folder,
    resampling=Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed),
)
