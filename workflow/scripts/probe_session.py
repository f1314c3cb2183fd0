"""Decode a held-out session by ridge on a frozen forecaster's latents and forecasts, and on counts."""

import argparse
from pathlib import Path

from neurohorizon.config import Poyo, Timeline
from neurohorizon.experiments.downstream.ridge_probes import probe_session
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--weights", type=Path, required=True, help="a trained forecaster; its card lies beside it")
for name in ("session", "features", "readout"):
    parser.add_argument(f"--{name}", type=Path, required=True)
parser.add_argument("--poyo-json", required=True, help="section poyo of the configuration")
parser.add_argument("--timeline-json", required=True, help="section timeline of the configuration")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--code", required=True, help="fingerprint of this code")
parser.add_argument("--output", type=Path, required=True, help="decodings")
arguments = parser.parse_args()

probe_session(
    weights=arguments.weights,
    paths=SessionPaths(arguments.session, arguments.features, arguments.readout),
    poyo=Poyo.model_validate_json(arguments.poyo_json),
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    fold=arguments.fold,
    seed=arguments.seed,
    code=arguments.code,
    output=arguments.output,
)
