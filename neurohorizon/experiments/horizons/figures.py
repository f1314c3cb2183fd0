"""Figures of experiment 3, drawn from its tables: nothing is computed here but positions on the page."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurohorizon.analysis.style import (
    BLACK,
    COLUMN_WIDTH_INCHES,
    GREY,
    LIGHT_GREY,
    NULL_LABELS,
    PAGE_WIDTH_INCHES,
    VERMILLION,
    house_style,
    null_line,
)
from neurohorizon.analysis.tables import PRIMARY_NULL, counted
from neurohorizon.experiments.horizons.calibration import POPULATION, UNIT
from neurohorizon.experiments.horizons.calibration_figures import LABELS, LOOKS
from neurohorizon.experiments.horizons.calibration_tables import GAMMA_POISSON, REFERENCE_MEAN
from neurohorizon.experiments.horizons.tables import AUTOREGRESSIVE, TEACHER_FORCED
from neurohorizon.methods import CEILING, DECODINGS, FORECASTER, ORACLE

_LABELS = LABELS | {ORACLE: "true rates (ceiling)", TEACHER_FORCED: "teacher-forced: not a forecast"}
_LOOKS = LOOKS | {ORACLE: (BLACK, (0, (2, 1)), "D"), TEACHER_FORCED: (BLACK, (0, (1, 1)), "o")}
_NETWORK = (FORECASTER, *DECODINGS)
_SCORE = f"bits/spike over\n{NULL_LABELS[PRIMARY_NULL]}"
_INSIDE = "counts inside, less claimed\n(percentage points)"
_BIN = "time from forecast origin to end of bin (ms)"
_TITLES = {UNIT: "a unit in a bin", POPULATION: "all units in a bin"}
_CLAIMED = {"coverage_90": (0.9, True), "coverage_50": (0.5, False)}  # what is claimed, whether its marker is filled


def draw_main(
    *,
    bins: pd.DataFrame,
    horizons: pd.DataFrame,
    reach: pd.DataFrame,
    teacher_forced_bins: pd.DataFrame,
    calibration: pd.DataFrame,
) -> Figure:
    """Curves and horizons of forecasts, teacher forcing apart, and calibration by horizon; arguments by table."""
    with house_style():
        figure = Figure(figsize=(PAGE_WIDTH_INCHES, 5.6), layout="constrained")
        rows = figure.add_gridspec(2, 1, height_ratios=[1.25, 1.0])
        above, below = rows[0].subgridspec(1, 2), rows[1].subgridspec(1, 3)
        panels = [figure.add_subplot(place) for place in (above[0], above[1], below[0], below[1])]
        panels.append(figure.add_subplot(below[2], sharey=panels[3]))
        panels[4].tick_params(labelleft=False)
        _curves_panel(panels[0], bins, reach)
        _horizons_panel(panels[1], horizons)
        _told_panel(panels[2], teacher_forced_bins, bins)
        for axes, target in zip(panels[3:], (UNIT, POPULATION), strict=True):
            _coverage_panel(axes, calibration[calibration["target"] == target], target)
        panels[3].set_ylabel(_INSIDE)
        for letter, axes in zip("abcde", panels, strict=True):
            axes.set_title(letter, loc="left", fontweight="bold", fontsize=9, x=-0.08)
        _legend(figure, [name for name, _ in _of_methods(bins)], columns=3)
    return figure


def draw_curves(*, bins: pd.DataFrame, reach: pd.DataFrame) -> Figure:
    """Score in each bin by its distance, with intervals, and where these first touch zero."""
    with house_style():
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, 3.5), layout="constrained")
        axes = figure.add_subplot()
        _curves_panel(axes, bins, reach)
        _legend(figure, [name for name, _ in _of_methods(bins)])
    return figure


def draw_horizons(*, horizons: pd.DataFrame) -> Figure:
    """Score up to the end of each horizon, by decoding."""
    with house_style():
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, 3.2), layout="constrained")
        axes = figure.add_subplot()
        _horizons_panel(axes, horizons)
        _legend(figure, [name for name, _ in _of_methods(horizons)])
    return figure


def draw_teacher_forced(*, teacher_forced_bins: pd.DataFrame, bins: pd.DataFrame) -> Figure:
    """What the decoder makes of the counts that came, which is no forecast, beside two that are."""
    with house_style():
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, 2.9), layout="constrained")
        axes = figure.add_subplot()
        _told_panel(axes, teacher_forced_bins, bins)
        _legend(figure, [FORECASTER, AUTOREGRESSIVE, TEACHER_FORCED])
    return figure


def draw_calibration(*, calibration: pd.DataFrame) -> Figure:
    """Coverage of central intervals up to the end of each horizon, by method."""
    with house_style():
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, 2.9), layout="constrained")
        left = figure.add_subplot(1, 2, 1)
        right = figure.add_subplot(1, 2, 2, sharey=left)
        for axes, target in zip((left, right), (UNIT, POPULATION), strict=True):
            _coverage_panel(axes, calibration[calibration["target"] == target], target)
        left.set_ylabel(_INSIDE)
        right.tick_params(labelleft=False)
        _legend(figure, [name for name, _ in _of_methods(calibration)])
    return figure


def _legend(figure: Figure, methods: Sequence[str], *, columns: int = 2) -> None:
    """One entry a method, whether panels draw its line or its marker."""
    handles = []
    for name in methods:
        colour, dashes, marker = _LOOKS[name]
        line = {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 3}
        handles.append(Line2D([], [], **line, label=_LABELS[name]))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.4, handlelength=3.2)


def _of_methods(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of each method that has a look, in a fixed order; the null is the line at zero."""
    present = set(table["method"]) - {REFERENCE_MEAN}
    return [(name, table[table["method"] == name]) for name in _LABELS if name in present]


def _curves_panel(axes: Axes, bins: pd.DataFrame, reach: pd.DataFrame) -> None:
    over_null = reach[reach["over"] == REFERENCE_MEAN].set_index("method")
    for name, line in _of_methods(bins):
        line = line.sort_values("horizon_ms")
        colour, dashes, marker = _LOOKS[name]
        width = 1.6 if name == FORECASTER else 1.0
        axes.plot(line["horizon_ms"], line["bits_per_spike"], color=colour, linestyle=dashes, lw=width)
        if name in (FORECASTER, AUTOREGRESSIVE):
            axes.fill_between(line["horizon_ms"], line["lower"], line["upper"], color=colour, alpha=0.12, linewidth=0)
        touches = over_null["touches_ms"].get(name, np.nan)
        if np.isfinite(touches):
            axes.plot(touches, 0, marker=marker, color=colour, markersize=4.5, markeredgecolor="white", clip_on=False)
    null_line(axes)
    axes.set_xlim(0, None)
    axes.set_xlabel(_BIN)
    axes.set_ylabel(_SCORE)
    _count(axes, bins, "lower")


def _horizons_panel(axes: Axes, horizons: pd.DataFrame) -> None:
    methods = _of_methods(horizons)
    ends = sorted(horizons["last_ms"].unique())
    for number, (name, rows) in enumerate(methods):
        rows = rows.sort_values("last_ms")
        colour, _, marker = _LOOKS[name]
        place = np.array([ends.index(end) for end in rows["last_ms"]]) + 0.11 * (number - (len(methods) - 1) / 2)
        axes.errorbar(
            *(place, rows["bits_per_spike"]),
            yerr=_around(rows, "bits_per_spike", "lower", "upper"),
            **_bar(name),
            color=colour,
            marker=marker,
        )
    null_line(axes)
    axes.set_xticks(range(len(ends)), [f"{end:g}" for end in ends])
    axes.set_xlim(-0.5, len(ends) - 0.5)
    axes.set_xlabel("all bins from the forecast origin to (ms)")
    axes.set_ylabel(_SCORE)
    _count(axes, horizons, "lower")


def _told_panel(axes: Axes, told: pd.DataFrame, bins: pd.DataFrame) -> None:
    shown = pd.concat([told, bins[bins["method"].isin([FORECASTER, AUTOREGRESSIVE])]], ignore_index=True)
    for name, line in _of_methods(shown):
        line = line.sort_values("horizon_ms")
        colour, dashes, _ = _LOOKS[name]
        axes.plot(line["horizon_ms"], line["bits_per_spike"], color=colour, linestyle=dashes)
        axes.fill_between(line["horizon_ms"], line["lower"], line["upper"], color=colour, alpha=0.1, linewidth=0)
    null_line(axes)
    axes.set_title("dotted: told what came, not a forecast", fontsize=6.5, loc="right", color=VERMILLION)
    axes.set_xlim(0, None)
    axes.set_xlabel("to end of bin (ms)")
    axes.set_ylabel(_SCORE)


def _coverage_panel(axes: Axes, calibration: pd.DataFrame, target: str) -> None:
    methods = [(name, rows) for name, rows in _of_methods(calibration) if name in (GAMMA_POISSON, *_NETWORK)]
    ends = sorted(calibration["last_ms"].unique())
    axes.axhline(0, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    for number, (name, rows) in enumerate(methods):
        rows = rows.sort_values("last_ms")
        colour, _, marker = LOOKS[name]
        place = np.array([ends.index(end) for end in rows["last_ms"]]) + 0.15 * (number - (len(methods) - 1) / 2)
        for measure, (claimed, filled) in _CLAIMED.items():
            axes.errorbar(
                *(place, 100 * (rows[measure] - claimed)),
                yerr=100 * _around(rows, measure, f"{measure}_lower", f"{measure}_upper"),
                **_bar(name) | {"markeredgewidth": 0.7, "markerfacecolor": colour if filled else "white"},
                color=colour,
                marker=marker,
            )
    axes.set_xticks(range(len(ends)), [f"{end:g}" for end in ends])
    axes.set_xlabel("all bins up to (ms)")
    axes.set_title(_TITLES[target], fontsize=6.5, loc="right", color=GREY)


def _bar(name: str) -> dict[str, object]:
    size = 3.8 if name == FORECASTER else 3.2
    return {"linestyle": "none", "elinewidth": 0.9, "markersize": size, "markeredgewidth": 0}


def _around(rows: pd.DataFrame, value: str, lower: str, upper: str) -> np.ndarray:
    """Lengths of the bars below and above a value; none where there is no interval."""
    return np.maximum(np.nan_to_num([rows[value] - rows[lower], rows[upper] - rows[value]]), 0)


def _count(axes: Axes, table: pd.DataFrame, lower: str) -> None:
    rows = table[table["class"] != CEILING]
    if rows.empty:
        return
    text = f"{counted(int(rows['sessions'].max()), 'session')}, {counted(int(rows['animals'].max()), 'animal')}"
    text += f"; {rows['interval'].iloc[0]:.0%} interval by animal" if rows[lower].notna().any() else "; no interval"
    axes.set_title(text, fontsize=6.5, loc="right", color=GREY)
