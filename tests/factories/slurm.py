"""A Slurm of one machine: a controller and two nodes, without cgroups and without a database."""

import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

CONFIGURATION = Path("/etc/slurm/slurm.conf")
"""Steps of a job find their configuration only in the system's folder: the plugin removes `SLURM_CONF`."""
MARK = "# written by NeuroHorizon's tests; safe to delete"
PROGRAMS = ("slurmctld", "slurmd", "squeue", "munged")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NODES = ("n1", "n2")
NODE_MB = 6000
TEMPLATE = """{mark}
ClusterName=neurohorizon
SlurmctldHost={host}
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=1
# without cgroups, memory is sampled, and a job above its request is killed
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MinJobAge=7200
KillWait=5
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=120
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=1-00:00:00 State=UP
"""


def unavailable() -> str:
    """Install Slurm if it is not there; return why it is not possible, "" if it is."""
    if os.geteuid() != 0:
        return "installing and starting it needs root"
    if CONFIGURATION.exists() and MARK not in CONFIGURATION.read_text():
        return f"{CONFIGURATION} is of another cluster"
    if all(map(shutil.which, PROGRAMS)):
        return ""
    if not shutil.which("apt-get"):
        return "no apt-get"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", *command], env=quiet, capture_output=True, text=True, check=False)
    if done.returncode or not all(map(shutil.which, PROGRAMS)):
        return f"apt-get does not install {' '.join(PACKAGES)}: {done.stderr.strip().splitlines()[-1:]}"
    return ""


class Cluster:
    """A controller and two nodes of two processors, as a context.

    Args:
        folder: Folder of its state and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._nodes: list[subprocess.Popen] = []
        self._controller: subprocess.Popen | None = None
        self._munged: subprocess.Popen | None = None

    def __enter__(self) -> Self:
        host = platform.node().split(".")[0]
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={17001 + index} CPUs=2 RealMemory={NODE_MB}"
            for index, name in enumerate(NODES)
        ]
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.write_text(TEMPLATE.format(mark=MARK, host=host, folder=self.folder, nodes="\n".join(lines)))
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode:
            Path("/run/munge").mkdir(exist_ok=True)
            shutil.chown("/run/munge", "munge", "munge")
            command = ["runuser", "-u", "munge", "--", "munged", "--foreground"]
            self._munged = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.start_controller()
        self._nodes = [subprocess.Popen(["slurmd", "-D", "-N", node], stderr=subprocess.DEVNULL) for node in NODES]
        until(
            lambda: self.asked("sinfo", "--noheader", "--format=%T %D").split() == ["idle", "2"], 60, "two idle nodes"
        )
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        subprocess.run(["scancel", "--me"], capture_output=True, check=False)
        until(lambda: not self.jobs(), 60, "the end of all jobs", stop=False)
        for process in (*self._nodes, self._controller, self._munged):
            if process:
                end(process)
        CONFIGURATION.unlink()

    def start_controller(self) -> None:
        """Start the controller, which reads its saved state."""
        self._controller = subprocess.Popen(["slurmctld", "-D"], stderr=subprocess.DEVNULL)

    def stop_controller(self) -> None:
        """Stop the controller; jobs continue on their nodes."""
        end(self._controller)

    def asked(self, *command: str) -> str:
        """Return what a command of Slurm prints; "" if it fails."""
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def jobs(self, *, state: str = "PENDING,RUNNING,COMPLETING") -> dict[str, str]:
        """Return id -> comment of the jobs in some states: the rule and its wildcards."""
        lines = self.asked("squeue", "--noheader", f"--states={state}", "--format=%A|%k").splitlines()
        return dict(line.split("|", 1) for line in lines)

    def running(self, rule: str) -> list[str]:
        """Return the running jobs of a rule or a group."""
        return [job for job, comment in self.jobs(state="RUNNING").items() if comment.startswith(rule)]

    def ended(self, state: str) -> dict[str, str]:
        """Return id -> comment of the jobs that ended in a state."""
        return self.jobs(state=state)


def end(process: subprocess.Popen) -> None:
    """End a program of Slurm and wait for it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(holds: Callable[[], object], seconds: float, what: str, *, stop: bool = True) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: It does not, in these seconds.
    """
    last = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > last:
            if stop:
                raise TimeoutError(f"no {what} in {seconds:g} s")
            return
        time.sleep(0.5)
