"""`make doctor` names what a machine lacks for a configuration, and what to do."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from checklist import Check, as_text, summary
from doctor import (
    check_configuration,
    check_disk,
    check_gpu,
    check_memory,
    check_recordings,
    check_shared_memory,
    command_line,
    largest_job,
)
from factories import ROOT
from factories.workflow import snakemake_tools
from needs import (
    DOWNLOADS,
    PAPER,
    TYPICAL,
    counted,
    downloads_of,
    forecasts_of_a_session,
    needs,
    table,
)
from resources import NEEDS, SNAKEMAKE_MB, Need

from neurohorizon.cohort import Row, read_cohort, sessions_in_use
from neurohorizon.config import Config, parse_config, read_config
from neurohorizon.files import bytes_as_text
from neurohorizon.ingest.paper_cohort import make_cohort

DEMO = read_config(ROOT / "config" / "demo.yaml")


def changed(name: str = "config", **changes: dict) -> Config:
    """Return a shipped configuration with some values changed: section -> key -> value."""
    values = json.loads(json.dumps(read_config(ROOT / "config" / f"{name}.yaml").model_dump()))
    for section, change in changes.items():
        for key, value in change.items():
            before = values[section][key]
            values[section][key] = {**before, **value} if isinstance(value, dict) and before else value
    return parse_config(values)


PAPER_CONFIG = changed(sources={"ibl": {"mode": "remote"}})


def rows_of(*sources: str, role: str = "train") -> list[Row]:
    return [Row(f"{number}", source, "animal", "lab", "", role, "", "") for number, source in enumerate(sources)]


def results(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.name, check.result) for check in checks]


# needs


def test_the_papers_cohort_has_the_counts_that_are_used_before_its_table_is_made(release_tables, tmp_path):
    table_path = tmp_path / "paper.tsv"
    make_cohort(
        table_path,
        ibl_table=release_tables / "ibl_2023_12_bwm_release.csv",
        allen_table=release_tables / "allen_sessions.csv",
        reserved=ROOT / "config" / "cohorts" / "bwb_heldout.txt",
        heldout_fraction=PAPER_CONFIG.cohort.heldout_fraction,
        seed=0,
    )
    found = counted(PAPER_CONFIG, sessions_in_use(read_cohort(table_path), PAPER_CONFIG.sources))
    assert found["ibl"] == PAPER["ibl"]
    assert (found["allen"].sessions, found["allen"].held_out) == (PAPER["allen"].sessions, PAPER["allen"].held_out)


def test_the_readme_has_the_table_of_downloads():
    assert table() in (ROOT / "README.md").read_text(), "print it: PYTHONPATH=. python workflow/needs.py"


def test_the_readme_and_the_page_of_cost_have_the_size_of_the_forecasts():
    size = next(need.size for need in needs(PAPER_CONFIG, None) if need.what == "forecasts")
    assert f"Its forecasts take {round(size / 1e9, -1):.0f} GB more (estimate)" in (ROOT / "README.md").read_text()
    number = forecasts_of_a_session(PAPER_CONFIG, "ibl")
    assert f"the {number} forecasts of every held-out\n  session" in (ROOT / "docs" / "cost.md").read_text()


def test_the_figures_give_the_published_totals():
    sessions, probes = 459, 699
    assert 150e9 < DOWNLOADS["ibl", "remote"].of(sessions, probes) < 200e9
    assert DOWNLOADS["allen", "remote"].of(58, 332) == pytest.approx(147e9)
    assert TYPICAL["ibl"].spikes * sessions == pytest.approx(4.15e9, rel=0.01)


def test_disk_grows_with_sessions_and_only_held_out_ones_have_forecasts():
    one, two = (needs(PAPER_CONFIG, rows_of(*["allen"] * number)) for number in (1, 2))
    assert [need.what for need in one] == ["allen downloads", "session files"]
    assert two[1].size == 2 * one[1].size
    assert len(one) == 2, "training sessions are not forecast"
    held_out = needs(PAPER_CONFIG, rows_of("allen", role="heldout"))[2].size
    windows, forecasts = 150 * 60 * 0.5 / 0.5, forecasts_of_a_session(PAPER_CONFIG, "allen")
    assert held_out == pytest.approx(forecasts * windows * 50 * 690 * 1.7)


def test_only_remote_sources_download():
    assert set(downloads_of(PAPER_CONFIG)) == {"ibl", "allen"}
    assert downloads_of(DEMO) == {}


# disk


def disk(config: Config, free: float, rows: list[Row] | None = None, **devices: object) -> list[Check]:
    rows = rows_of("ibl", "allen", role="heldout") if rows is None else rows
    return check_disk(config, rows, free=lambda folder: free, device=devices.get("device", lambda folder: 0))


@pytest.fixture
def away(tmp_path, monkeypatch) -> Config:
    """Return the paper's configuration in an empty working folder, with all environments made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("doctor._environments", lambda root: ([], []))
    return PAPER_CONFIG


@pytest.mark.parametrize(("share", "result"), [(0.5, "problem"), (1.1, "warning"), (1.3, "ok")])
def test_too_little_disk_is_a_problem_and_little_more_than_the_estimate_a_warning(away, share, result):
    rows = rows_of("ibl", "allen", role="heldout")
    needed = sum(need.size for need in needs(away, rows))
    (check,) = disk(away, share * needed, rows)
    assert check.result == result
    assert f"a run still needs about {bytes_as_text(needed)}" in check.found
    assert ("run.results" in check.advice) == (result != "ok")


def test_folders_on_two_file_systems_are_two_checks(away, tmp_path):
    (tmp_path / "data").mkdir()
    found = disk(away, 10e9, device=lambda folder: "data" in folder.parts)
    assert {check.found.split(" free for ")[1].split(";")[0] for check in found} == {
        "data/ibl, data/allen",
        "results/paper",
    }
    assert sorted(check.result for check in found) == ["ok", "problem"]


def test_files_that_are_there_are_not_needed_again(away, tmp_path):
    before = disk(away, 1e12)[0].found
    path = tmp_path / "results" / "paper" / "raw" / "allen" / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"files": [{"path": "a", "size": 5}]}))
    assert "allen downloads" in before
    assert "allen downloads" not in disk(away, 1e12)[0].found


def test_results_of_own_files_are_not_estimated(away):
    config = changed("steinmetz")
    (check,) = disk(config, 1e9, rows_of("nwb", role="heldout"))
    assert check.result == "ok"
    assert "results of nwb sessions not estimated" in check.found


# machine


def test_the_largest_job_is_one_of_a_source_that_is_downloaded(monkeypatch):
    monkeypatch.setitem(NEEDS, "preprocess_ibl", Need(3300, 1))
    monkeypatch.setitem(NEEDS, "preprocess_allen", Need(5600, 1))
    assert largest_job(PAPER_CONFIG) == ("preprocess_ibl", 2 * 3300 + SNAKEMAKE_MB), "at its second attempt"
    assert largest_job(changed(sources={"ibl": None})) == ("preprocess_allen", 5600 + SNAKEMAKE_MB)
    assert largest_job(DEMO) == ("", 0), "simulated recordings are small"


def test_less_memory_than_the_largest_job_is_a_problem(monkeypatch):
    monkeypatch.setattr("doctor.largest_job", lambda config: ("preprocess_allen", 9000))
    assert results(check_memory(PAPER_CONFIG, total=8e9)) == [("memory", "problem")]
    assert results(check_memory(PAPER_CONFIG, total=16e9)) == [("memory", "ok")]


@pytest.mark.parametrize(
    ("accelerator", "listed", "result"),
    [("gpu", "", "problem"), ("auto", "", "ok"), ("cpu", "", "ok"), ("gpu", "NVIDIA A100, 40960 MiB\n", "ok")],
)
def test_a_missing_gpu_is_a_problem_only_if_training_needs_one(monkeypatch, accelerator, listed, result):
    monkeypatch.setattr("doctor.torch_has_gpu", lambda root: True)
    config = changed(training={"accelerator": accelerator})
    (check,) = check_gpu(config, listed=listed)
    assert check.result == result
    assert ("A100" in check.found) == bool(listed)


def test_a_gpu_that_torch_cannot_use_is_a_problem(monkeypatch):
    monkeypatch.setattr("doctor.torch_has_gpu", lambda root: False)
    assert results(check_gpu(changed(training={"accelerator": "gpu"}), listed="A100\n")) == [("GPU", "problem")]
    assert results(check_gpu(changed(training={"accelerator": "auto"}), listed="A100\n")) == [("GPU", "warning")]


def test_fewer_gpus_than_devices_are_a_problem(monkeypatch):
    monkeypatch.setattr("doctor.torch_has_gpu", lambda root: True)
    config = changed(training={"accelerator": "gpu", "devices": 2})
    assert results(check_gpu(config, listed="A100\n")) == [("GPU", "problem")]


def test_shared_memory_is_a_line_only_if_there_is_too_little():
    assert results(check_shared_memory(PAPER_CONFIG, size=64e6)) == [("shared memory", "warning")]
    assert check_shared_memory(PAPER_CONFIG, size=8e9) == []
    assert check_shared_memory(DEMO, size=64e6) == [], "no processes make its batches"


def test_the_recommended_command_keeps_the_limit_of_downloads():
    line = command_line("config/demo.yaml")
    assert line.startswith("snakemake --cores ")
    assert "--configfile config/demo.yaml" in line and "downloads=8 mem_mb=" in line
    assert "--configfile" not in command_line("config/config.yaml")


# configuration


def test_a_typo_is_named(tmp_path):
    path = tmp_path / "typo.yaml"
    path.write_text((ROOT / "config" / "demo.yaml").read_text().replace("horizon_bins:", "horizn_bins:"))
    (check,) = check_configuration(str(path))
    assert check.result == "problem" and "horizn_bins" in check.found


def test_a_frozen_cohort_is_compared_with_its_hash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cohort = Path("config/cohorts/demo.tsv")
    cohort.parent.mkdir(parents=True)
    cohort.write_text((ROOT / cohort).read_text())
    demo = str(ROOT / "config" / "demo.yaml")
    assert "not frozen" in check_configuration(demo)[1].found
    digest = check_configuration(demo)[1].found.split("sha256 ")[1][:12]
    Path("config/cohorts/demo.tsv.sha256").write_text(f"{digest}0000  demo.tsv\n")
    check = check_configuration(demo)[1]
    assert check.result == "problem" and "was changed since it was frozen" in check.found


def test_recordings_that_are_absent_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROHORIZON_NWB", str(tmp_path))
    (tmp_path / "0.nwb").touch()
    (check,) = check_recordings(changed("steinmetz"), rows_of("nwb", "nwb"))
    assert check.result == "problem" and "1 of 2 files are in" in check.found and "1.nwb is not" in check.found
    local = changed(sources={"allen": {"mode": "local", "folder": str(tmp_path)}, "ibl": {"mode": "remote"}})
    assert results(check_recordings(local, None)) == [("allen recordings", "problem")]
    (tmp_path / "sessions.csv").touch()
    assert results(check_recordings(local, None)) == [("allen recordings", "ok")]


# output


def test_a_check_is_one_line_and_what_to_do_a_second():
    check = Check("disk", "problem", "1 GB free; a run needs 2 GB", "free some")
    assert as_text(check).splitlines() == [
        "problem  disk              1 GB free; a run needs 2 GB",
        "                           -> free some",
    ]
    assert as_text(Check("disk", "ok", "enough")).count("\n") == 0


def test_a_terminal_wraps_lines_below_their_own_column():
    text = as_text(Check("disk", "warning", "word " * 30, "do " * 30), width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.splitlines()[1].startswith(" " * 27 + "word")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], "No problem found."),
        (["warning"], "1 warning found."),
        (["problem", "problem", "warning"], "2 problems and 1 warning found. A run would stop."),
    ],
)
def test_the_summary_counts(found, expected):
    assert summary([Check("a", result, "") for result in found]) == expected


def doctor(config: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    python = snakemake_tools() / "python"
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [python, ROOT / "workflow" / "doctor.py", config],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_needs_no_network_and_has_no_problem(tmp_path):
    done = doctor(str(ROOT / "config" / "demo.yaml"), tmp_path, HTTPS_PROXY="http://127.0.0.1:9")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to download" in done.stdout and "problem" not in done.stdout.replace("No problem found", "")


def test_offline_the_other_checks_decide(tmp_path):
    config = changed(
        sources={"ibl": None},
        training={"accelerator": "auto", "workers": 0},
        cohort={"table": "cohort.tsv"},
        splits={"reference_fraction": 0.999},  # little to forecast needs little disk
    )
    (tmp_path / "config.yaml").write_text(config.model_dump_json())
    rows = [Row(str(one), "allen", str(one), "lab", "", "train", "", "") for one in (1, 2)]
    lines = [["session", "source", "subject", "lab", "date", "role", "fold", "why"]]
    lines += [[row.session, "allen", row.subject, "lab", "", "train", "", ""] for row in rows]
    lines += [["3", "allen", "3", "lab", "", "heldout", "main", ""]]
    (tmp_path / "cohort.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    done = doctor("config.yaml", tmp_path, HTTPS_PROXY="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")
    assert "offline" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout
    assert "1 warning found." in done.stdout
