"""Forecast the test time of one held-out session with a trained network and disrupted identities of its units."""

from neurohorizon.forecasts.forecast import forecast_with_controls
from workflow.command import run

if __name__ == "__main__":
    run(forecast_with_controls)
