"""The page of an answer: one HTML file without any other file, for phones and desktops, light and dark."""

from collections.abc import Iterable, Sequence
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
from neurohorizon.answer.svg import text_of
from neurohorizon.files import replacing

SOFTWARE = "The NeuroHorizon authors. NeuroHorizon: zero-shot forecasts of spiking in unseen recordings"
MEANING = (
    "The score is the information that a forecast adds to the mean rate of each unit, in bits for each spike: 0 is the "
    "score of the mean rates, more is better, and below 0 the mean rates are better. A score of 0.1 means that, per "
    "spike, the observed counts are 2 to the power of 0.1 = 1.07 times as likely under the forecast as under the mean "
    "rates."
)
_MARKS = {"works": "Works", "barely": "Barely works", "fails": "Fails", "cannot": "Cannot be decided"}
_SHOWN_UNITS = 12

_STYLE = """
:root{color-scheme:light dark;--ink:#1a1a1a;--soft:#555;--paper:#fff;--card:#f5f5f2;--rule:#d5d5d0;--own:#c24e00;
--rival:#0072b2;--simple:#00795a;--ref:#767676;--band:#d55e0033;--horizon:#d55e0012;--works:#00704f;--barely:#8a5a00;
--fails:#a8201a;--cannot:#5a5a5a}
@media(prefers-color-scheme:dark){:root{--ink:#ececec;--soft:#b4b4b4;--paper:#161616;--card:#222;--rule:#444;
--own:#ff8a3d;--rival:#62b8f0;--simple:#37c79c;--ref:#9a9a9a;--band:#ff8a3d40;--horizon:#ff8a3d14;--works:#37c79c;
--barely:#f0b429;--fails:#ff7b72;--cannot:#b4b4b4}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:16px}
h1,p,li,dd{overflow-wrap:anywhere}
h1{font-size:1.45rem;line-height:1.25;margin:.3em 0 .5em}
h2{font-size:1.15rem;margin:2em 0 .4em;padding-top:.6em;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:1em 0 .3em}
p,ul,dl{margin:.4em 0 .8em;max-width:70ch}
ul{padding-left:1.2em}
.soft,figcaption{color:var(--soft);font-size:.9rem}
.badge{display:inline-block;padding:.1em .7em;border-radius:1em;border:2px solid;font-weight:700}
.works{color:var(--works)}.barely{color:var(--barely)}.fails{color:var(--fails)}.cannot{color:var(--cannot)}
.number{font-size:2.6rem;font-weight:700;line-height:1.1;margin:.2em 0 0}
.pair{display:grid;gap:8px 32px;grid-template-columns:minmax(0,1fr)}
@media(min-width:800px){.pair{grid-template-columns:repeat(2,minmax(0,1fr))}}
figure{margin:0 0 1em;max-width:520px}
svg{display:block;width:100%;height:auto}
.scroll{overflow-x:auto;margin:.4em 0 .8em}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.25em .9em .25em 0;text-align:right;border-bottom:1px solid var(--rule);vertical-align:top}
td{white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:7em}
dt{font-weight:600}dd{margin:0 0 .5em}
summary{cursor:pointer;padding:.4em 0}
.key{display:inline-block;width:1.4em;border-top:3px solid;vertical-align:middle;margin:0 .3em 0 .8em}
.key:first-child{margin-left:0}
.key.rival{border-top-style:dashed}.key.ref{border-color:var(--ref);border-top-width:2px}
.key.own,.kind0k{border-color:var(--own)}.key.rival,.kind1k{border-color:var(--rival)}
.kind2k{border-color:var(--simple)}.kind3k{border-color:var(--ink)}
svg text{fill:var(--ink);font:11.5px system-ui,sans-serif}
svg text.label{fill:var(--soft)}svg text.strong{font-weight:700}
svg .axis{stroke:var(--ink);stroke-width:1}svg .zero{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
svg .own,svg .kind0{fill:var(--own);stroke:var(--own)}svg .rival,svg .kind1{fill:var(--rival);stroke:var(--rival)}
svg .simple,svg .kind2{fill:var(--simple);stroke:var(--simple)}svg .kind3{fill:var(--ink);stroke:var(--ink)}
svg .curve{fill:none;stroke-width:1.8}svg .curve.rival{stroke-dasharray:5 3}
svg .bar{stroke-width:3}svg .bar.thin{stroke-width:1.5}svg .see{fill-opacity:.45}
svg .band{fill:var(--band)}svg .horizon{fill:var(--horizon)}svg .observed{fill:var(--ink)}
svg .spike{stroke:var(--ink);stroke-width:1.4}svg .past{stroke:var(--ref)}
svg .reference{fill:none;stroke:var(--ref);stroke-width:1}
"""


def write_page(answer: Answer, path: str | Path) -> None:
    """Write the page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(page_of(answer), encoding="utf-8")


def page_of(answer: Answer) -> str:
    """Return the page as HTML. Names from files are escaped, and nothing outside of the page is loaded."""
    title = text_of(f"{answer.recording.name}: {_MARKS[answer.verdict].lower()}")
    sections = (_verdict, _typical, _ahead, _units, _reference, _intervals, _unlike, _read, _meaning)
    body = "\n".join(section(answer) for section in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _verdict(answer: Answer) -> str:
    value = "–" if answer.score.value is None else f"{answer.score.value:+.3f}"
    parts = [
        f'<p class="soft">{text_of(answer.recording.name)}: will the forecast work on this recording?</p>',
        f'<span class="badge {answer.verdict}">{_MARKS[answer.verdict]}</span>',
        f"<h1>{text_of(answer.sentence)}</h1>",
    ]
    number = [f'<p class="number">{value}</p>', f'<p class="soft">bits per spike, {_interval(answer)}</p>']
    todo = "".join(f"<li>{text_of(one)}</li>" for one in answer.advice)
    number.append(f"<h3>What to do</h3><ul>{todo}</ul>")
    picture = ""
    if answer.methods:
        picture = _figure(
            score_figure(answer.methods), "Score of each method; bars are 95 % intervals over blocks of time."
        )
    parts.append(f'<div class="pair"><div>{"".join(number)}</div><div>{picture}</div></div>')
    parts.append(f"<h3>What was found</h3><p>{text_of(answer.found)}</p>")
    if answer.methods:
        rows = [
            [one.label, _text(one.pooled), _text(one.mean_over_units), "" if one.lead is None else _text(one.lead)]
            for one in answer.methods
        ]
        heads = ["method", "pooled score", "mean over units", "lead of the adaptive forecast"]
        parts.append(_table("Bits per spike with 95 % intervals. Pooled: units weigh by their spikes.", heads, rows))
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
        + _figure(
            typical_figure(one),
            "Vertical marks: observed spikes, grey before the origin, which the forecast reads, and black after it. "
            "Lines: expected rates, each unit on its own scale.",
        )
        + _figure(
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
        + _figure(horizon_figure(answer.horizon), "Score by time ahead; bars are 95 % intervals.")
        + _figure(time_figure(answer.over_time), f"Score of each block of {answer.block_s:.0f} s over the recording.")
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
        _figure(
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
    return _table(caption, heads, rows)


def _region_table(answer: Answer) -> str:
    if not answer.regions:
        return ""
    rows = [[one.region or "unknown", str(one.units), str(one.spikes), _text(one.score)] for one in answer.regions]
    return _table("Score by region.", ["region", "units", "spikes", "score"], rows)


def _reference(answer: Answer) -> str:
    length, number = answer.reference_length, answer.number_of_units
    if length is None or number is None:
        return ""
    how = f"by the static network, on {length.windows} windows"
    cells = [
        f"<div><h3>Length of the reference window</h3><p>{text_of(length.sentence)}</p>"
        + (
            _figure(length_figure(length), f"Score if only the last minutes describe the units, {how}.")
            if len(length.points) > 1
            else ""
        )
        + "</div>",
        f"<div><h3>Number of units</h3><p>{text_of(number.sentence)}</p>"
        + (
            _figure(
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
    table = _table("Share of observed counts in intervals of", ["counts of", "50 %", "80 %", "90 %"], rows)
    return (
        f'<h2>Can the intervals be trusted?</h2><p>{text_of(one.sentence)}</p><div class="pair">'
        + _figure(
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
    features = ", ".join(f"{row.feature} ({row.units} units)" for row in one.worst_features)
    worst = sorted((unit for unit in answer.units if unit.outside), key=lambda unit: -(unit.outside or 0))[:10]
    table = _table(
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
    version = f", version {answer.package_version}" if answer.package_version else ""
    cited = "".join(f"<li>{text_of(one)}</li>" for one in [f"{SOFTWARE}{version}", *answer.network.citations])
    return (
        f"<h2>What the score means</h2><p>{text_of(MEANING)}</p>"
        f"<h2>How to cite</h2><ul>{cited}</ul>"
        f'<p class="soft">All numbers of this page are in answer.json; the seed is {answer.seed}.</p>'
    )


def _figure(svg: str, caption: str) -> str:
    """Return a figure; the caption is HTML."""
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{text_of(one)}</th>' for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{text_of(one)}</td>" for one in row) + "</tr>" for row in rows)
    caption = text_of(caption)
    return (
        f'<p class="soft">{caption}</p><div class="scroll" tabindex="0"><table aria-label="{caption}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _text(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    text = f"{estimate.value:+.3f}"
    if estimate.low is not None and estimate.high is not None:
        text += f" [{estimate.low:+.3f}, {estimate.high:+.3f}]"
    return text
