"""Forecast the test time of one held-out session with every closed-form baseline."""

from neurohorizon.forecasts.forecast import forecast_with_baselines
from workflow.command import run

if __name__ == "__main__":
    run(forecast_with_baselines)
