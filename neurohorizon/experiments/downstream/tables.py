"""Tables of downstream decoding, from the scores of sessions; seeds are averaged within a session first."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.statistics import bootstrap_mean, compare_paired, holm
from neurohorizon.analysis.tables import Resampling, aligned, animal_names, format_interval, write_table
from neurohorizon.experiments.downstream.names import (
    CLASS,
    HELDOUT,
    LATENTS,
    METHOD_ORDER,
    METHOD_WORDS,
    NORMALISED,
    POYO_LATENTS,
    RAW,
    ROLE_WORDS,
    ROLES,
    TARGET_WORDS,
)
from neurohorizon.files import replacing

CHANCE = "chance"
"""What a score is compared with where it is not another representation's."""
DECLARED_AGAINST = (CHANCE, NORMALISED, RAW, POYO_LATENTS)
"""The comparisons that were declared beforehand: the latents of animals never seen in training against each of these,
for each target. Holm's adjustment is over those that a run can make. POYO itself learned from other labels than the
probes, and what reference rates add to counts is no claim about the network: these stand apart, without p."""
SESSION = ["fold", "role", "session", "subject", "lab", "source"]
_WHAT = ["target", "method", "class", "metric", "null"]


def session_table(scores: Sequence[str | Path]) -> pd.DataFrame:
    """One row for each session, target, method and seed; rows without a score say why in ``left_out``."""
    table = pd.concat([pd.read_parquet(path) for path in scores], ignore_index=True)
    return _ordered(table, ["role", "fold", "session", "target", "method", "seed"])


def scored(sessions: pd.DataFrame) -> pd.DataFrame:
    """Scores of the sessions that have one, averaged over seeds."""
    rows = sessions[sessions["left_out"] == ""]
    means = ["score", "chance", "chance_upper", "auc"]
    firsts = ["windows", "positive", "units", "inputs"]
    grouped = rows.groupby([*SESSION, *_WHAT], sort=False)
    found = grouped.agg(dict.fromkeys(means, "mean") | dict.fromkeys(firsts, "first"))
    return found.assign(seeds=grouped.size()).reset_index()


def summary_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Means over sessions with intervals by animal: one row for each role, target and method.

    ``above_chance`` is the mean of what a session's score exceeds its own chance by; ``sessions_above`` counts the
    sessions whose score exceeds all but one in twenty of those against shifted labels (of the wheel: exceeds 0).
    """
    rows = []
    for (role, *what), one in scored(sessions).groupby(["role", *_WHAT], sort=False):
        animals = animal_names(one)
        mean = bootstrap_mean(one["score"].to_numpy(), animals, resampling.rng(), **resampling.options)
        above = bootstrap_mean(
            (one["score"] - one["chance"]).to_numpy(), animals, resampling.rng(), **resampling.options
        )
        rows.append(
            {"role": role, **dict(zip(_WHAT, what, strict=True))}
            | {"score": mean.value, "lower": mean.lower, "upper": mean.upper, "interval": resampling.interval}
            | {"chance": one["chance"].mean(), "above_chance": above.value}
            | {"above_chance_lower": above.lower, "above_chance_upper": above.upper}
            | {"sessions_above": int((one["score"] > one["chance_upper"]).sum()), "auc": one["auc"].mean()}
            | {"sessions": mean.sessions, "animals": mean.animals, "seeds": int(one["seeds"].min())}
            | {"windows": one["windows"].mean(), "units": one["units"].mean(), "inputs": one["inputs"].mean()}
        )
    columns = ["role", *_WHAT, "score", "lower", "upper", "interval", "chance", "above_chance", "above_chance_lower"]
    columns += ["above_chance_upper", "sessions_above", "auc", "sessions", "animals", "seeds"]
    columns += ["windows", "units", "inputs"]
    return _ordered(pd.DataFrame(rows, columns=columns), ["role", "target", "method"])


def comparison_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Paired differences by session: the latents against chance and every other method, and counts among themselves.

    ``p_holm`` is adjusted over the declared family and missing outside of it.
    """
    rows = []
    for (role, target), one in scored(sessions).groupby(["role", "target"], sort=False):
        wide = one.pivot(index=SESSION, columns="method", values="score").reset_index()
        chance = one[one["method"] == LATENTS].set_index(SESSION)["chance"].rename(CHANCE)
        wide = wide.join(chance, on=SESSION)
        pairs = [(LATENTS, against) for against in (CHANCE, *METHOD_ORDER) if against != LATENTS]
        for method, against in [*pairs, (NORMALISED, RAW)]:
            if not {method, against} <= set(wide):
                continue
            both = wide.dropna(subset=[method, against])
            if both.empty:
                continue
            found = compare_paired(
                both[method].to_numpy(),
                both[against].to_numpy(),
                animal_names(both),
                resampling.rng(),
                **resampling.options,
            )
            declared = role == HELDOUT and method == LATENTS and against in DECLARED_AGAINST
            row = {"role": role, "target": target, "method": method, "against": against, "class": CLASS}
            row |= {"metric": one["metric"].iloc[0], "null": one["null"].iloc[0]}
            rows.append(row | found.columns(resampling.interval) | {"declared": declared})
    columns = ["role", "target", "method", "against", "class", "metric", "null", "difference", "lower", "upper"]
    columns += ["interval", "p", "p_holm", "effect_size", "sessions", "animals", "sessions_better", "animals_better"]
    table = _ordered(pd.DataFrame(rows, columns=[*columns, "declared"]), ["role", "target"])
    declared = table["declared"].astype(bool)
    table["p"] = table["p"].astype(float).where(declared)
    table["p_holm"] = np.nan
    table.loc[declared, "p_holm"] = holm(table.loc[declared, "p"].to_numpy(dtype=float))
    return table


def left_out_table(sessions: pd.DataFrame) -> pd.DataFrame:
    """What could not be decoded, and why: one row for each session, target and reason."""
    out = sessions[sessions["left_out"] != ""]
    columns = [*SESSION, "target", "left_out"]
    grouped = out.groupby(columns, sort=False)["method"].agg(lambda names: " ".join(dict.fromkeys(names)))
    return grouped.reset_index()[[*SESSION, "target", "method", "left_out"]]


def format_summary(summary: pd.DataFrame, comparisons: pd.DataFrame, left_out: pd.DataFrame, interval: float) -> str:
    """Write the summary for a terminal."""
    if summary.empty:
        return "nothing could be decoded; left_out.tsv says why\n"
    lines = [
        "What can be read from the same context, by probes nested over blocks of time (class fitted: fitted on labels)"
    ]
    for role in ROLES:
        shown = summary[summary["role"] == role]
        if shown.empty:
            continue
        heads = ("target", "read from", "score", f"{interval:.0%} interval", "chance", "above", "sessions", "animals")
        rows = [heads]
        for row in shown.to_dict("records"):
            score = f"{row['score']:+.3f}" if row["metric"] == "R2" else f"{row['score']:.3f}"
            rows.append(
                (
                    TARGET_WORDS[row["target"]],
                    METHOD_WORDS[row["method"]],
                    score,
                    format_interval(row["lower"], row["upper"]),
                    f"{row['chance']:.3f}",
                    f"{row['sessions_above']} of {row['sessions']}",
                    str(row["sessions"]),
                    str(row["animals"]),
                )
            )
        lines += ["", f"{ROLE_WORDS[role].capitalize()}:", *aligned(rows)]
    declared = comparisons[comparisons["declared"].astype(bool)]
    if len(declared):
        rows = [("latents against", "target", "difference", f"{interval:.0%} interval", "Holm p", "sessions better")]
        for row in declared.to_dict("records"):
            rows.append(
                (
                    METHOD_WORDS.get(row["against"], row["against"]),
                    TARGET_WORDS[row["target"]],
                    f"{row['difference']:+.3f}",
                    format_interval(row["lower"], row["upper"]),
                    "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.3g}",
                    f"{row['sessions_better']} of {row['sessions']}",
                )
            )
        lines += ["", "Declared comparisons, on animals never seen in training:", *aligned(rows)]
    lines += [
        "",
        "Trials: balanced accuracy; chance is the mean score against labels shifted within the blocks of time, and",
        "above are sessions whose score exceeds 19 in 20 of those. Wheel: R2 over the mean of what is scored.",
    ]
    if len(left_out):
        lines.append(f"Left out: {left_out['session'].nunique()} sessions for some target; left_out.tsv says why.")
    return "\n".join(lines) + "\n"


def make_tables(*, scores: Sequence[Path], resampling: Resampling, folder: Path) -> None:
    """Write every table, as Parquet and TSV, and the summary as text."""
    sessions = session_table(sorted(scores))
    summary = summary_table(sessions, resampling)
    comparisons = comparison_table(sessions, resampling)
    left_out = left_out_table(sessions)
    for name, table in (
        ("sessions", sessions),
        ("summary", summary),
        ("comparisons", comparisons),
        ("left_out", left_out),
    ):
        write_table(table, Path(folder), name)
    with replacing(Path(folder) / "summary.txt") as path:
        path.write_text(format_summary(summary, comparisons, left_out, resampling.interval))


def _ordered(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    orders = {"role": ROLES, "target": tuple(TARGET_WORDS), "method": METHOD_ORDER}

    def key(column: pd.Series) -> pd.Series:
        places = {name: place for place, name in enumerate(orders.get(column.name, ()))}
        return column.map(places) if places else column

    return table.sort_values(by, key=key, kind="stable", ignore_index=True)
