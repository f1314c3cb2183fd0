"""List the sessions of a run: how much there is of each, and why some could not be used."""

import argparse
from pathlib import Path

from neurohorizon.analysis.session_list import write_session_list

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--sessions", type=Path, nargs="+", required=True, help="session files")
parser.add_argument("--cohort", type=Path, required=True, help="the cohort's table, for their roles")
parser.add_argument("--output", type=Path, nargs="+", required=True, help=".parquet or .tsv")
arguments = parser.parse_args()

write_session_list(arguments.sessions, arguments.cohort, arguments.output)
