"""Make every table of a run from its score sums."""

import argparse
from pathlib import Path

from neurohorizon.analysis.tables import Resampling
from neurohorizon.experiments.cross_session.tables import make_tables

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scores", type=Path, nargs="+", required=True, help="one file per fold and session")
parser.add_argument("--sessions", type=Path, help="list of the run's sessions, to name the ones left out")
parser.add_argument("--shared-subjects", nargs="*", default=[], help="animals both trained on and forecast")
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

resampling = Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed)
make_tables(
    scores=arguments.scores,
    folder=arguments.output_folder,
    resampling=resampling,
    sessions=arguments.sessions,
    shared_subjects=arguments.shared_subjects,
)
