"""Simulated score files of ablations with known differences to the full network."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neurohorizon.ablations import ABLATIONS
from neurohorizon.forecasts.scoring import SCHEMA

BINS, BIN_US, WINDOWS, UNITS, SPIKES = 10, 20_000, 40, 3, 50
NULL_NATS = -200.0
EFFECTS = {  # method: (class, difference to the full network at the first bin, its change per bin)
    "full": ("zero_shot", 0.0, 0.0),
    "no_identity": ("zero_shot", -0.08, 0.0),
    "shuffled_identity": ("control", -0.2, 0.0),
    "rate_only": ("zero_shot", -0.03, 0.0),
    "no_relational": ("zero_shot", 0.0, 0.0),
    "learned_embedding": ("fitted", 0.05, 0.0),
    "no_own_history": ("zero_shot", -0.12, 0.01),
    "no_population": ("zero_shot", -0.1, 0.0),
    "noncausal_decoder": ("zero_shot", 0.02, 0.0),
    "gaussian_loss": ("zero_shot", -0.06, 0.0),
    "teacher_forcing_only": ("zero_shot", 0.01, 0.0),
    "full_autoregressive": ("zero_shot", -0.05, 0.0),
    "teacher_forcing_only_autoregressive": ("zero_shot", -0.15, 0.0),
}
EFFECTS |= dict.fromkeys(ABLATIONS.keys() - EFFECTS.keys(), ("zero_shot", -0.01, 0.0))
FROM = {  # trained network: further methods with its weights
    "full": ("shuffled_identity", "learned_embedding", "full_autoregressive"),
    "teacher_forcing_only": ("teacher_forcing_only_autoregressive",),
}


def score_of(method: str, session: int, seed: int, bin_: int, animals_differ: float = 0.02) -> float:
    """Return the bits per spike of a bin: effects of session, of method, which varies by animal, and of seed."""
    _, effect, change = EFFECTS[method]
    effect = effect + change * bin_
    spread = animals_differ * (session // 2 - 1) if not method.startswith("full") else 0.0
    return 0.3 + 0.02 * session + effect + spread + 0.01 * seed


def write_scores(
    folder: Path, trained: str, *, seed: int = 0, sessions: int = 6, thinned: int = 4, left_out: str | None = None
) -> Path:
    """Write the score file of a trained network, with two sessions per animal. Rollouts have fewer windows."""
    rows = []
    for method in (trained, *FROM.get(trained, ())):
        share = thinned if method.endswith("_autoregressive") else 1
        for session in range(sessions):
            for bin_ in range(BINS):
                for unit in range(UNITS):
                    gain = score_of(method, session, seed, bin_) * np.log(2) * SPIKES
                    row = dict.fromkeys(SCHEMA.names, 0) | {
                        "fold": "f",
                        "session": f"s{session}",
                        "subject": f"a{session // 2}",
                        "lab": "l",
                        "source": "ibl",
                        "method": method,
                        "class": EFFECTS[method][0],
                        "seed": seed,
                        "code": "c",
                        "unit_id": f"u{unit}",
                        "region": "CA1",
                        "horizon_bin": bin_,
                        "bin_us": BIN_US,
                        "windows": WINDOWS // share,
                        "spikes": SPIKES,
                        "model_nats": (NULL_NATS + gain),
                        "reference_nats": NULL_NATS,
                    }
                    rows.append(row)
    path = folder / f"{trained}_seed-{seed}" / "scores.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {left_out: "no spikes in the reference window"} if left_out else {}
    table = pa.Table.from_pylist(rows, schema=SCHEMA).replace_schema_metadata({"left_out": json.dumps(names)})
    pq.write_table(table, path)
    return path


def trained_networks() -> list[str]:
    """Return the names of the trained networks, each with a score file."""
    made = {name for names in FROM.values() for name in names}
    return [name for name in EFFECTS if name not in made]
