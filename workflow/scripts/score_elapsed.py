"""Score the forecasts of one held-out session by the time since its reference part, and by unit."""

import argparse
from pathlib import Path

from neurohorizon.config import CrossSession
from neurohorizon.experiments.cross_session.elapsed_scores import score_elapsed

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--session", type=Path, required=True)
parser.add_argument("--forecasts", type=Path, nargs="+", required=True, help="one file per method and seed")
parser.add_argument("--settings-json", required=True, help="the section `cross_session` of the configuration")
parser.add_argument("--minimum-rate-hz", type=float, required=True, help="units below it are not scored")
parser.add_argument("--elapsed", type=Path, required=True, help="Parquet table of sums by time to write")
parser.add_argument("--by-unit", type=Path, required=True, help="Parquet table of sums by unit to write")
arguments = parser.parse_args()

score_elapsed(
    session=arguments.session,
    forecasts=arguments.forecasts,
    settings=CrossSession.model_validate_json(arguments.settings_json),
    minimum_rate_hz=arguments.minimum_rate_hz,
    elapsed=arguments.elapsed,
    by_unit=arguments.by_unit,
)
