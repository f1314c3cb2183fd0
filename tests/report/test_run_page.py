"""The page of a run has the numbers of its tables and no others."""

import json
import re

from neurohorizon.report.run_page import run_page, write_run_page

PART = {"sessions": 4, "animals": 2, "labs": 1, "units": 51, "hours": 3.5}
RESULTS = {
    "config": {"run": {"name": "tiny"}, "cohort": {"note": None}},
    "simulated": False,
    "data": {"trained": PART, "heldout": PART | {"sessions": 1, "units": 17}},
    "scores": [
        {"method": "reference mean", "class": "zero_shot", "bits_per_spike": 0.0, "lower": None, "upper": None}
        | {"sessions": 1, "animals": 1},
        {"method": "NeuroHorizon", "class": "zero_shot", "bits_per_spike": 0.12345, "lower": 0.1, "upper": 0.2}
        | {"sessions": 1, "animals": 1},
    ],
    "sections": [
        {"name": "scaling", "title": "Scaling", "question": "Do more sessions help?", "text": "They **help**.\n"},
        {"name": "horizons", "title": "Horizons", "question": "How far?", "text": "Up to 1 s."},
    ],
}


def test_a_page_has_every_section_in_order_and_the_tables_of_those_that_have_them():
    page = run_page(RESULTS, {"scaling": "sessions  score   \n      8  0.777\n"})
    assert re.findall(r"^#+ .*", page, re.M) == ["# Results of `tiny`", "## Scaling", "## Horizons"]
    assert "They **help**.\n\n```text\nsessions  score\n      8  0.777\n```\n\n## Horizons" in page
    assert page.startswith("<!-- Made by `make results CONFIG=config/tiny.yaml`.")


def test_a_method_without_an_interval_has_an_empty_cell():
    page = run_page(RESULTS, {})
    assert "| reference mean | zero_shot | 0.000 |  | 1 | 1 |" in page
    assert re.search(r"\| NeuroHorizon \| zero_shot \| 0\.123 \| [^|]*0\.100[^|]*0\.200[^|]* \| 1 \| 1 \|", page)


def test_the_data_are_counted_and_real_recordings_are_called_real():
    assert "Real recordings. Trained on 4 sessions of 2 animals (51 units, 3.5 h); forecast: 1 session" in run_page(
        RESULTS, {}
    )
    assert "Simulated recordings" in run_page(RESULTS | {"simulated": True}, {})


def test_the_note_on_the_recordings_comes_before_every_number():
    noted = RESULTS | {"config": {"run": {"name": "tiny"}, "cohort": {"note": "In a dish."}}}
    with_note, without = run_page(noted, {}), run_page(RESULTS, {})
    assert with_note == without.replace("# Results of `tiny`\n", "# Results of `tiny`\n\nIn a dish.\n", 1)


def test_a_page_is_written_from_the_files_of_a_run(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "summary.txt").write_text("a table\n")
    write_run_page(
        results=tmp_path / "results.json",
        names=["scaling"],
        summaries=[tmp_path / "summary.txt"],
        output=tmp_path / "page.md",
    )
    assert (tmp_path / "page.md").read_text() == run_page(RESULTS, {"scaling": "a table\n"})
