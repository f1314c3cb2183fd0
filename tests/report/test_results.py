"""What all experiments say together: numbers come from tables, on every page the same, and the paper can be typeset."""

import json
import re
from pathlib import Path

import pytest
import yaml
from factories import ROOT

pd = pytest.importorskip("pandas")
typst = pytest.importorskip("typst")

from factories.forecasts import CONTEXT_BINS, make_session, write_made_session, write_run  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from neurohorizon.analysis.style import save_figure  # noqa: E402
from neurohorizon.analysis.tables import Resampling  # noqa: E402
from neurohorizon.experiments.cross_session.tables import make_tables  # noqa: E402
from neurohorizon.forecasts.example import make_example  # noqa: E402
from neurohorizon.report.page import _disrupted, _leads, overview_of, write_page  # noqa: E402
from neurohorizon.report.results import (  # noqa: E402
    caption,
    count_data,
    headline,
    svg_width_pt,
    write_results,
)
from neurohorizon.report.typesetting import to_typst, typeset  # noqa: E402

CONFIG = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The results of a made run of the first experiment alone."""
    run = tmp_path_factory.mktemp("results")
    scores = write_run(run, sessions=4, seeds=(0,))
    make_tables(
        scores=scores, folder=run / "cross_session" / "tables", resampling=Resampling(draws=100, interval=0.95, seed=0)
    )
    (run / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    rows = [("a", "train", "one", 10, ""), ("b", "heldout", "two", 20, ""), ("c", "heldout", "two", 0, "no spikes")]
    listed = pd.DataFrame(rows, columns=["session", "role", "subject", "units", "left_out"])
    listed.assign(source="ibl", lab="lab", fold="", spikes=5, recorded_s=3600.0).to_parquet(
        run / "scores/sessions.parquet"
    )
    figures = [run / "figures" / name for name in ("main.svg", "main.png")]
    save_figure(Figure(figsize=(7.2, 3.0)), figures)
    card = {"fold": "main", "sessions": ["a"], "scores": {"steps": 777, "seed": 0, "validation_bits_per_spike": 0.1}}
    (run / "model.json").write_text(json.dumps(card))
    write_results(
        run,
        names=["cross_session"],
        figures=[figures[0]],
        captions=[ROOT / "report" / "cross_session" / "figure_main.rst"],
        cards=[run / "model.json"],
        output=run / "results.json",
    )
    made = make_session(0)
    write_made_session(run / "session.h5", made)
    forecasts = run / "forecasts" / made.name
    make_example(
        sessions=[run / "session.h5"],
        forecasts=[forecasts / "neurohorizon_seed-0.h5"],
        rivals=[forecasts / "own_history_seed-0.h5"],
        context_bins=CONTEXT_BINS,
        units=6,
        minimum_rate_hz=0.1,
        output=run / "example.h5",
    )
    write_page(
        results=run / "results.json",
        tables=run / "cross_session" / "tables",
        example=run / "example.h5",
        output=run / "report.html",
        overview=run / "overview.html",
    )
    return run / "results.json"


def changed(written: Path, name: str, change) -> Path:
    values = json.loads(written.read_text())
    change(values)
    path = written.with_name(name)
    path.write_text(json.dumps(values))
    return path


def test_the_score_that_is_told_is_that_of_the_table(written):
    summary = pd.read_parquet(written.parent / "cross_session" / "tables" / "summary.parquet").query(
        "null == 'reference' and source == 'all'"
    )
    score = summary.set_index("method").loc["neurohorizon", "bits_per_spike"]
    (section,) = json.loads(written.read_text())["sections"]
    assert f"{score:+.3f} bits/spike" in section["headline"]
    sentences = re.split(r"(?<=\.) (?=[A-Z])", section["headline"])
    assert section["text"].startswith(sentences[0]) and all(one in section["text"] for one in sentences)
    assert any("of the score of the true rates" in one for one in sentences)
    scores = {row["method"]: row["bits_per_spike"] for row in json.loads(written.read_text())["scores"]}
    assert scores["NeuroHorizon"] == score


def test_what_was_left_out_is_counted_apart_and_animals_once():
    rows = [
        ("a", "train", ""),
        ("b", "rotate", ""),
        ("c", "heldout", ""),
        ("d", "heldout", "broken"),
        ("e", "reserved", ""),
    ]
    table = pd.DataFrame(rows, columns=["session", "role", "left_out"])
    table = table.assign(
        fold=["", "y", "main", "main", ""],
        subject=["x", "y", "y", "z", "w"],
        lab="lab",
        units=[1, 2, 4, 8, 16],
        recorded_s=1800.0,
    )
    found = count_data(table)
    assert found["trained"] == {"sessions": 2, "animals": 2, "labs": 1, "units": 3, "hours": 1.0}
    assert found["heldout"] == {"sessions": 2, "animals": 1, "labs": 1, "units": 6, "hours": 1.0}
    assert found["left_out"] == {"sessions": 1}
    assert found["folds"] == 2


def test_the_paper_is_typeset_the_same_each_time_and_with_the_numbers_of_the_run(written, tmp_path):
    paper = ROOT / "paper" / "paper.typ"
    for name, results in {
        "first": written,
        "again": written,
        "other": changed(written, "other.json", lambda values: values["training"][0].update(steps=778)),
        "noted": changed(written, "noted.json", lambda values: values["config"]["cohort"].update(note="In a dish.")),
    }.items():
        typeset(paper, results=results, output=tmp_path / f"{name}.pdf")
    first, again, *others = ((tmp_path / f"{name}.pdf").read_bytes() for name in ("first", "again", "other", "noted"))
    assert first.startswith(b"%PDF")
    assert first == again
    assert first not in others


def test_prose_of_the_paper_has_no_number_of_its_own():
    source = (ROOT / "paper" / "paper.typ").read_text()
    prose = source.split("= Methods")[1].split("= Results")[0] + source.split("= Limits")[1].split("#show")[0]
    prose = re.sub(r"\$[^$]*\$|#let .*|#calc\.\w+(\([^()]*(\([^()]*\))?[^()]*\))", "", prose)  # formulas and code
    prose = re.sub(r"#if [^\[]*", "", prose)
    assert len(prose) > 3000
    assert not re.findall(r"\d", prose), re.findall(r".{30}\d.{10}", prose)


@pytest.mark.parametrize(
    ("markdown", "typed"),
    [
        ("a **b** *c* `d_e` x<sup>2</sup>", "a #strong[b]; #emph[c]; #text[d\\_e]; x#super[2];"),
        ("**b**; c **d**(e)", "#strong[b];; c #strong[d];(e)"),
        ("#1 [-0.1, +0.2] 1-2 $5 a_b @x <y>", "\\#1 \\[−0.1, +0.2\\] 1-2 \\$5 a\\_b \\@x \\<y\\>"),
    ],
)
def test_text_means_the_same_in_typst(markdown, typed):
    assert to_typst(markdown) == typed


def test_the_headline_is_the_first_sentence_in_bold_and_no_decimal_point_ends_it():
    text = "Five were asked. It gains **+0.154 bits/spike** (p = 0.2). It is **better**."
    assert headline(text) == "It gains **+0.154 bits/spike** (p = 0.2)."
    assert headline("Nothing is known. It is late.") == "Nothing is known."
    assert headline(text, 2) == "It gains **+0.154 bits/spike** (p = 0.2). It is **better**."


@pytest.mark.parametrize(
    "path", sorted((ROOT / "report").rglob("figure_*.rst")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_caption_of_a_figure_can_stand_in_the_paper(path, tmp_path):
    text = caption(path.read_text(), CONFIG)
    assert "{{" not in text and ":sup:" not in text and "``" not in text
    source = tmp_path / "caption.typ"
    source.write_text(to_typst(text))
    assert typst.compile(str(source), ignore_system_fonts=True, format="pdf")


def test_the_part_of_the_page_in_snakemakes_report_can_be_laid_out_and_names_what_is_simulated(written):
    part = written.with_name("overview.html").read_text()
    assert "Simulated recordings. Trained on 1 session of 1 animal (10 units, 1 h)" in part
    assert "no evidence about brains" in part
    assert max(map(len, part.splitlines())) < 10000, "docutils takes no longer line"


def test_the_page_has_the_verdict_first_a_line_for_each_experiment_and_a_fold(written):
    page = written.with_name("report.html").read_text()
    verdict = json.loads(written.read_text())["verdict"]
    places = [page.index(one) for one in ('class="badge', verdict["sentence"], "<svg", "The experiments", "<details>")]
    assert places == sorted(places)
    lines = re.findall(r"<li><b>.*?</li>", page.split("The experiments")[1].split("</ol>")[0])
    assert len(lines) == 6
    assert 'href="cross_session/notebooks/cross_session.html"' in lines[0] and "bits/spike" in lines[0]
    assert all("Not in this run" in line for line in lines[1:])
    shown = re.sub(r"<svg.*?</svg>|<style.*?</style>|<[^>]+>", " ", page.split("<details>")[0], flags=re.S)
    assert len(shown.split()) < 450, "page one is short"
    assert not re.search(r"(src|href)=.https?:", page), "needs no network"


def test_controls_are_below_the_fold_on_their_own_axis(tmp_path):
    scores = write_run(tmp_path, sessions=2, methods=("reference_mean", "neurohorizon", "own_history", "mean_identity"))
    make_tables(scores=scores, folder=tmp_path, resampling=Resampling(draws=50, interval=0.95, seed=0))
    comparisons = pd.read_parquet(tmp_path / "comparisons.parquet")
    leads = _leads(comparisons, {"method": "neurohorizon"})
    assert "own history" in leads and "mean identity" not in leads
    assert "mean identity" in _disrupted({"comparisons": comparisons})
    assert "own history" not in _disrupted({"comparisons": comparisons})


def test_the_page_has_the_note_on_the_recordings(written):
    results = json.loads(written.read_text())
    results["config"]["cohort"]["note"] = "Slices & cultures."
    assert "Slices &amp; cultures." in overview_of(results)


def test_a_width_is_that_of_the_file(tmp_path):
    save_figure(Figure(figsize=(3.5, 2.0)), [tmp_path / "one.svg"])
    assert svg_width_pt(tmp_path / "one.svg") == pytest.approx(3.5 * 72)
