"""Downloads of IBL sessions by the true ONE from a database and file servers on this machine, with their faults."""

import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories.alyx_server import TOKEN, AlyxServer, Fault
from factories.ibl_sessions import SIMULATED, SPLITS, TIMELINE, row_of
from one.params import get as get_parameters
from one.params import save as save_parameters

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.ingest import downloads, ibl_download, ibl_one
from neurohorizon.ingest.findings import decode_findings
from neurohorizon.ingest.ibl import ingest_ibl
from neurohorizon.ingest.ibl_download import download_ibl, download_session
from neurohorizon.ingest.ibl_one import open_one
from neurohorizon.ingest.ibl_release import RELEASE_TAGS, fetch_ibl_release
from neurohorizon.ingest.leave_out import PassingFault, SourceUnavailable
from neurohorizon.ingest.simulated.ibl import simulate_release, simulated_sessions
from neurohorizon.session import SessionError

SMALL = SIMULATED.model_copy(update={"labs": 1, "units": (8, 12), "silent_units": 0})
NAMED = simulated_sessions(SMALL)[0]
PASSWORD = "a password that must not be seen"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    simulate_release(folder / "release", folder / "truth", simulated=SMALL, timeline=TIMELINE, seed=5)
    return folder / "release"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty home with credentials in the environment, and waits of milliseconds."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("one.params.CACHE_DIR_DEFAULT", str(home / "ONE"))
    monkeypatch.setenv("ALYX_LOGIN", "somebody")
    monkeypatch.setenv("ALYX_PWD", "a password")
    monkeypatch.delenv("ALYX_TOKEN", raising=False)
    monkeypatch.setattr(downloads, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(ibl_download, "OTHER_ADDRESS_AFTER_HOURS", 0.05 / 3600)
    for module in (downloads, ibl_one):
        monkeypatch.setattr(module, "TIMEOUT_S", (1.0, 0.5))
    return home


@pytest.fixture
def release(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "release")
    return tmp_path / "release"


@pytest.fixture
def server(release):
    with AlyxServer(release).running() as running:
        yield running


def source(server: AlyxServer, folder: Path, **changes) -> IblSource:
    usual = {
        "mode": "remote",
        "folder": str(folder),
        "base_url": server.url,
        "revision": None,
        "minimum_label": 1.0,
        "outage_hours": 1.0 / 3600,
        "wheel_rate_hz": 250.0,
    }
    return IblSource(**(usual | changes))


def row(**extras: str) -> Row:
    return row_of(NAMED, **({"number": "1"} | extras))


def fetch(server: AlyxServer, tmp_path: Path, **changes):
    """Download the session by its id; return the list of its files and the session."""
    settings, one_row = source(server, tmp_path / "d", **changes), row(eid=next(iter(server.sessions)))
    listed = download_session(one_row, source=settings)
    (tmp_path / "m.json").write_text(json.dumps(listed))
    return listed, ingest_ibl(tmp_path / "m.json", one_row, source=settings, splits=SPLITS)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("alf/**/*") if path.is_file() and not path.name.startswith(".")}


FILES = {
    "spikes.times.npy",
    "spikes.clusters.npy",
    "clusters.channels.npy",
    "clusters.metrics.pqt",
    "clusters.uuids.csv",
    "channels.brainLocationIds_ccf_2017.npy",
    "_ibl_trials.table.pqt",
    "_ibl_wheel.timestamps.npy",
    "_ibl_wheel.position.npy",
}


def test_a_session_is_downloaded_file_by_file_and_no_more(server, release, tmp_path, capfd):
    listed, read = fetch(server, tmp_path)
    assert files_in(tmp_path / "d") == FILES
    assert read.provenance["release"] == server.url
    assert (listed["missing"], listed["notes"]) == ([], [])
    assert not [path for path in server.requests if "/public/" in path], "the bucket is tried first"
    for entry in listed["files"]:
        assert (tmp_path / "d" / entry["path"]).read_bytes() == (release / entry["path"]).read_bytes()
    assert f"{NAMED.session}: 9 files, 0 are there, 9 to download" in capfd.readouterr().err


def test_a_session_is_found_by_its_subject_and_date(server, tmp_path):
    listed = download_session(row(), source=source(server, tmp_path / "d"))
    assert listed["eid"] in server.sessions


def test_files_that_are_there_are_not_fetched_again(server, tmp_path, capfd):
    first, _ = fetch(server, tmp_path)
    server.requests.clear()
    next((tmp_path / "d").rglob("clusters.uuids.csv")).unlink()
    half = next((tmp_path / "d").rglob("spikes.times.npy"))
    half.write_bytes(half.read_bytes()[:5000])
    again, _ = fetch(server, tmp_path)
    assert server.downloaded() == ["clusters.uuids.csv", "spikes.times.npy"]
    assert again == first
    assert "7 are there, 2 to download" in capfd.readouterr().err


def test_a_session_that_the_database_does_not_have_is_an_error_of_the_session(server, tmp_path):
    server.faults = [Fault(r"/sessions/", 404)]
    with pytest.raises(SessionError, match=r"is not in the release: .*HTTP 404") as found:
        fetch(server, tmp_path)
    assert not isinstance(found.value, PassingFault)


@pytest.mark.parametrize(
    ("eid", "message"),
    [("00000000-0000-4000-8000-000000000000", "is not in the release"), ("nonsense", "eid 'nonsense' in the cohort")],
)
def test_an_id_of_no_session_is_an_error_of_the_session(server, tmp_path, eid, message):
    with pytest.raises(SessionError, match=message):
        download_session(row(eid=eid), source=source(server, tmp_path / "d"))


@pytest.mark.parametrize("status", [404, 410])
def test_an_optional_file_that_is_not_offered_is_missing(server, tmp_path, status):
    server.faults = [Fault(r"clusters\.uuids", status), Fault(r"wheel\.position", status)]
    listed, read = fetch(server, tmp_path)
    assert listed["missing"] == ["probe00/clusters.uuids", "wheel.timestamps+position"]
    assert "wheel" not in read.behaviour
    assert "wheel.timestamps" not in {entry["table"] for entry in listed["files"]}


def test_a_needed_file_that_is_not_offered_is_an_error_of_the_session(server, tmp_path):
    server.faults = [Fault(r"spikes\.clusters", 404)]
    with pytest.raises(SessionError, match=r"spikes\.clusters\.npy is listed, but .*HTTP 404") as found:
        fetch(server, tmp_path)
    assert not isinstance(found.value, PassingFault)


def test_a_file_is_fetched_from_its_other_address(server, tmp_path):
    server.faults = [Fault(r"/bucket/.*spikes\.times", 404), Fault(r"/bucket/.*spikes\.clusters", 503)]
    assert fetch(server, tmp_path)[0]["missing"] == []
    assert len([path for path in server.requests if "/public/" in path]) == 2


def test_a_file_without_a_copy_now_may_have_one_later(server, tmp_path):
    server.dataset("spikes.times.npy")["copies"] = {"lab": None}
    server.dataset("clusters.uuids.csv")["copies"] = {}
    with pytest.raises(PassingFault, match=r"spikes\.times\.npy is listed, but .* offers no copy of it now"):
        fetch(server, tmp_path)
    del server.dataset("spikes.times.npy")["copies"]
    assert fetch(server, tmp_path)[0]["missing"] == ["probe00/clusters.uuids"]


def test_a_session_without_any_file_may_have_some_later(server, tmp_path):
    next(iter(server.sessions.values()))["data_dataset_session_related"] = []
    with pytest.raises(PassingFault, match="lists no file of it now"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("kind", [429, 500, 503, "stall", "cut"])
@pytest.mark.parametrize("pattern", ["/auth-token", "/sessions/", "/datasets", r"spikes\.times", r"metrics"])
def test_a_server_that_fails_for_a_while_is_waited_for(server, tmp_path, kind, pattern):
    server.faults = [Fault(pattern, kind, times=2, headers={"Retry-After": "0"} if kind == 429 else {})]
    listed, _ = fetch(server, tmp_path, outage_hours=10 / 3600)
    assert server.faults[0].times == 0
    assert len(listed["files"]) == len(FILES)


@pytest.mark.parametrize("kind", [429, 500, "stall"])
@pytest.mark.parametrize("pattern", ["/auth-token", "/sessions/", r"spikes\.times"])
def test_a_server_that_stays_away_stops_the_job_in_one_line(server, tmp_path, kind, pattern):
    server.faults = [Fault(pattern, kind)]
    start = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"gave no answer for") as found:
        fetch(server, tmp_path, outage_hours=0.3 / 3600)
    assert time.monotonic() - start < 60
    assert "\n" not in str(found.value)
    assert "a password" not in str(found.value)


def test_a_slow_file_is_no_stalled_one(server, tmp_path):
    server.faults = [Fault(r"spikes\.times", "slow")]
    start = time.monotonic()
    assert len(fetch(server, tmp_path)[0]["files"]) == len(FILES)
    assert time.monotonic() - start > downloads.TIMEOUT_S[1]
    assert server.downloaded().count("spikes.times.npy") == 1


@pytest.mark.parametrize(
    ("pattern", "kind", "passing"),
    [("/sessions/", 404, False), (r"spikes\.times", 404, False), (r"spikes\.times", "damage", True)],
)
def test_a_session_that_cannot_be_downloaded_is_left_out_with_its_reason(server, tmp_path, pattern, kind, passing):
    settings = {"row": row(eid=next(iter(server.sessions))), "ibl": source(server, tmp_path / "d")}
    server.faults = [Fault(pattern, kind)]
    download_ibl(**settings, on_fatal="leave_out", attempt=2, output=tmp_path / "m.json")
    listed = json.loads((tmp_path / "m.json").read_text())
    assert (listed["passing"], listed["attempt"]) == (passing, 2)
    assert listed["left_out"].count("\n") <= 2
    with pytest.raises(SessionError):
        download_ibl(**settings, on_fatal="stop", attempt=2, output=tmp_path / "n.json")
    assert not (tmp_path / "n.json").exists()
    server.faults = []
    download_ibl(**settings, on_fatal="stop", attempt=3, output=tmp_path / "m.json")
    assert len(json.loads((tmp_path / "m.json").read_text())["files"]) == len(FILES)


@pytest.mark.parametrize(("pattern", "status"), [("/auth-token", 400), ("/auth-token", 403), ("/sessions/", 401)])
def test_a_refusal_names_the_credentials_and_is_not_tried_again(server, tmp_path, pattern, status):
    server.faults = [Fault(pattern, status)]
    with pytest.raises(SourceUnavailable, match=rf"HTTP {status}\); check ALYX_LOGIN and ALYX_PWD, or ALYX_TOKEN"):
        fetch(server, tmp_path)
    assert len([path for path in server.requests if pattern in path]) == 1


def test_a_wrong_password_is_neither_shown_nor_tried_again(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ALYX_PWD", PASSWORD)
    with pytest.raises(SourceUnavailable, match="check ALYX_LOGIN") as found:
        fetch(server, tmp_path)
    assert PASSWORD not in str(found.value)


def test_a_file_damaged_once_is_fetched_again(server, tmp_path):
    server.faults = [Fault(r"spikes\.times", "damage", times=1)]
    assert fetch(server, tmp_path)[0]["notes"] == []
    assert server.downloaded().count("spikes.times.npy") == 2


def test_a_needed_file_that_is_always_damaged_is_a_passing_fault_and_an_optional_one_is_missing(server, tmp_path):
    server.faults = [Fault(r"spikes\.times", "damage")]
    with pytest.raises(PassingFault, match=r"spikes\.times\.npy differs from the database and from itself in each"):
        fetch(server, tmp_path)
    assert "spikes.times.npy" not in files_in(tmp_path / "d")
    server.faults = [Fault(r"clusters\.uuids", "damage")]
    assert fetch(server, tmp_path)[0]["missing"] == ["probe00/clusters.uuids"]


def test_a_stale_size_does_not_count_where_the_hash_is_right(server, tmp_path):
    server.dataset("_ibl_wheel.position.npy")["file_size"] //= 6
    listed, _ = fetch(server, tmp_path)
    assert listed["notes"] == []
    assert server.downloaded().count("_ibl_wheel.position.npy") == 1


@pytest.mark.parametrize("name", ["clusters.uuids.csv", "spikes.times.npy"])
def test_a_stale_hash_is_noted_and_the_file_is_kept(server, tmp_path, name):
    _, sound = fetch(server, tmp_path)
    server.dataset(name)["hash"] = "0" * 32
    shutil.rmtree(tmp_path / "d")
    server.requests.clear()
    listed, read = fetch(server, tmp_path)
    assert server.downloaded().count(name) == 2
    assert [note[0] for note in listed["notes"]] == ["stale_record"]
    assert read.units["id"].tolist() == sound.units["id"].tolist()
    found = decode_findings(read.provenance["findings"])
    assert [(finding.code, finding.severity) for finding in found] == [("stale_record", "warning")]
    assert name in found[0].message
    server.requests.clear()
    assert fetch(server, tmp_path)[0] == listed
    assert server.downloaded() == [name], "the file that is there counts as one of the two"


def test_a_file_whose_record_has_neither_size_nor_hash_is_taken(server, tmp_path):
    server.dataset("spikes.times.npy").update(file_size=None, hash=None)
    listed, _ = fetch(server, tmp_path)
    assert len(listed["files"]) == len(FILES)


def revised(release: Path) -> Path:
    """Give a release the shape of the Brain-Wide Map: revisions, older spike sorting, and a repaired wheel."""
    alf = release / NAMED.folder / "alf"
    sorter = alf / "probe00" / "pykilosort"
    new = sorter / "#2024-05-06#"
    shutil.copytree(sorter, new)
    times_s, clusters = np.load(sorter / "spikes.times.npy"), np.load(sorter / "spikes.clusters.npy")
    older = clusters < clusters.max()
    np.save(sorter / "spikes.times.npy", times_s[older])
    np.save(sorter / "spikes.clusters.npy", clusters[older])
    np.save(alf / "probe00" / "spikes.times.npy", times_s[older])
    pd.read_parquet(sorter / "clusters.metrics.pqt").to_csv(alf / "probe00" / "clusters.metrics.csv", index=False)
    (new / "passingSpikes.table.pqt").write_bytes(b"x")
    for revision, marker in (("2024-07-15", 0.0), ("2025-03-03", 1.0), ("2026-02-01", 2.0)):
        (alf / f"#{revision}#").mkdir()
        table = pd.read_parquet(alf / "_ibl_trials.table.pqt").assign(marker=marker)
        table.to_parquet(alf / f"#{revision}#" / "_ibl_trials.table.pqt")
    wheel = alf / "#2024-05-06#"
    wheel.mkdir()
    np.save(wheel / "_ibl_wheel.position.npy", -np.load(alf / "_ibl_wheel.position.npy"))
    shutil.copy(alf / "_ibl_wheel.timestamps.npy", wheel)
    return alf


def test_the_revisions_of_the_brain_wide_map_are_taken(release, tmp_path):
    with AlyxServer(release).running() as plain:
        _, before = fetch(plain, tmp_path)
    shutil.rmtree(tmp_path / "d")
    revised(release)
    with AlyxServer(release).running() as server:
        listed, read = fetch(server, tmp_path, revision="2025-12-31")
        revisions = {entry["table"]: entry["revision"] for entry in listed["files"]}
        sorting = {name for name in revisions if name.startswith(("spikes", "clusters", "channels"))}
        assert {revisions[name] for name in sorting} == {"2024-05-06"}
        assert (revisions["trials.table"], revisions["wheel.position"]) == ("2025-03-03", "2024-05-06")
        assert set(read.trials["marker"]) == {1.0}
        assert np.array_equal(read.spike_times_us, before.spike_times_us)
        np.testing.assert_allclose(read.behaviour["wheel"].values, -before.behaviour["wheel"].values, atol=1e-9)
        assert set(fetch(server, tmp_path)[1].trials["marker"]) == {2.0}, "without a limit, the default revision"


def saved_token(server: AlyxServer, token: str = "saved before") -> Path:
    """Save a token as ONE does; return the file."""
    save_parameters(
        get_parameters(server.url, silent=True, username="somebody").set("TOKEN", {"somebody": {"token": token}}),
        server.url,
    )
    return next(path for path in Path(os.environ["HOME"], ".one").iterdir() if token in path.read_text())


@pytest.mark.parametrize("names", [("ALYX_LOGIN", "ALYX_PWD"), ("ALYX_LOGIN", "ALYX_TOKEN"), ("ALYX_TOKEN",), ()])
def test_the_saved_token_of_the_user_is_never_changed(server, tmp_path, monkeypatch, names):
    path = saved_token(server)
    before = path.read_bytes()
    values = {"ALYX_LOGIN": "somebody", "ALYX_PWD": "a password", "ALYX_TOKEN": TOKEN}
    for name, value in values.items():
        monkeypatch.setenv(name, value) if name in names else monkeypatch.delenv(name, raising=False)
    fetch(server, tmp_path)
    assert path.read_bytes() == before


def test_a_saved_token_that_the_server_refuses_stays(server, tmp_path, monkeypatch):
    path = saved_token(server)
    before = path.read_bytes()
    for name in ("ALYX_LOGIN", "ALYX_PWD"):
        monkeypatch.delenv(name)
    server.faults = [Fault("/sessions/", 403)]
    with pytest.raises(SourceUnavailable, match=r"HTTP 400.* check ALYX_LOGIN"):
        fetch(server, tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("fault", [Fault("/me", "html"), Fault("/me", 404), Fault("/nothing", 404)])
def test_a_token_is_enough_also_where_the_server_does_not_name_its_owner(server, tmp_path, monkeypatch, fault, recwarn):
    monkeypatch.delenv("ALYX_LOGIN")
    monkeypatch.delenv("ALYX_PWD")
    monkeypatch.setenv("ALYX_TOKEN", TOKEN)
    server.faults = [fault]
    assert len(fetch(server, tmp_path)[0]["files"]) == len(FILES)
    assert not [warning for warning in recwarn if "token" in str(warning.message)]


def test_a_token_that_is_refused_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ALYX_TOKEN", TOKEN)
    server.faults = [Fault("/me", 401)]
    with pytest.raises(SourceUnavailable, match=r"HTTP 401\); check ALYX_LOGIN and ALYX_PWD, or ALYX_TOKEN"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("names", [("ALYX_LOGIN", "ALYX_PWD"), ("ALYX_LOGIN", "ALYX_TOKEN")])
def test_a_password_is_neither_shown_nor_stored(server, home, tmp_path, monkeypatch, capfd, caplog, names):
    for name in names:
        monkeypatch.setenv(name, PASSWORD if name != "ALYX_LOGIN" else "somebody")
    closed_port = source(server, tmp_path / "d", base_url="http://127.0.0.1:9", outage_hours=1e-5)
    with pytest.raises(SourceUnavailable, match="gave no answer") as found:
        download_session(row(eid=next(iter(server.sessions))), source=closed_port)
    seen = capfd.readouterr()
    stored = [path for path in home.rglob("*") if path.is_file() and PASSWORD in path.read_text()]
    assert PASSWORD not in str(found.value) + seen.out + seen.err + caplog.text
    assert not stored
    assert not [path for path in (tmp_path / "d").rglob("*") if path.is_file()]
    assert "\n" not in str(found.value)


def test_half_written_parameters_of_another_program_are_waited_for_and_then_named(server, tmp_path, monkeypatch):
    path = saved_token(server)
    monkeypatch.setattr(ibl_one, "_PARAMETER_ATTEMPTS", 3)
    monkeypatch.setattr(ibl_one, "_PARAMETER_WAIT_S", 0.01)
    whole = path.read_text()
    path.write_text(whole[:20])
    with pytest.raises(SourceUnavailable, match=r"ONE's parameters in .* cannot be used \(JSONDecodeError\)"):
        open_one(source(server, tmp_path / "d"))
    monkeypatch.setattr(ibl_one.time, "sleep", lambda seconds: path.write_text(whole))
    assert open_one(source(server, tmp_path / "d")).alyx.user == "somebody"


def _open(settings: IblSource, barrier, answers) -> None:
    barrier.wait()
    try:
        open_one(settings)
        answers.put("")
    except BaseException as error:
        answers.put(f"{type(error).__name__}: {error}")


@pytest.mark.slow
def test_eight_jobs_at_once_open_one_in_an_empty_home(server, home, tmp_path):
    context = multiprocessing.get_context("fork")
    failures = []
    for attempt in range(20):
        shutil.rmtree(home)
        home.mkdir()
        barrier, answers = context.Barrier(8), context.Queue()
        settings = source(server, tmp_path / f"d{attempt}", outage_hours=60 / 3600)
        jobs = [context.Process(target=_open, args=(settings, barrier, answers)) for _ in range(8)]
        for job in jobs:
            job.start()
        failures += [answer for answer in [answers.get(timeout=60) for _ in jobs] if answer]
        for job in jobs:
            job.join()
    assert failures == []


def insertion(tag: str, number: int) -> dict:
    pid = f"00000000-0000-4000-8000-{number:012d}"
    session = {"number": 1, "start_time": "2021-01-01T10:00:00", "subject": f"S{number}", "lab": "lab"}
    return {"id": pid, "session": pid.replace("8000", "9000"), "name": "probe00", "session_info": session, "tag": tag}


def test_the_list_of_insertions_is_loaded_page_by_page_through_an_outage(server, tmp_path):
    server.insertions = [
        insertion(tag, number + 1000 * place) for place, tag in enumerate(RELEASE_TAGS) for number in range(300)
    ]
    server.faults = [Fault("/insertions.*offset=250", "stall", times=1), Fault("/insertions", 502, times=2)]
    fetch_ibl_release(tmp_path / "table.csv", ibl=source(server, tmp_path / "d", outage_hours=10 / 3600))
    assert len(pd.read_csv(tmp_path / "table.csv")) == 600
    server.faults = [Fault("/insertions", 502)]
    with pytest.raises(SourceUnavailable, match="give the table with IBL_TABLE="):
        fetch_ibl_release(tmp_path / "table.csv", ibl=source(server, tmp_path / "e", outage_hours=0.1 / 3600))
