"""Figures of experiment 3, drawn from its tables; only positions on the page are computed here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurohorizon.analysis.panels import (
    BIN_LABEL,
    SCORE_LABEL,
    column_figure,
    count_title,
    error_bar,
    letters,
    line_with_band,
    note,
    null_line,
    page_figure,
)
from neurohorizon.analysis.style import BLACK, LIGHT_GREY, VERMILLION, house_style
from neurohorizon.experiments.horizons.calibration import POPULATION, UNIT
from neurohorizon.experiments.horizons.calibration_figures import LABELS, LOOKS
from neurohorizon.experiments.horizons.calibration_tables import GAMMA_POISSON, REFERENCE_MEAN
from neurohorizon.experiments.horizons.tables import AUTOREGRESSIVE, TEACHER_FORCED
from neurohorizon.methods import CEILING, DECODINGS, FORECASTER, ORACLE

_LABELS = LABELS | {ORACLE: "true rates (ceiling)", TEACHER_FORCED: "teacher-forced: not a forecast"}
_LOOKS = LOOKS | {ORACLE: (BLACK, (0, (2, 1)), "D"), TEACHER_FORCED: (BLACK, (0, (1, 1)), "o")}
_NETWORK = (FORECASTER, *DECODINGS)
_INSIDE = "counts inside minus nominal\n(percentage points)"
_TITLES = {UNIT: "a unit in a bin", POPULATION: "all units in a bin"}
_NOMINAL = {"coverage_90": (0.9, True), "coverage_50": (0.5, False)}  # nominal coverage, whether its marker is filled


@house_style()
def draw_main(
    *,
    bins: pd.DataFrame,
    horizons: pd.DataFrame,
    reach: pd.DataFrame,
    teacher_forced_bins: pd.DataFrame,
    calibration: pd.DataFrame,
) -> Figure:
    """Curves and horizons of forecasts, teacher forcing, and calibration by horizon; arguments are tables."""
    figure = page_figure(5.6)
    rows = figure.add_gridspec(2, 1, height_ratios=[1.25, 1.0])
    above, below = rows[0].subgridspec(1, 2), rows[1].subgridspec(1, 3)
    panels = [figure.add_subplot(place) for place in (above[0], above[1], below[0], below[1])]
    panels.append(figure.add_subplot(below[2], sharey=panels[3]))
    _curves_panel(panels[0], bins, reach)
    _horizons_panel(panels[1], horizons)
    _teacher_forced_panel(panels[2], teacher_forced_bins, bins)
    _coverage_panels(panels[3:], calibration)
    letters(panels, x=-0.08)
    _legend(figure, [name for name, _ in _of_methods(bins)], columns=3)
    return figure


@house_style()
def draw_curves(*, bins: pd.DataFrame, reach: pd.DataFrame) -> Figure:
    """Score in each bin by its distance, with intervals, and where these first include zero."""
    figure = column_figure(3.5)
    _curves_panel(figure.add_subplot(), bins, reach)
    _legend(figure, [name for name, _ in _of_methods(bins)])
    return figure


@house_style()
def draw_horizons(*, horizons: pd.DataFrame) -> Figure:
    """Score up to the end of each horizon, by forecast mode."""
    figure = column_figure(3.2)
    _horizons_panel(figure.add_subplot(), horizons)
    _legend(figure, [name for name, _ in _of_methods(horizons)])
    return figure


@house_style()
def draw_teacher_forced(*, teacher_forced_bins: pd.DataFrame, bins: pd.DataFrame) -> Figure:
    """Score of the decoder on observed counts, which is no forecast, next to two forecasts."""
    figure = column_figure(2.9)
    _teacher_forced_panel(figure.add_subplot(), teacher_forced_bins, bins)
    _legend(figure, [name for name, _ in _of_decoder(teacher_forced_bins, bins)])
    return figure


@house_style()
def draw_calibration(*, calibration: pd.DataFrame) -> Figure:
    """Coverage of central intervals up to the end of each horizon, by method."""
    figure = column_figure(2.9)
    left = figure.add_subplot(1, 2, 1)
    _coverage_panels([left, figure.add_subplot(1, 2, 2, sharey=left)], calibration)
    _legend(figure, [name for name, _ in _of_methods(calibration)])
    return figure


def _legend(figure: Figure, methods: Sequence[str], *, columns: int = 2) -> None:
    """One entry per method, for its line and its marker."""
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


def _of_decoder(teacher_forced: pd.DataFrame, bins: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of the decoder on observed counts, if it has feedback, and of two of its forecasts."""
    shown = bins[bins["method"].isin([FORECASTER, AUTOREGRESSIVE])]
    return _of_methods(pd.concat([teacher_forced, shown], ignore_index=True))


def _curves_panel(axes: Axes, bins: pd.DataFrame, reach: pd.DataFrame) -> None:
    over_null = reach[reach["over"] == REFERENCE_MEAN].set_index("method")
    for name, line in _of_methods(bins):
        colour, dashes, marker = _LOOKS[name]
        look = {"color": colour, "linestyle": dashes, "lw": 1.6 if name == FORECASTER else 1.0}
        alpha = 0.12 if name in (FORECASTER, AUTOREGRESSIVE) else 0.0
        line_with_band(axes, line.sort_values("horizon_ms"), "horizon_ms", alpha=alpha, **look)
        touches = over_null["touches_ms"].get(name, np.nan)
        if np.isfinite(touches):
            axes.plot(touches, 0, marker=marker, color=colour, markersize=4.5, markeredgecolor="white", clip_on=False)
    null_line(axes)
    axes.set_xlim(0, None)
    axes.set_xlabel(BIN_LABEL)
    axes.set_ylabel(SCORE_LABEL)
    count_title(axes, bins[bins["class"] != CEILING])


def _horizons_panel(axes: Axes, horizons: pd.DataFrame) -> None:
    methods = _of_methods(horizons)
    ends = sorted(horizons["last_ms"].unique())
    for number, (name, rows) in enumerate(methods):
        rows = rows.sort_values("last_ms")
        colour, _, marker = _LOOKS[name]
        place = np.array([ends.index(end) for end in rows["last_ms"]]) + 0.11 * (number - (len(methods) - 1) / 2)
        error_bar(axes, place, rows, **_bar(name), color=colour, marker=marker)
    null_line(axes)
    axes.set_xticks(range(len(ends)), [f"{end:g}" for end in ends])
    axes.set_xlim(-0.5, len(ends) - 0.5)
    axes.set_xlabel("all bins from the forecast origin to (ms)")
    axes.set_ylabel(SCORE_LABEL)
    count_title(axes, horizons[horizons["class"] != CEILING])


def _teacher_forced_panel(axes: Axes, teacher_forced: pd.DataFrame, bins: pd.DataFrame) -> None:
    for name, line in _of_decoder(teacher_forced, bins):
        colour, dashes, _ = _LOOKS[name]
        line_with_band(axes, line.sort_values("horizon_ms"), "horizon_ms", color=colour, linestyle=dashes)
    null_line(axes)
    if teacher_forced.empty:
        note(axes, "no feedback, so no teacher forcing", color=VERMILLION)
    else:
        note(axes, "dotted: given observed counts, not a forecast", color=VERMILLION)
    axes.set_xlim(0, None)
    axes.set_xlabel("to end of bin (ms)")
    axes.set_ylabel(SCORE_LABEL)


def _coverage_panels(panels: Sequence[Axes], calibration: pd.DataFrame) -> None:
    for axes, target in zip(panels, (UNIT, POPULATION), strict=True):
        _coverage_panel(axes, calibration[calibration["target"] == target], target)
    panels[0].set_ylabel(_INSIDE)
    panels[1].tick_params(labelleft=False)


def _coverage_panel(axes: Axes, calibration: pd.DataFrame, target: str) -> None:
    methods = [(name, rows) for name, rows in _of_methods(calibration) if name in (GAMMA_POISSON, *_NETWORK)]
    ends = sorted(calibration["last_ms"].unique())
    axes.axhline(0, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    for number, (name, rows) in enumerate(methods):
        rows = rows.sort_values("last_ms")
        colour, _, marker = LOOKS[name]
        place = np.array([ends.index(end) for end in rows["last_ms"]]) + 0.15 * (number - (len(methods) - 1) / 2)
        for measure, (nominal, filled) in _NOMINAL.items():
            bounds = [measure, f"{measure}_lower", f"{measure}_upper"]
            off = (100 * (rows[bounds] - nominal)).set_axis(["off", "lower", "upper"], axis=1)
            look = _bar(name) | {"markeredgewidth": 0.7, "markerfacecolor": colour if filled else "white"}
            error_bar(axes, place, off, "off", **look, color=colour, marker=marker)
    axes.set_xticks(range(len(ends)), [f"{end:g}" for end in ends])
    axes.set_xlabel("all bins up to (ms)")
    note(axes, _TITLES[target])


def _bar(name: str) -> dict[str, object]:
    size = 3.8 if name == FORECASTER else 3.2
    return {"linestyle": "none", "elinewidth": 0.9, "markersize": size, "markeredgewidth": 0}
