"""Extend a POYO to a held-out session, and decode its test part; keep its latents for downstream probes."""

from neurohorizon.experiments.downstream.poyo_decoding import decode_new_session
from workflow.command import run

if __name__ == "__main__":
    run(decode_new_session)
