"""Fit a trained network on the reference window of one held-out session, and forecast its test time."""

from neurohorizon.forecasts.forecast import forecast_with_learned_embedding
from workflow.command import run

if __name__ == "__main__":
    print(run(forecast_with_learned_embedding))
