"""Sentences on the scaling experiment, each decided by the numbers in it."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import counted, format_interval
from neurohorizon.analysis.wording import FEW_ANIMALS, interval_text
from neurohorizon.experiments.scaling.laws import NEGLIGIBLE_AICC
from neurohorizon.experiments.scaling.tables import (
    MORE_PARAMETERS,
    MORE_SESSIONS,
    RUN,
    SAME_LAB,
    SAME_REGION,
    sessions_text,
    whole_horizon,
)

_LAWS = {
    "power": "a power law",
    "saturating": "an exponential approach",
    "log_linear": "the logarithm of the number",
    "constant": "a constant",
}
_READ = ("curve", "fits", "predictions", "comparisons", "own_lab", "parameters", "arms", "left_out")


def describe_results(folder: Path) -> str:
    """The experiment in a few paragraphs, from its tables.

    Args:
        folder: Folder of the tables.
    """
    table = {name: pd.read_parquet(Path(folder) / f"{name}.parquet") for name in _READ}
    first = " ".join(
        (
            describe_run(table["curve"], table["left_out"]),
            describe_curve(table["curve"], table["comparisons"]),
            describe_laws(table["fits"]),
            describe_prediction(table["predictions"]),
        )
    )
    second = " ".join(
        filter(
            None,
            (
                describe_arms(table["comparisons"], table["own_lab"], table["arms"]),
                describe_parameters(table["parameters"], table["comparisons"]),
            ),
        )
    )
    return f"{first}\n\n{second}" if second else first


def describe_run(curve: pd.DataFrame, left_out: pd.DataFrame) -> str:
    """What was trained and what it was tried on."""
    whole = whole_horizon(curve)
    sizes = ", ".join(sessions_text(size) for size in whole["sessions_trained"])
    of_folds = "" if (whole["sessions_trained"] % 1 == 0).all() else " (a mean over the folds)"
    animals = int(whole["animals"].max())
    text = (
        f"Networks were trained on {sizes} sessions, with {counted(int(whole['draws'].max()), 'draw')} of each number "
        f"but the last, which is all there are{of_folds}, and {counted(int(whole['seeds'].max()), 'seed')}. All "
        f"forecast the same {counted(int(whole['sessions'].max()), 'held-out session')} of "
        f"{counted(animals, 'animal')}."
    )
    if 1 < animals < FEW_ANIMALS:
        text += (
            f" With {animals} animals intervals are coarse and no test by animal can give a p below "
            f"{2.0 ** (1 - animals):.2g}: they show whether the animals agree."
        )
    if len(left_out):
        text += f" {counted(len(left_out), 'session')} could not be used."
    return text


def describe_curve(curve: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The score with the fewest sessions and with all, and whether the difference is one."""
    whole = whole_horizon(curve)
    first, last = whole.iloc[0], whole.iloc[-1]
    text = (
        f"From {sessions_text(first['sessions_trained'])} training sessions to "
        f"{sessions_text(last['sessions_trained'])} the score goes from "
        f"{first['bits_per_spike']:+.3f} to **{last['bits_per_spike']:+.3f} bits/spike** over the reference-window "
        "mean rate"
    )
    found = comparisons[comparisons["comparison"] == MORE_SESSIONS]
    if found.empty:
        return f"{text}."
    row = found.iloc[0]
    return (
        f"{text}, a difference of {row['difference']:+.3f} ({interval_text(row)}{_p(row)}), higher in "
        f"{row['sessions_better']} of {counted(row['sessions'], 'session')}. {_verdict(row)}"
    )


def describe_laws(fits: pd.DataFrame) -> str:
    """Which law fits best, how far others can be told from it, and whether the power law's parameters are known."""
    whole = whole_horizon(fits)
    best = whole[whole["best"]]
    if best.empty:
        return "There are too few points to compare laws."
    best = best.iloc[0]
    near = whole[(whole["law"] != best["law"]) & (whole["delta_aicc"] <= NEGLIGIBLE_AICC)]["law"]
    text = f"By AICc {_LAWS[best['law']]} fits best"
    if len(near):
        text += f", but cannot be told from {' or '.join(_LAWS[law] for law in near)}"
    text += "."
    power = whole[whole["law"] == "power"]
    if power.empty:
        return text + " There are too few sizes for a power law."
    power = power.iloc[0]
    if power["not_identified"]:
        return text + f" The exponent and the limit of a power law are **not identified**: {power['not_identified']}."
    limits = {name: format_interval(power[f"{name}_lower"], power[f"{name}_upper"]) for name in ("alpha", "B")}
    return (
        f"{text} The power law rises to **{power['B']:+.3f}** bits/spike ({limits['B']}) with an exponent of "
        f"**{power['alpha']:.2f}** ({limits['alpha']})."
    )


def describe_prediction(predictions: pd.DataFrame) -> str:
    """What the law that fits the smaller sizes best says of the top, against what came."""
    whole = whole_horizon(predictions)
    chosen = whole[whole["chosen"].astype(bool)]
    if chosen.empty:
        return "There are too few sizes to predict the top one from the others."
    row = chosen.iloc[0]
    text = (
        f"Fitted to at most {sessions_text(row['fitted_up_to'])} sessions, {_LAWS[row['law']]} (the best by AICc "
        f"there) predicts {row['predicted']:+.3f} for {sessions_text(row['top'])}; {row['observed']:+.3f} came"
    )
    if pd.isna(row["holds"]):
        return f"{text}, and without an interval nothing can be said of it."
    apart = format_interval(row["difference_lower"], row["difference_upper"])
    text += f", {row['difference']:+.3f} apart ({row['interval']:.0%} interval {apart}, the animals being the same)"
    if row["holds"]:
        return f"{text}: the prediction **holds**."
    side = "more" if row["difference"] > 0 else "less"
    return f"{text}, {side} than it says: the prediction **fails**."


def describe_arms(comparisons: pd.DataFrame, own_lab: pd.DataFrame, arms: pd.DataFrame) -> str:
    """Whether it matters which sessions are trained on; "" where no other choice was tried."""
    rows = comparisons.set_index("comparison")
    sentences = []
    size = sessions_text(arms["sessions_trained"].iloc[0]) if len(arms) else ""
    if SAME_LAB in rows.index:
        row = rows.loc[SAME_LAB]
        labs = arms.loc[arms["arm"] == SAME_LAB, "labs_trained"].iloc[0]
        where = "one lab" if labs == 1 else f"as few labs as it takes ({labs:.1f} on average)"
        sentences.append(
            f"As many sessions ({size}) from {where} instead of random ones change the score by {_change(row)}. "
            f"{_verdict(row)}"
        )
        parts = own_lab.set_index("heldout_lab")
        if {"own", "other"} <= set(parts.index):
            sentences.append(
                f"It is {_change(parts.loc['own'])} for held-out sessions of that lab, and "
                f"{_change(parts.loc['other'])} for those of others."
            )
    if SAME_REGION in rows.index:
        row = rows.loc[SAME_REGION]
        matched = arms.loc[arms["arm"] == SAME_REGION].iloc[0]
        apart, random = matched["region_distance"], matched["region_distance_of_random"]
        sentences.append(
            f"Sessions with the brain regions of the held-out ones change it by {_change(row)}. {_verdict(row)}"
        )
        if np.isfinite(random):
            sentences.append(
                f"To have the same regions {apart:.0%} of their units would have to lie elsewhere, and {random:.0%} of "
                "those of random ones."
            )
    return " ".join(sentences)


def describe_parameters(parameters: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """What more parameters give on the same sessions; "" where there is one size."""
    rows = comparisons.set_index("comparison")
    if MORE_PARAMETERS not in rows.index:
        return ""
    row = rows.loc[MORE_PARAMETERS]
    whole = whole_horizon(parameters).set_index("name")
    best = whole["bits_per_spike"].idxmax()
    most, fewest = (
        f"{_network(name)}, {_millions(whole.loc[name, 'parameters'])}" for name in (row["what"], row["against"])
    )
    return (
        f"On the same {sessions_text(whole['sessions_trained'].iloc[0])} sessions the network with the most parameters "
        f"({most}) differs from that with the fewest ({fewest}) by {_change(row)}. {_verdict(row)} The highest "
        f"mean is that of {_network(best)}."
    )


def describe_parts(curve: pd.DataFrame) -> str:
    """What training sessions bring in each part of the horizon."""
    parts = []
    for last_ms, rows in curve.groupby("last_ms"):
        rows = rows.sort_values("sessions_trained")
        first, last = rows["bits_per_spike"].iloc[[0, -1]]
        parts.append(f"{last - first:+.3f} up to {last_ms:g} ms (from {first:+.3f} to {last:+.3f})")
    return f"From the fewest to all training sessions the score changes by {'; '.join(parts)}."


def _change(row: pd.Series) -> str:
    return f"{row['difference']:+.3f} bits/spike ({interval_text(row)}{_p(row)})"


def _p(row: pd.Series) -> str:
    return f"; Holm p = {row['p_holm']:.2g}" if np.isfinite(row.get("p_holm", np.nan)) else ""


def _verdict(row: pd.Series) -> str:
    if np.isnan(row["lower"]):
        return "Whether it would hold for other animals cannot be said."
    if row["lower"] <= 0 <= row["upper"]:
        return "The interval includes zero."
    return "The interval lies above zero." if row["lower"] > 0 else "The interval lies below zero."


def _network(name: str) -> str:
    return "the network of the run" if name == RUN else name


def _millions(parameters: float) -> str:
    return f"{parameters / 1e6:.3g} million"
