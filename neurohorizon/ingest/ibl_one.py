"""The IBL's ONE: opened on a folder or on a server, called with patience, and the tables of a folder.

ONE and its file format ALF: https://docs.internationalbrainlab.org.
"""

import fcntl
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import requests
from iblutil.io import parquet
from one.alf.cache import make_parquet_db
from one.alf.io import iter_sessions
from one.api import ONE, One
from one.params import get as one_parameters
from one.params import get_params_dir
from requests.adapters import HTTPAdapter

from neurohorizon.config import IblSource
from neurohorizon.files import file_hash
from neurohorizon.ingest.downloads import TIMEOUT_S, patiently, status_of
from neurohorizon.ingest.leave_out import SourceUnavailable

_PARAMETER_ATTEMPTS = 50
_PARAMETER_WAIT_S = 0.1

Result = TypeVar("Result")


def open_one(source: IblSource) -> One:
    """Open the release.

    ``remote`` takes credentials from the environment (ALYX_LOGIN with ALYX_PWD, or ALYX_TOKEN), which are never
    stored, else those that ONE itself has saved, which are never changed.

    Raises:
        SourceUnavailable: No release in the folder, no credentials, credentials refused, or no network.
    """
    folder = Path(source.folder)
    if source.mode == "local":
        absent = [name for name in ("sessions.pqt", "datasets.pqt") if not (folder / name).is_file()]
        if absent:
            raise SourceUnavailable(
                f"sources.ibl.folder {source.folder} is no ONE folder: {' and '.join(absent)} not found; give a folder "
                "that one.alf.cache.make_parquet_db has indexed, or set sources.ibl.mode to remote"
            )
        return One(cache_dir=folder, mode="local")
    credentials = _credentials(source.base_url)
    folder.mkdir(parents=True, exist_ok=True)
    # no cache of answers: an answer of an outage would be used again by the next attempt
    settings = {"cache_dir": folder, "mode": "remote", "silent": True, "cache_rest": None}
    one = _with_parameters(lambda: ONE(base_url=source.base_url, **settings))
    # ONE would remove the user's saved token from its parameters before it takes other credentials
    one.alyx._clear_token = lambda username: None
    # waiting is left to patiently, which reports it
    one.alyx.max_retry_attempts = 0

    def authenticate() -> None:
        with warnings.catch_warnings():
            # the owner of a token need not be the name in its place
            warnings.simplefilter("ignore", UserWarning)
            one.alyx.authenticate(**credentials, cache_token=False)

    patiently_at(authenticate, source)
    return one


def patiently_at(call: Callable[[], Result], source: IblSource) -> Result:
    """Call until the server answers, as :func:`neurohorizon.ingest.downloads.patiently`.

    Raises:
        NotOffered: The server has no such session or file.
        SourceUnavailable: The server refuses, or does not answer for ``outage_hours``.
    """
    where = source.base_url if source.mode == "remote" else source.folder
    advice = (
        f"check ALYX_LOGIN and ALYX_PWD, or ALYX_TOKEN (shown at {source.base_url}/me), or the credentials that ONE "
        f"has saved in {get_params_dir()}"
    )

    def checked() -> Result:
        try:
            with _timeouts():
                return call()
        except requests.HTTPError as error:
            # a wrong password is answered by 400, see AlyxClient.authenticate
            url = error.response.url if error.response is not None else ""
            if status_of(error) == HTTPStatus.BAD_REQUEST and "/auth-token" in url:
                raise SourceUnavailable(f"{where} refused the request (HTTP {status_of(error)}); {advice}") from None
            raise

    return patiently(checked, what=where, outage_hours=source.outage_hours, if_refused=advice)


@contextmanager
def _timeouts() -> Iterator[None]:
    """Give each request a timeout: ONE sets none and takes none, and socket's default does not reach requests."""
    send = HTTPAdapter.send

    def bounded(self: HTTPAdapter, request: Any, **settings: Any) -> requests.Response:
        settings["timeout"] = settings.get("timeout") or TIMEOUT_S
        return send(self, request, **settings)

    HTTPAdapter.send = bounded  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        HTTPAdapter.send = send  # type: ignore[method-assign]


def _credentials(base_url: str) -> dict[str, str]:
    login, password, token = (os.environ.get(name) for name in ("ALYX_LOGIN", "ALYX_PWD", "ALYX_TOKEN"))
    if token:
        # without a name ONE fails where the server does not give the token's owner; the name is not sent
        return {"token": token, "username": login or "ALYX_TOKEN"}
    if login and password:
        return {"username": login, "password": password}
    # asking ONE for parameters makes its folders where it was never set up
    there = get_params_dir().exists()
    saved = _with_parameters(lambda: one_parameters(base_url, silent=True).as_dict()) if there else {}
    login = login or saved.get("ALYX_LOGIN")
    if login and (login in saved.get("TOKEN", {}) or saved.get("ALYX_PWD")):
        return {"username": login}
    raise SourceUnavailable(
        f"no credentials for {base_url}: set the environment variables ALYX_LOGIN and ALYX_PWD (or ALYX_TOKEN), or "
        f"save them once with python -c \"from one.api import ONE; ONE(base_url='{base_url}')\"; accounts are free at "
        f"{base_url}/signup"
    )


def _with_parameters(call: Callable[[], Result]) -> Result:
    """Call what reads or first writes ONE's parameters, in one process at a time.

    ONE writes them in place, so another program may read half a file: the call is repeated for some seconds.

    Raises:
        SourceUnavailable: The parameters cannot be read or written.
    """
    folder = get_params_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".neurohorizon.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for _ in range(_PARAMETER_ATTEMPTS - 1):
                try:
                    return call()
                except ValueError:
                    time.sleep(_PARAMETER_WAIT_S)
            return call()
    except (ValueError, OSError) as error:
        raise SourceUnavailable(
            f"ONE's parameters in {folder} cannot be used ({type(error).__name__}); remove the folder, or make it "
            "readable and writable, and run again"
        ) from None


def index_release(folder: Path) -> None:
    """Write the ONE tables of a folder of ALF files, with hashes, so that the same files give the same tables.

    ``make_parquet_db`` draws session and dataset ids from the clock and notes the date and the folder; here
    ids depend only on the paths, and the rest is constant.
    """
    folder = Path(folder)
    # not hash_files: ONE's own md5 sets aside hundreds of megabytes for each file, however small
    sessions_path, datasets_path = make_parquet_db(folder, hash_ids=False)
    constant = {"date_created": "2021-01-01 00:00", "origin": "neurohorizon"}
    sessions, _ = parquet.load(sessions_path)
    sessions["id"] = sessions["id"].map(_stable_id)
    parquet.save(sessions_path, sessions.set_index("id").sort_index(), constant)
    datasets, _ = parquet.load(datasets_path)
    folders = {path.session_path_short(include_lab=True): path for path in iter_sessions(folder)}
    found = list(zip(datasets["eid"], datasets["rel_path"], strict=True))
    datasets["hash"] = [file_hash(folders[session] / name, "md5") for session, name in found]
    datasets["id"] = [_stable_id(f"{session}/{name}") for session, name in found]
    datasets["eid"] = datasets["eid"].map(_stable_id)
    parquet.save(datasets_path, datasets.set_index(["eid", "id"]).sort_index(), constant)


def _stable_id(place: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://neurohorizon/{place}"))
