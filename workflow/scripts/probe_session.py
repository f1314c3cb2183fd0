"""Decode a held-out session by ridge on a frozen forecaster's latents and forecasts, and on counts."""

from neurohorizon.experiments.downstream.ridge_probes import probe_session
from workflow.command import run

if __name__ == "__main__":
    run(probe_session)
