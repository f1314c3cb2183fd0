"""The description of released weights: what they were trained on, and what they scored on held-out recordings."""

import json
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import PRIMARY_NULL, over_all_sources
from neurohorizon.config import Release, ReleasedData
from neurohorizon.files import replacing
from neurohorizon.methods import ZERO_SHOT
from neurohorizon.session import read_identity
from neurohorizon.starting_weights import Start, start_data
from neurohorizon.units.reference import read_reference

QUANTILES = (0.005, 0.5, 0.995)
"""Quantiles of a feature over training units: the ends of its training range, and its median."""
WINDOW = "test"
"""Reference window of a training session from which the ranges are computed: the one of forecasts."""


class ReleaseError(ValueError):
    """Weights that cannot be released; the message gives what was found, what was expected and what to do."""


def describe_release(
    *,
    sessions: Sequence[Path],
    features: Sequence[Path],
    summary: Path,
    release: Release,
    start: Start | None,
    command: str,
    output: Path,
) -> None:
    """Write the description of released weights as JSON; see ``neurohorizon.forecasts.release.About``.

    Args:
        sessions: Training sessions of the weights.
        features: Their feature files, in the same order.
        summary: Table ``summary.parquet`` of experiment 1, with the scores of held-out recordings.
        release: The section ``release`` of the configuration.
        start: Released weights that the training started from; their data are listed too.
        command: Command that makes the weights.
        output: JSON file.

    Raises:
        ReleaseError: A training session belongs to no entry, or to several entries, of ``release.data``.
        StartError: The weights that the training started from do not list their data.
    """
    identities = [read_identity(path) for path in sessions]
    used = [pair for pair in zip(identities, features, strict=True) if not pair[0]["left_out"]]
    about = {
        **{key: value for key, value in release.model_dump(mode="json").items() if key not in ("data", "held_out")},
        "data": _data([identity for identity, _ in used], release.data) + ([] if start is None else start_data(start)),
        "feature_range": _ranges([path for _, path in used]),
        "scores": _scores(pd.read_parquet(summary), release.held_out),
        "made_by": command,
    }
    with replacing(output) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")


def _data(sessions: Sequence[dict[str, str]], entries: Sequence[ReleasedData]) -> list[dict[str, object]]:
    """Return each data set with its number of training sessions and animals."""
    recordings: Counter[str] = Counter()
    animals: dict[str, set[str]] = {one.name: set() for one in entries}
    for session in sessions:
        of = [one.name for one in entries if any(fnmatchcase(session["session"], name) for name in one.sessions)]
        if len(of) != 1:
            raise ReleaseError(
                f"the training session {session['session']} belongs to {of or 'no entry'} of release.data; expected "
                "one: correct the patterns, so that its licence and citation are on the card"
            )
        recordings[of[0]] += 1
        animals[of[0]].add(session["subject"])
    return [
        {
            "name": one.name,
            "recordings": recordings[one.name],
            "animals": len(animals[one.name]),
            "licence": one.licence,
            "citation": one.citation,
        }
        for one in entries
        if recordings[one.name]
    ]


def _ranges(features: Sequence[Path]) -> dict[str, list[float]]:
    """Return :data:`QUANTILES` of each feature over the units of the training sessions."""
    windows = [read_reference(path, WINDOW) for path in features]
    values = np.concatenate([one.values for one in windows])
    quantiles = np.quantile(values.astype(np.float64), QUANTILES, axis=0)
    return {name: of.tolist() for name, of in zip(windows[0].names, quantiles.T, strict=True)}


def _scores(summary: pd.DataFrame, held_out: str) -> list[dict[str, object]]:
    """Return scores of zero-shot methods over all held-out sessions, best first."""
    rows = over_all_sources(summary)
    rows = rows[(rows["null"] == PRIMARY_NULL) & (rows["class"] == ZERO_SHOT)]
    rows = rows.sort_values("bits_per_spike", ascending=False, kind="stable")
    return [
        {
            "method": row.method,
            "bits_per_spike": float(row.bits_per_spike),
            "low": float(row.lower),
            "high": float(row.upper),
            "sessions": int(row.sessions),
            "null": PRIMARY_NULL,
            "heldout": held_out,
        }
        for row in rows.itertuples()
    ]
