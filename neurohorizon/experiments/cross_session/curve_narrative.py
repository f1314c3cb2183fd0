"""Sentences on the curves of experiment 1, each decided by the numbers."""

from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import PRIMARY_NULL, whole_horizon
from neurohorizon.analysis.tables import read_tables as read_named
from neurohorizon.analysis.wording import FEW_ANIMALS, SIGNIFICANT, interval_text, listed, outcome, paragraphs, prose
from neurohorizon.experiments.cross_session.curve_tables import FEWEST_PAIRS, LARGEST_RATE_RATIO
from neurohorizon.methods import FORECASTER, OWN_HISTORY, UPPER_BOUND, method_label
from neurohorizon.printed_names import counted, in_sentence

_NEARLY_ALL = 0.95
"""Share of the score with everything known that the text calls nearly all of it."""
_TABLES = ("reference_length", "population", "gap", "elapsed", "elapsed_leads", "matched_regions")
_SIGNS = {
    "unknown": "from one animal, which gives no interval",
    "unclear": "which **cannot be distinguished** from zero",
    "better": "a gain: its interval lies above zero",
    "worse": "a loss: its interval lies below zero",
}


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables that the sentences need, by name."""
    return read_named(folder, *_TABLES)


def describe_results(folder: Path) -> str:
    """The results of the curves as paragraphs, from the folder of their tables."""
    table = read_tables(folder)
    return paragraphs(
        prose(describe_reference_length(table["reference_length"]), describe_population(table["population"])),
        prose(describe_elapsed(table["elapsed"], table["elapsed_leads"]), describe_gap(table["gap"])),
        describe_regions(table["matched_regions"]),
    )


def describe_reference_length(reference_length: pd.DataFrame) -> str:
    """Score with a shorter reference window."""
    words = "its last {:g} s", "With the full reference window ({:.0f} s on average)", "seconds of it"
    return _describe_curve(reference_length, *words)


def describe_population(population: pd.DataFrame) -> str:
    """Score with fewer recorded units; the scored units are the same."""
    words = "{:g} units recorded", "With all units recorded ({:.0f} on average)", "units recorded"
    return _describe_curve(population, *words)


def describe_gap(gap: pd.DataFrame) -> str:
    """Share of the gap to methods that fit the session, over the whole horizon and at its start."""
    own = gap[(gap["method"] == FORECASTER) & gap["gap_closed"].notna()]
    if own.empty:
        return "No method of this run that fits the session gains by it, so there is no gap to close."
    sentences = []
    for within, rows in own.groupby("within", sort=False):
        rows = rows.sort_values("horizon_ms")
        last = rows.iloc[-1]
        text = (
            f"Of the gap between the reference mean and {method_label(within)}, which fits the session, NeuroHorizon "
            f"closes **{last['gap_closed']:.0%}** over {last['horizon_ms']:g} ms "
            f"({interval_text(last, 'gap_closed', '.0%')})"
        )
        if len(rows) > 1:
            text += f", and {rows.iloc[0]['gap_closed']:.0%} within the first {rows.iloc[0]['horizon_ms']:g} ms"
        sentences.append(f"{text}.")
    return prose(*sentences)


def describe_elapsed(elapsed: pd.DataFrame, leads: pd.DataFrame) -> str:
    """Change of the score with the time since the reference window."""
    own = elapsed[elapsed["method"] == FORECASTER].sort_values("first_s")
    by_null = dict(list(own.groupby("null")))
    if PRIMARY_NULL not in by_null or len(by_null[PRIMARY_NULL]) < 2:
        return "There are too few test windows to compare times since the reference window."
    first, last = by_null[PRIMARY_NULL].iloc[0], by_null[PRIMARY_NULL].iloc[-1]
    text = (
        f"Between windows {_span(first)} and {_span(last)} after the reference window, NeuroHorizon's score changes by "
        f"**{last['change']:+.3f} bits/spike** ({interval_text(last, 'change')}), {_SIGNS[outcome(last, 'change')]}."
    )
    if "evaluation" in by_null:
        change = by_null["evaluation"].iloc[-1]
        text += (
            " The null ages as well; relative to each unit's own mean in the same windows, which is unavailable to any "
            f"forecast, the change is {change['change']:+.3f} ({interval_text(change, 'change')})."
        )
    for role, name in (("network", OWN_HISTORY), ("baseline", None), ("within", UPPER_BOUND)):
        rows = leads[(leads["role"] == role) & ((leads["against"] == name) | (name is None))].sort_values("first_s")
        if len(rows) > 1:
            first, last = rows.iloc[0], rows.iloc[-1]
            text += (
                f" Its difference to {method_label(first['against'])} is {first['difference']:+.3f} in the first and "
                f"{last['difference']:+.3f} ({interval_text(last)}) in the last of them."
            )
    return text


def describe_regions(matched_regions: pd.DataFrame) -> str:
    """Regions with a better or worse score than units of the same rates elsewhere."""
    shown = matched_regions[matched_regions["sessions"] > 0]
    if shown.empty:
        return "No region has enough units, with rate-matched units in other regions, to be compared."
    text = (
        f"{counted(len(shown), 'region')} can be compared with units of the same rates elsewhere in the same sessions "
        f"(reference rates within a factor of {LARGEST_RATE_RATIO:g}, {FEWEST_PAIRS} pairs in a session or more). "
    )
    if shown["lower"].isna().all():
        return f"{text}One animal gives no interval: nothing follows for regions of other animals."
    excluding = shown[(shown["lower"] > 0) | (shown["upper"] < 0)].sort_values("difference", ascending=False)
    named = [
        f"{in_sentence(row['region'])} ({row['difference']:+.3f}, {interval_text(row)})"
        for _, row in excluding.iterrows()
    ]
    text += f"The interval excludes zero in {', '.join(named)}." if named else "No interval excludes zero."
    kept = shown.loc[shown["p_holm"] <= SIGNIFICANT, "region"]
    found = f"the difference remains in {listed(kept.map(in_sentence))}" if len(kept) else "no difference remains"
    text += f" After Holm's adjustment over the regions {found}."
    few = shown[shown["animals"] < FEW_ANIMALS]
    if len(few):
        number = "All of them" if len(few) == len(shown) else f"{len(few)} of them"
        text += f" {number} have data of fewer than {FEW_ANIMALS} animals, with which no p can reach 0.05."
    return text


def _describe_curve(table: pd.DataFrame, less_words: str, whole_words: str, unit: str) -> str:
    own = whole_horizon(table[table["method"] == FORECASTER]).sort_values("size") if len(table) else table
    less, whole = own[~own["whole"].astype(bool)], own[own["whole"].astype(bool)]
    if less.empty or whole.empty:
        return f"No session has more than the smallest number of {unit}."
    full, shortest = whole.iloc[0], less.iloc[0]
    text = (
        f"{whole_words.format(full['size'])} NeuroHorizon scores **{full['bits_per_spike']:+.3f} bits/spike**; with "
        f"{less_words.format(shortest['size'])}, relative to the same null, **{shortest['bits_per_spike']:+.3f}**: "
        f"{shortest['difference']:+.3f} ({interval_text(shortest, 'difference')}), "
        f"{_SIGNS[outcome(shortest, 'difference')]}."
    )
    # the first size that, like all larger ones, reaches nearly all
    short_of = less["bits_per_spike"] < _NEARLY_ALL * less["whole_bits_per_spike"]
    enough = less[~short_of[::-1].cummax()[::-1]]
    if len(enough) and full["bits_per_spike"] > 0:
        size = less_words.format(enough.iloc[0]["size"])
        text += f" From {size} on the same sessions reach at least {_NEARLY_ALL:.0%} of that score."
    if len(less) > 1:
        shrinks = (np.diff(less["difference"]) > 0).all()
        text += f" The mean loss {'shrinks' if shrinks else 'does **not** shrink'} with every step."
    reached = less.iloc[-1]["sessions"]
    if reached < full["sessions"]:
        text += f" The largest size is reached by {reached} of {counted(full['sessions'], 'session')}."
    return text


def _span(row: pd.Series) -> str:
    if np.isnan(row["last_s"]):
        return f"from {row['first_s']:g} s on"
    return f"{row['first_s']:g} to {row['last_s']:g} s"
