"""Phrases that the narratives of all experiments share."""

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import format_interval

FEW_ANIMALS = 6
"""With fewer animals no p of a sign-flip test can reach 0.05."""
SIGNIFICANT = 0.05
"""What an adjusted p is compared with, where tests are counted."""


def interval_text(row: pd.Series) -> str:
    """A row's interval in words."""
    if np.isnan(row["lower"]) or np.isnan(row["upper"]):
        return "no interval"
    return f"{row['interval']:.0%} interval {format_interval(row['lower'], row['upper'])}"


def against_zero(row: pd.Series, reference: str) -> str:
    """Describe on which side of zero the interval of a difference from ``reference`` lies."""
    if np.isnan(row["lower"]) or np.isnan(row["upper"]):
        return "Whether it would hold for other animals cannot be said."
    if row["lower"] <= 0 <= row["upper"]:
        return f"The interval includes zero: it **cannot be told apart** from {reference}."
    verdict = "better" if row["lower"] > 0 else "**worse**"
    scope = ""
    if row["animals"] < FEW_ANIMALS:
        scope = f" in these {row['animals']} animals, which are too few to speak for others"
    return f"The interval excludes zero: it is {verdict} than {reference}{scope}."
