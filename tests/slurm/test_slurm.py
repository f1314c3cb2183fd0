"""A small run on a real Slurm gives the files of a local run, byte for byte, also if it is disturbed.

The run is a slice of the miniature of ``tests/workflow``: experiment 1 on its IBL sessions, without regressions,
controls and adaptive forecasts. The release is simulated and listed locally, the rest runs on the cluster.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from factories import ROOT
from factories.slurm import Cluster, until
from factories.tiny_run import RESULTS, SLICE, assert_same, outputs, write_miniature
from factories.workflow import Workflow, copy_workflow
from safetensors.numpy import load_file

from neurohorizon.cohort import read_cohort
from neurohorizon.config import read_config

# long enough to be disturbed
LONGER = {"training": {"steps": 200, "validate_every_steps": 10, "patience": 100}}
TARGET = RESULTS / "cross_session" / "tables" / "summary.tsv"
WEIGHTS = RESULTS / "models" / "unseen" / "own_history_seed-0" / "model.safetensors"
ARGUMENTS = ("--configfile", "config/miniature.yaml", "--conda-prefix", ROOT / ".snakemake" / "conda")
SLURM = (
    *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),  # sacct needs a database
    *("--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "10"),
)
STEP_S = 1800
"""Longest wait for a step of a run, on two cores that other programs use too."""


def copied(project: Workflow, folder: Path) -> Workflow:
    """Copy a project with its files and Snakemake's records of them."""
    shutil.copytree(project.root, folder / "project", symlinks=True)
    return Workflow(folder / "project")


class Run:
    """Snakemake in the background.

    Args:
        project: The copy of the project in which it runs.
        *arguments: Further arguments.
        target: File to make.
    """

    def __init__(self, project: Workflow, *arguments: object, target: Path = TARGET) -> None:
        self.log = project.root / "run.log"
        tools = ROOT / ".venv-slurm" / "bin"
        self.process = subprocess.Popen(
            [tools / "snakemake", target, *ARGUMENTS, *SLURM, *arguments],
            cwd=project.root,
            # both nodes are this machine, where no server of names lists them
            env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "MASTER_ADDR": "127.0.0.1"},
            stdout=self.log.open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_for(self, holds, what: str) -> None:
        """Wait until a condition holds; fail with the log if the run ends before."""
        until(lambda: self.process.poll() is not None or holds(), STEP_S, what)
        assert self.process.poll() is None, self.log.read_text()[-5000:]

    def finish(self) -> str:
        """Wait for its end and return the log."""
        status = self.process.wait(2 * STEP_S)
        assert status == 0, self.log.read_text()[-5000:]
        return self.log.read_text()


def benchmarks(project: Workflow) -> set[Path]:
    """Return the files that each job of a run has written, one for each job."""
    folder = project.root / RESULTS / "benchmarks"
    return {path.relative_to(folder) for path in folder.rglob("*.tsv")}


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> Workflow:
    """Return a project with the simulated release and the files of each session."""
    project = copy_workflow(tmp_path_factory.mktemp("listed") / "project")
    config = read_config(write_miniature(project.root, **SLICE, **LONGER))
    sessions = [row.session for row in read_cohort(project.root / config.cohort.table)]
    done = project.snakemake(*(RESULTS / "raw" / "ibl" / f"{one}.json" for one in sessions), *ARGUMENTS)
    assert done.returncode == 0, done.stdout
    return project


@pytest.fixture(scope="module")
def local(listed, tmp_path_factory) -> dict[str, bytes]:
    """Return the outputs of a local run."""
    project = copied(listed, tmp_path_factory.mktemp("local"))
    done = project.snakemake(TARGET, *ARGUMENTS)
    assert done.returncode == 0, done.stdout
    found = outputs(project.root)
    assert len(found) > 10 and str(TARGET) in found
    return found


def test_a_run_on_two_nodes_gives_the_files_of_a_local_run(cluster, listed, local, tmp_path):
    project = copied(listed, tmp_path)
    log = Run(project).finish()
    assert_same(outputs(project.root), local)
    jobs = len(benchmarks(project) - benchmarks(listed))
    assert jobs > 30 and log.count("has been submitted with SLURM jobid") < jobs / 2, "short jobs share a submission"
    assert not cluster.ended("FAILED,CANCELLED,OUT_OF_MEMORY,TIMEOUT,NODE_FAIL")


def test_a_training_on_two_nodes_does_what_one_does_that_accumulates_twice_as_many_batches(cluster, listed, tmp_path):
    short = "steps: 20, validate_every_steps: 10"
    project, alone = copied(listed, tmp_path / "two"), copied(listed, tmp_path / "one")
    Run(project, "--config", f"training={{nodes: 2, {short}}}", target=WEIGHTS).finish()
    done = alone.snakemake(WEIGHTS, *ARGUMENTS, "--config", f"training={{accumulate_batches: 2, {short}}}")
    assert done.returncode == 0, done.stdout
    found, expected = (load_file(one.root / WEIGHTS) for one in (project, alone))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_a_run_that_is_disturbed_gives_the_same_files(cluster: Cluster, listed, local, tmp_path):
    project = copied(listed, tmp_path)
    before = cluster.jobs(state="all").keys()
    # too little for any job at the first attempt
    run = Run(project, "--set-resources", "tune_baselines:mem_mb=100*(1+29*(attempt-1))")

    # a training is cancelled after its first checkpoint, while one of the two nodes takes no new jobs
    checkpoints = project.root / RESULTS / "checkpoints"
    run.wait_for(lambda: cluster.running("rule_train"), "training")
    cluster.asked("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    run.wait_for(lambda: any(checkpoints.rglob("last.ckpt")), "checkpoint")
    (path, *_) = checkpoints.rglob("last.ckpt")
    name = path.relative_to(checkpoints).parts[1]
    method = name.split("_seed")[0]
    training = [job for job, comment in cluster.jobs(state="RUNNING").items() if comment.endswith(f"_{method}_0")]
    assert len(training) == 1
    cluster.asked("scancel", *training)
    run.wait_for(lambda: f"'{training[0]}' failed" in run.log.read_text(), "report of the cancelled job")

    # the controller is away for a while
    cluster.stop_controller()
    time.sleep(20)
    cluster.start_controller()
    cluster.asked("scontrol", "update", "nodename=n1", "state=resume")

    # Snakemake is killed while its jobs are in the queue
    run.wait_for(lambda: cluster.jobs(), "jobs after the controller's restart")
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    left = cluster.jobs().keys()
    log = Run(project, "--set-resources", "tune_baselines:mem_mb=100*(1+29*(attempt-1))").finish()
    assert "Jobs of a killed run in this folder were cancelled" in log
    assert left <= cluster.ended("CANCELLED").keys() | cluster.ended("COMPLETED").keys()

    assert_same(outputs(project.root), local)
    killed = cluster.ended("OUT_OF_MEMORY,FAILED,CANCELLED")
    assert any("tune_baselines" in comment for job, comment in killed.items() if job not in before)
    logs = (project.root / RESULTS / "logs" / "train" / "unseen").glob("*.log")
    assert any("Restor" in one.read_text() for one in logs), "a training continued from its checkpoint"
