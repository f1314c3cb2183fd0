"""A region, an animal or a reason with markup is text on every page: it runs nothing and ends no formula or table."""

import pytest
from factories import ROOT

from neurohorizon.printed_names import in_figure, in_sentence, one_line

pd = pytest.importorskip("pandas")
typst = pytest.importorskip("typst")

from neurohorizon.analysis.style import save_figure  # noqa: E402
from neurohorizon.analysis.tables import text_table  # noqa: E402
from neurohorizon.analysis.wording import influence_sentence, scope_sentence  # noqa: E402
from neurohorizon.experiments.cross_session.curve_figures import draw_matched_regions  # noqa: E402
from neurohorizon.experiments.cross_session.curve_narrative import describe_regions  # noqa: E402
from neurohorizon.experiments.downstream.narrative import describe_left_out  # noqa: E402
from neurohorizon.experiments.downstream.tables import TARGET_WORDS  # noqa: E402
from neurohorizon.experiments.multimodal import narrative  # noqa: E402
from neurohorizon.report.page import overview_of  # noqa: E402
from neurohorizon.report.run_page import run_page  # noqa: E402
from neurohorizon.report.typesetting import to_typst  # noqa: E402

NASTY = '<script>alert("1")</script> $\\frac$ #panic() [a](javascript:b) `c` // **d** {{e}}\x1b[2J\n# f | g'
MARKUP = set('<>#$[]{}|\\`"\n\x1b')
PART = {"sessions": 1, "animals": 1, "labs": 1, "units": 1, "hours": 1.0}


@pytest.fixture
def regions():
    """The table of regions that are compared, with two of the same bad name."""
    numbers = {"bits_per_spike": 0.2, "control_bits_per_spike": 0.1, "difference": 0.1, "lower": 0.05, "upper": 0.2}
    counts = {"sessions": 5, "pairs": 9, "animals": 7}
    return pd.DataFrame(
        [{"region": name, **numbers, **counts, "interval": 0.95, "p_holm": 0.01} for name in (NASTY,) * 2]
    )


def test_names_keep_what_people_write_and_lose_what_markup_needs():
    for name in ("VISp2/3", "area 6 (left)", "MOs, layer 5", "SIM_101", "S1-Tr", "Hippocampe é", "a5'", "a=1@b"):
        assert in_sentence(name) == in_figure(name) == one_line(name) == name
    assert not MARKUP & set(in_sentence(NASTY))
    assert in_sentence("a<b") == "a\N{FULLWIDTH LESS-THAN SIGN}b"


def test_no_sentence_has_the_markup_of_a_name(regions):
    shared = pd.DataFrame({"shared_subjects": [NASTY]})
    target = next(iter(TARGET_WORDS))
    left_out = pd.DataFrame({"target": [target], "role": "train", "fold": "a", "session": "b", "left_out": [NASTY]})
    of_images = {"condition": "image_ahead", "stimulus": "all", "encoder": "", "lower": 0.1}
    one_unit = {"method": "neurohorizon", "spike_share": 0.9, "bits_per_spike": 0.1, "bits_per_spike_without": 0.1}
    texts = [
        describe_regions(regions),
        scope_sentence(shared),
        describe_left_out(left_out),
        narrative.describe_regions(pd.DataFrame([{"region": NASTY, **of_images}])),
        influence_sentence(pd.DataFrame([{"session": NASTY, "unit_id": NASTY, **one_unit}])),
    ]
    for text in texts:
        own = set("[]")
        assert "script" in text and not (MARKUP - own) & set(text) and "**d" not in text and "[a]" not in text


def test_the_paper_the_first_page_and_the_page_of_a_run_show_a_name_as_text(regions, tmp_path):
    text = describe_regions(regions)
    source = tmp_path / "text.typ"
    source.write_text(f'#let marked(text) = eval(text, mode: "markup")\n#marked({typst_string(to_typst(text))})')
    assert typst.compile(str(source), ignore_system_fonts=True, format="pdf")
    assert to_typst("a // b /* c") == "a \\/\\/ b \\/\\* c", "no comment"
    section = {"name": "curves", "title": "Curves", "question": "?", "headline": text, "text": text}
    results = {
        "config": {"run": {"name": "a"}, "cohort": {"note": None}, "timeline": {"horizon_bins": 5, "bin_ms": 20}},
        "data": {"trained": PART, "heldout": PART, "folds": 1},
        "simulated": False,
        "claim": NASTY,
        "verdict": {"mark": "works", "sentence": NASTY, "answers": {NASTY: NASTY}, "advice": [NASTY]},
        "scores": [],
        "sections": [section | {"figure": str(tmp_path / "main.svg")}],
    }
    lines = text_table(regions, {"region": "{region}"})
    assert len(lines) == 5 and "\x1b" not in "".join(lines), "a name ends no line and moves no cursor"
    page = run_page(results, {"curves": "```\n<script>"})
    assert "<script" not in overview_of(results)
    assert page.endswith("````text\n```\n<script>\n````\n"), "the table is closed by a longer fence only"
    assert "<script" not in page.split("````")[0]


def typst_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_a_figure_shows_dollars_and_does_not_read_them_as_mathematics(regions, tmp_path):
    figure = draw_matched_regions(matched_regions=regions.assign(region="$\\frac$ <script>"))
    save_figure(figure, [tmp_path / "regions.svg"])
    assert "<script" not in (tmp_path / "regions.svg").read_text()


def test_notebooks_escape_the_cells_of_their_tables():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert "escape=False" not in path.read_text(), path.name
    assert "&lt;script&gt;" in pd.DataFrame({"region": [NASTY]}).to_html(index=False, border=0)
