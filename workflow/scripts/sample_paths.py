"""Draw a network's sample paths of one held-out session, and judge its spread by the counts that came."""

from neurohorizon.experiments.horizons.calibration_scores import sample_session
from workflow.command import run

if __name__ == "__main__":
    run(sample_session)
