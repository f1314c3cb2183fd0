"""Forecast and score all held-out sessions of a fold with a trained network."""

from neurohorizon.forecasts.points import score_point
from workflow.command import run

if __name__ == "__main__":
    run(score_point)
