"""Forecast one held-out session under each condition of the multimodal experiment; no gradient step is taken."""

from neurohorizon.forecasts.forecast import forecast_conditions
from workflow.command import run

if __name__ == "__main__":
    run(forecast_conditions)
