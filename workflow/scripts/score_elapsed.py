"""Score the forecasts of one held-out session by the time since its reference window, and by unit."""

from neurohorizon.experiments.cross_session.elapsed_scores import score_elapsed
from workflow.command import run

if __name__ == "__main__":
    run(score_elapsed)
