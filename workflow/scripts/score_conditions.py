"""Score all conditions of one session, by region and by stimulus on the screen."""

from neurohorizon.experiments.multimodal.scores import score_conditions
from workflow.command import run

if __name__ == "__main__":
    run(score_conditions)
