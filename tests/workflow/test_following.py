"""The line of progress counts jobs by their work, names what runs, and passes on errors and first results."""

import os
import subprocess

import pytest
from factories import ROOT
from following import LABELS, SECONDS, Followed, clock, duration, label_of, seconds_of
from resources import NEEDS

PYTHONPATH = os.pathsep.join(str(ROOT / folder) for folder in (".", "workflow", "workflow/plugins"))
SNAKEFILE = """
rule all:
    input: "preview.txt", "last.txt"
rule preview:
    output: "preview.txt"
    shell: "echo the score is 0.25 > {output}"
rule last:
    output: "last.txt"
    shell: "{command}; touch {output}"
"""


def followed(**planned: int) -> Followed:
    found = Followed()
    found.plan(planned)
    return found


def test_the_share_is_that_of_the_work_and_not_of_the_jobs():
    run = followed(train=1, record_config=3)
    for job in range(3):
        run.start(job, "record_config", {}, now_s=0.0)
        assert run.finish(job) == "record_config"
    others = 3 * seconds_of("record_config")
    assert run.share == pytest.approx(others / (others + SECONDS["train"]))
    run.start(3, "train", {"model": "neurohorizon"}, now_s=50.0)
    run.finish(3)
    assert run.share == 1.0


def test_the_time_left_is_that_of_the_work_left_at_the_speed_so_far():
    run = followed(train=4)
    run.start(0, "train", {}, now_s=1000.0)
    assert run.left_s(now_s=1005.0) is None  # too early
    run.finish(0)
    assert run.left_s(now_s=1100.0) == pytest.approx(300.0)


def test_jobs_that_are_found_to_be_needed_during_the_run_count():
    run = followed(train=1)
    run.start(0, "train", {}, now_s=0.0)
    run.finish(0)
    run.total = 3
    assert 0 < run.share < 1
    assert "1 of 3 jobs" in run.line(now_s=1.0)


def test_the_line_names_what_runs_once_and_its_experiment():
    run = followed(train_point=2, score=2)
    run.start(0, "train_point", {"experiment": "scaling"}, now_s=0.0)
    run.start(1, "score", {}, now_s=0.0)
    run.start(2, "score", {}, now_s=0.0)
    line = run.line(now_s=61.0)
    assert line.startswith("1:01  ") and "0 of 4 jobs" in line
    assert line.endswith("now: experiment 2, training of variants; experiment 1, scores")
    run.finish(1)
    assert "scores" in run.line(now_s=62.0)


def test_a_job_that_did_not_start_is_no_finished_job():
    run = followed(score=1)
    assert run.finish(7) is None
    assert run.share == 0


def test_every_rule_has_words():
    unknown = [rule for rule in NEEDS if label_of(rule, {}) == rule.replace("_", " ")]
    assert set(unknown) <= {rule for rule in NEEDS if rule not in LABELS}
    assert label_of("preprocess_ibl", {}) == LABELS["preprocess"]
    assert label_of("draw_scaling_curve", {}) == LABELS["draw_figure"]
    assert label_of("forecast_baselines", {}) == LABELS["forecast"]
    assert label_of("forecast_conditions", {}) == LABELS["forecast_conditions"]
    assert not set(SECONDS) - set(NEEDS)


def test_times_are_no_more_exact_than_they_are_known():
    assert [duration(one) for one in (3, 44, 100, 600, 7200)] == ["10 s", "40 s", "2 min", "10 min", "2.0 h"]
    assert [clock(one) for one in (5, 65, 3605)] == ["0:05", "1:05", "1:00:05"]


def run_snakemake(folder, command: str) -> str:
    """Return what a small run prints to stderr."""
    (folder / "Snakefile").write_text(SNAKEFILE.replace("{command}", command))
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "snakemake", "--cores", "1", "--logger", "follow"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (command == "true")
    return done.stderr


@pytest.mark.slow
def test_a_run_prints_its_first_result_and_the_path_of_its_log_and_no_settings_of_jobs(tmp_path):
    printed = run_snakemake(tmp_path, "true")
    assert "the score is 0.25" in printed and "Complete log(s): " in printed
    assert "wildcards:" not in printed and "Select jobs" not in printed
    (log,) = (tmp_path / ".snakemake" / "log").glob("*.log")
    assert "rule last:" in log.read_text()


@pytest.mark.slow
def test_a_run_prints_the_error_of_a_job(tmp_path):
    printed = run_snakemake(tmp_path, "false")
    assert "Error in rule last" in printed
