"""Fit the regressions on one held-out session's reference window and forecast its test time."""

from neurohorizon.forecasts.regressions import forecast_with_regressions
from workflow.command import run

if __name__ == "__main__":
    run(forecast_with_regressions)
