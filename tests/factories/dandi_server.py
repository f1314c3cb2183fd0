"""A local archive with the answers of DANDI's REST interface, and a store of blobs, both with faults on demand.

Standard library only: tests use it, and the driver in the environment of DANDI's client.
"""

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import NAMESPACE_URL, uuid5

from factories.collection import PausedCollection

VERSION, KEY = "0.240101.1200", "key-of-an-account"
_VERSION = r"/dandisets/(\d{6})/versions/([\w.]+)"
PAGE = 2
"""Assets on a page, where the client does not ask for more."""


@dataclass
class Asset:
    """One asset.

    Attributes:
        path: Path in the dandiset.
        content: Bytes of its blob.
        sha256: Hash in its metadata; None for that of the content, "" for none.
        etag: The same for DANDI's etag.
        zarr: Whether it is a Zarr store.
    """

    path: str
    content: bytes
    sha256: str | None = None
    etag: str | None = None
    zarr: bool = False

    @property
    def identifier(self) -> str:
        return str(uuid5(NAMESPACE_URL, f"{self.path} {hashlib.md5(self.content).hexdigest()}"))

    def listed(self) -> dict:
        """Return its entry in a list of assets."""
        kinds = {"blob": None, "zarr": self.identifier} if self.zarr else {"blob": self.identifier, "zarr": None}
        when = "2024-01-01T12:00:00.000000Z"
        sizes = {"size": len(self.content), "created": when, "modified": when}
        return {"asset_id": self.identifier, **kinds, "path": self.path, **sizes}

    def metadata(self, url: str) -> dict:
        """Return its metadata."""
        parts = hashlib.md5(hashlib.md5(self.content).digest()).hexdigest()
        digests = {
            "dandi:sha2-256": hashlib.sha256(self.content).hexdigest() if self.sha256 is None else self.sha256,
            "dandi:dandi-etag": f"{parts}-1" if self.etag is None else self.etag,
        }
        return {
            "schemaKey": "Asset",
            "path": self.path,
            "contentSize": len(self.content),
            "digest": {name: value for name, value in digests.items() if value},
            "contentUrl": [f"{url}/assets/{self.identifier}/download/"],
        }


@dataclass
class Fault:
    """A fault of the next answers.

    Attributes:
        of: Pattern of the paths of requests that have it; paths of the store begin with ``/blobs/``.
        status: HTTP status to answer; 0 for none.
        headers: Headers of that answer.
        text: Its content.
        stall: Whether nothing is sent any more, at ``at`` bytes of the content.
        cut: Whether the connection is closed at ``at`` bytes.
        flip: Whether one bit of the content differs.
        times: How many answers have it.
    """

    of: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = "out of order"
    stall: bool = False
    cut: bool = False
    flip: bool = False
    at: int = 0
    times: int = 1


class DandiServer:
    """An archive with one dandiset, and its store, each at a port of this machine.

    Args:
        assets: Assets of the dandiset, in every version.
        dandiset: Its number.
        embargoed: Whether only requests with :data:`KEY` may read it.

    Attributes:
        requests: Path, and ``Authorization`` and ``Range`` of every request.
        published: Its most recent version, None if it has only a draft.
        faults: Faults that are left.
    """

    def __init__(self, assets: list[Asset], *, dandiset: str = "000129", embargoed: bool = False) -> None:
        self.assets = assets
        self.dandiset = dandiset
        self.embargoed = embargoed
        self.requests: list[tuple[str, str, str]] = []
        self.faults: list[Fault] = []
        self.published: dict[str, str] | None = {"version": VERSION}
        self._collection = PausedCollection()
        self._open = threading.Event()
        self._signatures: dict[str, str] = {}
        self._ports = [ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answers, self)) for _ in range(2)]
        for one in self._ports:
            one.daemon_threads = True
            one.handle_error = lambda *_: None  # a client that leaves is no fault
            threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True).start()
        self.url, self.store = (f"http://127.0.0.1:{one.server_address[1]}" for one in self._ports)
        self.api_url = f"{self.url}/api"

    def close(self) -> None:
        """Stop, and end answers that are stalled."""
        self._open.set()
        for one in self._ports:
            one.shutdown()
            one.server_close()
        self._collection.end()

    def fault(self, path: str) -> Fault | None:
        """Take the next fault of a path."""
        for one in self.faults:
            if one.times and re.search(one.of, path):
                one.times -= 1
                return one
        return None

    def wait(self) -> None:
        """Wait until the server is closed."""
        self._open.wait(60)

    def answer(self, path: str, query: dict[str, str], key: str) -> tuple[int, dict | bytes, dict[str, str]]:
        """Return status, content and headers of an answer without a fault."""
        if blob := re.fullmatch(r"/blobs/([\w-]+)", path):
            found = self._asset(blob[1])
            # a signed address is good for one request, as if it had expired by the next
            if not found or self._signatures.pop(query.get("X-Amz-Signature", ""), None) != blob[1]:
                return 403, b"<Error><Code>AccessDenied</Code></Error>", {}
            return 200, found.content, {"ETag": f'"{found.identifier}"', "Accept-Ranges": "bytes"}
        path = path.removeprefix("/api")
        if key not in ("", f"token {KEY}"):
            return 401, {"detail": "Invalid token."}, {}
        if self.embargoed and not key:
            return 401, {"detail": "Authentication credentials were not provided."}, {}
        if asset := re.fullmatch(rf"(?:{_VERSION})?/assets/([\w-]+)/(download/)?", path):
            found = self._asset(asset[3])
            if not found:
                return 404, {"detail": "Not found."}, {}
            if not asset[4]:
                return 200, found.metadata(self.api_url), {}
            signature = hashlib.md5(str(time.monotonic_ns()).encode()).hexdigest()
            self._signatures[signature] = found.identifier
            where = f"{self.store}/blobs/{found.identifier}?X-Amz-Signature={signature}"
            return 302, b"", {"Location": where}
        if path == f"/dandisets/{self.dandiset}/":
            return 200, {"identifier": self.dandiset, "most_recent_published_version": self.published}, {}
        listed = re.fullmatch(rf"{_VERSION}/assets/", path)
        if not listed or listed[1] != self.dandiset or listed[2] not in (VERSION, "draft"):
            return 404, {"detail": "Not found."}, {}
        return 200, self._page(path, query), {}

    def _asset(self, identifier: str) -> Asset | None:
        return next((one for one in self.assets if one.identifier == identifier), None)

    def _page(self, path: str, query: dict[str, str]) -> dict:
        found = [one for one in self.assets if one.path.lower().startswith(query.get("path", "").lower())]
        if "glob" in query:
            pattern = "^" + re.escape(query["glob"]).replace(r"\*", ".*") + "$"
            found = [one for one in found if re.search(pattern, one.path, flags=re.IGNORECASE)]
        size, page = int(query.get("page_size", PAGE)), int(query.get("page", 1))
        more = {**query, "page": str(page + 1)}
        following = f"{self.api_url}{path}?{urlencode(more)}" if page * size < len(found) else None
        results = [one.listed() for one in found[(page - 1) * size : page * size]]
        count = len(found) if page == 1 else None
        return {"count": count, "next": following, "previous": None, "results": results}


class _Answers(BaseHTTPRequestHandler):
    def __init__(self, server: DandiServer, *arguments: object) -> None:
        self.archive = server
        super().__init__(*arguments)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        key, begin = self.headers.get("Authorization", ""), self.headers.get("Range", "")
        self.archive.requests.append((parts.path, key, begin))
        fault = self.archive.fault(parts.path) or Fault("")
        status, content, headers = self.archive.answer(parts.path, query, key)
        if fault.status:
            status, content, headers = fault.status, fault.text.encode(), fault.headers
        if not isinstance(content, bytes):
            content, headers = json.dumps(content).encode(), {**headers, "Content-Type": "application/json"}
        if fault.flip:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start, same = re.fullmatch(r"bytes=(\d+)-(\d*)", begin), headers.get("ETag", "")
        if status == 200 and start and self.headers.get("If-Range", same) == same:
            status, first, stop = 206, int(start[1]), min(int(start[2] or len(content)) + 1, len(content))
            headers["Content-Range"] = f"bytes {first}-{stop - 1}/{len(content)}"
            content = content[first:stop]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        sent = content[: fault.at] if fault.stall or fault.cut else content
        self.wfile.write(sent)
        self.wfile.flush()
        if fault.stall:
            self.archive.wait()
