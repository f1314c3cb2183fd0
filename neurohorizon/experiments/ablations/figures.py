"""Figures of experiment 6, drawn from its tables; only positions on the page are computed here."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurohorizon.ablations import ABLATIONS
from neurohorizon.analysis.panels import column_figure, count_text, error_bar, null_line
from neurohorizon.analysis.style import BLACK, BLUE, GREY, LIGHT_GREY, SKY_BLUE, VERMILLION, house_style
from neurohorizon.analysis.tables import ordered
from neurohorizon.methods import CONTROL, FITTED, ZERO_SHOT, class_word

_CLASSES = {  # class: colour, marker, whether it is filled, words
    ZERO_SHOT: (BLUE, "o", True, "trained so"),
    CONTROL: (VERMILLION, "D", False, "disrupted at forecast time"),
    FITTED: (BLACK, "s", True, "fits the session"),
}
_SHADES = (SKY_BLUE, BLUE, VERMILLION, BLACK)
_ROW_INCHES = 0.24
_DIFFERENCE = "difference to the full network (bits/spike)"
_BESIDE = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 5.5}


@house_style()
def draw_forest(*, ablations: pd.DataFrame, differences: pd.DataFrame) -> Figure:
    """Difference of each variant to the full network: sessions, mean with interval, and test; arguments are tables."""
    shown = _ordered(ablations[ablations["declared"].astype(bool)])
    declared = differences[differences["declared"].astype(bool)]
    lowest = _left_end(shown, declared)
    figure = column_figure(1.25 + _ROW_INCHES * len(shown))
    axes = figure.add_subplot()
    for place, row in enumerate(shown.to_dict("records")):
        colour, marker, filled, _ = _CLASSES[row["class"]]
        points = declared.loc[declared["method"] == row["method"], "difference"]
        dots = {"linestyle": "none", "marker": "|", "markersize": 3.5, "color": LIGHT_GREY, "zorder": 1}
        axes.plot(points, np.full(len(points), place - 0.22), **dots)
        look = {"markersize": 4, "markerfacecolor": colour if filled else "white", "markeredgewidth": 0.8}
        look |= {"marker": marker, "color": colour, "elinewidth": 1.1, "zorder": 3}
        error_bar(axes, [place], row, "difference", horizontal=True, **look)
        if row["difference"] < lowest:
            bounds = f" [{row['lower']:.2f}, {row['upper']:.2f}]" if np.isfinite(row["lower"]) else ""
            _note_beyond(axes, f"{row['difference']:.2f}{bounds}", place, colour)
        p = "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.2g}"
        text = f"{p}\n{row['sessions_better']} of {row['sessions']}"
        axes.annotate(text, (1.02, place), color=GREY, **_BESIDE)
    _rows(axes, shown)
    if (shown["difference"] < lowest).any():
        axes.set_xlim(left=lowest)
    axes.set_xlabel(f"{_DIFFERENCE};\nbelow 0: worse than it")
    corner = {"xycoords": "axes fraction", "va": "bottom", "fontsize": 5.5}
    axes.annotate("Holm p\nbetter in", (1.02, 1.0), color=GREY, **corner)
    _count(figure, shown)
    _classes_legend(figure, shown)
    return figure


@house_style()
def draw_horizons(*, horizons: pd.DataFrame) -> Figure:
    """Difference of each variant to the full network up to each horizon; the argument is a table."""
    variants = _ordered(horizons.drop_duplicates("variant"))
    ends = sorted(horizons["last_ms"].unique())
    lowest = _left_end(horizons, horizons)
    figure = column_figure(1.15 + 1.25 * _ROW_INCHES * len(variants))
    axes = figure.add_subplot()
    place = {name: row for row, name in enumerate(variants["variant"])}
    for number, end in enumerate(ends):
        rows = horizons[horizons["last_ms"] == end]
        offset = 0.18 * (number - (len(ends) - 1) / 2)
        look = {"linestyle": "none", "marker": "o", "markersize": 3, "markeredgewidth": 0, "elinewidth": 0.9}
        look |= {"color": _SHADES[min(number, len(_SHADES) - 1)], "label": f"to {end:g} ms"}
        error_bar(axes, rows["variant"].map(place) + offset, rows, "difference", horizontal=True, **look)
    beyond = horizons[horizons["difference"] < lowest].sort_values("last_ms")
    for variant, rows in beyond.groupby("variant"):
        _note_beyond(axes, ", ".join(f"{value:.2f}" for value in rows["difference"]), place[variant], GREY)
    if len(beyond):
        axes.set_xlim(left=lowest)
    _rows(axes, variants)
    axes.set_xlabel(_DIFFERENCE.replace(" (", "\n("))
    _count(figure, variants)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(ends), columnspacing=1.2)
    return figure


def _ordered(shown: pd.DataFrame) -> pd.DataFrame:
    return ordered(shown, ["variant"], variant=tuple(ABLATIONS))


def _rows(axes: Axes, shown: pd.DataFrame) -> None:
    null_line(axes, vertical=True)
    axes.set_yticks(range(len(shown)), [ABLATIONS[name].label for name in shown["variant"]])
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.spines["left"].set_visible(False)
    for place in range(1, len(shown)):
        axes.axhline(place - 0.5, color=LIGHT_GREY, linewidth=0.3, zorder=0)
    axes.set_ylim(len(shown) - 0.5, -0.5)


def _count(figure: Figure, shown: pd.DataFrame) -> None:
    figure.suptitle(count_text(shown), fontsize=6.5, color=GREY, x=0.01, ha="left")


def _classes_legend(figure: Figure, shown: pd.DataFrame) -> None:
    handles = []
    for kind, (colour, marker, filled, words) in _CLASSES.items():
        if kind in set(shown["class"]):
            look = {"linestyle": "none", "marker": marker, "markersize": 4}
            face = colour if filled else "white"
            handles.append(
                Line2D([], [], color=colour, label=f"{class_word(kind)}: {words}", markerfacecolor=face, **look)
            )
    figure.legend(handles=handles, loc="outside lower center", ncols=2, columnspacing=1.0, handletextpad=0.3)


def _left_end(shown: pd.DataFrame, points: pd.DataFrame) -> float:
    """Left end of the axis for all retrained networks; the loss of a control can be many times theirs."""
    trained = shown.loc[shown["class"] != CONTROL]
    drawn = points[points["method"].isin(trained["method"])]
    values = [*drawn["difference"], *trained["lower"].dropna(), 0.0]
    return min(values) - 0.05 * np.ptp(values)


def _note_beyond(axes: Axes, numbers: str, place: float, colour: str) -> None:
    """Write numbers that lie left of the axis at its left end."""
    axes.annotate(f"◂ {numbers}".replace("-", "\N{MINUS SIGN}"), (0.01, place), color=colour, **_BESIDE)
