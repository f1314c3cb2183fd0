"""The catalogue and the code, captions, notebooks and configuration that it names agree."""

import inspect
from collections import Counter
from pkgutil import resolve_name

import pytest
from factories import ROOT

pytest.importorskip("matplotlib")

from neurohorizon.config import Config, read_config
from neurohorizon.experiments.catalogue import CATALOGUE, Entry, setting

ENTRIES = list(CATALOGUE.values())
FIGURES = [(one, figure) for one in ENTRIES for figure in one.figures]
CONFIG = read_config(ROOT / "config" / "config.yaml")


def arguments(function: str) -> set[str]:
    return set(inspect.signature(resolve_name(function)).parameters)


@pytest.mark.parametrize("entry", [one for one in ENTRIES if one.code], ids=lambda one: one.name)
def test_the_function_of_tables_takes_the_settings_that_the_entry_names(entry):
    named = {name.rpartition(".")[2] for name in entry.settings}
    taken = arguments(entry.table_function)
    assert named | {"folder"} <= taken
    assert ("resampling" in taken) == entry.resampled


@pytest.mark.parametrize(("entry", "figure"), FIGURES, ids=lambda value: getattr(value, "name", value))
def test_a_figure_is_drawn_from_the_tables_that_its_function_takes(entry, figure):
    assert {name.removesuffix(".h5") for name in entry.figures[figure]} == arguments(entry.figure_function(figure))


@pytest.mark.parametrize(("entry", "figure"), FIGURES, ids=lambda value: getattr(value, "name", value))
def test_a_figure_is_drawn_from_tables_that_the_entry_has(entry, figure):
    made = {*entry.shown, *entry.tables} | ({"example.h5"} if entry.name == "cross_session" else set())
    assert set(entry.figures[figure]) <= made


@pytest.mark.parametrize("entry", [one for one in ENTRIES if one.paper_figure], ids=lambda one: one.name)
def test_a_section_of_the_paper_has_a_question_a_figure_and_sentences(entry):
    assert entry.question.endswith("?") and entry.paper_figure in entry.figures
    assert arguments(entry.narrative_function) == {"folder"}


def test_every_caption_belongs_to_a_shown_table_or_a_figure_and_each_of_these_has_one():
    needed = {
        one.caption(kind, name)
        for one in ENTRIES
        for kind, names in (("table", one.shown), ("figure", one.figures))
        for name in names
    }
    report = ROOT / "report"
    assert needed == {str(path.relative_to(report)) for path in report.glob("*/*.rst")}


def test_every_notebook_belongs_to_an_entry_and_the_other_way_round():
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == {one.name for one in ENTRIES if one.notebook}


def test_no_two_entries_write_the_same_file():
    files = Counter((one.folder, name) for one in ENTRIES if one.code for name in one.table_files)
    files += Counter((one.folder, f"{figure}.svg") for one, figure in FIGURES)
    assert set(files.values()) == {1}


def test_what_the_report_shows_has_a_label_of_its_own():
    shown = Counter((one.category, one.subcategory("Tables"), name) for one in ENTRIES for name in one.shown)
    assert set(shown.values()) == {1}


def test_parts_belong_to_an_entry_that_is_no_part():
    assert all(not one.whole.part_of for one in ENTRIES)
    numbers = [one.number for one in ENTRIES if one.number is not None]
    assert numbers == sorted(set(numbers)), "the order of the report is that of the catalogue"


def test_sections_and_settings_are_those_of_the_configuration():
    for one in ENTRIES:
        for name in one.sections:
            assert name.split(".")[0] in Config.model_fields
        needed = [name for name in one.settings if name != "cohort.note"]  # a run needs no note
        assert all(setting(CONFIG, name) is not None for name in needed if one.is_on(CONFIG)), one.name
        assert not {"cohort.note"} & set(one.settings) or "note" in type(CONFIG.cohort).model_fields
    sources = set(type(CONFIG.sources).model_fields)
    assert {name.split(".")[1] for one in ENTRIES for name in one.sections if "." in name} <= sources


def test_an_entry_is_on_with_any_of_its_sections_or_if_it_needs_none():
    one = Entry(name="one", title="One", sections=("scaling", "sources.simulated"))
    assert one.is_on(CONFIG)
    without = CONFIG.model_copy(update={"scaling": None})
    assert without.sources.simulated is None and not one.is_on(without)
    assert Entry(name="two", title="Two").is_on(without)
