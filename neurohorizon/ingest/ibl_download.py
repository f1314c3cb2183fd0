"""Download of IBL sessions through ONE: the files that are used of a session, checked and listed.

Works on a folder on disk (``mode: local``) and against an Alyx server (``mode: remote``), chosen by the configuration.
ONE lists the files and their addresses; :mod:`neurohorizon.ingest.downloads` fetches them, since ONE's own downloads
have no timeout, start again from the first byte, and hide the reason of a failure.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

import pandas as pd
from one import __version__ as one_version
from one.alf.path import rel_path_parts
from one.api import One
from one.converters import session_record2path

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.files import file_hash
from neurohorizon.ingest.downloads import DAMAGED_ATTEMPTS, NotOffered, bytes_as_text, download, report
from neurohorizon.ingest.ibl_one import open_one, patiently_at
from neurohorizon.ingest.leave_out import OnFatal, PassingFault, SourceUnavailable, download_or_note
from neurohorizon.ingest.listed_files import path_within
from neurohorizon.session import SessionError

SORTERS = ("pykilosort", "iblsorter")
"""Preferred collections of a probe, in order; else the shortest.

ibllib prefers ``iblsorter``. The Brain-Wide Map was sorted by pykilosort, and a cohort that is frozen keeps its units
if its probes are sorted again.
"""
FORMATS = (".pqt", ".npy", ".csv")
"""Preferred formats of a table that is there in several."""
OTHER_ADDRESS_AFTER_HOURS = 1 / 60
"""How long an address is tried, where a file has another."""


@dataclass(frozen=True)
class Wanted:
    """Attributes of one ALF object, to be fetched together and no others.

    Attributes:
        object: ALF object, such as ``spikes``.
        attributes: Its attributes.
        needed: Whether a session without them cannot be used.
    """

    object: str
    attributes: tuple[str, ...]
    needed: bool = True

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(f"{self.object}.{attribute}" for attribute in self.attributes)

    @property
    def name(self) -> str:
        """Name, for lists of what is missing."""
        return f"{self.object}.{'+'.join(self.attributes)}"


SORTING_TABLES = (
    Wanted("spikes", ("times", "clusters")),
    Wanted("clusters", ("channels", "metrics")),
    Wanted("clusters", ("uuids",), needed=False),
    Wanted("channels", ("brainLocationIds",), needed=False),
)
"""Tables of one spike sorting: all are taken of one revision."""
SITE_TABLES = (Wanted("electrodeSites", ("brainLocationIds",), needed=False),)
"""Tables of a probe that do not depend on the spike sorting."""
BEHAVIOUR_TABLES = (
    Wanted("trials", ("table",), needed=False),
    Wanted("wheel", ("timestamps", "position"), needed=False),
)


@dataclass(frozen=True)
class Dataset:
    """One file that the release lists.

    Attributes:
        path: Path from the session's folder on.
        collection: Its collection, such as ``alf/probe00/pykilosort``.
        revision: Its revision; "" if it has none.
        table: ALF object and attribute, such as ``spikes.times``.
        preference: Order among files of the same table and revision.
        default: True if the database marks it as the default revision.
        id: Id in the database.
        size: Length in bytes; None if the release does not list it.
        md5: Hash; "" if the release does not list it.
    """

    path: str
    collection: str
    revision: str
    table: str
    preference: tuple
    default: bool
    id: str
    size: int | None
    md5: str


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

    Files that are there already with the listed hash are not fetched again. The list holds where the session was
    found, and each file's table, probe, path within ``source.folder``, size, md5 and revision; no path of this
    machine.

    Args:
        row: The session; found by its ``eid`` in remote mode where the cohort gives one, else by subject, date and
            ``number``. ``probes`` in the cohort, comma-separated, restricts the probes.
        source: Where the release is.

    Raises:
        SessionError: The session or a needed table is not in the release, or, in local mode, a file differs from its
            hash.
        PassingFault: A needed file is damaged in each download, or no copy of it is offered now.
        SourceUnavailable: See :func:`neurohorizon.ingest.ibl_one.open_one`.
    """
    one = open_one(source)
    eid = _find_session(one, row, source)
    datasets = _listed(one, eid, row, source)
    probes = _probe_collections([dataset.path for dataset in datasets], row)
    files = _Files(one, eid, row.session, source)
    for probe, collection in probes.items():
        sorting = [dataset for dataset in datasets if dataset.collection == collection]
        chosen, passed_over = _one_sorting(sorting, probe, collection, row, source)
        if passed_over:
            files.note("older_sorting", passed_over)
        files.want(SORTING_TABLES, chosen, collection, probe)
        sites = [dataset for dataset in datasets if dataset.collection == f"alf/{probe}"]
        files.want(SITE_TABLES, _latest(sites, source.revision), f"alf/{probe}", probe)
    for wanted in BEHAVIOUR_TABLES:
        collection = _behaviour_collection([dataset.path for dataset in datasets], wanted)
        behaviour = [dataset for dataset in datasets if dataset.collection == collection]
        files.want((wanted,), _latest(behaviour, source.revision), collection)
    files.fetch()
    return {
        "session": row.session,
        "eid": str(eid),
        "release": source.base_url if source.mode == "remote" else "local",
        "revision": source.revision,
        "one_version": one_version,
        "probes": probes,
        "missing": _without_alternatives(files.missing, probes),
        "notes": files.notes,
        "files": files.entries,
    }


def _find_session(one: One, row: Row, source: IblSource) -> str:
    eid = row.extras.get("eid")
    if source.mode == "remote" and eid:
        try:
            return str(UUID(eid))
        except ValueError:
            raise SessionError(
                f"session {row.session}: eid {eid!r} in the cohort table; expected the id of a session, such as "
                f"{UUID(int=0)}"
            ) from None
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


def _listed(one: One, eid: str, row: Row, source: IblSource) -> list[Dataset]:
    """Return all ALF files that the release lists for a session."""
    try:
        table = patiently_at(lambda: one.list_datasets(eid, details=True), source)
    except NotOffered as error:
        raise SessionError(f"session {row.session} ({eid}) is not in the release: {error}") from None
    if source.mode == "remote" and not len(table):
        raise PassingFault(f"session {row.session}: {source.base_url} lists no file of it now; run again later")
    datasets = []
    for dataset_id, listed in zip(table.index, table.to_dict("records"), strict=True):
        parts = rel_path_parts(listed["rel_path"], as_dict=True, assert_valid=False)
        if not parts or not parts["object"]:
            continue
        namespace, extension = parts["namespace"] or "", f".{parts['extension']}"
        size, md5 = listed["file_size"], listed["hash"]
        datasets.append(
            Dataset(
                path=listed["rel_path"],
                collection=parts["collection"] or "",
                revision=parts["revision"] or "",
                table=f"{parts['object']}.{parts['attribute']}",
                preference=(
                    # a namespace other than the IBL's marks a version of one lab, such as its manual curation
                    namespace not in ("", "ibl"),
                    FORMATS.index(extension) if extension in FORMATS else len(FORMATS),
                    len(Path(listed["rel_path"]).name),
                    listed["rel_path"],
                ),
                default=bool(listed.get("default_revision", False)),
                id=str(dataset_id[-1] if isinstance(dataset_id, tuple) else dataset_id),
                size=None if pd.isna(size) or not size else int(size),
                md5="" if pd.isna(md5) or not md5 else str(md5).replace("-", ""),
            )
        )
    return datasets


def _probe_collections(paths: Iterable[str], row: Row) -> dict[str, str]:
    """Collection of each probe that holds its spike sorting, by probe name."""
    by_probe = defaultdict(set)
    for path in paths:
        place = re.match(r"(alf/(probe[^/]*)(?:/[^/#]+)?)/(?:#[^/]+#/)?spikes\.times\.", path)
        if place:
            by_probe[place[2]].add(place[1])
    asked = row.probe_names
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


def _latest(datasets: Iterable[Dataset], revision: str | None) -> dict[str, Dataset]:
    """Return, by table, the file of the latest revision up to the given one, as ONE does.

    Without a revision it is the one that the database marks as the default, else the latest.
    """
    by_table = defaultdict(list)
    for dataset in datasets:
        if revision is None or dataset.revision <= revision:
            by_table[dataset.table].append(dataset)
    chosen = {}
    for table, found in by_table.items():
        marked = [dataset for dataset in found if dataset.default] if revision is None else []
        latest = max(dataset.revision for dataset in marked or found)
        chosen[table] = min(
            (dataset for dataset in found if dataset.revision == latest), key=lambda dataset: dataset.preference
        )
    return chosen


def _one_sorting(
    datasets: Iterable[Dataset], probe: str, collection: str, row: Row, source: IblSource
) -> tuple[dict[str, Dataset], str]:
    """Return the tables of a probe's spike sorting, by table, all of one revision, and why it is not the newest.

    Clusters of two runs of a sorter have the same numbers and are other neurons, so tables of two revisions are never
    combined. Of the revisions up to the one that ONE takes for the spike times, the latest that has all needed tables
    is used.

    Raises:
        SessionError: No revision has them all, but each is there in some.
    """
    datasets = list(datasets)
    needed = {table for wanted in SORTING_TABLES if wanted.needed for table in wanted.tables}
    latest = _latest(datasets, source.revision)
    if not needed <= set(latest):
        return latest, ""
    newest = latest["spikes.times"].revision
    of_revision = defaultdict(list)
    for dataset in datasets:
        if dataset.revision <= newest:
            of_revision[dataset.revision].append(dataset)
    complete = [revision for revision, found in of_revision.items() if needed <= {dataset.table for dataset in found}]
    if not complete:
        places = ", ".join(f"{table} of {latest[table].revision or 'the first release'}" for table in sorted(needed))
        raise SessionError(
            f"session {row.session}: no revision of {collection} has all tables of one spike sorting, and those of two "
            f"do not fit together: {places}; choose another with sources.ibl.revision, or leave {probe} out"
        )
    used, passed_over = max(complete), ""
    if used != newest:
        lacks = sorted(needed - {dataset.table for dataset in of_revision[newest]})
        passed_over = (
            f"{probe}: revision {newest} lacks {', '.join(lacks)}; all tables are of the earlier revision "
            f"{used or 'without a name'}"
        )
    return _latest(of_revision[used], used), passed_over


@dataclass
class _Group:
    """Files that are used together or not."""

    wanted: Wanted
    datasets: list[Dataset]
    probe: str | None

    @property
    def name(self) -> str:
        return f"{self.probe}/{self.wanted.name}" if self.probe else self.wanted.name


@dataclass
class _Files:
    """The files of one session that are used: chosen, fetched, checked and listed.

    Attributes:
        entries: List of the files that are there.
        missing: Tables that the release does not have, of those that a session can do without.
        notes: Findings, as code, message and count.
        groups: Files that are planned.
        md5s: Hashes of files that were read.
    """

    one: One
    eid: str
    session: str
    source: IblSource
    entries: list[dict] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[tuple[str, str, int]] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=list)
    md5s: dict[Path, str] = field(default_factory=dict)

    def note(self, code: str, message: str) -> None:
        """Add a finding."""
        self.notes.append((code, message, 1))

    def want(
        self, tables: Iterable[Wanted], chosen: Mapping[str, Dataset], collection: str, probe: str | None = None
    ) -> None:
        """Plan to fetch tables of a collection.

        Raises:
            SessionError: A needed table is not listed.
        """
        for wanted in tables:
            group = _Group(wanted, [chosen[table] for table in wanted.tables if table in chosen], probe)
            lacks = [table for table in wanted.tables if table not in chosen]
            if not lacks:
                self.groups.append(group)
            elif wanted.needed:
                there = ", ".join(sorted(Path(dataset.path).name for dataset in chosen.values())) or "nothing"
                until = f" up to revision {self.source.revision}" if self.source.revision else ""
                raise SessionError(
                    f"session {self.session} lacks {', '.join(lacks)} in {collection}{until}; found there: {there}"
                )
            else:
                self.missing.append(group.name)

    def fetch(self) -> None:
        """Fetch and check what is planned, and list it.

        Raises:
            SessionError: A needed file is not offered, or differs from the release in local mode.
            PassingFault: A needed file is damaged in each download, or not offered now.
        """
        # the session's record is in ONE's memory since its files were listed
        in_memory = {"query_type": "local"} if self.source.mode == "remote" else {}
        record = self.one.get_details(self.eid, **in_memory)
        folder = Path(session_record2path(record.to_dict(), self.source.folder))
        addresses = self._addresses(folder) if self.source.mode == "remote" else {}
        for group in self.groups:
            try:
                entries = [self._entry(folder, dataset, group.probe, addresses) for dataset in group.datasets]
            except (NotOffered, PassingFault) as error:
                if group.wanted.needed:
                    raise
                report(f"{self.session}: goes on without {group.name}: {error}")
                self.missing.append(group.name)
            else:
                self.entries += entries

    def _addresses(self, folder: Path) -> dict[str, list[str]]:
        """Return the addresses of the files that are not there yet, by id of the dataset, public buckets first."""
        planned = [dataset for group in self.groups for dataset in group.datasets]
        absent = [dataset for dataset in planned if not self._as_released(folder / dataset.path, dataset)]
        size = bytes_as_text(sum(dataset.size or 0 for dataset in absent))
        report(
            f"{self.session}: {len(planned)} files, {len(planned) - len(absent)} are there, {len(absent)} to download"
            + (f" ({size})" if absent else "")
        )
        if not absent:
            return {}
        query = f"id__in,{[dataset.id for dataset in absent]}"
        answer = patiently_at(
            # pages are loaded as they are read
            lambda: list(self.one.alyx.rest("datasets", "list", django=query)),
            self.source,
        )
        found = {}
        for listed in answer:
            copies = [copy for copy in listed["file_records"] if copy["exists"] and copy["data_url"]]
            copies.sort(key=lambda copy: not copy["data_repository"].startswith("aws"))
            found[str(UUID(listed["url"].rstrip("/")[-36:]))] = [_quoted(copy["data_url"]) for copy in copies]
        return {dataset.id: found.get(dataset.id, []) for dataset in absent}

    def _entry(
        self, folder: Path, dataset: Dataset, probe: str | None, addresses: Mapping[str, list[str]]
    ) -> dict[str, Any]:
        path = folder / dataset.path
        if self.source.mode == "remote" and dataset.id in addresses:
            self._download(path, dataset, addresses[dataset.id])
        if not path.is_file():
            fault = NotOffered(
                f"session {self.session}: {dataset.path} is listed in the release's tables, but there is no such file; "
                "put it back, or index the folder again"
            )
            raise fault
        relative = path_within(path, Path(self.source.folder), session=self.session)
        size, md5 = path.stat().st_size, self._md5(path)
        differs = (dataset.md5 and md5 != dataset.md5) or (not dataset.md5 and dataset.size not in (None, size))
        if differs and self.source.mode == "local":
            raise SessionError(
                f"session {self.session}: {relative} is damaged, it differs in size or hash from the release's tables; "
                "put the file back (or, where it was changed on purpose, index the folder again)"
            )
        if differs:
            self.note(
                "stale_record",
                f"{relative.name} has {size} bytes and md5 {md5} in two downloads; the database lists {dataset.size} "
                f"bytes and {dataset.md5 or 'no md5'}: the file was replaced and its record was not",
            )
        return {
            "table": dataset.table,
            "probe": probe,
            "path": relative.as_posix(),
            "size": size,
            "md5": md5,
            "revision": dataset.revision,
        }

    def _download(self, path: Path, dataset: Dataset, addresses: list[str]) -> None:
        """Fetch one file until it is as released, or twice the same."""
        if not addresses:
            raise PassingFault(
                f"session {self.session}: {dataset.path} is listed, but {self.source.base_url} offers no copy of it "
                "now; run again later"
            )
        found = {self._md5(path)} if path.is_file() else set()
        for _ in range(DAMAGED_ATTEMPTS):
            path.unlink(missing_ok=True)
            self.md5s.pop(path, None)
            try:
                self._from_first(addresses, path)
            except NotOffered as error:
                raise NotOffered(f"session {self.session}: {dataset.path} is listed, but {error}") from None
            md5 = self._md5(path)
            if md5 in (dataset.md5 or md5, *found):
                return
            found.add(md5)
            report(f"{path.name}: its md5 is {md5}, the database lists {dataset.md5}; downloading it again")
        path.unlink()
        raise PassingFault(
            f"session {self.session}: {dataset.path} differs from the database and from itself in each of "
            f"{DAMAGED_ATTEMPTS} downloads; run again, or check the network"
        )

    def _md5(self, path: Path) -> str:
        """Return the hash of a file, which is read once for each download."""
        if path not in self.md5s:
            self.md5s[path] = file_hash(path, "md5")
        return self.md5s[path]

    def _as_released(self, path: Path, dataset: Dataset) -> bool:
        """Return whether a file is there and has the listed hash; the size counts where no hash is listed."""
        if not path.is_file():
            return False
        if dataset.md5:
            return self._md5(path) == dataset.md5
        return dataset.size in (None, path.stat().st_size)

    def _from_first(self, addresses: list[str], path: Path) -> Path:
        """Fetch a file from the first address that offers it; where one fails, the next is tried before waiting."""
        hours = self.source.outage_hours
        left = list(addresses)
        for address in addresses if len(addresses) > 1 else ():
            try:
                return download(address, path, outage_hours=min(hours, OTHER_ADDRESS_AFTER_HOURS))
            except NotOffered:
                left.remove(address)
            except SourceUnavailable as error:
                report(str(error))
        # all addresses say so, or the first may yet answer
        return download((left or addresses)[0], path, outage_hours=hours)


def _quoted(url: str) -> str:
    """Return an address whose path is quoted: a revision is written with ``#``, which would end the path."""
    parts = urlsplit(url, allow_fragments=False)
    return parts._replace(path=quote(unquote(parts.path))).geturl()


def _without_alternatives(missing: list[str], probes: Iterable[str]) -> list[str]:
    """Return what is missing without the regions of a probe that are there in another table."""
    kept = list(missing)
    for probe in probes:
        aligned, sites = (f"{probe}/{name}.brainLocationIds" for name in ("channels", "electrodeSites"))
        for name in (aligned, sites) if not {aligned, sites} <= set(missing) else (sites,):
            kept = [other for other in kept if other != name]
    return kept
