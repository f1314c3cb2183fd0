"""Links of the documentation lead somewhere, and its code runs."""

import re
from pathlib import Path

import numpy as np
import pytest
from factories import ROOT
from factories.cards import made_card
from factories.sessions import made_files, made_session, small_config

from neurohorizon.models.weights import save_forecaster

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), ROOT / "config" / "README.md"]


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


def test_the_streaming_example_of_the_network_page_forecasts_the_reference_rates(tmp_path, monkeypatch):
    config, run = small_config(), tmp_path / "results" / "demo"
    made_files(tmp_path, made_session("SESSION", config.splits, n_units=5), config)
    for kind in ("sessions", "features", "readouts"):
        (run / kind).mkdir(parents=True)
        (run / kind / "ibl").symlink_to(tmp_path / kind)
    card = made_card(config)
    weights = run / "models" / "main" / "neurohorizon_seed-0" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    save_forecaster(weights, card.build(), card)
    monkeypatch.chdir(tmp_path)

    (example,) = re.findall(r"```python\n(.*?)```", Path(ROOT / "docs" / "network.md").read_text(), flags=re.S)
    names: dict = {}
    exec(example, names)
    reference = np.broadcast_to(names["inputs"].reference_log_rate, (config.timeline.horizon_bins, 5))
    np.testing.assert_allclose(names["log_rate"], reference, atol=1e-6)  # an untrained network forecasts the null


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
