"""Write the score archive of a run: every file of sums that its results are made from."""

from neurohorizon.report.archive import write_archive
from workflow.command import run

run(write_archive)
