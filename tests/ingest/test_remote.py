"""Of a remote file only what is needed is fetched, once, and its recording is that of the file on this machine."""

import os
import sys

import h5py
import numpy as np
import pytest
import requests
from factories.dandi_server import KEY, VERSION, Asset, DandiServer
from factories.dandi_server import Fault as DandiFault
from factories.file_server import Answer, serving, unused_port
from factories.recording_files import LENGTH_S, spike_trains, write_recording

from neurohorizon.command.main import main
from neurohorizon.files import file_hash
from neurohorizon.ingest import block_cache, downloads, remote
from neurohorizon.ingest.address import AddressError, is_address, read_address
from neurohorizon.ingest.block_cache import BlockCache, cache_folder
from neurohorizon.ingest.nwb_recording import read_recording
from neurohorizon.ingest.remote import open_remote
from neurohorizon.session import SessionError

NAME, BLOCK = "mouse.nwb", 1 << 14


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a recording whose raw data are 1 MB, and one that is small."""
    folder = tmp_path_factory.mktemp("remote")
    raw = np.random.default_rng(0).integers(-999, 999, (1 << 19, 1)).astype(np.int16)
    observed = [[[0.0, LENGTH_S]]] * 6
    write_recording(folder / NAME, spike_trains(), observed=observed, invalid=[(20.0, 21.5)], raw=raw)
    write_recording(folder / "small.nwb", spike_trains(3, length_s=20.0), observed=observed)
    return folder


@pytest.fixture(autouse=True)
def quick_and_cached_here(monkeypatch, tmp_path):
    """Short waits, small blocks, an empty cache, and no key of an account."""
    for module in (remote, block_cache):
        monkeypatch.setattr(module, "BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(downloads, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(downloads, "_LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(remote, "TIMEOUT_S", (1.0, 0.4))
    monkeypatch.setattr(remote, "FIRST_ANSWER_S", 0.4)
    monkeypatch.setattr(remote, "OUTAGE_S", 60.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in (*remote.S3_ENDPOINTS, remote.TOKEN):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(folder):
    with serving(folder) as running:
        yield running


@pytest.fixture
def archive(folder, monkeypatch):
    content = (folder / "small.nwb").read_bytes()
    running = DandiServer([Asset("sub-Ada/small.nwb", content), Asset("sub-Bo/a.zarr", b"", zarr=True)])
    monkeypatch.setattr(remote, "DANDI_API", running.api_url)
    yield running
    running.close()


def same(found, expected):
    """Return whether two recordings are equal, except for the version of their file."""
    assert found.notes == expected.notes
    assert found.session.domain == expected.session.domain
    np.testing.assert_array_equal(found.session.spike_times_us, expected.session.spike_times_us)
    np.testing.assert_array_equal(found.session.spike_unit, expected.session.spike_unit)
    for name, values in expected.session.units.items():
        np.testing.assert_array_equal(found.session.units[name], values)
    assert {**found.session.provenance, "files": ""} == {**expected.session.provenance, "files": ""}
    return found.session.session_id == expected.session.session_id


def blocks_read(address):
    """Read all bytes of a remote file, and return them and the file."""
    with open_remote(read_address(address), lambda line: None) as file:
        return file.read(file.size), file


def test_a_remote_recording_is_the_local_one_for_a_third_of_its_bytes(server, folder, capsys):
    size = (folder / NAME).stat().st_size
    found = read_recording(f"{server.url}/{NAME}")
    assert same(found, read_recording(folder / NAME))
    assert 0 < server.sent[NAME] < size / 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"mouse.nwb: {downloads.bytes_as_text(server.sent[NAME])} of {downloads.bytes_as_text(size)} fetched"
    assert "sha1" not in found.session.provenance["files"] and file_hash(folder / NAME, "sha1") in str(
        found.session.provenance["files"]
    )


def test_a_second_run_reads_from_the_cache(server, folder):
    lines = []
    first = read_recording(f"{server.url}/{NAME}", report=lines.append)
    sent = server.sent.pop(NAME)
    assert same(read_recording(f"{server.url}/{NAME}", report=lines.append), first)
    # only the answer that has the file's version begins, and its content is not read
    assert [name for name, _ in server.requests].count(NAME) > 1 and server.sent[NAME] <= BLOCK
    assert lines[1].startswith("0 B of ") and lines[1].endswith(f"{downloads.bytes_as_text(sent)} were in the cache")
    assert oct(cache_folder().stat().st_mode)[-2:] == "00", "no other account can read the cache"


def test_all_bytes_in_any_order_are_those_of_the_file(server, folder):
    content = (folder / NAME).read_bytes()
    rng = np.random.default_rng(1)
    with open_remote(read_address(f"{server.url}/{NAME}"), lambda line: None) as file:
        for start in [*rng.integers(0, len(content), 20).tolist(), len(content) - 5, len(content), len(content) + 9]:
            file.seek(start)
            length = int(rng.integers(1, 400_000))
            assert file.read(length) == content[start : start + length]
            assert file.tell() == max(min(start + length, len(content)), start)
        assert (file.seek(0, 2), file.seek(-3, 1)) == (len(content), len(content) - 3)
        assert file.seek(0) == 0 and file.read() == content
        assert file.fetched == len(content) == file.size
    assert server.sent[NAME] == len(content), "no byte is fetched twice"


def test_reads_that_follow_each_other_need_fewer_requests(server):
    with open_remote(read_address(f"{server.url}/{NAME}"), lambda line: None) as file:
        while file.read(1000):
            pass
    blocks = -(-file.size // BLOCK)
    assert blocks > 60 and server.count(NAME) < blocks / 3


def test_a_changed_file_is_not_read_as_the_earlier_one(server, folder):
    address = f"{server.url}/{NAME}"
    before, _ = blocks_read(address)
    server.files[NAME] = before[:-3] + b"new"
    after, file = blocks_read(address)
    assert after == server.files[NAME] != before
    assert (file.fetched, len(after)) == (len(before), len(before))
    assert len(list(cache_folder().rglob("*.blocks"))) == 1, "blocks of the earlier version are removed"


def test_a_file_that_changes_while_it_is_read_is_refused(server):
    server.script[NAME] = [Answer(), Answer(headers={"ETag": '"other"'})]
    with pytest.raises(SessionError, match=r"/mouse\.nwb has changed while it was read; run again"):
        read_recording(f"{server.url}/{NAME}")


def test_damaged_blocks_of_the_cache_are_fetched_again(server, folder):
    content, _ = blocks_read(f"{server.url}/{NAME}")
    (path,) = cache_folder().rglob("*.blocks")
    with path.open("r+b") as file:
        file.seek(2 * BLOCK + 7)
        file.write(b"\0\0\0")
    os.truncate(path, 10 * BLOCK)
    again, file = blocks_read(f"{server.url}/{NAME}")
    assert again == content
    assert file.fetched == len(content) - 9 * BLOCK
    assert file.cached == 9 * BLOCK


@pytest.mark.parametrize(
    "broken", [{"cut_after": 9_000}, {"cut_after": 0}, {"stall_after": 5_000}, {"status": 503}, {"status": 429}]
)
def test_lost_connections_and_busy_servers_are_tried_again(server, folder, broken, monkeypatch):
    monkeypatch.setattr(remote, "FIRST_ANSWER_S", 60.0)
    server.script[NAME] = [Answer(**broken), Answer(), Answer(**broken), Answer(**broken)]
    assert same(read_recording(f"{server.url}/{NAME}"), read_recording(folder / NAME))
    assert not server.script[NAME]


def test_bytes_that_arrived_before_a_cut_are_not_fetched_again(server, folder):
    content = (folder / NAME).read_bytes()
    server.script[NAME] = [Answer(), Answer(cut_after=5 * BLOCK + 99)]
    found, _ = blocks_read(f"{server.url}/{NAME}")
    assert found == content
    assert server.sent[NAME] == len(content) + 99


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"status": 404}, r"there is no file http://127.0.0.1:\d+/mouse.nwb \(HTTP 404\); check the address"),
        ({"status": 403}, r"refused the request \(HTTP 403\); it is read without an account: check the address"),
        ({"ranges": False}, "does not send parts of files .* HTTP 200.; download the file, and give its path"),
        ({"ranges": False, "headers": {"Content-Type": "text/html; charset=utf-8"}}, "is a web page and no NWB file"),
        ({"headers": {"Content-Encoding": "gzip"}}, "does not send parts of files"),
        ({"headers": {"Content-Range": "bytes 7-16390/999999"}}, "does not send parts of files"),
        ({"status": 500}, r"gave no answer for \d s \(HTTP 500\); check the address and the network"),
        ({"body": b""}, "is an empty file"),
        ({"body": b"column\tcolumn\n" * 20000}, r"mouse.nwb is not an HDF5 file \(280000 bytes\)"),
        ({"body": b"<!DOCTYPE html><html>log in</html>"}, "mouse.nwb is a web page and no HDF5 file"),
        ({"body": b"version https://git-lfs.github.com/spec/v1\n"}, "is a pointer of Git LFS"),
        ({"body": b"\x89HDF\r\n\x1a\n" + bytes(900)}, "cannot be opened, it may be cut short"),
    ],
)
def test_an_address_that_gives_no_file_is_one_error_of_at_most_three_lines(server, answer, message):
    server.always[NAME] = Answer(**answer)
    with pytest.raises(SessionError, match=message) as caught:
        read_recording(f"{server.url}/{NAME}?X-Amz-Signature=secret")
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 3 * 120


def test_without_a_network_the_error_is_one_line(capsys):
    address = f"http://127.0.0.1:{unused_port()}/{NAME}"
    with pytest.raises(
        SessionError, match=r"gave no answer for \d s \(ConnectionError\); check the address and the network"
    ) as caught:
        read_recording(address)
    assert "\n" not in str(caught.value)
    assert "next attempt in" in capsys.readouterr().err


def test_an_error_of_the_server_is_not_hidden_by_hdf5(server):
    read_recording(f"{server.url}/small.nwb")
    server.files[NAME] = server.content("small.nwb")
    server.script[NAME] = [Answer()] * (server.count("small.nwb") - 1)
    server.always[NAME] = Answer(status=403)
    with pytest.raises(SessionError, match=r"refused the request \(HTTP 403\)"):
        read_recording(f"{server.url}/{NAME}")


def test_a_link_of_a_remote_file_is_refused(server, folder, tmp_path):
    path = tmp_path / "linked.nwb"
    with h5py.File(folder / "small.nwb") as source, h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.5.0"
        for name in source:
            if name != "units":
                source.copy(name, file)
        file["units"] = h5py.ExternalLink(str(folder / "small.nwb"), "units")
        file["intervals/trials"] = h5py.SoftLink("/units")
    server.files["linked.nwb"] = path.read_bytes()
    with pytest.raises(SessionError, match=r"units is a link to another file \(.*small.nwb\); a remote file may have"):
        read_recording(f"{server.url}/linked.nwb")


def test_without_a_cache_the_file_is_read_and_a_line_gives_the_reason(server, folder, monkeypatch, tmp_path):
    lines, expected = [], read_recording(folder / "small.nwb")
    server.always["small.nwb"] = Answer(tag=False)
    assert same(read_recording(f"{server.url}/small.nwb", report=lines.append), expected)
    assert lines[0] == "fetched bytes are not kept: its server gives no version of the file"
    assert not cache_folder().exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    del server.always["small.nwb"]
    assert same(read_recording(f"{server.url}/small.nwb", report=lines.append), expected)
    assert "Not a directory" in lines[2]


def test_a_full_disk_is_an_error_that_names_the_folder(server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BlockCache, "write", full)
    with pytest.raises(SessionError, match=r"No space left on device in the cache .*neurohorizon/remote; make room"):
        read_recording(f"{server.url}/{NAME}")


def test_a_redirection_is_followed_and_a_signed_address_that_expires_is_renewed(archive, folder):
    assert same(read_recording("dandi:000129/sub-Ada/small.nwb"), read_recording(folder / "small.nwb"))
    downloaded = [path for path, _, span in archive.requests if path.endswith("/download/") and span]
    assert len(downloaded) > 1, "each signed address of this server is good for one request"
    assert any(VERSION in path for path, _, _ in archive.requests)
    found = read_recording(f"dandi://dandi/000129@{VERSION}/sub-Ada/small.nwb")
    assert found.session.session_id == "small"


def test_an_object_of_h5py_that_waits_for_collection_does_not_stop_the_server(archive, folder, monkeypatch, capsys):
    kept, answer = [h5py.File(folder / "small.nwb") for _ in range(50)], archive.answer

    def with_garbage(*request):
        if request[0].startswith("/blobs/") and kept:
            cycle = [kept.pop()]
            cycle.append(cycle)
            del cycle
            assert len([[] for _ in range(10**5)])  # enough for a collection, if it were on
        return answer(*request)

    monkeypatch.setattr(archive, "answer", with_garbage)
    monkeypatch.setattr(remote, "TIMEOUT_S", (5.0, 5.0))
    assert read_recording("dandi:000129/sub-Ada/small.nwb").session.session_id == "small"
    assert len(kept) < 50 and "Timeout" not in capsys.readouterr().err


def test_the_draft_of_a_dandiset_is_read_if_nothing_is_published(archive):
    archive.published = None
    lines = []
    read_recording("dandi:000129/sub-Ada/small.nwb", report=lines.append)
    assert lines[0] == "the draft of dandiset 000129 is read, which can change"


def test_the_key_of_an_account_is_sent_to_the_archive_only(archive, monkeypatch):
    archive.embargoed = True
    with pytest.raises(SessionError, match=r"refused .*HTTP 401.*set DANDI_API_KEY to the key of an account"):
        read_recording("dandi:000129/sub-Ada/small.nwb")
    monkeypatch.setenv(remote.TOKEN, KEY)
    archive.requests.clear()
    read_recording("dandi:000129/sub-Ada/small.nwb")
    assert {bool(key) for path, key, _ in archive.requests if path.startswith("/blobs")} == {False}
    assert {key for path, key, _ in archive.requests if not path.startswith("/blobs")} == {f"token {KEY}"}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("dandi:000129/sub-Ada/sma", "has no file sub-Ada/sma; it has sub-Ada/small.nwb; copy the path"),
        ("dandi:000129/sub-Cy/a.nwb", "has no file sub-Cy/a.nwb; copy the path"),
        ("dandi:000129/sub-Bo/a.zarr", "is a Zarr folder; expected an HDF5 file"),
        ("dandi:000999/a.nwb", "there is no file dandi:000999/a.nwb"),
        ("dandi:000129@9.9.9/a.nwb", "there is no file dandi:000129@9.9.9/a.nwb"),
    ],
)
def test_an_asset_that_is_not_there_is_one_error(archive, address, message):
    with pytest.raises(SessionError, match=message):
        read_recording(address)


def test_an_archive_that_answers_no_json_is_one_error(archive):
    archive.faults.append(DandiFault("dandisets", status=200, text="<html>down</html>", times=99))
    with pytest.raises(SessionError, match="gave no answer in JSON"):
        read_recording("dandi:000129/sub-Ada/small.nwb")


def test_a_bucket_is_read_without_an_account_at_its_endpoint(server, folder, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"{server.url}/")
    server.files["my-bucket/a b/mouse.nwb"] = (folder / "small.nwb").read_bytes()
    found = read_recording("s3://my-bucket/a b/mouse.nwb")
    assert len(found.session.spike_times_us) == len(read_recording(folder / "small.nwb").session.spike_times_us)


def test_a_bucket_of_another_region_is_found(server, folder, monkeypatch):
    monkeypatch.setattr(remote, "_s3_url", lambda address, region="world": f"{server.url}/{region}/{address.inside}")
    server.script["world/mouse.nwb"] = [Answer(status=301, headers={"x-amz-bucket-region": "eu-west-1"})]
    server.files["eu-west-1/mouse.nwb"] = (folder / "small.nwb").read_bytes()
    assert len(read_recording("s3://bucket/mouse.nwb").session.spike_times_us)
    assert server.count("world/mouse.nwb") == 1


def test_addresses_of_buckets_are_those_of_aws():
    one, dotted = read_address("s3://bucket/a b/c.nwb"), read_address("s3://my.bucket/c.nwb")
    assert remote._s3_url(one) == "https://bucket.s3.amazonaws.com/a%20b/c.nwb"
    assert remote._s3_url(one, "eu-west-1") == "https://bucket.s3.eu-west-1.amazonaws.com/a%20b/c.nwb"
    assert remote._s3_url(dotted) == "https://s3.amazonaws.com/my.bucket/c.nwb"


def test_a_redirection_that_leaves_encryption_is_refused(server, monkeypatch):
    get = requests.Session.get
    plain = f"{server.url}/{NAME}"
    monkeypatch.setattr(requests.Session, "get", lambda self, url, **given: get(self, plain, **given))
    with pytest.raises(SessionError, match=r"https://example.org/mouse.nwb leads to an address without encryption"):
        read_recording("https://example.org/mouse.nwb")


@pytest.mark.parametrize(
    ("text", "name", "shown"),
    [
        ("https://user:secret@host.org:80/a/b%20c.nwb?token=secret#x", "b-c.nwb", "https://host.org:80/a/b%20c.nwb"),
        ("http://host.org/blobs/0aaf-11/", "0aaf-11", "http://host.org/blobs/0aaf-11/"),
        ("https://host.org/a%2F..%2F..%2F.nwb", "nwb", "https://host.org/a%2F..%2F..%2F.nwb"),
        ("s3://bucket/a/b.nwb", "b.nwb", "s3://bucket/a/b.nwb"),
        ("DANDI:000129@draft/a/b.nwb", "b.nwb", "DANDI:000129@draft/a/b.nwb"),
    ],
)
def test_an_address_has_a_name_for_a_folder_and_hides_what_is_secret(text, name, shown):
    assert is_address(text)
    found = read_address(text)
    assert (found.name, str(found)) == (name, shown)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://host/a.nwb", "addresses with ftp:// cannot be read; expected https://HOST/FILE.nwb"),
        ("https://host.org", "https://host.org names no file"),
        ("s3://bucket", "'s3://bucket' names no file of a bucket"),
        ("s3://Bad_Bucket/a.nwb", "names no file of a bucket"),
        ("dandi:129/a.nwb", "'dandi:129/a.nwb' is no address of a file in the DANDI archive"),
        ("dandi:000129@1.2.3", "is no address of a file"),
        ("dandi:000129/../a.nwb", "is no address of a file"),
        ("https://host:port/a.nwb", "the address is damaged"),
    ],
)
def test_an_address_of_another_form_is_refused_with_the_forms(text, message):
    assert is_address(text)
    with pytest.raises(AddressError, match=message):
        read_address(text)


@pytest.mark.parametrize("text", ["mouse.nwb", "C:\\a.nwb", "a:b", "recordings/dandi.nwb", 3, [1.0]])
def test_a_path_is_no_address(text):
    assert not is_address(text)


def test_without_its_package_the_error_names_the_command(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "requests", None)
    for name in ("remote", "downloads", "dandi"):
        monkeypatch.delitem(sys.modules, f"neurohorizon.ingest.{name}")
    with pytest.raises(ModuleNotFoundError, match=r'requests: pip install "neurohorizon\[nwb,remote\]"'):
        read_recording("https://example.org/mouse.nwb")
    assert main(["check", "https://example.org/mouse.nwb"]) == 1
    assert 'pip install "neurohorizon[model,nwb,remote]"' in capsys.readouterr().err
