"""Sentences on experiment 1 for notebook and report, each decided by the numbers, whether they are good or bad."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import ALL_SOURCES, PRIMARY_NULL, over_all_sources, read_tables, smallest_adjusted_p
from neurohorizon.analysis.wording import (
    SIGNIFICANT,
    adjusted_p_text,
    against_zero,
    bullets,
    few_animals,
    influence_sentence,
    interval_text,
    outcome,
    paragraphs,
    prose,
    scope_sentence,
)
from neurohorizon.methods import (
    ADAPTIVE,
    CEILING,
    CONTROL,
    DECODINGS,
    FITTED,
    FORECASTER,
    OWN_HISTORY_READOUT,
    UPPER_BOUND,
    ZERO_SHOT,
    method_phrase,
)
from neurohorizon.printed_names import counted

SMALL_GAIN = 0.01
"""Gain in bits per spike below which texts call a part of the network small."""
_OUTSIDE = {
    ZERO_SHOT: "Other zero-shot methods, outside of the declared family:",
    FITTED: "Methods that fit the forecast session, which NeuroHorizon never does:",
    CONTROL: (
        "Controls, the same weights with disrupted identities: they show how much NeuroHorizon relies on unit "
        "identity, not the score of a network trained without it:"
    ),
}


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    table = read_tables(folder, "summary", "comparisons", "horizon", "left_out", "unit_influence", "network")
    return paragraphs(
        prose(describe_result(table["summary"]), describe_data(table["summary"], table["left_out"])),
        influence_sentence(table["unit_influence"]),
        prose(describe_family(table["comparisons"]), describe_sources(table["summary"])),
        describe_encoder(table["comparisons"], present=bool(table["network"]["population_encoder"][0])),
        describe_adaptive(table["summary"], table["comparisons"]),
        describe_horizon(table["horizon"]),
    )


def describe_data(summary: pd.DataFrame, left_out: pd.DataFrame) -> str:
    """Amount of data, and the scope of the results."""
    shown = over_all_sources(_primary(summary))
    animals = int(shown["animals"].max())
    return prose(
        f"{counted(shown['sessions'].max(), 'held-out session')} of {counted(animals, 'animal')} were forecast.",
        scope_sentence(shown),
        f"{counted(len(left_out), 'session')} could not be used (listed at the end)." if len(left_out) else "",
        few_animals(animals),
    )


def describe_result(summary: pd.DataFrame) -> str:
    """The forecaster's mean score, relative to zero and to the ceiling."""
    shown = over_all_sources(_primary(summary)).set_index("method")
    if FORECASTER not in shown.index:
        return "This run has no NeuroHorizon forecast."
    row = shown.loc[FORECASTER]
    text = (
        f"NeuroHorizon scores **{row['bits_per_spike']:+.3f} bits/spike** relative to the reference-window mean rate, "
        f"as a mean over sessions ({interval_text(row)}; all spikes pooled: {row['pooled']:+.3f}; mean "
        f"over units: {row['unit_mean']:+.3f}). "
        f"{against_zero(row, 'the null')}"
    )
    share = row.get("share_of_oracle", np.nan)
    if np.isfinite(share):
        ceiling = shown.loc[shown["class"] == CEILING, "bits_per_spike"].iloc[0]
        text += f" That is **{share:.0%}** of the score of the true rates ({ceiling:+.3f})."
    closed = row.get("gap_closed", np.nan)
    if np.isfinite(closed):
        text += (
            f" It closes {closed:.0%} of the gap between the reference mean and {method_phrase(UPPER_BOUND)} "
            f"({shown.loc[UPPER_BOUND, 'bits_per_spike']:+.3f})."
        )
    static = shown[(shown["class"] == ZERO_SHOT) & (shown.index != ADAPTIVE)]
    best = static["bits_per_spike"].idxmax()
    if best != FORECASTER:
        value = shown.loc[best, "bits_per_spike"]
        text += f" The best static zero-shot method of this run is {method_phrase(best)} ({value:+.3f})."
    return text


def describe_sources(summary: pd.DataFrame) -> str:
    """The forecaster's score by source of the recordings; "" with one source."""
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
    p = f" ({found})" if (found := adjusted_p_text(row, "")) else ""
    return (
        f"Against **{second}**, {first} {direction} {abs(row['difference']):.3f} bits/spike ({interval_text(row)}), "
        f"better in {row['sessions_better']} of {counted(row['sessions'], 'session')} and {row['animals_better']} of "
        f"{counted(row['animals'], 'animal')}{p}. {against_zero(row, second)}"
    )


def describe_comparisons(comparisons: pd.DataFrame) -> str:
    """The declared comparisons as a list."""
    declared = comparisons[comparisons["declared"].astype(bool)]
    missing = "No declared comparison can be made: NeuroHorizon or every baseline is missing."
    if smallest_adjusted_p(declared) >= SIGNIFICANT:
        declared = declared.drop(columns="p_holm")
    return bullets([describe_comparison(row) for _, row in declared.iterrows()], missing)


def describe_family(comparisons: pd.DataFrame) -> str:
    """The declared comparisons in a few sentences: numbers of outcomes, and the best baseline."""
    declared = comparisons[comparisons["declared"].astype(bool)]
    if declared.empty:
        return describe_comparisons(comparisons)
    better, worse = int((declared["lower"] > 0).sum()), int((declared["upper"] < 0).sum())
    row = declared.loc[declared["difference"].idxmin()]
    holm = declared["p_holm"].dropna()
    smallest = smallest_adjusted_p(declared)
    text = (
        f"Of the {len(declared)} declared comparisons with other zero-shot methods the interval lies above zero in "
        f"{better}, below in {worse} and includes zero in {len(declared) - better - worse}"
    )
    if smallest >= SIGNIFICANT:
        animals = counted(declared["animals"].max(), "animal")
        text += f"; with {animals} no Holm-adjusted p can be below {smallest:.2g}, so none is given"
        row = row.drop("p_holm")
    elif len(holm):
        text += f"; the Holm-adjusted p is below {SIGNIFICANT:g} in {int((holm < SIGNIFICANT).sum())}"
    return f"{text}. The closest baseline is {method_phrase(row['against'])}. {describe_comparison(row)}"


def describe_encoder(comparisons: pd.DataFrame, *, present: bool = True) -> str:
    """The gain of the network over the same network without its population encoder; "" without that network.

    Args:
        comparisons: Table of the forecaster against each method.
        present: Whether the network has the encoder.
    """
    if not present:
        return (
            "This network has **no population encoder** (`model.population: false`): the other units enter in closed "
            "form only."
        )
    rows = comparisons[(comparisons["method"] == FORECASTER) & (comparisons["against"] == OWN_HISTORY_READOUT)]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    simpler = "a network without encoder (`model.population: false`) is the simpler choice."
    text = (
        f"The **population encoder** adds {row['difference']:+.3f} bits/spike ({interval_text(row)}) to "
        f"{method_phrase(OWN_HISTORY_READOUT)}, which reads the population in closed form only."
    )
    found = outcome(row)
    if found == "worse":
        text += f" It lowers the score: {simpler}"
    elif found != "better":
        text += f" A gain cannot be shown: {simpler}"
    elif row["difference"] < SMALL_GAIN:
        text += f" This is less than {SMALL_GAIN:g}: most of what the population adds passes through the closed form."
    return text


def describe_adaptive(summary: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The adaptive mixture's score, and the method that it beats by the least; "" without it."""
    shown = over_all_sources(_primary(summary)).set_index("method")
    rows = comparisons[comparisons["method"] == ADAPTIVE]
    if ADAPTIVE not in shown.index or rows.empty:
        return ""
    mean = shown.loc[ADAPTIVE]
    closest = rows.loc[rows["difference"].idxmin()]
    return (
        f"The **adaptive mixture** of all zero-shot methods, which weighs them by outcomes that are complete, scores "
        f"**{mean['bits_per_spike']:+.3f} bits/spike** ({interval_text(mean)}). The closest of its experts is "
        f"{method_phrase(closest['against'])}. {describe_comparison(closest)}"
    )


def describe_others(comparisons: pd.DataFrame) -> str:
    """Comparisons outside of the declared family as lists, by class; "" if there are none."""
    others = comparisons[~comparisons["declared"].astype(bool) & (comparisons["against_class"] != CEILING)]
    others = others[others["method"] == FORECASTER]
    parts = []
    for kind, heading in _OUTSIDE.items():
        rows = others[others["against_class"] == kind]
        if len(rows):
            parts += [heading, bullets([describe_comparison(row) for _, row in rows.iterrows()], "")]
    return paragraphs(*parts)


def describe_horizon(horizon: pd.DataFrame) -> str:
    """Bins in which the forecaster is above the null, and bins in which another zero-shot method is better."""
    shown = _primary(horizon)
    curve = shown[shown["method"] == FORECASTER].set_index("horizon_ms")
    if curve.empty:
        return "This run has no NeuroHorizon forecast."
    first, last = curve.iloc[0], curve.iloc[-1]
    text = (
        f"From the first bin ({curve.index[0]:g} ms: {first['bits_per_spike']:+.3f} bits/spike) to the last "
        f"({curve.index[-1]:g} ms: {last['bits_per_spike']:+.3f})"
    )
    above = curve[curve["lower"] > 0]
    if curve["lower"].isna().all():
        text += "; without intervals it is open in which bins it is above the null."
    elif len(above) == len(curve):
        text += ", the interval lies above the null in every bin."
    else:
        text += f", the interval lies above the null in {len(above)} of {counted(len(curve), 'bin')}."
    ours = [FORECASTER, ADAPTIVE, "reference_mean", *DECODINGS]
    others = shown[(shown["class"] == ZERO_SHOT) & ~shown["method"].isin(ours)]
    if others.empty:
        return text
    best = others.pivot(index="horizon_ms", columns="method", values="bits_per_spike")
    behind = curve["bits_per_spike"] < best.max(axis=1).reindex(curve.index)
    if not behind.any():
        return f"{text} Its mean is at least that of every other zero-shot method in every bin."
    better = sorted(set(best.loc[behind[behind].index].idxmax(axis=1)))
    return (
        f"{text} Its mean is below that of another zero-shot method ({', '.join(map(method_phrase, better))}) in "
        f"{int(behind.sum())} of {counted(len(curve), 'bin')}, at {behind[behind].index[0]:g} ms first."
    )


def _primary(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["null"] == PRIMARY_NULL]
