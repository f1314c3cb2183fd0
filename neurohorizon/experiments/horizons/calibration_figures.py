"""Figures of calibration, drawn from its tables; only positions on the page are computed here."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from neurohorizon.analysis.panels import (
    count_text,
    empty_panel,
    error_bar,
    letters,
    line_with_band,
    null_line,
    page_figure,
)
from neurohorizon.analysis.style import BLACK, BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, PURPLE, VERMILLION, house_style
from neurohorizon.analysis.tables import whole_horizon
from neurohorizon.experiments.horizons.calibration import POPULATION, POPULATION_TOTAL, TARGETS, UNIT, UNIT_TOTAL
from neurohorizon.experiments.horizons.calibration_tables import GAMMA_POISSON, REFERENCE_MEAN, SHARED_GAIN
from neurohorizon.experiments.horizons.example_paths import EXAMPLE_LEVELS, PathsExample, read_paths_example
from neurohorizon.methods import DECODINGS, FORECASTER, method_label
from neurohorizon.printed_names import counted

TARGET_LABELS = {
    UNIT: "a unit in a bin",
    UNIT_TOTAL: "a unit over the horizon",
    POPULATION: "all units in a bin",
    POPULATION_TOTAL: "all units over the horizon",
}
LABELS = {
    **{name: method_label(name) for name in (REFERENCE_MEAN, GAMMA_POISSON)},
    FORECASTER: "NeuroHorizon, parallel",
    SHARED_GAIN: "shared gain",
    **{name: method_label(name).removeprefix(f"{method_label(FORECASTER)}, ") for name in DECODINGS},
}
LOOKS = {  # colour, dashes, marker: the forecast modes of one network have distinct looks in these figures only
    REFERENCE_MEAN: (GREY, (0, (1, 1)), "o"),
    GAMMA_POISSON: (PURPLE, (0, (5, 1, 1, 1)), "s"),
    FORECASTER: (VERMILLION, "solid", "D"),
    SHARED_GAIN: (BLACK, (0, (5, 1)), "X"),
    **dict(
        zip(
            DECODINGS,
            ((BLUE, "solid", "^"), (GREEN, (0, (4, 1)), "v"), (ORANGE, (0, (2, 1)), "P")),
            strict=True,
        )
    ),
}


@house_style()
def draw_calibration(
    *, pit: pd.DataFrame, coverage: pd.DataFrame, horizon: pd.DataFrame, calibration: pd.DataFrame
) -> Figure:
    """PIT histograms, coverage by nominal coverage, and CRPS skill by horizon; arguments are tables."""
    figure = page_figure(6.4)
    rows = figure.add_gridspec(3, 1, height_ratios=[1.0, 1.1, 1.2])
    pits = _panels(figure, rows[0].subgridspec(1, len(TARGETS)), share_height=False)
    coverages = _panels(figure, rows[1].subgridspec(1, len(TARGETS)), share_height=True)
    for target, above, below in zip(TARGETS, pits, coverages, strict=True):
        _pit_panel(above, pit[pit["target"] == target], target)
        _coverage_panel(below, coverage[coverage["target"] == target])
    pits[0].set_ylabel("density of the PIT")
    coverages[0].set_ylabel("share of counts inside")
    skills = _panels(figure, rows[2].subgridspec(1, 3), share_height=False)
    for axes, target in zip(skills, (UNIT, POPULATION), strict=False):
        _skill_panel(axes, horizon[horizon["target"] == target], target)
    _totals_panel(skills[2], calibration)
    skills[0].set_ylabel("CRPS skill relative to the\nreference-window mean rate")
    letters((pits[0], coverages[0], skills[0]), x=-0.2)
    handles, labels = coverages[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=-(-len(labels) // 2), columnspacing=1.6)
    if len(calibration):
        text = count_text(calibration, lower="crps_skill_lower")
        figure.suptitle(text, fontsize=6.5, color=GREY, x=0.99, ha="right")
    return figure


@house_style()
def draw_paths(*, example: Annotated[PathsExample | None, read_paths_example]) -> Figure:
    """Fan charts of one window: quantiles over paths, a few paths, and the observed spikes.

    Args:
        example: Paths of one window; None if no session has any.
    """
    if example is None:
        figure = page_figure(1.0)
        axes = figure.add_subplot()
        axes.set_axis_off()
        empty_panel(axes, "no session has sample paths")
        return figure
    methods = [name for name in LABELS if name in set(example.methods) and name != REFERENCE_MEAN]
    figure = page_figure(3.4)
    grid = figure.add_gridspec(2, len(methods))
    above, below = (
        _panels(figure, [grid[row, column] for column in range(len(methods))], share_height=True) for row in (0, 1)
    )
    for name, upper, lower in zip(methods, above, below, strict=True):
        _fan_panel(upper, example, name, 0)
        _fan_panel(lower, example, name, 1)
        upper.set_title(LABELS[name].removeprefix("NeuroHorizon, "), color=LOOKS[name][0], loc="left", fontsize=7)
        upper.tick_params(labelbottom=False)
    for panels in (above, below):
        panels[0].set_ylim(0, None)  # of all panels of the row, so after the last one is drawn
    above[0].set_ylabel(f"spikes in {example.block_ms:g} ms,\n{counted(example.units, 'unit')}")
    below[0].set_ylabel("spikes since\nthe origin")
    handles, labels = above[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), columnspacing=1.4)
    figure.supxlabel("time from forecast origin (ms)", fontsize=7)
    return figure


def _panels(figure: Figure, places: Sequence[SubplotSpec], *, share_height: bool) -> list[Axes]:
    panels: list[Axes] = []
    for place in places:
        panels.append(figure.add_subplot(place, sharey=panels[0] if share_height and panels else None))
        panels[-1].tick_params(labelleft=not share_height or len(panels) == 1)
    return panels


def _of_methods(table: pd.DataFrame, without: Sequence[str] = ()) -> list[tuple[str, pd.DataFrame]]:
    present = set(table["method"]) - set(without)
    return [(name, table[table["method"] == name]) for name in LABELS if name in present]


def _pit_panel(axes: Axes, pit: pd.DataFrame, target: str) -> None:
    tallest = 1.0
    for name, rows in _of_methods(pit):
        rows = rows.sort_values("from")
        edges = [*rows["from"], rows["to"].iloc[-1]]
        density = rows["share"] / (rows["to"] - rows["from"])
        colour, dashes, _ = LOOKS[name]
        axes.stairs(density, edges, color=colour, linestyle=dashes, linewidth=0.9, baseline=None)
        tallest = max(tallest, density.max())
    axes.axhline(1, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.08 * tallest)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_xlabel("PIT")
    axes.set_title(TARGET_LABELS[target], fontsize=7)


def _coverage_panel(axes: Axes, coverage: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=LIGHT_GREY, linewidth=0.8, zorder=0)
    for name, rows in _of_methods(coverage):
        colour, dashes, _ = LOOKS[name]
        look = {"color": colour, "linestyle": dashes, "label": LABELS[name]}
        line_with_band(axes, rows.sort_values("nominal"), "nominal", "coverage", **look)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    ticks = [0, 0.5, 0.9]
    axes.set_xticks(ticks, ["0", "0.5", "0.9"])
    axes.set_yticks(ticks, ["0", "0.5", "0.9"])
    axes.set_xlabel("nominal coverage")


def _skill_panel(axes: Axes, horizon: pd.DataFrame, target: str) -> None:
    for name, rows in _of_methods(horizon, without=[REFERENCE_MEAN]):
        colour, dashes, _ = LOOKS[name]
        rows = rows.sort_values("horizon_ms")
        line_with_band(axes, rows, "horizon_ms", "crps_skill", color=colour, linestyle=dashes)
    null_line(axes)
    axes.set_xlim(0, None)
    axes.set_xlabel("to end of bin (ms)")
    axes.set_title(TARGET_LABELS[target], fontsize=7)


def _totals_panel(axes: Axes, calibration: pd.DataFrame) -> None:
    targets = (UNIT_TOTAL, POPULATION_TOTAL)
    methods = _of_methods(whole_horizon(calibration), without=[REFERENCE_MEAN])
    for number, (name, rows) in enumerate(methods):
        colour, _, marker = LOOKS[name]
        place = np.arange(len(targets)) + 0.13 * (number - (len(methods) - 1) / 2)
        look = {"linestyle": "none", "elinewidth": 1.0, "markersize": 3.5, "markeredgewidth": 0, "color": colour}
        rows = rows.set_index("target").reindex(targets)
        error_bar(axes, place, rows, "crps_skill", name="crps_skill", marker=marker, **look)
    null_line(axes)
    axes.set_xticks(range(len(targets)), ["a unit", "all units"])
    axes.set_xlim(-0.5, len(targets) - 0.5)
    axes.set_title("over the horizon", fontsize=7)


def _fan_panel(axes: Axes, example: PathsExample, method: str, series: int) -> None:
    row = list(example.methods).index(method)
    blocks = len(example.observed)
    edges_ms = np.arange(blocks + 1) * example.block_ms
    quantiles = {level: example.quantiles[row, place, :, series] for place, level in enumerate(EXAMPLE_LEVELS)}
    colour = LOOKS[method][0]
    for low, high, alpha in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.35)):
        band = {"fill": True, "color": colour, "alpha": alpha, "linewidth": 0, "label": f"{high - low:.0%} of paths"}
        axes.stairs(quantiles[high], edges_ms, baseline=quantiles[low], **band)
    axes.stairs(quantiles[0.5], edges_ms, color=colour, linewidth=1.4, baseline=None, label="median")
    for number, path in enumerate(example.paths[row, :, :, series]):
        label = "single paths" if number == 0 else None
        axes.stairs(path, edges_ms, color=colour, linewidth=0.5, baseline=None, label=label)
    observed, before = example.observed[:, series], 0
    if series == 0:
        before = min(len(example.context), blocks // 2)
        observed = np.concatenate([example.context[len(example.context) - before :], observed])
    edges = np.arange(-before, blocks + 1) * example.block_ms
    axes.stairs(observed, edges, color=BLACK, linewidth=1.0, baseline=None, label="observed")
    reference = example.reference * (1 + np.arange(blocks)) if series else np.full(blocks, example.reference)
    dotted = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (1, 1)), "zorder": 0}
    axes.stairs(reference, edges_ms, baseline=None, label="reference mean", **dotted)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_xlim(-min(len(example.context), blocks // 2) * example.block_ms, edges_ms[-1])
    axes.set_xticks([0, edges_ms[-1]])
