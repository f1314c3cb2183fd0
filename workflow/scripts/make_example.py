"""Choose one held-out window by a rule that uses no score, and write the data of its picture."""

from neurohorizon.forecasts.example import make_example
from workflow.command import run

run(make_example)
