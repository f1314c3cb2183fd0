"""Collect the results of all experiments of a run: for the paper, its notebook and the report's first page."""

from neurohorizon.report.results import write_results
from workflow.command import run

run(write_results)
