"""What tests share: where the real data is, if it is there at all, and how to run the workflow."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


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


@dataclass(frozen=True)
class Workflow:
    """A copy of the project to run and to edit.

    Environments of rules are those of the project itself, made once for all tests and runs.
    """

    root: Path
    tools: Path = ROOT / ".venv" / "bin"

    def snakemake(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
        """Run Snakemake in the copy; stdout and stderr come back as one text."""
        prefix = ["--conda-prefix", ROOT / ".snakemake" / "conda", "--cores", "2"]
        return subprocess.run(
            [self.tools / "snakemake", *prefix, *arguments],
            cwd=self.root,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a user who has activated ``.venv``."""
        return {**os.environ, "PATH": f"{self.tools}{os.pathsep}{os.environ['PATH']}"}


def copy_workflow(folder: Path) -> Workflow:
    """Copy what git knows or could know of the project."""
    if not (ROOT / ".venv" / "bin" / "snakemake").exists():
        pytest.skip("Snakemake is not installed here: `make test` installs it")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listed.splitlines():
        source, target = ROOT / name, folder / name
        if source.exists():  # a deletion that is not committed yet is still listed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return Workflow(folder)


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    """A copy of the project, for one test."""
    return copy_workflow(tmp_path / "project")
