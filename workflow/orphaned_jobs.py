"""Jobs of a cluster whose Snakemake was killed are cancelled when the next run starts in their folder.

Snakemake cancels its jobs if it is interrupted, but not if it is killed. They would continue, and the next run would
submit the same jobs, so that two jobs write the same files. A job of a run has the prefix of `profiles/slurm` in its
name, and the folder of the run as its working directory.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PREFIX = "neurohorizon_"
"""Start of the names of jobs: ``slurm-jobname-prefix`` of the profile, and what the plugin puts after it."""
COMMAND_S = 60.0
"""Longest time for a command of Slurm."""
END_S = 120.0
"""Longest time until cancelled jobs have ended: Slurm kills what does not end within its ``KillWait``."""

Run = Callable[[list[str]], str]


def run_command(command: list[str]) -> str:
    """Return what a command of Slurm prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=True)
    return done.stdout


def cancel_orphaned(folder: Path, *, run: Run = run_command, wait: Callable[[float], None] = time.sleep) -> str:
    """Cancel the jobs of a folder's killed run, and wait until they have ended.

    Only call it if no Snakemake works in the folder.

    Args:
        folder: The folder in which Snakemake runs.
        run: Runs a command and returns its output.
        wait: Waits for seconds.

    Returns:
        A line to print; "" if there are no such jobs, or no Slurm.
    """
    if run is run_command and not (shutil.which("squeue") and shutil.which("scancel")):
        return ""
    try:
        jobs = _jobs_of(folder, run)
        if not jobs:
            return ""
        run(["scancel", *jobs])
        waited_s = 0.0
        while (left := _jobs_of(folder, run)) and waited_s < END_S:
            wait(2.0)
            waited_s += 2.0
    except (OSError, subprocess.SubprocessError) as error:
        return f"Slurm did not answer, so jobs of an earlier run are not looked for: {' '.join(str(error).split())}"
    if left:
        return f"Jobs of a killed run in this folder do not end: {' '.join(left)}; cancel them with `scancel`."
    return f"Jobs of a killed run in this folder were cancelled: {' '.join(jobs)}; they start again."


def _jobs_of(folder: Path, run: Run) -> list[str]:
    """Return the ids of this user's jobs that are waiting or running and were submitted from a folder."""
    found = []
    for line in run(["squeue", "--me", "--noheader", "--format=%A|%j|%Z"]).splitlines():
        job, name, directory = line.strip().split("|", 2)
        if name.startswith(PREFIX) and os.path.realpath(directory) == os.path.realpath(folder):
            found.append(job)
    return sorted(set(found), key=int)
