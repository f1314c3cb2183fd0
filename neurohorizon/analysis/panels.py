"""Parts of panels that figures of all experiments share: bars, bands, lines at zero, titles with counts, letters."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurohorizon.analysis.style import COLUMN_WIDTH_INCHES, GREY, NULL_LABELS, PAGE_WIDTH_INCHES, method_line
from neurohorizon.analysis.tables import PRIMARY_NULL
from neurohorizon.printed_names import counted

SCORE_LABEL = f"bits/spike over\n{NULL_LABELS[PRIMARY_NULL]}"
BIN_LABEL = "time from forecast origin to end of bin (ms)"
# the pad is in heights of its letters, so that it clears the axis's label whatever the panel's height
LEGEND_BELOW = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, 0.0),
    "borderaxespad": 4.0,
    "ncols": 2,
    "labelspacing": 0.25,
}


def column_figure(height: float) -> Figure:
    """Empty figure as wide as a column, of a height in inches."""
    return Figure(figsize=(COLUMN_WIDTH_INCHES, height), layout="constrained")


def page_figure(height: float) -> Figure:
    """Empty figure as wide as a page, of a height in inches."""
    return Figure(figsize=(PAGE_WIDTH_INCHES, height), layout="constrained")


def error_bar(
    axes: Axes,
    places: Sequence[float],
    rows: pd.DataFrame | pd.Series | dict,
    value: str = "bits_per_spike",
    *,
    name: str = "",
    horizontal: bool = False,
    **look: object,
) -> None:
    """Draw values with their intervals, whose columns begin with ``name``; a value without an interval has no bar."""
    rows = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame([rows])
    prefix = f"{name}_" if name else ""
    columns = (value, f"{prefix}lower", f"{prefix}upper")
    values, lower, upper = (rows[column].to_numpy(dtype=float) for column in columns)
    lengths = np.maximum(np.nan_to_num([values - lower, upper - values]), 0)
    if horizontal:
        axes.errorbar(values, places, xerr=lengths, **look)
    else:
        axes.errorbar(places, values, yerr=lengths, **look)


def line_with_band(
    axes: Axes,
    rows: pd.DataFrame,
    x: str | pd.Series,
    y: str = "bits_per_spike",
    *,
    color: object,
    alpha: float = 0.1,
    **look: object,
) -> None:
    """Draw a line with the band of its interval; ``x`` is the column of the positions, or the positions."""
    places = rows[x] if isinstance(x, str) else x
    axes.plot(places, rows[y], color=color, **look)
    if alpha:
        axes.fill_between(places, rows["lower"], rows["upper"], color=color, alpha=alpha, linewidth=0, zorder=1)


def null_line(axes: Axes, text: str = "", *, at: float = 1.0, vertical: bool = False) -> None:
    """Draw the line at zero; its name, ``text``, ends ``at`` a share of the width, and is "" if the caption has it."""
    colour, dashes = method_line("reference_mean")
    line = axes.axvline if vertical else axes.axhline
    line(0, color=colour, linewidth=0.8, linestyle=dashes, zorder=0)
    if text:
        place = {"xycoords": ("axes fraction", "data"), "xytext": (0, 1.5), "textcoords": "offset points"}
        axes.annotate(text, (at, 0), ha="right", fontsize=6, color=colour, **place)


def count_text(rows: pd.DataFrame, session: str = "session", lower: str = "lower") -> str:
    """Numbers of sessions and animals of some rows, and the method of their intervals; ``session`` is a noun."""
    count = f"{counted(rows['sessions'].max(), session)}, {counted(rows['animals'].max(), 'animal')}"
    if rows[lower].notna().any():
        return f"{count}; {rows['interval'].iloc[0]:.0%} interval over animals"
    return f"{count}; no interval"


def note(axes: Axes, text: str, **look: object) -> None:
    """Write a small text above the panel, on the right."""
    axes.set_title(text, **({"fontsize": 6.5, "loc": "right", "color": GREY} | look))


def count_title(axes: Axes, rows: pd.DataFrame) -> None:
    """Write :func:`count_text` above the panel; nothing without rows."""
    if len(rows):
        note(axes, count_text(rows))


def letters(panels: Sequence[Axes], x: float | Sequence[float] = -0.04) -> None:
    """Letter the panels, at ``x`` in widths of the panel: one number, or one per panel."""
    places = np.broadcast_to(x, len(panels))
    for letter, axes, place in zip("abcdefgh", panels, places, strict=False):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9, x=place)


def empty_panel(axes: Axes, text: str) -> None:
    """Write in a panel why it shows nothing."""
    axes.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=GREY)
