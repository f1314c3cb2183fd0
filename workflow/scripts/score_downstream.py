"""Score what probes read from a session at the end of a context: from frozen latents, counts and POYO."""

from neurohorizon.experiments.downstream.scores import score_downstream
from workflow.command import run

if __name__ == "__main__":
    run(score_downstream)
