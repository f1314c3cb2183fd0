"""Write the results of a run as one page of Markdown."""

from neurohorizon.report.run_page import write_run_page
from workflow.command import run

run(write_run_page)
