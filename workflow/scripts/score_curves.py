"""Score a network on one held-out session for several lengths of the reference window and numbers of units."""

from neurohorizon.experiments.cross_session.curve_scores import score_curves
from workflow.command import run

if __name__ == "__main__":
    run(score_curves)
