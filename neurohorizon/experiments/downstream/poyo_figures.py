"""The figure of decoded behaviour, drawn from its tables."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurohorizon.analysis.panels import error_bar, note, null_line, page_figure
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
    YELLOW,
    house_style,
)
from neurohorizon.experiments.downstream.decoding_file import (
    ASSOCIATION,
    COUNT,
    EXCHANGED_ASSOCIATION,
    FORECAST,
    FORECAST_MODE,
    LATENT,
    POPULATION_MODE,
    POYO,
    RELATIVE_FORECAST,
)
from neurohorizon.experiments.downstream.poyo_tables import METHOD_ORDER, METHOD_WORDS
from neurohorizon.methods import class_word
from neurohorizon.printed_names import counted

_LOOKS = {  # colour and marker: distinct in grey print too
    POYO: (BLUE, "D"),
    LATENT: (VERMILLION, "o"),
    FORECAST: (ORANGE, "s"),
    RELATIVE_FORECAST: (PURPLE, "v"),
    FORECAST_MODE: (BLACK, "X"),
    POPULATION_MODE: (SKY_BLUE, "P"),
    ASSOCIATION: (YELLOW, "p"),
    COUNT: (GREEN, "^"),
    EXCHANGED_ASSOCIATION: (GREY, "<"),
}


@house_style()
def draw_decoding(*, sessions: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """R2 of each session: POYO on held-out time of its training sessions, and all decoders on new sessions."""
    scored = sessions[sessions["left_out"] == ""]
    keys = ["part", "method", "target", "fold", "session", "subject"]
    scored = scored.groupby(keys, as_index=False)["r2"].mean()
    figure = page_figure(3.4)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.0, 1.25])
    for axes, part, words in (
        (left, "validation", "held-out time of training sessions"),
        (right, "test", "new sessions"),
    ):
        _panel(axes, scored[scored["part"] == part], summary[summary["part"] == part], words)
    low, high = left.get_ylim()  # shared; room for the title
    left.set_ylim(low, high + 0.1 * (high - low))
    handles, labels = max((axes.get_legend_handles_labels() for axes in (left, right)), key=lambda one: len(one[1]))
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=1.0, fontsize=6)
    target = scored["target"].iloc[0] if len(scored) else "behaviour"
    left.set_ylabel(f"R$^2$ of {target}\nat the end of the context")
    for axes, letter in ((left, "a"), (right, "b")):
        axes.annotate(letter, (0, 1), (-4, 4), "axes fraction", "offset points", weight="bold", ha="right")
    return figure


def _panel(axes: Axes, scored: pd.DataFrame, summary: pd.DataFrame, words: str) -> None:
    methods = [name for name in METHOD_ORDER if name in set(scored["method"])]
    # sessions are ordered by the first decoder's score
    first = scored[scored["method"] == methods[0]] if methods else scored
    order = first.sort_values(["r2", "session"], ascending=[False, True])[["fold", "session"]]
    place = {tuple(row): index for index, row in enumerate(order.itertuples(index=False))}
    for number, method in enumerate(methods):
        colour, marker = _LOOKS[method]
        rows = scored[scored["method"] == method]
        shift = min(0.17, 0.8 / len(methods)) * (number - (len(methods) - 1) / 2)
        at = np.array([place.get((row.fold, row.session), np.nan) for row in rows.itertuples()]) + shift
        row = summary[summary["method"] == method].iloc[0]
        axes.plot(at, rows["r2"], linestyle="none", marker=marker, markersize=4, color=colour, markeredgewidth=0)
        look = {"linestyle": "none", "marker": marker, "markersize": 5.5, "color": colour, "elinewidth": 1.0}
        look["label"] = f"{METHOD_WORDS[method]} ({class_word(row['class'])})"
        error_bar(axes, [len(place) + 0.6 + shift], row, "r2", **look)
    null_line(axes)
    if not place:
        axes.set_xticks([])
        note(axes, f"{words}: none")
        return
    axes.axvline(len(place) - 0.1, ymax=0.9, color=LIGHT_GREY, linewidth=0.8)
    axes.set_xticks([*range(len(place)), len(place) + 0.6], [*(str(n + 1) for n in range(len(place))), "mean"])
    axes.set_xlim(-0.6, len(place) + 1.2)
    animals = scored["subject"].nunique()
    axes.set_xlabel("session, by rank")
    title = f"{words}: {counted(len(place), 'session')}, {counted(animals, 'animal')}"
    note(axes, title)
