"""The IBL's public archive of the Brain-Wide Map: two tar files, downloaded once for all sessions, without an account.

``bwm_ephys`` has the spikes of the good units, ``bwm_behavior`` the wheel. A session is read from its parts in these
files; nothing is unpacked. The layout is read from the publisher's code (``int-brain-lab/ibl-ai-agent``,
``CHANGELOG_DATA.md`` there describes the versions); :func:`download_ibl_archive` checks it before a session is read.
"""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pyarrow import ArrowInvalid
from pyarrow.parquet import read_schema

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.files import replacing
from neurohorizon.ingest.downloads import Expected, bytes_as_text, download, report
from neurohorizon.ingest.findings import list_names
from neurohorizon.ingest.ibl_shards import SPIKE_ARRAYS, decode_spikes, decode_wheel
from neurohorizon.ingest.leave_out import OnFatal, SourceUnavailable, download_or_note
from neurohorizon.ingest.paper_cohort import IBL_COLUMNS, write_release
from neurohorizon.ingest.tar_members import Member, as_entry, hash_member, open_member, read_member, tar_members
from neurohorizon.session import SessionError
from neurohorizon.sources import IBL_ARCHIVE_URL as ARCHIVE_URL
from neurohorizon.sources import IBL_ARCHIVE_VERSIONS

ArchiveName = Literal["bwm_ephys", "bwm_behavior"]

SORTING = "2024-05-06"
"""Revision of the spike sorting in the archive."""
INSERTIONS, UNITS, TRIALS = "metadata/insertions.parquet", "metadata/units.parquet", "metadata/trials.parquet"
CLUSTERS = "clusters.pqt"
"""Table of all clusters, good or not: names and labels, no spikes. Versions before 1.2.0 have none."""
UNIT_COLUMNS = ("pid", "cluster_id", "label", "atlas_id")
WHEEL = "wheel.timestamps+position"
PROBE_FILES = ("meta.json", *(f"{name}.blosc" for name in SPIKE_ARRAYS))


@dataclass(frozen=True)
class Archive:
    """One tar file of the archive.

    Attributes:
        version: Its version.
        sha1: Its hash, as published with it.
        parts: How the names of the files begin that are read.
        tables: Tables that a session needs, and their columns.
    """

    version: str
    sha1: str
    parts: tuple[str, ...]
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ARCHIVES: dict[str, Archive] = {
    "bwm_ephys": Archive(
        IBL_ARCHIVE_VERSIONS["bwm_ephys"],
        "b18c5c7a2944be510800010eb3df90aac84a2a52",
        (INSERTIONS, UNITS, TRIALS, CLUSTERS, "spikes/"),
        {INSERTIONS: IBL_COLUMNS, UNITS: UNIT_COLUMNS, TRIALS: ("eid", "intervals_0", "intervals_1")},
    ),
    "bwm_behavior": Archive(
        IBL_ARCHIVE_VERSIONS["bwm_behavior"], "1c37dd1c38d46ec80067c8a25772dfe2468a1ce1", ("sessions/",)
    ),
}


def download_ibl_archive(*, archive: ArchiveName, ibl: IblSource, output: Path) -> None:
    """Fetch one tar file, unless it is in the folder, check it, and write where each of its parts is.

    The file and its parts are hashed once: ``{name}.tar.checked.json`` next to it records the hashes, and the size and
    time of the file that has them. A folder ``{name}/{version}``, as the publisher's own tool unpacks it, is used
    if there is no tar file.

    Args:
        archive: Name of the tar file.
        ibl: The section ``sources.ibl`` of the configuration.
        output: Index of its parts, JSON.

    Raises:
        SourceUnavailable: It cannot be downloaded, is damaged, or has another layout than expected.
    """
    wanted, folder = ARCHIVES[archive], Path(ibl.folder)
    path, unpacked = folder / f"{archive}-{wanted.version}.tar", folder / archive / wanted.version
    if unpacked.is_dir() and not path.is_file():
        report(f"{unpacked} is used; it has the unpacked archive")
        members = _members_of_folder(unpacked, folder, wanted)
    else:
        members = _members_of_tar(path, wanted, ibl)
    _check_layout(archive, wanted, members, folder)
    listed = {"archive": archive, "version": wanted.version, "members": _written(members)}
    with replacing(output) as temporary:
        temporary.write_text(json.dumps(listed, indent=0) + "\n")


def _members_of_tar(path: Path, wanted: Archive, ibl: IblSource) -> dict[str, Member]:
    """Return the parts of a tar file that has the published hash; it is downloaded if it is not there."""
    record = path.with_name(f"{path.name}.checked.json")
    if path.is_file() and record.is_file():
        known = json.loads(record.read_text())
        if known["state"] == _state(path, wanted.sha1):
            report(f"{path.name}: checked before")
            return {part: Member(**entry) for part, entry in known["members"].items()}
    advice = f"put {path.name} into {ibl.folder}, or set sources.ibl.mode to remote, which needs an account"
    expected = Expected(hashes={"sha1": wanted.sha1})
    try:
        download(f"{ARCHIVE_URL}/{path.name}", path, outage_hours=ibl.outage_hours, expected=expected)
    except (SessionError, SourceUnavailable) as error:
        raise SourceUnavailable(f"{error}\nThe archive needs no account: {advice}") from None
    state = _state(path, wanted.sha1)
    try:
        places = tar_members(path)
    except tarfile.TarError as error:
        raise _other_layout(path.name, str(error)) from None
    roots = sorted((one for one in places if Path(one).name == "schema.yaml"), key=lambda one: one.count("/"))
    if not roots:
        raise _other_layout(path.name, "it has no schema.yaml")
    root = roots[0].removesuffix("schema.yaml")
    inside = {one.removeprefix(root): place for one, place in places.items() if one.startswith(root)}
    members = _hashed({one: Member(path.name, *place) for one, place in inside.items()}, path.parent, wanted)
    with replacing(record) as temporary:
        temporary.write_text(json.dumps({"state": state, "members": _written(members)}, indent=0) + "\n")
    return members


def _state(path: Path, sha1: str) -> dict[str, Any]:
    found = path.stat()
    return {"size": found.st_size, "modified_ns": found.st_mtime_ns, "sha1": sha1}


def _members_of_folder(unpacked: Path, folder: Path, wanted: Archive) -> dict[str, Member]:
    """Return the parts of an unpacked archive, which must have all files that its manifest lists."""
    files = [path for path in sorted(unpacked.rglob("*")) if path.is_file()]
    found = {
        path.relative_to(unpacked).as_posix(): Member(path.relative_to(folder).as_posix(), 0, path.stat().st_size)
        for path in files
    }
    listed = json.loads((unpacked / "manifest.json").read_text())["files"] if "manifest.json" in found else []
    absent = [one["path"] for one in listed if one["path"].startswith(wanted.parts) and one["path"] not in found]
    if absent or not listed:
        raise SourceUnavailable(
            f"{unpacked} is not the whole archive: it lacks {list_names(absent or ['manifest.json'], 3)}; unpack it "
            "again, or remove the folder, and the archive is downloaded"
        )
    return _hashed(found, folder, wanted)


def _hashed(members: Mapping[str, Member], folder: Path, wanted: Archive) -> dict[str, Member]:
    """Return the parts that are read, with their hashes, by which later damage is found."""
    used = {name: member for name, member in sorted(members.items()) if name.startswith(wanted.parts)}
    report(f"{len(used)} parts, {bytes_as_text(sum(member.size for member in used.values()))}, are hashed")
    return {name: replace(member, sha256=hash_member(member, folder, name=name)) for name, member in used.items()}


def _written(members: Mapping[str, Member]) -> dict[str, dict[str, Any]]:
    return {name: as_entry(member) for name, member in members.items()}


def _check_layout(name: str, wanted: Archive, members: Mapping[str, Member], folder: Path) -> None:
    """Check the tables, and decode one probe or one wheel, before any session is read.

    Raises:
        SourceUnavailable: Something differs from the layout that this module reads.
    """
    for table, needed in wanted.tables.items():
        if table not in members:
            raise _other_layout(name, f"it has no {table}")
        with open_member(members[table], folder, name=table) as file:
            try:
                columns = read_schema(file).names
            except (ArrowInvalid, OSError) as error:
                raise _other_layout(name, f"{table} is no table ({error})") from None
        if absent := [column for column in needed if column not in columns]:
            raise _other_layout(name, f"{table} lacks {', '.join(absent)}; it has {', '.join(columns)}")
    try:
        if name == "bwm_behavior":
            sample = next(one for one in members if one.startswith("sessions/"))
            decode_wheel(read_member(members[sample], folder, name=sample))
            return
        probes = [Path(one).parent.as_posix() for one in members if one.endswith("/meta.json")]
        sample = next(one for one in probes if all(f"{one}/{file}" in members for file in PROBE_FILES))
        read = partial(_read_beside, members, folder, sample)
        decode_spikes(read("meta.json"), read)
    except StopIteration:
        raise _other_layout(name, "it has no whole sessions/SESSION.zip or spikes/PROBE") from None
    except (ValueError, LookupError, TypeError) as error:
        raise _other_layout(name, f"{sample}: {error}") from None


def _read_beside(members: Mapping[str, Member], folder: Path, place: str, name: str) -> bytes:
    return read_member(members[f"{place}/{name}"], folder, name=f"{place}/{name}")


def _other_layout(name: str, found: str) -> SourceUnavailable:
    return SourceUnavailable(
        f"{name} is not the archive that this version reads: {found}; if the file is whole, report it, and set "
        "sources.ibl.mode to remote, which reads the same sessions with an account"
    )


@dataclass(frozen=True)
class Archives:
    """The parts of all archives, by name.

    Attributes:
        release: Names and versions of the archives.
        members: Place of each part.
        folder: Folder of the archives.
    """

    release: str
    members: dict[str, Member]
    folder: Path

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Return columns of a table."""
        content = read_member(self.members[name], self.folder, name=name)
        return pd.read_parquet(io.BytesIO(content), columns=list(columns))


def read_archives(paths: Sequence[Path], source: IblSource) -> Archives:
    """Read the indices that :func:`download_ibl_archive` wrote."""
    listed = [json.loads(Path(path).read_text()) for path in paths]
    members = {name: Member(**entry) for one in listed for name, entry in one["members"].items()}
    release = ", ".join(f"{one['archive']} {one['version']}" for one in listed)
    return Archives(release, members, Path(source.folder))


def fetch_archive_insertions(*, archive: Path, ibl: IblSource, output: Path) -> None:
    """Write the insertions of the archive as the release table of :mod:`neurohorizon.ingest.paper_cohort`.

    Args:
        archive: Index of ``bwm_ephys``.
        ibl: The section ``sources.ibl`` of the configuration.
        output: The table.
    """
    table = read_archives([archive], ibl).table(INSERTIONS, IBL_COLUMNS)
    rows = [{name: str(value) for name, value in row.items()} for row in table.to_dict("records")]
    write_release(
        output, sorted(rows, key=lambda row: (row["lab"], row["subject"], row["date"], row["pid"])), IBL_COLUMNS
    )


def list_ibl(
    *, row: Row, ibl: IblSource, archives: Sequence[Path], on_fatal: OnFatal, attempt: int, output: Path
) -> None:
    """List the parts of one session in the archive, or note why it cannot be used.

    Args:
        row: Row of the cohort table.
        ibl: The section ``sources.ibl`` of the configuration.
        archives: Indices of the archives.
        on_fatal: Effect of a fatal fault.
        attempt: Number of the attempt, from 0.
        output: List of the session's parts; see :func:`list_session`.
    """
    listing = partial(list_session, row, source=ibl, archives=archives)
    download_or_note(listing, manifest=output, on_fatal=on_fatal, attempt=attempt)


def list_session(row: Row, *, source: IblSource, archives: Sequence[Path]) -> dict[str, Any]:
    """Return where the parts of one session are; nothing is downloaded.

    Args:
        row: The session; found by its ``eid``, else by subject, date and ``number``. ``probes`` in the cohort,
            comma-separated, restricts the probes.
        source: The section ``sources.ibl`` of the configuration.
        archives: Indices of the archives.

    Raises:
        SessionError: The session or a needed part is not in the archive.
        SourceUnavailable: The archive is gone or damaged.
    """
    found = read_archives(archives, source)
    insertions = _insertions_of(row, found.table(INSERTIONS, IBL_COLUMNS))
    eid = str(insertions["eid"].iloc[0])
    probes = _probes(row, dict(zip(insertions["probe_name"], insertions["pid"].astype(str), strict=True)))
    units = found.table(UNITS, ["pid"])["pid"].astype(str).value_counts()
    entries = [as_entry(found.members[name], name=name, probe=None) for name in (UNITS, TRIALS)]
    optional = [name for name in (CLUSTERS, f"sessions/{eid}.zip") if name in found.members]
    entries += [as_entry(found.members[name], name=name, probe=None) for name in optional]
    for probe, pid in probes.items():
        names = [f"spikes/{pid}/{name}" for name in PROBE_FILES]
        absent = [name for name in names if name not in found.members]
        if absent and units.get(pid, 0):
            raise SessionError(
                f"session {row.session}: the archive has {units[pid]} units of {probe}, and lacks {', '.join(absent)}; "
                "expected all files of a probe with units: leave it out with the cohort table's column probes"
            )
        if not absent:
            entries += [as_entry(found.members[name], name=name, probe=probe) for name in names]
    return {
        "session": row.session,
        "eid": eid,
        "release": found.release,
        "revision": SORTING,
        "probes": probes,
        "missing": [] if CLUSTERS in optional else ["clusters.uuids"],
        "files": entries,
    }


def _insertions_of(row: Row, insertions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a session's probes."""
    eid, number = row.extras.get("eid"), row.extras.get("number")
    if eid:
        chosen, wanted = insertions["eid"].astype(str) == eid, f"eid {eid}"
    else:
        chosen = (insertions["subject"].astype(str) == row.subject) & (insertions["date"].astype(str) == row.date)
        wanted = f"subject {row.subject} on {row.date}"
        if number:
            chosen &= insertions["session_number"].astype(str) == str(int(number)) if number.isdigit() else False
            wanted += f", number {number}"
    found = insertions[chosen]
    if not len(found):
        raise SessionError(
            f"session {row.session} is not in the IBL's public archive, which has {insertions['eid'].nunique()} "
            f"sessions of the Brain-Wide Map: nothing found for {wanted}; for others, set sources.ibl.mode to remote"
        )
    if (sessions := found["eid"].nunique()) > 1:
        raise SessionError(f"session {row.session}: {sessions} sessions fit {wanted}; give the cohort a number column")
    return found


def _probes(row: Row, found: Mapping[str, str]) -> dict[str, str]:
    asked = row.probe_names
    if absent := [name for name in asked if name not in found]:
        raise SessionError(
            f"session {row.session} has no probe {', '.join(absent)}; probes found: {', '.join(sorted(found))}"
        )
    return {name: found[name] for name in sorted(asked or found)}
