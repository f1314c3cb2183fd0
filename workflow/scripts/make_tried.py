"""List every setting of every baseline that was tried, with its score on training sessions."""

import argparse
from pathlib import Path

from neurohorizon.experiments.cross_session.tuning_table import make_tried

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--tuned", type=Path, nargs="+", required=True, help="files of settings, in folders of folds")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

make_tried(tuned=arguments.tuned, output=arguments.output)
