"""Figures of experiment 1, drawn from tables; only positions on the page are computed here."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D

from neurohorizon.analysis.panels import (
    BIN_LABEL,
    LEGEND_BELOW,
    SCORE_LABEL,
    column_figure,
    count_title,
    error_bar,
    letters,
    line_with_band,
    null_line,
    page_figure,
)
from neurohorizon.analysis.style import (
    ANIMAL_COLOURS,
    ANIMAL_MARKERS,
    BLACK,
    BLUE,
    GREY,
    LIGHT_GREY,
    VERMILLION,
    house_style,
    method_line,
)
from neurohorizon.analysis.tables import PRIMARY_NULL, over_all_sources
from neurohorizon.forecasts.example import Example, read_example
from neurohorizon.methods import FORECASTER, METHODS, class_word, method_label
from neurohorizon.printed_names import counted, in_figure

_DEEPEST = -0.5  # lowest score drawn, as a multiple of the highest, unless the forecaster itself is lower
_ANIMALS_NAMED = 8  # more would cover the points
_MOST_LINES = 8  # with more methods, only those of the short list are drawn by horizon, and none are linked by session
_ROW_INCHES = 0.185
_UNIT_INCHES = 0.36  # height of a unit in the example
_RIVAL_LINE = {"color": BLUE, "linestyle": (0, (4, 1.5)), "linewidth": 1.0, "baseline": None}


@house_style()
def draw_paired(sessions: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Each session's score by method, linked, with the mean and its interval; arguments are tables."""
    figure = column_figure(_paired_height(summary))
    _paired_panel(figure.add_subplot(), sessions, summary)
    return figure


@house_style()
def draw_horizon(horizon: pd.DataFrame) -> Figure:
    """Score by the distance of the forecast bin and by method, with intervals; the argument is a table."""
    figure = column_figure(3.4)
    _horizon_panel(figure.add_subplot(), horizon)
    return figure


@house_style()
def draw_example(example: Annotated[Example, read_example]) -> Figure:
    """Some units in one held-out window: spikes, forecast rates, bands of counts, and a rival."""
    figure = page_figure(_example_height(example))
    _example_panels(figure, figure.add_gridspec(1, 1)[0], example)
    return figure


@house_style()
def draw_main(
    *, example: Annotated[Example, read_example], horizon: pd.DataFrame, sessions: pd.DataFrame, summary: pd.DataFrame
) -> Figure:
    """The figure of experiment 1: an example above, scores by horizon and by session below."""
    below_inches = _paired_height(summary)
    above_inches = _example_height(example)
    figure = page_figure(above_inches + below_inches)
    rows = figure.add_gridspec(2, 1, height_ratios=[above_inches, below_inches])
    units, population = _example_panels(figure, rows[0], example)
    left, right = (figure.add_subplot(place) for place in rows[1].subgridspec(1, 2))
    _horizon_panel(left, horizon)
    _paired_panel(right, sessions, summary)
    letters((units, population, left, right))
    return figure


def _paired_means(summary: pd.DataFrame) -> pd.DataFrame:
    """Rows of the summary that the paired figure shows, in its order: the null is the line at zero."""
    means = over_all_sources(summary)
    return means[(means["null"] == PRIMARY_NULL) & (means["method"] != "reference_mean")]


def _paired_height(summary: pd.DataFrame) -> float:
    """Inches that the paired panel needs: a row for each method."""
    return max(3.0, 1.0 + _ROW_INCHES * len(_paired_means(summary)))


def _paired_panel(axes: Axes, sessions: pd.DataFrame, summary: pd.DataFrame) -> None:
    means = _paired_means(summary)
    points = sessions[(sessions["null"] == PRIMARY_NULL) & (sessions["method"] != "reference_mean")]
    place = {method: position for position, method in enumerate(means["method"])}
    animals = sorted(set(zip(points["lab"], points["subject"], strict=True)))
    dots = {"linestyle": "none", "markersize": 2.6, "alpha": 0.85, "markeredgewidth": 0, "zorder": 2}
    for (_, _, lab, subject), line in points.groupby(["fold", "session", "lab", "subject"], sort=True):
        line = line.assign(place=line["method"].map(place)).sort_values("place")
        colour, marker = _animal_look(animals.index((lab, subject)), len(animals))
        if len(place) <= _MOST_LINES:
            axes.plot(line["bits_per_spike"], line["place"], color=colour, linewidth=0.5, alpha=0.6, zorder=1)
        axes.plot(line["bits_per_spike"], line["place"], marker=marker, color=colour, **dots)
    look = {"fmt": "D", "markersize": 3.4, "markeredgecolor": "white", "markeredgewidth": 0.4, "color": BLACK}
    look |= {"elinewidth": 1.2, "capthick": 1.0, "capsize": 1.6, "zorder": 3}
    error_bar(axes, means["method"].map(place).to_numpy(dtype=float) + 0.22, means, horizontal=True, **look)
    null_line(axes, vertical=True)
    labels = [
        f"{method_label(row.method)} ({class_word(kind)})"
        for row, kind in zip(means.itertuples(), means["class"], strict=True)
    ]
    axes.set_yticks(range(len(place)), labels)
    for label, method in zip(axes.get_yticklabels(), place, strict=True):
        label.set_fontweight("bold" if method == FORECASTER else "normal")
    kinds = means["class"].to_numpy()
    for row in np.flatnonzero(kinds[1:] != kinds[:-1]):  # a line between classes
        axes.axhline(row + 0.5, color=LIGHT_GREY, linewidth=0.6, zorder=0)
    axes.set_ylim(len(place) - 0.5 + 0.2, -0.5)
    _animal_legend(axes, [subject for _, subject in animals])
    unbounded = int(np.isinf(points["bits_per_spike"]).sum())
    if unbounded:
        text = f"not drawn: {counted(unbounded, 'score')} of minus infinity"
        axes.annotate(text, (0.98, 0.02), xycoords="axes fraction", ha="right", fontsize=6, color=VERMILLION)
    _leave_room(axes, points, place)
    axes.set_xlabel(SCORE_LABEL)
    count_title(axes, means)


def _leave_room(axes: Axes, scores: pd.DataFrame, rows: Mapping[str, int] | None = None) -> None:
    """Prevent a baseline far below the null from flattening the others, and write its score at the edge.

    Args:
        axes: Axes with scores.
        scores: Their rows.
        rows: Method -> its row, if scores are on the horizontal axis; None if they are on the vertical one.
    """
    finite = scores[np.isfinite(scores["bits_per_spike"])]
    top = finite["bits_per_spike"].max()
    if not top > 0:
        return
    kept = finite.loc[finite["method"] == FORECASTER, "bits_per_spike"].min()
    floor = min(_DEEPEST * top, kept) if np.isfinite(kept) else _DEEPEST * top
    means = finite.groupby("method", sort=False)["bits_per_spike"].mean()
    below = means[means < floor]
    if below.empty:
        return
    (axes.set_ylim if rows is None else axes.set_xlim)(floor - 0.3 * top, None)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    look = {"fontsize": 6, "color": VERMILLION, "bbox": box}
    if rows is None:
        texts = [f"\u2193 {method_label(method)}, at {mean:+.2f}" for method, mean in below.items()]  # down
        axes.annotate("\n".join(texts), (0.02, 0.02), xycoords="axes fraction", **look)
        return
    for method, mean in below.items():  # in the row of the method, to the left
        place = (0.02, rows[str(method)])
        axes.annotate(f"\u2190 {mean:+.2f}", place, xycoords=axes.get_yaxis_transform(), va="center", **look)


def _animal_legend(axes: Axes, animals: list[str]) -> None:
    if len(animals) > _ANIMALS_NAMED:
        return
    looks = [_animal_look(index, len(animals)) for index in range(len(animals))]
    handles = [Line2D([], [], color=colour, marker=marker, markersize=3, linewidth=0.8) for colour, marker in looks]
    # scores rise from top to bottom, so this corner is free
    axes.legend(
        handles,
        [in_figure(name) for name in animals],
        loc="upper right",
        fontsize=5.5,
        labelspacing=0.2,
        handlelength=1.6,
    )


def _animal_look(index: int, animals: int) -> tuple[str, str]:
    """Colour and marker of an animal; grey dots if there are too many to distinguish."""
    colours, markers = len(ANIMAL_COLOURS), len(ANIMAL_MARKERS)
    if animals > colours * markers:
        return LIGHT_GREY, "o"
    return ANIMAL_COLOURS[index % colours], ANIMAL_MARKERS[index // colours]


def _horizon_panel(axes: Axes, horizon: pd.DataFrame) -> None:
    shown = horizon[(horizon["null"] == PRIMARY_NULL) & (horizon["method"] != "reference_mean")]
    methods = shown["method"].nunique()
    if methods > _MOST_LINES:
        shown = shown[shown["method"].isin([name for name, one in METHODS.items() if one.short])]
    further = methods - shown["method"].nunique()
    for method, line in shown.groupby("method", sort=False):
        ours = method == FORECASTER
        colour, dashes = method_line(method)
        look = {"linestyle": dashes, "label": f"{method_label(method)} ({class_word(line['class'].iloc[0])})"}
        look |= {"linewidth": 1.8 if ours else 1.0, "zorder": 4 if ours else 3}
        look |= {"marker": "o", "markersize": 3} if len(line) == 1 else {}
        alpha = 0.2 if ours else 0.1 if methods <= _MOST_LINES else 0.0
        line_with_band(axes, line, "horizon_ms", color=colour, alpha=alpha, **look)
    null_line(axes, "reference mean (null)")
    axes.set_xlabel(BIN_LABEL)
    axes.set_ylabel(SCORE_LABEL)
    axes.set_xlim(0, None)
    _leave_room(axes, shown)
    if len(shown):
        handles, labels = axes.get_legend_handles_labels()
        # the best is on top in the picture, so it is on top in the list
        last = shown.groupby("method", sort=False)["bits_per_spike"].mean()
        order = np.argsort(-last.to_numpy(), kind="stable")
        title = {"title": f"{counted(further, 'further method')} in the tables", "title_fontsize": 6} if further else {}
        look = LEGEND_BELOW | {"columnspacing": 0.6, "handlelength": 1.6}
        axes.legend([handles[i] for i in order], [labels[i] for i in order], **look, **title)
    count_title(axes, shown)


def _example_height(example: Example) -> float:
    """Inches that the panels of the example need: a row for each unit, and one for the population."""
    return 1.6 + _UNIT_INCHES * len(example.unit_id)


def _example_panels(figure: Figure, place: SubplotSpec, example: Example) -> tuple[Axes, Axes]:
    units = len(example.unit_id)
    grid = place.subgridspec(2, 1, height_ratios=[_UNIT_INCHES * units, 1.2])
    of_units = figure.add_subplot(grid[0])
    population = figure.add_subplot(grid[1], sharex=of_units)
    _units_panel(of_units, example)
    _population_panel(population, example)
    of_units.tick_params(labelbottom=False)
    return of_units, population


def _units_panel(axes: Axes, example: Example) -> None:
    units, edges_ms, horizon_ms = len(example.unit_id), example.edges_ms, example.edges_ms[-1]
    spans = np.diff(edges_ms) / 1000
    bins_ms = np.arange(len(example.rate_hz) + 1) * example.bin_ms
    axes.axvspan(0, horizon_ms, color=VERMILLION, alpha=0.05, linewidth=0, zorder=0)
    centres = edges_ms[:-1] + np.diff(edges_ms) / 2
    for unit in range(units):
        if unit:
            axes.axhline(units - unit, color=LIGHT_GREY, linewidth=0.5)
        floor = units - 1 - unit  # spikes are in the upper part of a row, rates in the lower one
        times = example.spike_time_ms[example.spike_unit == unit]
        colours = [BLACK if time >= 0 else GREY for time in times]
        axes.vlines(times, floor + 0.72, floor + 0.95, color=colours, linewidth=0.7)
        observed, low, high = (one[:, unit] / spans for one in (example.observed, example.low, example.high))
        own, rival, reference = example.rate_hz[:, unit], example.rival_hz[:, unit], example.reference_rate_hz[unit]
        largest = max(np.max(one) for one in (observed, high, own, rival, reference))
        scaled = [floor + 0.62 * one / largest for one in (low, high, observed, own, rival, reference)]
        low, high, observed, own, rival, reference = scaled
        band = {"step": "post", "color": VERMILLION, "alpha": 0.2, "linewidth": 0}
        axes.fill_between(edges_ms, np.append(low, low[-1]), np.append(high, high[-1]), **band)
        axes.hlines(reference, 0, horizon_ms, color=GREY, linewidth=0.8, linestyle=method_line("reference_mean")[1])
        axes.stairs(rival, bins_ms, **_RIVAL_LINE)
        axes.stairs(own, bins_ms, color=VERMILLION, linewidth=1.5, baseline=None)
        axes.plot(centres, observed, color=BLACK, marker="o", markersize=2.2, linestyle="none")
    axes.axvline(0, color=BLACK, linewidth=1.0)
    axes.set_xlim(-example.context_ms, horizon_ms)
    axes.set_ylim(0, units)
    names = [
        f"{in_figure(name)}, {rate:.1f} Hz"
        for name, rate in zip(example.unit_id, example.reference_rate_hz, strict=True)
    ]
    axes.set_yticks(np.arange(units)[::-1] + 0.3, names)
    axes.tick_params(axis="y", length=0)
    middle = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom", "fontsize": 7}
    axes.annotate("context: observed spikes", (-example.context_ms / 2, 1.01), **middle)
    axes.annotate(f"forecast: {example.score:+.3f} bits/spike in this window", (horizon_ms / 2, 1.01), **middle)


def _population_panel(axes: Axes, example: Example) -> None:
    edges_ms = example.edges_ms
    axes.axvspan(0, edges_ms[-1], color=VERMILLION, alpha=0.05, linewidth=0, zorder=0)
    centres = edges_ms[:-1] + np.diff(edges_ms) / 2
    dotted = {"color": GREY, "linestyle": method_line("reference_mean")[1], "linewidth": 1.0, "baseline": None}
    axes.stairs(example.population_reference, edges_ms, label="reference mean", **dotted)
    axes.stairs(example.population_rival, edges_ms, label=method_label(example.rival), **_RIVAL_LINE)
    own = {"color": VERMILLION, "linewidth": 1.6, "baseline": None}
    axes.stairs(example.population_forecast, edges_ms, label=method_label(example.method), **own)
    axes.fill_between([], [], color=VERMILLION, alpha=0.2, linewidth=0, label="90 % of counts of a unit")
    axes.plot(centres, example.population, color=BLACK, marker="o", markersize=3, linestyle="none", label="observed")
    axes.axvline(0, color=BLACK, linewidth=1.0)
    axes.set_ylim(0, None)
    axes.set_xlabel("time from forecast origin (ms)")
    axes.set_ylabel(f"spikes in {edges_ms[1] - edges_ms[0]:g} ms,\nall scored units")
    # the context has no curve, so the legend covers none
    axes.legend(loc="center left", bbox_to_anchor=(0.0, 0.5))
