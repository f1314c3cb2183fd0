"""The lock of a run that was killed is removed when the next run starts.

Snakemake's lock files hold names of files, and not which process made them. So each run also writes its machine to a
record, which it keeps open and locked (`flock`) until its process ends, also if it is killed. A lock is stale if no
process holds the record, all runs in it were of this machine, and no process of a run works in the folder: jobs
continue if only Snakemake was killed. Otherwise, and in any doubt, the lock is kept. Jobs on a cluster also continue
(``orphaned_jobs.py``).
"""

import fcntl
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from neurohorizon.files import RECORDED_FOLDER, unfinished_parts

RECORD = ".snakemake/neurohorizon_runs"
"""Machine and process of the runs in a folder, one a line, since the last time that it had no lock."""
LOCKS = ".snakemake/locks"
STALE = "A run in this folder was killed and left its lock; no process holds it, so this run removes it."
UNKNOWN = "(unknown)"
"""Machine of a lock that was there before the first record."""
_held: list[TextIO] = []  # a closed file is not locked


def hold_folder(folder: Path, end_jobs: Callable[[Path], str] = lambda folder: "") -> str:
    """Hold the record of a folder's runs until this process ends, and remove a lock that is stale.

    Args:
        folder: The folder.
        end_jobs: Ends the jobs of a killed run on a cluster, and returns a line to print; it is called if there is a
            lock that only a process of this machine can have left, and none that holds it.

    Returns:
        Lines to print about a lock that was there; "" if there was none.
    """
    (folder / RECORD).parent.mkdir(exist_ok=True)
    record = (folder / RECORD).open("a+")
    _held.append(record)
    nobody_holds_it = _lock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
    record.seek(0)
    machines = {line.split()[0] for line in record}
    line = ""
    if any((folder / LOCKS).glob("*.lock")):
        if not machines:
            machines = {UNKNOWN}
            print(UNKNOWN, file=record)
        ended = end_jobs(folder) if nobody_holds_it and machines == {socket.gethostname()} else ""
        doubt = _doubt(folder, machines, nobody_holds_it)
        if doubt:
            line = f"The lock of another run in this folder is kept: {doubt}."
        else:
            shutil.rmtree(folder / LOCKS)
            line = STALE
        line = f"{ended}\n{line}" if ended else line
    if nobody_holds_it and not any((folder / LOCKS).glob("*.lock")):
        record.truncate(0)
    print(socket.gethostname(), os.getpid(), file=record, flush=True)
    _lock(record, fcntl.LOCK_SH)
    return line


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed had written of files.

    Only call it if no process of a run writes in the folder.
    """
    for part in unfinished_parts(folder):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def _doubt(folder: Path, machines: set[str], nobody_holds_it: bool) -> str:
    """Return why a lock is perhaps not stale; "" if it is."""
    if working := _processes(folder):
        return f"process {', '.join(map(str, working))} works here; wait for it, or end it with `kill`"
    if not nobody_holds_it:
        return "a process of another user or machine holds it, or this file system has no locks"
    if others := machines - {socket.gethostname()}:
        return f"it may be of a run on {', '.join(sorted(others))}; if none is alive there: snakemake --unlock"
    return ""


def _lock(record: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(record, kind)
    except OSError:
        return False
    return True


def _processes(folder: Path) -> list[int]:
    """Return other processes of Snakemake and of its jobs on this machine whose working directory is the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            # of jobs of the workflow, also of those that are other programs, such as papermill
            marked = f"\0{RECORDED_FOLDER}=".encode() in b"\0" + (process / "environ").read_bytes()
            here = os.path.samefile(process / "cwd", folder)
        except OSError:  # it has ended, or is another user's
            continue
        program, *script = (os.path.basename(word) for word in words[:3])
        snakemake = program == "snakemake" or (program.startswith("python") and "snakemake" in script)
        job = marked or any("workflow/scripts/call.py" in word for word in words)
        if here and (snakemake or job) and int(process.name) != os.getpid():
            found.append(int(process.name))
    return sorted(found)
