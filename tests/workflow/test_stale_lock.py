"""The lock of a killed run is removed, that of a run that may be alive is kept; with processes that are killed."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from factories import ROOT
from stale_lock import LOCKS, RECORD, remove_parts

from neurohorizon.files import RECORDED_FOLDER

RUN = f"""
import sys, time
from pathlib import Path
sys.path[:0] = [{str(ROOT / "workflow")!r}, {str(ROOT)!r}]
from stale_lock import LOCKS, hold_folder
print(hold_folder(Path.cwd()), flush=True)
if "locked" in sys.argv:
    Path(LOCKS).mkdir(parents=True, exist_ok=True)
    Path(LOCKS, "0.output.lock").write_text("results/a\\n")
    print("locked", flush=True)
    time.sleep(60)
"""
JOB = "import time; print('works', flush=True); time.sleep(60)"


def started(folder: Path, *words: str) -> subprocess.Popen:
    """Start a process in the folder, and wait for the last line of its start."""
    process = subprocess.Popen([sys.executable, *words], cwd=folder, stdout=subprocess.PIPE, text=True)
    while process.stdout.readline().strip() not in ("locked", "works"):
        assert process.poll() is None
    return process


def killed(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def next_run(folder: Path) -> str:
    """Return what the next run prints about the lock."""
    done = subprocess.run([sys.executable, "-c", RUN], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def locks(folder: Path) -> list[Path]:
    return list((folder / LOCKS).glob("*"))


def test_a_run_without_a_lock_prints_nothing(tmp_path):
    assert next_run(tmp_path) == next_run(tmp_path) == ""


def test_the_lock_of_a_killed_run_is_removed_in_one_line(tmp_path):
    killed(started(tmp_path, "-c", RUN, "locked"))
    assert locks(tmp_path)
    assert next_run(tmp_path) == (
        "A run in this folder was killed and left its lock; no process holds it, so this run removes it."
    )
    assert not locks(tmp_path)
    assert next_run(tmp_path) == ""


def test_a_live_run_keeps_its_lock(tmp_path):
    run = started(tmp_path, "-c", RUN, "locked")
    try:
        assert "is kept: a process of another user or machine holds it" in next_run(tmp_path)
        assert locks(tmp_path)
    finally:
        killed(run)
    assert "so this run removes it" in next_run(tmp_path)


@pytest.mark.parametrize("words", [["-c", JOB, "/a/workflow/scripts/call.py"], ["snakemake"], ["-c", JOB]])
def test_a_job_that_outlived_its_run_keeps_the_lock_and_is_named(tmp_path, monkeypatch, words):
    if words == ["-c", JOB]:  # as papermill
        monkeypatch.setenv(RECORDED_FOLDER, str(tmp_path))
    (tmp_path / "snakemake").write_text(JOB)
    killed(started(tmp_path, "-c", RUN, "locked"))
    job = started(tmp_path, *words)
    try:
        assert f"is kept: process {job.pid} works here" in next_run(tmp_path)
        assert locks(tmp_path)
    finally:
        killed(job)
    assert "so this run removes it" in next_run(tmp_path)


def test_a_process_that_works_elsewhere_is_no_reason(tmp_path):
    (tmp_path / "other").mkdir()
    killed(started(tmp_path, "-c", RUN, "locked"))
    job = started(tmp_path / "other", "-c", JOB, "/a/workflow/scripts/call.py")
    assert "so this run removes it" in next_run(tmp_path)
    killed(job)


def test_a_lock_of_another_machine_or_of_an_unknown_run_is_kept(tmp_path):
    killed(started(tmp_path, "-c", RUN, "locked"))
    record = tmp_path / RECORD
    record.write_text(record.read_text().replace(socket.gethostname(), "another-machine"))
    for machine in ("another-machine", "(unknown)"):
        for _ in range(2):  # the run that keeps it does not become its owner
            assert f"it may be of a run on {machine}; if none is alive there: snakemake --unlock" in next_run(tmp_path)
            assert locks(tmp_path)
        record.unlink()


def test_what_killed_processes_had_written_of_files_is_removed_and_nothing_else(tmp_path):
    folder = tmp_path / "results" / "sessions"
    for name in (".part-7-a.h5", "..part-7-a.h5.crc32", "a.h5", ".a.h5.crc32"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("half")
    (folder / ".part-7-release").mkdir()
    (folder / ".part-7-release" / "a.npy").write_text("half")
    remove_parts(tmp_path)
    assert sorted(one.name for one in folder.iterdir()) == [".a.h5.crc32", "a.h5"]
