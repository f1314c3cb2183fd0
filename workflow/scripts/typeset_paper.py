"""Typeset the paper from the results of a run."""

from neurohorizon.report.typesetting import typeset
from workflow.command import run

run(typeset)
