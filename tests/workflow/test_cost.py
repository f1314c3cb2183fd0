"""The cost of a run is computed from its plan."""

import pytest

pytest.importorskip("torch_brain")

from factories import ROOT
from needs import TYPICAL

from benchmarks.cost import gigabytes, jobs_of, training_steps
from neurohorizon.config import read_config

CONFIG = read_config(ROOT / "config" / "config.yaml")
PLAN = """
[today]
rule train:
    input: results/paper/sessions/ibl/a.h5
    output: results/paper/models/main/neurohorizon_seed-0/model.safetensors, results/paper/models/main/log.csv
    jobid: 3

rule train_point:
    input: results/paper/sessions/ibl/a.h5
    output: results/paper/scaling/main/size-base_seed-0/model.safetensors

rule train_point:
    output: results/paper/ablations/main/no_identity_seed-1/model.safetensors

rule sample_paths:
    output: results/paper/calibration/sums/main/b/seed-0.parquet, results/paper/forecasts/main/b/blockwise_seed-0.h5

checkpoint make_cohort:
    output: config/cohorts/paper.tsv

localrule all:
    input: results/paper/figures/main.svg
"""


def test_jobs_belong_to_the_experiment_whose_files_they_write():
    found = [(job.rule, job.experiment) for job in jobs_of(PLAN, "results/paper")]
    assert found == [
        ("train", "cross_session"),
        ("train_point", "scaling"),
        ("train_point", "ablations"),
        ("sample_paths", "horizons"),
        ("make_cohort", "cross_session"),
        ("all", "cross_session"),
    ]


def test_steps_are_those_of_the_section_that_a_job_trains_by():
    found = [training_steps(job, CONFIG) for job in jobs_of(PLAN, "results/paper")]
    scaling, ablations = CONFIG.scaling.steps, CONFIG.ablations.steps
    assert found == [("", CONFIG.training.steps), ("base", scaling), ("", ablations), ("", 0), ("", 0), ("", 0)]


def test_disk_is_that_of_forecasts_by_windows_bins_and_units():
    (job,) = (job for job in jobs_of(PLAN, "results/paper") if job.rule == "sample_paths")
    one = TYPICAL["allen"]
    windows = one.minutes * 60 * 0.5 / 0.5
    assert gigabytes(job, CONFIG, {"b": "allen"}) == pytest.approx(windows * 50 * one.units * 1.7 / 1e9)
