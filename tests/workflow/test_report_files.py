"""Files of the report: each table is made from the sums of its entry, and the archive has all of them."""

import inspect
import json
import shlex
from pkgutil import resolve_name
from types import SimpleNamespace

import pytest
from factories import ROOT
from layout import Layout
from report_files import ReportFiles, input_options

from neurohorizon.cohort import read_cohort
from neurohorizon.config import read_config
from neurohorizon.experiments.catalogue import CATALOGUE
from neurohorizon.report.archive import is_file_of_sums

CONFIG = read_config(ROOT / "config/demo.yaml")
WILDCARDS = SimpleNamespace()


@pytest.fixture
def report(tmp_path):
    return of(tmp_path)


def of(tmp_path, **changes: object) -> ReportFiles:
    card = tmp_path / "dinov2.json"
    card.write_text(json.dumps({"available": True}))
    cohort = read_cohort(ROOT / "config/cohorts/demo.tsv")
    return ReportFiles(Layout(CONFIG.model_copy(update=changes), lambda: cohort, lambda: str(card)))


def files_of(inputs: object) -> list[str]:
    found = inputs(WILDCARDS) if callable(inputs) else inputs
    return [found] if isinstance(found, str) else list(found)


@pytest.mark.parametrize("name", [one.name for one in CATALOGUE.values() if one.code])
def test_the_options_of_a_table_job_are_the_arguments_of_its_function(report, name):
    pytest.importorskip("matplotlib")
    entry = CATALOGUE[name]
    given = set(report.sums(entry))
    found = report.found(entry)
    further = found(WILDCARDS) if callable(found) else found
    for option in shlex.split(f"{report.settings(entry)} {further}"):
        given |= {option.removeprefix("--").replace("-", "_")} if option.startswith("--") else set()
    parameters = inspect.signature(resolve_name(entry.table_function)).parameters.values()
    assert given <= {one.name for one in parameters}
    assert {one.name for one in parameters if one.default is one.empty} <= given | {"folder"}


def test_a_note_on_the_recordings_is_an_option_and_none_is_not(report):
    entry = CATALOGUE["cross_session"]
    assert "--note" not in report.settings(entry)
    noted = CONFIG.cohort.model_copy(update={"note": "In a dish."})
    changed = ReportFiles(Layout(CONFIG.model_copy(update={"cohort": noted}), lambda: [], lambda: ""))
    words = shlex.split(changed.settings(entry))
    assert words[words.index("--note") + 1] == "In a dish."


def test_tables_of_every_entry_are_made_from_existing_files(report):
    for one in report.tabled:
        for files in [*report.sums(one).values(), report.beside(one)]:
            paths = files_of(files)
            assert len(set(paths)) == len(paths), one.name
        assert any(map(files_of, [*report.sums(one).values(), report.beside(one)])), one.name


def test_the_archive_has_all_sums_and_no_table(report, tmp_path):
    kept = set(report.archived(WILDCARDS))
    for one in report.tabled:
        if one.name != "planted_effects":
            for files in [*report.sums(one).values(), report.beside(one)]:
                assert set(files_of(files)) <= kept, one.name
    assert {path for path in kept if "/tables/" in path} == {report.example}
    below = {path.removeprefix(f"{CONFIG.run.results}/") for path in kept}
    assert {path for path in below if not is_file_of_sums(path)} == {str(tmp_path / "dinov2.json")}
    assert is_file_of_sums("weights/dinov2.json"), "where a run has it"


def test_planted_effects_are_compared_with_tables_that_the_run_makes(report):
    made = {path for one in report.tabled for path in report.of(one, "tables", one.table_files)}
    assert set(files_of(report.beside(CATALOGUE["planted_effects"]))) <= made


def test_notebooks_and_the_paper_read_tables_that_the_run_makes(report):
    made = {path for one in report.tabled for path in report.of(one, "tables", one.table_files)} | {report.example}
    for one in report.paged:
        if one.name != "paper":
            assert set(report.notebook_inputs(one)) <= made
    assert set(report.paper_tables()) <= made
    curves = report.of(CATALOGUE["curves"], "tables", ["elapsed.parquet"])
    assert set(curves) <= set(report.notebook_inputs(CATALOGUE["cross_session"]))


def test_a_target_has_the_results_of_an_entry_and_of_its_parts(report):
    horizons, calibration = report.target("horizons"), report.target("calibration")
    assert set(calibration) < set(horizons) < set(report.every_result())
    assert all("/calibration/" in path for path in calibration)


def test_an_experiment_that_the_configuration_lacks_has_no_results(tmp_path):
    report = of(tmp_path, scaling=None, downstream=None)
    assert not report.target("scaling")
    assert all("/poyo/" in path for path in report.target("downstream")), "decoding by POYO has its own section"
    assert not [path for path in report.archived(WILDCARDS) if "/scaling/" in path]
    assert [one.name for one in report.published if one.name in ("scaling", "downstream")] == []


def test_a_run_includes_the_rules_of_its_experiments_once(report, tmp_path):
    files = {path.stem for path in (ROOT / "rules" / "experiments").glob("*.smk")}
    assert len(report.rules) == len(files) and set(report.rules) == files
    assert set(of(tmp_path, scaling=None).rules) == files - {"scaling"}, "ablations have the rules of points too"
    assert set(of(tmp_path, downstream=None).rules) == files, "POYO has the rules of decoding too"


def test_inputs_become_options_under_their_names():
    given = SimpleNamespace(items=lambda: [("by_unit", ["a b", "c"]), ("weights", []), ("sessions", "d")])
    assert shlex.split(input_options(WILDCARDS, given)) == ["--by-unit", "a b", "c", "--sessions", "d"]
