"""Tables of decoded behaviour: R2 of each session and decoder, and their means with intervals by animal."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.statistics import bootstrap_mean, compare_paired
from neurohorizon.analysis.tables import Resampling, aligned, format_interval, write_table
from neurohorizon.experiments.downstream.decoding_file import Decoding, r2, read_decodings
from neurohorizon.files import replacing
from neurohorizon.methods import FITTED, class_word

POYO = "poyo"
METHOD_ORDER = (POYO, "latent_probe", "forecast_probe", "count_ridge")
"""Order of decoders in tables and figures."""
METHOD_WORDS = {
    POYO: "POYO",
    "latent_probe": "ridge on NeuroHorizon's latents",
    "forecast_probe": "ridge on NeuroHorizon's forecasts",
    "count_ridge": "ridge on counts",
}
CLASS = FITTED
"""Every decoder is fitted on labels of the session that it decodes."""
SESSION = ["fold", "part", "session", "subject", "lab", "source", "target", "unit"]
PART_WORDS = {
    "validation": "held-out time of training sessions",
    "test": "new sessions, from the same labelled seconds",
}


def session_table(decodings: Sequence[Decoding]) -> pd.DataFrame:
    """Score each decoding: one row for each fold, session, decoder and seed; those left out say why and have no score.

    ``r2`` weighs channels by their variance; ``r2_by_channel`` has each of them.
    """
    rows = []
    for one in decodings:
        by_channel = [r2(one.observed[:, [channel]], one.predicted[:, [channel]]) for channel in _channels(one)]
        rows.append(
            {name: getattr(one, name) for name in SESSION}
            | {"method": one.method, "class": CLASS, "seed": one.seed}
            | {"windows": len(one.origin_us), "labelled_s": one.labelled_s, "saw": one.saw, "chosen": one.chosen}
            | {"r2": r2(one.observed, one.predicted), "r2_by_channel": " ".join(f"{value:.4f}" for value in by_channel)}
            | {"left_out": one.left_out}
        )
    table = pd.DataFrame(rows)
    unscored = table["r2"].isna() & (table["left_out"] == "")
    table.loc[unscored, "left_out"] = "the labels that would be scored never change"
    order = table["method"].map({name: place for place, name in enumerate(METHOD_ORDER)})
    return table.assign(order=order).sort_values(["part", "fold", "session", "order", "seed"]).drop(columns="order")


def summary_table(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Average over sessions, seeds first: one row for each part and decoder.

    ``above_zero`` counts sessions of which the decoder says more than their mean. ``difference`` is POYO less the
    decoder, over the sessions that both decode.
    """
    scored = sessions[sessions["left_out"] == ""]
    keys = ["part", "method", "class", "target", "fold", "session", "subject"]
    scored = scored.groupby(keys, as_index=False)[["r2", "labelled_s"]].mean()
    rows = []
    for part, of_part in scored.groupby("part", sort=False):
        poyo = of_part[of_part["method"] == POYO].set_index(["fold", "session"])["r2"]
        for method in [name for name in METHOD_ORDER if name in set(of_part["method"])]:
            one = of_part[of_part["method"] == method]
            mean = bootstrap_mean(one["r2"].to_numpy(), one["subject"].tolist(), resampling.rng(), **resampling.options)
            row = {"part": part, "method": method, "class": CLASS, "target": one["target"].iloc[0]}
            row |= {"r2": mean.value, "lower": mean.lower, "upper": mean.upper}
            row |= {"sessions": mean.sessions, "animals": mean.animals, "above_zero": int((one["r2"] > 0).sum())}
            row |= {"labelled_s": one["labelled_s"].mean()}
            both = one.set_index(["fold", "session"]).join(poyo.rename("poyo"), how="inner")
            row |= {"difference": np.nan, "difference_lower": np.nan, "difference_upper": np.nan, "poyo_better": 0}
            if method != POYO and len(both):
                gain = compare_paired(
                    both["poyo"].to_numpy(),
                    both["r2"].to_numpy(),
                    both["subject"].tolist(),
                    resampling.rng(),
                    **resampling.options,
                )
                row |= {"difference": gain.difference.value, "difference_lower": gain.difference.lower}
                row |= {"difference_upper": gain.difference.upper, "poyo_better": gain.sessions_better}
            rows.append(row)
    columns = ["part", "method", "class", "target", "r2", "lower", "upper", "sessions", "animals", "above_zero"]
    columns += ["labelled_s", "difference", "difference_lower", "difference_upper", "poyo_better"]
    return pd.DataFrame(rows, columns=columns)


def format_summary(summary: pd.DataFrame, sessions: pd.DataFrame, interval: float) -> str:
    """Write the summary for a terminal."""
    lines = []
    for part, words in PART_WORDS.items():
        shown = summary[summary["part"] == part]
        if shown.empty:
            continue
        rows = [("decoder", "class", "R2", f"{interval:.0%} interval", "sessions", "above 0", "labelled s")]
        for row in shown.to_dict("records"):
            rows.append(
                (
                    METHOD_WORDS[row["method"]],
                    class_word(row["class"]),
                    f"{row['r2']:+.3f}",
                    format_interval(row["lower"], row["upper"]),
                    str(row["sessions"]),
                    str(row["above_zero"]),
                    f"{row['labelled_s']:.0f}",
                )
            )
        lines += [f"Decoding of {shown['target'].iloc[0]} at the end of the context, {words}:", *aligned(rows), ""]
    out = sessions[sessions["left_out"] != ""].drop_duplicates(["fold", "part", "session"])
    lines += [f"left out: {row['session']} ({row['part']}): {row['left_out']}" for row in out.to_dict("records")]
    return "\n".join(lines).rstrip() + "\n" if lines else "nothing was decoded\n"


def make_tables(*, decodings: Sequence[Path], resampling: Resampling, folder: Path) -> None:
    """Write both tables, as Parquet and TSV, and the summary as text."""
    sessions = session_table(read_decodings(decodings))
    summary = summary_table(sessions, resampling)
    write_table(sessions, folder, "sessions")
    write_table(summary, folder, "summary")
    with replacing(folder / "summary.txt") as path:
        path.write_text(format_summary(summary, sessions, resampling.interval))


def _channels(one: Decoding) -> range:
    return range(one.observed.shape[1] if one.observed.size else 0)
