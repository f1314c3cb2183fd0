"""Extend a POYO to a held-out session, and decode its test part; keep its latents for downstream probes."""

import argparse
from pathlib import Path

from neurohorizon.config import Downstream
from neurohorizon.experiments.downstream.poyo_decoding import decode_new_session

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--weights", type=Path, required=True, help="a trained POYO; its card lies beside it")
parser.add_argument("--session", type=Path, required=True, help="held-out session")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--accelerator", required=True, choices=["auto", "cpu", "gpu"])
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--code", required=True, help="fingerprint of this code")
parser.add_argument("--output", type=Path, required=True, help="decodings")
parser.add_argument("--downstream-json", help="section downstream of the configuration, if there is one")
parser.add_argument("--contexts", type=Path, help="file of its latents where something else is decoded")
arguments = parser.parse_args()

decode_new_session(
    weights=arguments.weights,
    path=arguments.session,
    fold=arguments.fold,
    seed=arguments.seed,
    code=arguments.code,
    accelerator=arguments.accelerator,
    threads=arguments.threads,
    output=arguments.output,
    downstream=Downstream.model_validate_json(arguments.downstream_json) if arguments.downstream_json else None,
    contexts=arguments.contexts,
)
