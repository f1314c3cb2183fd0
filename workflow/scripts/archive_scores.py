"""Write the score archive of a run: all that its tables and figures are made from."""

import argparse
from pathlib import Path

from neurohorizon.report.archive import write_archive

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scores", type=Path, nargs="+", required=True, help="files of sums, below the folder")
parser.add_argument("--folder", type=Path, required=True, help="folder of the run, which has config.yaml")
parser.add_argument("--cohort", type=Path, required=True, help="the cohort's table")
parser.add_argument("--output", type=Path, required=True, help="the archive; its hash is written beside it")
arguments = parser.parse_args()

write_archive(arguments.output, scores=arguments.scores, folder=arguments.folder, cohort=arguments.cohort)
