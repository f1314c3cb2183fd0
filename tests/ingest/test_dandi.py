"""Sessions of DANDI: downloads by DANDI's client in its own environment, from a local archive that has faults."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from factories import ROOT
from factories.dandi_driver import ADA, BOB, READING, row, source
from factories.dandi_server import KEY, Asset, DandiServer, Fault
from factories.nwb_files import make_file, make_long_file
from factories.tiny_run import write_miniature
from factories.workflow import Workflow, copy_workflow, counts, files_with

from neurohorizon.cohort import CohortError, read_cohort
from neurohorizon.config import ConfigError, DandiSource, NwbSource, Splits, parse_config
from neurohorizon.ingest.dandi import _session_names
from neurohorizon.ingest.findings import decode_findings
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.nwb import ingest_assets, ingest_nwb
from neurohorizon.session import Session, SessionError, read_session

SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=0.5)
SNAKEFILE = """
rule drive:
    output:
        "made/outcomes.json",
    conda:
        "{root}/envs/dandi.yaml"
    shell:
        "PYTHONPATH={root}:{root}/tests PYTHONNOUSERSITE=1 python {root}/tests/factories/dandi_driver.py made"
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Folder with the NWB files ``ada`` and ``bob``."""
    folder = tmp_path_factory.mktemp("recordings")
    make_file(folder / "ada.nwb")
    make_file(folder / "bob.nwb", units=3)
    return folder


@pytest.fixture(scope="module")
def made(recordings, tmp_path_factory) -> Path:
    """Folder of the driver, run by the interpreter of the environment of DANDI's client."""
    project = copy_workflow(tmp_path_factory.mktemp("dandi") / "project")
    folder = project.root / "made"
    (folder / "made").mkdir(parents=True)
    for path in recordings.iterdir():
        (folder / "made" / path.name).write_bytes(path.read_bytes())
    (project.root / "drive.smk").write_text(SNAKEFILE.format(root=ROOT))
    done = project.snakemake("--snakefile", "drive.smk", "--sdm", "conda")
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="module")
def outcomes(made) -> dict:
    return json.loads((made / "outcomes.json").read_text())


@pytest.fixture
def listed(recordings, tmp_path) -> Path:
    """List of files of a session of two assets, which are there."""
    entries = {}
    for path, name in ((ADA, "ada"), (BOB, "bob")):
        content = (recordings / f"{name}.nwb").read_bytes()
        there = tmp_path / "000129" / path
        there.parent.mkdir(parents=True)
        there.write_bytes(content)
        hashes = {"sha256": hashlib.sha256(content).hexdigest(), "dandi_etag": "", "asset": name}
        entries[path] = {"path": f"000129/{path}", "size": len(content), **hashes}
    manifest = tmp_path / "list.json"
    manifest.write_text(json.dumps({"dandiset": "000129", "version": "0.1.2", "files": entries}))
    return manifest


def edit(manifest: Path, *, version: str = "0.1.2", only: str = "") -> Path:
    """Change the version of a list of files, or keep only one of them."""
    values = json.loads(manifest.read_text())
    values["files"] = {path: entry for path, entry in values["files"].items() if only in path}
    manifest.write_text(json.dumps(values | {"version": version}))
    return manifest


def same_recording(one: Session, other: Session) -> bool:
    """Compare sessions of the same content; ids of units begin with the file's name where files share them."""
    ids, others = ([name.split(":")[-1] for name in session.units["id"]] for session in (one, other))
    return (
        np.array_equal(one.spike_times_us, other.spike_times_us)
        and np.array_equal(one.spike_unit, other.spike_unit)
        and one.domain == other.domain
        and ids == others
        and one.behaviour.keys() == other.behaviour.keys()
    )


# reading


def test_assets_are_read_as_files_of_the_same_settings_are(listed, recordings, tmp_path):
    read = ingest_assets(listed, row(), source=source(tmp_path, ""), splits=SPLITS)
    settings = NwbSource(folder=".", **READING)
    files = [recordings / "ada.nwb", recordings / "bob.nwb"]
    assert same_recording(read, ingest_nwb(files, row(), source=settings, splits=SPLITS))
    assert read.behaviour.keys() == {"position"} and read.n_units == 7


def test_a_session_names_its_dandiset_its_version_and_its_assets(listed, tmp_path):
    read = ingest_assets(listed, row(), source=source(tmp_path, ""), splits=SPLITS)
    assert (read.source, read.provenance["dandiset"]) == ("dandi", "000129/0.1.2")
    assert json.loads(read.provenance["assets"]) == {ADA: "ada", BOB: "bob"}


def test_a_session_of_a_draft_has_a_warning_and_one_of_a_version_has_none(listed, tmp_path):
    def warned(version: str) -> list[str]:
        session = ingest_assets(edit(listed, version=version), row(), source=source(tmp_path, ""), splits=SPLITS)
        found = decode_findings(session.provenance["findings"])
        return [finding.message for finding in found if finding.code == "draft_version"]

    assert warned("0.1.2") == []
    (message,) = warned("draft")
    assert ADA in message and "sources.dandi.version" in message


def test_a_file_that_changed_since_its_download_is_refused(listed, tmp_path):
    path = tmp_path / "000129" / ADA
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(SourceUnavailable, match="is not what was downloaded"):
        ingest_assets(listed, row(), source=source(tmp_path, ""), splits=SPLITS)


def test_errors_name_the_settings_of_the_dandiset(listed, tmp_path):
    missing = source(tmp_path, "", valid_time="epoch")
    with pytest.raises(SessionError, match=r"sources\.dandi\.valid_time is epoch"):
        ingest_assets(edit(listed, only=ADA), row(), source=missing, splits=SPLITS)


# configuration and cohort


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dandiset", 86, 'in quotes, such as "000129"'),
        ("dandiset", "129", "pattern"),
        ("version", "latest", "pattern"),
        ("version", "0.24", "pattern"),
        ("assets", "sub-[ab]/*.nwb", "pattern"),
        ("folders", "x", "did you mean 'folder'"),
    ],
)
def test_a_setting_that_no_archive_can_answer_is_refused(key, value, message):
    values = yaml.safe_load((ROOT / "config" / "steinmetz.yaml").read_text())
    good = {**source(Path("data"), "https://api.dandiarchive.org/api").model_dump(), "version": "draft"}
    values["sources"]["dandi"] = good
    assert parse_config(values).sources.dandi.version == "draft"
    values["sources"]["dandi"] = {**good, key: value}
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        parse_config(values)
    assert f"sources.dandi.{key}" in str(refused.value)


def test_the_example_of_the_docs_is_a_configuration():
    text = (ROOT / "docs" / "own-recording.md").read_text()
    (example,) = re.findall(r"^```yaml\n(sources:\n  dandi:.*?)^```", text, flags=re.M | re.S)
    values = yaml.safe_load((ROOT / "config" / "steinmetz.yaml").read_text())
    values["sources"] |= yaml.safe_load(example)["sources"]
    assert parse_config(values).sources.dandi.dandiset == "000129"


def test_both_sources_of_files_have_the_same_settings_of_reading():
    assert NwbSource.model_fields.keys() - {"folder"} == READING.keys()
    assert DandiSource.model_fields.keys() >= READING.keys()


def test_names_of_sessions_are_unique_and_can_name_files():
    paths = ["sub-a/x.nwb", "sub-b/x.nwb", "sub-b/sub-b_ses 1 (é).nwb", "-y.nwb"]
    assert _session_names(paths) == ["sub-a_x", "sub-b_x", "sub-b_ses-1----", "y"]


# downloads


@pytest.mark.slow
def test_a_session_is_found_by_its_name_or_by_the_paths_of_its_assets(made, outcomes, recordings):
    contents = {ADA: (recordings / "ada.nwb").read_bytes(), BOB: (recordings / "bob.nwb").read_bytes()}
    for name, paths in {"name": [ADA], "path": [BOB], "two": [ADA, BOB]}.items():
        found = json.loads((made / f"{name}.json").read_text())
        assert (found["dandiset"], found["version"], found["attempt"]) == ("000129", "0.240101.1200", 0)
        assert list(found["files"]) == paths
        for path, entry in found["files"].items():
            assert (made / "dandi" / entry["path"]).read_bytes() == contents[path]
            assert entry["sha256"] == hashlib.sha256(contents[path]).hexdigest()
            assert entry["asset"] == Asset(path, contents[path]).identifier
    blobs = outcomes["good"]
    assert [len(blobs[name]) for name in ("name", "path", "two")] == [1, 1, 0], "a file is fetched once"
    assert json.loads((made / "draft.json").read_text())["version"] == "draft"


@pytest.mark.slow
def test_a_downloaded_session_is_read(made, recordings):
    read = ingest_assets(made / "path.json", row(), source=source(made / "dandi", ""), splits=SPLITS)
    settings = NwbSource(folder=".", **READING)
    assert same_recording(read, ingest_nwb(recordings / "bob.nwb", row(), source=settings, splits=SPLITS))


WITHSTOOD = (
    "quiet",
    "embargoed, key",
    "500 of lists",
    "503 of metadata",
    "429 of addresses",
    "429 of lists",
    "page of an error",
    "list stalls",
    "blob stalls",
    "blob is cut",
    "damaged once",
    "only etag",
    "only etag, damaged once",
)


@pytest.mark.slow
@pytest.mark.parametrize("scene", WITHSTOOD)
def test_a_fault_that_passes_costs_only_time(outcomes, scene):
    found = outcomes["scenes"][scene]
    assert found["result"] == "fine"
    assert found["same"] == {f"000129/{ADA}": True}
    assert not found["parts"]
    assert found["seconds"] < 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scene", "message"),
    [
        ("no asset", r"SessionError: .*has no asset sub-Ada_ses-9\.nwb that matches .*the column `file`"),
        ("other case", "SessionError: .*has no asset SUB-ADA"),
        ("two of a name", rf"SessionError: .*2 assets ecephys\.nwb: {re.escape(BOB)}, .*write one path"),
        ("outside by name", r"SessionError: .*no asset sub-Ada_sorted\.nwb that matches sources\.dandi\.assets"),
        ("outside by path", "SessionError: .*no asset derivatives/.*correct the column `file`"),
        ("prefix of a path", "SessionError: .*no asset"),
        ("no version", r"SourceUnavailable: .*no dandiset 000129 version 0\.1\.2; correct sources\.dandi"),
        ("no dandiset", "SourceUnavailable: .*no dandiset 999999"),
        ("embargoed", "SourceUnavailable: .*embargoed.*set DANDI_API_KEY"),
        ("wrong key", "SourceUnavailable: .*set DANDI_API_KEY"),
        ("zarr", "SessionError: .*ZARR asset; expected one HDF5 file"),
        ("outside of its folder", "SessionError: .*leaves its folder; refused"),
        ("other form of lists", r"SourceUnavailable: .*that dandi \S+ cannot read .*update envs/dandi\.in"),
        ("down for long", r"SourceUnavailable: .*gave no answer for .*\(HTTP 503\)"),
        ("damaged always", "PassingFault: .*damaged in each of 3 downloads: its sha256"),
        ("other hash", "PassingFault: .*its sha256 is .* expected 0000"),
        ("metadata gone", "SessionError: .*is listed, but not offered"),
        ("blob gone", "SessionError: .*is listed, but not offered"),
        ("metadata gone, draft", "PassingFault: .*was replaced in the draft"),
        ("blob gone, draft", "PassingFault: .*was replaced in the draft"),
        ("other etag", r"PassingFault: .*its dandi-etag is \w+-1, expected 0000"),
        ("no hash", "PassingFault: .*no hash in the archive yet"),
    ],
)
def test_a_fault_that_stays_is_named_and_leaves_no_file(outcomes, scene, message):
    found = outcomes["scenes"][scene]
    assert re.match(message, found["result"]), found["result"]
    assert not found["same"]
    assert not found["files"]
    assert found["seconds"] < 60


@pytest.mark.slow
def test_a_download_that_was_lost_goes_on_where_it_was_at_a_new_address(outcomes):
    # the store accepts a signed address once
    assert outcomes["scenes"]["blob is cut"]["continued"] == ["bytes=70000-"]
    assert outcomes["scenes"]["blob stalls"]["continued"] == ["bytes=50000-", "bytes=100000-"]


@pytest.mark.slow
def test_the_key_is_sent_to_the_archive_and_not_to_the_store(outcomes):
    assert outcomes["scenes"]["embargoed, key"]["keys"] == [[False, f"token {KEY}"], [True, ""]]


@pytest.mark.slow
def test_the_client_talks_to_the_archive_only(outcomes):
    assert outcomes["network"] == {"elsewhere": [], "etelemetry": False}


@pytest.mark.slow
def test_a_draft_of_a_cohort_needs_only_its_roles(made, outcomes, tmp_path):
    text = (made / "cohort.tsv").read_text()
    header, *lines = (line.split("\t") for line in text.splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert [one["file"] for one in rows] == sorted([ADA, BOB, "sub-Ada/ecephys.nwb"]), "derivatives do not match"
    assert {one["subject"] for one in rows} == {"Ada", "Bob"}
    assert all(one["source"] == "dandi" and int(one["bytes"]) > 250_000 for one in rows)
    table = tmp_path / "mine.tsv"
    table.write_text(text)
    with pytest.raises(CohortError, match="unknown role ''"):
        read_cohort(table)
    roles = {"Ada": ("train", ""), "Bob": ("heldout", "main")}
    for one in rows:
        one["role"], one["fold"] = roles[one["subject"]]
    table.write_text("\n".join("\t".join(one) for one in [header, *(one.values() for one in rows)]) + "\n")
    assert {one.recording_names[0] for one in read_cohort(table)} == {one["file"] for one in rows}
    assert "no asset of dandiset 000129" in outcomes["good"]["no asset"]


# the workflow


def write_run(project: Workflow, api_url: str, sessions: dict[str, str]) -> Path:
    """Write a configuration and a cohort of sessions of the dandiset, by name and role."""
    off = dict.fromkeys(("rollout", "multimodal", "poyo", "regressions", "cross_session", "scaling", "downstream"))
    path = write_miniature(project.root, **off, ablations=None)
    values = yaml.safe_load(path.read_text())
    dandi = source(Path("data/dandi"), api_url, region=None, trials=False, behaviour={}).model_dump()
    values["sources"] = dict.fromkeys(values["sources"]) | {"dandi": dandi}
    values["cohort"] |= {"table": "config/cohorts/dandi.tsv", "on_fatal": "leave_out"}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    if sessions:
        rows = [f"{name}\tdandi\t{name[4:7]}\t\t\t{role}\t" for name, role in sessions.items()]
        header = "session\tsource\tsubject\tlab\tdate\trole\tfold\twhy"
        (project.root / "config/cohorts/dandi.tsv").write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.slow
def test_a_run_reads_what_is_there_and_the_next_run_tries_only_what_was_damaged_again(workflow, tmp_path):
    names = ("Ada", "Bob")
    files = {name: make_long_file(tmp_path / f"{name}.nwb", subject=name).read_bytes() for name in names}
    archive = DandiServer([Asset(f"sub-{name}/sub-{name}_ephys.nwb", files[name]) for name in names])
    sessions = {"sub-Ada_ephys": "train\t", "sub-Bob_ephys": "heldout\tmain", "sub-Cyd_ephys": "heldout\tmain"}
    path = write_run(workflow, archive.api_url, sessions)
    results = Path("results/miniature/sessions/dandi")
    wanted = [results / f"{name}.h5" for name in sessions]

    def run() -> tuple[dict[str, str | None], str]:
        done = workflow.snakemake(*wanted, "--configfile", path, DANDI_API_KEY=KEY)
        assert done.returncode == 0, done.stdout
        read = [read_session(workflow.root / path) for path in wanted]
        return {one.subject: one.left_out for one in read}, done.stdout

    archive.faults = [Fault(f"^/blobs/{archive.assets[1].identifier}", flip=True, times=10**6)]
    left_out, shown = run()
    assert left_out["Ada"] is None
    assert (workflow.root / "data/dandi/000129/sub-Ada/sub-Ada_ephys.nwb").read_bytes() == files["Ada"]
    assert "sub-Bob_ephys.nwb is damaged in each of 3 downloads" in left_out["Bob"]
    assert "has no asset sub-Cyd_ephys.nwb" in left_out["Cyd"]
    assert "sub-Ada_ephys.nwb: " in shown and "(100 %)" in shown, "progress is printed"
    archive.faults = []
    left_out, shown = run()
    archive.close()
    assert files_with(workflow.root / "results", KEY) + files_with(workflow.root / ".snakemake", KEY) == []
    assert (left_out["Bob"], left_out["Ada"]) == (None, None)
    assert counts(shown)["download_dandi"] == counts(shown)["preprocess_dandi"] == 1


@pytest.mark.slow
def test_a_draft_of_a_cohort_is_written_before_there_is_a_cohort(workflow):
    archive = DandiServer([Asset("sub-Ada/sub-Ada_ephys.nwb", b"ada"), Asset("sub-Bob/sub-Bob_ephys.nwb", b"bob")])
    path = write_run(workflow, archive.api_url, {})
    done = workflow.snakemake("dandi_cohort", "--configfile", path)
    archive.close()
    assert done.returncode == 0, done.stdout
    assert "sub-Bob_ephys\tdandi\tBob" in (workflow.root / "results/miniature/cohort/dandi.tsv").read_text()
    other = workflow.snakemake("-n", "--configfile", path)
    assert other.returncode != 0
    assert "there is no cohort table" in other.stdout
    assert "draft of `snakemake dandi_cohort`" in other.stdout
