"""Decode held-out time of the sessions that a POYO was trained on."""

from neurohorizon.experiments.downstream.poyo_decoding import decode_training_sessions
from workflow.command import run

if __name__ == "__main__":
    run(decode_training_sessions)
