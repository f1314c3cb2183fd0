"""Choose training sessions with the brain regions of the held-out ones."""

import argparse
from pathlib import Path

from neurohorizon.experiments.scaling.region_match import choose_matched

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--training", type=Path, nargs="+", required=True, help="session files to choose from")
parser.add_argument("--heldout", type=Path, nargs="+", required=True, help="session files that are forecast")
parser.add_argument("--size", type=int, required=True, help="sessions to choose")
parser.add_argument("--draw", type=int, required=True, help="which random choice")
parser.add_argument("--seed", type=int, required=True, help="seed of the run")
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

choose_matched(
    training=arguments.training,
    heldout=arguments.heldout,
    size=arguments.size,
    draw=arguments.draw,
    seed=arguments.seed,
    output=arguments.output,
)
