"""Links of the documentation lead somewhere, and its code runs."""

import re
from pathlib import Path

import numpy as np
import pytest
from factories import ROOT
from factories.file_server import serving
from factories.recording_files import LENGTH_S, spike_trains, write_recording
from factories.recordings import CONFIG
from factories.releases import release_of_package

from tools.docs_site import pages

PAGES = [ROOT / page for page in pages() if page.suffix == ".md"]


def anchors(text: str) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    outside_of_code = re.sub(r"^( *)```\w*\n.*?^\1```$", "", page.read_text(), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", outside_of_code)
    for link in links:
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}: no such file"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{page.name} links to {link}: no such heading"


def test_an_anchor_is_a_heading_without_its_punctuation():
    assert anchors("# 3. Horizons, and more\ntext\n## `code`\n") == {"3-horizons-and-more", "code"}


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S)


@pytest.fixture
def hippocampus(tmp_path, monkeypatch):
    """A small release of that name, whose weights are drawn."""
    release_of_package(tmp_path, monkeypatch, "hippocampus")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mouse(tmp_path, monkeypatch):
    """A server with a recording; gives its address."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_recording(tmp_path / "mouse.nwb", spike_trains(), observed=[[[0.0, LENGTH_S]]] * 6)
    with serving(tmp_path) as server:
        yield server.url


@pytest.mark.usefixtures("hippocampus")
def test_the_python_page_runs_from_top_to_bottom(mouse):
    names: dict = {}
    for block in python_blocks(ROOT / "docs" / "python.md"):
        exec(block.replace("https://example.org", mouse), names)
    forecast = names["recording"].forecast(at=[70.0, 80.5, 120.0])
    assert names["paths"].shape == (3, 32, *forecast.rate_hz.shape[1:])
    assert names["high"].shape == forecast.rate_hz.shape[:2]
    assert (names["high"] >= names["low"]).all() and (names["high"] > names["low"]).any()
    assert np.isfinite(names["score"].of_bin).all() and len(names["score"].of_unit) == 10
    assert names["outside"].shape == (10, len(names["recording"].feature_names))
    assert list(names["scores"]) == ["neurohorizon_adaptive", *names["network"].experts]
    assert names["static"].rate_hz.shape == (2, *forecast.rate_hz.shape[1:])
    assert names["forecast"].origin_s.tolist() == [80.04]


@pytest.mark.usefixtures("hippocampus")
def test_the_lines_of_the_page_of_weights_run():
    (block,) = python_blocks(ROOT / "weights" / "README.md")
    names: dict = {}
    exec(block, names)
    assert names["network"].about.name == "hippocampus"


@pytest.mark.usefixtures("hippocampus")
def test_the_lines_of_the_readme_and_of_the_python_page_agree_and_run():
    rng = np.random.default_rng(0)
    names = {"units": [np.sort(rng.uniform(0, 700, 2000)) for _ in range(4)]}
    (block,) = python_blocks(ROOT / "README.md")
    with pytest.warns(UserWarning, match="no valid time is given"):
        exec(block, names)
    assert names["forecast"].rate_hz.shape == (2, CONFIG.timeline.horizon_bins, 4)
    load = next(line for line in block.splitlines() if "nh.load" in line)
    assert load in python_blocks(ROOT / "docs" / "python.md")[0]


# files that docs/extend.md names are made by its reader; tests/workflow/test_extend.py follows it
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "extend.md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_path_of_the_project_that_a_page_names_is_there(page):
    named = re.findall(r"`((?:neurohorizon|workflow|rules|config|benchmarks|tests|envs)/[\w./-]*)`", page.read_text())
    of_a_user = {"config/mine.yaml", "config/cohorts/mine.tsv", "config/cohorts/paper.tsv"}
    literal = [path for path in named if path not in of_a_user and not re.search("[A-Z]{2}", path)]
    missing = [path for path in literal if not (ROOT / path).exists()]
    assert not missing, f"{page.name} names {missing}: no such file"
