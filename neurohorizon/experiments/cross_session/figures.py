"""Figures, drawn from tables: nothing is computed here but positions on the page."""

from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D

from neurohorizon.analysis.style import (
    ANIMAL_COLOURS,
    ANIMAL_MARKERS,
    BLACK,
    BLUE,
    COLUMN_WIDTH_INCHES,
    GREY,
    LIGHT_GREY,
    NULL_LABELS,
    PAGE_WIDTH_INCHES,
    VERMILLION,
    house_style,
    method_line,
    null_line,
)
from neurohorizon.analysis.tables import PRIMARY_NULL, counted, over_all_sources
from neurohorizon.forecasts.example import Example, read_example
from neurohorizon.methods import FORECASTER, METHODS, class_word, method_label

_RATE_COLOURS = LinearSegmentedColormap.from_list("rate", [BLUE, "#FFFFFF", VERMILLION])
# the pad is in heights of its letters, so that it clears the axis's label whatever the panel's height
_LEGEND_BELOW = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, 0.0),
    "borderaxespad": 4.0,
    "ncols": 2,
    "labelspacing": 0.25,
}
_DEEPEST = -0.5  # lowest score drawn, as a multiple of the highest, unless the forecaster itself is lower
_ANIMALS_NAMED = 8  # more would cover the points
_MOST_LINES = 8  # with more methods, only those of the short list are drawn by horizon, and none are linked by session
_ROW_INCHES = 0.185
_LARGEST_FOLD = 2.0  # log2 of the largest change of rate that the colours tell apart


def draw_paired(sessions: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Each session's score by method, linked, with the mean and its interval.

    Args:
        sessions: Table ``sessions``.
        summary: Table ``summary``.
    """
    with house_style():
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, _paired_height(summary)), layout="constrained")
        _paired_panel(figure.add_subplot(), sessions, summary)
    return figure


def draw_horizon(horizon: pd.DataFrame) -> Figure:
    """Score against the distance of the forecast bin, by method, with intervals.

    Args:
        horizon: Table ``horizon``.
    """
    with house_style():
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, 3.4), layout="constrained")
        _horizon_panel(figure.add_subplot(), horizon)
    return figure


def draw_example(example: Annotated[Example, read_example]) -> Figure:
    """Context spikes, forecast origin, forecast rates and the spikes that came, in one held-out window."""
    with house_style():
        figure = Figure(figsize=(PAGE_WIDTH_INCHES, 3.6), layout="constrained")
        _example_panels(figure, figure.add_gridspec(1, 1)[0], example)
    return figure


def draw_main(
    *,
    example: Annotated[Example, read_example],
    horizon: pd.DataFrame,
    sessions: pd.DataFrame,
    summary: pd.DataFrame,
) -> Figure:
    """The figure of experiment 1: an example above, scores by horizon and by session below."""
    with house_style():
        below_inches = _paired_height(summary)
        figure = Figure(figsize=(PAGE_WIDTH_INCHES, 3.5 + below_inches), layout="constrained")
        rows = figure.add_gridspec(2, 1, height_ratios=[3.5, below_inches])
        raster, population = _example_panels(figure, rows[0], example)
        below = rows[1].subgridspec(1, 2)
        left, right = figure.add_subplot(below[0]), figure.add_subplot(below[1])
        _horizon_panel(left, horizon)
        _paired_panel(right, sessions, summary)
        for letter, axes in zip("abcd", (raster, population, left, right), strict=True):
            axes.set_title(letter, loc="left", fontweight="bold", fontsize=9, x=-0.04)
    return figure


def _score_label(null: str) -> str:
    return f"bits/spike over\n{NULL_LABELS[null]}"


def _counts_label(sessions: int, animals: int, interval: float, *, bounds: bool) -> str:
    count = f"{counted(sessions, 'session')}, {counted(animals, 'animal')}"
    return f"{count}; {interval:.0%} interval by animal" if bounds else f"{count}; no interval"


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
    for (_, _, lab, subject), line in points.groupby(["fold", "session", "lab", "subject"], sort=True):
        line = line.assign(place=line["method"].map(place)).sort_values("place")
        colour, marker = _animal_look(animals.index((lab, subject)), len(animals))
        if len(place) <= _MOST_LINES:
            axes.plot(line["bits_per_spike"], line["place"], color=colour, linewidth=0.5, alpha=0.6, zorder=1)
        axes.plot(
            *(line["bits_per_spike"], line["place"]),
            linestyle="none",
            marker=marker,
            markersize=2.6,
            color=colour,
            alpha=0.85,
            markeredgewidth=0,
            zorder=2,
        )
    value = means["bits_per_spike"].to_numpy()
    around = np.nan_to_num([value - means["lower"], means["upper"] - value])
    axes.errorbar(
        *(value, means["method"].map(place).to_numpy(dtype=float) + 0.22),
        xerr=around,
        fmt="D",
        markersize=3.4,
        markeredgecolor="white",
        markeredgewidth=0.4,
        color=BLACK,
        elinewidth=1.2,
        capthick=1.0,
        capsize=1.6,
        zorder=3,
    )
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=method_line("reference_mean")[1], zorder=0)
    labels = [
        f"{method_label(row.method)} ({class_word(kind)})"
        for row, kind in zip(means.itertuples(), means["class"], strict=True)
    ]
    axes.set_yticks(range(len(place)), labels)
    for label, method in zip(axes.get_yticklabels(), place, strict=True):
        label.set_fontweight("bold" if method == FORECASTER else "normal")
    kinds = means["class"].to_numpy()
    for row in np.flatnonzero(kinds[1:] != kinds[:-1]):  # classes apart
        axes.axhline(row + 0.5, color=LIGHT_GREY, linewidth=0.6, zorder=0)
    axes.set_ylim(len(place) - 0.5 + 0.2, -0.5)
    _animal_legend(axes, [subject for _, subject in animals])
    unbounded = int(np.isinf(points["bits_per_spike"]).sum())
    if unbounded:
        text = f"not drawn: {counted(unbounded, 'score')} of minus infinity"
        axes.annotate(text, (0.98, 0.02), xycoords="axes fraction", ha="right", fontsize=6, color=VERMILLION)
    _leave_room(axes, points, along="x")
    axes.set_xlabel(_score_label(PRIMARY_NULL))
    if len(means):
        bounds = bool(means["lower"].notna().any())
        text = _counts_label(means["sessions"].max(), means["animals"].max(), means["interval"].iloc[0], bounds=bounds)
        axes.set_title(text, fontsize=6.5, loc="right", color=GREY)


def _leave_room(axes: Axes, scores: pd.DataFrame, *, along: str = "y") -> None:
    """Keep a baseline far below the null from flattening all that lies above it; say what is out of sight.

    Args:
        axes: The panel.
        scores: What is drawn in it.
        along: The axis that scores lie on.
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
    (axes.set_ylim if along == "y" else axes.set_xlim)(floor - 0.3 * top, None)
    arrow = {"y": "\u2193", "x": "\u2190"}[along]  # down, to the left
    texts = [f"{arrow} {method_label(method)}, at {mean:+.2f}" for method, mean in below.items()]
    axes.annotate(
        "\n".join(texts),
        (0.02, 0.02),
        xycoords="axes fraction",
        fontsize=6,
        color=VERMILLION,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )


def _animal_legend(axes: Axes, animals: list[str]) -> None:
    if len(animals) > _ANIMALS_NAMED:
        return
    looks = [_animal_look(index, len(animals)) for index in range(len(animals))]
    handles = [Line2D([], [], color=colour, marker=marker, markersize=3, linewidth=0.8) for colour, marker in looks]
    # scores rise from top to bottom, so this corner is free
    axes.legend(handles, animals, loc="upper right", fontsize=5.5, labelspacing=0.2, handlelength=1.6)


def _animal_look(index: int, animals: int) -> tuple[str, str]:
    """Colour and marker of an animal; grey dots where there are too many to tell apart."""
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
        colour, dashes = method_line(method)
        label = f"{method_label(method)} ({class_word(line['class'].iloc[0])})"
        width = 1.8 if method == FORECASTER else 1.0
        zorder = 4 if method == FORECASTER else 3
        single = {"marker": "o", "markersize": 3} if len(line) == 1 else {}
        axes.plot(
            *(line["horizon_ms"], line["bits_per_spike"]),
            color=colour,
            linestyle=dashes,
            linewidth=width,
            label=label,
            zorder=zorder,
            **single,
        )
        if method == FORECASTER or methods <= _MOST_LINES:
            alpha = 0.2 if method == FORECASTER else 0.1
            axes.fill_between(
                line["horizon_ms"], line["lower"], line["upper"], color=colour, alpha=alpha, linewidth=0, zorder=1
            )
    null_line(axes, "reference mean (null)")
    axes.set_xlabel("time from forecast origin to end of bin (ms)")
    axes.set_ylabel(_score_label(PRIMARY_NULL))
    axes.set_xlim(0, None)
    _leave_room(axes, shown)
    if len(shown):
        handles, labels = axes.get_legend_handles_labels()
        # the best is on top in the picture, so it is on top in the list
        last = shown.groupby("method", sort=False)["bits_per_spike"].mean()
        order = np.argsort(-last.to_numpy(), kind="stable")
        title = {"title": f"{counted(further, 'further method')} in the tables", "title_fontsize": 6} if further else {}
        axes.legend([handles[i] for i in order], [labels[i] for i in order], **_LEGEND_BELOW, **title)
        bounds = bool(shown["lower"].notna().any())
        text = _counts_label(shown["sessions"].max(), shown["animals"].max(), shown["interval"].iloc[0], bounds=bounds)
        axes.set_title(text, fontsize=6.5, loc="right", color=GREY)


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
    axes.imshow(
        change.T,
        extent=(0, horizon_ms, units - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
        cmap=_RATE_COLOURS,
        norm=colours,
        zorder=0,
        rasterized=True,
    )
    axes.vlines(
        example.spike_time_ms,
        example.spike_unit - 0.4,
        example.spike_unit + 0.4,
        color=BLACK,
        linewidth=0.6,
        zorder=2,
    )
    axes.axvline(0, color=BLACK, linewidth=1.0, zorder=3)
    axes.set_xlim(-example.context_ms, horizon_ms)
    axes.set_ylim(units - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_ylabel(f"{units} of {example.units_in_session} units\nby reference rate")
    middle = {"ha": "center", "va": "bottom", "fontsize": 7}
    axes.annotate(
        "context: observed spikes",
        (-example.context_ms / 2, 1.02),
        xycoords=("data", "axes fraction"),
        **middle,
    )
    axes.annotate(
        f"{method_label(example.method)} forecast, and the spikes that came",
        (horizon_ms / 2, 1.02),
        xycoords=("data", "axes fraction"),
        **middle,
    )
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
    axes.stairs(
        forecast,
        edges_ms[context_bins:],
        color=VERMILLION,
        linewidth=1.6,
        label=f"forecast ({method_label(example.method)})",
        baseline=None,
    )
    axes.axhline(
        example.reference_population_hz,
        color=GREY,
        linestyle=method_line("reference_mean")[1],
        linewidth=1.0,
        label="reference mean",
    )
    axes.axvline(0, color=BLACK, linewidth=1.0)
    axes.set_ylim(0, None)
    axes.set_xlabel("time from forecast origin (ms)")
    axes.set_ylabel("population rate\n(Hz per unit)")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), ncols=3, borderaxespad=0.1)
