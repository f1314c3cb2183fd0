"""Downloads from a local server that is slow, stalls, breaks off, is busy, changes files, and sends damaged ones."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from factories import ROOT
from factories.file_server import Answer, FileServer, serving, wait_until

from neurohorizon.ingest import downloads
from neurohorizon.ingest.downloads import Expected, NotOffered, Progress, bytes_as_text, download, patiently, read_url
from neurohorizon.ingest.leave_out import PassingFault, SourceUnavailable
from neurohorizon.session import SessionError

SIZE = 1_500_000
CONTENT = bytes(range(256)) * (SIZE // 256)
OTHER = CONTENT[::-1]
PLENTY = 1.0
"""Hours of an outage that no test waits for."""


@pytest.fixture
def server(monkeypatch):
    """Give a server of one file, ``file``, to which waits and timeouts of hours and minutes are parts of a second."""
    monkeypatch.setattr(downloads, "TIMEOUT_S", (1.0, 0.4))
    monkeypatch.setattr(downloads, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(downloads, "_LONGEST_WAIT_S", 0.1)
    with serving() as running:
        running.files["file"] = CONTENT
        yield running


def fetched(server: FileServer, path: Path, *, outage_hours: float = PLENTY, expected: Expected | None = None) -> bytes:
    """Download the file, and return what is then there."""
    assert download(f"{server.url}/file", path, outage_hours=outage_hours, expected=expected) == path
    return path.read_bytes()


def first_bytes(server: FileServer) -> list[int]:
    """Return the byte from which on each request asked for the file."""
    return [first for name, first in server.requests if name == "file"]


def left_behind(folder: Path) -> set[str]:
    """Return the files next to a download, without its lock."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_a_file_is_fetched_once_and_nothing_else_is_left(server, tmp_path, capsys):
    assert fetched(server, tmp_path / "folder" / "file") == CONTENT
    assert fetched(server, tmp_path / "folder" / "file") == CONTENT
    assert first_bytes(server) == [0]
    assert left_behind(tmp_path / "folder") == {"file"}
    written = capsys.readouterr().err
    assert "file: 1.5 MB of 1.5 MB (100 %), " in written
    assert "file: 1.5 MB, downloaded before" in written


def test_a_slow_server_may_take_longer_than_any_timeout(server, tmp_path):
    server.always["file"] = Answer(pause_s=0.1, piece=SIZE // 15)
    start = time.monotonic()
    assert fetched(server, tmp_path / "file", outage_hours=0.1 / 3600) == CONTENT
    assert time.monotonic() - start > 3 * downloads.TIMEOUT_S[1]
    assert first_bytes(server) == [0]


def test_a_stalled_download_goes_on_where_it_stopped(server, tmp_path, capsys):
    server.script["file"] = [Answer(stall_after=SIZE // 3), Answer(stall_after=SIZE // 3)]
    assert fetched(server, tmp_path / "file") == CONTENT
    first, second, third = first_bytes(server)
    # less than one piece that is written at once is fetched twice
    assert first == 0
    assert SIZE // 3 - downloads.CHUNK_BYTES <= second <= SIZE // 3
    assert second + SIZE // 3 - downloads.CHUNK_BYTES <= third <= second + SIZE // 3
    assert "are there, going on" in capsys.readouterr().err


def test_a_file_that_is_cut_short_never_appears(server, tmp_path):
    server.script["file"] = [Answer(cut_after=SIZE // 4)] * 3
    path = tmp_path / "file"
    assert fetched(server, path) == CONTENT
    assert len(first_bytes(server)) == 4
    server.always["file"] = Answer(cut_after=0)
    with pytest.raises(SourceUnavailable, match="gave no answer"):
        fetched(server, tmp_path / "other", outage_hours=0.1 / 3600)
    assert not (tmp_path / "other").exists()


def test_a_file_without_a_length_is_taken_as_it_ends(server, tmp_path):
    server.always["file"] = Answer(length=False)
    assert fetched(server, tmp_path / "file") == CONTENT


def test_a_server_that_breaks_off_in_the_same_place_is_an_outage(server, tmp_path):
    server.always["file"] = Answer(ranges=False, cut_after=SIZE // 2)
    with pytest.raises(SourceUnavailable, match="gave no answer for"):
        fetched(server, tmp_path / "file", outage_hours=0.3 / 3600)
    assert set(first_bytes(server)[1:]) != {0}, "it was asked for the rest, and sent the start"


def test_a_server_that_ignores_range_sends_the_whole_once_more(server, tmp_path):
    server.script["file"] = [Answer(cut_after=SIZE // 2), Answer(ranges=False)]
    assert fetched(server, tmp_path / "file") == CONTENT
    assert len(first_bytes(server)) == 2


@pytest.mark.parametrize("if_range", [True, False])
def test_two_versions_of_a_file_are_never_joined(server, tmp_path, if_range):
    path = tmp_path / "file"
    server.always["file"] = Answer(cut_after=SIZE // 2, if_range=if_range)
    with pytest.raises(SourceUnavailable):
        download(f"{server.url}/file", path, outage_hours=0)
    part = tmp_path / "file.part"
    assert 0 < part.stat().st_size < SIZE
    server.files["file"] = OTHER
    server.always["file"] = Answer(if_range=if_range)
    assert fetched(server, path) == OTHER
    if if_range:
        assert len(server.requests) == 2, "the server sends the new version at once"
    assert left_behind(tmp_path) == {"file"}


def test_the_time_of_change_stands_in_for_a_missing_tag(server, tmp_path):
    server.script["file"] = [Answer(cut_after=SIZE // 2, tag=False, headers={"Last-Modified": "Mon, 01 Jan 2024"})]
    server.always["file"] = Answer(tag=False, if_range=False, headers={"Last-Modified": "Tue, 02 Jan 2024"})
    server.files["file"] = OTHER
    assert fetched(server, tmp_path / "file") == OTHER
    assert 0 in first_bytes(server)[1:], "the part of the earlier day was thrown away"


def test_a_busy_server_is_waited_for_as_long_as_it_asks(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    monkeypatch.setattr(downloads, "_LONGEST_WAIT_S", 300.0)
    server.script["file"] = [
        Answer(status=429, headers={"Retry-After": "7"}),
        Answer(status=503, headers={"Retry-After": "11"}),
        Answer(status=500),
    ]
    assert fetched(server, tmp_path / "file") == CONTENT
    assert waits[:2] == [7, 11]
    assert waits[2] < 1, "the wait that was asked for is not doubled"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(server, tmp_path, status):
    server.script["file"] = [Answer(status=status)] * 2
    assert fetched(server, tmp_path / "file") == CONTENT
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_not_offered_is_a_fault_of_the_session(server, tmp_path, status):
    server.always["file"] = Answer(status=status)
    with pytest.raises(NotOffered, match=f"file is not offered .HTTP {status}") as caught:
        fetched(server, tmp_path / "file")
    assert isinstance(caught.value, SessionError)
    assert len(server.requests) == 1
    assert left_behind(tmp_path) == set()
    with pytest.raises(NotOffered):
        read_url(f"{server.url}/file", outage_hours=PLENTY)


@pytest.mark.parametrize(("status", "advice"), [(401, "without credentials"), (403, "without credentials"), (400, "")])
def test_a_refusal_stops_the_run_at_once(server, tmp_path, status, advice):
    server.always["file"] = Answer(status=status)
    with pytest.raises(SourceUnavailable, match=f"refused the request .HTTP {status}..*{advice}"):
        fetched(server, tmp_path / "file")
    assert len(server.requests) == 1


def test_a_damaged_file_is_fetched_again(server, tmp_path, capsys):
    expected = Expected(hashes={"sha1": hashlib.sha1(CONTENT).hexdigest()})
    server.script["file"] = [Answer(body=OTHER)]
    assert fetched(server, tmp_path / "file", expected=expected) == CONTENT
    assert first_bytes(server) == [0, 0], "nothing of the damaged one is kept"
    assert "its sha1 is" in capsys.readouterr().err


def test_a_file_that_is_damaged_each_time_is_a_passing_fault(server, tmp_path):
    server.always["file"] = Answer(body=OTHER)
    expected = Expected(hashes={"md5": hashlib.md5(CONTENT).hexdigest()})
    with pytest.raises(PassingFault, match=r"damaged in each of 3 downloads: its md5 is .* expected"):
        fetched(server, tmp_path / "file", expected=expected)
    with pytest.raises(PassingFault, match=f"it has {SIZE // 256 * 256} bytes, expected 7"):
        fetched(server, tmp_path / "file", expected=Expected(size=7))
    with pytest.raises(PassingFault, match="it is upside down"):
        fetched(server, tmp_path / "file", expected=Expected(fault_of=lambda path: "it is upside down"))
    assert left_behind(tmp_path) == set()


def test_a_file_that_is_there_and_is_damaged_is_kept_aside(server, tmp_path):
    (tmp_path / "file").write_bytes(OTHER[:1000])

    def fault_of(path: Path) -> str:
        return "" if path.stat().st_size > 1000 else "it is short"

    assert fetched(server, tmp_path / "file", expected=Expected(fault_of=fault_of)) == CONTENT
    assert (tmp_path / "file.damaged").read_bytes() == OTHER[:1000]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    assert fetched(server, tmp_path / "file") == CONTENT


def test_a_whole_part_needs_no_byte_more(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.sent["file"] == 0


def test_an_outage_ends_after_its_hours_and_says_what_to_do(server, tmp_path):
    server.always["file"] = Answer(status=503)
    start = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"gave no answer for .* \(HTTP 503\); check the network and run again"):
        fetched(server, tmp_path / "file", outage_hours=0.3 / 3600)
    assert time.monotonic() - start < 20
    assert 3 <= len(server.requests) < 30
    server.close()
    with pytest.raises(SourceUnavailable, match=r"ConnectionError.*parts of files are kept"):
        fetched(server, tmp_path / "file", outage_hours=0.1 / 3600)


def test_an_outage_counts_from_the_last_byte(server, tmp_path):
    """Each part takes longer than the outage that is allowed, and each is a separate outage."""
    server.script["file"] = [Answer(pause_s=0.15, piece=SIZE // 12, cut_after=SIZE // 4) for _ in range(3)]
    assert fetched(server, tmp_path / "file", outage_hours=0.2 / 3600) == CONTENT
    assert len(server.requests) == 4


def test_waits_grow_up_to_five_minutes(monkeypatch):
    clock, waits = [0.0], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(downloads.time, "sleep", sleep)
    monkeypatch.setattr(downloads.time, "monotonic", lambda: clock[0])

    def fail() -> None:
        raise TimeoutError

    with pytest.raises(SourceUnavailable, match=r"the archive gave no answer for 12\.0 h \(TimeoutError"):
        patiently(fail, what="the archive", outage_hours=12)
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) == 300
    assert 11.8 * 3600 < clock[0] <= 12 * 3600


def test_a_full_disk_is_no_outage(tmp_path):
    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "file.part"))

    with pytest.raises(SourceUnavailable, match=r"cannot be stored \(No space left on device: .*part\); make room"):
        patiently(fail, what="the file", outage_hours=PLENTY)


def test_an_address_that_is_none_is_no_outage(tmp_path):
    for url in ("bucket/file", "s3://bucket/file", "http://"):
        with pytest.raises(SourceUnavailable, match=r"is no address .*correct it in the configuration"):
            download(url, tmp_path / "file", outage_hours=PLENTY)


def test_credentials_are_named_where_they_matter():
    def refuse() -> None:
        error = OSError("refused")
        error.code = 403
        raise error

    with pytest.raises(SourceUnavailable, match=r"refused the request \(HTTP 403\); check your credentials"):
        patiently(refuse, what="the database", outage_hours=PLENTY)
    with pytest.raises(SourceUnavailable, match="set THIS and THAT"):
        patiently(refuse, what="the database", outage_hours=PLENTY, if_refused="set THIS and THAT")


def test_progress_has_bytes_rate_and_time_left(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(downloads.time, "monotonic", lambda: clock[0])
    progress = Progress("file", there=500_000_000, whole=2_700_000_000)
    for _ in range(400):
        clock[0] += 0.1
        progress.add(100_000)
    progress.end()
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == 3, "at 15 and 30 seconds, and at the end"
    assert lines[-1] == "file: 540 MB of 2.7 GB (20 %), 1 MB/s, 36 min left"
    assert Progress("file").line().startswith("file: 0 B, ")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.7e9, "2.7 GB"), (4e12, "4 TB")]
)
def test_bytes_have_decimal_units(size, text):
    assert bytes_as_text(size) == text


COMMAND = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from neurohorizon.ingest import downloads
downloads.TIMEOUT_S, downloads._FIRST_WAIT_S = (5.0, 5.0), 0.05
downloads.download({url!r}, Path({path!r}), outage_hours=0.01)
"""


def start_download(server: FileServer, path: Path) -> subprocess.Popen:
    """Start a download in another process."""
    command = COMMAND.format(root=str(ROOT), url=f"{server.url}/file", path=str(path))
    return subprocess.Popen([sys.executable, "-c", command], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_at_once_fetch_a_file_once(server, tmp_path):
    server.always["file"] = Answer(pause_s=0.1, piece=SIZE // 10)
    both = [start_download(server, tmp_path / "file") for _ in range(2)]
    written = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], written
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert first_bytes(server) == [0]
    assert any("another process downloads it; waiting" in text for text in written)


@pytest.mark.slow
def test_after_a_kill_the_next_start_continues_from_the_bytes_there(server, tmp_path):
    server.script["file"] = [Answer(stall_after=SIZE // 2)]
    part = tmp_path / "file.part"
    killed = start_download(server, tmp_path / "file")
    wait_until(lambda: part.is_file() and part.stat().st_size >= SIZE // 2 - downloads.CHUNK_BYTES, seconds=60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    there = part.stat().st_size
    assert 0 < there <= SIZE // 2
    again = start_download(server, tmp_path / "file")
    assert "are there, going on" in again.communicate(timeout=120)[1]
    assert again.returncode == 0
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert first_bytes(server) == [0, there]
