"""Tables of experiment 6: contribution of each component of the network, measured by removing it.

Each variant is compared with the full network under the same number of steps, the same seeds and the same windows.
Scores of seeds are averaged within a session first, then differences are paired by session; intervals and tests are
over animals (:mod:`neurohorizon.analysis.statistics`). A difference below zero is the loss without the component.

Networks trained by teacher forcing only forecast in parallel as the others do; that training only removes the practice
on the network's own draws. They are therefore compared as rollouts, with the rollout of the full network, in the
windows of the sample paths.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from neurohorizon.ablations import ABLATIONS, FULL
from neurohorizon.analysis.tables import (
    METHOD,
    PRIMARY_NULL,
    SESSION,
    Cell,
    Resampling,
    TableError,
    class_cell,
    comparison_cells,
    end_ms,
    grouped_rows,
    horizon_ends_ms,
    ordered,
    over_seeds,
    score,
    text_table,
    with_holm,
    write_tables,
)
from neurohorizon.methods import AUTOREGRESSIVE
from neurohorizon.printed_names import counted

ROLLOUT = f"_{AUTOREGRESSIVE}"
_AS_ROLLOUT = [name for name, one in ABLATIONS.items() if AUTOREGRESSIVE in one.also]


@dataclass(frozen=True)
class Comparison:
    """A comparison with the full network.

    Attributes:
        variant: The ablation.
        method: Its rows in score files.
        against: Those of the full network.
        declared: Whether it is in the family that was declared in advance.
    """

    variant: str
    method: str
    against: str
    declared: bool


COMPARISONS = (
    *(Comparison(name, name, FULL, True) for name in ABLATIONS if name not in _AS_ROLLOUT),
    *(Comparison(name, f"{name}{ROLLOUT}", f"{FULL}{ROLLOUT}", True) for name in _AS_ROLLOUT),
    *(Comparison(name, name, FULL, False) for name in _AS_ROLLOUT),
)
"""The declared family: one comparison for each ablation. Holm's adjustment is over those that a run can make. That of
teacher forcing in parallel is outside of it, with no adjusted p."""

_SAME_NATS = 1e-6  # sums of the same numbers in another order


def read_scores(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Sum score files over units, one file in memory at a time.

    Returns:
        One row per session, method, seed and horizon bin: fold, session, subject, lab, source, method, class, seed,
        horizon_bin, bin_us, units, windows, spikes, model_nats, reference_nats.

    Raises:
        TableError: No file has a score, or a session was scored twice by a method with the same seed.
    """
    key = [*SESSION, *METHOD, "seed", "horizon_bin", "bin_us"]
    parts = []
    for path in paths:
        columns = [*key, "unit_id", "windows", "spikes", "model_nats", "reference_nats"]
        grouped = pd.read_parquet(path, columns=columns).groupby(key, sort=False, dropna=False)
        sums = grouped[["spikes", "model_nats", "reference_nats"]].sum()
        parts.append(sums.assign(units=grouped["unit_id"].nunique(), windows=grouped["windows"].max()).reset_index())
    scores = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if scores.empty:
        raise TableError("no session has a score: all sessions were left out, or no file of sums was given")
    twice = scores.duplicated(key)
    if twice.any():
        row = scores[twice].iloc[0]
        raise TableError(f"session {row['session']} is scored twice by {row['method']} with seed {row['seed']}")
    return scores


def left_out_table(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Sessions without a score in any file, with the reason: session, reason."""
    found = {}
    for path in paths:
        found |= json.loads((pq.read_schema(path).metadata or {}).get(b"left_out", b"{}"))
    return pd.DataFrame(sorted(found.items()), columns=["session", "reason"], dtype=str)


def session_table(scores: pd.DataFrame, last_ms: float = np.inf) -> pd.DataFrame:
    """Score of each session and method over all bins up to the end of a horizon, averaged over seeds.

    Columns: fold, session, subject, lab, source, method, class, null, bits_per_spike, spikes, windows, units, seeds,
    seed_sd (standard deviation of bits_per_spike between seeds; NaN with one).

    Raises:
        TableError: A method has other seeds, windows or units than the full network in the same forecast mode.
    """
    grouped = scores[end_ms(scores) <= last_ms].groupby([*SESSION, *METHOD, "seed"], sort=False, dropna=False)
    table = grouped.agg(
        **{name: (name, "sum") for name in ("spikes", "model_nats", "reference_nats")},
        **{name: (name, "max") for name in ("windows", "units")},
    ).reset_index()
    table["bits_per_spike"] = score(table)
    _require_the_same_task(table)
    firsts = {name: (name, "first") for name in ("spikes", "windows", "units")}
    return over_seeds(table[table["spikes"] > 0], [*SESSION, *METHOD], **firsts).assign(null=PRIMARY_NULL)


def difference_table(by_session: pd.DataFrame) -> pd.DataFrame:
    """Difference of each variant to the full network in each session.

    Columns: fold, session, subject, lab, source, variant, method, against, class, declared, null, difference,
    bits_per_spike, against_bits_per_spike, seeds.
    """
    parts = []
    for one in COMPARISONS:
        first, second = (by_session[by_session["method"] == name] for name in (one.method, one.against))
        kept = second[[*SESSION, "bits_per_spike"]].rename(columns={"bits_per_spike": "against_bits_per_spike"})
        both = first.merge(kept, on=SESSION)
        both["difference"] = both["bits_per_spike"] - both["against_bits_per_spike"]
        parts.append(both.assign(variant=one.variant, against=one.against, declared=one.declared))
    columns = [*SESSION, "variant", "method", "against", "class", "declared", "null", "difference"]
    return pd.concat(parts, ignore_index=True)[[*columns, "bits_per_spike", "against_bits_per_spike", "seeds"]]


def ablation_table(differences: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean difference of each variant to the full network, with intervals and tests.

    Columns: variant, method, against, class, declared, null, difference, lower, upper, interval, p, p_holm (over the
    declared family), effect_size, sessions, animals, sessions_better, animals_better, bits_per_spike,
    against_bits_per_spike, share_kept with its bounds (mean score as a share of the full network's; NaN if that gains
    nothing), seeds.

    Raises:
        TableError: There is no comparison.
    """
    if differences.empty:
        raise TableError("no ablation can be compared with the full network: none was scored on the same sessions")

    def row(pairs: pd.DataFrame) -> dict[str, object]:
        scores = [pairs[name] for name in ("bits_per_spike", "against_bits_per_spike")]
        return (
            (resampling.compare(pairs, scores[0].name, scores[1].name) or {})
            | {values.name: values.mean() for values in scores}
            | resampling.share("share_kept", pairs, *scores)
            | {"seeds": int(pairs["seeds"].min())}
        )

    table = grouped_rows(differences, ["variant", "method", "against", "class", "declared", "null"], row)
    return with_holm(table, table["declared"])


def summary_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean score of each method with its interval.

    Columns: method, class, null, bits_per_spike, lower, upper, interval, sessions, animals, windows, spikes, seeds,
    seed_sd (mean over sessions).
    """

    def row(rows: pd.DataFrame) -> dict[str, object]:
        found = resampling.mean_row(rows) | {name: int(rows[name].sum()) for name in ("windows", "spikes")}
        return found | {"seeds": int(rows["seeds"].min()), "seed_sd": rows["seed_sd"].mean()}

    order = [f"{name}{mode}" for name in (FULL, *ABLATIONS) for mode in ("", ROLLOUT)]
    return ordered(grouped_rows(by_session, [*METHOD, "null"], row), ["method"], method=order)


def horizon_table(scores: pd.DataFrame, horizons_ms: Sequence[float], resampling: Resampling) -> pd.DataFrame:
    """Mean difference to the full network over all bins up to each horizon, declared comparisons only.

    Columns: variant, method, against, class, null, last_ms, difference, lower, upper, interval, sessions, animals.
    """
    parts = []
    for last_ms in horizon_ends_ms(horizons_ms, end_ms(scores).max()):
        differences = difference_table(session_table(scores, last_ms))
        parts.append(differences[differences["declared"]].assign(last_ms=last_ms))
    by = ["variant", "method", "against", "class", "null", "last_ms"]
    return grouped_rows(pd.concat(parts), by, lambda rows: resampling.mean_row(rows, "difference"))


def make_tables(
    *, scores: Sequence[str | Path], horizons_ms: Sequence[float], folder: str | Path, resampling: Resampling
) -> None:
    """Write every table as Parquet and as TSV, and ``summary.txt`` for the terminal.

    Args:
        scores: Score files, one per fold, trained variant and seed.
    """
    paths = sorted(map(Path, scores))
    sums = read_scores(paths)
    by_session = session_table(sums)
    differences = difference_table(by_session)
    tables = {
        "ablations": ablation_table(differences, resampling),
        "summary": summary_table(by_session, resampling),
        "differences": differences,
        "horizons": horizon_table(sums, horizons_ms, resampling),
        "sessions": by_session,
        "left_out": left_out_table(paths),
    }
    write_tables(tables, folder, format_ablations(tables["ablations"], tables["summary"]))


def format_ablations(ablations: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """Differences to the full network as lines of text for a terminal."""
    interval = f"{ablations['interval'].iloc[0]:.0%} interval"
    full = summary[summary["method"] == FULL].iloc[0]
    columns: dict[str, Cell] = {"without": "{method}", "class": class_cell, "bits/spike": "{bits_per_spike:+.4f}"}
    columns |= {"full": "{against_bits_per_spike:+.4f}"} | comparison_cells(interval, "difference")
    return [
        f"Ablations; null: {PRIMARY_NULL}-window mean rate; {counted(full['sessions'], 'session')}, "
        f"{counted(full['animals'], 'animal')}, {counted(full['seeds'], 'seed')}",
        *text_table(ablations, columns | {"effect": "{effect_size:+.2f}"}),
        "",
        "A difference below zero is the loss without the component. Zero-shot: trained without it; control: "
        "disrupted at forecast time; fitted: fitted to the session.",
        f"Rows that end in {ROLLOUT[1:]} compare rollouts with the rollout of the full network.",
    ]


def _require_the_same_task(table: pd.DataFrame) -> None:
    """Check that each method has the windows and seeds of the full network in the same forecast mode."""
    by_method = {method: rows.set_index([*SESSION, "seed"]) for method, rows in table.groupby("method", sort=False)}
    columns = ["windows", "units", "spikes", "reference_nats"]
    for method, rows in by_method.items():
        against = f"{FULL}{ROLLOUT}" if method.endswith(ROLLOUT) else FULL
        if against not in by_method:
            raise TableError(f"{method} was scored without {against} to compare it with. Rerun score_point for it")
        full = by_method[against]
        if set(rows.index) != set(full.index):
            index = next(iter(set(rows.index) ^ set(full.index)))
            raise TableError(
                f"{method} and {against} do not have the same sessions and seeds: one lacks session {index[1]} with "
                f"seed {index[-1]}. Rerun score_point for both"
            )
        first, second = rows[columns], full[columns].reindex(rows.index)
        differs = ~np.isclose(first.to_numpy(float), second.to_numpy(float), rtol=_SAME_NATS, atol=0)
        if differs.any():
            row, column = np.argwhere(differs)[0]
            raise TableError(
                f"{method} and {against} were scored on different data: {columns[column]} of session "
                f"{first.index[row][1]} is {first.iloc[row, column]:g} and {second.iloc[row, column]:g}. "
                "Rerun score_point for both"
            )
