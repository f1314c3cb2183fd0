"""Assets of the DANDI archive: found by its client, downloaded and listed; and a draft of a cohort table.

The only module that imports ``dandi``; the import is inside functions. The client finds assets and reads their hashes.
Their content comes from the address that the client gives, but through :mod:`neurohorizon.ingest.downloads`: the
client's own download gives up after ten attempts in about two minutes, leaves a damaged file under its final name, and
fails where a server ignores ``Range``.

Client: https://dandi.readthedocs.io. Archive: https://api.dandiarchive.org/swagger.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import Any, TypeVar

from neurohorizon.cohort import COLUMNS, Row
from neurohorizon.config import DandiSource
from neurohorizon.files import file_hash, replacing
from neurohorizon.ingest.downloads import (
    DAMAGED_ATTEMPTS,
    TIMEOUT_S,
    Expected,
    NotOffered,
    download,
    patiently,
    report,
    status_of,
)
from neurohorizon.ingest.leave_out import OnFatal, PassingFault, SourceUnavailable, download_or_note
from neurohorizon.ingest.listed_files import path_within
from neurohorizon.session import SessionError

TOKEN = "DANDI_API_KEY"
"""Environment variable with the key of an account, for embargoed dandisets."""
_SUBJECT = re.compile(r"(?:^|[/_])sub-([^/_]+)")

Result = TypeVar("Result")


def download_dandi(*, row: Row, dandi: DandiSource, on_fatal: OnFatal, attempt: int, output: Path) -> None:
    """Fetch the assets of one session and list them, or note why the session cannot be used.

    Args:
        row: Row of the cohort table.
        dandi: The section ``sources.dandi`` of the configuration.
        on_fatal: Effect of a fatal fault.
        attempt: Number of the attempt, from 0.
        output: List of the session's files; see :func:`download_session`.
    """
    download_or_note(partial(download_session, row, source=dandi), manifest=output, on_fatal=on_fatal, attempt=attempt)


def download_session(row: Row, *, source: DandiSource) -> dict[str, Any]:
    """Fetch the assets of one session, and return the list of its files.

    A file that is there and has the right hash is not fetched again. The list has the dandiset, its version, and each
    asset's id, path within ``source.folder``, size, sha256 and DANDI's etag.

    Args:
        row: The session. Its column ``file`` has the paths of its assets in the dandiset; without it, the session is
            the name of one asset.
        source: The dandiset.

    Raises:
        SessionError: The dandiset has no such asset, or several.
        PassingFault: A file is damaged in every download, or an asset of a draft was replaced meanwhile.
        SourceUnavailable: The archive cannot be reached or refuses, or has no such version.
    """
    if source.version == "draft":
        report(f"dandiset {source.dandiset} is read as a draft, which can change between two runs")
    dandiset = _Dandiset(source)
    return {
        "session": row.session,
        "dandiset": source.dandiset,
        "version": source.version,
        "dandi_version": version("dandi"),
        "files": {asset.path: dandiset.fetch(asset, row) for asset in dandiset.assets_of(row)},
    }


def draft_cohort(*, dandi: DandiSource, output: Path) -> None:
    """Write a draft of a cohort table with one row per asset; roles and folds are to be filled in.

    Args:
        dandi: The section ``sources.dandi`` of the configuration.
        output: Tab-separated table to write.

    Raises:
        SourceUnavailable: The archive cannot be reached or refuses, or no asset matches.
    """
    assets = sorted(_Dandiset(dandi).listed(glob=dandi.assets), key=lambda asset: asset.path)
    if not assets:
        raise SourceUnavailable(f"no asset of {_named(dandi)} matches sources.dandi.assets {dandi.assets!r}")
    sessions = _session_names([asset.path for asset in assets])
    with replacing(output) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        table.writerow([*COLUMNS, "file", "bytes"])
        for session, asset in zip(sessions, assets, strict=True):
            found = _SUBJECT.search(asset.path)
            values = {"session": session, "source": "dandi", "subject": found[1] if found else ""}
            table.writerow([*(values.get(name, "") for name in COLUMNS), asset.path, asset.size])
    report(f"{output}: {len(assets)} assets; fill in subject, lab, date, role and fold, and delete other rows")


def _session_names(paths: Iterable[str]) -> list[str]:
    """Return a name for each asset that can name files: that of its file, with its folders where that is not unique."""
    wholes = [path.removesuffix(".nwb").replace("/", "_") for path in paths]
    stems = [PurePosixPath(path).stem for path in paths]
    counts = Counter(stems)
    names = [stem if counts[stem] == 1 else whole for stem, whole in zip(stems, wholes, strict=True)]
    return [re.sub(r"[^\w.+=@,-]", "-", name, flags=re.ASCII).lstrip("-._") for name in names]


class _Dandiset:
    """One version of a dandiset, read through DANDI's client."""

    def __init__(self, source: DandiSource) -> None:
        # else the client reports its version to a server of its developers
        os.environ["DANDI_NO_ET"] = "1"
        from dandi.consts import DandiInstance
        from dandi.dandiapi import DandiAPIClient

        self.source = source
        # an instance that is given is not looked up, which the client does without a timeout
        client = DandiAPIClient(dandi_instance=DandiInstance("dandi", None, source.api_url))
        client.session.request = partial(client.session.request, timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"token {os.environ[TOKEN]}"} if os.environ.get(TOKEN) else {}
        client.session.headers.update(self._headers)
        self._remote = client.get_dandiset(source.dandiset, source.version)

    def listed(self, *, glob: str) -> list[Any]:
        """Return all assets whose path matches, in upper and lower case as given."""
        found = self._list(partial(self._remote.get_assets_by_glob, glob))
        return [asset for asset in found if fnmatchcase(asset.path, glob) and self._is_chosen(asset)]

    def assets_of(self, row: Row) -> list[Any]:
        """Return the assets of a session.

        Raises:
            SessionError: There is none of a name, or more than one.
        """
        by_path = bool(row.extras.get("file"))
        return [self._only(name, row, by_path=by_path) for name in row.recording_names]

    def _only(self, name: str, row: Row, *, by_path: bool) -> Any:
        if by_path:
            listed = self._list(partial(self._remote.get_assets_with_path_prefix, name))
            found = [asset for asset in listed if asset.path == name and self._is_chosen(asset)]
        else:
            found = [asset for asset in self.listed(glob=f"*{name}") if PurePosixPath(asset.path).name == name]
        if len(found) == 1:
            return found[0]
        where = f"session {row.session}: {_named(self.source)} has"
        if found:
            paths = ", ".join(asset.path for asset in found)
            raise SessionError(f"{where} {len(found)} assets {name}: {paths}; write one path into the column `file`")
        remedy = "correct the column `file`" if by_path else "write its path in the dandiset into the column `file`"
        raise SessionError(
            f"{where} no asset {name} that matches sources.dandi.assets {self.source.assets!r}; {remedy}"
        )

    def _is_chosen(self, asset: Any) -> bool:
        return fnmatchcase(asset.path, self.source.assets)

    def fetch(self, asset: Any, row: Row) -> dict[str, str | int]:
        """Download an asset, unless it is there, and return its entry in the list of files.

        Raises:
            SessionError: It is not one HDF5 file, or a published version lists it and does not offer it.
            PassingFault: It is damaged in every download, or was replaced in the draft meanwhile.
        """
        where, folder = f"session {row.session}: {asset.path}", Path(self.source.folder)
        inside = PurePosixPath(asset.path)
        if inside.is_absolute() or ".." in inside.parts:
            raise SessionError(f"{where} is a path that leaves its folder; refused")
        if asset.asset_type.name != "BLOB":
            raise SessionError(f"{where} is a {asset.asset_type.name} asset; expected one HDF5 file")
        path = folder / self.source.dandiset / inside
        try:
            digests = self._answer(asset.get_raw_metadata).get("digest", {})
            sha256, etag = digests.get("dandi:sha2-256"), digests.get("dandi:dandi-etag")
            if not (sha256 or etag):
                raise PassingFault(f"{where} has no hash in the archive yet; run again later")
            for _ in range(DAMAGED_ATTEMPTS):
                download(
                    asset.base_download_url,
                    path,
                    outage_hours=self.source.outage_hours,
                    expected=Expected(asset.size, {"sha256": sha256} if sha256 else {}),
                    headers=self._headers,
                )
                # an asset of a draft has only an etag until the archive has computed its sha256
                if sha256 or (found := _etag(path)) == etag:
                    break
                path.replace(path.with_name(f"{path.name}.damaged"))
            else:
                raise PassingFault(f"{where} is damaged: its dandi-etag is {found}, expected {etag}; run again")
        except NotOffered as error:
            if self.source.version == "draft":
                raise PassingFault(f"{where} was replaced in the draft meanwhile; run again") from error
            raise SessionError(f"{where} is listed, but not offered ({error}); leave the session out") from error
        return {
            "path": path_within(path, folder, session=row.session).as_posix(),
            "asset": asset.identifier,
            "size": asset.size,
            "sha256": sha256 or file_hash(path, "sha256"),
            "dandi_etag": etag or "",
        }

    def _list(self, assets: Callable[[], Iterable[Any]]) -> list[Any]:
        """Return the assets of a request.

        Raises:
            SourceUnavailable: The archive cannot be reached or refuses, or has no such version.
        """
        try:
            return self._answer(lambda: list(assets()))
        except NotOffered:
            raise SourceUnavailable(
                f"{self.source.api_url} has no {_named(self.source)}; correct sources.dandi"
            ) from None

    def _answer(self, call: Callable[[], Result]) -> Result:
        """Return an answer of the archive; wait where it does not give one.

        Raises:
            NotOffered: It has no such version or asset.
            SourceUnavailable: It cannot be reached, refuses, or answers in another form.
        """
        from dandi.exceptions import NotFoundError

        def checked() -> Result:
            try:
                return call()
            except NotFoundError as error:
                raise NotOffered(str(error)) from None
            except OSError as error:
                if status_of(error) not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise
                raise SourceUnavailable(
                    f"{self.source.api_url} refused {_named(self.source)} (HTTP {status_of(error)}): it is embargoed, "
                    f"or the key is wrong; set {TOKEN} to the key of an account that may read it"
                ) from None
            except (ValueError, KeyError, TypeError, AssertionError) as error:
                raise SourceUnavailable(
                    f"{self.source.api_url} gave an answer that dandi {version('dandi')} cannot read "
                    f"({type(error).__name__}: {shorten(str(error), 120)}); check api_url, or update envs/dandi.in"
                ) from error

        return patiently(checked, what=self.source.api_url, outage_hours=self.source.outage_hours)


def _named(source: DandiSource) -> str:
    return f"dandiset {source.dandiset} version {source.version}"


def _etag(path: Path) -> str:
    from dandischema.digests.dandietag import DandiETag

    return DandiETag.from_file(path).as_str()
