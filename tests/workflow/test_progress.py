"""The lines about downloads at the start and the end of a run count the lists of files that are there."""

import json

import pytest
from factories import ROOT
from needs import DOWNLOADS
from progress import lines_at_error, lines_at_start, lines_at_success, read_downloads, reasons, remaining_bytes

from neurohorizon.cohort import Row
from neurohorizon.config import parse_config, read_config

PAPER = read_config(ROOT / "config" / "config.yaml")


def row(name: str, source: str = "allen", probes: str = "") -> Row:
    return Row(name, source, f"animal {name}", "lab", "", "train", "", "", {"probes": probes})


@pytest.fixture
def config(tmp_path):
    """Return the paper's configuration with another results folder, and all sources downloaded."""
    values = PAPER.model_dump()
    values["run"]["results"] = str(tmp_path)
    values["sources"]["ibl"]["mode"] = "remote"
    return parse_config(json.loads(json.dumps(values)))


@pytest.fixture
def lists(tmp_path):
    """Return a function that writes the list of a session's files."""

    def write(name: str, listed: object, source: str = "allen") -> None:
        path = tmp_path / "raw" / source / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(listed if isinstance(listed, str) else json.dumps(listed))

    return write


def files(*sizes: int, name: str = "a") -> dict:
    entries = {f"{name}{number}": {"path": f"{name}{number}", "size": size} for number, size in enumerate(sizes)}
    return {"files": entries, "attempt": 0}


def test_an_empty_run_fetches_all_sessions(config):
    rows = [row("1"), row("2"), row("x", "ibl", "probe00,probe01")]
    assert lines_at_start(config, rows) == [
        "Downloads of ibl: none of 1 sessions is there; 1 to fetch, about 480 MB.",
        "Downloads of allen: none of 2 sessions is there; 2 to fetch, about 6.03 GB.",
    ]
    assert lines_at_success(config, rows) == [], "a run for another target downloads nothing"
    assert lines_at_error(config, rows) == [
        "Started again, the run continues its downloads: files and parts of files that are there are kept."
    ]


def test_sessions_that_are_there_left_out_and_tried_again_are_counted(config, lists):
    lists("1", files(2_000_000_000, 500_000_000, name="one"))
    lists("2", {"left_out": "it is not in the release", "passing": False, "attempt": 0})
    lists("3", {"left_out": "damaged in three downloads", "passing": True, "attempt": 0})
    rows = [row(name) for name in "1234"]
    assert lines_at_start(config, rows) == [
        "Downloads of allen: 1 of 4 sessions are there (2.5 GB); 2 to fetch, about 5.03 GB, 1 of them tried again; "
        "1 left out."
    ]
    end = (
        "Downloads of allen: 1 of 4 sessions are there (2.5 GB); 1 not yet; 2 left out, 1 of them for a passing "
        "reason: started again, these are tried again."
    )
    assert lines_at_success(config, rows) == [end]
    assert lines_at_error(config, rows)[0] == end


def test_a_finished_download_has_nothing_to_fetch(config, lists):
    lists("1", files(5_000_000))
    assert lines_at_start(config, [row("1")]) == ["Downloads of allen: all 1 sessions are there (5 MB)."]
    assert lines_at_error(config, [row("1")]) == ["Downloads of allen: all 1 sessions are there (5 MB)."]
    assert remaining_bytes(config, [row("1")], "allen") == 0


def test_files_of_several_sessions_count_once_and_parts_of_one_file_count_all(config, lists):
    lists("1", {"files": [{"path": "tables.csv", "size": 10}, {"path": "1.nwb", "size": 1000}]})
    lists("2", {"files": [{"path": "tables.csv", "size": 10}, {"path": "2.nwb", "size": 3000}]})
    parts = [{"path": "all.tar", "offset": 0, "size": 7}, {"path": "all.tar", "offset": 512, "size": 8}]
    lists("x", {"files": parts}, "ibl")
    rows = [row("1"), row("2"), row("x", "ibl")]
    assert read_downloads(config, rows, "allen").size == 4010
    assert read_downloads(config, rows, "ibl").size == 15


@pytest.mark.parametrize("listed", ["", "[]", '{"files": [{}]}', '{"files": 3}'])
def test_a_list_that_cannot_be_read_counts_as_not_downloaded(config, lists, listed):
    lists("1", listed)
    assert len(read_downloads(config, [row("1")], "allen").missing) == 1


def test_an_archive_of_all_sessions_is_fetched_once(config, tmp_path):
    rows = [row("1"), row("2")]
    before = remaining_bytes(config, rows, "allen")
    path = tmp_path / "raw" / "allen_archive" / "all.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert before - remaining_bytes(config, rows, "allen") == DOWNLOADS["allen", "remote"].whole


def test_sources_without_downloads_have_no_lines():
    demo = read_config(ROOT / "config" / "demo.yaml")
    assert lines_at_start(demo, [row("1")]) == lines_at_error(demo, [row("1")]) == lines_at_start(demo, None) == []


def test_before_the_cohort_is_made_there_is_nothing_to_count(config):
    assert lines_at_start(config, None) == [
        "Downloads: counted when the cohort table is there; a job of this run makes it."
    ]
    assert lines_at_success(config, None) == lines_at_error(config, None) == []


LOG = """Finished jobid: 1 (Rule: download_ibl)
Error in rule download_allen:
    message: None
    jobid: 6
    output: results/raw/allen/1.json
    log: {folder}/allen.log (check log file(s) for error details)
    shell:
        python "$CALL"
Error in rule train:
    jobid: 7
    log: {folder}/train.log (check log file(s) for error details)
Error in rule score:
    jobid: 8
    log: {folder}/absent.log (check log file(s) for error details)
Error in rule download_allen:
    jobid: 6
    log: {folder}/allen.log (check log file(s) for error details)
"""


def test_each_failed_job_has_its_reason_once(tmp_path):
    (tmp_path / "run.log").write_text(LOG.format(folder=tmp_path))
    (tmp_path / "allen.log").write_text(
        "10:00:00 https://a: ConnectionError; next attempt in 2 s\ndownload_allen: no answer\nset this\n\n"
    )
    (tmp_path / "train.log").write_text('Traceback (most recent call last):\n  File "a.py"\nKeyError: 3\n')
    assert reasons([tmp_path / "run.log"]) == [
        "download_allen failed: no answer\nset this",
        "train failed: KeyError: 3",
        f"score failed: its log {tmp_path}/absent.log is empty; its process was perhaps killed, as for want of "
        "memory or disk",
    ]
    assert reasons([tmp_path / "no.log"]) == []
