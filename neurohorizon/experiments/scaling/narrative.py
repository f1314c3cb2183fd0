"""Sentences on the scaling experiment, each decided by the numbers."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import read_tables, whole_horizon
from neurohorizon.analysis.wording import (
    adjusted_p_text,
    few_animals,
    format_interval,
    interval_text,
    outcome,
    paragraphs,
    prose,
)
from neurohorizon.experiments.scaling.laws import NEGLIGIBLE_AICC
from neurohorizon.experiments.scaling.tables import (
    MORE_PARAMETERS,
    MORE_SESSIONS,
    RUN,
    SAME_LAB,
    SAME_REGION,
    sessions_text,
)
from neurohorizon.printed_names import counted

_LAWS = {
    "power": "a power law",
    "saturating": "an exponential approach",
    "log_linear": "the logarithm of the number",
    "constant": "a constant",
}
_READ = ("curve", "fits", "predictions", "comparisons", "own_lab", "parameters", "arms", "left_out")


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from the folder of its tables."""
    table = read_tables(folder, *_READ)
    return paragraphs(
        prose(
            describe_run(table["curve"], table["left_out"]),
            describe_curve(table["curve"], table["comparisons"]),
            describe_laws(table["fits"]),
            describe_prediction(table["predictions"]),
        ),
        prose(
            describe_arms(table["comparisons"], table["own_lab"], table["arms"]),
            describe_parameters(table["parameters"], table["comparisons"]),
        ),
    )


def describe_run(curve: pd.DataFrame, left_out: pd.DataFrame) -> str:
    """Training and test data."""
    whole = whole_horizon(curve)
    sizes = ", ".join(sessions_text(size) for size in whole["sessions_trained"])
    of_folds = "" if (whole["sessions_trained"] % 1 == 0).all() else " (a mean over the folds)"
    animals = int(whole["animals"].max())
    return prose(
        f"Networks were trained on {sizes} sessions, with {counted(whole['draws'].max(), 'draw')} of each number "
        f"except the last, which is all sessions{of_folds}, and {counted(whole['seeds'].max(), 'seed')}.",
        f"All forecast the same {counted(whole['sessions'].max(), 'held-out session')} of "
        f"{counted(animals, 'animal')}.",
        few_animals(animals),
        f"{counted(len(left_out), 'session')} could not be used." if len(left_out) else "",
    )


def describe_curve(curve: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The score with the fewest sessions and with all, and their difference."""
    whole = whole_horizon(curve)
    first, last = whole.iloc[0], whole.iloc[-1]
    text = (
        f"From {sessions_text(first['sessions_trained'])} training sessions to "
        f"{sessions_text(last['sessions_trained'])} the score changes from {first['bits_per_spike']:+.3f} to "
        f"**{last['bits_per_spike']:+.3f} bits/spike** relative to the reference-window mean rate"
    )
    found = comparisons[comparisons["comparison"] == MORE_SESSIONS]
    if found.empty:
        return f"{text}."
    row = found.iloc[0]
    return (
        f"{text}, a difference of {row['difference']:+.3f} ({interval_text(row)}{adjusted_p_text(row, '; ')}), "
        f"higher in {row['sessions_better']} of {counted(row['sessions'], 'session')}. {_verdict(row)}"
    )


def describe_laws(fits: pd.DataFrame) -> str:
    """The law that fits best, laws that fit nearly as well, and the power law's parameters."""
    whole = whole_horizon(fits)
    best = whole[whole["best"]]
    if best.empty:
        return "There are too few points to compare laws."
    best = best.iloc[0]
    near = whole[(whole["law"] != best["law"]) & (whole["delta_aicc"] <= NEGLIGIBLE_AICC)]["law"]
    text = f"By AICc {_LAWS[best['law']]} fits best"
    if len(near):
        text += f", but cannot be distinguished from {' or '.join(_LAWS[law] for law in near)}"
    power = whole[whole["law"] == "power"]
    if power.empty:
        return f"{text}. There are too few sizes for a power law."
    power = power.iloc[0]
    if power["not_identified"]:
        return f"{text}. The exponent and the limit of a power law are **not identified**: {power['not_identified']}."
    limits = {name: format_interval(power[f"{name}_lower"], power[f"{name}_upper"]) for name in ("alpha", "B")}
    return (
        f"{text}. The power law rises to **{power['B']:+.3f}** bits/spike ({limits['B']}) with an exponent of "
        f"**{power['alpha']:.2f}** ({limits['alpha']})."
    )


def describe_prediction(predictions: pd.DataFrame) -> str:
    """Prediction of the top by the law that fits the smaller sizes best, compared with the observed score."""
    whole = whole_horizon(predictions)
    chosen = whole[whole["chosen"].astype(bool)]
    if chosen.empty:
        return "There are too few sizes to predict the top one from the others."
    row = chosen.iloc[0]
    text = (
        f"Fitted to at most {sessions_text(row['fitted_up_to'])} sessions, {_LAWS[row['law']]} (the best by AICc "
        f"there) predicts {row['predicted']:+.3f} for {sessions_text(row['top'])}; {row['observed']:+.3f} was observed"
    )
    if pd.isna(row["holds"]):
        return f"{text}, and without an interval the prediction cannot be tested."
    text += f", a difference of {row['difference']:+.3f} ({interval_text(row, 'difference')}, over the same animals)"
    if row["holds"]:
        return f"{text}: the prediction **holds**."
    side = "more" if row["difference"] > 0 else "less"
    return f"{text}, {side} than predicted: the prediction **fails**."


def describe_arms(comparisons: pd.DataFrame, own_lab: pd.DataFrame, arms: pd.DataFrame) -> str:
    """Effect of the choice of training sessions; "" if there is only the random one."""
    rows = comparisons.set_index("comparison")
    sentences = []
    size = sessions_text(arms["sessions_trained"].iloc[0]) if len(arms) else ""
    if SAME_LAB in rows.index:
        row = rows.loc[SAME_LAB]
        labs = arms.loc[arms["arm"] == SAME_LAB, "labs_trained"].iloc[0]
        where = "one lab" if labs == 1 else f"the smallest sufficient number of labs ({labs:.1f} on average)"
        sentences.append(
            f"The same number of sessions ({size}) from {where} instead of random ones changes the score by "
            f"{_change(row)}. {_verdict(row)}"
        )
        parts = own_lab.set_index("heldout_lab")
        if {"own", "other"} <= set(parts.index):
            sentences.append(
                f"The change is {_change(parts.loc['own'])} for held-out sessions of that lab, and "
                f"{_change(parts.loc['other'])} for those of others."
            )
    if SAME_REGION in rows.index:
        row = rows.loc[SAME_REGION]
        matched = arms.loc[arms["arm"] == SAME_REGION].iloc[0]
        distance, random = matched["region_distance"], matched["region_distance_of_random"]
        sentences.append(
            f"Sessions with the brain regions of the held-out ones change it by {_change(row)}. {_verdict(row)}"
        )
        if np.isfinite(random):
            sentences.append(
                f"For identical regions {distance:.0%} of their units would have to be elsewhere, and {random:.0%} of "
                "those of random ones."
            )
    return prose(*sentences)


def describe_parameters(parameters: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """Effect of more parameters on the same sessions; "" with one size."""
    rows = comparisons.set_index("comparison")
    if MORE_PARAMETERS not in rows.index:
        return ""
    row = rows.loc[MORE_PARAMETERS]
    whole = whole_horizon(parameters).set_index("name")
    best = whole["bits_per_spike"].idxmax()
    most, fewest = (
        f"{_network(name)}, {whole.loc[name, 'parameters'] / 1e6:.3g} million" for name in (row["what"], row["against"])
    )
    return (
        f"On the same {sessions_text(whole['sessions_trained'].iloc[0])} sessions the network with the most parameters "
        f"({most}) differs from that with the fewest ({fewest}) by {_change(row)}. {_verdict(row)} The highest "
        f"mean is that of {_network(best)}."
    )


def describe_parts(curve: pd.DataFrame) -> str:
    """Effect of training sessions in each part of the horizon."""
    parts = []
    for last_ms, rows in curve.groupby("last_ms"):
        first, last = rows.sort_values("sessions_trained")["bits_per_spike"].iloc[[0, -1]]
        parts.append(f"{last - first:+.3f} up to {last_ms:g} ms (from {first:+.3f} to {last:+.3f})")
    return f"From the fewest to all training sessions the score changes by {'; '.join(parts)}."


def _change(row: pd.Series) -> str:
    return f"{row['difference']:+.3f} bits/spike ({interval_text(row)}{adjusted_p_text(row, '; ')})"


def _verdict(row: pd.Series) -> str:
    return {
        "unknown": "Without an interval nothing follows for other animals.",
        "unclear": "The interval includes zero.",
        "better": "The interval lies above zero.",
        "worse": "The interval lies below zero.",
    }[outcome(row)]


def _network(name: str) -> str:
    return "the network of the run" if name == RUN else name
