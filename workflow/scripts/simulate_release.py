"""Write the simulated release, in the formats of the real one, and its true rates."""

import argparse
from pathlib import Path

from neurohorizon.config import SimulatedSource, Timeline
from neurohorizon.ingest.simulated.ibl import simulate_release

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--simulated-json", type=SimulatedSource.model_validate_json, required=True)
parser.add_argument("--timeline-json", type=Timeline.model_validate_json, required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--output-folder", type=Path, required=True, help="ONE folder of the release")
parser.add_argument("--truth-folder", type=Path, required=True, help="folder of the true expected counts")
arguments = parser.parse_args()

simulate_release(
    arguments.output_folder,
    arguments.truth_folder,
    simulated=arguments.simulated_json,
    timeline=arguments.timeline_json,
    seed=arguments.seed,
)
