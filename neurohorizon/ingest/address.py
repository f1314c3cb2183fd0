"""Addresses of remote files: ``https://``, ``http://``, ``s3://bucket/key`` and ``dandi:``.

Standard library only, so that the command line can read its arguments at once;
:mod:`neurohorizon.ingest.remote` reads the files.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

_DANDI = re.compile(
    r"(?:dandi:|dandi://dandi/)(?P<dandiset>\d{6})(?:@(?P<version>draft|\d+\.\d+\.\d+))?/(?P<path>.+)", re.IGNORECASE
)
_FORMS = (
    "expected https://HOST/FILE.nwb, s3://BUCKET/KEY, or dandi:DANDISET[@VERSION]/PATH, such as "
    "dandi:000129/sub-Indy/sub-Indy_desc-train_behavior+ecephys.nwb"
)


class AddressError(ValueError):
    """A text is no address of a file."""


@dataclass(frozen=True)
class Address:
    """Address of a remote file.

    Attributes:
        text: The address as given; it may hold a signature or a password.
        kind: Its scheme, ``https`` for ``http`` too.
        host: Host, bucket, or number of the dandiset.
        inside: Path at the host, in the bucket or in the dandiset, decoded; without a leading slash.
        version: Version of the dandiset; "" if none is given.
    """

    text: str
    kind: Literal["https", "s3", "dandi"]
    host: str
    inside: str
    version: str = ""

    @property
    def name(self) -> str:
        """Name of the file, with characters that every file system has."""
        last = PurePosixPath(self.inside.rstrip("/")).name
        return re.sub(r"[^\w.+=@,-]", "-", last, flags=re.ASCII).lstrip("-._")[:150] or "recording"

    @property
    def stem(self) -> str:
        """Name of the file without its ending."""
        return PurePosixPath(self.name).stem

    def __str__(self) -> str:
        """Return the address without the parts that may be secret: user, password, and all after a question mark."""
        if self.kind != "https":
            return self.text
        parts = urlsplit(self.text)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def is_address(text: object) -> bool:
    """Return True for a text that is meant as an address: it has a scheme."""
    return isinstance(text, str) and bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|dandi:", text, flags=re.IGNORECASE))


def read_address(text: str) -> Address:
    """Return the parts of an address.

    Raises:
        AddressError: It has another form.
    """
    if text.lower().startswith("dandi:"):
        found = _DANDI.fullmatch(text)
        if not found or ".." in found["path"].split("/"):
            raise AddressError(f"{text!r} is no address of a file in the DANDI archive; {_FORMS}")
        return Address(text, "dandi", found["dandiset"], found["path"], found["version"] or "")
    try:
        parts = urlsplit(text)
        host, inside, _ = parts.hostname or "", unquote(parts.path.lstrip("/")), parts.port
    except ValueError:
        raise AddressError(f"the address is damaged; {_FORMS}") from None
    scheme = parts.scheme.lower()
    if scheme == "s3":
        bucket, _, key = text[len("s3://") :].partition("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket) or not key.strip("/"):
            raise AddressError(f"{text!r} names no file of a bucket; {_FORMS}")
        return Address(text, "s3", bucket, key)
    if scheme not in ("http", "https"):
        raise AddressError(f"addresses with {scheme}:// cannot be read; {_FORMS}")
    if not host or not inside.strip("/"):
        raise AddressError(f"{scheme}://{host} names no file; {_FORMS}")
    return Address(text, "https", host, inside)
