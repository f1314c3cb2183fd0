"""Figures of the scaling experiment, drawn from its tables; only positions on the page are computed here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from neurohorizon.analysis.panels import (
    BIN_LABEL,
    SCORE_LABEL,
    column_figure,
    count_text,
    empty_panel,
    error_bar,
    letters,
    line_with_band,
    note,
    null_line,
    page_figure,
)
from neurohorizon.analysis.style import BLACK, BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, PURPLE, VERMILLION, house_style
from neurohorizon.analysis.tables import whole_horizon
from neurohorizon.experiments.scaling.laws import LAWS
from neurohorizon.experiments.scaling.tables import RANDOM, RUN, SAME_LAB, SAME_REGION, sessions_text

LAW_LABELS = {"power": "power law", "saturating": "exponential", "log_linear": "logarithm", "constant": "constant"}
ARM_LABELS = {RANDOM: "random", SAME_LAB: "one\nlab", SAME_REGION: "same\nregions"}
_OWN_LAB = {"own": "held out\nin it", "other": "in other\nlabs"}
_LAW_LINES = {
    "power": (VERMILLION, "solid"),
    "saturating": (BLUE, (0, (4, 1))),
    "log_linear": (GREEN, (0, (4, 1, 1, 1))),
    "constant": (GREY, (0, (1, 1))),
}
_PART_LOOKS = ((BLUE, "o"), (GREEN, "s"), (ORANGE, "^"), (PURPLE, "D"), (VERMILLION, "v"), (BLACK, "P"))
_DOTS = {"linestyle": "none", "elinewidth": 0.9, "markersize": 4, "markeredgewidth": 0}


@house_style()
def draw_main(
    *,
    curve: pd.DataFrame,
    points: pd.DataFrame,
    fits: pd.DataFrame,
    lines: pd.DataFrame,
    predictions: pd.DataFrame,
    arms: pd.DataFrame,
    comparisons: pd.DataFrame,
    own_lab: pd.DataFrame,
    parameters: pd.DataFrame,
) -> Figure:
    """The curve with its laws, by horizon, predictions from smaller sizes, choices of sessions, and parameters.

    Arguments are tables.
    """
    figure = page_figure(4.6)
    above, below = figure.add_gridspec(2, 1, height_ratios=[1.15, 1.0])
    first, second = (figure.add_subplot(place) for place in above.subgridspec(1, 2, width_ratios=[1.35, 1.0]))
    third, fourth, fifth = (figure.add_subplot(place) for place in below.subgridspec(1, 3))
    _curve_panel(first, whole_horizon(curve), whole_horizon(points), whole_horizon(lines), whole_horizon(fits))
    _parts_panel(second, curve)
    _prediction_panel(third, whole_horizon(curve), whole_horizon(lines), whole_horizon(predictions))
    _arms_panel(fourth, arms, comparisons, own_lab)
    _parameter_panel(fifth, whole_horizon(parameters))
    for axes in (first, third):
        axes.set_ylabel(SCORE_LABEL)
    letters((first, second, third, fourth, fifth), x=-0.12)
    figure.suptitle(_counts(whole_horizon(curve)), fontsize=6.5, color=GREY, x=0.99, ha="right")
    return figure


@house_style()
def draw_curve(*, curve: pd.DataFrame, points: pd.DataFrame, fits: pd.DataFrame, lines: pd.DataFrame) -> Figure:
    """The curve with its laws only, as wide as a column; arguments are tables."""
    figure = column_figure(2.9)
    axes = figure.add_subplot()
    _curve_panel(axes, whole_horizon(curve), whole_horizon(points), whole_horizon(lines), whole_horizon(fits))
    axes.set_ylabel(SCORE_LABEL)
    figure.suptitle(_counts(whole_horizon(curve)), fontsize=6, color=GREY, x=0.99, ha="right")
    return figure


@house_style()
def draw_horizon(*, horizon: pd.DataFrame) -> Figure:
    """Score by horizon bin, a curve for each number of training sessions; the argument is a table."""
    figure = column_figure(2.5)
    axes = figure.add_subplot()
    sizes = sorted(horizon["sessions_trained"].unique())
    for shade, size in zip(np.linspace(0.85, 0.0, len(sizes)), sizes, strict=True):
        colour = colormaps["viridis"](shade)
        rows = horizon[horizon["sessions_trained"] == size].sort_values("horizon_ms")
        line_with_band(axes, rows, "horizon_ms", color=colour, alpha=0.08, label=sessions_text(size))
    null_line(axes)
    axes.set_xlim(0, None)
    axes.set_xlabel(BIN_LABEL)
    axes.set_ylabel(SCORE_LABEL)
    axes.legend(title="training sessions", ncols=2, title_fontsize=6.5)
    note(axes, _counts(horizon), fontsize=6)
    return figure


def _curve_panel(
    axes: Axes, curve: pd.DataFrame, points: pd.DataFrame, lines: pd.DataFrame, fits: pd.DataFrame
) -> None:
    best = fits.loc[fits["best"], "law"].tolist()
    for law in LAWS:
        line = lines[(lines["law"] == law) & (lines["fitted_to"] == "all")].sort_values("sessions_trained")
        if line.empty:
            continue
        colour, dashes = _LAW_LINES[law]
        label = LAW_LABELS[law] + (", best AICc" if law in best else "")
        look = {"color": colour, "linestyle": dashes, "label": label, "alpha": 0.1 * (law in best)}
        line_with_band(axes, line, "sessions_trained", **look)
    drawn = points[points["kind"] == "sessions"]
    # next to the means, which would hide them
    places = drawn["sessions_trained"] * 0.94
    axes.plot(places, drawn["bits_per_spike"], "o", color=GREY, markersize=2.2, markeredgewidth=0, label="a draw")
    _errorbar(axes, curve["sessions_trained"], curve, color=BLACK, marker="o", label="mean of draws")
    _session_axis(axes, curve)
    # above, for curves may fill the panel
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, columnspacing=0.9, handlelength=1.7)


def _parts_panel(axes: Axes, curve: pd.DataFrame) -> None:
    parts = sorted(curve["last_ms"].unique())
    for (colour, marker), last_ms in zip(_PART_LOOKS * len(parts), parts, strict=False):
        rows = curve[curve["last_ms"] == last_ms]
        axes.plot(rows["sessions_trained"], rows["bits_per_spike"], color=colour, linewidth=0.9)
        _errorbar(axes, rows["sessions_trained"], rows, color=colour, marker=marker, label=f"up to {last_ms:g} ms")
    _session_axis(axes, curve[curve["last_ms"] == parts[-1]])
    axes.set_ylabel("bits/spike")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=0.9, handlelength=1.7)


def _prediction_panel(axes: Axes, curve: pd.DataFrame, lines: pd.DataFrame, predictions: pd.DataFrame) -> None:
    if predictions.empty:
        _empty(axes, "too few sizes to predict\nthe top from the others")
        return
    fitted_up_to, top = predictions[["fitted_up_to", "top"]].iloc[0]
    below = curve[curve["sessions_trained"] < top]
    _errorbar(axes, below["sessions_trained"], below, color=BLACK, marker="o")
    ratio = top / fitted_up_to
    for place, row in enumerate(predictions.to_dict("records")):
        colour, dashes = _LAW_LINES[row["law"]]
        line = lines[(lines["law"] == row["law"]) & (lines["fitted_to"] == "smaller")]
        axes.plot(line["sessions_trained"], line["bits_per_spike"], color=colour, linestyle=dashes, linewidth=0.8)
        at = top * ratio ** (0.12 * (place + 1))
        _errorbar(axes, [at], pd.DataFrame([row]), value="predicted", color=colour, marker="s")
    axes.plot(
        [top], predictions["observed"].iloc[:1], "*", color=BLACK, markersize=8, markeredgewidth=0, label="observed"
    )
    axes.axvspan(fitted_up_to * ratio**0.5, top * ratio**0.62, color=LIGHT_GREY, alpha=0.25, linewidth=0, zorder=0)
    _session_axis(axes, curve)
    axes.set_xlim(curve["sessions_trained"].min() * 0.8, top * ratio**0.62)
    axes.set_title("predicted from smaller sizes", fontsize=7)
    axes.legend(loc="upper left")


def _arms_panel(axes: Axes, arms: pd.DataFrame, comparisons: pd.DataFrame, own_lab: pd.DataFrame) -> None:
    over_random = comparisons[comparisons["against"] == RANDOM].set_index("comparison")
    rows = []
    for arm in over_random.index:
        rows.append((ARM_LABELS[arm], over_random.loc[arm]))
        if arm == SAME_LAB:
            rows += [(_OWN_LAB[row["heldout_lab"]], row) for _, row in own_lab.iterrows()]
    if not rows:
        _empty(axes, "no other choice\nof sessions in this run")
        return
    for place, (_, row) in enumerate(rows):
        if "draw_lowest" in row:
            axes.plot([place] * 2, [row["draw_lowest"], row["draw_highest"]], color=LIGHT_GREY, linewidth=4, zorder=0)
        hollow = {"markerfacecolor": "white", "markeredgewidth": 0.8} if "heldout_lab" in row else {}
        _errorbar(axes, [place], row, value="difference", color=BLACK, marker="o", **hollow)
    null_line(axes)
    axes.set_xticks(range(len(rows)), [label for label, _ in rows])
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.set_ylabel("bits/spike minus random ones")
    axes.set_title(f"choice of {sessions_text(arms['sessions_trained'].iloc[0])} sessions", fontsize=7)


def _parameter_panel(axes: Axes, parameters: pd.DataFrame) -> None:
    networks = parameters[parameters["name"] != RUN]
    if networks.empty:
        _empty(axes, "no other size\nof the network in this run")
        return
    line = parameters.drop_duplicates("parameters").sort_values("parameters")
    axes.plot(line["parameters"], line["bits_per_spike"], color=BLACK, linewidth=0.8)
    _errorbar(axes, networks["parameters"], networks, color=BLACK, marker="o")
    of_run = parameters[parameters["name"] == RUN]
    _errorbar(axes, of_run["parameters"], of_run, color=VERMILLION, marker="D", label="network of the run")
    axes.set_xscale("log")
    axes.set_xticks(*_parameter_ticks(line["parameters"].tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("parameters (million)")
    axes.margins(x=0.15)
    axes.set_title(f"on {sessions_text(networks['sessions_trained'].iloc[0])} sessions", fontsize=7)
    axes.margins(y=0.2)
    axes.legend(loc="upper left")


def _errorbar(
    axes: Axes, places: Sequence[float], rows: pd.DataFrame, *, value: str = "bits_per_spike", **look: object
) -> None:
    error_bar(axes, places, rows, value, **(_DOTS | look))


def _session_axis(axes: Axes, curve: pd.DataFrame) -> None:
    sizes = sorted(curve["sessions_trained"].unique())
    axes.set_xscale("log")
    axes.set_xticks(sizes, [sessions_text(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("training sessions")


def _parameter_ticks(parameters: Sequence[int]) -> tuple[list[int], list[str]]:
    """Ticks at the networks, without those that would overlap another."""
    places: list[int] = []
    for number in parameters:
        if not places or number > 1.5 * places[-1]:
            places.append(number)
    return places, [f"{number / 1e6:.2g}" for number in places]


def _empty(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    empty_panel(axes, text)


def _counts(curve: pd.DataFrame) -> str:
    return count_text(curve, "held-out session").replace("over animals", "over animals and draws")
