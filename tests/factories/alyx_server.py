"""A database and a file server of the IBL on this machine, for the true ONE, with the faults of real ones."""

import hashlib
import json
import re
import threading
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import one

SCHEMA = Path(one.__file__).parent / "tests" / "fixtures" / "rest_responses" / "openapiv3.json"
"""Endpoints of a database as they are listed to ONE; the file is a part of ONE's package."""
TOKEN = "a token"
DETAILS = {403: "Invalid token.", 404: "Not found."}


@dataclass
class Fault:
    """A fault of requests.

    Attributes:
        pattern: Regular expression that the path and the query must contain.
        kind: An HTTP status; ``stall`` sends a few bytes, then nothing; ``cut`` closes the connection at half of the
            file; ``slow`` sends a tenth of it at a time; ``damage`` changes the last bytes, in another way each time;
            ``html`` sends a page.
        times: Requests that fail, before all succeed.
        headers: Further headers of the answer.
    """

    pattern: str
    kind: int | str
    times: int = 10**9
    headers: dict[str, str] = field(default_factory=dict)


class AlyxServer:
    """A server of a release in ALF, as ``simulate_release`` writes it.

    Attributes:
        url: Its address.
        sessions: Answers about sessions, by id; their datasets may be changed, and given other ``copies``.
        faults: Its faults, in the order in which they are tried.
        requests: Requests so far: method, and path with query.
        login: Name and password that it accepts.
        insertions: Answers about insertions, each with its ``tag``.
    """

    def __init__(self, release: Path) -> None:
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.login = ("somebody", "a password")
        self.insertions: list[dict[str, Any]] = []
        self._files: dict[str, Path] = {}
        self._over = threading.Event()
        self._lock = threading.Lock()
        server = self
        handler = type("Handler", (_Handler,), {"server_of": server})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # a client that leaves is no fault
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        folders = sorted(release.glob("*/Subjects/*/*/*"))
        self.sessions = {
            _id(folder.name + folder.parent.as_posix()): self._session(release, folder) for folder in folders
        }
        for eid, session in self.sessions.items():
            session |= {"id": eid, "url": f"{self.url}/sessions/{eid}"}

    def _session(self, release: Path, folder: Path) -> dict[str, Any]:
        place = folder.relative_to(release)
        lab, _, subject, date, number = place.parts
        datasets = [self._dataset(place, path, path.relative_to(folder)) for path in sorted(folder.rglob("*.*"))]
        for dataset in datasets:
            same = [other["revision"] for other in datasets if _name(other) == _name(dataset)]
            dataset["default_revision"] = str(dataset["revision"] == max(same))
        return {
            "subject": subject,
            "lab": lab,
            "number": int(number),
            "start_time": f"{date}T10:00:00",
            "task_protocol": "ephysChoiceWorld",
            "projects": ["ibl"],
            "data_dataset_session_related": datasets,
        }

    def _dataset(self, place: Path, path: Path, within: Path) -> dict[str, Any]:
        dataset_id, content = _id(path.as_posix()), path.read_bytes()
        self._files[dataset_id] = path
        revision = next((part.strip("#") for part in within.parts if part.startswith("#")), "")
        return {
            "id": dataset_id,
            "name": path.name,
            "dataset_type": path.stem,
            "data_url": f"{self.url}/public/{place}/{within.parent}/{path.stem}.{dataset_id}{path.suffix}",
            "url": f"{self.url}/datasets/{dataset_id}",
            "file_size": len(content),
            "hash": hashlib.md5(content).hexdigest(),
            "version": "1",
            "collection": "/".join(part for part in within.parent.parts if not part.startswith("#")),
            "revision": revision,
            "qc": "NOT_SET",
        }

    def dataset(self, name: str) -> dict[str, Any]:
        """Return the record of the first file whose path within the session ends so."""
        return next(
            dataset
            for session in self.sessions.values()
            for dataset in session["data_dataset_session_related"]
            if f"{dataset['collection']}/{dataset['revision']}/{dataset['name']}".endswith(name)
        )

    def downloaded(self) -> list[str]:
        """Return names of requested files, without their ids, sorted."""
        names = [path.rpartition("/")[2] for path in self.requests if "/public/" in path or "/bucket/" in path]
        return sorted(re.sub(r"\.[0-9a-f-]{36}\.", ".", name) for name in names)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: str) -> Any:
        """Return the answer to a request: JSON, a file, or a status."""
        parts = path.strip("/").split("/")
        if method == "POST" and parts == ["auth-token"]:
            sent = urllib.parse.parse_qs(body)
            good = (sent.get("username"), sent.get("password")) == tuple([value] for value in self.login)
            return {"token": TOKEN} if good else 400
        if parts[0] == "me":
            return {"username": self.login[0]}
        if parts[:2] == ["api", "schema"]:
            return json.loads(SCHEMA.read_text())
        if parts[0] == "sessions" and len(parts) == 2:
            return self.sessions.get(parts[1], 404)
        if parts[0] == "sessions":
            return [session for session in self.sessions.values() if session["subject"] in query.get("subject", [])]
        if parts[0] == "datasets":
            wanted = re.findall(r"[0-9a-f-]{36}", query["django"][0])
            return [
                self._with_copies(session, dataset)
                for dataset_id in wanted
                for session, dataset in self._of(dataset_id)
            ]
        if parts[0] == "insertions":
            tag, limit = query["django"][0].split(",")[1], int(query.get("limit", ["250"])[0])
            offset, all_of = int(query.get("offset", ["0"])[0]), [one for one in self.insertions if one["tag"] == tag]
            after = f"{self.url}/insertions?django=datasets__tags__name,{tag}&limit={limit}&offset={offset + limit}"
            page = all_of[offset : offset + limit]
            return {
                "count": len(all_of),
                "next": after if offset + limit < len(all_of) else None,
                "previous": None,
                "results": page,
            }
        if parts[0] in ("public", "bucket"):
            return self._files.get(parts[-1].split(".")[-2], 404)
        return 404

    def _of(self, dataset_id: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for session in self.sessions.values():
            for dataset in session["data_dataset_session_related"]:
                if dataset["id"] == dataset_id:
                    yield session, dataset

    def _with_copies(self, session: dict[str, Any], dataset: dict[str, Any]) -> dict[str, Any]:
        url = dataset["data_url"]
        copies = dataset.get(
            "copies", {"flatiron_lab": url, "aws_lab": url.replace("/public/", "/bucket/"), "lab": None}
        )
        records = [
            {
                "id": _id(f"{dataset['id']} {name}"),
                "data_repository": name,
                "data_repository_path": "/public/",
                "relative_path": dataset["name"],
                "data_url": address,
                "exists": True,
            }
            for name, address in copies.items()
        ]
        shown = {key: dataset[key] for key in ("url", "name", "file_size", "hash", "collection", "revision", "qc")}
        return shown | {"session": session["url"], "default_dataset": True, "file_records": records}

    def fault_of(self, path: str) -> Fault | None:
        """Return the fault of a request, and count it."""
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault
        return None

    @contextmanager
    def running(self) -> Iterator["AlyxServer"]:
        """Serve in a thread."""
        thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._http.shutdown()
            self._http.server_close()
            thread.join()


def _id(place: str) -> str:
    # ids of the database are of version 4
    return str(uuid.UUID(bytes=hashlib.md5(place.encode()).digest(), version=4))


def _name(dataset: dict[str, Any]) -> tuple[str, str]:
    return dataset["collection"], dataset["name"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: AlyxServer

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._respond("GET")

    def do_POST(self) -> None:
        self._respond("POST")

    def _respond(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        place = urllib.parse.unquote(self.path)
        self.server_of.requests.append(f"{method} {place}")
        url = urllib.parse.urlsplit(self.path)
        fault = self.server_of.fault_of(place)
        kind = fault.kind if fault else ""
        answer = (
            kind
            if isinstance(kind, int)
            else self.server_of.answer(method, urllib.parse.unquote(url.path), urllib.parse.parse_qs(url.query), body)
        )
        status, content = 200, b""
        if isinstance(answer, int):
            status, content = answer, json.dumps({"detail": DETAILS.get(answer, "an error")}).encode()
        elif isinstance(answer, Path):
            content = answer.read_bytes()
        else:
            content = json.dumps(answer).encode()
        if kind == "html":
            content = b"<html>a page</html>"
        if kind == "damage":
            content = content[:-8] + uuid.uuid4().bytes[:8]
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        whole = len(content)
        if start and isinstance(answer, Path):
            status, content = 206, content[int(start[1]) :]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start[1]}-{whole - 1}/{whole}")
        for name, value in (fault.headers if fault else {}).items():
            self.send_header(name, value)
        self.end_headers()
        if kind == "stall":
            self.wfile.write(content[: min(100, len(content) // 2)])
            self.wfile.flush()
            self.server_of._over.wait(60)
            return
        if kind == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        if kind == "slow":
            for piece in range(0, len(content), len(content) // 10 + 1):
                self.wfile.write(content[piece : piece + len(content) // 10 + 1])
                self.wfile.flush()
                self.server_of._over.wait(0.1)
            return
        self.wfile.write(content)
