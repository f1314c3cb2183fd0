"""Remote files that are read in place: only the blocks that a reader needs are fetched, and kept on this disk.

A file is read over HTTP by ranges, with a timeout on every socket; lost connections and busy servers are tried again as
in :mod:`neurohorizon.ingest.downloads`. S3 is read without an account, over HTTPS. An asset of the DANDI archive is
found by its REST interface (https://api.dandiarchive.org/swagger).

``envs/forecast.in`` has the reasons against remfile and fsspec.
"""

import hashlib
import io
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import requests

from neurohorizon.files import bytes_as_text
from neurohorizon.ingest.address import Address
from neurohorizon.ingest.block_cache import BLOCK_BYTES, BlockCache, cache_folder
from neurohorizon.ingest.dandi import TOKEN
from neurohorizon.ingest.downloads import RUN_AGAIN, TIMEOUT_S, Interrupted, NotOffered, patiently, raise_for_answer
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.printed_names import one_line
from neurohorizon.session import SessionError

DANDI_API = "https://api.dandiarchive.org/api"
FIRST_ANSWER_S, OUTAGE_S = 10.0, 120.0
"""How long a server that fails is tried again before its first answer, and later."""
REPORT_EVERY_S = 3.0
S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Environment variables with the address of another S3 server, as AWS's own programs read them."""
_AGAIN = "check the address and the network and run again, or download the file and give its path; parts are kept"
_MOST_AHEAD = 32
_IN_MEMORY = 64
_EXPIRED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)

Report = Callable[[str], None]
Result = TypeVar("Result")


@contextmanager
def open_remote(address: Address, report: Report | None = None) -> Iterator["RemoteFile"]:
    """Open a remote file for reading.

    Args:
        address: Its address.
        report: Receives a line about the bytes that were fetched every few seconds and at the end; None: standard
            error.

    Raises:
        SessionError: The server cannot be reached or refuses, has no such file, or does not send ranges of it.
    """
    report = report or _to_stderr(address.name)
    with requests.Session() as session:
        source = _Ranges(session, _location(session, address, report), address)
        with (
            _blocks(address, source, report) as blocks,
            closing(RemoteFile(address.name, source, blocks, report)) as file,
        ):
            yield file
            file.report_end()


class RemoteFile(io.RawIOBase):
    """A remote file that is read like an open file; see :func:`open_remote`.

    Attributes:
        name: Name of the file.
        size: Its length in bytes.
        fingerprint: What identifies its version: the server's ``ETag``, or the time of its last change, and the length.
        fetched: Bytes that were fetched.
        fault: The error of a read that failed, which HDF5 may hide.
    """

    def __init__(self, name: str, source: "_Ranges", blocks: BlockCache, report: Report) -> None:
        super().__init__()
        self.name = name
        self.size = source.size
        self.fingerprint = source.version
        self.fetched = 0
        self.fault: BaseException | None = None
        self._source = source
        self._blocks = blocks
        self._report = report
        self._position = 0
        self._next = -1
        self._ahead = 0
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._own: set[int] = set()
        self._cached: set[int] = set()
        self._reported = time.monotonic()
        if blocks.read(0) is None:
            self._keep(0, source.first_block())
        source.end_first_answer()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer from the position on, and return the number of bytes.

        Raises:
            SessionError: The bytes cannot be fetched.
        """
        into = memoryview(buffer).cast("B")
        stop = min(self._position + len(into), self.size)
        if stop <= self._position:
            return 0
        try:
            first, last = self._position // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
            self._fetch_absent(first, last + 1)
            filled = 0
            for index in range(first, last + 1):
                start = max(self._position - index * BLOCK_BYTES, 0)
                part = self._block(index)[start : stop - index * BLOCK_BYTES]
                into[filled : filled + len(part)] = part
                filled += len(part)
        except BaseException as error:
            self.fault = error
            raise
        self._position = stop
        return filled

    @property
    def cached(self) -> int:
        """Bytes that were in the cache."""
        return sum(min(BLOCK_BYTES, self.size - index * BLOCK_BYTES) for index in self._cached)

    def report_end(self) -> None:
        """Report how much was fetched."""
        cached = f", {bytes_as_text(self.cached)} were in the cache" if self._cached else ""
        self._report(f"{bytes_as_text(self.fetched)} of {bytes_as_text(self.size)} fetched{cached}")

    def _block(self, index: int) -> bytes:
        if index in self._recent:
            self._recent.move_to_end(index)
            return self._recent[index]
        block = self._blocks.read(index)
        if block is None:
            raise SessionError(f"{self.name}: a block of the cache has changed meanwhile; run again")
        self._remember(index, block)
        return block

    def _remember(self, index: int, block: bytes) -> None:
        self._recent[index] = block
        if len(self._recent) > _IN_MEMORY:
            self._recent.popitem(last=False)

    def _is_there(self, index: int) -> bool:
        if index in self._own or index in self._cached:
            return True
        block = self._blocks.read(index)
        if block is not None:
            self._cached.add(index)
            self._remember(index, block)
        return block is not None

    def _fetch_absent(self, first: int, stop: int) -> None:
        """Fetch the blocks of a span that are not there, and more after them if reads follow each other."""
        end = -(-self.size // BLOCK_BYTES)
        index = first
        while index < stop:
            if self._is_there(index):
                index += 1
                continue
            # twice as many at each read that goes on where the last ended
            self._ahead = min(2 * self._ahead + 1, _MOST_AHEAD) if index == self._next else 0
            after = index + 1
            while after < end and (after < stop or after - stop < self._ahead) and not self._is_there(after):
                after += 1
            self._fetch(index, after)
            self._next = index = after

    def _fetch(self, first: int, stop: int) -> None:
        def fetch() -> None:
            nonlocal first
            began = first
            try:
                for block in self._source.blocks(first * BLOCK_BYTES, min(stop * BLOCK_BYTES, self.size)):
                    self._keep(first, block)
                    first += 1
            except Interrupted as error:
                error.further = first > began
                raise

        _patiently(fetch, self._source.address, OUTAGE_S)

    def _keep(self, index: int, block: bytes) -> None:
        try:
            self._blocks.write(index, block)
        except OSError as error:
            raise SessionError(
                f"{self.name}: {error.strerror} in the cache {cache_folder()}; make room there, or set XDG_CACHE_HOME "
                "to another folder"
            ) from None
        self._own.add(index)
        self._remember(index, block)
        self.fetched += len(block)
        if time.monotonic() - self._reported > REPORT_EVERY_S:
            self._reported = time.monotonic()
            self._report(f"{bytes_as_text(self.fetched)} of {bytes_as_text(self.size)} fetched")


@dataclass
class _Location:
    """Address at which a file is read over HTTP.

    Attributes:
        url: The address.
        headers: Headers of its requests.
        if_refused: What to do after HTTP 401 or 403.
    """

    url: str
    headers: dict[str, str]
    if_refused: str


class _Ranges:
    """Ranges of a file over HTTP, and its length and version from the first answer.

    Raises:
        SessionError: The file cannot be read by ranges.
    """

    def __init__(self, session: requests.Session, location: _Location, address: Address) -> None:
        self.address = address
        self._session = session
        self._location = location
        self._direct = ""
        self.size, self.version = -1, ""
        self._first: requests.Response | None = None

        def first_answer() -> None:
            self._first = self._answer(0, BLOCK_BYTES)

        _patiently(first_answer, address, FIRST_ANSWER_S, location.if_refused)

    def first_block(self) -> bytes:
        """Return the first block, of the first answer if that is complete."""
        blocks: list[bytes] = []

        def fetch() -> None:
            response, self._first = self._first, None
            blocks[:] = self.blocks(0, min(BLOCK_BYTES, self.size), response)

        _patiently(fetch, self.address, OUTAGE_S)
        return blocks[0]

    def end_first_answer(self) -> None:
        """Close the connection of the first answer, unless it was read."""
        if self._first is not None:
            self._first.close()
            self._first = None

    def blocks(self, first: int, stop: int, response: requests.Response | None = None) -> Iterator[bytes]:
        """Yield the blocks of a range.

        Raises:
            Interrupted: The connection failed.
            OSError: It failed before an answer.
        """
        with response or self._answer(first, stop) as answer:
            left, rest = stop - first, b""
            try:
                for piece in answer.iter_content(BLOCK_BYTES):
                    if not left:
                        break
                    rest += piece[: left - len(rest)]
                    while len(rest) >= min(BLOCK_BYTES, left) > 0:
                        block, rest = rest[:BLOCK_BYTES], rest[BLOCK_BYTES:]
                        left -= len(block)
                        yield block
            except requests.RequestException as error:
                raise Interrupted(type(error).__name__) from None
            if left:
                raise Interrupted("connection closed")

    def _answer(self, first: int, stop: int) -> requests.Response:
        """Return the answer to the request of a range, before its content is read.

        Raises:
            SessionError: It is no range, or one of another version of the file.
            OSError: There is no answer, or an error.
        """
        url, own = (self._direct, {}) if self._direct else (self._location.url, self._location.headers)
        # without compression, positions and lengths are those of the file
        headers = {**own, "Range": f"bytes={first}-{stop - 1}", "Accept-Encoding": "identity"}
        answer = self._session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        try:
            if self._direct and answer.status_code in _EXPIRED:
                self._direct = ""  # a signed address is good for some time only
                answer.close()
                return self._answer(first, stop)
            region = answer.headers.get("x-amz-bucket-region", "")
            if self.address.kind == "s3" and answer.status_code == 301 and re.fullmatch(r"[a-z0-9-]+", region):
                moved = _s3_url(self.address, region)
                if moved != self._location.url:
                    self._location.url = moved
                    answer.close()
                    return self._answer(first, stop)
            if url.startswith("https:") and not answer.url.startswith("https:"):
                raise SessionError(f"{self.address} leads to an address without encryption; refused")
            self._check(answer, first)
            if answer.history:
                self._direct = answer.url
            return answer
        except BaseException:
            answer.close()
            raise

    def _check(self, answer: requests.Response, first: int) -> None:
        what, headers = one_line(self.address), answer.headers
        if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self.size < 0:
            raise SessionError(f"{what} is an empty file; give the address of an NWB file")
        raise_for_answer(answer, what)
        span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", ""))
        encoded = headers.get("Content-Encoding", "identity") != "identity"
        if answer.status_code != HTTPStatus.PARTIAL_CONTENT or not span or int(span[1]) != first or encoded:
            if headers.get("Content-Type", "").startswith("text/html"):
                raise SessionError(f"{what} is a web page and no NWB file; give the address of the file itself")
            raise SessionError(
                f"{what}: its server does not send parts of files (it answered a request of a range with HTTP "
                f"{answer.status_code}); download the file, and give its path"
            )
        size, tag = int(span[3]), headers.get("ETag") or headers.get("Last-Modified") or ""
        version = f"{tag} {size} bytes" if tag else ""
        if self.size < 0:
            self.size, self.version = size, version
        elif (size, version) != (self.size, self.version):
            raise SessionError(f"{what} has changed while it was read; run again")


@contextmanager
def _blocks(address: Address, source: _Ranges, report: Report) -> Iterator[BlockCache]:
    """Give the blocks of a file: those of the user's cache, or new ones if it cannot be used."""
    name = hashlib.sha256(address.text.encode()).hexdigest()[:32]
    try:
        if not source.version:
            raise OSError("its server gives no version of the file")
        cache = BlockCache(cache_folder() / name, source.version)
    except OSError as error:
        report(f"fetched bytes are not kept: {one_line(error)}")
        with TemporaryDirectory(prefix="neurohorizon-") as folder, closing(BlockCache(Path(folder), "")) as cache:
            yield cache
        return
    with closing(cache):
        yield cache


def _location(session: requests.Session, address: Address, report: Report) -> _Location:
    if address.kind == "dandi":
        return _dandi_location(session, address, report)
    account = "it is read without an account: check the address"
    if address.kind == "s3":
        return _Location(_s3_url(address), {}, f"{account}, or whether the bucket is public")
    return _Location(address.text, {}, account)


def _s3_url(address: Address, region: str = "") -> str:
    bucket, key = address.host, quote(address.inside)
    endpoint = next((os.environ[name] for name in S3_ENDPOINTS if os.environ.get(name)), "")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}/{key}"
    host = f"s3.{region}.amazonaws.com" if region else "s3.amazonaws.com"
    # a certificate does not cover a name with dots
    return f"https://{host}/{bucket}/{key}" if "." in bucket else f"https://{bucket}.{host}/{key}"


def _dandi_location(session: requests.Session, address: Address, report: Report) -> _Location:
    """Return the address of the content of an asset.

    Raises:
        SessionError: The archive cannot be reached, or has no such dandiset, version or HDF5 file.
    """
    key = os.environ.get(TOKEN)
    headers = {"Authorization": f"token {key}"} if key else {}
    refused = f"it is embargoed, or the key is wrong; set {TOKEN} to the key of an account that may read it"

    def answer(path: str) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            with session.get(f"{DANDI_API}{path}", headers=headers, timeout=TIMEOUT_S) as response:
                raise_for_answer(response, str(address))
                try:
                    found = response.json()
                except requests.JSONDecodeError:
                    found = None
                if not isinstance(found, dict):
                    raise SessionError(f"{DANDI_API} gave no answer in JSON; try again later")
                return found

        return _patiently(read, address, FIRST_ANSWER_S, refused)

    version = address.version
    if not version:
        published = answer(f"/dandisets/{address.host}/").get("most_recent_published_version") or {}
        version = str(published.get("version") or "draft")
    if version == "draft":
        report(f"the draft of dandiset {address.host} is read, which can change")
    query = urlencode({"path": address.inside, "order": "path", "page_size": 25})
    listed = answer(f"/dandisets/{address.host}/versions/{quote(version)}/assets/?{query}").get("results") or []
    found = next((one for one in listed if one.get("path") == address.inside), None)
    if found is None:
        near = f"; it has {one_line(listed[0].get('path'))}" if listed else ""
        raise SessionError(
            f"dandiset {address.host}, version {version}, has no file {address.inside}{near}; copy the path from the "
            "page of the dandiset"
        )
    if not found.get("blob"):
        raise SessionError(f"{address} is a Zarr folder; expected an HDF5 file")
    return _Location(f"{DANDI_API}/assets/{quote(str(found['asset_id']))}/download/", headers, refused)


def _patiently(
    call: Callable[[], Result], address: Address, outage_s: float, if_refused: str = "check the address"
) -> Result:
    try:
        return patiently(call, what=one_line(address), outage_hours=outage_s / 3600, if_refused=if_refused)
    except NotOffered:
        raise SessionError(f"there is no file {one_line(address)} (HTTP 404); check the address") from None
    except SourceUnavailable as error:
        raise SessionError(str(error).replace(RUN_AGAIN, _AGAIN)) from None


def _to_stderr(name: str) -> Report:
    return lambda line: print(f"{name}: {line}", file=sys.stderr, flush=True)
