"""The IBL's ONE: opened on a folder or on a server, and the tables of a folder.

ONE and its file format ALF: https://docs.internationalbrainlab.org.
"""

import os
import uuid
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import requests
from iblutil.io import parquet
from one.alf.cache import make_parquet_db
from one.alf.io import iter_sessions
from one.api import ONE, One
from one.params import get as one_parameters
from one.params import get_params_dir

from neurohorizon.config import IblSource
from neurohorizon.ingest.downloads import patiently, status_of
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.listed_files import file_hash

Result = TypeVar("Result")


def open_one(source: IblSource) -> One:
    """Open the release.

    ``remote`` takes credentials from the environment (ALYX_LOGIN with ALYX_PWD, or ALYX_TOKEN), which are never
    stored, else those that ONE itself has saved.

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
    try:
        one = ONE(base_url=source.base_url, cache_dir=folder, mode="remote", silent=True)
        one.alyx.authenticate(**credentials, cache_token=False)
    except requests.HTTPError as error:
        raise _refused(source, error) from None
    except OSError as error:
        raise SourceUnavailable(
            f"{source.base_url} cannot be reached ({type(error).__name__}); check the network, or set "
            "sources.ibl.mode to local with a folder that holds the release"
        ) from None
    return one


def _credentials(base_url: str) -> dict[str, str]:
    login, password, token = (os.environ.get(name) for name in ("ALYX_LOGIN", "ALYX_PWD", "ALYX_TOKEN"))
    if token:
        return {"token": token} | ({"username": login} if login else {})
    if login and password:
        return {"username": login, "password": password}
    # asking ONE for parameters makes its folders where it was never set up
    saved = one_parameters(base_url, silent=True).as_dict() if get_params_dir().exists() else {}
    login = login or saved.get("ALYX_LOGIN")
    if login and (login in saved.get("TOKEN", {}) or saved.get("ALYX_PWD")):
        return {"username": login}
    raise SourceUnavailable(
        f"no credentials for {base_url}: set the environment variables ALYX_LOGIN and ALYX_PWD (or ALYX_TOKEN), or "
        f"save them once with python -c \"from one.api import ONE; ONE(base_url='{base_url}')\"; accounts are free at "
        f"{base_url}/signup"
    )


def patiently_at(call: Callable[[], Result], source: IblSource) -> Result:
    """Call until the server answers, as :func:`neurohorizon.ingest.downloads.patiently`.

    Raises:
        NotOffered: The server has no such session or file.
        SourceUnavailable: The server refuses, or does not answer for ``outage_hours``.
    """

    def checked() -> Result:
        try:
            return call()
        except requests.HTTPError as error:
            if status_of(error) in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise _refused(source, error) from None
            raise

    where = source.base_url if source.mode == "remote" else source.folder
    return patiently(checked, what=where, outage_hours=source.outage_hours)


def _refused(source: IblSource, error: requests.HTTPError) -> SourceUnavailable:
    # the error's own text may repeat the request, so it is left out
    status = getattr(error.response, "status_code", "no status")
    return SourceUnavailable(
        f"{source.base_url} refused the request (HTTP {status}); check ALYX_LOGIN and ALYX_PWD, or ALYX_TOKEN (shown "
        f"at {source.base_url}/me), and the eids of the cohort table"
    )


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
