"""Score what probes read from a session at the end of a context: from frozen latents, counts and POYO."""

import argparse
from pathlib import Path

from neurohorizon.config import Downstream, Timeline
from neurohorizon.experiments.downstream.names import ROLES
from neurohorizon.experiments.downstream.scores import PoyoFiles, score_downstream
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--weights", type=Path, required=True, help="a trained forecaster; its card lies beside it")
for name in ("session", "features", "readout"):
    parser.add_argument(f"--{name}", type=Path, required=True)
parser.add_argument("--poyo", type=Path, nargs="*", default=[], help="POYO's decodings and latents, if it made any")
parser.add_argument("--downstream-json", required=True, help="section downstream of the configuration")
parser.add_argument("--timeline-json", required=True, help="section timeline, with the context that the encoder hears")
parser.add_argument("--gap-s", type=float, required=True, help="least distance of what is fitted on to what is scored")
parser.add_argument("--role", required=True, choices=ROLES)
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--code", required=True, help="fingerprint of this code")
parser.add_argument("--output", type=Path, required=True, help="scores (Parquet)")
arguments = parser.parse_args()

score_downstream(
    weights=arguments.weights,
    paths=SessionPaths(arguments.session, arguments.features, arguments.readout),
    downstream=Downstream.model_validate_json(arguments.downstream_json),
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    gap_s=arguments.gap_s,
    role=arguments.role,
    fold=arguments.fold,
    seed=arguments.seed,
    code=arguments.code,
    poyo=PoyoFiles(*arguments.poyo) if arguments.poyo else None,
    output=arguments.output,
)
