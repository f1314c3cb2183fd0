"""Choose one held-out window by a rule that looks at no score, and keep what its picture needs."""

import argparse
from pathlib import Path

from neurohorizon.forecasts.example import make_example

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--sessions", type=Path, nargs="+", required=True, help="held-out session files, in cohort order")
parser.add_argument(
    "--forecasts", type=Path, nargs="+", required=True, help="forecast of the same session at each place"
)
parser.add_argument("--context-bins", type=int, required=True)
parser.add_argument("--units", type=int, required=True, help="units to show")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

make_example(
    sessions=arguments.sessions,
    forecasts=arguments.forecasts,
    context_bins=arguments.context_bins,
    units=arguments.units,
    output=arguments.output,
)
