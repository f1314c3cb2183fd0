"""The page needs no other file, escapes names, and describes its figures in words."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from neurohorizon.answer.page import page_of, write_page
from neurohorizon.answer.rivals import EXPLAINED
from neurohorizon.baselines.closed_form import CLOSED_FORMS
from neurohorizon.methods import ADAPTIVE, FORECASTER, REFERENCE_MEAN
from neurohorizon.pages.svg import nice_ticks, shortened, width_of, without_common_start

_VOID = {"meta", "br", "link", "img"}


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(answer):
    return page_of(answer)


def test_the_page_is_well_formed_and_loads_nothing(page):
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert not {"src", "href", "xlink:href"} & {name for name, _ in reader.attributes}
    assert not re.search(r"url\(|@import|https?://", page)


def test_names_from_files_are_escaped(page):
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "d&quot;&amp;" in page


def test_the_verdict_comes_first(page, answer):
    places = [page.index(f'class="badge {answer.verdict}"'), page.index('class="number"'), page.index("<svg")]
    assert places == sorted(places) and places[-1] < page.index("<h2>")


def test_each_figure_is_described_in_words_and_is_xml(page):
    figures = re.findall(r"<svg.*?</svg>", page)
    assert len(figures) >= 8
    for one in figures:
        root = ElementTree.fromstring(one)
        assert root.get("role") == "img" and len(root.get("aria-label")) > 20
        width, height = map(float, root.get("viewBox").split()[2:])
        for text in root.iter("text"):
            if text.get("x") is not None:
                assert 0 <= float(text.get("x")) <= width and 0 <= float(text.get("y")) <= height


def test_a_name_is_cut_to_the_width_of_its_characters():
    assert shortened("a851256b-3c75", 60) == "a85125…"  # digits are wide
    assert shortened("iiiiiiiiiiiii", 60) == "iiiiiii…"
    assert shortened("CA1", 60) == "CA1"
    for width in (0, 10, 25, 60, 147):
        assert width_of(shortened("a851256b-3c75 mmmm WWW", width)) <= max(width, width_of("…"))


def test_each_method_of_the_page_is_explained(page, answer):
    assert len(answer.methods) > 2
    for one in answer.methods:
        assert f"<dt>{one.label}</dt><dd>{EXPLAINED[one.method]}.</dd>" in page
    released = [*CLOSED_FORMS, "ar_glm", "ridge_ar", "reduced_rank", "own_history", "own_history_readout"]
    assert {*released, ADAPTIVE, FORECASTER} - {REFERENCE_MEAN} == set(EXPLAINED)
    assert all(one.label in page for one in answer.methods), "no name is shortened"


def test_an_answer_without_scores_has_a_page(network, rhythmic, tmp_path):
    from neurohorizon.answer.evaluate import answer_for

    times = [rhythmic.session.spike_times_us[rhythmic.session.spike_unit == unit] / 1e6 for unit in range(6)]
    nothing = network.fit_reference(times, reference=(0.0, 60.0), valid=(0.0, 60.2))
    write_page(answer_for(nothing), tmp_path / "answer.html")
    text = (tmp_path / "answer.html").read_text()
    assert "Cannot be decided" in text and "<svg" not in text


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.17), (-0.3, 1.1), (12.0, 12.4), (0.0, 4000.0)])
def test_ticks_are_round_and_within_the_range(low, high):
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_names_of_units_lose_the_probe_that_all_share_and_nothing_else():
    assert without_common_start(["probe00:a85-1", "probe00:a86-2"]) == ["a85-1", "a86-2"]
    assert without_common_start(["probe00:1", "probe01:1"]) == ["probe00:1", "probe01:1"]
    assert without_common_start(["12", "123"]) == ["12", "123"]
    assert without_common_start(["a:1"]) == ["a:1"] and without_common_start([]) == []
