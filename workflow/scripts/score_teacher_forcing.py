"""Score a network that is told the counts of the horizon so far, in the windows that sample paths are drawn for."""

from neurohorizon.experiments.horizons.teacher_forcing import score_teacher_forcing
from workflow.command import run

if __name__ == "__main__":
    run(score_teacher_forcing)
