"""Figures of the multimodal experiment, drawn from its tables: only positions on the page are computed here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurohorizon.analysis.panels import (
    BIN_LABEL,
    count_text,
    empty_panel,
    error_bar,
    letters,
    line_with_band,
    note,
    null_line,
    page_figure,
)
from neurohorizon.analysis.style import BLACK, BLUE, GREEN, GREY, LIGHT_GREY, PURPLE, SKY_BLUE, VERMILLION, house_style
from neurohorizon.experiments.multimodal.psth import PSTH
from neurohorizon.experiments.multimodal.scores import region_group
from neurohorizon.experiments.multimodal.tables import CONDITION_ORDER, ENCODERS, REGION_GROUPS, SPIKES, shown_encoder
from neurohorizon.methods import CEILING, CONTROL, class_word
from neurohorizon.modalities.conditions import CONDITIONS
from neurohorizon.printed_names import counted, in_figure

CONDITION_LABELS = {
    "spikes": "spikes only",
    "behaviour": "+ behaviour",
    "image": "+ images seen so far",
    "image_ahead": "+ images known ahead",
    "both": "+ behaviour and images",
    "behaviour_shifted": "behaviour shifted",
    "image_shuffled": "images shuffled",
    "image_ahead_shuffled": "known ahead, shuffled",
    PSTH: "other repeats (PSTH)",
    "oracle": "oracle",
}
ENCODER_LABELS = {"dinov2": "DINOv2", "imagenet": "ImageNet", "pixels": "pixels", "none": "none"}
_LOOKS = {  # colour, dashes, marker: distinct in grey print too; a control has the look of its condition, hollow
    "spikes": (GREY, (0, (1, 1)), "o"),
    "behaviour": (GREEN, (0, (5, 1)), "s"),
    "image": (SKY_BLUE, (0, (3, 1)), "o"),
    "image_ahead": (VERMILLION, "solid", "D"),
    "both": (PURPLE, (0, (5, 1, 1, 1)), "P"),
    "behaviour_shifted": (GREEN, (0, (1, 1)), "s"),
    "image_shuffled": (SKY_BLUE, (0, (1, 1)), "o"),
    "image_ahead_shuffled": (VERMILLION, (0, (1, 1)), "D"),
    PSTH: (BLUE, (0, (4, 1, 1, 1)), "^"),
    "oracle": (BLACK, (0, (2, 1)), "o"),
}
_BAR = {"linestyle": "none", "elinewidth": 1.0, "markersize": 4, "zorder": 3}
_FILLED, _HOLLOW = {"markeredgewidth": 0}, {"markeredgewidth": 0.9, "markerfacecolor": "white"}
_REGIONS_APART = 10  # more would touch each other at full size
_GAIN = "gain over spikes only\n(bits/spike)"


@house_style()
def draw_main(
    *,
    regions: pd.DataFrame,
    horizon: pd.DataFrame,
    gain: pd.DataFrame,
    gain_sessions: pd.DataFrame,
    example: pd.DataFrame,
) -> Figure:
    """The figure of experiment 4: one unit above, then gains by region and horizon, then conditions and encoders."""
    figure = page_figure(7.0)
    rows = figure.add_gridspec(3, 1, height_ratios=[0.85, 1.0, 1.0])
    middle = rows[1].subgridspec(1, 2, width_ratios=[1.25, 1.0])
    below = rows[2].subgridspec(1, 3, width_ratios=[1.35, 0.95, 0.75])
    panels = [figure.add_subplot(place) for place in (rows[0], *middle, *below)]
    _psth_panel(panels[0], example)
    _region_panel(panels[1], regions)
    _horizon_panel(panels[2], horizon, "visual")
    _legend_above(panels[2], share=0.4, columns=2)
    _condition_panel(panels[3], gain, gain_sessions)
    _encoder_panel(panels[4], gain)
    _behaviour_panel(panels[5], gain, gain_sessions)
    letters(panels, x=[-0.7 if place == 3 else -0.04 for place in range(len(panels))])
    return figure


@house_style()
def draw_regions(*, regions: pd.DataFrame) -> Figure:
    """Gain from images, by brain region."""
    figure = page_figure(2.8)
    _region_panel(figure.add_subplot(), regions)
    return figure


@house_style()
def draw_horizon(*, horizon: pd.DataFrame) -> Figure:
    """Gains against the distance of the forecast bin, in visual regions and elsewhere."""
    figure = page_figure(2.9)
    left = figure.add_subplot(1, 2, 1)
    right = figure.add_subplot(1, 2, 2, sharey=left)
    _horizon_panel(left, horizon, "visual")
    _horizon_panel(right, horizon, "non-visual")
    _legend_above(left, share=0.4, columns=2)
    right.set_ylabel("")
    letters([left, right])
    return figure


@house_style()
def draw_conditions(*, gain: pd.DataFrame, gain_sessions: pd.DataFrame) -> Figure:
    """All conditions and controls, image encoders, and behaviour by source."""
    figure = page_figure(2.6)
    grid = figure.add_gridspec(1, 3, width_ratios=[1.35, 0.95, 0.75])
    panels = [figure.add_subplot(place) for place in grid]
    _condition_panel(panels[0], gain, gain_sessions)
    _encoder_panel(panels[1], gain)
    _behaviour_panel(panels[2], gain, gain_sessions)
    letters(panels, x=[-0.7, -0.04, -0.04])
    return figure


@house_style()
def draw_psth(*, example: pd.DataFrame) -> Figure:
    """One unit's response to a movie: observed, and as forecast."""
    figure = page_figure(2.3)
    _psth_panel(figure.add_subplot(), example)
    return figure


def of_images(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the sources whose sessions show images."""
    return table[table["source"].isin(table.loc[table["condition"] == "image_ahead", "source"])]


def _shown(table: pd.DataFrame, conditions: Sequence[str], **where: str) -> pd.DataFrame:
    """Rows of the first encoder, and of conditions without one."""
    rows = table["encoder"].isin(["", shown_encoder(table)]) & table["condition"].isin(conditions)
    for name, value in where.items():
        rows &= table[name] == value
    return table[rows]


def _count(axes: Axes, rows: pd.DataFrame, what: str = "") -> None:
    """Write the content and the numbers of sessions and animals above the panel."""
    if rows.empty:
        empty_panel(axes, "nothing to show")
        return
    count = count_text(rows).split(";")[0]
    note(axes, f"{what}{'; ' if what else ''}{count}")


def _legend_above(axes: Axes, *, share: float, columns: int = 1) -> None:
    """Write the legend above the data, in additional space: a share of the height."""
    if not axes.get_legend_handles_labels()[0]:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + share * (high - low))
    axes.legend(loc="upper left", handlelength=1.6, labelspacing=0.25, ncols=columns, columnspacing=1.0, fontsize=6)


def _points(axes: Axes, place: np.ndarray, rows: pd.DataFrame, condition: str, label: str) -> None:
    colour, _, marker = _LOOKS[condition]
    look = _HOLLOW if CONDITIONS[condition].control else _FILLED
    error_bar(axes, place, rows, "gain", **_BAR, **look, marker=marker, color=colour, label=label)


def _region_panel(axes: Axes, regions: pd.DataFrame) -> None:
    conditions = ("image", "image_ahead", "image_ahead_shuffled")
    shown = _shown(of_images(regions), conditions, stimulus="all")
    shown = shown[~shown["region"].isin(REGION_GROUPS)]
    ahead = shown[shown["condition"] == "image_ahead"].sort_values("gain", ascending=False, kind="stable")
    names = sorted(ahead["region"], key=_is_elsewhere)
    for number, condition in enumerate(conditions):
        rows = shown[shown["condition"] == condition].set_index("region").reindex(names)
        _points(axes, np.arange(len(names)) + 0.22 * (number - 1), rows, condition, CONDITION_LABELS[condition])
    null_line(axes)
    _count(axes, shown)
    axes.set_ylabel(_GAIN)
    if not names:
        return
    visual = sum(not _is_elsewhere(name) for name in names)
    units = ahead.set_index("region")["units"].reindex(names)
    size = 6.5 if len(names) <= _REGIONS_APART else 5
    axes.set_xticks(range(len(names)), [f"{in_figure(name)}\n{count}" for name, count in units.items()], fontsize=size)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xlabel("region, scored units")
    if 0 < visual < len(names):
        axes.axvline(visual - 0.5, color=LIGHT_GREY, linewidth=0.8)
        for place, text, side in ((visual - 0.56, "visual", "right"), (visual - 0.44, "non-visual", "left")):
            corner = {"xycoords": ("data", "axes fraction"), "va": "top", "fontsize": 6.5, "color": GREY}
            axes.annotate(text, (place, 0.8), ha=side, **corner)
    _legend_above(axes, share=0.4, columns=2)


def _is_elsewhere(region: str) -> bool:
    return region_group(region) != "visual"


def _horizon_panel(axes: Axes, horizon: pd.DataFrame, region: str) -> None:
    conditions = ("behaviour", "image", "image_ahead", "both", "image_ahead_shuffled")
    shown = _shown(of_images(horizon), conditions, region=region)
    for condition in conditions:
        line = shown[shown["condition"] == condition].sort_values("last_ms")
        if line.empty:
            continue
        colour, dashes, _ = _LOOKS[condition]
        look = {"color": colour, "linestyle": dashes, "label": CONDITION_LABELS[condition]}
        line_with_band(axes, line, "last_ms", "gain", alpha=0.12, **look)
    null_line(axes)
    _count(axes, shown, f"{region} regions")
    axes.set_xlabel(BIN_LABEL)
    axes.set_ylabel(_GAIN)
    axes.set_xlim(0, None)


def _condition_panel(axes: Axes, gain: pd.DataFrame, gain_sessions: pd.DataFrame) -> None:
    where = {"stimulus": "movies", "region": "visual"}
    conditions = [name for name in CONDITION_ORDER if name != SPIKES]
    shown = _shown(of_images(gain), conditions, **where)
    points = _shown(of_images(gain_sessions), conditions, **where)
    present = [name for name in conditions if name in set(shown["condition"])]
    for place, name in enumerate(present):
        here, row = points[points["condition"] == name], shown[shown["condition"] == name]
        dots = {"linestyle": "none", "marker": "o", "markersize": 2.2, "color": LIGHT_GREY, "zorder": 2}
        axes.plot(here["gain"], np.full(len(here), place + 0.24), **dots)
        colour, _, marker = _LOOKS[name]
        look = _HOLLOW if row["class"].iloc[0] == CONTROL else _FILLED
        error_bar(axes, [place], row, "gain", horizontal=True, **_BAR, **look, marker=marker, color=colour)
    null_line(axes, vertical=True)
    _count(axes, shown, "movies, visual regions")
    kinds = shown.groupby("condition")["class"].first()
    labels = [f"{CONDITION_LABELS[name]} ({class_word(kinds[name])})" for name in present]
    axes.set_yticks(range(len(present)), labels)
    axes.set_ylim(len(present) - 0.5, -0.6)
    axes.set_xlabel(_GAIN.replace("\n", " "))
    ceiling = gain[(gain["class"] == CEILING) & (gain["stimulus"] == "movies") & (gain["region"] == "visual")]
    if len(ceiling) and present:
        text = f"oracle (ceiling)\nat {ceiling['gain'].iloc[0]:+.2f} \u2192"  # an arrow to the right
        corner = {"xycoords": "axes fraction", "ha": "right", "va": "center", "fontsize": 6}
        axes.annotate(text, (0.99, 0.31), **corner)  # next to the controls, where nothing else should be


def _encoder_panel(axes: Axes, gain: pd.DataFrame) -> None:
    shown = of_images(gain)
    shown = shown[(shown["region"] == "visual") & (shown["condition"].isin(["image", "image_ahead"]))]
    names = [name for name in ENCODERS if name in set(shown["encoder"])]
    series = (
        ("image", "movie", "seen so far"),
        ("image", "movie_heldout", None),
        ("image_ahead", "movie", "known ahead"),
        ("image_ahead", "movie_heldout", "in held-out seconds"),
    )
    for number, (condition, stimulus, label) in enumerate(series):
        rows = shown[(shown["condition"] == condition) & (shown["stimulus"] == stimulus)]
        if rows.empty:
            continue
        rows = rows.set_index("encoder").reindex(names)
        colour, _, marker = _LOOKS[condition]
        look = _HOLLOW if stimulus == "movie_heldout" else _FILLED
        place = np.arange(len(names)) + 0.18 * (number - 1.5)
        error_bar(axes, place, rows, "gain", **_BAR, **look, marker=marker, color=colour, label=label)
    null_line(axes)
    note(axes, "movies, visual regions")
    axes.set_xticks(range(len(names)), [ENCODER_LABELS[name] for name in names], fontsize=6)
    axes.set_xlim(-0.6, max(len(names), 1) - 0.4)
    axes.set_ylabel(_GAIN)
    _legend_above(axes, share=0.45)


def _behaviour_panel(axes: Axes, gain: pd.DataFrame, gain_sessions: pd.DataFrame) -> None:
    conditions = ("behaviour", "behaviour_shifted")
    where = {"stimulus": "all", "region": "all"}
    shown = _shown(gain, conditions, **where)
    points = _shown(gain_sessions, conditions, **where)
    sources = sorted(shown["source"].unique())
    for number, condition in enumerate(conditions):
        offset = 0.3 * number - 0.15
        for place, source in enumerate(sources):
            here = points[(points["source"] == source) & (points["condition"] == condition)]
            at = np.full(len(here), place + offset + 0.08)
            axes.plot(at, here["gain"], linestyle="none", marker="o", markersize=2.2, color=LIGHT_GREY, zorder=2)
        rows = shown[shown["condition"] == condition].set_index("source").reindex(sources)
        _points(axes, np.arange(len(sources)) + offset, rows, condition, CONDITION_LABELS[condition])
    null_line(axes)
    counts = shown[shown["condition"] == "behaviour"].set_index("source")[["sessions", "animals"]]
    labels = [
        f"{name}\n{counted(row.sessions, 'session')}\n{counted(row.animals, 'animal')}"
        for name, row in counts.iterrows()
    ]
    axes.set_xticks(range(len(counts)), labels, fontsize=6)
    note(axes, "all units")
    axes.set_xlim(-0.6, max(len(sources), 1) - 0.4)
    _legend_above(axes, share=0.25)


def _psth_panel(axes: Axes, example: pd.DataFrame) -> None:
    axes.set_xlabel("time in the movie (s)")
    axes.set_ylabel("rate (Hz)")
    if example.empty:
        _count(axes, example)
        return
    lines = {name: rows.sort_values("phase_ms") for name, rows in example.groupby("condition", sort=False)}
    observed = next(iter(lines.values()))
    width_s = observed["width_ms"].iloc[0] / 1000
    for start_s in observed.loc[observed["heldout"], "phase_ms"] / 1000:
        axes.axvspan(start_s, start_s + width_s, color=LIGHT_GREY, alpha=0.45, linewidth=0, zorder=0)
    steps = {"baseline": None}
    axes.stairs(*_staircase(observed, "observed_hz"), color=BLACK, linewidth=0.8, label="observed", **steps)
    for name in ("oracle", SPIKES, "image_ahead"):
        if name in lines:
            colour, dashes, _ = _LOOKS[name]
            label = f"{CONDITION_LABELS[name]} ({class_word(lines[name]['class'].iloc[0])})"
            width = 1.3 if name == "image_ahead" else 0.9
            values, edges = _staircase(lines[name], "expected_hz")
            axes.stairs(values, edges, color=colour, linestyle=dashes, linewidth=width, label=label, **steps)
    axes.set_xlim(0, (observed["phase_ms"].max() + observed["width_ms"].iloc[0]) / 1000)
    axes.set_ylim(0, 1.25 * max(observed["observed_hz"].max(), 1e-9))
    row = observed.iloc[0]
    unit = in_figure(f"unit {row['unit_id']} in {row['region']} of {row['session']}")
    note(axes, f"{unit}; mean over the repeats of test time")
    axes.legend(loc="upper right", ncols=4, handlelength=1.8)


def _staircase(rows: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and edges in seconds, with a gap where a part of the movie has none."""
    width_ms = rows["width_ms"].iloc[0]
    place = (rows["phase_ms"] / width_ms).round().astype(int).to_numpy()
    values = np.full(place.max() + 1, np.nan)
    values[place] = rows[name]
    return values, np.arange(len(values) + 1) * width_ms / 1000
