"""Results of a run by target: what is made on request is part of no other target."""

import pytest
from factories import ROOT
from layout import Layout
from report_files import ReportFiles

from neurohorizon.cohort import read_cohort
from neurohorizon.config import ConfigError, parse_config
from neurohorizon.experiments.catalogue import CATALOGUE
from neurohorizon.strict_yaml import read_yaml

VALUES = read_yaml(ROOT / "config" / "demo.yaml")


@pytest.fixture
def report(tmp_path, monkeypatch) -> ReportFiles:
    """Return the report of the demo in an empty folder."""
    monkeypatch.chdir(tmp_path)
    cohort = read_cohort(ROOT / "config" / "cohorts" / "demo.tsv")
    return ReportFiles(Layout(parse_config(VALUES), lambda: cohort, lambda: "dinov2.json"))


def test_poyo_and_the_paper_are_made_by_their_own_targets_only(report):
    default = report.every_result()
    assert {"results/demo/report.html", "results/demo/report/results.md"} <= set(default)
    for name in ("poyo", "paper"):
        assert report.target(name) and not set(report.target(name)) & set(default)
    assert "results/demo/report/paper.pdf" in report.target("paper")
    assert not set(report.target("poyo")) & set(report.target("downstream"))


def test_other_parts_of_an_experiment_are_made_with_it(report):
    assert set(report.target("calibration")) < set(report.target("horizons")) <= set(report.every_result())


def test_sums_of_a_request_are_archived_if_its_tables_are_made(report, tmp_path):
    poyo = CATALOGUE["poyo"]
    report._layout.dinov2_cards = lambda wildcards: []  # a job makes the list of encoders
    decodings = set(report._layout.decodings(None))
    assert decodings and not decodings & set(report.archived(None))
    for path in report.of(poyo, "tables", poyo.table_files):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert decodings <= set(report.archived(None))


def test_latents_of_poyo_cannot_be_decoded_without_poyo():
    downstream = VALUES["downstream"] | {"poyo_latents": True}
    assert parse_config(VALUES | {"downstream": downstream})
    with pytest.raises(ConfigError, match=r"downstream\.poyo_latents is true and poyo is null"):
        parse_config(VALUES | {"downstream": downstream, "poyo": None})
