"""Every command of the documentation is run by a test, planned by its program, or read by its real argument parser."""

import argparse
import importlib
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from factories import ROOT
from factories.workflow import copy_workflow, snakemake_tools

from neurohorizon.command.main import COMMANDS, main
from neurohorizon.config import parse_config
from neurohorizon.experiments.catalogue import CATALOGUE
from tools.docs_site import FENCE, pages

SHELL, CODE = {"", "sh", "bash", "console"}, "python"
PROGRAMS = "make|snakemake|neurohorizon|python|pip"
PAGES = [page for page in pages() if page.suffix == ".md"]
RUN_BY = {
    "README.md": "test_docs.py",
    "docs/python.md": "test_docs.py",
    "docs/extend.md": "workflow/test_extend.py",
    "weights/README.md": "test_docs.py",
}
"""Page with Python code -> the test that runs it."""
EXCEPTIONS = {
    "export ALYX_LOGIN": "an account of the reader",
    "export SNAKEMAKE_STORAGE_S3": "an account of the reader",
    "docker build": "Docker is the reader's own program",
    'python -c "from one.api': "the server of the IBL, with an account",
    "py-spy record": "py-spy is the reader's own tool, and MODULE:FUNCTION a placeholder",
    "source .venv": "changes the shell; the commands after it are checked",
    "cd ": "changes the folder",
    "mkdir ": "makes a folder",
}
"""Beginning of a command that no test runs -> the reason."""
OF_A_READER = re.compile(r"config/(mine|NAME)\.yaml|(tutorial/)?mine/config\.yaml")
"""Configurations that a reader writes."""


class Command(NamedTuple):
    """A command line, without comments and prompts."""

    page: str
    line: str
    words: tuple[str, ...]
    settings: dict[str, str]


def blocks(page: Path, languages: set[str]) -> list[str]:
    """Return the code of the fenced blocks in some languages."""
    fences = FENCE.finditer((ROOT / page).read_text())
    return [re.sub(f"^{one[1]}", "", one[3], flags=re.M) for one in fences if one[2] in languages]


def lines_of(block: str) -> list[str]:
    """Return the commands of a block; in a block with prompts, the other lines are output."""
    lines = block.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        return [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip()]


def command(page: Path, line: str) -> Command:
    words = shlex.split(line, comments=True)
    named = [re.fullmatch(r"([A-Z_]+)=(.*)", word) for word in words]
    first = next((n for n, found in enumerate(named) if not found), len(words))
    settings = {found[1]: found[2] for found in named[:first] if found}
    words = words[first:]
    if ">" in words:
        words = words[: words.index(">")]
    return Command(str(page), line, tuple(words), settings)


def commands() -> list[Command]:
    """Return the commands of blocks of the shell, and those between backticks that begin with one of our programs."""
    found = []
    for page in PAGES:
        lines = [line for block in blocks(page, SHELL) for line in lines_of(block) if "|<--" not in block]
        prose = FENCE.sub("", (ROOT / page).read_text().split("\n## Word list")[0])
        lines += [" ".join(one.split()) for one in re.findall(rf"`((?:{PROGRAMS})\s[^`]+)`", prose)]
        found += [command(page, line) for line in lines]
    return [one for one in found if one.words]


COMMANDS_OF_PAGES = commands()


def of(program: str) -> list[Command]:
    return list(dict.fromkeys((one.line, one.words) for one in COMMANDS_OF_PAGES if one.words[0] == program))


def test_the_commands_of_a_page_are_found():
    page = Path("a.md")
    assert lines_of("$ a \\\n  b\noutput\n$ c\n") == ["a    b", "c"]
    assert lines_of("a\n\nb # c\n") == ["a", "b # c"]
    one = command(page, "X=1 make demo 'a b' > out.txt  # text")
    assert one.words == ("make", "demo", "a b") and one.settings == {"X": "1"}
    found = {one.words[:2] for one in COMMANDS_OF_PAGES if one.page == "README.md"}
    assert {("make", "demo"), ("neurohorizon", "check"), ("snakemake", "--cores"), ("pip", "install")} <= found


def test_every_command_is_checked_here_or_is_a_stated_exception():
    programs = {"make", "snakemake", "neurohorizon", "pip", "python", ".venv-test/bin/python", "pytest"}
    unchecked = [
        f"{one.page}: {one.line}"
        for one in COMMANDS_OF_PAGES
        if one.words[0] not in programs and not any(one.line.startswith(start) for start in EXCEPTIONS)
    ]
    assert not unchecked, "add a check of this program to tests/test_commands.py, or an exception with its reason"
    unused = [start for start in EXCEPTIONS if not any(one.line.startswith(start) for one in COMMANDS_OF_PAGES)]
    assert not unused, "these exceptions are in no page"


def test_every_page_with_python_code_is_run():
    with_code = {str(page) for page in PAGES if blocks(page, {CODE})}
    assert with_code == set(RUN_BY), "run the code of a page in a test, and name the test in RUN_BY"
    for page, test in RUN_BY.items():
        assert f'"{Path(page).name}"' in (ROOT / "tests" / test).read_text(), f"{test} does not name {page}"


@pytest.mark.parametrize(
    ("line", "words"), of("neurohorizon"), ids=lambda one: one.split("  ")[0] if isinstance(one, str) else ""
)
def test_the_command_line_reads_its_command(line, words, monkeypatch, capsys):
    assert words[1] in {*COMMANDS, "--help", "COMMAND"}
    if words[1] in COMMANDS and len(words) > 2:
        module, read = importlib.import_module(f"neurohorizon.command.{words[1]}"), []
        monkeypatch.setattr(module, "run", lambda options: read.append(options) or 0)
        assert main(words[1:]) == 0, capsys.readouterr().err
        assert read


def test_make_plans_its_commands():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, flags=re.M)[1].split())
    for line, words in of("make"):
        chosen = [word for word in words[1:] if "=" not in word]
        assert len(chosen) == 1 and chosen[0] in targets, f"`{line}`: no target of the Makefile"
        for name in (word.split("=")[0] for word in words[1:] if "=" in word):
            read_by_a_rule = (ROOT / "config" / "README.md").read_text()
            assert f"$({name})" in makefile or f"`{name}`" in read_by_a_rule, f"`{line}`: nothing reads {name}"
        if not any(place in line for place in ("...", "NAME", "mine")):
            plan = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
            assert plan.returncode == 0, f"`{line}`: {plan.stderr}"


def test_make_forecasts_a_file_a_folder_or_several(tmp_path):
    program = tmp_path / ".venv-forecast" / "bin" / "neurohorizon"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nfor one in "$@"; do echo "$one"; done\n')
    program.chmod(0o755)
    (tmp_path / "envs").mkdir()
    for name in ("envs/forecast.txt", "pyproject.toml", ".venv-forecast/ready", "a b.nwb", "c.nwb", "d.nwb"):
        (tmp_path / name).touch()

    def given(*settings):
        make = ["make", "--no-print-directory", "-f", ROOT / "Makefile", "forecast", *settings]
        done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines(), done.stderr

    assert given("NWB=a b.nwb", "ARGS=--quiet")[:2] == (0, ["forecast", "a b.nwb", "--quiet"])
    assert given("NWB=c.nwb d.nwb")[:2] == (0, ["forecast", "c.nwb", "d.nwb"])
    assert given("NWB=?.nwb")[:2] == (0, ["forecast", "c.nwb", "d.nwb"])
    address = "https://example.org/a.nwb?x=1&y=$(z)"
    assert given(f"NWB={address.replace('$', '$$')}")[:2] == (0, ["forecast", address])
    status, _, message = given()
    assert status == 2 and "name recordings" in message


def test_pip_installs_extras_that_the_package_has():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for line, words in of("pip"):
        assert words[1] == "install"
        named = re.fullmatch(r"(?:\.|neurohorizon)\[([\w,]+)\]", words[-1])
        assert named and set(named[1].split(",")) <= extras, line


class _ReadError(Exception):
    """Ends a program whose arguments were read."""


def test_python_programs_read_their_arguments(monkeypatch):
    parse, scripts = argparse.ArgumentParser.parse_args, []

    def read(self, *given):
        parse(self, *given)
        raise _ReadError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read)
    for line, words in [*of("python"), *of(".venv-test/bin/python")]:
        first = next((n for n, word in enumerate(words) if word.endswith(".py")), None)
        if first is None or any(one in line for one in (*EXCEPTIONS, "MODULE:FUNCTION")):
            continue
        script = ROOT / words[first].removeprefix("../")
        assert script.exists(), line
        scripts.append(script)
        if "ArgumentParser" in script.read_text():
            monkeypatch.setattr(sys, "argv", [str(script), *words[first + 1 :]])
            with pytest.raises(_ReadError):
                runpy.run_path(str(script), run_name="__main__")
    assert ROOT / "benchmarks" / "cost.py" in scripts


def snakemake_arguments() -> dict[str, dict]:
    """Return what Snakemake's own parser reads from each of its commands."""
    python = snakemake_tools() / "python"
    program = (
        "import json, sys; from snakemake.cli import get_argument_parser; parser = get_argument_parser()\n"
        "for line in json.load(sys.stdin):\n"
        "    found = parser.parse_args(line[1:])\n"
        "    print(json.dumps([found.targets or [], list(map(str, found.configfile or [])), found.config or []]))"
    )
    lines = of("snakemake")
    given = json.dumps([words for _, words in lines])
    done = subprocess.run([python, "-c", program], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = map(json.loads, done.stdout.splitlines())
    names = ("targets", "files", "config")
    return {line: dict(zip(names, one, strict=True)) for (line, _), one in zip(lines, answers, strict=True)}


def test_snakemake_reads_its_commands_and_their_targets_and_configurations_exist():
    files = [ROOT / "Snakefile", *ROOT.glob("rules/**/*.smk")]
    text = "".join(path.read_text() for path in files)
    rules = set(re.findall(r"^\s*(?:rule|checkpoint) (\w+):", text, flags=re.M)) | set(CATALOGUE)
    for line, found in snakemake_arguments().items():
        for target in found["targets"]:
            known = target in rules or target.startswith("results/") or target == "EXPERIMENT"
            assert known, f"`{line}`: no rule {target}"
        merged: dict = {}
        for name in found["files"]:
            if not OF_A_READER.fullmatch(name):
                merged = merge(merged, yaml.safe_load((ROOT / name).read_text()))
        for one in found["config"]:
            key, value = one.split("=", 1)
            base = merged or yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
            merged = merge(base, {key: yaml.safe_load(value)})
        if merged:
            parse_config(merged)


def merge(below: dict, above: dict) -> dict:
    both = {key: merge(below[key], value) for key, value in above.items() if isinstance(below.get(key), dict) and value}
    return below | above | both


@pytest.mark.slow
def test_snakemake_plans_the_commands_for_the_demo(tmp_path):
    """Plan those of blocks only: others differ by their target."""
    project, planned = copy_workflow(tmp_path / "project"), 0
    for one in COMMANDS_OF_PAGES:
        fenced = one.line in "\n".join(block.replace("\\\n", " ") for block in blocks(Path(one.page), SHELL))
        if one.words[0] == "snakemake" and "config/demo.yaml" in one.words and fenced:
            done = project.snakemake(*one.words[1:], "-n")
            assert done.returncode == 0, f"{one.page}: {one.line}\n{done.stdout[-2000:]}"
            planned += 1
    assert planned >= 4
