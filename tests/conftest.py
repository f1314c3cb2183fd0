"""What tests share: where the real data is, if it is there at all, and how to run the workflow."""

import os
from pathlib import Path

import pytest
from factories import ROOT
from factories.workflow import Workflow, copy_workflow


def _data(name: str) -> Path:
    folder = Path(os.environ.get("NEUROHORIZON_DATA") or ROOT.parent / "shared" / "data") / name
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set NEUROHORIZON_DATA to the folder that has {name}/")
    return folder


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file on one worker, since they share fixtures, and all that run Snakemake on one.

    Two runs of Snakemake would make the same environments at once. They take longest, so they come first.
    """
    groups = {}
    for item in items:
        runs_snakemake = "workflow" in item.path.parts or item.path.name == "test_allen.py"
        groups[item] = "workflow" if runs_snakemake else str(item.path.relative_to(ROOT))
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    items.sort(key=lambda item: groups[item] != "workflow")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of the real recordings, ``*.nwb``; skips the test where there is none."""
    return _data("recordings")


@pytest.fixture(scope="session")
def release_tables() -> Path:
    """Folder of the public release tables, ``*.csv``; skips the test where there is none."""
    return _data("tables")


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    """A copy of the project, for one test."""
    return copy_workflow(tmp_path / "project")
