"""Make the paper's cohort table from the public release tables."""

import argparse
from pathlib import Path

from neurohorizon.cohort import CohortError
from neurohorizon.config import Cohort
from neurohorizon.ingest.paper_cohort import make_cohort

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--ibl-table", type=Path, required=True)
parser.add_argument("--allen-table", type=Path, required=True)
parser.add_argument("--reserved", type=Path, required=True, help="list of session ids that are never used")
parser.add_argument("--cohort-json", required=True, help="the section `cohort` of the configuration")
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--force", action="store_true", help="make a frozen cohort again")
arguments = parser.parse_args()

try:
    make_cohort(
        arguments.output,
        ibl_table=arguments.ibl_table,
        allen_table=arguments.allen_table,
        reserved=arguments.reserved,
        heldout_fraction=Cohort.model_validate_json(arguments.cohort_json).heldout_fraction,
        seed=arguments.seed,
        force=arguments.force,
    )
except CohortError as error:
    raise SystemExit(f"make_cohort: {error}") from None
