"""The package as others install it: its metadata names what it imports, and it is cheap to import."""

import ast
import fnmatch
import subprocess
import sys
import tomllib

import pytest
from factories import ROOT

import neurohorizon
from tools.wheel import (
    LINKED,
    PACKAGE,
    TESTS,
    all_extras,
    declared,
    extras_of,
    imported,
    modules,
    packages_of,
    released_files,
)


def test_every_package_that_is_imported_is_in_the_metadata():
    needed = set().union(*(packages_of(one, at_once=False) for one in modules()))
    assert needed == declared(*all_extras())


def test_the_extras_of_each_module_are_enough_to_import_it():
    missing = {one: packages_of(one) - declared(*extras_of(one)) for one in modules()}
    lacking = {one: sorted(packages) for one, packages in missing.items() if packages}
    assert not lacking, "correct the extras in pyproject.toml, or their modules in tools/wheel.py"


def test_the_tests_of_the_wheel_import_nothing_that_is_not_next_to_them():
    files = [path for one in TESTS for path in ([ROOT / one] if one.endswith(".py") else (ROOT / one).rglob("*.py"))]
    assert len(files) > 5
    roots = {name.split(".")[0] for path in files for name in imported(ast.parse(path.read_text()), at_once=False)}
    of_project = {one for one in roots if (ROOT / one).is_dir() and not (ROOT / "tests" / one).exists()}
    assert of_project == {PACKAGE, *LINKED}, "correct LINKED in tools/wheel.py"


def python(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()


def test_importing_the_package_imports_no_other_package():
    program = "import sys; before = set(sys.modules); import neurohorizon; print(*set(sys.modules) - before)"
    found = set(python(program))
    assert "neurohorizon" in found
    assert {one.split(".")[0] for one in found} <= {"neurohorizon", *sys.stdlib_module_names}
    assert len(found) < 30, sorted(found)


def test_the_names_of_the_package_are_listed_and_found_at_their_first_use():
    program = (
        "import neurohorizon as nh, sys; assert 'torch' not in sys.modules; names = dir(nh); "
        "assert set(nh.__all__) <= set(names); assert 'torch' not in sys.modules; "
        "print(*(getattr(nh, name).__module__ for name in nh.__all__))"
    )
    assert len(python(program)) == len(neurohorizon.__all__)
    assert set(neurohorizon.__all__) == set(neurohorizon._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'forecaster'"):
        _ = neurohorizon.forecaster


def test_without_torch_the_error_names_the_extra():
    program = (
        "import sys; sys.modules['torch'] = None; import neurohorizon as nh\n"
        "try: nh.load\nexcept ModuleNotFoundError as error: print(error)"
    )
    assert 'install "neurohorizon[model]"' in " ".join(python(program))


def test_the_wheel_has_every_file_of_the_released_weights():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][PACKAGE]
    for name in [*released_files(), "weights/made.json", "weights/made.safetensors", "weights/SHA256SUMS"]:
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), f"{name} is not in package-data"
    assert (ROOT / PACKAGE / "weights").resolve() == ROOT / "weights"
