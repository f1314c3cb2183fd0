"""Score the decoding of behaviour at the end of a context: by probes on frozen latents and counts, and by POYO."""

from neurohorizon.experiments.downstream.scores import score_downstream
from workflow.command import run

if __name__ == "__main__":
    run(score_downstream)
