"""Time of a whole run on a number of nodes, simulated by list scheduling on its real graph of jobs.

Jobs, their order, threads and devices are those of a dry run. Their times are estimates: :func:`seconds_of`. A node is
free or busy core by core; a job starts as soon as its inputs are there and a node has its cores and its device, those
with the longest chain of later jobs first. Nothing waits for queues, transfers or failures. The output is Markdown, the
table of ``docs/cost.md``.

    snakemake all poyo paper -n --cores 16 --configfile config/config.yaml > plan.txt
    PYTHONPATH=.:workflow:tests .venv-test/bin/python benchmarks/makespan.py --plan plan.txt
"""

import argparse
import csv
import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from needs import DOWNLOAD_RATE, DOWNLOADS, TYPICAL
from resources import NEEDS, family_of

from benchmarks.cost import Job, file_bytes, jobs_of, size_of, training_steps
from neurohorizon.cohort import read_cohort
from neurohorizon.config import Config, read_config
from neurohorizon.sources import IBL_ARCHIVE_VERSIONS

NODES = (1, 2, 4, 8, 16, 32, 64)
CORES = 16
DOWNLOADS_AT_ONCE = 8
TERA = {"": 0.32, "tiny": 0.01, "small": 0.26, "base": 1.27}
"""Size of a network -> TFLOP of a training step, as in docs/cost.md."""
ONE_CORE_S = {"": 5.8, "tiny": 0.4, "small": 4.2, "base": 43.0}
"""Size of a network -> seconds of a training step on one core, as in docs/cost.md."""
NO_DEVICE = "no GPU"
SETTINGS = {
    "GPU at 20 TFLOP/s": {size: tera / 20 for size, tera in TERA.items()},
    "GPU at 2 TFLOP/s": {size: tera / 2 for size, tera in TERA.items()},
    NO_DEVICE: {size: seconds / 8 for size, seconds in ONE_CORE_S.items()},
}
"""Equipment of a node -> size of a network -> seconds of a training step; without a GPU on the eight threads of
``training.threads``, as if they were eight times as fast as one core."""
MEASURED = Path(__file__).parent / "job_seconds.tsv"
"""Processor time of the job with the largest inputs of a rule, on simulated recordings with the settings of the paper
(165 units, 15 minutes), or on real ones."""
LIKE = {"preprocess_allen": "preprocess_ibl", "forecast_ensemble": "forecast_adaptive", "score_conditions": "score"}
"""Rule that was not measured -> one that does at least as much for each MB, and was."""
FORWARD = 1 / 3
"""Share of a training step without its gradient."""
START_S = 10.0
"""Start of a job that applies a network."""
BY_OUTPUT = ("preprocess_ibl", "preprocess_allen")
"""Rules whose inputs are lists of files; their time depends on the session file that they write."""
OF_FEW_SESSIONS = ("tune_baselines",)
"""Rules that read the same number of sessions of any cohort."""


@dataclass(frozen=True)
class Task:
    """A job of a schedule.

    Attributes:
        seconds: Its time.
        after: Numbers of the tasks that must have ended, all smaller than its own.
        cores: Cores that it takes on one node.
        device: Whether it takes the device of the node.
        download: Whether it is one of the downloads, whose number at once is limited.
        name: Its rule.
    """

    seconds: float
    after: tuple[int, ...] = ()
    cores: int = 1
    device: bool = False
    download: bool = False
    name: str = ""


@dataclass(frozen=True)
class Schedule:
    """Result of a simulation.

    Attributes:
        seconds: End of the last task.
        starts: Start of each task, [task].
    """

    seconds: float
    starts: list[float]


@dataclass
class _Node:
    cores: int
    devices: int


@dataclass
class _Free:
    nodes: list[_Node]
    downloads: int
    running: list[tuple[float, int, int]] = field(default_factory=list)

    def place(self, task: Task) -> int | None:
        """Return the fullest node on which a task fits, so that others are left for tasks that need many cores."""
        if task.download and not self.downloads:
            return None
        fitting = (
            (node.cores, index)
            for index, node in enumerate(self.nodes)
            if node.cores >= task.cores and node.devices >= task.device
        )
        return min(fitting, default=(0, None))[1]

    def change(self, task: Task, index: int, sign: int) -> None:
        node = self.nodes[index]
        node.cores += sign * task.cores
        node.devices += sign * task.device
        self.downloads += sign * task.download


def tails(tasks: Sequence[Task]) -> list[float]:
    """Return the length of the longest chain that starts with each task, in seconds, [task]."""
    longest = [task.seconds for task in tasks]
    for number in reversed(range(len(tasks))):
        for before in tasks[number].after:
            longest[before] = max(longest[before], tasks[before].seconds + longest[number])
    return longest


def critical_path(tasks: Sequence[Task]) -> list[int]:
    """Return the numbers of the tasks of the longest chain, in their order."""
    longest, followers = tails(tasks), _followers(tasks)
    path = [max(range(len(tasks)), key=longest.__getitem__)]
    while followers[path[-1]]:
        path.append(max(followers[path[-1]], key=longest.__getitem__))
    return path


def schedule(
    tasks: Sequence[Task], *, nodes: int, cores: int = CORES, devices: int = 1, downloads: int = DOWNLOADS_AT_ONCE
) -> Schedule:
    """Simulate a list schedule: whenever something is free, the first task of the list that fits starts.

    Args:
        tasks: Tasks; each is after tasks with smaller numbers only.
        nodes: Number of nodes.
        cores: Cores of each.
        devices: Devices of each.
        downloads: Downloads at once, of all nodes together.

    Raises:
        ValueError: A task needs more than a node has.
    """
    for task in tasks:
        if task.cores > cores or task.device > devices or task.download > downloads:
            raise ValueError(
                f"{task.name or 'a task'} needs {task.cores} cores, device: {task.device}; no node has both"
            )
    priority, followers = tails(tasks), _followers(tasks)
    missing = [len(set(task.after)) for task in tasks]
    free = _Free([_Node(cores, devices) for _ in range(nodes)], downloads)
    # tasks that need the same wait in one queue: if its first does not fit, none does
    queues: dict[tuple, list[tuple[float, int]]] = defaultdict(list)
    starts, now = [0.0] * len(tasks), 0.0

    def wait(number: int) -> None:
        task = tasks[number]
        heapq.heappush(queues[task.cores, task.device, task.download], (-priority[number], number))

    for number, count in enumerate(missing):
        if not count:
            wait(number)
    while True:
        blocked: set[tuple] = set()
        while True:
            open_queues = [(queue[0], kind) for kind, queue in queues.items() if queue and kind not in blocked]
            if not open_queues:
                break
            (_, number), kind = min(open_queues)
            index = free.place(tasks[number])
            if index is None:
                blocked.add(kind)
                continue
            heapq.heappop(queues[kind])
            free.change(tasks[number], index, -1)
            starts[number] = now
            heapq.heappush(free.running, (now + tasks[number].seconds, number, index))
        if not free.running:
            return Schedule(now, starts)
        now = free.running[0][0]
        while free.running and free.running[0][0] == now:
            _, number, index = heapq.heappop(free.running)
            free.change(tasks[number], index, 1)
            for follower in followers[number]:
                missing[follower] -= 1
                if not missing[follower]:
                    wait(follower)


def bounds(
    tasks: Sequence[Task], *, nodes: int, cores: int = CORES, devices: int = 1, downloads: int = DOWNLOADS_AT_ONCE
) -> dict[str, float]:
    """Return what no schedule can be shorter than, in seconds, by its reason."""
    found = {
        "chain": max(tails(tasks), default=0.0),
        "cores": sum(task.seconds * task.cores for task in tasks) / (nodes * cores),
        "downloads": sum(task.seconds for task in tasks if task.download) / downloads,
    }
    if devices:
        found["devices"] = sum(task.seconds for task in tasks if task.device) / (nodes * devices)
    return found


def tasks_of(jobs: Sequence[Job], seconds: Sequence[float]) -> list[Task]:
    """Return the tasks of a dry run, in an order in which each is after all that it needs.

    Args:
        jobs: Jobs in any order. One is after those that write its inputs.
        seconds: Time of each, [job].
    """
    writers = {path: index for index, job in enumerate(jobs) for path in job.outputs}
    before = [{writers[path] for path in job.inputs if path in writers} for job in jobs]
    order = list(TopologicalSorter(dict(enumerate(before))).static_order())
    number = {index: place for place, index in enumerate(order)}
    return [
        Task(
            seconds=seconds[index],
            after=tuple(sorted(number[one] for one in before[index])),
            cores=jobs[index].threads,
            device=jobs[index].devices > 0,
            download=jobs[index].downloads > 0,
            name=jobs[index].rule,
        )
        for index in order
    ]


def seconds_of(job: Job, config: Config, sources: Mapping[str, str], step_s: Mapping[str, float]) -> float:
    """Estimate the time of a job.

    Trainings: all their steps. Downloads: bytes at a share of the rate of all. Forecasts by a network: a share of a
    training step for each window. Other jobs depend on the size of their files: :func:`seconds_by_size`.

    Args:
        step_s: Size of a network -> seconds of a training step.
    """
    if job.rule not in NEEDS and family_of(job.rule) not in NEEDS:
        return 0.0  # a target, which runs nothing
    size, steps = training_steps(job, config)
    # steps of POYO count like those of the main network, since its batches have as many windows
    steps += {"train_poyo": config.poyo.steps, "extend_poyo": config.poyo.adapt_steps}.get(job.rule, 0)
    if steps:
        return steps * step_s[size]
    source = {"download_ibl_archive": "ibl", "download_allen": "allen"}.get(job.rule)
    if source:
        download = DOWNLOADS[source, getattr(config.sources, source).mode]
        size_bytes = download.per_session or download.whole / len(IBL_ARCHIVE_VERSIONS)
        return size_bytes / (DOWNLOAD_RATE / DOWNLOADS_AT_ONCE)
    passes, files = passes_of(job, config), [path for path in job.inputs if "/sessions/" in path]
    if passes:
        return START_S + passes * sum(pass_seconds(path, config, size_of(job)) for path in files) / job.threads
    files = job.outputs if job.rule in BY_OUTPUT else job.inputs
    input_mb = sum(file_bytes(path, config, sources) for path in files) / 1e6
    return seconds_by_size(LIKE.get(job.rule, job.rule), input_mb) / job.threads


def passes_of(job: Job, config: Config) -> int:
    """Return how often a job applies a network to all test windows of its sessions; 0 if it does something else."""
    curves = config.cross_session
    of_rules = {
        "forecast": 1,
        "forecast_controls": len(config.baselines.controls),
        "score_teacher_forcing": 2,
        "score_point": 1,
        "score_curves": len(curves.reference_s) + len(curves.units) * curves.unit_draws,
        "forecast_conditions": 1,
        "score_downstream": 1,
        "decode_training": 1,
    }
    return of_rules.get(job.rule, 0)


def pass_seconds(path: str, config: Config, size: str = "") -> float:
    """Return the seconds of a network, on one core, for all test windows of a typical session.

    A step was measured on the typical recording of the IBL. For others, a window's time is proportional to its spikes.
    """
    recording, measured = TYPICAL[path.split("/sessions/")[1].split("/")[0]], TYPICAL["ibl"]
    training = config.training
    window_s = FORWARD * ONE_CORE_S[size] / (training.sessions_per_batch * training.windows_per_session)
    test_s = 60 * recording.minutes * (1 - config.splits.reference_fraction)
    windows = 1000 * test_s / (config.timeline.evaluation_stride_bins * config.timeline.bin_ms)
    return windows * window_s * (recording.spikes / recording.minutes) / (measured.spikes / measured.minutes)


def seconds_by_size(rule: str, input_mb: float) -> float:
    """Estimate the processor time of a job that neither trains nor downloads.

    It is that of the measured job, and for larger inputs proportional to their size. A rule without a measured job has
    what it declares for empty inputs, and for each MB.

    Args:
        rule: Its rule.
        input_mb: Size of its inputs, or of its output for rules of ``BY_OUTPUT``.
    """
    row = measured_jobs().get(rule)
    if row is None:
        need = NEEDS[family_of(rule)]
        return 60 * (need.minutes + need.minutes_per_mb * input_mb)
    seconds, measured_mb = row
    return seconds if rule in OF_FEW_SESSIONS or not measured_mb else seconds * max(1.0, input_mb / measured_mb)


@cache
def measured_jobs() -> dict[str, tuple[float, float]]:
    """Return rule -> processor time in seconds, and size of inputs in MB."""
    with MEASURED.open() as lines:
        rows = csv.DictReader(lines, delimiter="\t")
        return {row["rule"]: (float(row["processor_s"]), float(row["input_mb"])) for row in rows}


def _followers(tasks: Sequence[Task]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in tasks]
    for number, task in enumerate(tasks):
        for before in set(task.after):
            found[before].append(number)
    return found


def reason(tasks: Sequence[Task], seconds: float, *, nodes: int, devices: int) -> str:
    """Return what bounds a schedule: the largest of its bounds, with its share of the makespan."""
    name, bound = max(bounds(tasks, nodes=nodes, devices=devices).items(), key=lambda one: one[1])
    return f"{name}, {bound / seconds:.0%}"


def table(tasks: Mapping[str, Sequence[Task]]) -> str:
    """Return the table of ``docs/cost.md``, in Markdown.

    Args:
        tasks: Equipment of a node -> tasks of the run on such nodes.
    """
    head = ["nodes", *(column for name in tasks for column in (f"{name}: hours", "bound by"))]
    lines = [head, ["---:", *["---:", "---"] * len(tasks)]]
    for nodes in NODES:
        row = [str(nodes)]
        for name, own in tasks.items():
            devices = int(name != NO_DEVICE)
            makespan_s = schedule(own, nodes=nodes, devices=devices).seconds
            row += [f"{makespan_s / 3600:.0f}", reason(own, makespan_s, nodes=nodes, devices=devices)]
        lines.append(row)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def without_device(tasks: Sequence[Task]) -> list[Task]:
    """Return tasks that need no device."""
    return [replace(task, device=False) for task in tasks]


def longest_chain(tasks: Sequence[Task]) -> str:
    """Return the rules of the longest chain with their hours; those of less than a twentieth of it are left out."""
    path = [tasks[number] for number in critical_path(tasks)]
    whole_s = sum(task.seconds for task in path)
    shown = [task for task in path if task.seconds > whole_s / 20]
    return f"{whole_s / 3600:.0f} h: " + ", ".join(f"`{task.name}` {task.seconds / 3600:.1f}" for task in shown)


def main() -> None:
    """Print the table, and for each equipment the longest chain and the rules with most core hours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--plan", type=Path, required=True, help="output of snakemake -n --cores 16")
    options = parser.parse_args()
    config = read_config(options.config)
    sources = {row.session: row.source for row in read_cohort(config.cohort.table)}
    jobs = list(jobs_of(options.plan.read_text(), config.run.results))
    tasks = {}
    for name, step_s in SETTINGS.items():
        found = tasks_of(jobs, [seconds_of(job, config, sources, step_s) for job in jobs])
        tasks[name] = without_device(found) if name == NO_DEVICE else found
    print(table(tasks))
    for name, own in tasks.items():
        hours: Counter[str] = Counter()
        for task in own:
            hours[task.name] += task.seconds * task.cores / 3600
        most = ", ".join(f"{rule} {number:.0f}" for rule, number in hours.most_common(8))
        print(f"{name}\n  longest chain, {longest_chain(own)}\n  core hours, {sum(hours.values()):.0f}: {most}")


if __name__ == "__main__":
    main()
