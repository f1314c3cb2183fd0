"""Tables of experiment 6: what each part of the network is worth, by taking it away.

Each variant is compared with the whole network under the same number of steps, the same seeds and the same windows.
Scores of seeds are averaged within a session first, then differences are paired by session; intervals and tests are by
animal (:mod:`neurohorizon.analysis.statistics`). A difference below zero is what is lost without the part.

Networks trained by teacher forcing alone forecast in parallel as the others do; what that training takes away is the
practice of going on from own draws. They are therefore compared as rollouts, with the rollout of the whole network, in
the windows that sample paths are drawn for.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from neurohorizon.ablations import ABLATIONS, FULL
from neurohorizon.analysis.statistics import bootstrap_mean, bootstrap_ratio, compare_paired, holm
from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    SESSION,
    Resampling,
    TableError,
    aligned,
    animal_names,
    counted,
    format_interval,
    horizon_ends_ms,
    write_table,
)
from neurohorizon.files import replacing
from neurohorizon.methods import AUTOREGRESSIVE, class_word
from neurohorizon.scores import bits_per_spike

ROLLOUT = f"_{AUTOREGRESSIVE}"


@dataclass(frozen=True)
class Comparison:
    """A comparison with the whole network.

    Attributes:
        variant: The ablation.
        method: Its rows in score files.
        against: Those of the whole network.
        declared: Whether it is one of the family that was declared beforehand.
    """

    variant: str
    method: str
    against: str
    declared: bool


_AS_ROLLOUT = [name for name, one in ABLATIONS.items() if AUTOREGRESSIVE in one.also]
COMPARISONS = (
    *(Comparison(name, name, FULL, True) for name in ABLATIONS if name not in _AS_ROLLOUT),
    *(Comparison(name, f"{name}{ROLLOUT}", f"{FULL}{ROLLOUT}", True) for name in _AS_ROLLOUT),
    *(Comparison(name, name, FULL, False) for name in _AS_ROLLOUT),
)
"""The declared family: one comparison for each ablation. Holm's adjustment is over those that a run can make. That of
teacher forcing in parallel stands outside of it, with no adjusted p."""

_METHOD = ["method", "class"]
_SAME_NATS = 1e-6  # sums of the same numbers in another order


def read_scores(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Sum score files over units, one file in memory at a time.

    Returns:
        One row per session, method, seed and horizon bin: fold, session, subject, lab, source, method, class, seed,
        horizon_bin, bin_us, units, windows, spikes, model_nats, reference_nats.

    Raises:
        TableError: No file has a score, or a session was scored twice by a method with the same seed.
    """
    key = [*SESSION, *_METHOD, "seed", "horizon_bin", "bin_us"]
    parts = []
    for path in paths:
        columns = [*key, "unit_id", "windows", "spikes", "model_nats", "reference_nats"]
        grouped = pd.read_parquet(path, columns=columns).groupby(key, sort=False, dropna=False)
        sums = grouped[["spikes", "model_nats", "reference_nats"]].sum()
        parts.append(sums.assign(units=grouped["unit_id"].nunique(), windows=grouped["windows"].max()).reset_index())
    scores = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if scores.empty:
        raise TableError("no session has a score: all were left out, or no score file was given")
    twice = scores.duplicated(key)
    if twice.any():
        row = scores[twice].iloc[0]
        raise TableError(f"session {row['session']} is scored twice by {row['method']} with seed {row['seed']}")
    return scores


def left_out_table(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Sessions without a score in any file, with the reason: session, reason."""
    found = {}
    for path in paths:
        metadata = pq.read_schema(path).metadata or {}
        found |= json.loads(metadata.get(b"left_out", b"{}"))
    return pd.DataFrame(sorted(found.items()), columns=["session", "reason"], dtype=str)


def session_table(scores: pd.DataFrame, last_ms: float = np.inf) -> pd.DataFrame:
    """Score of each session and method over all bins up to the end of a horizon, averaged over seeds.

    Returns:
        fold, session, subject, lab, source, method, class, null, bits_per_spike, spikes, windows, units, seeds, seed_sd
        (standard deviation of bits_per_spike between seeds; NaN with one).

    Raises:
        TableError: A method has other seeds, windows or units than the whole network decoded in the same way.
    """
    end_ms = (scores["horizon_bin"] + 1) * scores["bin_us"] / 1000
    inside = scores[end_ms <= last_ms]
    grouped = inside.groupby([*SESSION, *_METHOD, "seed"], sort=False, dropna=False)
    table = grouped.agg(
        **{name: (name, "sum") for name in ("spikes", "model_nats", "reference_nats")},
        **{name: (name, "max") for name in ("windows", "units")},
    ).reset_index()
    table["bits_per_spike"] = bits_per_spike(
        model_nats=table["model_nats"].to_numpy(),
        null_nats=table["reference_nats"].to_numpy(),
        spikes=table["spikes"].to_numpy(),
    )
    _require_the_same_task(table)
    seeds = table[table["spikes"] > 0].groupby([*SESSION, *_METHOD], sort=False)
    averaged = seeds.agg(
        bits_per_spike=("bits_per_spike", "mean"),
        **{name: (name, "first") for name in ("spikes", "windows", "units")},
        seeds=("bits_per_spike", "size"),
        seed_sd=("bits_per_spike", "std"),
    )
    return averaged.reset_index().assign(null=PRIMARY_NULL)


def difference_table(by_session: pd.DataFrame) -> pd.DataFrame:
    """Difference of each variant to the whole network in each session.

    Returns:
        fold, session, subject, lab, source, variant, method, against, class, declared, null, difference,
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
    """Mean difference of each variant to the whole network, with intervals and tests.

    Returns:
        variant, method, against, class, declared, null, difference, lower, upper, interval, p, p_holm (over the
        declared family), effect_size, sessions, animals, sessions_better, animals_better, bits_per_spike,
        against_bits_per_spike, share_kept with its bounds (mean score as a share of the whole network's; NaN where
        that gains nothing), seeds.
    """
    rows = []
    for one in COMPARISONS:
        of = differences[(differences["method"] == one.method) & (differences["against"] == one.against)]
        if of.empty:
            continue
        names = {"variant": one.variant, "method": one.method, "against": one.against, "class": of["class"].iloc[0]}
        found = compare_paired(
            of["bits_per_spike"],
            of["against_bits_per_spike"],
            animal_names(of),
            resampling.rng(),
            **resampling.options,
        )
        rows.append(
            names
            | {"declared": one.declared, "null": PRIMARY_NULL}
            | found.columns(resampling.interval)
            | {name: of[name].mean() for name in ("bits_per_spike", "against_bits_per_spike")}
            | _share_kept(of, resampling)
            | {"seeds": int(of["seeds"].min())}
        )
    if not rows:
        raise TableError("no ablation can be compared with the whole network: none was scored beside it")
    table = pd.DataFrame(rows)
    declared = table["declared"].to_numpy(bool)
    table.loc[declared, "p_holm"] = holm(table.loc[declared, "p"].to_numpy(dtype=float))
    return table


def summary_table(by_session: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean score of each method with its interval.

    Returns:
        method, class, null, bits_per_spike, lower, upper, interval, sessions, animals, windows, spikes, seeds, seed_sd
        (mean over sessions).
    """
    rows = []
    for (method, kind), of in by_session.groupby(_METHOD, sort=False):
        found = bootstrap_mean(
            of["bits_per_spike"].to_numpy(), animal_names(of), resampling.rng(), **resampling.options
        )
        row = {"method": method, "class": kind, "null": PRIMARY_NULL, "bits_per_spike": found.value}
        row |= {"lower": found.lower, "upper": found.upper, "interval": resampling.interval}
        row |= {"sessions": found.sessions, "animals": found.animals}
        row |= {name: int(of[name].sum()) for name in ("windows", "spikes")}
        rows.append(row | {"seeds": int(of["seeds"].min()), "seed_sd": of["seed_sd"].mean()})
    order = [FULL, f"{FULL}{ROLLOUT}", *(name for one in ABLATIONS for name in (one, f"{one}{ROLLOUT}"))]
    return pd.DataFrame(rows).sort_values(
        "method", key=lambda names: names.map(order.index), ignore_index=True, kind="stable"
    )


def horizon_table(scores: pd.DataFrame, horizons_ms: Sequence[float], resampling: Resampling) -> pd.DataFrame:
    """Mean difference to the whole network over all bins up to each horizon, declared comparisons alone.

    Returns:
        variant, method, against, class, null, last_ms, difference, lower, upper, interval, sessions, animals.
    """
    whole_ms = ((scores["horizon_bin"] + 1) * scores["bin_us"]).max() / 1000
    rows = []
    for last_ms in horizon_ends_ms(horizons_ms, whole_ms):
        differences = difference_table(session_table(scores, last_ms))
        declared = differences[differences["declared"]]
        key = ["variant", "method", "against", "class", "null"]
        for names, of in declared.groupby(key, sort=False):
            found = bootstrap_mean(
                of["difference"].to_numpy(), animal_names(of), resampling.rng(), **resampling.options
            )
            row = dict(zip(key, names, strict=True)) | {"last_ms": last_ms, "difference": found.value}
            row |= {"lower": found.lower, "upper": found.upper, "interval": resampling.interval}
            rows.append(row | {"sessions": found.sessions, "animals": found.animals})
    return pd.DataFrame(rows)


def make_tables(
    *, scores: Sequence[str | Path], horizons_ms: Sequence[float], folder: str | Path, resampling: Resampling
) -> None:
    """Write every table as Parquet and as TSV, and ``summary.txt`` for the terminal.

    Args:
        scores: Score files, one per fold, trained variant and seed.
        horizons_ms: Ends of the horizons that are told apart.
        folder: Where the tables go.
        resampling: How intervals are made.
    """
    folder, paths = Path(folder), sorted(map(Path, scores))
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
    for name, table in tables.items():
        write_table(table, folder, name)
    text = format_ablations(tables["ablations"], tables["summary"])
    with replacing(folder / "summary.txt") as path:
        path.write_text(text)


def format_ablations(ablations: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Differences to the whole network as text for a terminal."""
    interval = f"{ablations['interval'].iloc[0]:.0%} interval"
    rows = [("without", "class", "bits/spike", "whole", "difference", interval, "Holm p", "effect", "sessions better")]
    for row in ablations.to_dict("records"):
        rows.append(
            (
                row["method"],
                class_word(row["class"]),
                f"{row['bits_per_spike']:+.4f}",
                f"{row['against_bits_per_spike']:+.4f}",
                f"{row['difference']:+.4f}",
                format_interval(row["lower"], row["upper"]),
                "" if not row["declared"] else "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.3g}",
                "" if np.isnan(row["effect_size"]) else f"{row['effect_size']:+.2f}",
                f"{row['sessions_better']} of {row['sessions']}",
            )
        )
    full = summary[summary["method"] == FULL].iloc[0]
    return "\n".join(
        [
            f"Ablations; null: {PRIMARY_NULL}-window mean rate; {counted(full['sessions'], 'session')}, "
            f"{counted(full['animals'], 'animal')}, {counted(full['seeds'], 'seed')}",
            "",
            *aligned(rows),
            "",
            "Below zero is what is lost without the part. Zero-shot: trained without it; control: tampered with at "
            "the forecast; fitted: fitted to the session.",
            f"Rows that end in {ROLLOUT[1:]} compare rollouts with the rollout of the whole network.",
            "",
        ]
    )


def _require_the_same_task(table: pd.DataFrame) -> None:
    """Check that each method was asked the same as the whole network, by the same decoding and with the same seeds."""
    by_method = {method: rows.set_index([*SESSION, "seed"]) for method, rows in table.groupby("method", sort=False)}
    columns = ["windows", "units", "spikes", "reference_nats"]
    for method, rows in by_method.items():
        against = f"{FULL}{ROLLOUT}" if method.endswith(ROLLOUT) else FULL
        if against not in by_method:
            raise TableError(f"{method} was scored without {against} to compare it with; make its scores anew")
        whole = by_method[against]
        if set(rows.index) != set(whole.index):
            index = next(iter(set(rows.index) ^ set(whole.index)))
            raise TableError(
                f"{method} and {against} do not have the same sessions and seeds: one lacks session {index[1]} with "
                f"seed {index[-1]}; make the scores of both anew"
            )
        first, second = rows[columns], whole[columns].reindex(rows.index)
        differs = ~np.isclose(first.to_numpy(float), second.to_numpy(float), rtol=_SAME_NATS, atol=0)
        if differs.any():
            row, column = np.argwhere(differs)[0]
            raise TableError(
                f"{method} and {against} were not asked the same: {columns[column]} of session "
                f"{first.index[row][1]} is {first.iloc[row, column]:g} and {second.iloc[row, column]:g}; "
                "make the scores of both anew"
            )


def _share_kept(of: pd.DataFrame, resampling: Resampling) -> dict[str, float]:
    names = ("share_kept", "share_kept_lower", "share_kept_upper")
    if not of["against_bits_per_spike"].mean() > 0:
        return dict.fromkeys(names, np.nan)  # no share of nothing
    found = bootstrap_ratio(
        of["bits_per_spike"].to_numpy(),
        of["against_bits_per_spike"].to_numpy(),
        animal_names(of),
        resampling.rng(),
        **resampling.options,
    )
    return dict(zip(names, (found.value, found.lower, found.upper), strict=True))
