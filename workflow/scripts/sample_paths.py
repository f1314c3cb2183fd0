"""Draw a network's sample paths of one held-out session, and compare its spread with the observed counts."""

from neurohorizon.experiments.horizons.calibration_scores import sample_session
from workflow.command import run

if __name__ == "__main__":
    run(sample_session)
