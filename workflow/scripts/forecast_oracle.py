"""Write the true expected counts of one simulated session as a forecast: a ceiling."""

from neurohorizon.forecasts.forecast import forecast_with_oracle
from workflow.command import run

if __name__ == "__main__":
    run(forecast_with_oracle)
