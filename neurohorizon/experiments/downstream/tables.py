"""Tables of downstream decoding, from the scores of sessions; seeds are averaged within a session first."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from neurohorizon.analysis.tables import (
    COMPARED,
    Cell,
    Resampling,
    comparison_cells,
    grouped_rows,
    interval_cell,
    ordered,
    text_table,
    with_holm,
    write_tables,
)
from neurohorizon.methods import FITTED

LATENTS, RAW, NORMALISED = "latents", "raw_counts", "normalised_counts"
FORECAST_MODES, POPULATION_MODES = "forecast_modes", "population_modes"
POYO, POYO_LATENTS = "poyo", "poyo_latents"
METHOD_ORDER = (LATENTS, FORECAST_MODES, POPULATION_MODES, NORMALISED, RAW, POYO_LATENTS, POYO)
"""Order of representations in tables and figures."""
METHOD_WORDS = {
    LATENTS: "NeuroHorizon's latents",
    FORECAST_MODES: "NeuroHorizon's forecast modes",
    POPULATION_MODES: "population modes",
    NORMALISED: "counts over reference rates",
    RAW: "raw counts",
    POYO_LATENTS: "POYO's latents",
    POYO: "POYO itself",
}
TARGET_WORDS = {
    "choice": "choice",
    "reward": "reward",
    "stimulus_side": "stimulus side",
    "block": "block",
    "wheel_velocity": "wheel velocity",
    "wheel_speed": "wheel speed",
}
"""Order and words of the decoded targets."""
CLASS = FITTED
"""Every decoder is fitted on labels of the session that it decodes."""
HELDOUT, TRAIN = "heldout", "train"
ROLES = (HELDOUT, TRAIN)
"""Roles of a session in the fold, as in the cohort table."""
ROLE_WORDS = {HELDOUT: "animals never seen in training", TRAIN: "training animals"}
CHANCE = "chance"
"""Name of the comparison with chance."""
DECLARED_AGAINST = (CHANCE, NORMALISED, RAW, POYO_LATENTS)
"""The comparisons that were declared in advance: the latents of animals never seen in training against each of these,
for each target. Holm's adjustment is over those that a run can make. Two comparisons are outside of the family and get
no p: POYO, which was trained on other labels than the probes, and normalised against raw counts, which does not concern
the network."""
SESSION = ["fold", "role", "session", "subject", "lab", "source"]
_WHAT = ["target", "method", "class", "metric", "null"]


def session_table(scores: Sequence[str | Path]) -> pd.DataFrame:
    """One row for each session, target, method and seed; rows without a score have the reason in ``left_out``."""
    table = pd.concat([pd.read_parquet(path) for path in scores], ignore_index=True)
    return _ordered(table, "role", "fold", "session", "target", "method", "seed")


def scored(sessions: pd.DataFrame) -> pd.DataFrame:
    """Scores of the sessions that have one, averaged over seeds."""
    rows = sessions[sessions["left_out"] == ""]
    means = ["score", "chance", "chance_upper", "auc"]
    firsts = ["windows", "positive", "units", "inputs"]
    grouped = rows.groupby([*SESSION, *_WHAT], sort=False)
    found = grouped.agg(dict.fromkeys(means, "mean") | dict.fromkeys(firsts, "first"))
    return found.assign(seeds=grouped.size()).reset_index()


def summary_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Means over sessions with intervals over animals: one row for each role, target and method.

    ``above_chance`` is the mean over sessions of the score minus the session's own chance; ``sessions_above`` counts
    the sessions whose score exceeds 19 of 20 scores against shifted labels (of the wheel: exceeds 0).
    """

    def row(one: pd.DataFrame) -> dict[str, object]:
        return (
            resampling.mean_row(one, "score")
            | {"chance": one["chance"].mean()}
            | resampling.mean_bounds("above_chance", one, one["score"] - one["chance"])
            | {"sessions_above": int((one["score"] > one["chance_upper"]).sum()), "auc": one["auc"].mean()}
            | {"seeds": int(one["seeds"].min())}
            | {name: one[name].mean() for name in ("windows", "units", "inputs")}
        )

    table = grouped_rows(scored(sessions), ["role", *_WHAT], row)
    if table.empty:
        columns = ["role", *_WHAT, "score", "lower", "upper", "interval", "sessions", "animals", "chance"]
        columns += ["above_chance", "above_chance_lower", "above_chance_upper", "sessions_above", "auc", "seeds"]
        return pd.DataFrame(columns=[*columns, "windows", "units", "inputs"])
    return _ordered(table, "role", "target", "method")


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
            found = resampling.compare(wide, method, against)
            if found:
                declared = role == HELDOUT and method == LATENTS and against in DECLARED_AGAINST
                row = {"role": role, "target": target, "method": method, "against": against, "class": CLASS}
                row |= {"metric": one["metric"].iloc[0], "null": one["null"].iloc[0]}
                rows.append(row | found | {"declared": declared})
    columns = ["role", "target", "method", "against", "class", "metric", "null", *COMPARED, "declared"]
    table = _ordered(pd.DataFrame(rows, columns=columns), "role", "target")
    declared = table["declared"].astype(bool)
    table["p"] = table["p"].astype(float).where(declared)
    return with_holm(table, declared)


def left_out_table(sessions: pd.DataFrame) -> pd.DataFrame:
    """Targets that could not be decoded: one row for each session, target and reason."""
    out = sessions[sessions["left_out"] != ""]
    columns = [*SESSION, "target", "left_out"]
    grouped = out.groupby(columns, sort=False)["method"].agg(lambda names: " ".join(dict.fromkeys(names)))
    return grouped.reset_index()[[*SESSION, "target", "method", "left_out"]]


def format_summary(
    summary: pd.DataFrame, comparisons: pd.DataFrame, left_out: pd.DataFrame, interval: float
) -> list[str]:
    """The summary and the declared comparisons as lines of text for a terminal."""
    if summary.empty:
        return ["nothing could be decoded; left_out.tsv has the reasons"]
    bounds = f"{interval:.0%} interval"
    target: dict[str, Cell] = {"target": lambda row: TARGET_WORDS[row["target"]]}
    columns = target | {
        "decoded from": lambda row: METHOD_WORDS[row["method"]],
        "score": lambda row: f"{row['score']:{'+' if row['metric'] == 'R2' else ''}.3f}",
        bounds: interval_cell(),
        "chance": "{chance:.3f}",
        "above": "{sessions_above} of {sessions}",
        "sessions": "{sessions}",
        "animals": "{animals}",
    }
    lines = [
        "Decoding from the same context, by probes nested over blocks of time (class fitted: fitted on labels of the "
        "session)"
    ]
    for role in ROLES:
        rows = text_table(summary[summary["role"] == role], columns)
        lines += ["", f"{ROLE_WORDS[role].capitalize()}:", *rows[1:]] if rows else []
    declared = comparisons[comparisons["declared"].astype(bool)]
    against: dict[str, Cell] = {"latents against": lambda row: METHOD_WORDS.get(row["against"], row["against"])}
    rows = text_table(declared, against | target | comparison_cells(bounds, "difference", digits=3))
    lines += ["", "Declared comparisons, on animals never seen in training:", *rows[1:]] if rows else []
    lines += [
        "",
        "Trials: balanced accuracy; chance is the mean score against labels shifted within the blocks of time, and",
        "above are sessions whose score exceeds 19 of 20 of those. Wheel: R2 relative to the mean label.",
    ]
    if len(left_out):
        number = left_out["session"].nunique()
        lines.append(f"Left out: {number} sessions for some target; left_out.tsv has the reasons.")
    return lines


def make_tables(*, scores: Sequence[Path], resampling: Resampling, folder: Path) -> None:
    """Write every table, as Parquet and TSV, and the summary as text."""
    sessions = session_table(sorted(scores))
    tables = {
        "sessions": sessions,
        "summary": summary_table(sessions, resampling),
        "comparisons": comparison_table(sessions, resampling),
        "left_out": left_out_table(sessions),
    }
    shown = [tables[name] for name in ("summary", "comparisons", "left_out")]
    write_tables(tables, folder, format_summary(*shown, resampling.interval))


def _ordered(table: pd.DataFrame, *by: str) -> pd.DataFrame:
    return ordered(table, by, role=ROLES, target=tuple(TARGET_WORDS), method=METHOD_ORDER)
