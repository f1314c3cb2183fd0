"""`snakemake first_session` reads one session of each source end to end, and compares it with what is expected."""

import json

import pytest
import yaml
from factories.file_server import unused_port
from factories.ibl_archive import write_archives
from factories.tiny_run import write_miniature
from factories.workflow import copy_workflow

from neurohorizon.cohort import read_cohort
from neurohorizon.config import read_config
from neurohorizon.ingest.simulated.ibl import simulate_release, simulated_sessions

pytestmark = pytest.mark.slow

RUN = ("first_session", "--configfile", "config/miniature.yaml")
RESULTS = "results/miniature/first_session"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy the project with a miniature of the demo, whose releases are simulated."""
    copy = copy_workflow(tmp_path_factory.mktemp("first") / "project")
    write_miniature(copy.root)
    return copy


def write_settings(project, **expected: dict) -> None:
    """Write the file of settings: the first session of each source, and the expected numbers by source."""
    rows = read_cohort(project.root / "config" / "cohorts" / "miniature.tsv")
    sessions = {}
    for source in ("ibl", "allen"):
        row = next(row for row in rows if row.source == source)
        named = {name: getattr(row, name) for name in ("session", "subject", "lab", "date")}
        numbers = {"subject": row.subject, "spikes": None} | expected.get(source, {})
        sessions[source] = {"row": named | {"extras": dict(row.extras)}, "expected": numbers}
    settings = {"outage_hours": 0.001, "sessions": sessions}
    (project.root / "config" / "cohorts" / "first_session.yaml").write_text(yaml.safe_dump(settings))


def numbers(project, source: str) -> dict:
    listed = json.loads((project.root / RESULTS / f"{source}.json").read_text())
    return {row["name"]: row for row in listed["numbers"]}


def test_sessions_of_simulated_releases_are_read_compared_and_recorded(project):
    write_settings(project)
    done = project.snakemake(*RUN)
    assert done.returncode == 0, done.stdout
    for source in ("ibl", "allen"):
        found = numbers(project, source)
        assert found["units"]["found"] > 5 and found["spikes"]["found"] > 1000
        assert found["subject"]["origin"] == "config/cohorts/first_session.yaml"
        recorded = json.loads((project.root / RESULTS / "recorded" / f"{source}_local.json").read_text())
        assert recorded["spikes"] == found["spikes"]["found"]
    assert numbers(project, "ibl")["trials"]["found"] > 0
    assert numbers(project, "allen")["stimuli"]["found"] > 0
    assert "recorded now, compared by later runs" in done.stdout

    units = numbers(project, "ibl")["units"]["found"]
    write_settings(project, ibl={"units": units + 1})
    wrong = project.snakemake(*RUN)
    assert wrong.returncode != 0
    assert f"units: found {units}, expected {units + 1} (config/cohorts/first_session.yaml)" in wrong.stdout
    assert "\ncheck_first_session failed: session " in wrong.stdout, "the reason is repeated at the end"
    assert not (project.root / RESULTS / "ibl.json").exists()
    assert (project.root / RESULTS / "recorded" / "ibl_local.json").exists(), "what was recorded stays"


def test_a_session_of_the_ibls_archive_is_compared_too(project):
    config = read_config(project.root / "config" / "miniature.yaml")
    settings = {"simulated": config.sources.simulated, "timeline": config.timeline, "seed": 5}
    simulate_release(project.root / "alf", project.root / "truth", **settings)
    # unpacked, as the hash of a written tar file is not the published one
    sessions = simulated_sessions(config.sources.simulated)
    write_archives(project.root / "alf", project.root / "data" / "ibl", sessions, unpacked=True)
    values = yaml.safe_load((project.root / "config" / "miniature.yaml").read_text())
    values["sources"]["ibl"] |= {"mode": "archive", "folder": "data/ibl"}
    values["sources"] |= {"simulated": None, "simulated_allen": None, "allen": None}
    (project.root / "config" / "archive.yaml").write_text(yaml.safe_dump(values))
    write_settings(project, ibl={"units": {"local": 0, "archive": None}})
    done = project.snakemake("first_session", "--configfile", "config/archive.yaml")
    assert done.returncode == 0, done.stdout
    found = numbers(project, "ibl")
    assert found["units"]["found"] > 5 and found["units"]["origin"] == ""
    assert any(name.startswith("sha256 of spikes/") for name in found), "parts of the archive have hashes"
    assert (project.root / RESULTS / "recorded" / "ibl_archive.json").exists()


def test_offline_it_stops_soon_and_ends_with_a_line_for_each_archive(project, tmp_path):
    closed = f"http://127.0.0.1:{unused_port()}"
    write_settings(project)
    values = yaml.safe_load((project.root / "config" / "miniature.yaml").read_text())
    values["run"]["results"] = str(tmp_path / "results")
    values["sources"] |= {"simulated": None, "simulated_allen": None}
    for source in ("ibl", "allen"):
        values["sources"][source] |= {"mode": "remote", "base_url": closed, "folder": str(tmp_path / source)}
    (project.root / "config" / "remote.yaml").write_text(yaml.safe_dump(values))
    account = {"ALYX_LOGIN": "somebody", "ALYX_PWD": "a word", "HOME": str(tmp_path)}
    done = project.snakemake("first_session", "--configfile", "config/remote.yaml", **account)
    assert done.returncode != 0
    end = done.stdout.split("Exiting because a job execution failed")[1].splitlines()
    reasons = [line for line in end if " failed: " in line]
    assert [line.split(" ")[0] for line in sorted(reasons)] == ["first_download_allen", "first_download_ibl"]
    assert all("127.0.0.1" in line for line in reasons), reasons
    assert "a word" not in done.stdout
