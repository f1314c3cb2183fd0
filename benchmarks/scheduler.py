"""Processor time of Snakemake's main process with many short jobs, with and without ``workflow/one_timer.py``.

``PATH=.venv/bin:$PATH PYTHONPATH=. .venv/bin/python benchmarks/scheduler.py`` takes some minutes; ``--jobs 500 5000``
takes half an hour. Jobs only wait, so that the time of the main process is not that of a busy machine.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
SNAKEFILE = """
import sys
sys.path.insert(0, {workflow!r})
from one_timer import keep_one_timer

rule all:
    input: expand("done/{{job}}", job=range({jobs}))

rule wait:
    output: touch("done/{{job}}")
    shell: "sleep {seconds}"

onstart:
    if {cured}:
        keep_one_timer(workflow.scheduler)
"""
READ_EVERY_S = 0.2


@dataclass(frozen=True)
class Run:
    """One run of trivial jobs.

    Attributes:
        jobs: Number of jobs.
        cured: Whether one armed timer is kept.
        wall_s: Seconds of the run.
        main_s: Processor time of the main process in seconds, without its children.
    """

    jobs: int
    cured: bool
    wall_s: float
    main_s: float

    @property
    def share(self) -> float:
        """Share of a core that the main process takes."""
        return self.main_s / self.wall_s


def run_jobs(jobs: int, *, cured: bool, cores: int, seconds: float) -> Run:
    """Run trivial jobs in a new folder.

    Args:
        jobs: Number of jobs.
        cured: Whether one armed timer is kept.
        cores: Jobs at once.
        seconds: Duration of a job.

    Raises:
        RuntimeError: Snakemake failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        content = SNAKEFILE.format(workflow=str(WORKFLOW), jobs=jobs, seconds=seconds, cured=cured)
        (place / "Snakefile").write_text(content)
        command = ["snakemake", "--cores", str(cores), "--max-jobs-per-timespan", "1000/10s", "--quiet", "all"]
        with (place / "log").open("w") as log:
            began = time.monotonic()
            running = subprocess.Popen([sys.executable, "-m", *command], cwd=place, stdout=log, stderr=log)
            main, main_s = psutil.Process(running.pid), 0.0
            while running.poll() is None:
                time.sleep(READ_EVERY_S)
                try:
                    times = main.cpu_times()
                except psutil.NoSuchProcess:
                    break
                # a process that has ended has no times
                main_s = max(main_s, times.user + times.system)
        if running.wait():
            raise RuntimeError(f"Snakemake failed:\n{(place / 'log').read_text()[-2000:]}")
        return Run(jobs, cured, time.monotonic() - began, main_s)


def main() -> None:
    """Run all sizes with and without the cure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--cores", type=int, default=20, help="jobs at once")
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of a job")
    options = parser.parse_args()
    print("jobs\tone timer\twall s\tmain process s\tms per job\tshare of a core\tratio to no cure")
    for jobs in options.jobs:
        without = run_jobs(jobs, cured=False, cores=options.cores, seconds=options.seconds)
        cured = run_jobs(jobs, cured=True, cores=options.cores, seconds=options.seconds)
        for one in (without, cured):
            print(
                f"{jobs}\t{'yes' if one.cured else 'no'}\t{one.wall_s:.0f}\t{one.main_s:.1f}"
                f"\t{1000 * one.main_s / jobs:.0f}\t{one.share:.1%}\t{one.main_s / without.main_s:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
