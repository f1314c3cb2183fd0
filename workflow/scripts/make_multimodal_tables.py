"""Make every table of the multimodal experiment from its score sums."""

import argparse
from pathlib import Path

from neurohorizon.analysis.tables import Resampling
from neurohorizon.config import Multimodal
from neurohorizon.experiments.multimodal.tables import make_multimodal_tables

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scores", type=Path, nargs="+", required=True, help="one file per fold and session")
parser.add_argument("--repeats", type=Path, nargs="+", required=True, help="sums of PSTH R2, likewise")
parser.add_argument("--examples", type=Path, nargs="+", required=True, help="response of one unit, likewise")
parser.add_argument("--autocorrelation", type=Path, required=True, help="of behaviour in the same sessions")
parser.add_argument("--multimodal-json", required=True, help="section multimodal of the configuration")
parser.add_argument("--primary-encoder", required=True, help="first image encoder of the run")
parser.add_argument("--weights", type=Path, help="what became of DINOv2's weights, where they had to be found")
parser.add_argument("--horizons-ms", type=int, nargs="+", required=True, help="ends of the parts of the horizon")
parser.add_argument("--draws", type=int, required=True, help="bootstrap draws")
parser.add_argument("--interval", type=float, required=True, help="coverage of the intervals, such as 0.95")
parser.add_argument("--seed", type=int, required=True, help="seed of the draws")
parser.add_argument("--output-folder", type=Path, required=True)
arguments = parser.parse_args()

make_multimodal_tables(
    scores=arguments.scores,
    repeats=arguments.repeats,
    examples=arguments.examples,
    autocorrelation=arguments.autocorrelation,
    multimodal=Multimodal.model_validate_json(arguments.multimodal_json),
    primary=arguments.primary_encoder,
    weights=arguments.weights,
    horizons_ms=arguments.horizons_ms,
    resampling=Resampling(draws=arguments.draws, interval=arguments.interval, seed=arguments.seed),
    folder=arguments.output_folder,
)
