"""All experiments of a run as the results of a paper, for the notebook, the PDF and the first page of the report.

Texts come from the narrative of each experiment, which its numbers decide; captions are those of the report, filled in
from the configuration. Text is Markdown with ``**bold**``, ``*emphasis*``, ```code```, ``<sup>`` and lists only.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined

from neurohorizon.analysis.tables import PRIMARY_NULL, over_all_sources
from neurohorizon.analysis.wording import scope_sentence
from neurohorizon.experiments.catalogue import CATALOGUE
from neurohorizon.files import replacing
from neurohorizon.methods import method_label
from neurohorizon.printed_names import counted
from neurohorizon.report.verdict import judge_run


def describe_run(
    folder: Path, *, names: Sequence[str], figures: Sequence[Path], captions: Sequence[Path], cards: Sequence[Path]
) -> dict:
    """Collect the content of the pages on a run.

    Args:
        folder: The run's folder: ``config.yaml``, ``scores/sessions.parquet`` and tables.
        names: Entries of the catalogue that are sections of the paper, in its order.
        figures: The figure of each, SVG with a PNG next to it.
        cards: Cards of the main network, one per fold and seed.

    Returns:
        ``config``; ``data`` (numbers of sessions, animals, labs, units and hours by role); ``simulated``; ``verdict``,
        see :func:`neurohorizon.report.verdict.judge_run`; ``training``
        (sessions and steps by fold and seed); ``sections`` (name, title, question, headline, text, figure, width_pt,
        caption); ``claim``, the scope of the claim; ``scores``, the rows of the table of methods.
    """
    config = yaml.safe_load((folder / "config.yaml").read_text())
    sections = []
    for name, figure, rst in zip(names, figures, captions, strict=True):
        entry = CATALOGUE[name]
        text = resolve_name(entry.narrative_function)(folder / entry.folder / "tables")
        sections.append(
            {"name": name, "title": entry.title, "question": entry.question}
            | {"headline": headline(text, entry.headline_sentences), "text": text}
            | {"figure": str(figure.resolve()), "width_pt": svg_width_pt(figure)}
            | {"caption": caption(rst.read_text(), config)}
        )
    tables = folder / CATALOGUE["cross_session"].folder / "tables"
    summary = pd.read_parquet(tables / "summary.parquet")
    simulated = bool(config["sources"]["simulated"] or config["sources"]["simulated_allen"])
    minimum_rate_hz = config["evaluation"]["minimum_rate_hz"]
    verdict = judge_run(tables, minimum_rate_hz=minimum_rate_hz, simulated=simulated)
    return {
        "config": config,
        "data": count_data(pd.read_parquet(folder / "scores" / "sessions.parquet")),
        "simulated": simulated,
        "verdict": None if verdict is None else verdict.to_json(),
        "training": [_training(path) for path in cards],
        "sections": sections,
        "claim": scope_sentence(over_all_sources(summary)),
        "scores": _scores(summary),
    }


def write_results(
    folder: Path,
    *,
    names: Sequence[str],
    figures: Sequence[Path],
    captions: Sequence[Path],
    cards: Sequence[Path],
    output: Path,
) -> None:
    """Write :func:`describe_run` as JSON.

    Args:
        names: Entries of the catalogue that are sections of the paper, in its order.
        figures: The figure of each, SVG with a PNG next to it.
        cards: Cards of the main network, one per fold and seed.
    """
    results = describe_run(folder, names=names, figures=figures, captions=captions, cards=cards)
    with replacing(output) as partial:
        partial.write_text(json.dumps(results, indent=1, ensure_ascii=False))


def count_data(sessions: pd.DataFrame) -> dict:
    """Sessions, animals, labs, units and hours of the usable sessions, ``trained`` on and ``heldout``; folds."""
    found = {}
    for part, role in (("trained", "train"), ("heldout", "heldout")):
        rows = sessions[sessions["role"].isin([role, "rotate"]) & (sessions["left_out"] == "")]
        found[part] = {
            "sessions": len(rows),
            "animals": len(rows[["lab", "subject"]].drop_duplicates()),
            "labs": rows["lab"].nunique(),
            "units": int(rows["units"].sum()),
            "hours": round(float(rows["recorded_s"].sum()) / 3600, 1),
        }
    found["left_out"] = {"sessions": int((sessions["left_out"] != "").sum())}
    found["folds"] = sessions.loc[sessions["fold"] != "", "fold"].nunique()
    return found


def headline(text: str, sentences: int = 1) -> str:
    """The first sentences of a text that have something in bold, or else its first one."""
    found = re.split(r"(?<=[.!?])\s+(?=[A-Z*])", text.strip())
    return " ".join([one for one in found if "**" in one][:sentences] or found[:1])


def caption(rst: str, config: Mapping) -> str:
    """A caption of the report, filled in from the configuration, as Markdown on one line."""
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    text = environment.from_string(rst).render(snakemake={"config": config})
    text = re.sub(r"\\ :sup:`(.+?)`", r"<sup>\1</sup>", text)
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    return " ".join(text.split())


def svg_width_pt(path: Path) -> float:
    """Printed width of an SVG, in points."""
    head = path.read_text()[:2000]
    found = re.search(r'<svg[^>]*\bwidth="([\d.]+)pt"', head)
    if not found:
        raise ValueError(f"{path} has no width in pt: draw it with neurohorizon.analysis.style.save_figure")
    return float(found[1])


def _training(card: Path) -> dict:
    values = json.loads(card.read_text())
    return {"fold": values["fold"], "sessions": len(values["sessions"])} | {
        name: values["scores"].get(name) for name in ("seed", "steps", "validation_bits_per_spike")
    }


def _scores(summary: pd.DataFrame) -> list[dict]:
    rows = over_all_sources(summary[summary["null"] == PRIMARY_NULL])
    names = ["class", "bits_per_spike", "lower", "upper", "share_of_oracle", "gap_closed", "sessions", "animals"]
    found = []
    for row in rows.to_dict("records"):
        values = {name: None if pd.isna(row.get(name)) else row[name] for name in names}
        found.append({"method": method_label(row["method"])} | values)
    return found


def inline_html(text: str) -> str:
    """Return Markdown of the results as HTML, with all other marks escaped."""
    text = html.escape(text, quote=False)
    text = re.sub(r"&lt;(/?su[bp])&gt;", r"<\1>", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"(?<!\*)\*([^*\s][^*]*)\*", r"<i>\1</i>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def counted_data(part: Mapping) -> str:
    """Amount of data in words; see :func:`count_data`."""
    sessions, animals, units = (counted(part[key], key.removesuffix("s")) for key in ("sessions", "animals", "units"))
    return f"{sessions} of {animals} ({units}, {part['hours']:g} h)"
