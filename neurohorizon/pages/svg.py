"""Small figures as SVG text, for pages without any other file.

Matplotlib is no dependency of a forecast, so figures are drawn here. They are 360 units wide, as a phone is, so their
text is readable on it. Colours are classes of the page, which differ in light and dark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from math import ceil, floor, isfinite, log10

from neurohorizon.printed_names import one_line

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 20, 12, 38
_CHARACTER, _WIDE = 6.9, 8.4  # width of a small letter, and of a digit or a capital, in the widest fonts
_ROW = 26  # height of a row of names


def text_of(name: object) -> str:
    """Return a name for HTML or SVG: on one line, with marks escaped."""
    return escape(one_line(name), quote=True)


def width_of(name: object) -> float:
    """Return the width of a name in a figure, in its units, with the widest fonts."""
    return sum(_WIDE if one.isdigit() or one.isupper() or one in "mw…" else _CHARACTER for one in one_line(name))


def shortened(name: object, width: float) -> str:
    """Return a name, cut at its end if it is wider than the given width."""
    text = one_line(name)
    if width_of(text) <= width:
        return text
    while text and width_of(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def without_common_start(names: Sequence[str]) -> list[str]:
    """Return names without the part before their last colon, if it is the same in all, as in units of one probe."""
    parts = [name.rpartition(":") for name in names]
    same = len(parts) > 1 and len({part[0] for part in parts}) == 1
    return [part[2] for part in parts] if same else list(names)


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers within a range, at most ``most + 1``."""
    span = high - low
    if not isfinite(span) or span <= 0:
        return [low]
    raw = span / most
    size = 10.0 ** floor(log10(raw))
    step = next(size * one for one in (1, 2, 2.5, 5, 10) if size * one >= raw * (1 - 1e-9))
    first = ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, floor(high / step + 1e-9) + 1)]


def padded(values: Iterable[float | None], *, include: Sequence[float] = (0.0,)) -> tuple[float, float]:
    """Return a range that holds all values, with some space around them."""
    kept = [value for value in values if value is not None and isfinite(value)]
    kept += include
    low, high = min(kept, default=0.0), max(kept, default=1.0)
    if low == high:
        high = low + 1.0
    space = 0.06 * (high - low)
    return (low - space if low < min(include, default=low) else low), high + space


@dataclass
class Figure:
    """A plot with two axes, drawn piece by piece.

    Attributes:
        title: Title for screen readers.
        description: What the plot shows, with its numbers, for readers who cannot see it.
        x: Range of the horizontal axis.
        y: Range of the vertical axis, bottom to top.
        height: Height in units of which the width has 360.
        left: Space for labels on the left.
        log_x: True for a logarithmic horizontal axis.
    """

    title: str
    description: str
    x: tuple[float, float]
    y: tuple[float, float]
    height: int = 220
    left: int = _LEFT
    log_x: bool = False
    _parts: list[str] = field(default_factory=list)

    def place_x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        low, high = (log10(one) for one in self.x) if self.log_x else self.x
        share = ((log10(value) if self.log_x else value) - low) / (high - low)
        return round(self.left + share * (WIDTH - _RIGHT - self.left), 2)

    def place_y(self, value: float) -> float:
        """Return the vertical place of a value."""
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return round(self.height - _BOTTOM - share * (self.height - _BOTTOM - _TOP), 2)

    def axis_x(self, label: str, ticks: Sequence[float], names: Sequence[str] | None = None) -> None:
        """Draw the horizontal axis."""
        bottom = self.height - _BOTTOM
        self._line(self.left, bottom, WIDTH - _RIGHT, bottom, "axis")
        for tick, name in zip(ticks, names or [f"{one:g}" for one in ticks], strict=True):
            self._line(self.place_x(tick), bottom, self.place_x(tick), bottom + 4, "axis")
            self.words(self.place_x(tick), bottom + 16, name, "middle")
        self.words((self.left + WIDTH - _RIGHT) / 2, self.height - 4, label, "middle", "label")

    def axis_y(self, label: str, ticks: Sequence[float]) -> None:
        """Draw the vertical axis."""
        self._line(self.left, _TOP, self.left, self.height - _BOTTOM, "axis")
        for tick in ticks:
            self._line(self.left - 4, self.place_y(tick), self.left, self.place_y(tick), "axis")
            self.words(self.left - 7, self.place_y(tick) + 4, f"{tick:g}", "end")
        middle = (_TOP + self.height - _BOTTOM) / 2
        self._parts.append(
            f'<text class="label" text-anchor="middle" transform="translate(11 {middle:g}) rotate(-90)">'
            f"{text_of(label)}</text>"
        )

    def line(self, x: Sequence[float], y: Sequence[float | None], css: str) -> None:
        """Draw a line through points; it is broken where a value is None."""
        pieces: list[list[str]] = [[]]
        for at, value in zip(x, y, strict=True):
            if value is None:
                pieces.append([])
            else:
                pieces[-1].append(f"{self.place_x(at):g},{self.place_y(value):g}")
        self._parts += [f'<polyline class="{css}" points="{" ".join(one)}"/>' for one in pieces if len(one) > 1]

    def steps(self, edges: Sequence[float], values: Sequence[float], css: str) -> None:
        """Draw one horizontal piece for each value, from edge to edge."""
        x = [edge for pair in pairwise(edges) for edge in pair]
        self.line(x, [value for value in values for _ in range(2)], css)

    def band(self, x: Sequence[float], low: Sequence[float], high: Sequence[float], css: str) -> None:
        """Fill the area between two lines."""
        there = [f"{self.place_x(at):g},{self.place_y(value):g}" for at, value in zip(x, high, strict=True)]
        back = [f"{self.place_x(at):g},{self.place_y(value):g}" for at, value in zip(x, low, strict=True)]
        self._parts.append(f'<polygon class="{css}" points="{" ".join(there + back[::-1])}"/>')

    def dot(self, x: float, y: float, css: str, radius: float = 3.5, tip: str = "") -> None:
        """Draw a point, with a text that appears when the pointer is on it."""
        tip = f"<title>{text_of(tip)}</title>" if tip else ""
        self._parts.append(
            f'<circle class="{css}" cx="{self.place_x(x):g}" cy="{self.place_y(y):g}" r="{radius:g}">{tip}</circle>'
        )

    def above_scale(self, x: float, css: str, tip: str) -> None:
        """Draw a triangle at the top, for a value above the range."""
        at = self.place_x(x)
        points = f"{at - 5:g},{_TOP + 9} {at + 5:g},{_TOP + 9} {at:g},{_TOP}"
        self._parts.append(f'<polygon class="{css}" points="{points}"><title>{text_of(tip)}</title></polygon>')

    def segment(self, x: tuple[float, float], y: tuple[float, float], css: str) -> None:
        """Draw a straight line between two points."""
        self._line(self.place_x(x[0]), self.place_y(y[0]), self.place_x(x[1]), self.place_y(y[1]), css)

    def words(self, x: float, y: float, text: str, anchor: str = "start", css: str = "") -> None:
        """Write a text at a place of the drawing, not of the data."""
        kind = f' class="{css}"' if css else ""
        self._parts.append(f'<text{kind} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text_of(text)}</text>')

    def name_row(self, y: float, text: str, css: str = "") -> None:
        """Write the name of a row left of the axis, shortened to the space that is there."""
        self.words(self.left - 7, self.place_y(y) + 4, shortened(text, self.left - 8), "end", css)

    def svg(self) -> str:
        """Return the figure."""
        label = text_of(f"{self.title}. {self.description}")
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{label}">'
            + "".join(self._parts)
            + "</svg>"
        )

    def _line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        self._parts.append(f'<line class="{css}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>')


@dataclass(frozen=True)
class IntervalRow:
    """A number with its interval, and its name; None where there is none."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    css: str = "own"
    strong: bool = False


def interval_figure(title: str, rows: Sequence[IntervalRow], label: str) -> str:
    """Draw numbers with their intervals, the first row on top.

    Args:
        label: Name of the axis.
    """
    rows = list(rows)[::-1]
    texts = [f"{one.label} {'no score' if one.value is None else f'{one.value:.3f}'}" for one in rows]
    widest = max((width_of(one.label) for one in rows), default=0) + 8
    figure = Figure(
        title=title,
        description=f"{label}: {', '.join(texts[::-1])}",
        x=padded([value for one in rows for value in (one.value, one.low, one.high)]),
        y=(-0.7, len(rows) - 0.3),
        height=58 + _ROW * len(rows),
        left=int(min(max(widest, 134), 154)) + 1,
    )
    if figure.x[0] < 0:
        figure.segment((0, 0), figure.y, "zero")
    for place, (one, text) in enumerate(zip(rows, texts, strict=True)):
        figure.name_row(place, one.label, "strong" if one.strong else "")
        if one.value is None:
            continue
        if one.low is not None and one.high is not None:
            figure.segment((one.low, one.high), (place, place), f"bar {one.css}")
        figure.dot(one.value, place, one.css, 5, text)
    figure.axis_x(label, nice_ticks(*figure.x, 4))
    return figure.svg()
