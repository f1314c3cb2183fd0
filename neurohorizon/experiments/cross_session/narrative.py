"""Sentences for the notebook, each decided by the numbers in it: what did not work is said as plainly as what did."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import ALL_SOURCES, PRIMARY_NULL, claim, counted, over_all_sources
from neurohorizon.analysis.wording import FEW_ANIMALS, SIGNIFICANT, against_zero, interval_text
from neurohorizon.methods import CEILING, CONTROL, DECODINGS, FITTED, FORECASTER, UPPER_BOUND, ZERO_SHOT, method_phrase

_OUTSIDE = {
    ZERO_SHOT: "Other zero-shot methods, not among those declared:",
    FITTED: "Methods that fit the session that is forecast, which NeuroHorizon never does:",
    CONTROL: (
        "Controls, the same weights with tampered identities: they show how far NeuroHorizon relies on knowing its "
        "units, not what a network would reach that was trained without:"
    ),
}


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    names = ("summary", "comparisons", "horizon", "left_out")
    table = {name: pd.read_parquet(Path(folder) / f"{name}.parquet") for name in names}
    first = f"{describe_result(table['summary'])} {describe_data(table['summary'], table['left_out'])}"
    second = f"{describe_family(table['comparisons'])} {describe_sources(table['summary'])}"
    return "\n\n".join([first, second.rstrip(), describe_horizon(table["horizon"])])


def describe_data(summary: pd.DataFrame, left_out: pd.DataFrame) -> str:
    """How much data the numbers stand on, and what they can claim."""
    shown = over_all_sources(_primary(summary))
    sessions, animals = int(shown["sessions"].max()), int(shown["animals"].max())
    sentences = [
        f"{counted(sessions, 'held-out session')} of {counted(animals, 'animal')} were forecast.",
        claim(shown),
    ]
    if len(left_out):
        sentences.append(f"{counted(len(left_out), 'session')} could not be used (listed at the end).")
    if animals == 1:
        sentences.append("One animal gives no interval: the means below describe it and nothing beyond it.")
    elif animals < FEW_ANIMALS:
        sentences.append(
            f"With {animals} animals the intervals are coarse and no test by animal can give a p below "
            f"{2.0 ** (1 - animals):.2g}, whatever the data: they show whether the animals agree."
        )
    return " ".join(sentences)


def describe_result(summary: pd.DataFrame) -> str:
    """The forecaster's mean score, against zero and against the ceiling."""
    shown = over_all_sources(_primary(summary)).set_index("method")
    if FORECASTER not in shown.index:
        return "This run has no NeuroHorizon forecast."
    row = shown.loc[FORECASTER]
    text = (
        f"NeuroHorizon scores **{row['bits_per_spike']:+.3f} bits/spike** over the reference-window mean rate, as "
        f"a mean over sessions ({interval_text(row)}; all spikes pooled: {row['pooled']:+.3f}). "
        f"{against_zero(row, 'the null')}"
    )
    share = row.get("share_of_oracle", np.nan)
    if np.isfinite(share):
        ceiling = shown.loc[shown["class"] == CEILING, "bits_per_spike"].iloc[0]
        text += f" That is **{share:.0%}** of what the true rates reach ({ceiling:+.3f})."
    closed = row.get("gap_closed", np.nan)
    if np.isfinite(closed):
        text += (
            f" It closes {closed:.0%} of the gap between the reference mean and {method_phrase(UPPER_BOUND)} "
            f"({shown.loc[UPPER_BOUND, 'bits_per_spike']:+.3f})."
        )
    best = shown[shown["class"] == ZERO_SHOT]["bits_per_spike"].idxmax()
    if best != FORECASTER:
        score = f"({shown.loc[best, 'bits_per_spike']:+.3f})"
        text += f" The best zero-shot method of this run is {method_phrase(best)} {score}."
    return text


def describe_sources(summary: pd.DataFrame) -> str:
    """The forecaster's score by source of the recordings; "" where there is one source."""
    shown = _primary(summary)
    shown = shown[(shown["source"] != ALL_SOURCES) & (shown["method"] == FORECASTER)]
    parts = [
        f"{row['bits_per_spike']:+.3f} in {counted(row['sessions'], 'session')} of {counted(row['animals'], 'animal')} "
        f"of source {row['source']} ({interval_text(row)})"
        for _, row in shown.iterrows()
    ]
    return f"By source: {'; '.join(parts)}." if parts else ""


def describe_comparison(row: pd.Series) -> str:
    """One row of the table of comparisons as a sentence."""
    first, second = method_phrase(row["method"]), method_phrase(row["against"])
    direction = "gains" if row["difference"] >= 0 else "loses"
    text = (
        f"Against **{second}**, {first} {direction} {abs(row['difference']):.3f} bits/spike ({interval_text(row)}), "
        f"better in {row['sessions_better']} of {counted(row['sessions'], 'session')} and {row['animals_better']} of "
        f"{counted(row['animals'], 'animal')}"
    )
    if not np.isnan(row["p_holm"]):
        text += f" (Holm p = {row['p_holm']:.2g})"
    return f"{text}. {against_zero(row, second)}"


def describe_comparisons(comparisons: pd.DataFrame) -> str:
    """The declared comparisons as a list."""
    declared = comparisons[comparisons["declared"].astype(bool)]
    if declared.empty:
        return "No declared comparison can be made: NeuroHorizon or every baseline is missing."
    return "\n".join(f"- {describe_comparison(row)}" for _, row in declared.iterrows())


def describe_family(comparisons: pd.DataFrame) -> str:
    """The declared comparisons in a few sentences: how many say what, and the closest rival."""
    declared = comparisons[comparisons["declared"].astype(bool)]
    if declared.empty:
        return describe_comparisons(comparisons)
    better, worse = int((declared["lower"] > 0).sum()), int((declared["upper"] < 0).sum())
    row = declared.loc[declared["difference"].idxmin()]
    holm = declared["p_holm"].dropna()
    text = (
        f"Of the {len(declared)} declared comparisons with other zero-shot methods the interval lies above zero in "
        f"{better}, below in {worse} and includes zero in {len(declared) - better - worse}"
    )
    if len(holm):
        text += f"; Holm-adjusted, p is below {SIGNIFICANT:g} in {int((holm < SIGNIFICANT).sum())}"
    return f"{text}. The closest rival is {method_phrase(row['against'])}. {describe_comparison(row)}"


def describe_others(comparisons: pd.DataFrame) -> str:
    """Comparisons outside of the declared family as a list, by what they say; "" where there are none."""
    others = comparisons[~comparisons["declared"].astype(bool) & (comparisons["against_class"] != CEILING)]
    parts = []
    for kind, heading in _OUTSIDE.items():
        rows = others[others["against_class"] == kind]
        if len(rows):
            parts.append(f"{heading}\n\n" + "\n".join(f"- {describe_comparison(row)}" for _, row in rows.iterrows()))
    return "\n\n".join(parts)


def describe_horizon(horizon: pd.DataFrame) -> str:
    """How far ahead the forecaster knows something, and where it falls behind the best baseline."""
    shown = _primary(horizon)
    curve = shown[shown["method"] == FORECASTER].set_index("horizon_ms")
    if curve.empty:
        return "This run has no NeuroHorizon forecast."
    first, last = curve.iloc[0], curve.iloc[-1]
    text = (
        f"From the first bin ({curve.index[0]:g} ms: {first['bits_per_spike']:+.3f} bits/spike) to the last "
        f"({curve.index[-1]:g} ms: {last['bits_per_spike']:+.3f})"
    )
    known = curve[curve["lower"] > 0]
    if curve["lower"].isna().all():
        text += "; there are no intervals to say where it is above the null."
    elif len(known) == len(curve):
        text += ", the interval lies above the null in every bin."
    else:
        text += f", the interval lies above the null in {len(known)} of {counted(len(curve), 'bin')}."
    others = shown[(shown["class"] == ZERO_SHOT) & ~shown["method"].isin([FORECASTER, "reference_mean", *DECODINGS])]
    if len(others):
        best = others.pivot(index="horizon_ms", columns="method", values="bits_per_spike")
        behind = curve["bits_per_spike"] < best.max(axis=1).reindex(curve.index)
        if behind.any():
            rivals = sorted(set(best.loc[behind[behind].index].idxmax(axis=1)))
            text += (
                f" Its mean is below that of another zero-shot method ({', '.join(map(method_phrase, rivals))}) in "
                f"{int(behind.sum())} of {counted(len(curve), 'bin')}, at {behind[behind].index[0]:g} ms first."
            )
        else:
            text += " Its mean is at least that of every other zero-shot method in every bin."
    return text


def _primary(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["null"] == PRIMARY_NULL]
