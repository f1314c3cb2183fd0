"""Every rule declares memory and time that its measured jobs needed, and not many times more."""

import csv
import re
from types import SimpleNamespace

import pytest
import yaml
from factories import ROOT
from lightning.fabric.plugins.environments import SLURMEnvironment
from needs import PAPER, TYPICAL
from resources import (
    AT_THE_END,
    GROUPS,
    NEEDS,
    SNAKEMAKE_MB,
    family_of,
    group_of,
    resources_of,
    size_mb,
    start_on_nodes,
)

MEASURED = list(csv.DictReader((ROOT / "benchmarks" / "job_sizes.tsv").open(), delimiter="\t"))
FLOOR_MB = 1000
FLOOR_MINUTES = 20
OF_SETTINGS = {"download_allen", "download_ibl", "export_images", "embed_images"} | {
    rule for rule, need in NEEDS.items() if need.accelerated or rule.startswith("train")
}
"""Rules whose time depends on a connection or on the configuration's steps."""
CPU = SimpleNamespace(accelerator="cpu", devices=2, nodes=1, threads=4)
GPU = SimpleNamespace(accelerator="gpu", devices=2, nodes=1, threads=4)


def rules_with_a_command() -> dict[str, str]:
    """Return the text of each rule that runs a command; a rule of a loop is named by its number."""
    found = {}
    for path in sorted(ROOT.glob("rules/**/*.smk")):
        blocks = re.split(r"^ *(?:rule|checkpoint)(?: (\w+))?:$", path.read_text(), flags=re.M)[1:]
        for name, body in zip(blocks[::2], blocks[1::2], strict=True):
            if re.search(r"^ +shell:$", body, flags=re.M):
                found[name or f"{path.name} {len(found)}"] = body
    return found


def test_every_rule_declares_its_line_of_the_table_and_every_line_is_declared():
    declared = {name: re.findall(r'\*\*declared\("(\w+)"\)', body) for name, body in rules_with_a_command().items()}
    assert {len(lines) for lines in declared.values()} == {1}
    assert {name: lines for name, lines in declared.items() if " " not in name and lines != [name]} == {}
    assert {lines[0] for lines in declared.values()} == NEEDS.keys()


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['run']}-{row['rule']}")
def test_a_job_declares_what_was_measured(row):
    need = NEEDS[row["rule"]]
    assert need.mem_mb(float(row["memory_input_mb"]), 1) >= float(row["memory_mb"]) + SNAKEMAKE_MB
    assert need.runtime(float(row["seconds_input_mb"]), 1) >= float(row["seconds"]) / 60


@pytest.mark.parametrize("rule", sorted({row["rule"] for row in MEASURED}))
def test_the_largest_job_of_a_rule_declares_at_most_three_times_what_was_measured(rule):
    rows = [row for row in MEASURED if row["rule"] == rule]
    memory = max(rows, key=lambda row: float(row["memory_mb"]))
    bound_mb = max(3 * float(memory["memory_mb"]), FLOOR_MB) + SNAKEMAKE_MB
    if rule not in ("preprocess_ibl", "preprocess_allen"):  # the measured ones are simulated, and real ones larger
        assert NEEDS[rule].mem_mb(float(memory["memory_input_mb"]), 1) <= bound_mb
        if rule not in OF_SETTINGS:
            longest = max(rows, key=lambda row: float(row["seconds"]))
            bound_minutes = max(3 * float(longest["seconds"]) / 60, FLOOR_MINUTES)
            assert NEEDS[rule].runtime(float(longest["seconds_input_mb"]), 1) <= bound_minutes


@pytest.mark.parametrize("rule", NEEDS)
def test_more_input_and_a_later_attempt_never_declare_less(rule, tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(10**5))
    large.write_bytes(bytes(10**7))
    of = resources_of(rule, CPU)
    for name in ("mem_mb", "runtime"):
        assert of[name](None, [small], attempt=1) <= of[name](None, [small, large], attempt=1)
        assert of[name](None, [small], attempt=1) < of[name](None, [small], attempt=2)


def test_a_job_on_the_sessions_of_the_paper_declares_what_a_node_has():
    cohort_mb = sum(PAPER[source].sessions * TYPICAL[source].session_bytes for source in PAPER) / 1e6
    assert cohort_mb > 50_000
    assert {rule: need.mem_mb(cohort_mb, 1) for rule, need in NEEDS.items() if need.mem_mb(cohort_mb, 1) > 50_000} == {}
    trained = [need for rule, need in NEEDS.items() if rule.startswith("train")]
    assert all(need.steps and need.runtime(cohort_mb, 3) < 3 * 24 * 60 for need in trained)


def test_files_that_another_job_of_the_group_makes_have_no_size_yet(tmp_path):
    (tmp_path / "there").write_bytes(bytes(2 * 10**6))
    assert size_mb([tmp_path / "there", tmp_path / "not_yet", tmp_path]) == 2.0


def test_only_rules_that_train_declare_the_devices_of_the_configuration():
    with_gpu = {rule for rule in NEEDS if "gpu" in resources_of(rule, GPU)}
    assert with_gpu >= {"train", "train_point", "train_multimodal", "train_poyo", "fit_within_session"}
    assert all(resources_of(rule, GPU)["gpu"] == 2 for rule in with_gpu)
    assert not with_gpu & {"forecast", "score", "make_tables"}
    assert not any("gpu" in resources_of(rule, CPU) for rule in NEEDS)


def test_trainings_on_several_nodes_have_a_process_for_each_device(monkeypatch):
    on_two = SimpleNamespace(accelerator="gpu", devices=2, nodes=2, threads=4)
    declared = {rule: resources_of(rule, on_two) for rule in NEEDS}
    several = {rule for rule, found in declared.items() if "nodes" in found}
    assert several == {"train", "train_point", "train_multimodal"}
    expected = {"nodes": 2, "mpi": "srun", "tasks": 4, "cpus_per_task": 2, "tasks_per_gpu": 1, "gpu": 4}
    assert expected.items() <= declared["train"].items()
    assert declared["train_poyo"]["gpu"] == 2
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert start_on_nodes(on_two) == ""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert start_on_nodes(on_two) == "srun --nodes=2 --ntasks=4 --ntasks-per-node=2 --cpus-per-task=2"
    assert start_on_nodes(GPU) == ""
    commands = {name: body for name, body in rules_with_a_command().items() if '$START python "$CALL"' in body}
    assert commands.keys() == several


def test_a_rule_without_a_line_is_an_error_that_names_the_table():
    with pytest.raises(KeyError, match=r"rule new_rule has no resources: .*workflow/resources.py"):
        resources_of("new_rule", CPU)


def test_rules_of_loops_and_of_the_first_session_have_the_line_of_their_family():
    names = ("make_cross_session_tables", "draw_scaling_main", "notebook_paper", "first_download_ibl", "make_example")
    assert [family_of(name) for name in names] == [
        *("make_tables", "draw_figure", "run_notebook", "download_ibl", "make_example")
    ]


def test_groups_have_rules_of_short_jobs_and_the_profile_a_size_for_each():
    grouped = [rule for rules in GROUPS.values() for rule in rules]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) <= NEEDS.keys()
    assert not {rule for rule in grouped if NEEDS[rule].accelerated or rule.startswith(("train", "download"))}
    assert group_of("draw_scaling_main") == "showing"
    assert [group_of(rule) for rule in (*AT_THE_END, "train", "first_preprocess_ibl")] == [None] * 4
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert {one.split("=")[0] for one in profile["group-components"]} == GROUPS.keys()


def test_the_profile_of_slurm_has_all_that_the_default_profile_has():
    default, slurm = (
        yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text()) for name in ("default", "slurm")
    )
    assert default.keys() <= slurm.keys()
    same = default.keys() - {"max-jobs-per-timespan", "resources"}
    assert {key: slurm[key] for key in same} == {key: default[key] for key in same}
    assert set(default["resources"]) <= set(slurm["resources"])
    assert "in_turn=1" in slurm["resources"] and "in_turn=1" in slurm["default-resources"]


def test_in_a_job_of_slurm_lightning_starts_the_processes_of_several_devices(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "neurohorizon_1")
    assert SLURMEnvironment.detect(), "it would train on one device only"
    name, value = re.search(r"\b(SLURM_JOB_NAME)=(\w+)", (ROOT / "rules" / "common.smk").read_text()).groups()
    monkeypatch.setenv(name, value)
    assert not SLURMEnvironment.detect()
