"""Words and phrases that texts, tables and figures of all experiments share."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neurohorizon.methods import FORECASTER
from neurohorizon.printed_names import counted, in_sentence

FEW_ANIMALS = 6
"""With fewer animals no p of a sign-flip test can reach 0.05."""
SIGNIFICANT = 0.05
"""Familywise level that an adjusted p is compared with, where tests are counted."""

Row = Mapping[str, object] | pd.Series


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as a sentence lists them, such as ``a, b and c``."""
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def prose(*sentences: str) -> str:
    """Join sentences, without empty ones, to a paragraph."""
    return " ".join(filter(None, sentences))


def paragraphs(*parts: str) -> str:
    """Join paragraphs, without empty ones."""
    return "\n\n".join(filter(None, parts))


def bullets(lines: Sequence[str], otherwise: str) -> str:
    """Lines as a Markdown list, or a sentence if there are none."""
    return "\n".join(f"- {line}" for line in lines) or otherwise


def format_interval(lower: float, upper: float, form: str = "+.4f") -> str:
    """Bounds as text; there are none with fewer than two animals or with a score of minus infinity."""
    return "none" if np.isnan(lower) or np.isnan(upper) else f"[{lower:{form}}, {upper:{form}}]"


def interval_text(row: Row, name: str = "", form: str = "+.4f") -> str:
    """Interval of a row in words; columns of the bounds begin with ``name``."""
    lower, upper = _bounds(row, name)
    if np.isnan(lower) or np.isnan(upper):
        return "no interval"
    return f"{row['interval']:.0%} interval {format_interval(lower, upper, form)}"


def adjusted_p_text(row: Row, before: str = ", ") -> str:
    """Adjusted p of a row in words; "" if it has none, or if its animals are too few for one below the level."""
    p = row.get("p_holm", np.nan)
    return "" if np.isnan(p) or row.get("animals", FEW_ANIMALS) < FEW_ANIMALS else f"{before}Holm p = {p:.2g}"


def outcome(row: Row, name: str = "") -> str:
    """Where the interval of a difference lies: ``better``, ``worse``, ``unclear`` (it includes zero) or ``unknown``."""
    lower, upper = _bounds(row, name)
    if np.isnan(lower) or np.isnan(upper):
        return "unknown"
    if lower <= 0 <= upper:
        return "unclear"
    return "better" if lower > 0 else "worse"


def verdict(row: Row, than: str = "", *, name: str = "") -> str:
    """Describe the interval of a difference, whose columns begin with ``name``, as a clause that follows a comma."""
    than = f" than {than}" if than else ""
    few = f" in these {row['animals']} animals" if row.get("animals", FEW_ANIMALS) < FEW_ANIMALS else ""
    return {
        "unknown": "so nothing follows for other animals",
        "unclear": "which **cannot be distinguished** from zero",
        "better": f"**better**{than}{few}",
        "worse": f"**worse**{than}{few}",
    }[outcome(row, name)]


def against_zero(row: Row, reference: str) -> str:
    """Describe on which side of zero the interval of a difference from ``reference`` lies."""
    found = outcome(row)
    if found == "unknown":
        return "Without an interval nothing follows for other animals."
    if found == "unclear":
        return f"The interval includes zero: it **cannot be distinguished** from {reference}."
    scope = ""
    if row["animals"] < FEW_ANIMALS:
        scope = f" in these {row['animals']} animals, which are too few to represent others"
    return (
        f"The interval excludes zero: it is {'better' if found == 'better' else '**worse**'} than {reference}{scope}."
    )


def smallest_p(animals: int) -> str:
    """Describe the smallest p that a sign-flip test over animals can give."""
    return f"With {counted(animals, 'animal')} p cannot be below {2.0 ** (1 - animals):.2g}."


def few_animals(animals: int) -> str:
    """Describe the limits of intervals and tests over few animals; "" if there are enough."""
    if animals >= FEW_ANIMALS:
        return ""
    if animals == 1:
        return "One animal gives no interval: the means describe this animal only."
    return f"{smallest_p(animals)} Intervals over so few animals are coarse: they show whether the animals agree."


def scope_sentence(summary: pd.DataFrame) -> str:
    """State whether the results hold for unseen animals or for unseen recordings."""
    shared = in_sentence(summary["shared_subjects"].iloc[0])
    if not shared:
        return "No forecast animal was in the training data."
    return f"Other recordings of {shared} were trained on: the results are for unseen recordings, not unseen animals."


def influence_sentence(influence: pd.DataFrame, most: int = 3) -> str:
    """State in which sessions one unit has more than half of the scored spikes, and the score without it; "" for none.

    Args:
        influence: Rows of sessions and methods: session, method, unit_id, spike_share, bits_per_spike,
            bits_per_spike_without.
        most: Number of sessions that are named.
    """
    rows = influence[influence["method"] == FORECASTER]
    carried = rows[rows["spike_share"] > 0.5]
    if carried.empty:
        return ""
    named = [
        in_sentence(f"{row['session']} (unit {row['unit_id']}: ")
        + f" {row['spike_share']:.0%}; {row['bits_per_spike']:+.3f} bits/spike "
        + (
            f"with it, {row['bits_per_spike_without']:+.3f} without it)"
            if np.isfinite(row["bits_per_spike_without"])
            else "with it, and no other spike is scored)"
        )
        for _, row in carried.head(most).iterrows()
    ]
    further = f" and {len(carried) - most} more" if len(carried) > most else ""
    return (
        f"In {len(carried)} of {counted(len(rows), 'session')} one unit has more than half of the scored spikes: "
        f"{', '.join(named)}{further}."
    )


def _bounds(row: Row, name: str) -> tuple[float, float]:
    prefix = f"{name}_" if name else ""
    return row[f"{prefix}lower"], row[f"{prefix}upper"]
