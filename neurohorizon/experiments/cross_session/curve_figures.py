"""Figures of the curves of experiment 1, each drawn from its tables alone."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from neurohorizon.analysis.style import (
    BLACK,
    COLUMN_WIDTH_INCHES,
    GREY,
    LIGHT_GREY,
    NULL_LABELS,
    VERMILLION,
    house_style,
    method_line,
    null_line,
)
from neurohorizon.analysis.tables import PRIMARY_NULL, counted
from neurohorizon.experiments.cross_session.curve_tables import NETWORKS, whole_horizon
from neurohorizon.experiments.cross_session.elapsed_scores import LENGTH, UNITS
from neurohorizon.methods import CEILING, FORECASTER, UPPER_BOUND, class_word, method_label

_ROW_INCHES = 0.2
_BELOW = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, 0.0),
    "borderaxespad": 4.0,
    "ncols": 2,
    "labelspacing": 0.25,
    "handlelength": 3.2,
}
_MOST_LINES = 40  # more sessions are a grey smear
_MOST_REGIONS = 36  # what a page holds


def draw_reference_length(*, reference_length: pd.DataFrame, curves_sessions: pd.DataFrame) -> Figure:
    """Score against the length of the reference part: every session, and the mean with its interval."""
    sessions = curves_sessions[curves_sessions["curve"] == LENGTH]
    label = "length of the reference part (s)"
    return _curve(reference_length, sessions, label, also=("reference_mean",))


def draw_population(*, population: pd.DataFrame, curves_sessions: pd.DataFrame) -> Figure:
    """Score of the same units against the number of units that are recorded."""
    return _curve(population, curves_sessions[curves_sessions["curve"] == UNITS], "units recorded", also=())


def draw_elapsed(*, elapsed: pd.DataFrame, elapsed_leads: pd.DataFrame) -> Figure:
    """Score by the time since the reference part, and the forecaster's lead over other methods."""
    shown = elapsed[(elapsed["null"] == PRIMARY_NULL) & (elapsed["method"] != "reference_mean")]
    baselines = elapsed_leads.loc[elapsed_leads["role"] == "baseline", "against"].unique()
    drawn = [*baselines, *NETWORKS, FORECASTER, UPPER_BOUND]
    drawn += list(shown.loc[shown["class"] == CEILING, "method"].unique())
    with house_style():
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, 4.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        scale, unit = _time_unit(shown["first_s"].max())
        for method in (name for name in drawn if name in set(shown["method"])):
            line = shown[shown["method"] == method]
            label = f"{method_label(method)} ({class_word(line['class'].iloc[0])})"
            _band(above, _middle(line, shown) / scale, line, method, label)
        for against, line in elapsed_leads.groupby("against", sort=False):
            _band(below, _middle(line, shown) / scale, line.rename(columns={"difference": "bits_per_spike"}), against)
        null_line(above, "reference mean (null)", at=0.92)
        null_line(below)
        above.set_ylabel(_score_label())
        below.set_ylabel("NeuroHorizon's lead over\neach (bits/spike)")
        below.set_xlabel(f"time since the end of the reference part ({unit})")
        below.set_xlim(0, None)
        if len(shown):
            handles, labels = above.get_legend_handles_labels()
            below.legend(handles, labels, **_BELOW)
            _counts(above, shown)
        _letters(above, below)
    return figure


def draw_matched_regions(*, matched_regions: pd.DataFrame) -> Figure:
    """Each region's forecast units, and units of the same rates elsewhere in the same sessions.

    Of more regions than a page holds, those of most animals are drawn, and it is said of how many.
    """
    compared = matched_regions[matched_regions["sessions"] > 0]
    most = compared.sort_values(["animals", "sessions", "pairs"], ascending=False, kind="stable")[:_MOST_REGIONS]
    shown = most.sort_values("difference", kind="stable")
    rows = np.arange(len(shown))
    with house_style():
        height = max(1.8, 1.1 + _ROW_INCHES * len(shown))
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, height), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        if shown.empty:
            left.annotate("no region has enough units", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
            return figure
        left.hlines(rows, shown["control_bits_per_spike"], shown["bits_per_spike"], color=LIGHT_GREY, linewidth=1.0)
        matched = {"markersize": 4, "linestyle": "none"}
        left.plot(shown["control_bits_per_spike"], rows, "o", mfc="white", mec=BLACK, label="rate-matched", **matched)
        left.plot(shown["bits_per_spike"], rows, "o", color=VERMILLION, label="region", **matched)
        around = [shown["difference"] - shown["lower"], shown["upper"] - shown["difference"]]
        right.errorbar(
            *(shown["difference"], rows),
            xerr=np.nan_to_num(around),
            fmt="D",
            markersize=3.4,
            color=BLACK,
            elinewidth=1.1,
            capsize=1.6,
        )
        right.axvline(0, color=GREY, linewidth=0.8, linestyle=(0, (1, 1)), zorder=0)
        names = [
            f"{row.region} ({row.pairs} pairs; {row.sessions}, {row.animals})" for row in shown.itertuples(index=False)
        ]
        left.set_yticks(rows, names)
        left.set_ylim(-0.6, len(shown) - 0.4)
        left.set_xlabel(_score_label())
        right.set_xlabel("difference\n(bits/spike)")
        figure.legend(loc="outside lower center", ncols=2, handletextpad=0.1, columnspacing=0.8)
        text = f"{shown['interval'].iloc[0]:.0%} interval by animal"
        if len(shown) < len(compared):
            text = f"{len(shown)} of {len(compared)} regions, those of most animals; {text}"
        figure.suptitle(text, fontsize=6.5, color=GREY, x=0.99, ha="right")
    return figure


def _curve(table: pd.DataFrame, sessions: pd.DataFrame, label: str, *, also: tuple[str, ...]) -> Figure:
    table, sessions = whole_horizon(table), whole_horizon(sessions)
    with house_style():
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, 4.9), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 1.0])
        own = sessions[sessions["method"] == FORECASTER]
        if own["session"].nunique() <= _MOST_LINES:
            for _, line in own.sort_values("size").groupby(["fold", "session"], sort=True):
                above.plot(line["size"], line["bits_per_spike"], color=LIGHT_GREY, linewidth=0.6, zorder=1)
        for method in (*also, FORECASTER):
            line = table[table["method"] == method].sort_values(["whole", "size"])
            less, name = line[~line["whole"]], "mean of what is left" if method in also else method_label(method)
            _bars(above, less, method, f"{name} (zero-shot)")
            _bars(above, line[line["whole"]], method, None, marker="D")
            lost = less[["size", "difference", "difference_lower", "difference_upper"]]
            _bars(below, lost.set_axis(["size", "bits_per_spike", "lower", "upper"], axis=1), method, None)
        for method in (*NETWORKS, UPPER_BOUND):
            for row in table[(table["method"] == method) & table["whole"]].to_dict("records"):
                colour, dashes = method_line(method)
                name = f"{method_label(method)} ({class_word(row['class'])})"
                above.axhline(row["bits_per_spike"], color=colour, linestyle=dashes, linewidth=0.9, label=name)
        below.set_xscale("log")
        below.set_xticks(sorted(table.loc[~table["whole"], "size"].unique()))
        below.xaxis.set_major_formatter(FuncFormatter(_plain_number))
        below.xaxis.set_minor_locator(NullLocator())
        null_line(above, "reference mean (null)", at=0.92)
        null_line(below, "nothing taken away", at=0.92)
        below.set_xlabel(label)
        above.set_ylabel(_score_label())
        below.set_ylabel("difference to\nall known (bits/spike)")
        if len(table):
            handles, labels = above.get_legend_handles_labels()
            below.legend(handles, labels, **_BELOW)
            _counts(above, table)
            _tell_sessions(above, table[table["method"] == FORECASTER])
        _letters(above, below)
    return figure


def _letters(*panels: Axes) -> None:
    for letter, axes in zip("abc", panels, strict=False):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=9, x=-0.04)


def _tell_sessions(axes: Axes, own: pd.DataFrame) -> None:
    """Write how many sessions a point stands on where they are not all."""
    most = own["sessions"].max()
    for row in own[(own["sessions"] < most) & ~own["whole"]].itertuples(index=False):
        axes.annotate(
            f"n={row.sessions}",
            (row.size, row.upper if np.isfinite(row.upper) else row.bits_per_spike),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=6,
            color=GREY,
        )


def _bars(axes: Axes, line: pd.DataFrame, method: str, label: str | None, marker: str = "o") -> None:
    colour, dashes = method_line(method)
    around = np.nan_to_num(
        [line["bits_per_spike"] - line["lower"], line["upper"] - line["bits_per_spike"]],
    )
    axes.errorbar(
        *(line["size"], line["bits_per_spike"]),
        yerr=around,
        color=colour,
        linestyle=dashes,
        linewidth=1.5,
        elinewidth=1.0,
        capsize=1.6,
        marker=marker,
        markersize=4 if marker == "D" else 3.4,
        markerfacecolor="white" if marker == "D" else colour,
        label=label,
        zorder=3,
    )


def _band(axes: Axes, place: pd.Series, line: pd.DataFrame, method: str, label: str | None = None) -> None:
    colour, dashes = method_line(method)
    width = 1.8 if method == FORECASTER else 1.1
    axes.plot(
        *(place, line["bits_per_spike"]),
        color=colour,
        linestyle=dashes,
        linewidth=width,
        marker="o",
        markersize=2.0,
        label=label,
        zorder=3,
    )
    if label is None or method == FORECASTER:
        axes.fill_between(place, line["lower"], line["upper"], color=colour, alpha=0.13, linewidth=0, zorder=1)


def _middle(line: pd.DataFrame, shown: pd.DataFrame) -> pd.Series:
    """Middle of each group of windows; a group without an end is drawn as long as the longest other."""
    longest = (shown["last_s"] - shown["first_s"]).max()
    last = line["last_s"].fillna(line["first_s"] + (longest if np.isfinite(longest) else 0.0))
    return (line["first_s"] + last) / 2


def _time_unit(longest_s: float) -> tuple[float, str]:
    return (60.0, "min") if longest_s >= 600 else (1.0, "s")


def _plain_number(value: float, _position: int) -> str:
    return f"{value:g}"


def _score_label() -> str:
    return f"bits/spike over\n{NULL_LABELS[PRIMARY_NULL]}"


def _counts(axes: Axes, shown: pd.DataFrame) -> None:
    count = f"{counted(int(shown['sessions'].max()), 'session')}, {counted(int(shown['animals'].max()), 'animal')}"
    bounds = bool(shown["lower"].notna().any())
    text = f"{count}; {shown['interval'].iloc[0]:.0%} interval by animal" if bounds else f"{count}; no interval"
    axes.set_title(text, fontsize=6.5, loc="right", color=GREY)
