"""Score a run's forecasts with the IBL Brain-Wide Bench's own scorer, and write and check a submission to it."""

import argparse
import json
from pathlib import Path

from neurohorizon.agreement.brain_wide_bench import audit

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--forecasts", type=Path, nargs="+", required=True, help="forecast files of the run")
parser.add_argument("--recordings", type=json.loads, required=True, help="JSON: session -> id in the benchmark")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

print(audit(arguments.forecasts, folder=arguments.output_folder, recordings=arguments.recordings))
