"""Check the wheel in a new environment: what an extra is for can be imported, and forecasts from Python run.

Run as ``make test-wheel``. The wheel is built and installed with the extras of forecasts from Python, without this
folder on the path; then the tests of ``tests/recordings`` run on it, those of xarray and pynapple included.
"""

import argparse
import ast
import fnmatch
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "neurohorizon"
EXTRAS = {
    "command.training_files": "nwb",
    "command.examination": "nwb",
    "command.answer_text": "model nwb",
    "command.forecasting": "model nwb",
    "command.network_choice": "model nwb",
    "command.preview": "model nwb",
    "agreement.brain_wide_bench": "bwb",
    "experiments.downstream.poyo": "poyo",
    "experiments.downstream.poyo_decoding": "poyo report",
    "experiments.*": "model report",
    "analysis.*": "model report",
    "agreement.*": "model report",
    "report.*": "model report",
    "ingest.allen*": "allen",
    "ingest.simulated.allen": "allen",
    "ingest.dandi": "dandi",
    "ingest.first_session": "",
    "ingest.downloads": "ibl",
    "ingest.ibl*": "ibl",
    "ingest.simulated.ibl": "ibl",
    "ingest.nwb*": "nwb",
    "ingest.remote": "remote",
    "ingest.array_cohort": "nwb",
    "ingest.own_cohort": "nwb",
    "ingest.validation_figure": "report",
    "models.images.*": "vision",
    "models.*": "model",
    "baselines.closed_form": "",
    "baselines.linear": "",
    "baselines.*": "model",
    "forecasts.*": "model",
    "recordings.*": "model",
    "answer.*": "model",
    "*": "",
}
"""Modules -> extras that are enough to import them; the first pattern that fits counts."""
DISTRIBUTIONS = {"one": "one-api", "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Names of imports -> names of their packages, where they differ."""
UV = Path(sys.executable).with_name("uv")
INSTALLED = ("model", "nwb", "remote", "export")
TESTS = ("tests/recordings", "tests/test_docs.py")
"""Tests that run on the wheel."""
LINKED = ("tools",)
"""Folders of the project that these tests import from, in addition to ``tests``; the package itself is the wheel's."""


@cache
def modules() -> dict[str, Path]:
    """Return the source file of each module of the package, by its name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def extras_of(module: str) -> tuple[str, ...]:
    """Return the extras that are enough for a module."""
    inside = module.removeprefix(f"{PACKAGE}.")
    return tuple(next(extras for pattern, extras in EXTRAS.items() if fnmatch.fnmatch(inside, pattern)).split())


def imported(tree: ast.AST, *, at_once: bool) -> Iterator[str]:
    """Yield the modules that a source imports.

    Args:
        at_once: True leaves out what is imported within functions or for types only.
    """
    for node in ast.iter_child_nodes(tree):
        if at_once and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        yield from imported(node, at_once=at_once)


@cache
def _imports(path: Path, at_once: bool) -> frozenset[str]:
    return frozenset(imported(ast.parse(path.read_text()), at_once=at_once))


def packages_of(module: str, *, at_once: bool = True) -> set[str]:
    """Return the packages of others that a module and all that it imports need."""
    paths, pending, seen, needed = modules(), [module], set(), set()
    while pending:
        one = pending.pop()
        if one in seen:
            continue
        seen.add(one)
        for name in _imports(paths[one], at_once):
            root = name.split(".")[0]
            if root == PACKAGE:
                pending.append(name)
            elif root not in sys.stdlib_module_names:
                needed.add(normal(DISTRIBUTIONS.get(root, root)))
    return needed


def normal(name: str) -> str:
    """Return the normal form of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def declared(*extras: str) -> set[str]:
    """Return the packages that the metadata names, without and with some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *(one for name in extras for one in project["optional-dependencies"][name])]
    return {normal(re.match(r"[\w.-]+", one)[0]) for one in listed}


def released_files() -> list[str]:
    """Return the files of released weights and of presets, relative to the package."""
    paths = [path for folder in ("presets", "weights") for path in sorted((ROOT / PACKAGE / folder).iterdir())]
    return [f"{path.parent.name}/{path.name}" for path in paths if path.name != "README.md"]


def all_extras() -> tuple[str, ...]:
    """Return the names of all extras."""
    return tuple(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def check(python: str, pins: str) -> None:
    """Build the wheel, install it in a new environment, import its modules and run the tests of forecasts."""
    promised = [one for one in modules() if set(extras_of(one)) <= set(INSTALLED)]
    program = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    program += f"import {PACKAGE}; print(len(sys.argv) - 1, 'modules of', {PACKAGE}.__file__)"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, interpreter = folder / "source", folder / "venv" / "bin" / "python"
        source.mkdir()
        # the package links to the weights and to the presets
        files = ("pyproject.toml", "README.md", "LICENSE", "config", "weights", PACKAGE)
        _run("cp", "-r", *(ROOT / one for one in files), source)
        _run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, source)
        _run(UV, "venv", "--quiet", "--python", python, folder / "venv")
        (wheel,) = folder.glob("*.whl")
        if absent := {f"{PACKAGE}/{name}" for name in released_files()} - set(zipfile.ZipFile(wheel).namelist()):
            raise SystemExit(f"the wheel lacks {sorted(absent)}; see package-data in pyproject.toml")
        wanted = [f"{wheel}[{','.join(INSTALLED)}]", "pytest"]
        constraints = ["--constraint", ROOT / pins] if pins else []
        _run(UV, "pip", "install", "--quiet", "--python", interpreter, *wanted, *constraints)
        _run(interpreter, "-I", "-c", program, *promised, cwd=folder)
        linked = folder / "linked"
        linked.mkdir()
        for one in LINKED:
            (linked / one).symlink_to(ROOT / one)
        tests = [*(ROOT / one for one in TESTS), "-k", "recordings or python"]
        options = ["--override-ini", f"pythonpath={ROOT / 'tests'} {linked}", "-p", "no:cacheprovider", "-q", "-rs"]
        _run(interpreter, "-P", "-m", "pytest", *tests, *options, cwd=folder)


def _run(*command: object, cwd: Path | None = None) -> None:
    subprocess.run([str(one) for one in command], cwd=cwd, check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="3.11", help="version of the interpreter")
    parser.add_argument("--pins", default="envs/test.txt", help='versions of packages; "" for the newest')
    options = parser.parse_args()
    check(options.python, options.pins)
