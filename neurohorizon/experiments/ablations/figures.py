"""Figures of experiment 6, drawn from its tables: nothing is computed here but positions on the page."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurohorizon.ablations import ABLATIONS
from neurohorizon.analysis.style import (
    BLACK,
    BLUE,
    COLUMN_WIDTH_INCHES,
    GREY,
    LIGHT_GREY,
    SKY_BLUE,
    VERMILLION,
    house_style,
)
from neurohorizon.analysis.tables import counted
from neurohorizon.methods import CONTROL, FITTED, ZERO_SHOT, class_word

_CLASSES = {  # class: colour, marker, whether it is filled, words
    ZERO_SHOT: (BLUE, "o", True, "trained so"),
    CONTROL: (VERMILLION, "D", False, "tampered with at the forecast"),
    FITTED: (BLACK, "s", True, "fits the session"),
}
_SHADES = (SKY_BLUE, BLUE, VERMILLION, BLACK)
_ROW_INCHES = 0.24
_DIFFERENCE = "difference to the whole network (bits/spike)"


def draw_forest(*, ablations: pd.DataFrame, differences: pd.DataFrame) -> Figure:
    """Difference of each variant to the whole network: sessions, mean and interval, and what its test says.

    Args:
        ablations: Table ``ablations``.
        differences: Table ``differences``.
    """
    shown = _declared(ablations)
    lowest = _left_end(shown, differences[differences["declared"].astype(bool)])
    with house_style():
        height = 1.25 + _ROW_INCHES * len(shown)
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, height), layout="constrained")
        axes = figure.add_subplot()
        for place, row in enumerate(shown.to_dict("records")):
            colour, marker, filled, _ = _CLASSES[row["class"]]
            points = differences[(differences["method"] == row["method"]) & differences["declared"].astype(bool)]
            axes.plot(
                *(points["difference"], np.full(len(points), place - 0.22)),
                linestyle="none",
                marker="|",
                markersize=3.5,
                color=LIGHT_GREY,
                zorder=1,
            )
            axes.errorbar(
                *(row["difference"], place),
                xerr=_around(row),
                marker=marker,
                markersize=4,
                markerfacecolor=colour if filled else "white",
                markeredgewidth=0.8,
                color=colour,
                elinewidth=1.1,
                zorder=3,
            )
            if row["difference"] < lowest:
                bounds = f" [{row['lower']:.2f}, {row['upper']:.2f}]" if np.isfinite(row["lower"]) else ""
                _tell_beyond(axes, f"{row['difference']:.2f}{bounds}", place, colour)
            told = _verdict(row)
            axes.annotate(
                *(told, (1.02, place)),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=5.5,
                color=GREY,
            )
        _rows(axes, shown)
        if (shown["difference"] < lowest).any():
            axes.set_xlim(left=lowest)
        axes.set_xlabel(f"{_DIFFERENCE};\nbelow 0: worse than it")
        axes.annotate(
            *("Holm p\nbetter in", (1.02, 1.0)),
            xycoords="axes fraction",
            va="bottom",
            fontsize=5.5,
            color=GREY,
        )
        _count(figure, shown)
        _classes_legend(figure, shown)
    return figure


def draw_horizons(*, horizons: pd.DataFrame) -> Figure:
    """Difference of each variant to the whole network up to each horizon.

    Args:
        horizons: Table ``horizons``.
    """
    variants = _sorted(horizons.drop_duplicates("variant"))
    ends = sorted(horizons["last_ms"].unique())
    lowest = _left_end(horizons, horizons)
    with house_style():
        height = 1.15 + 1.25 * _ROW_INCHES * len(variants)
        figure = Figure(figsize=(COLUMN_WIDTH_INCHES, height), layout="constrained")
        axes = figure.add_subplot()
        place = {name: row for row, name in enumerate(variants["variant"])}
        for number, end in enumerate(ends):
            rows = horizons[horizons["last_ms"] == end]
            colour = _SHADES[min(number, len(_SHADES) - 1)]
            offset = 0.18 * (number - (len(ends) - 1) / 2)
            bounds = np.nan_to_num([rows["difference"] - rows["lower"], rows["upper"] - rows["difference"]])
            axes.errorbar(
                *(rows["difference"], rows["variant"].map(place) + offset),
                xerr=np.maximum(bounds, 0),
                linestyle="none",
                marker="o",
                markersize=3,
                markeredgewidth=0,
                color=colour,
                elinewidth=0.9,
                label=f"to {end:g} ms",
            )
        beyond = horizons[horizons["difference"] < lowest].sort_values("last_ms")
        for variant, rows in beyond.groupby("variant"):
            _tell_beyond(axes, ", ".join(f"{value:.2f}" for value in rows["difference"]), place[variant], GREY)
        if len(beyond):
            axes.set_xlim(left=lowest)
        _rows(axes, variants)
        axes.set_xlabel(_DIFFERENCE.replace(" (", "\n("))
        _count(figure, variants)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(ends), columnspacing=1.2)
    return figure


def _declared(ablations: pd.DataFrame) -> pd.DataFrame:
    """Declared comparisons in the order of figures."""
    return _sorted(ablations[ablations["declared"].astype(bool)])


def _sorted(shown: pd.DataFrame) -> pd.DataFrame:
    order = list(ABLATIONS)
    return shown.sort_values("variant", key=lambda names: names.map(order.index), ignore_index=True, kind="stable")


def _rows(axes: Axes, shown: pd.DataFrame) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=(0, (1, 1)), zorder=0)
    axes.set_yticks(range(len(shown)), [ABLATIONS[name].label for name in shown["variant"]])
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.spines["left"].set_visible(False)
    for place in range(1, len(shown)):
        axes.axhline(place - 0.5, color=LIGHT_GREY, linewidth=0.3, zorder=0)
    axes.set_ylim(len(shown) - 0.5, -0.5)


def _count(figure: Figure, shown: pd.DataFrame) -> None:
    first = shown.iloc[0]
    text = f"{counted(int(first['sessions']), 'session')}, {counted(int(first['animals']), 'animal')}"
    text += f"; {first['interval']:.0%} interval by animal" if shown["lower"].notna().any() else "; no interval"
    figure.suptitle(text, fontsize=6.5, color=GREY, x=0.01, ha="left")


def _classes_legend(figure: Figure, shown: pd.DataFrame) -> None:
    handles = []
    for kind, (colour, marker, filled, words) in _CLASSES.items():
        if kind in set(shown["class"]):
            face = colour if filled else "white"
            look = {"linestyle": "none", "marker": marker, "markersize": 4, "markerfacecolor": face}
            handles.append(Line2D([], [], color=colour, label=f"{class_word(kind)}: {words}", **look))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, columnspacing=1.0, handletextpad=0.3)


def _left_end(shown: pd.DataFrame, points: pd.DataFrame) -> float:
    """Where the axis may end: what networks lose that were trained so; what a control loses can be many times that."""
    trained = shown.loc[shown["class"] != CONTROL]
    drawn = points[points["method"].isin(trained["method"])]
    values = [*drawn["difference"], *trained["lower"].dropna(), 0.0]
    return min(values) - 0.05 * np.ptp(values)


def _tell_beyond(axes: Axes, numbers: str, place: float, colour: str) -> None:
    """Write what lies left of the axis at its left end."""
    axes.annotate(
        *(f"◂ {numbers}".replace("-", "\N{MINUS SIGN}"), (0.01, place)),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=5.5,
        color=colour,
    )


def _around(row: dict) -> np.ndarray:
    """Lengths of the bar to the left and to the right; none where there is no interval."""
    lengths = np.nan_to_num([[row["difference"] - row["lower"]], [row["upper"] - row["difference"]]])
    return np.maximum(lengths, 0)


def _verdict(row: dict) -> str:
    p = "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.2g}"
    return f"{p}\n{row['sessions_better']} of {row['sessions']}"
