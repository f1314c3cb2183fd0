"""Make the paper's cohort table from the public release tables."""

from neurohorizon.cohort import CohortError
from neurohorizon.ingest.paper_cohort import make_cohort
from workflow.command import run

if __name__ == "__main__":
    run(make_cohort, faults=(CohortError,))
