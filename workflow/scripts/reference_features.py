"""Compute the reference features of one session file."""

from neurohorizon.session import SessionError
from neurohorizon.units.reference import compute_reference_file
from workflow.command import run

if __name__ == "__main__":
    run(compute_reference_file, faults=(SessionError,))
