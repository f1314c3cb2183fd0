"""Sentences on the curves of experiment 1, each decided by the numbers in it."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import PRIMARY_NULL, counted, format_interval
from neurohorizon.analysis.wording import FEW_ANIMALS
from neurohorizon.experiments.cross_session.curve_tables import FEWEST_PAIRS, LARGEST_RATE_RATIO, whole_horizon
from neurohorizon.methods import FORECASTER, OWN_HISTORY, UPPER_BOUND, method_label

_NEARLY_ALL = 0.95
"""Share of the score with all known from which on the text says that nearly all is there."""
_TABLES = ("reference_length", "population", "gap", "elapsed", "elapsed_leads", "matched_regions")


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables that the sentences stand on, by name."""
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in _TABLES}


def describe_results(folder: Path) -> str:
    """The results of the curves as paragraphs, from the folder of their tables."""
    table = read_tables(folder)
    parts = [
        describe_reference_length(table["reference_length"]),
        describe_population(table["population"]),
        describe_elapsed(table["elapsed"], table["elapsed_leads"]),
        describe_gap(table["gap"]),
        describe_regions(table["matched_regions"]),
    ]
    return "\n\n".join([" ".join(parts[:2]), " ".join(parts[2:4]), parts[4]])


def describe_reference_length(reference_length: pd.DataFrame) -> str:
    """How much of the score a shorter reference part leaves."""
    return _describe_curve(reference_length, "its last {:g} s", "With all of the reference part ({:.0f} s on average)")


def describe_population(population: pd.DataFrame) -> str:
    """How much of the score fewer units leave; the same units are scored in all."""
    return _describe_curve(population, "{:g} units recorded", "With all units recorded ({:.0f} on average)")


def describe_gap(gap: pd.DataFrame) -> str:
    """How much of the gap to methods that fit the session is closed, at the end of the horizon and at its start."""
    own = gap[(gap["method"] == FORECASTER) & gap["gap_closed"].notna()]
    if own.empty:
        return "This run has no method that fits the session and gains by it, so there is no gap to close."
    sentences = []
    for within, rows in own.groupby("within", sort=False):
        rows = rows.sort_values("horizon_ms")
        last = rows.iloc[-1]
        text = (
            f"Of the way from the reference mean to {method_label(within)}, which fits the session, NeuroHorizon goes "
            f"**{last['gap_closed']:.0%}** over {last['horizon_ms']:g} ms ({_interval(last, 'gap_closed', '.0%')})"
        )
        if len(rows) > 1:
            text += f", and {rows.iloc[0]['gap_closed']:.0%} of it within the first {rows.iloc[0]['horizon_ms']:g} ms"
        sentences.append(f"{text}.")
    return " ".join(sentences)


def describe_elapsed(elapsed: pd.DataFrame, leads: pd.DataFrame) -> str:
    """Whether the forecasts grow old with their reference part."""
    own = elapsed[elapsed["method"] == FORECASTER].sort_values("first_s")
    over = dict(list(own.groupby("null")))
    if PRIMARY_NULL not in over or len(over[PRIMARY_NULL]) < 2:
        return "The test windows are too few to be told apart by the time since the reference part."
    first, last = over[PRIMARY_NULL].iloc[0], over[PRIMARY_NULL].iloc[-1]
    text = (
        f"Between windows {_span(first)} and {_span(last)} after the reference part, NeuroHorizon's score changes by "
        f"**{last['change']:+.3f} bits/spike** ({_interval(last, 'change')}), {_sign(last, 'change')}."
    )
    if "evaluation" in over:
        change = over["evaluation"].iloc[-1]
        text += (
            " The null grows old as well; over each unit's own mean in the same windows, which no forecast can know, "
            f"the change is {change['change']:+.3f} ({_interval(change, 'change')})."
        )
    for role, name in (("network", OWN_HISTORY), ("baseline", None), ("within", UPPER_BOUND)):
        rows = leads[(leads["role"] == role) & ((leads["against"] == name) | (name is None))].sort_values("first_s")
        if len(rows) > 1:
            first, last = rows.iloc[0], rows.iloc[-1]
            text += (
                f" Its lead over {method_label(first['against'])} is {first['difference']:+.3f} in the first and "
                f"{last['difference']:+.3f} ({_interval(last)}) in the last of them."
            )
    return text


def describe_regions(matched_regions: pd.DataFrame) -> str:
    """Which regions are forecast better or worse than units of the same rates elsewhere."""
    shown = matched_regions[matched_regions["sessions"] > 0]
    if shown.empty:
        return "No region has enough units, with others of the same rates beside them, to be compared."
    text = (
        f"{counted(len(shown), 'region')} can be compared with units of the same rates elsewhere in the same sessions "
        f"(reference rates within a factor of {LARGEST_RATE_RATIO:g}, {FEWEST_PAIRS} pairs in a session or more). "
    )
    if shown["lower"].isna().all():
        return f"{text}One animal gives no interval: whether a region differs cannot be said."
    excluding = shown[(shown["lower"] > 0) | (shown["upper"] < 0)].sort_values("difference", ascending=False)
    if excluding.empty:
        text += "In none does the interval of the difference exclude zero."
    else:
        named = [f"{row['region']} ({row['difference']:+.3f}, {_interval(row)})" for _, row in excluding.iterrows()]
        text += f"The interval excludes zero in {', '.join(named)}."
    kept = shown[shown["p_holm"] <= 0.05]
    text += (
        f" After Holm's adjustment over the regions the difference stands in {', '.join(kept['region'])}."
        if len(kept)
        else " After Holm's adjustment over the regions no difference stands."
    )
    few = shown[shown["animals"] < FEW_ANIMALS]
    if len(few):
        text += (
            f" {_share_of(len(few), len(shown))} stand on fewer than {FEW_ANIMALS} animals, where no p can reach 0.05."
        )
    return text


def _describe_curve(table: pd.DataFrame, less_words: str, whole_words: str) -> str:
    own = whole_horizon(table[table["method"] == FORECASTER]).sort_values("size") if len(table) else table
    less, whole = own[~own["whole"].astype(bool)], own[own["whole"].astype(bool)]
    if less.empty or whole.empty:
        return f"No session reaches beyond {less_words.format(0).split(' ', 1)[1]} that could be taken away."
    all_known, shortest = whole.iloc[0], less.iloc[0]
    text = (
        f"{whole_words.format(all_known['size'])} NeuroHorizon scores **{all_known['bits_per_spike']:+.3f} "
        f"bits/spike**; with {less_words.format(shortest['size'])}, over the same null, "
        f"**{shortest['bits_per_spike']:+.3f}**: {shortest['difference']:+.3f} "
        f"({_interval(shortest, 'difference')}), {_sign(shortest, 'difference')}."
    )
    # from the first size on that, with all larger ones, leaves nearly all
    short_of = less["bits_per_spike"] < _NEARLY_ALL * less["whole_bits_per_spike"]
    enough = less[~short_of[::-1].cummax()[::-1]]
    if len(enough) and all_known["bits_per_spike"] > 0:
        size = less_words.format(enough.iloc[0]["size"])
        text += f" From {size} on at least {_NEARLY_ALL:.0%} of the same sessions' score is there."
    if len(less) > 1:
        shrinks = (np.diff(less["difference"]) > 0).all()
        text += f" The mean loss {'shrinks' if shrinks else 'does **not** shrink'} with every step."
    reached = less.iloc[-1]["sessions"]
    if reached < all_known["sessions"]:
        text += f" The largest size is reached by {reached} of {counted(all_known['sessions'], 'session')}."
    return text


def _span(row: pd.Series) -> str:
    if np.isnan(row["last_s"]):
        return f"from {row['first_s']:g} s on"
    return f"{row['first_s']:g} to {row['last_s']:g} s"


def _interval(row: pd.Series, name: str = "", form: str = "") -> str:
    lower, upper = (row[f"{name}_{bound}" if f"{name}_{bound}" in row else bound] for bound in ("lower", "upper"))
    if np.isnan(lower) or np.isnan(upper):
        return "no interval"
    bounds = f"[{lower:{form}}, {upper:{form}}]" if form else format_interval(lower, upper)
    return f"{row['interval']:.0%} interval {bounds}"


def _sign(row: pd.Series, name: str) -> str:
    lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
    if np.isnan(lower) or np.isnan(upper):
        return "of which one animal cannot say whether it is more than chance"
    if lower <= 0 <= upper:
        return "which **cannot be told apart** from none"
    return "a loss beyond its interval" if upper < 0 else "a gain beyond its interval"


def _share_of(number: int, total: int) -> str:
    return "All of them" if number == total else f"{number} of them"
