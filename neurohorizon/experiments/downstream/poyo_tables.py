"""Tables of decoded behaviour: R2 of each session and decoder, and their means with intervals over animals."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from neurohorizon.analysis.tables import (
    Cell,
    Resampling,
    bounds,
    class_cell,
    interval_cell,
    ordered,
    text_table,
    write_tables,
)
from neurohorizon.experiments.downstream.decoding_file import (
    ASSOCIATION,
    COUNT,
    EXCHANGED_ASSOCIATION,
    FORECAST,
    FORECAST_MODE,
    LATENT,
    POPULATION_MODE,
    POYO,
    RELATIVE_FORECAST,
    Decoding,
    r2,
    read_decodings,
)
from neurohorizon.methods import CONTROL, FITTED

METHOD_WORDS = {
    POYO: "POYO",
    LATENT: "ridge on NeuroHorizon's latents",
    FORECAST: "ridge on NeuroHorizon's forecasts",
    RELATIVE_FORECAST: "ridge on its forecasts relative to local rates",
    FORECAST_MODE: "ridge on its forecasts in population modes",
    POPULATION_MODE: "ridge on population modes",
    ASSOCIATION: "ridge on counts by association profile",
    COUNT: "ridge on counts",
    EXCHANGED_ASSOCIATION: "ridge on counts by exchanged profiles",
}
METHOD_ORDER = tuple(METHOD_WORDS)
"""Order of decoders in tables and figures."""
CLASSES = {name: CONTROL if name == EXCHANGED_ASSOCIATION else FITTED for name in METHOD_ORDER}
"""Class of each decoder: all are fitted on labels of the session that they decode."""
SESSION = ["fold", "part", "session", "subject", "lab", "source", "target", "unit"]
PART_WORDS = {
    "validation": "held-out time of training sessions",
    "test": "new sessions, from the same labelled seconds",
}


def session_table(decodings: Sequence[Decoding]) -> pd.DataFrame:
    """Score each decoding: one row for each fold, session, decoder and seed; excluded ones have a reason and no score.

    ``r2`` weighs channels by their variance; ``r2_by_channel`` has each of them.
    """
    rows = []
    for one in decodings:
        channels = range(one.observed.shape[1] if one.observed.size else 0)
        by_channel = [r2(one.observed[:, [channel]], one.predicted[:, [channel]]) for channel in channels]
        rows.append(
            {name: getattr(one, name) for name in SESSION}
            | {"method": one.method, "class": CLASSES[one.method], "seed": one.seed}
            | {"windows": len(one.origin_us), "labelled_s": one.labelled_s, "saw": one.saw, "chosen": one.chosen}
            | {"r2": r2(one.observed, one.predicted), "r2_by_channel": " ".join(f"{value:.4f}" for value in by_channel)}
            | {"left_out": one.left_out}
        )
    table = pd.DataFrame(rows)
    unscored = table["r2"].isna() & (table["left_out"] == "")
    table.loc[unscored, "left_out"] = "the labels to score are constant"
    return ordered(table, ["part", "fold", "session", "method", "seed"], method=METHOD_ORDER)


def summary_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Average over sessions, seeds first: one row for each part and decoder.

    ``above_zero`` counts sessions with an R2 above zero. ``difference`` is POYO minus the decoder, over the sessions
    that both decode.
    """
    scored = sessions[sessions["left_out"] == ""]
    keys = ["part", "method", "class", "target", "fold", "session", "lab", "subject"]
    scored = scored.groupby(keys, as_index=False)[["r2", "labelled_s"]].mean()
    rows = []
    for part, of_part in scored.groupby("part", sort=False):
        names = ["fold", "session", "lab", "subject"]
        wide = of_part.pivot(index=names, columns="method", values="r2").reset_index()
        for method in [name for name in METHOD_ORDER if name in wide]:
            one = of_part[of_part["method"] == method]
            row = {"part": part, "method": method, "class": CLASSES[method], "target": one["target"].iloc[0]}
            row |= resampling.mean_row(one, "r2")
            row |= {"above_zero": int((one["r2"] > 0).sum()), "labelled_s": one["labelled_s"].mean()}
            found = resampling.compare(wide, POYO, method) if method != POYO else None
            row |= bounds("difference", None) | {"poyo_better": 0}
            if found:
                row |= {"difference": found["difference"], "poyo_better": found["sessions_better"]}
                row |= {f"difference_{name}": found[name] for name in ("lower", "upper")}
            rows.append(row)
    columns = ["part", "method", "class", "target", "r2", "lower", "upper", "sessions", "animals", "above_zero"]
    columns += ["labelled_s", "difference", "difference_lower", "difference_upper", "poyo_better"]
    return pd.DataFrame(rows, columns=columns)


def format_summary(summary: pd.DataFrame, sessions: pd.DataFrame, interval: float) -> list[str]:
    """The summary as lines of text for a terminal."""
    columns: dict[str, Cell] = {
        "decoder": lambda row: METHOD_WORDS[row["method"]],
        "class": class_cell,
        "R2": "{r2:+.3f}",
        f"{interval:.0%} interval": interval_cell(),
        "sessions": "{sessions}",
        "above 0": "{above_zero}",
        "labelled s": "{labelled_s:.0f}",
    }
    lines = []
    for part, words in PART_WORDS.items():
        shown = summary[summary["part"] == part]
        if len(shown):
            title = f"Decoding of {shown['target'].iloc[0]} at the end of the context, {words}:"
            lines += [title, *text_table(shown, columns)[1:], ""]
    out = sessions[sessions["left_out"] != ""].drop_duplicates(["fold", "part", "session"])
    lines += [f"left out: {row['session']} ({row['part']}): {row['left_out']}" for row in out.to_dict("records")]
    return lines or ["nothing was decoded"]


def make_tables(*, decodings: Sequence[Path], resampling: Resampling, folder: Path) -> None:
    """Write both tables, as Parquet and TSV, and the summary as text."""
    sessions = session_table(read_decodings(decodings))
    summary = summary_table(sessions, resampling)
    lines = format_summary(summary, sessions, resampling.interval)
    write_tables({"sessions": sessions, "summary": summary}, folder, lines)
