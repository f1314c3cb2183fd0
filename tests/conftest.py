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
