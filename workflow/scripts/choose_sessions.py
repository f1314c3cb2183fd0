"""Choose training sessions with the brain regions of the held-out ones."""

from neurohorizon.experiments.scaling.region_match import choose_matched
from workflow.command import run

if __name__ == "__main__":
    run(choose_matched)
