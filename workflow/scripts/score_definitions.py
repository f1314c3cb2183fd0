"""Compute the sums of each published definition of bits per spike over the forecasts of one session."""

from neurohorizon.agreement.definition_tables import score_definitions
from workflow.command import run

if __name__ == "__main__":
    run(score_definitions)
