"""Score all conditions of one session, by region and by what the screen showed."""

import argparse
from pathlib import Path

from neurohorizon.config import Multimodal
from neurohorizon.experiments.multimodal.scores import Written, score_conditions

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--session", type=Path, required=True, help="session file")
parser.add_argument("--folders", type=Path, nargs="+", required=True, help="forecasts by encoder and seed")
parser.add_argument("--others", type=Path, nargs="*", default=[], help="forecast files of psth and oracle")
parser.add_argument("--multimodal-json", required=True, help="section multimodal of the configuration")
parser.add_argument("--minimum-rate-hz", type=float, required=True, help="units below it are not scored")
parser.add_argument("--horizons-ms", type=int, nargs="+", required=True, help="ends of the parts of the horizon")
parser.add_argument("--scores", type=Path, required=True, help="Parquet table of sums to write")
parser.add_argument("--repeats", type=Path, required=True, help="Parquet table of the sums of PSTH R2 to write")
parser.add_argument("--example", type=Path, required=True, help="Parquet table of one unit's response to write")
arguments = parser.parse_args()

score_conditions(
    session=arguments.session,
    folders=arguments.folders,
    others=arguments.others,
    multimodal=Multimodal.model_validate_json(arguments.multimodal_json),
    minimum_rate_hz=arguments.minimum_rate_hz,
    horizons_ms=arguments.horizons_ms,
    output=Written(scores=arguments.scores, repeats=arguments.repeats, example=arguments.example),
)
