"""All results of a run as one page of Markdown, for the documentation: every number comes from a table."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from neurohorizon.analysis.wording import format_interval
from neurohorizon.files import replacing
from neurohorizon.report.results import counted_data

NOTICE = "<!-- Made by `make results CONFIG=config/{name}.yaml`. Do not edit: the next run replaces it. -->"


def write_run_page(*, results: Path, names: Sequence[str], summaries: Sequence[Path], output: Path) -> None:
    """Write :func:`run_page` of a results file, with the tables of experiments as text in the order of ``names``."""
    texts = {name: path.read_text() for name, path in zip(names, summaries, strict=True)}
    with replacing(output) as partial:
        partial.write_text(run_page(json.loads(results.read_text()), texts))


def run_page(results: Mapping, summaries: Mapping[str, str]) -> str:
    """Write a run's data, scores, findings and tables.

    Args:
        summaries: Experiment -> its tables as text.
    """
    name, data = results["config"]["run"]["name"], results["data"]
    kind = "Simulated recordings: the numbers show that the code works." if results["simulated"] else "Real recordings."
    parts = [
        NOTICE.format(name=name),
        f"# Results of `{name}`",
        *([note] if (note := results["config"]["cohort"]["note"]) else []),
        f"{kind} Trained on {counted_data(data['trained'])}; forecast: {counted_data(data['heldout'])}.",
        "Scores are bits per spike over the mean rate of the reference window. Intervals resample animals.",
        _scores(results["scores"]),
    ]
    for section in results["sections"]:
        parts += [f"## {section['title']}", f"*{section['question']}*", section["text"].strip()]
        if section["name"] in summaries:
            parts.append(_fenced(_plain(summaries[section["name"]])))
    return "\n\n".join(parts) + "\n"


def _scores(rows: list[Mapping]) -> str:
    lines = ["| method | class | bits/spike | interval | sessions | animals |", "|---|---|---|---|---|---|"]
    for row in rows:
        interval = "" if row["lower"] is None else format_interval(row["lower"], row["upper"])
        cells = [row["method"], row["class"], f"{row['bits_per_spike']:.3f}", interval]
        lines.append(f"| {' | '.join([*cells, str(row['sessions']), str(row['animals'])])} |")
    return "\n".join(lines)


def _fenced(text: str) -> str:
    """Return text as a block of Markdown, with a longer fence than any in it."""
    fence = max(["``", *re.findall("`{3,}", text)], key=len) + "`"
    return f"{fence}text\n{text}\n{fence}"


def _plain(text: str) -> str:
    """Drop trailing blanks, and blank lines at both ends."""
    return re.sub(r"[ \t]+$", "", text, flags=re.M).strip("\n")
