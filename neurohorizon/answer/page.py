"""The page of an answer: one HTML file without any other file, for phones and desktops, light and dark."""

from collections.abc import Iterable
from pathlib import Path

from neurohorizon.answer.answer import Answer, Estimate, UnitScore, percent
from neurohorizon.answer.blocks import FEWEST_BLOCKS
from neurohorizon.answer.figures import (
    calibration_figure,
    horizon_figure,
    length_figure,
    number_figure,
    population_figure,
    score_figure,
    time_figure,
    typical_figure,
    unit_figure,
)
from neurohorizon.answer.rivals import EXPLAINED
from neurohorizon.files import replacing
from neurohorizon.pages.html import MARKS, MEANING, document, figure_of, table_of
from neurohorizon.pages.svg import text_of
from neurohorizon.printed_names import counted

SOFTWARE = "The NeuroHorizon authors. NeuroHorizon: zero-shot forecasts of spiking in unseen recordings"
_SHOWN_UNITS = 12


def write_page(answer: Answer, path: str | Path) -> None:
    """Write the page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(page_of(answer), encoding="utf-8")


def page_of(answer: Answer) -> str:
    """Return the page as HTML. Names from files are escaped, and nothing outside of the page is loaded."""
    title = text_of(f"{answer.recording.name}: {MARKS[answer.verdict].lower()}")
    sections = (_verdict, _typical, _ahead, _units, _reference, _intervals, _unlike, _read, _meaning)
    body = "\n".join(section(answer) for section in sections)
    return document(title, body)


def _verdict(answer: Answer) -> str:
    value = "–" if answer.score.value is None else f"{answer.score.value:+.3f}"
    parts = [
        f'<p class="soft">{text_of(answer.recording.name)}: will the forecast work on this recording?</p>',
        f'<span class="badge {answer.verdict}">{MARKS[answer.verdict]}</span>',
        f"<h1>{text_of(answer.sentence)}</h1>",
    ]
    number = [f'<p class="number">{value}</p>', f'<p class="soft">bits per spike, {_interval(answer)}</p>']
    todo = "".join(f"<li>{text_of(one)}</li>" for one in answer.advice)
    number.append(f"<h3>What to do</h3><ul>{todo}</ul>")
    picture = ""
    if answer.methods:
        picture = figure_of(
            score_figure(answer.methods),
            "Score of each method; bars are 95 % intervals over blocks of time. Green: methods without a trained "
            "network.",
        )
    parts.append(f'<div class="pair"><div>{"".join(number)}</div><div>{picture}</div></div>')
    parts.append(f"<h3>What was found</h3><p>{text_of(answer.found)}</p>")
    if answer.methods:
        rows = [
            [one.label, _text(one.pooled), _text(one.mean_over_units), "" if one.lead is None else _text(one.lead)]
            for one in answer.methods
        ]
        heads = ["method", "pooled score", "mean over units", "lead of the adaptive forecast"]
        parts.append(table_of("Bits per spike with 95 % intervals. Pooled: units weigh by their spikes.", heads, rows))
        known = [(one.label, EXPLAINED[one.method]) for one in answer.methods if one.method in EXPLAINED]
        items = "".join(f"<dt>{text_of(label)}</dt><dd>{text_of(what)}.</dd>" for label, what in known)
        parts.append(f"<details><summary>What each method does</summary><dl>{items}</dl></details>")
    return "".join(parts)


def _interval(answer: Answer) -> str:
    score = answer.score
    if score.low is None or score.high is None:
        return f"no interval: {answer.blocks} blocks of time, and {FEWEST_BLOCKS} are needed"
    return (
        f"95 % interval {score.low:+.3f} to {score.high:+.3f}, by a bootstrap over {answer.blocks} blocks of "
        f"{answer.block_s:.0f} s"
    )


def _typical(answer: Answer) -> str:
    one = answer.typical
    if one is None:
        return ""
    keys = (
        '<span class="key own"></span>adaptive forecast'
        f'<span class="key rival"></span>{text_of(one.rival)}<span class="key ref"></span>mean rate'
    )
    span = one.population.edges_ms[1] - one.population.edges_ms[0]
    return (
        "<h2>One typical forecast</h2>"
        f'<p class="soft">{text_of(one.rule)}. It begins at {one.origin_s:.2f} s and scores {one.score:+.3f} bits per '
        f'spike.</p><p class="soft">{keys}</p><div class="pair">'
        + figure_of(
            typical_figure(one.units, context_ms=one.context_ms, end=one.population.edges_ms[-1]),
            "Vertical marks: observed spikes, grey before the origin, which the forecast reads, and black after it. "
            "Lines: expected rates, each unit on its own scale.",
        )
        + figure_of(
            population_figure(one),
            f"All scored units together, in {span:g} ms. Points: observed. Band: 90 % interval of the forecast.",
        )
        + "</div>"
    )


def _ahead(answer: Answer) -> str:
    if not answer.horizon:
        return ""
    rival = next(one.label for one in answer.methods if one.method == answer.rival)
    keys = f'<span class="key own"></span>adaptive forecast<span class="key rival"></span>{text_of(rival)}'
    return (
        f'<h2>How far ahead, and when</h2><p class="soft">{keys}</p><div class="pair">'
        + figure_of(horizon_figure(answer.horizon), "Score by time ahead; bars are 95 % intervals.")
        + figure_of(time_figure(answer.over_time), f"Score of each block of {answer.block_s:.0f} s over the recording.")
        + "</div>"
    )


def _units(answer: Answer) -> str:
    if not answer.units:
        return ""
    by_score = sorted(answer.units, key=lambda one: -float("inf") if one.score.value is None else -one.score.value)
    by_score = [one for one in by_score if one.score.value is not None] + [
        one for one in by_score if one.score.value is None
    ]
    above = sum(one.score.value is not None and one.score.value > 0 for one in by_score)
    clearly = sum(one.score.low is not None and one.score.low > 0 for one in by_score)
    busiest = next(one for one in answer.units if one.unit == answer.busiest)
    without = "unknown" if answer.without_busiest is None else f"{answer.without_busiest:+.3f}"
    text = (
        f"{above} of {len(by_score)} scored units score above 0, {clearly} of them with an interval above 0. Unit "
        f"{answer.busiest} has the most spikes, {percent(busiest.spike_share or 0)} of all; without it the score is "
        f"{without}. "
        + (f"Unit {answer.carrier} decides the score." if answer.carrier else "No unit decides the score.")
    )
    table = _unit_table("All scored units, from the best score down.", by_score)
    if len(by_score) > _SHOWN_UNITS:
        table = f"<details><summary>Table of all {len(by_score)} scored units</summary>{table}</details>"
    parts = [
        f'<h2>Which units</h2><p>{text_of(text)}</p><div class="pair">',
        figure_of(
            unit_figure(answer.units),
            "Each point is a unit; a triangle is a unit above the scale. The score of a slow unit rests on few spikes.",
        ),
        f"<div>{_region_table(answer)}{table}</div></div>",
    ]
    return "".join(parts)


def _unit_table(caption: str, units: Iterable[UnitScore]) -> str:
    units = list(units)
    regions = any(one.region for one in units)
    outside = any(one.outside is not None for one in units)
    heads = [
        "unit",
        *(["region"] if regions else []),
        "score",
        "rate (Hz)",
        "spikes",
        "share",
        *(["features outside"] if outside else []),
    ]
    rows = [
        [
            one.unit,
            *([one.region] if regions else []),
            _text(one.score),
            f"{one.rate_hz:.2f}",
            f"{one.spikes}",
            "–" if one.spike_share is None else percent(one.spike_share, 1),
            *([str(one.outside)] if outside else []),
        ]
        for one in units
    ]
    return table_of(caption, heads, rows)


def _region_table(answer: Answer) -> str:
    if not answer.regions:
        return ""
    rows = [[one.region or "unknown", str(one.units), str(one.spikes), _text(one.score)] for one in answer.regions]
    return table_of("Score by region.", ["region", "units", "spikes", "score"], rows)


def _reference(answer: Answer) -> str:
    length, number = answer.reference_length, answer.number_of_units
    if length is None or number is None:
        return ""
    how = f"by the static network, on {length.windows} windows"
    cells = [
        f"<div><h3>Length of the reference window</h3><p>{text_of(length.sentence)}</p>"
        + (
            figure_of(length_figure(length), f"Score if only the last minutes describe the units, {how}.")
            if len(length.points) > 1
            else ""
        )
        + "</div>",
        f"<div><h3>Number of units</h3><p>{text_of(number.sentence)}</p>"
        + (
            figure_of(
                number_figure(number),
                f"Solid: random units, if only they are recorded. Dashed: the same units, if all are; {how}.",
            )
            if len(number.points) > 1
            else ""
        )
        + "</div>",
    ]
    return f'<h2>How much recording it needs</h2><div class="pair">{"".join(cells)}</div>'


def _intervals(answer: Answer) -> str:
    one = answer.calibration
    if one is None:
        return ""
    keys = "<br>".join(
        f'<span class="key kind{place}k" style="margin-left:0"></span>{text_of(row.counts)}'
        for place, row in enumerate(one.rows)
    )
    rows = [[row.counts, *("–" if share is None else percent(share, 1) for share in row.observed)] for row in one.rows]
    table = table_of("Share of observed counts in intervals of", ["counts of", "50 %", "80 %", "90 %"], rows)
    return (
        f'<h2>Can the intervals be trusted?</h2><p>{text_of(one.sentence)}</p><div class="pair">'
        + figure_of(
            calibration_figure(one),
            f"{keys}<br>On the dashed line, intervals have their nominal coverage. {one.windows} windows, {one.paths} "
            "sample paths each.",
        )
        + f"<div>{table}</div></div>"
    )


def _unlike(answer: Answer) -> str:
    one = answer.outside
    if one is None:
        return ""
    features = ", ".join(f"{row.feature} ({counted(row.units, 'unit')})" for row in one.worst_features)
    worst = sorted((unit for unit in answer.units if unit.outside), key=lambda unit: -(unit.outside or 0))[:10]
    table = table_of(
        f"Units with the most of {one.features} features outside.",
        ["unit", "features outside", "score", "rate (Hz)"],
        [[unit.unit, str(unit.outside), _text(unit.score), f"{unit.rate_hz:.2f}"] for unit in worst],
    )
    most = f"<p>Features that are outside for the most units: {text_of(features)}.</p>" if features else ""
    return f"<h2>Units unlike the training data</h2><p>{text_of(one.sentence)}</p>{most}{table if worst else ''}"


def _read(answer: Answer) -> str:
    one, network = answer.recording, answer.network
    forecast = "none"
    if one.forecast_s is not None:
        forecast = (
            f"{one.forecast_s[0]:.1f} to {one.forecast_s[1]:.1f} s, {one.forecast_valid_s / 60:.1f} min of valid time; "
            f"{one.windows} windows, {one.every_s:g} s apart"
        )
    rows = {
        "Units": f"{one.units}, of which {one.scored_units} reach {one.minimum_rate_hz:g} Hz in the reference window "
        "and are scored",
        "Reference window": f"{one.reference_s[0]:.1f} to {one.reference_s[1]:.1f} s, {one.reference_valid_s / 60:.1f} "
        "min of valid time; the units are described by its spikes only",
        "Gap": "none" if one.gap_s is None else f"{one.gap_s:.1f} s after it are not used",
        "Forecast time": forecast,
        "Network": f"{network.name}, {network.summary}; it reads {network.context_s:g} s and forecasts "
        f"{network.horizon_s:g} s in bins of {1000 * network.bin_s:g} ms. Nothing was fitted on the forecast time",
        "Why this network": network.chosen or "it was given",
    }
    items = "".join(f"<dt>{name}</dt><dd>{text_of(text.rstrip('.'))}.</dd>" for name, text in rows.items())
    notes = "".join(f"<li>{text_of(note)}</li>" for note in one.notes)
    notes = f"<h3>Warnings</h3><ul>{notes}</ul>" if notes else "<p>There are no warnings about the recording.</p>"
    return f"<h2>What was read</h2><dl>{items}</dl>{notes}"


def _meaning(answer: Answer) -> str:
    software = f"{SOFTWARE}, version {answer.package_version}"
    cited = "".join(f"<li>{text_of(one)}</li>" for one in [software, *answer.network.citations])
    return (
        f"<h2>What the score means</h2><p>{text_of(MEANING)}</p>"
        f"<h2>How to cite</h2><ul>{cited}</ul>"
        f'<p class="soft">All numbers of this page are in answer.json; the seed is {answer.seed}.</p>'
    )


def _text(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    text = f"{estimate.value:+.3f}"
    if estimate.low is not None and estimate.high is not None:
        text += f" [{estimate.low:+.3f}, {estimate.high:+.3f}]"
    return text
