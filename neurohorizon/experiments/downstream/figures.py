"""Figures of downstream decoding, each drawn from one table."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurohorizon.analysis.panels import error_bar, page_figure
from neurohorizon.analysis.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
    house_style,
)
from neurohorizon.experiments.downstream.tables import (
    FORECAST_MODES,
    HELDOUT,
    LATENTS,
    METHOD_ORDER,
    METHOD_WORDS,
    NORMALISED,
    POPULATION_MODES,
    POYO,
    POYO_LATENTS,
    RAW,
    TARGET_WORDS,
    TRAIN,
    scored,
)
from neurohorizon.printed_names import counted

LOOKS = {  # colour and marker: distinct in grey print too
    LATENTS: (VERMILLION, "o"),
    FORECAST_MODES: (BLACK, "X"),
    POPULATION_MODES: (SKY_BLUE, "P"),
    NORMALISED: (GREEN, "^"),
    RAW: (ORANGE, "s"),
    POYO_LATENTS: (BLUE, "D"),
    POYO: (PURPLE, "v"),
}
_GROUPS = ((HELDOUT, "unseen animals"), (TRAIN, "training animals"))


@house_style()
def draw_scores(*, summary: pd.DataFrame) -> Figure:
    """Mean score of every representation for every target, in unseen animals and in training animals."""
    targets = [name for name in TARGET_WORDS if name in set(summary["target"])]
    methods = [name for name in METHOD_ORDER if name in set(summary["method"])]
    columns = min(max(len(targets), 1), 3)
    rows = -(-max(len(targets), 1) // columns)
    figure = page_figure(0.5 + 1.75 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(targets) :]:
        axes.set_axis_off()
    if not targets:
        panels[0].set_title("nothing could be decoded", color=GREY)
        return figure
    for axes, target in zip(panels, targets, strict=False):
        _panel(axes, summary[summary["target"] == target], target, methods)
    handles = [*_handles(methods, 4.5), Line2D([], [], linestyle="none", marker="_", color=BLACK, markersize=7)]
    labels = [*(f"{METHOD_WORDS[name]} (fitted)" for name in methods), "chance"]
    look = {"ncols": min(len(handles), 4), "columnspacing": 1.2, "handletextpad": 0.3}
    figure.legend(handles, labels, loc="outside upper center", **look)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, target: str, methods: list[str]) -> None:
    metric = rows["metric"].iloc[0]
    groups = [(role, words) for role, words in _GROUPS if role in set(rows["role"])]
    named = []
    for group, (role, words) in enumerate(groups):
        of_role = rows[rows["role"] == role].set_index("method")
        for number, method in enumerate(methods):
            if method not in of_role.index:
                continue
            row = of_role.loc[method]
            at = group + min(0.15, 0.8 / len(methods)) * (number - (len(methods) - 1) / 2)
            colour, marker = LOOKS[method]
            look = {"marker": marker, "color": colour, "markersize": 4.5, "elinewidth": 1.0, "zorder": 3}
            error_bar(axes, [at], row, "score", **look)
            axes.plot([at], [row["chance"]], marker="_", color=BLACK, markersize=7, zorder=2)
        sessions, animals = int(of_role["sessions"].max()), int(of_role["animals"].max())
        named.append(f"{words}\n({counted(sessions, 'session')}, {animals})")
    axes.axhline(0.0 if metric == "R2" else 0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 1)), zorder=0)
    for edge in range(1, len(groups)):
        axes.axvline(edge - 0.5, color=LIGHT_GREY, linewidth=0.8)
    axes.set_xticks(range(len(groups)), named, fontsize=6)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylabel("R$^2$" if metric == "R2" else "balanced accuracy")
    axes.set_title(TARGET_WORDS[target])


@house_style()
def draw_sessions(*, sessions: pd.DataFrame) -> Figure:
    """Score of each session: latents against each other representation, for trials and for the wheel."""
    found = scored(sessions)
    wide = found.pivot_table(index=["role", "fold", "session", "target", "metric"], columns="method", values="score")
    wide = wide.reset_index()
    others = [name for name in METHOD_ORDER if name != LATENTS and name in wide and LATENTS in wide]
    figure = page_figure(2.9)
    panels = figure.subplots(1, 2)
    for axes, metric, words in (
        (panels[0], "balanced accuracy", "trials: balanced accuracy"),
        (panels[1], "R2", "wheel: R$^2$"),
    ):
        rows = wide[wide["metric"] == metric]
        for method in others:
            for role, filled in ((HELDOUT, True), (TRAIN, False)):
                one = rows[rows["role"] == role].dropna(subset=[LATENTS, method])
                colour, marker = LOOKS[method]
                look = {"linestyle": "none", "marker": marker, "markersize": 3.5, "markeredgewidth": 0.7}
                look |= {"markeredgecolor": colour, "markerfacecolor": colour if filled else "none"}
                axes.plot(one[method], one[LATENTS], **look)
        values = rows[[LATENTS, *others]].to_numpy(dtype=float) if others and len(rows) else np.array([[0.0, 1.0]])
        low, high = np.nanmin(values), np.nanmax(values)
        room = 0.06 * (high - low)
        axes.plot([low - room, high + room], [low - room, high + room], color=GREY, linewidth=0.8, zorder=0)
        axes.set_xlim(low - room, high + room)
        axes.set_ylim(low - room, high + room)
        axes.set_aspect("equal")
        axes.set_xlabel(f"{words}, from another representation")
        axes.set_ylabel("from NeuroHorizon's latents")
    names = [METHOD_WORDS[name] for name in others]
    figure.legend(_handles(others, 3.5), names, loc="outside upper center", ncols=min(len(others), 4) or 1)
    return figure


def _handles(methods: list[str], size: float) -> list[Line2D]:
    return [
        Line2D([], [], linestyle="none", marker=LOOKS[name][1], color=LOOKS[name][0], markersize=size)
        for name in methods
    ]
