"""Score a network that receives the observed counts of earlier bins, in the windows of the sample paths."""

from neurohorizon.experiments.horizons.teacher_forcing import score_teacher_forcing
from workflow.command import run

if __name__ == "__main__":
    run(score_teacher_forcing)
