"""Fit the closed-form population readout of one session file on each of its reference windows."""

from neurohorizon.units.population_readout import compute_readout_file
from workflow.command import run

if __name__ == "__main__":
    run(compute_readout_file)
