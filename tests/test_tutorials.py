"""Tutorials show what their commands print: each is run, and its output compared with the page."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
from factories import ROOT
from factories.workflow import copy_workflow

from neurohorizon.command.main import main
from tools.docs_site import FENCE

pytestmark = pytest.mark.slow
TUTORIALS = ROOT / "docs" / "tutorials"


def steps(page: str) -> list[tuple[str, str]]:
    """Return the commands of the blocks with prompts of a page, each with the output that the page shows."""
    fences = FENCE.finditer((TUTORIALS / page).read_text())
    text = "".join(one[3] for one in fences if one[2] == "console")
    return [tuple(part.partition("\n")[::2]) for part in re.split(r"^\$ ", text, flags=re.M)[1:]]


def form(text: str) -> str:
    """Return a text without its numbers, which depend on the machine in their last digits, and without columns."""
    return re.sub(r"-?\d+(\.\d+)?", "N", " ".join(text.split()))


def run(page: str, capsys: pytest.CaptureFixture) -> None:
    """Run the steps of a page in the current folder."""
    for line, shown in steps(page):
        program, *words = shlex.split(line)
        capsys.readouterr()
        if program == "neurohorizon":
            assert main(words) == 0, line
        elif program == "python":
            runpy.run_path(str(ROOT / words[0].removeprefix("../")), run_name="__main__")
        else:
            assert program in {"mkdir", "cd"}
        assert form(capsys.readouterr().out) == form(shown), line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tutorial")


def test_the_tutorial_of_one_recording_shows_what_is_printed(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    run("one-recording.md", capsys)
    assert (folder / "mouse_forecast" / "answer.html").exists()


def test_the_tutorial_of_a_cohort_shows_what_is_printed_and_its_run_is_planned(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    if not Path("recordings").exists():
        runpy.run_path(str(TUTORIALS / "make_recordings.py"), run_name="__main__")
    run("lab-cohort.md", capsys)
    added = next(one[3] for one in FENCE.finditer((TUTORIALS / "lab-cohort.md").read_text()) if one[2] == "yaml")
    config = folder / "mine" / "config.yaml"
    config.write_text(config.read_text() + added)
    planned = copy_workflow(folder / "project").snakemake("-n", "--configfile", config)
    assert planned.returncode == 0, planned.stdout[-2000:]
    assert re.search(r"^train +\d", planned.stdout, flags=re.M)
