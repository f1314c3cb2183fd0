"""Measure the autocorrelation of behaviour at the shift of the control, for the tables."""

from neurohorizon.experiments.multimodal.tables import write_autocorrelation
from workflow.command import run

if __name__ == "__main__":
    run(write_autocorrelation)
