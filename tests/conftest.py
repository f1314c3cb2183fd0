"""What tests share: where the real data is, if it is there at all, and how to run the workflow."""

import os
from pathlib import Path
from typing import Any

import pytest
from factories import ROOT
from factories.workflow import Workflow, copy_workflow


def _data(name: str) -> Path:
    folder = Path(os.environ.get("NEUROHORIZON_DATA") or ROOT.parent / "shared" / "data") / name
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set NEUROHORIZON_DATA to the folder that has {name}/")
    return folder


RUNS = ("test_run.py", "test_allen.py", "test_environments.py")
"""Files whose tests make environments of rules and run many jobs. The first of them makes nearly all environments."""
LATER_RUNS = ("test_dandi.py", "test_extend.py", "test_first_session.py")
"""Files whose tests run many jobs in environments that are there by then."""
HALF = "tests/models"
"""Other files up to this one take minutes, in which the first environments are made."""


def _group(nodeid: str) -> str:
    """Return the tests that must run in one process: those of a file, and all that make environments.

    Two runs of Snakemake would make the same environments at once.
    """
    file = nodeid.split("::")[0]
    if file.endswith(LATER_RUNS):
        return "later runs"
    return "runs" if file.endswith(RUNS) else file


def _place(item: pytest.Item) -> int:
    """Return the place of a test: both processes are busy to the end, and find the environments that they need."""
    group = _group(item.nodeid)
    if group == "runs":
        return 0 if "test_run.py" in item.nodeid else 1
    if group == "later runs":
        return 3
    return 2 if group < HALF else 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the group that takes longest first, and the second longest when half of the others are over."""
    items.sort(key=_place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the groups among the processes of pytest-xdist."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Groups(config, log)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of the real recordings, ``*.nwb``; skips the test where there is none."""
    return _data("recordings")


@pytest.fixture(scope="session")
def release_tables() -> Path:
    """Folder of the public release tables, ``*.csv``; skips the test where there is none."""
    return _data("tables")


@pytest.fixture(scope="session")
def arrays() -> Path:
    """Folder of the real recordings of arrays, ``*.nwb``, and their manifest; skips the test where there is none."""
    return _data("mea")


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    """A copy of the project, for one test."""
    return copy_workflow(tmp_path / "project")
