"""What tests share: where the real data is, if it is there at all."""

import os
from pathlib import Path

import pytest


def _data(name: str) -> Path:
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("NEUROHORIZON_DATA") or root.parent / "shared" / "data") / name
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
