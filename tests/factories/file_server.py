"""A local server of files with the faults of real ones: slow, stalled, cut short, busy, changed, damaged.

It uses only the standard library, so that a driver in the environment of a rule can start it too.
"""

import hashlib
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from factories.collection import PausedCollection


@dataclass(frozen=True)
class Answer:
    """How the server answers one request; by default as it should.

    Attributes:
        status: An error instead of the file.
        headers: More headers.
        body: Content instead of the file's.
        cut_after: Bytes after which the connection is closed, although more were promised.
        stall_after: Bytes after which nothing more comes, until the server is closed.
        pause_s: Pause before each piece.
        piece: Bytes of a piece.
        ranges: Whether the request's ``Range`` is respected.
        if_range: Whether the request's ``If-Range`` is respected.
        tag: Whether the file's ``ETag`` is given.
        length: Whether ``Content-Length`` is given.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    pause_s: float = 0.0
    piece: int = 1 << 16
    ranges: bool = True
    if_range: bool = True
    tag: bool = True
    length: bool = True


class FileServer:
    """Files of a folder, or those of :attr:`files`, by their names.

    Attributes:
        files: Content by name; they come before those of the folder.
        script: Answers to the next requests of a file, in their order; after them it is served as it should be.
        always: Answers to all requests of a file for which no scripted one is left.
        requests: Name and first byte of each request.
        sent: Bytes sent of each file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {}
        self.script: dict[str, list[Answer]] = defaultdict(list)
        self.always: dict[str, Answer] = {}
        self.requests: list[tuple[str, int]] = []
        self.sent: dict[str, int] = defaultdict(int)
        self.closed = threading.Event()
        self.lock = threading.Lock()
        self._collection = PausedCollection()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with suppress(OSError):
                    server.answer(self)

            def log_message(self, *_: object) -> None:
                """Keep the output of tests short."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Clients break off on purpose."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """End the server and all that it still sends."""
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._collection.end()

    def count(self, name: str) -> int:
        """Return the number of requests of a file."""
        return sum(asked == name for asked, _ in self.requests)

    def content(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is none."""
        path = (self.folder or Path("/nowhere")) / name
        return self.files[name] if name in self.files else path.read_bytes() if path.is_file() else None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        name = unquote(urlsplit(handler.path).path).lstrip("/")
        asked = handler.headers.get("Range", "")
        first, _, last = asked.removeprefix("bytes=").partition("-")
        first = int(first or 0)
        with self.lock:
            self.requests.append((name, first))
            how = self.script[name].pop(0) if self.script[name] else self.always.get(name, Answer())
        content = self.content(name) if how.body is None else how.body
        status = how.status or (404 if content is None else None)
        if status or content is None:
            self._send(handler, status or 404, f"<html>{status}</html>".encode(), how, {})
            return
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        named = {"ETag": tag} if how.tag else {}
        changed = how.if_range and handler.headers.get("If-Range", tag) != tag
        if not asked or not how.ranges or changed:
            self._send(handler, 200, content, how, named, name)
        elif first >= len(content):
            self._send(handler, 416, b"", how, {"Content-Range": f"bytes */{len(content)}"})
        else:
            stop = min(int(last) + 1, len(content)) if last else len(content)
            span = {"Content-Range": f"bytes {first}-{stop - 1}/{len(content)}"}
            self._send(handler, 206, content[first:stop], how, named | span, name)

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        how: Answer,
        headers: dict[str, str],
        name: str = "",
    ) -> None:
        handler.send_response(status)
        length = {"Content-Length": str(len(content))} if how.length else {"Connection": "close"}
        for key, value in (length | headers | how.headers).items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.close_connection = not how.length or how.cut_after is not None
        limit = min(len(content), *(one for one in (how.cut_after, how.stall_after, len(content)) if one is not None))
        for at in range(0, limit, how.piece):
            if self.closed.wait(how.pause_s) if how.pause_s else self.closed.is_set():
                return
            part = content[at : min(at + how.piece, limit)]
            handler.wfile.write(part)
            self.sent[name] += len(part)
        if how.stall_after is not None:
            self.closed.wait()


@contextmanager
def serving(folder: Path | None = None) -> Iterator[FileServer]:
    """Give a running server, and close it."""
    server = FileServer(folder)
    try:
        yield server
    finally:
        server.close()


def unused_port() -> int:
    """Return a port of this machine where nothing answers."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is true.

    Raises:
        TimeoutError: It is not, after the given time.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("it never became true")
        time.sleep(0.02)
