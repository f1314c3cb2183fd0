"""Style of all figures: one look, colours that colour-blind readers can distinguish, files without dates."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from neurohorizon.files import replacing
from neurohorizon.methods import METHODS

COLUMN_WIDTH_INCHES = 3.5  # 89 mm, one column of a journal page
PAGE_WIDTH_INCHES = 7.2  # 183 mm, both columns

# Okabe & Ito (2008), "Color universal design"
BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT_GREY = "#7A7A7A", "#C8C8C8"

ANIMAL_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY_BLUE, VERMILLION, YELLOW)
ANIMAL_MARKERS = ("o", "s", "^", "D")

_COLOURS = {
    **{"black": BLACK, "grey": GREY, "orange": ORANGE, "sky blue": SKY_BLUE},
    **{"green": GREEN, "blue": BLUE, "vermillion": VERMILLION, "purple": PURPLE, "yellow": YELLOW},
}
NULL_LABELS = {
    "reference": "reference-window mean rate",
    "evaluation": "evaluation mean rate",
}

_SETTINGS = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine gives the same figure
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
    "svg.hashsalt": "neurohorizon",  # otherwise ids differ at each save
}
_NO_DATES = {
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
}


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the style to the defaults of matplotlib, not the reader's settings; figures are drawn and saved inside."""
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
    """Return a figure as PNG for a notebook; the same figure gives the same bytes."""
    buffer = BytesIO()
    with house_style():
        _settle(figure)
        figure.savefig(buffer, format="png", dpi=200, metadata=_NO_DATES[".png"])
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Lay the figure out once and round the positions of its axes: the solver's last digits differ from run to run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(value, 6) for value in axes.get_position().bounds])


def method_line(method: str) -> tuple[str, object]:
    """Colour and dashes of a method; methods without their own are grey."""
    if method not in METHODS:
        return GREY, "solid"
    row = METHODS[method]
    return _COLOURS[row.colour], (0, row.dashes) if row.dashes else "solid"
