"""The documentation site: every page is in its navigation, and its reference has every name, key and option."""

import json
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import yaml
from factories import ROOT

import neurohorizon
from neurohorizon.config import Config
from tools.docs_site import SITE, converted, pages, staged
from tools.reference_pages import OBJECTS, PAGES, command_page, configuration_page, directive, sections

NOTEBOOKS = [page for page in pages() if page.suffix == ".ipynb"]
PYTHON = ROOT / ".venv-docs" / "bin" / "python"


def entries(place: dict) -> list[dict]:
    """Return all entries of the navigation below a place."""
    below = [one for part in (place, *place.get("subtrees", ())) for one in part.get("entries", ())]
    return [one for entry in below for one in (entry, *entries(entry))]


def test_every_page_is_in_the_navigation_once():
    navigation = yaml.safe_load((SITE / "toc.yml").read_text())
    listed = {str(staged(page).with_suffix("")) for page in pages()} | {f"docs/reference/{name}" for name in PAGES}
    named = [navigation["root"], *(one["file"] for one in entries(navigation) if "file" in one)]
    assert len(named) == len(set(named))
    for one in entries(navigation):
        if "glob" in one:
            named += [page for page in listed if Path(page).match(one["glob"]) and page not in named]
    assert set(named) == listed, "list the page in docs/site/toc.yml"


def test_links_lead_to_pages_of_the_site_and_other_links_become_text():
    listed = {Path("README.md"), Path("docs/a.md"), Path("config/README.md")}
    text = (
        "[first](../README.md#top), [a\nb](../config/README.md), [code](../neurohorizon/x.py), [here](#here), "
        "[site](https://a.b), ![picture](a.png)\n```md\n[code](../neurohorizon/x.py)\n```\n"
    )
    assert converted(text, Path("docs/a.md"), listed) == (
        "[first](../index.md#top), [a\nb](../config/README.md), code, [here](#here), "
        "[site](https://a.b), ![picture](a.png)\n```md\n[code](../neurohorizon/x.py)\n```\n"
    )


def test_a_diagram_becomes_an_element_and_other_blocks_stay():
    text = 'a\n\n```mermaid\na["<b>"] --> b\n```\n\n```sh\nls\n```\n'
    assert converted(text, Path("a.md"), set()) == (
        'a\n\n```{raw} html\n<pre class="mermaid">\na[&quot;&lt;b&gt;&quot;] --&gt; b\n</pre>\n```\n\n```sh\nls\n```\n'
    )


def test_the_reference_has_every_public_name():
    names = [name for group in OBJECTS.values() for name in group]
    assert {name.rpartition(".")[2] for name in names if name.count(".") == 1} == set(neurohorizon.__all__)
    assert all(directive(name) for name in names)


def test_the_reference_has_every_key_of_the_configuration_with_its_meaning():
    page = configuration_page()
    for path, section in sections(Config.model_json_schema()):
        for key, field in section["properties"].items():
            assert f"\n`{'.'.join([*path, key])}`\n: *" in page
            assert "description" in field or "$ref" in field, f"{'.'.join([*path, key])} has no docstring"
    assert "`timeline.bin_ms`\n: *whole number above 0*. Width of a bin in milliseconds.\n  Both presets: `20`." in page
    assert "`timeline.context_bins`\n" in page and "  `continuous`: `50`, `trials`: `10`." in page
    assert "`scaling.sizes.NAME.width`" in page


def test_the_reference_has_the_help_of_every_command():
    page = command_page()
    assert all(option in page for option in ("--reference SHARE|START:STOP", "--output FOLDER", "## neurohorizon init"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=str)
def test_a_notebook_stores_no_output(notebook):
    cells = json.loads((ROOT / notebook).read_text())["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=str)
def test_a_notebook_runs_and_draws(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt.Figure, "show", lambda self: None)
    cells, names = json.loads((ROOT / notebook).read_text())["cells"], {"display": print}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert plt.get_fignums()
    plt.close("all")
    assert capsys.readouterr().out.count("\n") >= 4
    assert names["recording"].score(every=1.0).bits_per_spike > 0.1


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_other_servers(tmp_path):
    if not PYTHON.exists():
        pytest.skip("the environment of the site is not here: `make docs` makes it")
    built = subprocess.run(
        [PYTHON, "tools/docs_site.py", "--without-notebooks", "--output", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    written = list((tmp_path / "html").rglob("*.html"))
    assert len(written) > len(pages())
    for page in written:
        loaded = [one for one in page.read_text().split("<") if one.startswith(("script", "link", "img", "iframe"))]
        assert not [one for one in loaded if "//" in one.split(">")[0]], page
