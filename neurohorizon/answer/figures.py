"""Figures of the page, each from the numbers of an answer."""

from itertools import pairwise
from statistics import quantiles

from neurohorizon.answer.answer import (
    BlockScore,
    Calibration,
    Coverage,
    HorizonScore,
    MethodScore,
    NumberOfUnits,
    ReferenceLength,
    TypicalUnit,
    TypicalWindow,
    UnitScore,
    percent,
)
from neurohorizon.pages.svg import Figure, IntervalRow, interval_figure, nice_ticks, padded, without_common_start

BITS = "bits per spike"
_OUTLIER = 4.0  # multiple of the third quartile above which a score is drawn as a triangle
_TRAIN = 32  # height of a row of spikes


def score_figure(methods: list[MethodScore]) -> str:
    """Draw the score of every method, with its interval, from the best down."""
    rows = sorted(methods, key=lambda one: float("inf") if one.pooled.value is None else -one.pooled.value)
    return interval_figure(
        "Score of each method with its 95 % interval",
        [
            IntervalRow(
                label=one.label,
                value=one.pooled.value,
                low=one.pooled.low,
                high=one.pooled.high,
                css=_colour_of(one.kind),
                strong=one.kind == "adaptive",
            )
            for one in rows
        ],
        f"{BITS}; mean rates: 0",
    )


def typical_figure(rows: list[TypicalUnit], *, context_ms: float, end: float) -> str:
    """Draw the spikes of some units before and after the origin, and their forecast rates.

    Args:
        context_ms: Length of the context.
        end: End of the horizon in ms.
    """
    figure = Figure(
        title="Spikes and forecast rates of some units in a typical window",
        description=f"{len(rows)} units, the forecast starts at 0 ms",
        x=(-context_ms, end),
        y=(0, len(rows)),
        height=48 + _TRAIN * len(rows) + 8,
        left=64,
    )
    figure.band([0, end], [0, 0], [len(rows)] * 2, "horizon")
    bin_ms = end / len(rows[0].rate_hz)
    edges = [place * bin_ms for place in range(len(rows[0].rate_hz) + 1)]
    for place, (one, name) in enumerate(zip(rows, without_common_start([one.unit for one in rows]), strict=True)):
        floor = len(rows) - 1 - place
        largest = max([*one.rate_hz, *one.rival_hz, one.reference_hz], default=1.0) or 1.0
        figure.name_row(floor + 0.35, name)
        for time in one.spikes_ms:
            figure.segment((time, time), (floor + 0.04, floor + 0.4), "spike" if time >= 0 else "spike past")
        figure.segment((0, end), (floor + 0.5 + 0.4 * one.reference_hz / largest,) * 2, "reference")
        figure.steps(edges, [floor + 0.5 + 0.4 * rate / largest for rate in one.rival_hz], "curve rival")
        figure.steps(edges, [floor + 0.5 + 0.4 * rate / largest for rate in one.rate_hz], "curve own")
    figure.axis_x("time after the forecast origin (ms)", nice_ticks(*figure.x, 4))
    return figure.svg()


def population_figure(typical: TypicalWindow) -> str:
    """Draw the counts of all units together in the typical window, with their 90 % interval."""
    one = typical.population
    middles = [(first + last) / 2 for first, last in pairwise(one.edges_ms)]
    inside = sum(low <= count <= high for low, count, high in zip(one.low, one.observed, one.high, strict=True))
    figure = Figure(
        title="Spikes of all scored units together in the typical window",
        description=f"{inside} of {len(middles)} observed counts lie within the 90 % interval of the forecast",
        x=(0, one.edges_ms[-1]),
        y=padded([*one.high, *one.observed, *one.rival]),
        height=190,
    )
    doubled = [edge for pair in pairwise(one.edges_ms) for edge in pair]
    low, high = ([value for value in values for _ in range(2)] for values in (one.low, one.high))
    figure.band(doubled, low, high, "band")
    figure.steps(one.edges_ms, one.reference, "reference")
    figure.steps(one.edges_ms, one.rival, "curve rival")
    figure.steps(one.edges_ms, one.expected, "curve own")
    for at, count in zip(middles, one.observed, strict=True):
        figure.dot(at, count, "observed", 3.5, f"{count} spikes")
    figure.axis_x("time after the forecast origin (ms)", nice_ticks(*figure.x))
    width = one.edges_ms[1] - one.edges_ms[0]
    figure.axis_y(f"spikes in {width:g} ms", nice_ticks(*figure.y, 4))
    return figure.svg()


def horizon_figure(rows: list[HorizonScore]) -> str:
    """Draw the score in spans of time ahead."""
    texts = [f"{one.from_ms:g} to {one.to_ms:g} ms: {_number(one.score.value)}" for one in rows]
    bounds = [value for one in rows for part in (one.score, one.rival) for value in (part.value, part.low, part.high)]
    figure = Figure(
        title="Score by time ahead",
        description=", ".join(texts) + f" {BITS}",
        x=(-0.5, len(rows) - 0.5),
        y=padded(bounds),
    )
    if figure.y[0] < 0:
        figure.segment(figure.x, (0, 0), "zero")
    places = [float(place) for place in range(len(rows))]
    for name, shift, parts in (
        ("rival", 0.08, [one.rival for one in rows]),
        ("own", -0.08, [one.score for one in rows]),
    ):
        figure.line([place + shift for place in places], [one.value for one in parts], f"curve {name}")
        for place, one in zip(places, parts, strict=True):
            if one.low is not None and one.high is not None:
                figure.segment((place + shift,) * 2, (one.low, one.high), f"bar thin {name}")
            if one.value is not None:
                figure.dot(place + shift, one.value, name, 4, _number(one.value))
    figure.axis_x("time ahead (ms)", places, [f"{one.from_ms:g}–{one.to_ms:g}" for one in rows])
    figure.axis_y(BITS, nice_ticks(*figure.y))
    return figure.svg()


def unit_figure(units: list[UnitScore]) -> str:
    """Draw the score of each unit by its rate in the reference window."""
    rates = [one.rate_hz for one in units]
    values = [one.score.value for one in units if one.score.value is not None]
    above = sum(value > 0 for value in values)
    # a slow unit may score many times as much as all others
    top = _OUTLIER * max(quantiles(values, n=4)[2], 0.1) if len(values) > 1 else float("inf")
    low, high = min(rates) / 1.3, max(rates) * 1.3
    figure = Figure(
        title="Score of each unit by its mean rate",
        description=f"{above} of {len(units)} units score above 0",
        x=(low, high),
        y=padded([min(value, top) for value in values]),
        log_x=True,
    )
    figure.segment(figure.x, (0, 0), "zero")
    for one in units:
        if one.score.value is not None:
            tip = f"unit {one.unit}: {_number(one.score.value)}, {one.rate_hz:.2g} Hz"
            if one.score.value > top:
                figure.above_scale(one.rate_hz, "own see", tip)
            else:
                figure.dot(one.rate_hz, one.score.value, "own see", 4, tip)
    ticks = [tick for tick in (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low <= tick <= high]
    figure.axis_x("mean rate in the reference window (Hz)", ticks)
    figure.axis_y(BITS, nice_ticks(*figure.y))
    return figure.svg()


def time_figure(blocks: list[BlockScore]) -> str:
    """Draw the score of each block of time."""
    minutes = [one.start_s / 60 for one in blocks]
    figure = Figure(
        title="Score over the recording",
        description=f"{sum((one.score or 0) > 0 for one in blocks)} of {len(blocks)} blocks score above 0",
        x=(minutes[0], minutes[-1] if len(minutes) > 1 else minutes[0] + 1),
        y=padded([value for one in blocks for value in (one.score, one.rival)]),
        height=190,
    )
    figure.segment(figure.x, (0, 0), "zero")
    figure.line(minutes, [one.rival for one in blocks], "curve rival")
    figure.line(minutes, [one.score for one in blocks], "curve own")
    for at, one in zip(minutes, blocks, strict=True):
        if one.score is not None:
            figure.dot(at, one.score, "own", 3, _number(one.score))
    figure.axis_x("start of the block in the recording (min)", nice_ticks(*figure.x))
    figure.axis_y(BITS, nice_ticks(*figure.y, 4))
    return figure.svg()


def length_figure(length: ReferenceLength) -> str:
    """Draw the score by length of the reference window."""
    minutes = [one.minutes for one in length.points]
    scores = [one.score for one in length.points]
    texts = [f"{one.minutes:.3g} min: {_number(one.score)}" for one in length.points]
    return _growth(
        "Score by length of the reference window", texts, minutes, [(scores, "own")], "last minutes of the window"
    )


def number_figure(units: NumberOfUnits) -> str:
    """Draw the score of units by the number of recorded units."""
    numbers = [float(one.units) for one in units.points]
    few, same = [one.score for one in units.points], [one.score_with_all for one in units.points]
    texts = [f"{one.units} units: {_number(one.score)}, {_number(one.score_with_all)} with all" for one in units.points]
    return _growth(
        "Score by number of recorded units", texts, numbers, [(same, "rival"), (few, "own")], "recorded units"
    )


def calibration_figure(calibration: Calibration) -> str:
    """Draw observed by nominal coverage."""
    rows = calibration.rows
    texts = [
        f"{one.counts}: " + ", ".join(f"{_percent(share)} of {_percent(nominal)}" for nominal, share in _pairs(one))
        for one in rows
    ]
    figure = Figure(
        title="Observed coverage of intervals by nominal coverage",
        description="; ".join(texts),
        x=(0.4, 1.0),
        y=(min([0.4, *(share for one in rows for share in one.observed if share is not None)]), 1.0),
        height=230,
    )
    figure.segment((0.4, 1.0), (0.4, 1.0), "zero")
    for place, one in enumerate(rows):
        css = f"kind{place}"
        figure.line(one.nominal, one.observed, f"curve {css}")
        for nominal, share in _pairs(one):
            if share is not None:
                figure.dot(nominal, share, css, 4, f"{one.counts}: {_percent(share)}")
    figure.axis_x("nominal coverage", [0.5, 0.8, 0.9], ["50 %", "80 %", "90 %"])
    figure.axis_y("observed coverage", nice_ticks(*figure.y, 4))
    return figure.svg()


def _growth(
    title: str, texts: list[str], x: list[float], curves: list[tuple[list[float | None], str]], label: str
) -> str:
    figure = Figure(
        title=title,
        description=", ".join(texts),
        x=(x[0] / 1.15, x[-1] * 1.15),
        y=padded([value for values, _ in curves for value in values]),
        height=190,
        log_x=True,
    )
    if figure.y[0] < 0:
        figure.segment(figure.x, (0, 0), "zero")
    for values, css in curves:
        figure.line(x, values, f"curve {css}")
        for at, value in zip(x, values, strict=True):
            if value is not None:
                figure.dot(at, value, css, 4, _number(value))
    # the last two may be close to each other
    kept = [place for place in range(len(x)) if place == len(x) - 1 or x[place] * 1.25 < x[-1]]
    figure.axis_x(label, [x[place] for place in kept], [f"{x[place]:.3g}" for place in kept])
    figure.axis_y(BITS, nice_ticks(*figure.y, 4))
    return figure.svg()


def _colour_of(kind: str) -> str:
    return {"adaptive": "own", "closed_form": "simple", "network": "rival"}[kind]


def _pairs(row: Coverage) -> list[tuple[float, float | None]]:
    return list(zip(row.nominal, row.observed, strict=True))


def _number(value: float | None) -> str:
    return "no score" if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else percent(share)
