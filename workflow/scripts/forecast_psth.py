"""Forecast each movie bin of a session from all other repeats of the movie."""

from neurohorizon.experiments.multimodal.psth import forecast_psth
from workflow.command import run

if __name__ == "__main__":
    run(forecast_psth)
