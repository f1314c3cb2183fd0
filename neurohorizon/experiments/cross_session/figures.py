"""Figures of experiment 1, drawn from tables; only positions on the page are computed here."""

from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
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
from neurohorizon.analysis.wording import counted
from neurohorizon.forecasts.example import Example, read_example
from neurohorizon.methods import FORECASTER, METHODS, class_word, method_label
from neurohorizon.printed_names import in_figure

_RATE_COLOURS = LinearSegmentedColormap.from_list("rate", [BLUE, "#FFFFFF", VERMILLION])
_DEEPEST = -0.5  # lowest score drawn, as a multiple of the highest, unless the forecaster itself is lower
_ANIMALS_NAMED = 8  # more would cover the points
_MOST_LINES = 8  # with more methods, only those of the short list are drawn by horizon, and none are linked by session
_ROW_INCHES = 0.185
_LARGEST_FOLD = 2.0  # log2 of the largest change of rate that the colours distinguish


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
    """Context spikes, forecast origin, forecast rates and observed spikes in one held-out window."""
    figure = page_figure(3.6)
    _example_panels(figure, figure.add_gridspec(1, 1)[0], example)
    return figure


@house_style()
def draw_main(
    *, example: Annotated[Example, read_example], horizon: pd.DataFrame, sessions: pd.DataFrame, summary: pd.DataFrame
) -> Figure:
    """The figure of experiment 1: an example above, scores by horizon and by session below."""
    below_inches = _paired_height(summary)
    figure = page_figure(3.5 + below_inches)
    rows = figure.add_gridspec(2, 1, height_ratios=[3.5, below_inches])
    raster, population = _example_panels(figure, rows[0], example)
    left, right = (figure.add_subplot(place) for place in rows[1].subgridspec(1, 2))
    _horizon_panel(left, horizon)
    _paired_panel(right, sessions, summary)
    letters((raster, population, left, right))
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
    _leave_room(axes, points, along="x")
    axes.set_xlabel(SCORE_LABEL)
    count_title(axes, means)


def _leave_room(axes: Axes, scores: pd.DataFrame, *, along: str = "y") -> None:
    """Prevent a baseline far below the null from flattening the others, and write its score at the edge."""
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
    (axes.set_ylim if along == "y" else axes.set_xlim)(floor - 0.3 * top, None)
    arrow = {"y": "\u2193", "x": "\u2190"}[along]  # down, to the left
    texts = [f"{arrow} {method_label(method)}, at {mean:+.2f}" for method, mean in below.items()]
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    axes.annotate("\n".join(texts), (0.02, 0.02), xycoords="axes fraction", fontsize=6, color=VERMILLION, bbox=box)


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


def _example_panels(figure: Figure, place: SubplotSpec, example: Example) -> tuple[Axes, Axes]:
    grid = place.subgridspec(2, 2, height_ratios=[2.6, 1.0], width_ratios=[1.0, 0.018])
    raster = figure.add_subplot(grid[0, 0])
    population = figure.add_subplot(grid[1, 0], sharex=raster)
    _raster_panel(raster, figure.add_subplot(grid[0, 1]), example)
    _population_panel(population, example)
    raster.tick_params(labelbottom=False)
    return raster, population


def _raster_panel(axes: Axes, bar_axes: Axes, example: Example) -> None:
    units, horizon_ms = len(example.unit_id), len(example.rate_hz) * example.bin_ms
    with np.errstate(divide="ignore"):
        change = np.log2(example.rate_hz / example.reference_rate_hz)
    change[~example.target_mask] = np.nan
    colours = Normalize(-_LARGEST_FOLD, _LARGEST_FOLD)
    image = {"aspect": "auto", "interpolation": "nearest", "zorder": 0, "rasterized": True}
    extent = (0, horizon_ms, units - 0.5, -0.5)
    axes.imshow(change.T, extent=extent, cmap=_RATE_COLOURS, norm=colours, **image)
    ends = (example.spike_unit - 0.4, example.spike_unit + 0.4)
    axes.vlines(example.spike_time_ms, *ends, color=BLACK, linewidth=0.6, zorder=2)
    axes.axvline(0, color=BLACK, linewidth=1.0, zorder=3)
    axes.set_xlim(-example.context_ms, horizon_ms)
    axes.set_ylim(units - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_ylabel(f"{units} of {example.units_in_session} units\nby reference rate")
    middle = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom", "fontsize": 7}
    axes.annotate("context: observed spikes", (-example.context_ms / 2, 1.02), **middle)
    text = f"{method_label(example.method)} forecast, and observed spikes"
    axes.annotate(text, (horizon_ms / 2, 1.02), **middle)
    bar = axes.figure.colorbar(ScalarMappable(colours, _RATE_COLOURS), cax=bar_axes, extend="both")
    bar.set_label("forecast rate /\nreference rate")
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["1/4", "1/2", "1", "2", "4"])
    bar.outline.set_linewidth(0.5)


def _population_panel(axes: Axes, example: Example) -> None:
    bins, context_bins = len(example.rate_hz), len(example.context_population_hz)
    edges_ms = np.arange(-context_bins, bins + 1) * example.bin_ms
    observed = np.concatenate([example.context_population_hz, example.observed_population_hz])
    observed[context_bins:][~example.target_mask] = np.nan
    axes.stairs(observed, edges_ms, color=BLACK, linewidth=0.7, label="observed", baseline=None)
    forecast = np.where(example.target_mask, example.forecast_population_hz, np.nan)
    look = {"color": VERMILLION, "linewidth": 1.6, "label": f"forecast ({method_label(example.method)})"}
    axes.stairs(forecast, edges_ms[context_bins:], baseline=None, **look)
    dotted = {"color": GREY, "linestyle": method_line("reference_mean")[1], "linewidth": 1.0}
    axes.axhline(example.reference_population_hz, label="reference mean", **dotted)
    axes.axvline(0, color=BLACK, linewidth=1.0)
    axes.set_ylim(0, None)
    axes.set_xlabel("time from forecast origin (ms)")
    axes.set_ylabel("population rate\n(Hz per unit)")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), ncols=3, borderaxespad=0.1)
