"""The first page of the report: the verdict on a run, as one HTML file whose links lead to the run's other pages."""

import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from neurohorizon.analysis.tables import PRIMARY_NULL, over_all_sources, read_tables, smallest_adjusted_p
from neurohorizon.analysis.wording import SIGNIFICANT
from neurohorizon.answer.answer import TypicalUnit
from neurohorizon.answer.figures import BITS, typical_figure
from neurohorizon.experiments.catalogue import CATALOGUE, Entry
from neurohorizon.files import replacing
from neurohorizon.forecasts.example import RULE, Example, read_example
from neurohorizon.methods import (
    ADAPTIVE,
    CLASS_DESCRIPTIONS,
    CLASS_ORDER,
    CONTROL,
    FITTED,
    FORECASTER,
    METHODS,
    REFERENCE_MEAN,
    SIMPLE_JOBS,
    ZERO_SHOT,
    class_word,
    method_label,
)
from neurohorizon.pages.html import MARKS, MEANING, document, figure_of, table_of
from neurohorizon.pages.svg import Figure, IntervalRow, interval_figure, nice_ticks, padded, text_of
from neurohorizon.report.results import counted_data, headline, inline_html

WORKFLOW_PAGE = "workflow.html"
"""Snakemake's own report, in the folder of the run."""
_READ = ("summary", "comparisons", "sessions", "horizon", "unit_influence")


def write_page(*, results: Path, tables: Path, example: Path, output: Path, overview: Path) -> None:
    """Write the page, and its part on the first page of Snakemake's report.

    Args:
        results: File of :func:`neurohorizon.report.results.write_results`.
        tables: Folder of the tables of experiment 1.
        example: File of :func:`neurohorizon.forecasts.example.make_example`.
        output: HTML file, in the folder of the run.
        overview: Piece of HTML.
    """
    found = json.loads(results.read_text())
    page = page_of(found, read_tables(tables, *_READ), read_example(example))
    for path, text in ((output, page), (overview, overview_of(found))):
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")


def overview_of(results: Mapping) -> str:
    """Return the verdict and the lines on experiments as a piece of HTML, in lines.

    Docutils, which lays out the first page of Snakemake's report, takes no line above 10000 characters.
    """
    verdict = results["verdict"]
    judged = "" if verdict is None else f"{verdict_head(verdict)}\n{verdict_answers(verdict)}\n"
    lines = experiment_lines(results, linked=False)
    return f"{_data(results)}\n{judged}<ol>\n{lines}\n</ol>\n<p>The page with figures is report.html.</p>\n"


def page_of(results: Mapping, tables: Mapping[str, pd.DataFrame], example: Example) -> str:
    """Return the page as HTML; names from files are escaped."""
    verdict, name = results["verdict"], results["config"]["run"]["name"]
    if verdict is None:
        body = f"{_data(results)}<h1>This run has no NeuroHorizon forecast.</h1>"
    else:
        body = "".join(
            [
                _data(results),
                verdict_head(verdict),
                '<div class="pair"><div>',
                _number(verdict, results),
                verdict_answers(verdict),
                "</div><div>",
                _leads(tables["comparisons"], verdict),
                _horizon(tables["horizon"], verdict),
                "</div></div>",
                _typical(example),
            ]
        )
    body += f"<h2>The experiments</h2><ol>{experiment_lines(results, linked=True)}</ol>"
    below = _methods(tables) + _disrupted(tables) + _sessions(tables, verdict) + _reading(results, tables)
    body += (
        f"<details><summary>All methods, controls, recordings, and how to read the numbers</summary>{below}</details>"
    )
    return document(text_of(f"{name}: {MARKS[verdict['mark']].lower() if verdict else 'no verdict'}"), body + _links())


def verdict_head(verdict: Mapping) -> str:
    """Return the verdict in a word and a sentence, as HTML."""
    mark = verdict["mark"]
    return f'<span class="badge {mark}">{MARKS[mark]}</span><h1>{text_of(verdict["sentence"])}</h1>'


def verdict_answers(verdict: Mapping) -> str:
    """Return the questions, their answers and the advice as HTML."""
    items = "".join(f"<dt>{text_of(asked)}</dt><dd>{text_of(text)}</dd>" for asked, text in verdict["answers"].items())
    advice = " ".join(verdict["advice"])
    return f"<dl>{items}<dt>What to do?</dt><dd>{text_of(advice)}</dd></dl>"


def experiment_lines(results: Mapping, *, linked: bool) -> str:
    """Return a line for each of the numbered experiments as items of a list.

    Args:
        linked: Whether they lead to the notebooks of the run.
    """
    sections = {one["name"]: one for one in results["sections"]}
    return "\n".join(_line(one, sections, linked=linked) for one in CATALOGUE.values() if one.number)


def _line(entry: Entry, sections: Mapping, *, linked: bool) -> str:
    title = html.escape(entry.title)
    if entry.name not in sections:
        return f'<li><b>{title}.</b> <span class="soft">Not in this run.</span></li>'
    # the interval and the counts are on the page of the experiment
    short = re.sub(r"\s*\([^()]*\)", "", headline(sections[entry.name]["text"]))
    link = f' <a href="{entry.folder}/notebooks/{entry.name}.html">More</a>' if linked and entry.notebook else ""
    return f"<li><b>{title}.</b> {inline_html(short)}{link}</li>"


def _data(results: Mapping) -> str:
    data = results["data"]
    kind = "Simulated" if results["simulated"] else "Real"
    note = results["config"]["cohort"]["note"]
    text = (
        f"{results['config']['run']['name']}: forecasts of recordings that were not trained on. {kind} recordings. "
        f"Trained on {counted_data(data['trained'])}; forecast: {counted_data(data['heldout'])}"
    )
    text += f", in {data['folds']} folds" if data["folds"] > 1 else ""
    return f'<p class="soft">{text_of(text)}.{f" {text_of(note)}" if note else ""} {text_of(results["claim"])}</p>'


def _number(verdict: Mapping, results: Mapping) -> str:
    interval = f"{results['config']['evaluation']['interval']:.0%} interval"
    bounds = (
        f"no interval: {verdict['animals']} animal"
        if verdict["lower"] is None
        else f"{interval} {verdict['lower']:+.3f} to {verdict['upper']:+.3f} over {verdict['animals']} animals"
    )
    return (
        f'<p class="number">{verdict["score"]:+.3f}</p><p class="soft">bits per spike of the '
        f"{text_of(method_label(verdict['method']))} forecast, mean over recordings; {bounds}. 0: mean rates.</p>"
    )


def _leads(comparisons: pd.DataFrame, verdict: Mapping) -> str:
    """Draw the differences to zero-shot methods on their own axis."""
    method = verdict["method"]
    rows = comparisons[(comparisons["method"] == method) & (comparisons["against_class"] == ZERO_SHOT)]
    rows = rows[rows["against"] != REFERENCE_MEAN]
    if rows.empty:
        return ""
    return _differences(
        rows.sort_values("difference"),
        f"Lead of {method_label(method)} over each method",
        "lead in bits per spike",
        "Lead of the forecast over each zero-shot method, paired by recording. Right of 0, the forecast is better. "
        "{bars}Green: methods without a trained network.",
    )


def _differences(rows: pd.DataFrame, title: str, label: str, caption: str) -> str:
    drawn = [
        IntervalRow(
            label=method_label(row["against"]),
            value=row["difference"],
            low=None if pd.isna(row["lower"]) else row["lower"],
            high=None if pd.isna(row["upper"]) else row["upper"],
            css=_colour(row["against"]),
        )
        for _, row in rows.iterrows()
    ]
    interval = rows["interval"].iloc[0]
    bars = "" if rows["lower"].isna().all() else f"Bars: {interval:.0%} intervals over animals. "
    return figure_of(interval_figure(title, drawn, label), caption.format(bars=bars))


def _colour(method: str) -> str:
    job = METHODS[method].job if method in METHODS else ""
    return "simple" if job in SIMPLE_JOBS else "own" if method in (FORECASTER, ADAPTIVE) else "rival"


def _horizon(horizon: pd.DataFrame, verdict: Mapping) -> str:
    shown = horizon[horizon["null"] == PRIMARY_NULL]
    lines = {name: shown[shown["method"] == verdict[name]].sort_values("horizon_ms") for name in ("method", "rival")}
    lines = {name: rows for name, rows in lines.items() if len(rows)}
    own = lines["method"]
    bounds = [value for rows in lines.values() for value in rows["bits_per_spike"]]
    bounds += [value for name in ("lower", "upper") for value in own[name]]
    texts = [f"{row['horizon_ms']:g} ms: {row['bits_per_spike']:.3f}" for _, row in own.iterrows()]
    figure = Figure(
        title="Score by time ahead",
        description=f"{', '.join([texts[0], texts[len(texts) // 2], texts[-1]])} {BITS}",
        x=(0, own["horizon_ms"].max()),
        y=padded(bounds),
    )
    if figure.y[0] < 0:
        figure.segment(figure.x, (0, 0), "zero")
    if own["lower"].notna().all():
        figure.band(own["horizon_ms"], own["lower"], own["upper"], "band")
    for name, css in (("rival", "rival"), ("method", "own")):
        if name in lines:
            figure.line(lines[name]["horizon_ms"].tolist(), lines[name]["bits_per_spike"].tolist(), f"curve {css}")
    figure.axis_x("time ahead (ms)", nice_ticks(*figure.x))
    figure.axis_y(BITS, nice_ticks(*figure.y, 4))
    keys = f'<span class="key own"></span>{text_of(method_label(verdict["method"]))}'
    if "rival" in lines:
        keys += f'<span class="key rival"></span>{text_of(method_label(verdict["rival"]))}'
    return figure_of(figure.svg(), f"{keys}<br>Score by time ahead; mean rates: 0.")


def _typical(example: Example) -> str:
    units = [
        TypicalUnit(
            unit=str(name),
            spikes_ms=example.spike_time_ms[example.spike_unit == place].tolist(),
            rate_hz=example.rate_hz[:, place].tolist(),
            rival_hz=example.rival_hz[:, place].tolist(),
            reference_hz=float(example.reference_rate_hz[place]),
        )
        for place, name in enumerate(example.unit_id)
    ]
    keys = (
        f'<span class="key own"></span>{text_of(method_label(example.method))}'
        f'<span class="key rival"></span>{text_of(method_label(example.rival))}<span class="key ref"></span>mean rate'
    )
    svg = typical_figure(units, context_ms=float(example.context_ms), end=float(example.edges_ms[-1]))
    drawn = figure_of(
        svg,
        f"{keys}<br>Vertical marks: spikes, grey before the origin and black after it. Lines: expected rates, each "
        "unit on its own scale.",
    )
    return (
        f'<h2>One typical forecast</h2><div class="pair">{drawn}<div><p>Recording {text_of(example.session)}, at '
        f'{example.origin_s:.1f} s: {example.score:+.3f} bits per spike.</p><p class="soft">Chosen by a rule that '
        f"prefers neither good nor bad forecasts: {RULE}.</p></div></div>"
    )


def _interval(row: Mapping, value: str, prefix: str = "") -> str:
    lower, upper = row[f"{prefix}lower"], row[f"{prefix}upper"]
    text = f"{row[value]:+.3f}"
    return text if pd.isna(lower) or pd.isna(upper) else f"{text} [{lower:+.3f}, {upper:+.3f}]"


def _methods(tables: Mapping[str, pd.DataFrame]) -> str:
    summary = over_all_sources(tables["summary"][tables["summary"]["null"] == PRIMARY_NULL])
    rows = [
        [
            method_label(row["method"]),
            class_word(row["class"]),
            _interval(row, "bits_per_spike"),
            _interval(row, "pooled", "pooled_"),
            _interval(row, "unit_mean", "unit_mean_"),
            f"{row['better_units']} of {row['spiking_units']}",
        ]
        for _, row in summary.iterrows()
    ]
    heads = ["method", "class", "mean over recordings", "all spikes pooled", "mean over units", "units above 0"]
    return "<h2>All methods</h2>" + table_of("Bits per spike over the mean rate of each unit.", heads, rows)


def _disrupted(tables: Mapping[str, pd.DataFrame]) -> str:
    """Draw controls, and methods that fit the session, each on their own axis."""
    comparisons = tables["comparisons"]
    comparisons = comparisons[comparisons["method"] == FORECASTER]
    parts = []
    for kind, title, text in (
        (CONTROL, "Controls", "Lead of the network over itself if the descriptions of its units are disrupted. {bars}"),
        (
            FITTED,
            "Methods that fit the forecast recording",
            "Lead of the network over methods that also fit the recording, which it never does. {bars}",
        ),
    ):
        rows = comparisons[comparisons["against_class"] == kind]
        if len(rows):
            parts.append(f"<div><h3>{title}</h3>{_differences(rows, title, 'lead in bits per spike', text)}</div>")
    return f'<div class="pair">{"".join(parts)}</div>' if parts else ""


def _sessions(tables: Mapping[str, pd.DataFrame], verdict: Mapping | None) -> str:
    if verdict is None:
        return ""
    sessions = tables["sessions"]
    own = sessions[(sessions["null"] == PRIMARY_NULL) & (sessions["method"] == verdict["method"])]
    influence = tables["unit_influence"]
    influence = influence[influence["method"] == verdict["method"]].set_index(["fold", "session"])
    rows = []
    for _, row in own.iterrows():
        one = influence.loc[(row["fold"], row["session"])]
        without = one["bits_per_spike_without"]
        rows.append(
            [
                row["session"],
                row["subject"],
                f"{row['bits_per_spike']:+.3f}",
                f"{row['unit_mean']:+.3f}",
                f"{row['better_units']:g} of {row['spiking_units']}",
                f"{one['unit_id']}: {one['spike_share']:.0%}",
                "–" if pd.isna(without) else f"{without:+.3f}",
            ]
        )
    heads = ["recording", "animal", "pooled", "mean over units", "units above 0", "busiest unit", "without it"]
    return "<h2>Recordings</h2>" + table_of(f"Bits per spike of {method_label(verdict['method'])}.", heads, rows)


def _reading(results: Mapping, tables: Mapping[str, pd.DataFrame]) -> str:
    evaluation = results["config"]["evaluation"]
    kinds = set(tables["summary"]["class"])
    classes = "".join(
        f"<dt>{class_word(kind)}</dt><dd>{CLASS_DESCRIPTIONS[kind]}</dd>" for kind in CLASS_ORDER if kind in kinds
    )
    smallest = smallest_adjusted_p(tables["comparisons"])
    p = ""
    if smallest >= SIGNIFICANT:
        p = (
            f" With this number of animals no p of the declared comparisons can be below {smallest:.2g} after Holm's "
            "adjustment, so this page gives none."
        )
    coverage = f"{evaluation['interval']:.0%}"
    text = (
        f"{MEANING} A score of a recording pools its units and horizon bins; the mean is over recordings. Units below "
        f"{evaluation['minimum_rate_hz']:g} Hz in the reference window are not scored. {coverage} intervals are from a "
        f"bootstrap over animals: with two or three they only show whether these agree.{p}"
    )
    return f"<h2>How to read the numbers</h2><p>{text_of(text)}</p><dl>{classes}</dl>"


def _links() -> str:
    links: Iterable[tuple[str, str]] = (
        ("report/results.md", "all findings as text"),
        (WORKFLOW_PAGE, "all figures and tables with captions, the graph of the workflow, the provenance"),
        ("config.yaml", "the configuration"),
    )
    items = "".join(f'<li><a href="{path}">{path}</a>: {text}</li>' for path, text in links)
    return (
        f"<h2>More</h2><ul>{items}</ul>"
        f'<p class="soft"><code>make report</code> writes {WORKFLOW_PAGE}; <code>snakemake paper</code> writes '
        "report/paper.pdf. Links need the folder of the run.</p>"
    )
