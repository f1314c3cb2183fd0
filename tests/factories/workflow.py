"""A copy of the project, in which tests run the workflow."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from factories import ROOT


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
        """Return the environment of a user who has activated ``.venv``."""
        return {**os.environ, "PATH": f"{self.tools}{os.pathsep}{os.environ['PATH']}"}


def snakemake_tools() -> Path:
    """Return the folder of Snakemake's and Python's programs; skips the test where there is none."""
    tools = ROOT / ".venv" / "bin"
    if not (tools / "snakemake").exists():
        pytest.skip("Snakemake is not installed here: `make test` installs it")
    return tools


def copy_workflow(folder: Path) -> Workflow:
    """Copy the files of the project that git tracks or does not ignore."""
    snakemake_tools()
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listed.splitlines():
        source, target = ROOT / name, folder / name
        if source.exists():  # git still lists a file whose deletion is not committed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    # valid in a copy of the same files, and computed again after an edit
    kept = Path(".snakemake", "fingerprints.json")
    if (ROOT / kept).exists():
        (folder / kept).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / kept, folder / kept)
    return Workflow(folder)


def files_with(folder: Path, *values: str) -> list[str]:
    """Return the files below a folder that hold one of some values, with the value."""
    return [
        f"{path.relative_to(folder)}: {value}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
        for content in [path.read_bytes()]
        for value in values
        if value.encode() in content
    ]


def counts(output: str) -> dict[str, int]:
    """Return the number of jobs of each rule that Snakemake plans."""
    table = output.split("Job stats:")[1].split("total")[0]
    return {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", table, flags=re.M)}
