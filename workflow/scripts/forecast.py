"""Forecast the test time of one held-out session with a trained network; no gradient step is taken."""

from neurohorizon.forecasts.forecast import forecast_with_network
from workflow.command import run

if __name__ == "__main__":
    run(forecast_with_network)
