"""The makespan of a run is simulated by list scheduling: known answers, and the best schedule of small graphs."""

import itertools
from dataclasses import replace

import pytest

pytest.importorskip("torch_brain")

from factories import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import DOWNLOAD_RATE, DOWNLOADS, TYPICAL

from benchmarks.cost import Job, jobs_of
from benchmarks.makespan import (
    ONE_CORE_S,
    START_S,
    TERA,
    Task,
    bounds,
    critical_path,
    measured_jobs,
    schedule,
    seconds_by_size,
    seconds_of,
    tails,
    tasks_of,
    without_device,
)
from neurohorizon.config import read_config

CONFIG = read_config(ROOT / "config" / "config.yaml")
CHAIN = [Task(3.0), Task(5.0, (0,)), Task(7.0, (1,))]
DIAMOND = [Task(1.0), Task(4.0, (0,)), Task(6.0, (0,)), Task(2.0, (1, 2))]
PLAN = """
rule reference_features:
    input: results/paper/sessions/ibl/a.h5
    output: results/paper/features/ibl/a.h5
    jobid: 3

rule train:
    input: results/paper/features/ibl/a.h5, results/paper/sessions/ibl/a.h5
    output: results/paper/models/main/neurohorizon_seed-0/model.safetensors
    threads: 8
    resources: tmpdir=/tmp, runtime=125, gpu=1, mem_mb=1900

rule preprocess_ibl:
    output: results/paper/sessions/ibl/a.h5

rule download_allen:
    output: results/paper/raw/allen/1.json
    resources: tmpdir=/tmp, runtime=485, downloads=1, mem_mb=900
"""


@pytest.mark.parametrize("nodes", [1, 2, 8])
def test_a_chain_takes_the_sum_of_its_jobs_on_any_number_of_nodes(nodes):
    assert schedule(CHAIN, nodes=nodes).seconds == 15.0
    assert critical_path(CHAIN) == [0, 1, 2]


@pytest.mark.parametrize(("nodes", "seconds"), [(1, 30.0), (2, 20.0), (4, 10.0), (8, 10.0)])
def test_independent_jobs_of_equal_length_run_in_rounds(nodes, seconds):
    assert schedule([Task(10.0)] * 12, nodes=nodes, cores=4).seconds == seconds


def test_a_diamond_takes_its_longer_side_if_both_run_at_once():
    assert schedule(DIAMOND, nodes=1, cores=2).seconds == 9.0
    assert schedule(DIAMOND, nodes=1, cores=1).seconds == 13.0
    assert critical_path(DIAMOND) == [0, 2, 3]
    assert tails(DIAMOND) == [9.0, 6.0, 8.0, 2.0]


def test_the_longest_chain_starts_first():
    tasks = [*[Task(1.0)] * 3, Task(1.0), Task(5.0, (3,))]
    assert schedule(tasks, nodes=1, cores=2).starts[3] == 0.0
    assert schedule(tasks, nodes=1, cores=2).seconds == 6.0


def test_a_job_runs_on_one_node_and_devices_and_downloads_are_limited():
    wide = [Task(1.0, cores=3)] * 4
    assert schedule(wide, nodes=1, cores=4).seconds == 4.0
    assert schedule(wide, nodes=2, cores=4).seconds == 2.0
    assert schedule([Task(1.0, device=True)] * 4, nodes=2, cores=4).seconds == 2.0
    assert schedule([Task(1.0, download=True)] * 4, nodes=4, downloads=1).seconds == 4.0


def test_a_job_that_waits_for_a_device_lets_others_pass():
    tasks = [Task(5.0, device=True), Task(5.0, device=True), Task(1.0)]
    assert schedule(tasks, nodes=1, cores=2).starts == [0.0, 5.0, 0.0]


def test_a_job_that_fits_on_no_node_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="train needs 20 cores"):
        schedule([Task(1.0, cores=20, name="train")], nodes=3)
    with pytest.raises(ValueError, match="train"):
        schedule([Task(1.0, device=True, name="train")], nodes=3, devices=0)
    assert schedule(without_device([Task(1.0, device=True)]), nodes=3, devices=0).seconds == 1.0


@st.composite
def graphs(draw):
    size = draw(st.integers(1, 6))
    return [
        Task(
            float(draw(st.integers(1, 9))),
            tuple(before for before in range(number) if draw(st.booleans())),
        )
        for number in range(size)
    ]


def shortest(tasks: list[Task], cores: int) -> float:
    """Return the shortest makespan: some order in which each job starts as early as it can is optimal."""
    best = float("inf")
    for order in itertools.permutations(range(len(tasks))):
        free, ends = [0.0] * cores, {}
        for number in order:
            if any(before not in ends for before in tasks[number].after):
                break
            ready = max((ends[before] for before in tasks[number].after), default=0.0)
            core = min(range(cores), key=lambda one: max(free[one], ready))
            ends[number] = free[core] = max(free[core], ready) + tasks[number].seconds
        else:
            best = min(best, max(ends.values()))
    return best


@settings(max_examples=40, deadline=None)
@given(tasks=graphs(), cores=st.integers(1, 3))
def test_a_schedule_lies_between_the_shortest_one_and_grahams_bound(tasks, cores):
    found, best = schedule(tasks, nodes=1, cores=cores), shortest(tasks, cores)
    assert best - 1e-9 <= found.seconds <= (2 - 1 / cores) * best + 1e-9
    assert max(bounds(tasks, nodes=1, cores=cores).values()) <= best + 1e-9
    for number, task in enumerate(tasks):
        assert all(found.starts[one] + tasks[one].seconds <= found.starts[number] for one in task.after)
    for start in found.starts:
        running = sum(one <= start < one + task.seconds for one, task in zip(found.starts, tasks, strict=True))
        assert running <= cores


def test_bounds_are_the_longest_chain_and_the_shares_of_cores_devices_and_downloads():
    tasks = [Task(4.0, cores=8, device=True), Task(6.0, (0,), download=True), replace(DIAMOND[0], seconds=2.0)]
    found = bounds(tasks, nodes=2, cores=10, devices=1, downloads=3)
    assert found == {"chain": 10.0, "cores": 2.0, "downloads": 2.0, "devices": 2.0}


def test_jobs_of_a_plan_are_after_those_that_write_their_inputs():
    jobs = list(jobs_of(PLAN, "results/paper"))
    assert [(job.threads, job.devices, job.downloads) for job in jobs] == [(1, 0, 0), (8, 1, 0), (1, 0, 0), (1, 0, 1)]
    tasks = tasks_of(jobs, [2.0, 3.0, 1.0, 9.0])
    named = {task.name: task for task in tasks}
    ends = schedule(tasks, nodes=1)
    starts = {task.name: start for task, start in zip(tasks, ends.starts, strict=True)}
    assert starts == {"preprocess_ibl": 0.0, "download_allen": 0.0, "reference_features": 1.0, "train": 3.0}
    assert named["train"].device and named["download_allen"].download and ends.seconds == 9.0


def test_times_of_jobs_are_steps_bytes_or_sizes():
    sources = {"a": "ibl", "1": "allen"}
    features, train, read, download = (
        seconds_of(job, CONFIG, sources, ONE_CORE_S) for job in jobs_of(PLAN, "results/paper")
    )
    session_mb = TYPICAL["ibl"].session_bytes / 1e6
    assert train == CONFIG.training.steps * ONE_CORE_S[""]
    assert download == pytest.approx(DOWNLOADS["allen", "remote"].per_session / (DOWNLOAD_RATE / 8))
    assert features == seconds_by_size("reference_features", session_mb)
    assert read == seconds_by_size("preprocess_ibl", session_mb)
    assert seconds_of(Job("all", "cross_session", ()), CONFIG, sources, ONE_CORE_S) == 0.0


def test_a_forecast_takes_a_third_of_a_training_step_for_each_window():
    job = Job("forecast", "cross_session", (), inputs=("results/paper/sessions/ibl/a.h5", "model.safetensors"))
    windows = TYPICAL["ibl"].minutes * 60 * 0.5 / 0.5
    expected = windows / 128 * ONE_CORE_S[""] / 3
    assert seconds_of(job, CONFIG, {}, {}) == pytest.approx(START_S + expected)
    assert seconds_of(replace(job, rule="forecast_controls"), CONFIG, {}, {}) == pytest.approx(START_S + 2 * expected)
    both = replace(job, rule="score_point", inputs=2 * job.inputs, outputs=("x/size-base_seed-0/s",), threads=8)
    larger = 2 * expected / 8 * ONE_CORE_S["base"] / ONE_CORE_S[""]
    assert seconds_of(both, CONFIG, {}, {}) == pytest.approx(START_S + larger)


def test_more_input_never_takes_less_time():
    for rule in ("reference_features", "score", "make_tables"):
        assert 0 < seconds_by_size(rule, 1.0) <= seconds_by_size(rule, 100.0)


def test_a_job_takes_as_long_as_the_measured_one_and_longer_in_proportion_to_its_inputs():
    seconds, input_mb = measured_jobs()["reference_features"]
    assert seconds_by_size("reference_features", input_mb / 2) == seconds
    assert seconds_by_size("reference_features", 3 * input_mb) == pytest.approx(3 * seconds)
    assert seconds_by_size("tune_baselines", 1e5) == measured_jobs()["tune_baselines"][0]


def test_steps_are_those_of_the_page():
    page = (ROOT / "docs" / "cost.md").read_text()
    for size in TERA:
        name = f"`scaling.sizes.{size}`" if size else "the paper's"
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
        numbers = [float(cell) for cell in row.split("|")[3:5]]
        assert numbers == [TERA[size], ONE_CORE_S[size]]
