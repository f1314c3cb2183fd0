"""The IBL's public archive: download, index and the parts of a session."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories import ROOT
from factories.ibl_archive import archive_source, eid_of, index_archives, pid_of, publish, write_archives
from factories.ibl_sessions import SIMULATED, TIMELINE, row_of

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.ingest import downloads, ibl_archive
from neurohorizon.ingest.ibl_archive import (
    ARCHIVES,
    download_ibl_archive,
    fetch_archive_insertions,
    list_session,
)
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.paper_cohort import IBL_COLUMNS, read_release
from neurohorizon.ingest.simulated.ibl import simulate_release, simulated_sessions
from neurohorizon.ingest.tar_members import Member, open_member, read_member, tar_members
from neurohorizon.session import SessionError

SMALL = SIMULATED.model_copy(update={"units": (6, 8), "duration_s": 30.0})
NAMED = simulated_sessions(SMALL)
NAMES = tuple(ARCHIVES)


def row(session=NAMED[0], **extras: str) -> Row:
    return row_of(session, **extras)


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    simulate_release(folder / "alf", folder / "truth", simulated=SMALL, timeline=TIMELINE, seed=5)
    return folder / "alf"


@pytest.fixture(scope="module")
def written(release, tmp_path_factory) -> Path:
    """Return a folder with both tar files."""
    folder = tmp_path_factory.mktemp("written")
    write_archives(release, folder, NAMED)
    return folder


@pytest.fixture
def published(written, tmp_path, monkeypatch) -> Path:
    """Return the folder of a server's files; their hashes are the published ones."""
    folder = tmp_path / "published"
    folder.mkdir()
    for path in written.glob("*.tar"):
        shutil.copy2(path, folder)
    publish(monkeypatch, folder)
    return folder


class Server(ThreadingHTTPServer):
    """Serves the files of a folder, as the archive's bucket does; ``asked`` lists the ranges that were asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder, self.asked, self.closes_after, self.status, self.pause_s = folder, [], None, None, 0.0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, path = self.server, self.server.folder / Path(self.path).name
        server.asked.append(self.headers.get("Range"))
        if server.status or not path.is_file():
            self.send_error(server.status or 404)
            return
        content = path.read_bytes()
        first = int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.end_headers()
        last = first + server.closes_after if server.closes_after else len(content)
        for start in range(first, min(last, len(content)), 4096):
            self.wfile.write(content[start : min(start + 4096, last)])
            time.sleep(server.pause_s)
        if last < len(content):
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def server(published, monkeypatch):
    found = Server(published)
    monkeypatch.setattr(ibl_archive, "ARCHIVE_URL", found.url)
    monkeypatch.setattr(downloads, "_FIRST_WAIT_S", 0.01)
    yield found
    found.shutdown()
    found.server_close()


def test_the_archive_is_downloaded_once_and_hashed_once(server, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "data"
    index_archives(folder)
    assert server.asked == [None, None]
    for name, archive in ARCHIVES.items():
        content = (folder / f"{name}-{archive.version}.tar").read_bytes()
        assert hashlib.sha1(content).hexdigest() == archive.sha1
    monkeypatch.setattr(downloads.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    index_archives(folder)
    assert server.asked == [None, None]
    assert "bwm_ephys-1.2.1.tar: checked before" in capsys.readouterr().err


def test_a_file_that_somebody_put_there_is_used(server, published, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for path in published.glob("*.tar"):
        shutil.copy2(path, folder)
    index_archives(folder)
    assert server.asked == []


def test_a_file_that_changed_since_is_hashed_again_and_fetched_again(server, tmp_path):
    folder = tmp_path / "data"
    index_archives(folder)
    path = folder / "bwm_ephys-1.2.1.tar"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))
    index_archives(folder)
    assert len(server.asked) == 3
    assert hashlib.sha1(path.read_bytes()).hexdigest() == ARCHIVES["bwm_ephys"].sha1


def test_the_index_has_the_bytes_of_every_part_and_no_others(server, tmp_path, written):
    folder = tmp_path / "data"
    for name, path in zip(NAMES, index_archives(folder), strict=True):
        members = json.loads(path.read_text())["members"]
        place = written / "unpacked" / name / ARCHIVES[name].version
        for member, entry in members.items():
            assert read_member(Member(**entry), folder, name=member) == (place / member).read_bytes()
        assert {member.split("/")[0] for member in members} == (
            {"metadata", "clusters.pqt", "spikes"} if name == "bwm_ephys" else {"sessions"}
        )
        assert str(folder) not in path.read_text()


def test_a_lost_connection_is_continued_where_it_ended(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK_BYTES", 4096)
    server.closes_after = 30_000
    index_archives(tmp_path / "data", names=("bwm_ephys",))
    starts = [int((asked or "bytes=0-")[6:-1]) for asked in server.asked]
    assert len(starts) > 2
    assert starts == sorted(set(starts))


def test_a_killed_download_goes_on_in_the_next_run(server, tmp_path):
    folder = tmp_path / "data"
    server.pause_s = 0.05
    code = (
        "import sys; from pathlib import Path; from neurohorizon.config import IblSource\n"
        "from neurohorizon.ingest import downloads, ibl_archive\n"
        "downloads.CHUNK_BYTES = 4096\n"
        f"ibl_archive.ARCHIVE_URL = {server.url!r}\n"
        f"ibl = IblSource.model_validate_json({archive_source(folder).model_dump_json()!r})\n"
        "ibl_archive.download_ibl_archive(archive='bwm_ephys', ibl=ibl, output=Path('unused'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    job = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    part = folder / "bwm_ephys-1.2.1.tar.part"
    while not (part.is_file() and part.stat().st_size):
        assert job.poll() is None
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()
    there = part.stat().st_size
    server.pause_s = 0.0
    index_archives(folder, names=("bwm_ephys",))
    assert server.asked == [None, f"bytes={there}-"]
    assert not part.exists()


def test_a_wrong_hash_stops_the_run_and_says_what_to_do(server, published, tmp_path):
    path = published / "bwm_behavior-2.0.0.tar"
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(SourceUnavailable) as found:
        index_archives(tmp_path / "data")
    assert "bwm_behavior-2.0.0.tar is damaged in each of 3 downloads: its sha1 is" in str(found.value)
    assert "put bwm_behavior-2.0.0.tar into" in str(found.value)
    assert "sources.ibl.mode to remote" in str(found.value)
    assert not (tmp_path / "data" / "index" / "bwm_behavior.json").exists()


@pytest.mark.parametrize("status", [403, 404])
def test_an_archive_that_is_gone_stops_the_run(server, tmp_path, status):
    server.status = status
    with pytest.raises(
        SourceUnavailable, match=rf"HTTP {status}.*\nThe archive needs no account: put bwm_ephys-1\.2\.1"
    ):
        index_archives(tmp_path / "data")


def test_a_truncated_tar_is_no_archive(published, tmp_path, monkeypatch):
    path = published / "bwm_ephys-1.2.1.tar"
    last = max(start + size for start, size in tar_members(path).values())
    for size in (last - 1, last // 2, 1000):
        os.truncate(path, size)
        publish(monkeypatch, published)
        with pytest.raises(SourceUnavailable, match="is not the archive that this version reads"):
            download_ibl_archive(archive="bwm_ephys", ibl=archive_source(published), output=tmp_path / "index.json")


def test_a_compressed_tar_is_no_archive(published, tmp_path, monkeypatch):
    path = published / "bwm_ephys-1.2.1.tar"
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.add(path)
    shutil.move(tmp_path / "packed.tar", path)
    publish(monkeypatch, published)
    with pytest.raises(SourceUnavailable, match="is not the archive that this version reads"):
        download_ibl_archive(archive="bwm_ephys", ibl=archive_source(published), output=tmp_path / "index.json")


def without_a_column(place: Path) -> None:
    table = next(place.rglob("units.parquet"))
    pd.read_parquet(table).rename(columns={"atlas_id": "region_id"}).to_parquet(table)


def without_a_table(place: Path) -> None:
    next(place.rglob("trials.parquet")).unlink()


def of_another_encoding(place: Path) -> None:
    for meta in place.rglob("meta.json"):
        meta.write_text(meta.read_text().replace("delta_int_ticks", "int_ticks"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without_a_column, r"metadata/units\.parquet lacks atlas_id; it has cluster_id,"),
        (without_a_table, r"it has no metadata/trials\.parquet"),
        (of_another_encoding, r"spikes/.*: time_encoding is 'int_ticks'; expected 'delta_int_ticks'"),
    ],
)
def test_another_layout_is_found_before_any_session_is_read(release, tmp_path, monkeypatch, edit, message):
    write_archives(release, tmp_path, NAMED[:1], edit=edit)
    publish(monkeypatch, tmp_path)
    with pytest.raises(SourceUnavailable, match=rf"bwm_ephys is not the archive .*{message}.*mode to remote"):
        download_ibl_archive(archive="bwm_ephys", ibl=archive_source(tmp_path), output=tmp_path / "index.json")


def test_an_unpacked_archive_is_used_in_its_place(release, tmp_path):
    write_archives(release, tmp_path, NAMED[:1], unpacked=True)
    listed = list_session(row(), source=archive_source(tmp_path), archives=index_archives(tmp_path))
    for entry in listed["files"]:
        content = (tmp_path / entry["path"]).read_bytes()
        assert (entry["offset"], entry["size"]) == (0, len(content))
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()


def test_an_archive_that_is_unpacked_in_part_is_refused(release, tmp_path):
    write_archives(release, tmp_path, NAMED[:1], unpacked=True)
    place = tmp_path / "bwm_ephys" / "1.2.1"
    next(place.rglob("cluster_ids.blosc")).unlink()
    with pytest.raises(SourceUnavailable, match=r"is not the whole archive: it lacks spikes/.*/cluster_ids\.blosc;"):
        index_archives(tmp_path)
    (place / "manifest.json").unlink()
    with pytest.raises(SourceUnavailable, match=r"it lacks manifest\.json; unpack it again, or remove the folder"):
        index_archives(tmp_path)


@pytest.fixture(scope="module")
def indexed(written, tmp_path_factory) -> tuple[IblSource, list[Path]]:
    """Return the section and the indices of both archives."""
    folder = tmp_path_factory.mktemp("indexed")
    for path in written.glob("*.tar"):
        shutil.copy2(path, folder)
    with pytest.MonkeyPatch.context() as patch:
        publish(patch, folder)
        indices = index_archives(folder)
    return archive_source(folder), indices


def listed(indexed, one: Row) -> dict:
    return list_session(one, source=indexed[0], archives=indexed[1])


@pytest.mark.parametrize("session", NAMED, ids=lambda session: session.session)
def test_a_session_is_found_by_its_eid_or_by_animal_and_day(indexed, session):
    by_day = listed(indexed, row(session, number="1"))
    assert by_day == listed(indexed, row(session)) == listed(indexed, row(session, eid=eid_of(session)))
    assert by_day["eid"] == eid_of(session)
    assert by_day["probes"] == {probe: pid_of(session, probe) for probe in by_day["probes"]}
    assert by_day["release"] == "bwm_ephys 1.2.1, bwm_behavior 2.0.0"


def test_only_the_parts_of_the_session_are_listed(indexed):
    for session in NAMED:
        found = listed(indexed, row(session))
        own = {f"spikes/{pid}" for pid in found["probes"].values()} | {f"sessions/{eid_of(session)}.zip"}
        names = [entry["name"] for entry in found["files"]]
        assert len(names) == len(set(names)) == 3 + 1 + 5 * len(found["probes"])
        parts = [name for name in names if name.startswith(("spikes/", "sessions/"))]
        assert {name if name.endswith(".zip") else str(Path(name).parent) for name in parts} == own


def test_a_session_that_is_not_in_the_archive_is_named(indexed):
    with pytest.raises(SessionError, match=r"not in the IBL's public archive, which has 3 sessions .* for eid other"):
        listed(indexed, row(eid="other"))
    with pytest.raises(SessionError, match=r"nothing found for subject SIM-101 on 2021-03-01, number 2"):
        listed(indexed, row(number="2"))
    with pytest.raises(SessionError, match=r"nothing found .* number first"):
        listed(indexed, row(number="first"))


def test_the_cohort_restricts_the_probes(indexed, release):
    two = next(session for session in NAMED if len(list((release / session.folder).glob("alf/probe*"))) == 2)
    assert list(listed(indexed, row(two))["probes"]) == ["probe00", "probe01"]
    assert list(listed(indexed, row(two, probes="probe01"))["probes"]) == ["probe01"]
    with pytest.raises(SessionError, match="has no probe probe02; probes found: probe00, probe01"):
        listed(indexed, row(two, probes="probe01 probe02"))


def test_a_missing_part_of_a_probe_is_named(release, tmp_path, monkeypatch):
    def edit(place: Path) -> None:
        (next(place.rglob(pid_of(NAMED[0], "probe00"))) / "spike_clusters.blosc").unlink()
        (next(place.rglob("sessions")) / f"{eid_of(NAMED[1])}.zip").unlink()
        next(place.rglob("clusters.pqt")).unlink()

    write_archives(release, tmp_path, NAMED, edit=edit)
    publish(monkeypatch, tmp_path)
    archives = index_archives(tmp_path)
    with pytest.raises(SessionError, match=r"units of probe00, and lacks spikes/.*/spike_clusters\.blosc"):
        list_session(row(), source=archive_source(tmp_path), archives=archives)
    found = list_session(row(NAMED[1]), source=archive_source(tmp_path), archives=archives)
    assert found["missing"] == ["clusters.uuids"]
    assert not any(entry["name"].startswith("sessions/") for entry in found["files"])


def test_the_insertions_are_those_of_the_release_table(indexed, tmp_path):
    fetch_archive_insertions(archive=indexed[1][0], ibl=indexed[0], output=tmp_path / "table.csv")
    rows = read_release(tmp_path / "table.csv", IBL_COLUMNS)
    assert {(one["eid"], one["probe_name"]) for one in rows} == {
        (eid_of(session), probe) for session in NAMED for probe in listed(indexed, row(session))["probes"]
    }
    first = next(one for one in rows if one["eid"] == eid_of(NAMED[0]))
    assert (first["session_number"], first["date"], first["subject"]) == ("1", NAMED[0].date, NAMED[0].subject)
    assert first["lab"] == NAMED[0].lab


def test_an_archive_that_is_gone_or_damaged_stops_the_run(indexed, tmp_path):
    settings, archives = indexed
    elsewhere = settings.model_copy(update={"folder": str(tmp_path)})
    with pytest.raises(SourceUnavailable, match=r"which has metadata/insertions\.parquet, cannot be read"):
        list_session(row(), source=elsewhere, archives=archives)
    path = tmp_path / "bwm_ephys-1.2.1.tar"
    content = bytearray((Path(settings.folder) / path.name).read_bytes())
    place = json.loads(archives[0].read_text())["members"]["metadata/insertions.parquet"]
    content[place["offset"] + 10] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceUnavailable, match=r"metadata/insertions\.parquet in .*tar is damaged.*--forcerun"):
        list_session(row(), source=elsewhere, archives=archives)


def test_a_member_is_read_as_a_file_of_its_own(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 3000)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "a", "long/" * 30 + "a")
        tar.add(tmp_path / "b", "b")
    places = tar_members(tmp_path / "x.tar")
    assert sorted(places) == ["b", "long/" * 30 + "a"]
    member = Member("x.tar", *places["b"])
    with open_member(member, tmp_path, name="b") as file:
        assert file.read(2) == b"bb"
        assert file.seek(-1, 2) == 2999
        assert file.read() == b"b"
        assert file.read() == b""
        file.seek(0)
        assert file.read() == b"b" * 3000


def test_the_published_hashes_are_those_of_the_publisher():
    assert {name: (one.version, one.sha1) for name, one in ARCHIVES.items()} == {
        "bwm_ephys": ("1.2.1", "b18c5c7a2944be510800010eb3df90aac84a2a52"),
        "bwm_behavior": ("2.0.0", "1c37dd1c38d46ec80067c8a25772dfe2468a1ce1"),
    }
    assert np.all([len(one.sha1) == 40 for one in ARCHIVES.values()])
