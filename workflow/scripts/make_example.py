"""Choose one held-out window by a rule that looks at no score, and keep what its picture needs."""

from neurohorizon.forecasts.example import make_example
from workflow.command import run

run(make_example)
