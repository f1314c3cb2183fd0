"""A bucket of a local S3 server, and nodes that share no files: each job runs in an empty folder."""

import re
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from factories import ROOT
from factories.file_server import unused_port, wait_until

TOOLS = ROOT / ".venv-bucket" / "bin"
NAME = "runs"
KEYS = {"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "access", "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "secret"}
SUBMIT = """#!/bin/bash
# start a job in an empty folder and print the folder
node=$(mktemp --directory {folder}/XXXXXX)
cp "$1" "$node/.job.sh"
cd "$node"
(bash .job.sh >.job.log 2>&1 </dev/null; echo $? >.job.status) >/dev/null 2>&1 &
echo "$node"
"""
STATUS = """#!/bin/bash
[ -e "$1/.job.status" ] || { echo running; exit; }
[ "$(cat "$1/.job.status")" = 0 ] && echo success || echo failed
"""


class Bucket:
    """A running S3 server with one empty bucket, as a context.

    Args:
        folder: Folder for the log of the server.
    """

    def __init__(self, folder: Path) -> None:
        port = unused_port()
        self.url = f"http://127.0.0.1:{port}"
        self._client = requests.Session()
        self._client.headers["Authorization"] = "AWS access:unchecked"
        self._server = subprocess.Popen(
            [TOOLS / "moto_server", "--host", "127.0.0.1", "--port", str(port)],
            stdout=(folder / "server.log").open("w"),
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        wait_until(self._is_up, 60)
        self._client.put(f"{self.url}/{NAME}", timeout=10).raise_for_status()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.terminate()
        self._server.wait()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables by which Snakemake's plugin reaches it."""
        return {**KEYS, "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": self.url}

    def upload(self, root: Path, *parts: str) -> None:
        """Upload files, or all files of folders, under their paths relative to a root."""
        for part in parts:
            found = sorted((root / part).rglob("*")) if (root / part).is_dir() else [root / part]
            for path in found:
                if path.is_file():
                    address = f"{self.url}/{NAME}/{path.relative_to(root)}"
                    self._client.put(address, data=path.read_bytes(), timeout=60).raise_for_status()

    def names(self) -> list[str]:
        """Return the names of all its files."""
        found, after = [], ""
        while True:
            page = self._client.get(
                f"{self.url}/{NAME}", params={"list-type": "2", "start-after": after}, timeout=60
            ).text
            names = re.findall(r"<Key>(.*?)</Key>", page)
            if not names:
                return found
            found += names
            after = names[-1]

    def content(self, name: str) -> bytes:
        """Return the content of a file."""
        answer = self._client.get(f"{self.url}/{NAME}/{name}", timeout=60)
        answer.raise_for_status()
        return answer.content

    def _is_up(self) -> bool:
        if self._server.poll() is not None:
            raise RuntimeError("the S3 server has ended; see its log")
        try:
            return self._client.get(self.url, timeout=1).ok
        except requests.RequestException:
            return False


def nodes(folder: Path) -> tuple[str, ...]:
    """Write the commands that submit jobs, and return the options by which Snakemake uses them.

    Args:
        folder: Folder in which each job gets an empty folder.
    """
    folder.mkdir()
    for name, text in (("submit", SUBMIT.replace("{folder}", str(folder / "jobs"))), ("status", STATUS)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "jobs").mkdir()
    return (
        *("--executor", "cluster-generic", "--cluster-generic-submit-cmd", str(folder / "submit")),
        *("--cluster-generic-status-cmd", str(folder / "status"), "--seconds-between-status-checks", "2"),
        "--job-deploy-sources",
    )
