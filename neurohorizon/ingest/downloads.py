"""Downloads that survive slow, stalled and broken connections, and report their progress.

Public files are fetched over HTTPS with a timeout on every socket. A part of a file is kept in ``{name}.part`` and
continued with a ``Range`` request, by the next attempt or by the next run. A file appears under its name only if its
length, and its hash where one is known, are as expected.
"""

import errno
import fcntl
import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import requests

from neurohorizon.durations import as_time
from neurohorizon.files import bytes_as_text
from neurohorizon.ingest.leave_out import PassingFault, SourceUnavailable
from neurohorizon.session import SessionError

TIMEOUT_S = (10.0, 60.0)
"""Longest wait for a connection, and for the next bytes."""
RUN_AGAIN = "check the network and run again: files and parts of files are kept"
"""What to do if a server gives no answer."""
CHUNK_BYTES = 1 << 16
"""Bytes that are written at once; fewer are lost where a connection breaks."""
DAMAGED_ATTEMPTS = 3
"""Downloads of one file whose length or hash differs, before it is given up."""
_FIRST_WAIT_S = 2.0
_LONGEST_WAIT_S = 300.0
_REPORT_EVERY_S = 15.0
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_NO_ADDRESS = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)

Result = TypeVar("Result")


class NotOffered(SessionError):  # noqa: N818 - an answer of the server
    """The server has no such file (HTTP 404 or 410)."""


@dataclass
class Expected:
    """Properties that a file must have.

    Attributes:
        size: Its length in bytes; None if unknown, in which case the server's ``Content-Length`` is used.
        hashes: Its hash by kind, such as ``{"sha1": "..."}``; empty if none is known.
        fault_of: Reads a file and returns its fault, "" if it has none. For archives without hashes.
    """

    size: int | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    fault_of: Callable[[Path], str] | None = None


def download(
    url: str,
    path: Path,
    *,
    outage_hours: float,
    expected: Expected | None = None,
    headers: Mapping[str, str] | None = None,
) -> Path:
    """Fetch one public file, unless it is there, and return its path.

    Progress goes to the standard error: bytes, rate and time left, at most every 15 seconds. Two processes that
    download to the same path wait for each other.

    Args:
        url: Address, read without credentials except those in ``headers``.
        path: File to write; its folder is made.
        outage_hours: How long a server that fails is tried again before the error is raised.
        expected: Its length and hash, where they are known. A file of that name that is there already must match them;
            one that does not is kept as ``{name}.damaged``.
        headers: Further headers of the requests; a redirection to another host does not receive ``Authorization``.

    Raises:
        NotOffered: The server has no such file.
        PassingFault: Its length or hash differed in every attempt.
        SourceUnavailable: The server refuses, or fails for longer than ``outage_hours``.
    """
    path, expected = Path(path), expected or Expected()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if path.is_file():
            if not (fault := _difference(path, expected)):
                report(f"{path.name}: {bytes_as_text(path.stat().st_size)}, downloaded before")
                return path
            report(f"{path.name}: {fault}; kept as {path.name}.damaged, downloading it again")
            path.replace(path.with_name(f"{path.name}.damaged"))
        part = path.with_name(f"{path.name}.part")
        furthest = _size(part)
        if_refused = "check your credentials" if headers else _WITHOUT_CREDENTIALS

        def go_on() -> int | None:
            nonlocal furthest
            try:
                return _continue_part(url, part, headers or {})
            except Interrupted as error:
                error.further, furthest = _size(part) > furthest, max(_size(part), furthest)
                raise

        for _ in range(DAMAGED_ATTEMPTS):
            size = patiently(go_on, what=url, outage_hours=outage_hours, if_refused=if_refused)
            known = expected if expected.size is not None else replace(expected, size=size)
            fault = _difference(part, known)
            _version_file(part).unlink(missing_ok=True)
            if not fault:
                part.replace(path)
                return path
            report(f"{path.name}: {fault}; downloading it again")
            part.unlink()
    raise PassingFault(
        f"{path.name} is damaged in each of {DAMAGED_ATTEMPTS} downloads: {fault}; it is tried again when the run is "
        "started again; if that fails too, the archive's file or the expected hash is wrong"
    )


def read_url(url: str, *, outage_hours: float) -> bytes:
    """Return a small public file.

    Raises:
        NotOffered: The server has no such file.
        SourceUnavailable: The server refuses, or fails for longer than ``outage_hours``.
    """

    def read() -> bytes:
        with requests.get(url, timeout=TIMEOUT_S) as response:
            raise_for_answer(response, url)
            return response.content

    return patiently(read, what=url, outage_hours=outage_hours, if_refused=_WITHOUT_CREDENTIALS)


_WITHOUT_CREDENTIALS = "it is read without credentials: check the address and the network's proxy"


def patiently(
    call: Callable[[], Result], *, what: str, outage_hours: float, if_refused: str = "check your credentials"
) -> Result:
    """Call until an outage is over: after each passing failure, wait longer, up to five minutes.

    Passing failures are lost and refused connections, timeouts, and HTTP 408, 425, 429 and 5xx; a server's
    ``Retry-After`` is respected. The time starts again whenever a download went further than before it failed.

    Args:
        call: Raises ``OSError`` (as requests and urllib do) where it fails.
        what: Name of the server or file, for messages.
        outage_hours: How long to go on.
        if_refused: What to do after HTTP 401 or 403.

    Raises:
        SourceUnavailable: It failed for longer than ``outage_hours``, the server refuses, or the disk is full.
        NotOffered: The server answered HTTP 404 or 410.
    """
    start, wait_s = time.monotonic(), _FIRST_WAIT_S
    while True:
        try:
            return call()
        except Interrupted as error:
            failure, asked_s = error.reason, 0.0
            if error.further:  # this is another outage
                start, wait_s = time.monotonic(), _FIRST_WAIT_S
        except OSError as error:
            status = status_of(error)
            if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                raise NotOffered(f"{what} is not offered (HTTP {status})") from None
            if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise SourceUnavailable(f"{what} refused the request (HTTP {status}); {if_refused}") from None
            if status is not None and 400 <= status < 500 and status not in _PASSING:
                raise SourceUnavailable(f"{what} refused the request (HTTP {status})") from None
            if status is None and error.errno in _OF_THE_DISK:
                raise SourceUnavailable(
                    f"{what} cannot be stored ({error.strerror}: {error.filename or 'the disk'}); make room and run "
                    "again: files and parts of files are kept"
                ) from None
            if isinstance(error, _NO_ADDRESS):
                raise SourceUnavailable(f"{what} is no address ({error}); correct it in the configuration") from None
            failure = f"HTTP {status}" if status else type(error).__name__
            asked_s = _retry_after_s(error)
        spent_s = time.monotonic() - start
        pause_s = max(wait_s, min(asked_s, 12 * _LONGEST_WAIT_S))
        if spent_s + pause_s > outage_hours * 3600:
            raise SourceUnavailable(f"{what} gave no answer for {as_time(spent_s)} ({failure}); {RUN_AGAIN}")
        report(f"{what}: {failure}; next attempt in {as_time(pause_s)}")
        time.sleep(pause_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


class Interrupted(OSError):  # noqa: N818 - a state of the connection
    """A download failed after it had received bytes.

    Attributes:
        reason: What happened.
        further: Whether it went further than before; a server that always sends the start of a file does not count.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.further = False


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of an error of requests or urllib, or None where there was no answer."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if status is not None else getattr(error, "code", None)


def raise_for_answer(response: requests.Response, url: str) -> None:
    """Raise for every answer that is not the file, such as an error page.

    Raises:
        requests.HTTPError: The status is an error.
    """
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        # the text of requests' own error may repeat credentials
        raise requests.HTTPError(f"{url}: HTTP {response.status_code}", response=response)


def _continue_part(url: str, part: Path, headers: Mapping[str, str]) -> int | None:
    """Append the rest of a file to its part; return the whole length, or None where the server gives none.

    Raises:
        Interrupted: The connection failed after bytes had arrived.
        OSError: It failed before.
    """
    version = _version_file(part)
    tag = version.read_text() if version.is_file() else ""
    there = _size(part)
    # without compression, positions and lengths are those of the file
    headers = {**headers, "Accept-Encoding": "identity"}
    if there:
        # a file that has changed since is sent from its start
        headers |= {"Range": f"bytes={there}-"} | ({"If-Range": tag} if tag else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _whole_length(response, 0)
        raise_for_answer(response, url)
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            there = 0
            version.write_text(_version_of(response))
        elif tag and _version_of(response) not in ("", tag):
            part.unlink()  # a server may give a range of the new version, whatever If-Range demands
            raise Interrupted("the file has changed since its first part was downloaded")
        whole = _whole_length(response, there)
        progress = Progress(part.stem, there=there, whole=whole)
        if there:
            report(f"{part.stem}: {bytes_as_text(there)} are there, going on")
        try:
            with open(part, "ab" if there else "wb") as file:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    progress.add(len(chunk))
        except requests.RequestException as error:
            if progress.received:
                raise Interrupted(f"{type(error).__name__} after {bytes_as_text(progress.received)}") from None
            raise
        if whole is not None and part.stat().st_size < whole:
            raise Interrupted(f"connection closed at {bytes_as_text(part.stat().st_size)} of {bytes_as_text(whole)}")
        progress.end()
        return whole


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _version_of(response: requests.Response) -> str:
    """Return what identifies the bytes of a file; "" where a server gives nothing that If-Range accepts."""
    tag = response.headers.get("ETag", "")
    return response.headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag


def _whole_length(response: requests.Response, there: int) -> int | None:
    ranged = response.headers.get("Content-Range", "").rpartition("/")[2]
    if ranged.isdigit():
        return int(ranged)
    length = response.headers.get("Content-Length", "")
    return there + int(length) if length.isdigit() else None


def _retry_after_s(error: OSError) -> float:
    """Return the seconds that a server wants a client to wait; 0 where it gives none."""
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None) or {}
    value = headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return 0.0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _difference(path: Path, expected: Expected) -> str:
    """Return how a file differs from what is expected of it; "" if it does not."""
    size = path.stat().st_size
    if expected.size is not None and size != expected.size:
        return f"it has {size} bytes, expected {expected.size}"
    for kind, value in expected.hashes.items():
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != value:
            return f"its {kind} is {found}, expected {value}"
    return expected.fault_of(path) if expected.fault_of else ""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file; another process waits. The lock ends with the process, however that ends."""
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"{path.name}: another process downloads it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            report(f"{path.name}: this file system has no locks ({error.strerror}); going on without")
        yield


class Progress:
    """Progress of one file, reported at most every 15 seconds and at its end.

    Attributes:
        received: Bytes of this connection.
    """

    def __init__(self, name: str, *, there: int = 0, whole: int | None = None) -> None:
        self.name = name
        self.there = there
        self.whole = whole
        self.received = 0
        self._start = self._reported = time.monotonic()

    def add(self, size: int) -> None:
        """Count bytes."""
        self.received += size
        if time.monotonic() - self._reported >= _REPORT_EVERY_S:
            self._reported = time.monotonic()
            report(self.line())

    def end(self) -> None:
        """Report the whole."""
        report(self.line())

    def line(self) -> str:
        """Return bytes, rate and time left as one line."""
        done, spent_s = self.there + self.received, max(time.monotonic() - self._start, 1e-3)
        rate = self.received / spent_s
        line = f"{self.name}: {bytes_as_text(done)}"
        if self.whole:
            line += f" of {bytes_as_text(self.whole)} ({100 * done // self.whole} %)"
        line += f", {bytes_as_text(rate)}/s"
        left = (self.whole or 0) - done
        return line + (f", {as_time(left / rate)} left" if left > 0 and rate > 0 else f", {as_time(spent_s)}")


def report(line: str) -> None:
    """Print one line of progress with the time of day; the workflow copies it to the job's log."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
