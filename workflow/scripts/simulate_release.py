"""Write the simulated release, in the formats of the real one, and its true rates."""

from neurohorizon.ingest.simulated.ibl import simulate_release
from workflow.command import run

if __name__ == "__main__":
    run(simulate_release)
