"""Figures of the curves of experiment 1, each drawn from its tables."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from neurohorizon.analysis.panels import (
    LEGEND_BELOW,
    SCORE_LABEL,
    column_figure,
    count_title,
    empty_panel,
    error_bar,
    letters,
    line_with_band,
    null_line,
)
from neurohorizon.analysis.style import BLACK, GREY, LIGHT_GREY, VERMILLION, house_style, method_line
from neurohorizon.analysis.tables import PRIMARY_NULL, whole_horizon
from neurohorizon.experiments.cross_session.elapsed_scores import LENGTH, UNITS
from neurohorizon.methods import CEILING, FORECASTER, NETWORKS, UPPER_BOUND, class_word, method_label
from neurohorizon.printed_names import in_figure

_ROW_INCHES = 0.2
_BELOW = LEGEND_BELOW | {"handlelength": 3.2}
_MOST_LINES = 40  # more sessions would merge to a grey area
_MOST_REGIONS = 36  # as many as fit on a page


def draw_reference_length(*, reference_length: pd.DataFrame, curves_sessions: pd.DataFrame) -> Figure:
    """Score by the length of the reference window: every session, and the mean with its interval."""
    sessions = curves_sessions[curves_sessions["curve"] == LENGTH]
    label = "length of the reference window (s)"
    return _curve(reference_length, sessions, label, also=("reference_mean",))


def draw_population(*, population: pd.DataFrame, curves_sessions: pd.DataFrame) -> Figure:
    """Score of the same units by the number of recorded units."""
    return _curve(population, curves_sessions[curves_sessions["curve"] == UNITS], "units recorded", also=())


@house_style()
def draw_elapsed(*, elapsed: pd.DataFrame, elapsed_leads: pd.DataFrame) -> Figure:
    """Score by the time since the reference window, and the forecaster's difference to other methods."""
    shown = elapsed[(elapsed["null"] == PRIMARY_NULL) & (elapsed["method"] != "reference_mean")]
    baselines = elapsed_leads.loc[elapsed_leads["role"] == "baseline", "against"].unique()
    drawn = [*baselines, *NETWORKS, FORECASTER, UPPER_BOUND]
    drawn += list(shown.loc[shown["class"] == CEILING, "method"].unique())
    figure = column_figure(4.6)
    above, below = figure.subplots(2, 1, sharex=True)
    scale, unit = (60.0, "min") if shown["first_s"].max() >= 600 else (1.0, "s")
    for method in (name for name in drawn if name in set(shown["method"])):
        line = shown[shown["method"] == method]
        label = f"{method_label(method)} ({class_word(line['class'].iloc[0])})"
        _line(above, line, _middle(line, shown) / scale, method, label=label, alpha=0.13 * (method == FORECASTER))
    for against, line in elapsed_leads.groupby("against", sort=False):
        _line(below, line, _middle(line, shown) / scale, against, y="difference")
    null_line(above, "reference mean (null)", at=0.92)
    null_line(below)
    above.set_ylabel(SCORE_LABEL)
    below.set_ylabel("NeuroHorizon minus\neach (bits/spike)")
    below.set_xlabel(f"time since the end of the reference window ({unit})")
    below.set_xlim(0, None)
    if len(shown):
        below.legend(*above.get_legend_handles_labels(), **_BELOW)
    count_title(above, shown)
    letters((above, below))
    return figure


@house_style()
def draw_matched_regions(*, matched_regions: pd.DataFrame) -> Figure:
    """Each region's forecast units, and units of the same rates elsewhere in the same sessions.

    Of more regions than fit on a page those of most animals are drawn, and the title gives their number.
    """
    compared = matched_regions[matched_regions["sessions"] > 0]
    most = compared.sort_values(["animals", "sessions", "pairs"], ascending=False, kind="stable")[:_MOST_REGIONS]
    shown = most.sort_values("difference", kind="stable")
    rows = np.arange(len(shown))
    figure = column_figure(max(1.8, 1.1 + _ROW_INCHES * len(shown)))
    left, right = figure.subplots(1, 2, sharey=True)
    if shown.empty:
        empty_panel(left, "no region has enough units")
        return figure
    left.hlines(rows, shown["control_bits_per_spike"], shown["bits_per_spike"], color=LIGHT_GREY, linewidth=1.0)
    matched = {"markersize": 4, "linestyle": "none"}
    left.plot(shown["control_bits_per_spike"], rows, "o", mfc="white", mec=BLACK, label="rate-matched", **matched)
    left.plot(shown["bits_per_spike"], rows, "o", color=VERMILLION, label="region", **matched)
    look = {"fmt": "D", "markersize": 3.4, "color": BLACK, "elinewidth": 1.1, "capsize": 1.6}
    error_bar(right, rows, shown, "difference", horizontal=True, **look)
    null_line(right, vertical=True)
    names = [
        f"{in_figure(row.region)} ({row.pairs} pairs; {row.sessions}, {row.animals})"
        for row in shown.itertuples(index=False)
    ]
    left.set_yticks(rows, names)
    left.set_ylim(-0.6, len(shown) - 0.4)
    left.set_xlabel(SCORE_LABEL)
    right.set_xlabel("difference\n(bits/spike)")
    figure.legend(loc="outside lower center", ncols=2, handletextpad=0.1, columnspacing=0.8)
    text = f"{shown['interval'].iloc[0]:.0%} interval over animals"
    if len(shown) < len(compared):
        text = f"{len(shown)} of {len(compared)} regions, those of most animals; {text}"
    figure.suptitle(text, fontsize=6.5, color=GREY, x=0.99, ha="right")
    return figure


@house_style()
def _curve(table: pd.DataFrame, sessions: pd.DataFrame, label: str, *, also: tuple[str, ...]) -> Figure:
    table, sessions = whole_horizon(table), whole_horizon(sessions)
    figure = column_figure(4.9)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 1.0])
    own = sessions[sessions["method"] == FORECASTER]
    if own["session"].nunique() <= _MOST_LINES:
        for _, line in own.sort_values("size").groupby(["fold", "session"], sort=True):
            above.plot(line["size"], line["bits_per_spike"], color=LIGHT_GREY, linewidth=0.6, zorder=1)
    for method in (*also, FORECASTER):
        line = table[table["method"] == method].sort_values(["whole", "size"])
        less, name = line[~line["whole"]], "mean of the rest" if method in also else method_label(method)
        _bars(above, less, method, label=f"{name} (zero-shot)")
        look = {"marker": "D", "markersize": 4, "markerfacecolor": "white"}
        _bars(above, line[line["whole"]], method, **look)
        _bars(below, less, method, value="difference", name="difference")
    for method in (*NETWORKS, UPPER_BOUND):
        for row in table[(table["method"] == method) & table["whole"]].to_dict("records"):
            colour, dashes = method_line(method)
            name = f"{method_label(method)} ({class_word(row['class'])})"
            above.axhline(row["bits_per_spike"], color=colour, linestyle=dashes, linewidth=0.9, label=name)
    below.set_xscale("log")
    below.set_xticks(sorted(table.loc[~table["whole"], "size"].unique()))
    below.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    below.xaxis.set_minor_locator(NullLocator())
    null_line(above, "reference mean (null)", at=0.92)
    null_line(below, "everything known", at=0.92)
    below.set_xlabel(label)
    above.set_ylabel(SCORE_LABEL)
    below.set_ylabel("difference to\nall known (bits/spike)")
    if len(table):
        below.legend(*above.get_legend_handles_labels(), **_BELOW)
        count_title(above, table)
        annotate_sessions(above, table[table["method"] == FORECASTER])
    letters((above, below))
    return figure


def annotate_sessions(axes: Axes, own: pd.DataFrame) -> None:
    """Write the number of sessions at points that do not include all of them."""
    for row in own[(own["sessions"] < own["sessions"].max()) & ~own["whole"]].itertuples(index=False):
        place = (row.size, row.upper if np.isfinite(row.upper) else row.bits_per_spike)
        offset = {"xytext": (0, 3), "textcoords": "offset points"}
        axes.annotate(f"n={row.sessions}", place, ha="center", fontsize=6, color=GREY, **offset)


def _bars(axes: Axes, line: pd.DataFrame, method: str, **look: object) -> None:
    colour, dashes = method_line(method)
    usual = {"linewidth": 1.5, "elinewidth": 1.0, "capsize": 1.6, "marker": "o", "markersize": 3.4, "zorder": 3}
    error_bar(axes, line["size"], line, color=colour, linestyle=dashes, **(usual | look))


def _line(axes: Axes, line: pd.DataFrame, place: pd.Series, method: str, **look: object) -> None:
    colour, dashes = method_line(method)
    width = 1.8 if method == FORECASTER else 1.1
    usual = {"linestyle": dashes, "linewidth": width, "marker": "o", "markersize": 2.0, "zorder": 3, "alpha": 0.13}
    line_with_band(axes, line, place, color=colour, **(usual | look))


def _middle(line: pd.DataFrame, shown: pd.DataFrame) -> pd.Series:
    """Middle of each group of windows; a group without an end is drawn as long as the longest other."""
    longest = (shown["last_s"] - shown["first_s"]).max()
    last = line["last_s"].fillna(line["first_s"] + (longest if np.isfinite(longest) else 0.0))
    return (line["first_s"] + last) / 2
