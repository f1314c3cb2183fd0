"""Score a run's forecasts with the IBL Brain-Wide Bench's own scorer, and write and check a submission to it."""

from neurohorizon.agreement.brain_wide_bench import audit
from workflow.command import run

print(run(audit))
