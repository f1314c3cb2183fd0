"""Score all forecasts of one session into a table of sums."""

from neurohorizon.forecasts.scoring import score_session
from workflow.command import run

if __name__ == "__main__":
    run(score_session)
