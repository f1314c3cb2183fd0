"""Download of IBL sessions through ONE: the files that are used of a session, checked and listed.

Works on a folder on disk (``mode: local``) and against an Alyx server (``mode: remote``), chosen by the configuration.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from one import __version__ as one_version
from one.alf.exceptions import ALFObjectNotFound, ALFWarning
from one.alf.path import rel_path_parts
from one.api import One

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.ingest.downloads import DAMAGED_ATTEMPTS
from neurohorizon.ingest.ibl_one import open_one, patiently_at
from neurohorizon.ingest.leave_out import OnFatal, download_or_note
from neurohorizon.ingest.listed_files import file_hash, path_within
from neurohorizon.session import SessionError

SORTERS = ("pykilosort", "iblsorter")
"""Preferred collections of a probe, in order; else the shortest, as ibllib's SpikeSortingLoader chooses."""


@dataclass(frozen=True)
class Wanted:
    """Attributes of one ALF object, to be fetched and no others.

    Attributes:
        object: ALF object, such as ``spikes``.
        attributes: Its attributes.
        needed: Whether a session without them cannot be used.
    """

    object: str
    attributes: tuple[str, ...]
    needed: bool = True


PROBE_TABLES = (
    Wanted("spikes", ("times", "clusters")),
    Wanted("clusters", ("channels", "metrics")),
    Wanted("clusters", ("uuids",), needed=False),
)
ALIGNED_REGIONS = Wanted("channels", ("brainLocationIds",), needed=False)
SITE_REGIONS = Wanted("electrodeSites", ("brainLocationIds",), needed=False)
"""Allen structure of each channel: aligned with the spike sorting's channels, else by site of the probe."""
BEHAVIOUR_TABLES = (
    Wanted("trials", ("table",), needed=False),
    Wanted("wheel", ("timestamps", "position"), needed=False),
)


def download_ibl(*, row: Row, ibl: IblSource, on_fatal: OnFatal, attempt: int, output: Path) -> None:
    """Fetch one IBL session's tables through ONE and list them, or note why it cannot be used.

    Args:
        row: Row of the cohort table.
        ibl: The section ``sources.ibl`` of the configuration.
        on_fatal: Effect of a fatal fault.
        attempt: Number of the attempt, from 0.
        output: List of the session's files; see :func:`download_session`.
    """
    download_or_note(partial(download_session, row, source=ibl), manifest=output, on_fatal=on_fatal, attempt=attempt)


def download_session(row: Row, *, source: IblSource) -> dict[str, Any]:
    """Fetch what is used of one session, and nothing else, and return the list of its files.

    Files that are there already with the size and hash of ONE's tables are not fetched again. The manifest is
    JSON: where the session was found, and each file's table, probe, path within ``source.folder``, size, md5 and
    revision; no path of this machine. It is written whole or not at all.

    Args:
        row: The session; found by its ``eid`` in remote mode where the cohort gives one, else by subject, date and
            ``number``. ``probes`` in the cohort, comma-separated, restricts the probes.

    Raises:
        SessionError: The session or a needed table is not in the release, or a file differs from its hash.
        SourceUnavailable: See :func:`open_one`.
    """
    one = open_one(source)
    eid = _find_session(one, row, source)
    datasets = patiently_at(lambda: one.list_datasets(eid, details=True), source)
    probes = _probe_collections(datasets["rel_path"], row)
    fetch = _Fetch(one, eid, row.session, source, datasets)
    for probe, collection in probes.items():
        for wanted in PROBE_TABLES:
            fetch.first_of((wanted, collection), probe=probe)
        fetch.first_of((ALIGNED_REGIONS, collection), (SITE_REGIONS, f"alf/{probe}"), probe=probe)
    for wanted in BEHAVIOUR_TABLES:
        fetch.first_of((wanted, _behaviour_collection(datasets["rel_path"], wanted)))
    return {
        "session": row.session,
        "eid": str(eid),
        "release": source.base_url if source.mode == "remote" else "local",
        "revision": source.revision,
        "one_version": one_version,
        "probes": probes,
        "missing": fetch.missing,
        "files": fetch.files,
    }


def _find_session(one: One, row: Row, source: IblSource) -> str:
    eid = row.extras.get("eid")
    if source.mode == "remote" and eid:
        return eid
    number = row.extras.get("number")
    if not row.date or (number and not number.isdigit()):
        raise SessionError(
            f"session {row.session}: date {row.date!r} and number {number or ''!r} in the cohort table; a session is "
            "found by its date and, where it has one, a whole number"
        )
    found, details = patiently_at(
        lambda: one.search(subject=row.subject, date_range=[row.date, row.date], details=True), source
    )
    # a search matches parts of names, so SIM-10 finds SIM-101
    exact = [
        str(eid)
        for eid, detail in zip(found, details or [], strict=True)
        if detail["subject"] == row.subject and (not number or int(detail["number"]) == int(number))
    ]
    wanted = f"subject {row.subject} on {row.date}" + (f", number {number}" if number else "")
    where = source.base_url if source.mode == "remote" else source.folder
    if not exact:
        raise SessionError(f"session {row.session} is not in the release at {where}: nothing found for {wanted}")
    if len(exact) > 1:
        raise SessionError(
            f"session {row.session}: {len(exact)} sessions at {where} fit {wanted}; give the cohort a number column"
        )
    return exact[0]


def _probe_collections(paths: Iterable[str], row: Row) -> dict[str, str]:
    """Collection of each probe that holds its spike sorting, by probe name."""
    by_probe = defaultdict(set)
    for path in paths:
        place = re.match(r"(alf/(probe[^/]*)(?:/[^/#]+)?)/(?:#[^/]+#/)?spikes\.times\.", path)
        if place:
            by_probe[place[2]].add(place[1])
    asked = row.extras.get("probes", "").replace(",", " ").split()
    absent = [name for name in asked if name not in by_probe]
    if absent or not by_probe:
        raise SessionError(
            f"session {row.session} has no spikes.times for {', '.join(absent) or 'any probe'}; "
            f"probes found: {', '.join(sorted(by_probe)) or 'none'}"
        )
    return {name: min(by_probe[name], key=_sorter_rank) for name in sorted(asked or by_probe)}


def _sorter_rank(collection: str) -> tuple:
    name = collection.rsplit("/", 1)[1]
    return SORTERS.index(name) if name in SORTERS else len(SORTERS), len(collection), collection


def _behaviour_collection(paths: Iterable[str], wanted: Wanted) -> str:
    """``alf`` where it holds the object, else the shortest collection below it that does."""
    name = re.compile(rf"(alf(?:/[^/#]+)*)/(?:#[^/]+#/)?(?:_[a-z]+_)?{wanted.object}\.{wanted.attributes[0]}\.")
    places = {place[1] for path in paths if (place := name.match(path))}
    return min(places, key=lambda collection: (len(collection), collection), default="alf")


class _Fetch:
    """Fetches objects of one session, checks what comes, and keeps the list.

    Attributes:
        files: Manifest entries of what was fetched.
        missing: What the release does not have of the tables that a session can do without.
    """

    def __init__(self, one: One, eid: str, session: str, source: IblSource, datasets: pd.DataFrame) -> None:
        self.one = one
        self.eid = eid
        self.session = session
        self.source = source
        self.released = datasets.set_index("rel_path")[["file_size", "hash"]]
        self.files: list[dict] = []
        self.missing: list[str] = []

    def first_of(self, *options: tuple[Wanted, str], probe: str | None = None) -> None:
        """Fetch the first object, in its collection, that is there with all its attributes.

        Raises:
            SessionError: None is, and it is needed; or a file differs from the release.
        """
        for wanted, collection in options:
            entries = self._entries(wanted, collection, probe)
            if len(entries) == len(wanted.attributes):
                self.files += entries
                return
        wanted, collection = options[0]
        if wanted.needed:
            raise SessionError(self._lack(wanted, collection, entries))
        name = f"{wanted.object}.{'+'.join(wanted.attributes)}"
        self.missing.append(f"{probe}/{name}" if probe else name)

    def _lack(self, wanted: Wanted, collection: str, entries: list[dict]) -> str:
        had = [entry["table"] for entry in entries]
        names = [f"{wanted.object}.{name}" for name in wanted.attributes if f"{wanted.object}.{name}" not in had]
        listed = sorted(Path(path).name for path in self.released.index if path.startswith(f"{collection}/"))
        gone = [name for name in names if any(file.startswith(f"{name}.") for file in listed)]
        if gone:
            return (
                f"session {self.session}: {', '.join(gone)} of {collection} is listed in the release's tables, but "
                "there is no such file; put it back, or index the folder again"
            )
        return f"session {self.session} lacks {', '.join(names)} in {collection}; found there: {', '.join(listed)}"

    def _entries(self, wanted: Wanted, collection: str, probe: str | None) -> list[dict]:
        for _ in range(DAMAGED_ATTEMPTS):
            try:
                paths = patiently_at(lambda: self._load(wanted, collection), self.source)
            except ALFObjectNotFound:
                return []
            entries = [self._entry(path, probe) for path in sorted(paths)]
            wrong = [entry["path"] for entry in entries if not self._as_released(entry)]
            if not wrong:
                return entries
            if self.source.mode == "local":
                break
            for path in wrong:
                (Path(self.source.folder) / path).unlink()
        raise SessionError(
            f"session {self.session}: {wrong[0]} is damaged, it differs in size or hash from the release's tables; put "
            "the file back (or, where it was changed on purpose, index the folder again)"
        )

    def _load(self, wanted: Wanted, collection: str) -> list[Path]:
        with warnings.catch_warnings():
            # a folder indexed locally names no default revisions; the latest, which ONE then takes, is meant
            warnings.simplefilter("ignore", ALFWarning)
            return self.one.load_object(
                self.eid,
                wanted.object,
                collection=collection,
                attribute=list(wanted.attributes),
                revision=self.source.revision,
                download_only=True,
                # hashed here instead: locally ONE only logs a difference
                check_hash=False,
            )

    def _entry(self, path: Path, probe: str | None) -> dict:
        relative = path_within(Path(path), Path(self.source.folder), session=self.session)
        parts = rel_path_parts(_within_session(relative), as_dict=True)
        return {
            "table": f"{parts['object']}.{parts['attribute']}",
            "probe": probe,
            "path": relative.as_posix(),
            "size": Path(path).stat().st_size,
            "md5": file_hash(path, "md5"),
            "revision": parts["revision"] or "",
        }

    def _as_released(self, entry: Mapping) -> bool:
        size, md5 = self.released.loc[_within_session(Path(entry["path"]))]
        same_size = pd.isna(size) or not size or int(size) == entry["size"]
        return same_size and (pd.isna(md5) or not md5 or str(md5).replace("-", "") == entry["md5"])


def _within_session(path: Path) -> str:
    """Path from the session's folder on, of a path from the release's folder on."""
    parts = path.parts
    return "/".join(parts[parts.index("alf") :])
