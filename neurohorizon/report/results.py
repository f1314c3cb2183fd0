"""All experiments of a run as the results of a paper: what notebook, PDF and the report's first page read.

Texts come from the narrative of each experiment, which its numbers decide; captions are those of the report, filled in
from the configuration. Text is Markdown with ``**bold**``, ``*emphasis*``, ```code```, ``<sup>`` and lists alone.
"""

import html
import json
import re
from base64 import encodebytes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined

from neurohorizon.analysis.tables import PRIMARY_NULL, claim, counted, over_all_sources
from neurohorizon.experiments.ablations.narrative import describe_results as describe_ablations
from neurohorizon.experiments.cross_session.curve_narrative import describe_results as describe_curves
from neurohorizon.experiments.cross_session.narrative import describe_results as describe_cross_session
from neurohorizon.experiments.downstream.narrative import describe_results as describe_downstream
from neurohorizon.experiments.horizons.narrative import describe_results as describe_horizons
from neurohorizon.experiments.multimodal.narrative import describe_results as describe_multimodal
from neurohorizon.experiments.scaling.narrative import describe_results as describe_scaling
from neurohorizon.files import replacing
from neurohorizon.methods import method_label


@dataclass(frozen=True)
class Experiment:
    """How an experiment is told.

    Attributes:
        title: Its heading.
        question: What it asks, in a sentence for anybody.
        describe: Its results, from the folder of its tables.
        headline_sentences: So many of the sentences with something in bold, the first ones, are the headline.
    """

    title: str
    question: str
    describe: Callable[[Path], str]
    headline_sentences: int = 1


EXPERIMENTS = {
    "cross_session": Experiment(
        "Unseen animals",
        "Are the next moments of a recording forecast whose animal was never seen?",
        describe_cross_session,
        headline_sentences=3,  # the score, its share of what is possible where that is known, over the closest rival
    ),
    "cross_session_curves": Experiment(
        "What must be known of a recording",
        "How long a reference window, how many neurons, how soon after it?",
        describe_curves,
    ),
    "scaling": Experiment(
        "Scaling",
        "Does it get better with more recordings, other recordings, larger networks?",
        describe_scaling,
        headline_sentences=2,  # the change, and whether a law was identified
    ),
    "horizons": Experiment(
        "Horizons",
        "How far ahead is anything known, and does it help to feed forecasts back?",
        describe_horizons,
    ),
    "multimodal": Experiment(
        "Behaviour and images",
        "What do behaviour and images tell that the spikes do not?",
        describe_multimodal,
    ),
    "downstream": Experiment(
        "Decoding",
        "What do the frozen latents know of what the animal saw, chose and did?",
        describe_downstream,
        headline_sentences=2,  # over chance, and over counts
    ),
    "ablations": Experiment(
        "Ablations",
        "What is each part of the network worth?",
        describe_ablations,
    ),
}
"""In the order of the paper; one that a run does not have is left out."""


def experiment_folder(run: Path, name: str) -> Path:
    """Folder of an experiment; the first one's tables and figures are those of the run."""
    return run if name == "cross_session" else run / name.removesuffix("_curves")


def describe_run(
    run: Path, *, figures: Mapping[str, Path], captions: Mapping[str, Path], cards: Sequence[Path]
) -> dict:
    """Collect what the pages on a run say.

    Args:
        run: The run's folder: ``config.yaml``, ``scores/sessions.parquet`` and tables.
        figures: Experiment -> its figure, SVG with a PNG beside it; these experiments are told.
        captions: Experiment -> the caption of that figure in the report.
        cards: Cards of the main network, one per fold and seed.

    Returns:
        ``config``; ``data`` (numbers of sessions, animals, labs, units and hours by role); ``simulated``; ``training``
        (sessions and steps by fold and seed); ``sections`` (name, title, question,
        headline, text, figure, width_pt, caption); ``claim``, what held-out sessions stand for; ``scores``, the rows of
        the table of methods.
    """
    config = yaml.safe_load((run / "config.yaml").read_text())
    sections = []
    for name in [name for name in EXPERIMENTS if name in figures]:
        told = EXPERIMENTS[name]
        text = told.describe(experiment_folder(run, name) / "tables")
        sections.append(
            {"name": name, "title": told.title, "question": told.question}
            | {"headline": headline(text, told.headline_sentences), "text": text}
            | {"figure": str(figures[name].resolve()), "width_pt": svg_width_pt(figures[name])}
            | {"caption": caption(captions[name].read_text(), config)}
        )
    summary = pd.read_parquet(run / "tables" / "summary.parquet")
    return {
        "config": config,
        "data": count_data(pd.read_parquet(run / "scores" / "sessions.parquet")),
        "simulated": bool(config["sources"]["simulated"] or config["sources"]["simulated_allen"]),
        "training": [_training(path) for path in cards],
        "sections": sections,
        "claim": claim(over_all_sources(summary)),
        "scores": _scores(summary),
    }


def write_results(
    run: Path, *, figures: Mapping[str, Path], captions: Mapping[str, Path], cards: Sequence[Path], output: Path
) -> None:
    """Write :func:`describe_run` as JSON."""
    told = describe_run(run, figures=figures, captions=captions, cards=cards)
    with replacing(output) as partial:
        partial.write_text(json.dumps(told, indent=1, ensure_ascii=False))


def count_data(sessions: pd.DataFrame) -> dict:
    """Sessions, animals, labs, units and hours of those that could be used, ``trained`` on and ``heldout``; folds."""
    parts = {"trained": ("train", "rotate"), "heldout": ("heldout", "rotate")}
    found = {}
    for part, roles in parts.items():
        rows = sessions[sessions["role"].isin(roles) & (sessions["left_out"] == "")]
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
    """Width of an SVG as it is meant to be printed, in points."""
    head = path.read_text()[:2000]
    found = re.search(r'<svg[^>]*\bwidth="([\d.]+)pt"', head)
    if not found:
        raise ValueError(f"{path} does not say its width in pt: draw it with evaluation.style.save_figure")
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


def _inline_html(text: str) -> str:
    text = html.escape(text, quote=False)
    text = re.sub(r"&lt;(/?su[bp])&gt;", r"<\1>", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"(?<!\*)\*([^*\s][^*]*)\*", r"<i>\1</i>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def overview(told: Mapping) -> str:
    """The report's first page as a piece of HTML: what was done, what came out, and one figure.

    Args:
        told: What :func:`describe_run` gives.
    """
    data, config = told["data"], told["config"]
    horizon_ms = config["timeline"]["horizon_bins"] * config["timeline"]["bin_ms"]
    heldout, trained = (_counted_data(data[part]) for part in ("heldout", "trained"))
    folds = f", in {data['folds']} folds" if data["folds"] > 1 else ""
    made = (
        "Recordings are <b>simulated</b>: numbers show that the code works, and say nothing of brains."
        if told["simulated"]
        else "Recordings are real."
    )
    rows = "\n".join(
        f"<li><b>{html.escape(one['title'])}.</b> <i>{html.escape(one['question'])}</i> "
        f"{_inline_html(one['headline'])}</li>"
        for one in told["sections"]
    )
    main = told["sections"][0]
    # in lines, since docutils, which lays out the report's first page, takes none above 10000 characters
    png = encodebytes(Path(main["figure"]).with_suffix(".png").read_bytes()).decode()
    return (
        f"<p><b>NeuroHorizon forecasts the next {horizon_ms:g} ms of every neuron in recordings that it has never "
        f"seen</b>, with no gradient step on them. Learned from {trained}; forecast were {heldout}{folds}. {made}</p>\n"
        f"<ol>{rows}</ol>\n"
        f'<img alt="Forecasts of held-out sessions" style="max-width: 100%; height: auto" '
        f'src="data:image/png;base64,{png}">\n'
    )


def _counted_data(part: Mapping) -> str:
    return (
        f"{counted(part['sessions'], 'session')} of {counted(part['animals'], 'animal')} "
        f"({counted(part['units'], 'unit')}, {part['hours']:g} h)"
    )


def write_overview(results: Path, output: Path) -> None:
    """Write :func:`overview` of a results file."""
    with replacing(output) as partial:
        partial.write_text(overview(json.loads(results.read_text())))
