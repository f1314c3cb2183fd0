"""Write the simulated Allen-like release, in the formats of the real one, and its true rates."""

from neurohorizon.ingest.simulated.allen import simulate_allen_release
from workflow.command import run

if __name__ == "__main__":
    run(simulate_allen_release)
