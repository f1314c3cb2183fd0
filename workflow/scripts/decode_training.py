"""Decode held-out time of the sessions that a POYO was trained on."""

import argparse
from pathlib import Path

from neurohorizon.experiments.downstream.poyo_decoding import decode_training_sessions

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--weights", type=Path, required=True, help="a trained POYO; its card lies beside it")
parser.add_argument("--sessions", type=Path, nargs="+", required=True, help="training sessions")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--accelerator", required=True, choices=["auto", "cpu", "gpu"])
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--code", required=True, help="fingerprint of this code")
parser.add_argument("--output", type=Path, required=True, help="decodings")
arguments = parser.parse_args()

decode_training_sessions(
    weights=arguments.weights,
    paths=arguments.sessions,
    fold=arguments.fold,
    seed=arguments.seed,
    code=arguments.code,
    accelerator=arguments.accelerator,
    threads=arguments.threads,
    output=arguments.output,
)
