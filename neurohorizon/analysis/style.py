"""How figures look: one style, colours that colour-blind readers can tell apart, files without dates."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurohorizon.files import replacing

COLUMN_WIDTH_INCHES = 3.5  # 89 mm, one column of a journal page
PAGE_WIDTH_INCHES = 7.2  # 183 mm, both columns

# Okabe & Ito (2008), "Color universal design"
BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT_GREY = "#7A7A7A", "#C8C8C8"

ANIMAL_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY_BLUE, VERMILLION, YELLOW)
ANIMAL_MARKERS = ("o", "s", "^", "D")

METHOD_LABELS = {
    "reference_mean": "reference mean",
    "trailing_mean": "trailing mean",
    "shrinkage": "shrinkage",
    "gamma_poisson": "gamma-Poisson",
    "ar_glm": "pooled AR-GLM",
    "ridge_ar": "ridge AR",
    "reduced_rank": "reduced rank",
    "own_history": "own history",
    "own_history_readout": "own history + readout",
    "neurohorizon": "NeuroHorizon",
    "neurohorizon_autoregressive": "NeuroHorizon, autoregressive",
    "neurohorizon_blockwise": "NeuroHorizon, blockwise",
    "neurohorizon_coarse_to_fine": "NeuroHorizon, coarse to fine",
    "history_glm": "history GLM",
    "coupled_glm": "coupled GLM",
    "learned_embedding": "learned embedding",
    "shuffled_identity": "shuffled identity",
    "mean_identity": "mean identity",
    "oracle": "oracle",
}
METHOD_LINES = {  # colour, dashes: told apart in grey print too; kindred methods share a colour
    "reference_mean": (GREY, (0, (1, 1))),
    "trailing_mean": (SKY_BLUE, (0, (4, 1, 1, 1))),
    "shrinkage": (ORANGE, (0, (3, 1))),
    "gamma_poisson": (PURPLE, (0, (5, 1, 1, 1, 1, 1))),
    "ar_glm": (ORANGE, (0, (1, 1))),
    "ridge_ar": (GREEN, (0, (4, 1, 1, 1))),
    "reduced_rank": (GREEN, (0, (5, 1))),
    "own_history": (BLUE, (0, (6, 1))),
    "own_history_readout": (BLUE, "solid"),
    "neurohorizon": (VERMILLION, "solid"),
    "neurohorizon_autoregressive": (VERMILLION, (0, (5, 1))),
    "neurohorizon_blockwise": (VERMILLION, (0, (4, 1, 1, 1))),
    "neurohorizon_coarse_to_fine": (VERMILLION, (0, (1, 1))),
    "history_glm": (SKY_BLUE, (0, (1, 1))),
    "coupled_glm": (SKY_BLUE, "solid"),
    "learned_embedding": (BLACK, "solid"),
    "shuffled_identity": (GREY, "solid"),
    "mean_identity": (GREY, (0, (6, 1))),
    "oracle": (BLACK, (0, (2, 1))),
}
NULL_LABELS = {
    "reference": "reference-window mean rate",
    "train": "train null",
    "evaluation": "evaluation mean rate",
}

_SETTINGS = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine draws the same
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.0,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "neurohorizon",  # otherwise ids are drawn anew at each save
}
_NO_DATES = {
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save inside this, over matplotlib's own defaults and not the reader's settings."""
    with matplotlib.rc_context(matplotlib.rcParamsDefault | _SETTINGS):
        yield


def save_figure(figure: Figure, paths: Iterable[str | Path]) -> None:
    """Save a figure once per path, in the format of its suffix; the same figure gives the same bytes.

    Raises:
        ValueError: A suffix is not .svg, .pdf or .png.
    """
    for path in map(Path, paths):
        if path.suffix not in _NO_DATES:
            raise ValueError(f"{path}: figures are saved as {', '.join(_NO_DATES)}")
        with replacing(path) as partial, house_style():
            _settle(figure)
            figure.savefig(partial, metadata=_NO_DATES[path.suffix])


def render_png(figure: Figure) -> bytes:
    """A figure as PNG, to be shown in a notebook; the same figure gives the same bytes."""
    buffer = BytesIO()
    with house_style():
        _settle(figure)
        figure.savefig(buffer, format="png", dpi=200, metadata=_NO_DATES[".png"])
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Lay the figure out once, and round the places of its axes: the solver's last digits differ from run to run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(value, 6) for value in axes.get_position().bounds])


def method_label(method: str) -> str:
    """The method's name for readers."""
    return METHOD_LABELS.get(method, method.replace("_", " "))


def null_line(axes: Axes, text: str = "", *, at: float = 1.0) -> None:
    """Draw the line of what scores zero.

    Args:
        axes: Where.
        text: What it is; "" for a line that the caption explains.
        at: Right end of the text, as a share of the width.
    """
    colour, dashes = METHOD_LINES["reference_mean"]
    axes.axhline(0, color=colour, linewidth=0.8, linestyle=dashes, zorder=0)
    if text:
        axes.annotate(
            text,
            (at, 0),
            xycoords=("axes fraction", "data"),
            xytext=(0, 1.5),
            textcoords="offset points",
            ha="right",
            fontsize=6,
            color=colour,
        )


def method_line(method: str) -> tuple[str, object]:
    """Colour and dashes of a method; methods without their own are grey."""
    return METHOD_LINES.get(method, (GREY, "solid"))
