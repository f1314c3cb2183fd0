"""Draw a network's sample paths of one held-out session, and judge its spread by the counts that came."""

import argparse
from pathlib import Path

from neurohorizon.config import Rollout, Timeline
from neurohorizon.experiments.horizons.calibration_scores import Written, sample_session
from neurohorizon.inputs.sessions import SessionPaths

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", type=Path, required=True, help="weights; their card lies beside them")
parser.add_argument("--baselines", type=Path, required=True, help="settings of the baselines in the same fold")
parser.add_argument("--fold", required=True)
parser.add_argument("--seed", type=int, required=True)
for file in ("session", "features", "readout"):
    parser.add_argument(f"--{file}", type=Path, required=True)
for section in ("timeline", "rollout"):
    parser.add_argument(f"--{section}-json", required=True, help=f"the section `{section}` of the configuration")
parser.add_argument("--minimum-rate-hz", type=float, required=True, help="units below it are not judged")
parser.add_argument("--code", default="", help="fingerprint of this code")
parser.add_argument("--sums", type=Path, required=True, help="Parquet table of calibration sums to write")
parser.add_argument("--example", type=Path, required=True, help="HDF5 file of one window to write")
parser.add_argument("--forecasts", type=Path, nargs="*", default=[], help="a forecast file for each decoding, in order")
arguments = parser.parse_args()

rollout = Rollout.model_validate_json(arguments.rollout_json)
sample_session(
    weights=arguments.model,
    baselines=arguments.baselines,
    paths=SessionPaths(arguments.session, arguments.features, arguments.readout),
    fold=arguments.fold,
    method="neurohorizon",
    seed=arguments.seed,
    timeline=Timeline.model_validate_json(arguments.timeline_json),
    rollout=rollout,
    minimum_rate_hz=arguments.minimum_rate_hz,
    code=arguments.code,
    output=Written(arguments.sums, arguments.example, dict(zip(rollout.decodings, arguments.forecasts, strict=False))),
)
