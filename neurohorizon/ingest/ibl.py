"""IBL sessions: download through ONE, and ingestion of the ALF files into a Session.

The only module that imports ONE. Works on a folder on disk (``mode: local``) and against an Alyx server
(``mode: remote``), chosen by the configuration. ONE and ALF: https://docs.internationalbrainlab.org.
"""

import json
import os
import re
import time
import uuid
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
import requests
from iblatlas.regions import BrainRegions
from iblutil.io import parquet
from one import __version__ as one_version
from one.alf.cache import make_parquet_db
from one.alf.exceptions import ALFObjectNotFound, ALFWarning
from one.alf.io import iter_sessions
from one.alf.path import rel_path_parts
from one.api import ONE, One
from one.params import get as one_parameters
from one.params import get_params_dir
from scipy.signal import butter, sosfiltfilt

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource, Timeline
from neurohorizon.config import Splits as SplitSettings
from neurohorizon.ingest.checks import check_spikes
from neurohorizon.ingest.findings import Notes, encode_findings, list_names
from neurohorizon.ingest.leave_out import OnFatal, SourceUnavailable, download_or_note, write_ingested
from neurohorizon.ingest.listed_files import file_hash, listed_file, path_within
from neurohorizon.ingest.probe_spans import ProbeSpan, count_trimmed, note_short_probes, recorded_span, shared_time
from neurohorizon.ingest.spike_checks import RawSpikes
from neurohorizon.ingest.thresholds import limit
from neurohorizon.session import Series, Session, SessionError, order_spikes
from neurohorizon.timeline import MICROSECONDS, Intervals, split_domain

SORTERS = ("pykilosort", "iblsorter")
"""Preferred collections of a probe, in order; else the shortest, as ibllib's SpikeSortingLoader chooses."""
WHEEL_HZ = 1000
WHEEL_CORNER_HZ = 20
WHEEL_FILTER_ORDER = 8
_RETRY_WAIT_S = 2.0


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


def _refused(source: IblSource, error: requests.HTTPError) -> SourceUnavailable:
    # the error's own text may repeat the request, so it is left out
    status = getattr(error.response, "status_code", "no status")
    return SourceUnavailable(
        f"{source.base_url} refused the request (HTTP {status}); check ALYX_LOGIN and ALYX_PWD, or ALYX_TOKEN (shown "
        f"at {source.base_url}/me), and the eids of the cohort table"
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
    datasets = _attempt(lambda: one.list_datasets(eid, details=True), source)
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
    found, details = _attempt(
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
        for attempt in range(self.source.download_attempts):
            try:
                paths = _attempt(lambda: self._load(wanted, collection), self.source)
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
            time.sleep(_RETRY_WAIT_S * attempt)
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


def _attempt(call: Callable[[], object], source: IblSource) -> object:
    """Call until it answers, waiting longer each time.

    Raises:
        SourceUnavailable: The server cannot be reached in ``download_attempts``, or refuses.
    """
    for attempt in range(source.download_attempts):
        try:
            return call()
        except OSError as error:  # requests and urllib raise its subclasses
            if isinstance(error, requests.HTTPError) and 400 <= getattr(error.response, "status_code", 0) < 500:
                raise _refused(source, error) from None
            failure = type(error).__name__
        if attempt + 1 < source.download_attempts:
            time.sleep(_RETRY_WAIT_S * 2**attempt)
    raise SourceUnavailable(
        f"{source.base_url if source.mode == 'remote' else source.folder} gave no answer in {source.download_attempts} "
        f"attempts ({failure}); check the network and run again: finished files are kept"
    )


def preprocess_ibl(
    *,
    manifest: Path,
    row: Row,
    ibl: IblSource,
    timeline: Timeline,
    splits: SplitSettings,
    on_fatal: OnFatal,
    output: Path,
) -> None:
    """Turn one downloaded IBL session into a session file, or into one that holds the reason why it is left out.

    Args:
        manifest: List of the session's files.
        row: Row of the cohort table.
        ibl: The section ``sources.ibl`` of the configuration.
        timeline: The section ``timeline``.
        splits: The section ``splits``.
        on_fatal: Effect of a fatal fault.
        output: Session file.
    """
    ingest = partial(ingest_ibl, manifest, row, source=ibl, splits=splits)
    settings = {"row": row, "on_fatal": on_fatal, "timeline": timeline, "splits": splits}
    write_ingested(output, ingest, manifest=manifest, **settings)


def ingest_ibl(manifest: Path, row: Row, *, source: IblSource, splits: SplitSettings) -> Session:
    """Read a downloaded session: good units of all probes, their regions, spikes, wheel velocity and trials.

    Unit ids are ``{probe}:{uuid}`` (the cluster number where the release gives no uuid); units come by probe,
    then by cluster number. ``region`` is the Allen acronym, ``beryl`` its coarser Beryl region.

    The domain is the time when every probe recorded: from the latest first spike to the earliest last
    spike, over all clusters of a probe, good or not, rounded inward to whole seconds, so that bins that
    divide a second have the edges they would have from the clock's zero. A few spikes far from all
    others do not count. What is dropped is counted in ``repairs``, ``trimmed_{probe}`` for spikes outside the domain,
    and described in the findings.

    Args:
        manifest: Written by :func:`download_session`.

    Raises:
        SessionError: A file is absent or damaged, tables do not fit together, no unit is good enough, or the
            session is too short for its splits.
    """
    listed = json.loads(Path(manifest).read_text())
    files, notes = _Files(row.session, Path(source.folder), listed["files"]), Notes()
    probes = [_read_probe(files, probe, source.minimum_label, notes) for probe in listed["probes"]]
    units = {name: np.concatenate([probe.units[name] for probe in probes]) for name in probes[0].units}
    if not len(units["id"]):
        labels = np.concatenate([probe.labels for probe in probes])
        raise SessionError(
            f"session {row.session} has no unit with a label of {source.minimum_label} or more: best of {len(labels)} "
            f"clusters {np.nanmax(labels, initial=0):.2f}; lower sources.ibl.minimum_label or leave the session out"
        )
    spans = [probe.span for probe in probes]
    start_us, stop_us = shared_time(row.session, spans)
    note_short_probes(spans, notes)
    of_probe = {probe.span.probe: probe.times_s for probe in probes}
    count_trimmed(spans, of_probe, notes, start_us=start_us, stop_us=stop_us)
    domain = Intervals(np.array([start_us]), np.array([stop_us]))
    offset = np.cumsum([0, *(len(probe.units["id"]) for probe in probes)])
    times_s = np.concatenate([probe.times_s for probe in probes])
    unit = np.concatenate([probe.unit + first for probe, first in zip(probes, offset, strict=False)])
    # trimmed spikes are counted by probe; a time that is no number stays, to be counted as such
    trimmed = (times_s < start_us / MICROSECONDS) | (times_s >= stop_us / MICROSECONDS)
    raw = RawSpikes(times_s[~trimmed], unit[~trimmed], units["id"], units["probe"], domain)
    notes.findings += check_spikes(raw)
    spike_times_us, spike_unit, found = order_spikes(times_s[~trimmed], unit[~trimmed], domain=domain)
    try:
        parts = split_domain(domain, splits)
    except ValueError as error:
        raise SessionError(f"session {row.session} is too short: {error}") from error
    first_s, last_s = min(span.first_s for span in spans), max(span.last_s for span in spans)
    reach_s = first_s - limit("reach_s"), last_s + limit("reach_s")
    wheel = _read_wheel(files, source.wheel_rate_hz, reach_s, notes)
    trials = _read_trials(files, reach_s, notes)
    too_few = [] if wheel or files.lacks("wheel.position") else ["wheel: too few samples"]
    return Session(
        session_id=row.session,
        source="ibl",
        subject=row.subject,
        lab=row.lab,
        date=row.date,
        spike_times_us=spike_times_us,
        spike_unit=spike_unit,
        units=units,
        domain=domain,
        splits=parts,
        behaviour={"wheel": wheel} if wheel else {},
        trials=trials,
        provenance={
            "release": listed["release"],
            "revision": listed["revision"] or "",
            "eid": listed["eid"],
            "one_version": listed["one_version"],
            "collections": json.dumps(listed["probes"]),
            "missing": json.dumps(listed["missing"] + too_few),
            "files": json.dumps({entry["path"]: entry["md5"] for entry in listed["files"]}),
            "findings": encode_findings(notes.findings),
        },
        repairs={**found, **notes.repairs},
    )


class _Files:
    """The files of a manifest, checked against it as they are opened."""

    def __init__(self, session: str, folder: Path, entries: list[dict]) -> None:
        self.session = session
        self.folder = folder
        self.entries = {(entry["probe"], entry["table"]): entry for entry in entries}

    def lacks(self, table: str, probe: str | None = None) -> bool:
        return (probe, table) not in self.entries

    def vector(self, table: str, probe: str | None = None) -> np.ndarray:
        """Numbers of a ``.npy`` file, [row]; a single row or column is one, as MATLAB writes them."""
        values = self._read(table, probe, lambda path: np.load(path, allow_pickle=False))
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
            kind = getattr(values, "dtype", type(values).__name__)
            raise SessionError(f"{self._where(table, probe)} holds {kind}; expected numbers: export it again")
        if values.size != max(values.shape, default=0):
            raise SessionError(
                f"{self._where(table, probe)} has the shape {values.shape}; expected one value per row: export it again"
            )
        return values.reshape(-1)

    def integers(self, table: str, probe: str | None = None) -> np.ndarray:
        """Whole numbers of a ``.npy`` file, int64 [row]."""
        values = self.vector(table, probe)
        if values.dtype.kind == "f":
            odd = ~(np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2**53))
            if odd.any():
                raise SessionError(
                    f"{self._where(table, probe)}: {odd.sum()} of {len(odd)} values are no whole numbers, the first "
                    f"{values[odd][0]:g}; expected the numbers of clusters or channels: export it again"
                )
        return values.astype(np.int64)

    def frame(self, table: str, probe: str | None = None) -> pd.DataFrame:
        """A table, Parquet or CSV."""
        return self._read(
            table, probe, lambda path: pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        )

    def _where(self, table: str, probe: str | None) -> str:
        return f"session {self.session}: {self.entries[probe, table]['path']}"

    def _read(self, table: str, probe: str | None, reader: Callable) -> object:
        path = listed_file(self.entries[probe, table], self.folder, session=self.session, kind="md5")
        try:
            return reader(path)
        except Exception as error:  # readers raise what they please where a file is damaged
            if "allow_pickle" in str(error):
                raise SessionError(
                    f"{self._where(table, probe)} holds Python objects, refused, since reading them can run any code; "
                    "expected numbers: export it again"
                ) from error
            raise SessionError(
                f"{self._where(table, probe)} cannot be read, it may be truncated in the release: "
                f"{shorten(f'{type(error).__name__}: {error}', 200)}"
            ) from error


@dataclass(frozen=True)
class _Probe:
    """One probe's good units and their spikes; ``labels`` [cluster], ``times_s`` and ``unit`` [spike].

    Its span is that of all clusters.
    """

    units: dict[str, np.ndarray]
    labels: np.ndarray
    times_s: np.ndarray
    unit: np.ndarray
    span: ProbeSpan


def _read_probe(files: _Files, probe: str, minimum_label: float, notes: Notes) -> _Probe:
    where = f"session {files.session}, {probe}"
    times_s = files.vector("spikes.times", probe).astype(np.float64, copy=False)
    clusters = files.integers("spikes.clusters", probe)
    channels = files.integers("clusters.channels", probe)
    if times_s.shape != clusters.shape or not len(times_s):
        raise SessionError(
            f"{where}: {len(times_s)} spike times and {len(clusters)} spike clusters; expected equally many, one or "
            "more: download the probe again, or leave it out with the cohort table's column probes"
        )
    if clusters.min() < 0 or clusters.max() >= len(channels):
        raise SessionError(
            f"{where}: spikes name clusters {clusters.min()} to {clusters.max()}; clusters.channels has "
            f"{len(channels)}: its files are of different runs of spike sorting"
        )
    labels = _read_labels(files, probe, len(channels), notes)
    good = np.flatnonzero(labels >= minimum_label - 1e-3)  # labels are thirds, and people write 0.667
    _note_clusters(probe, clusters, labels, good, notes)
    names = _names(files, probe, len(channels))[good]
    if len(set(names.tolist())) < len(names):
        raise SessionError(f"{where}: clusters.uuids names several good clusters alike; expected one name per cluster")
    region, beryl = _regions(files, probe, channels[good])
    units = {
        "id": np.array([f"{probe}:{name}" for name in names], dtype=str),
        "region": region,
        "beryl": beryl,
        "probe": np.full(len(good), probe),
        "label": labels[good],
        "cluster": good,
    }
    unit_of_cluster = np.full(len(channels), -1)
    unit_of_cluster[good] = np.arange(len(good))
    unit = unit_of_cluster[clusters]
    if not np.isfinite(times_s).any():
        raise SessionError(f"{where}: none of {len(times_s)} spike times is a number: leave the probe out")
    return _Probe(units, labels, times_s[unit >= 0], unit[unit >= 0], recorded_span(probe, times_s, notes))


def _read_labels(files: _Files, probe: str, clusters: int, notes: Notes) -> np.ndarray:
    """Quality label of each cluster, float64 [cluster]; NaN where there is none."""
    where = f"session {files.session}, {probe}: clusters.metrics"
    metrics = files.frame("clusters.metrics", probe)
    if "label" not in metrics:
        raise SessionError(
            f"{where} has no column label, the share of quality criteria that a cluster passes; it has "
            f"{list_names(list(metrics.columns), 8)}; older releases lack it: take a later one (sources.ibl.revision), "
            "or leave the session out"
        )
    listed = metrics["cluster_id"] if "cluster_id" in metrics else metrics.index.to_series()
    cluster = pd.to_numeric(listed, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    label = pd.to_numeric(metrics["label"], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    for name, expected, values, odd in (
        ("cluster", "whole numbers", listed, cluster != np.rint(cluster)),
        ("label", "0 to 1", metrics["label"], ~((label >= 0) & (label <= 1)) & metrics["label"].notna().to_numpy()),
    ):
        if odd.any():
            found = shorten(repr(values[odd].tolist()[0]), 50)
            raise SessionError(
                f"{where} has the {name} {found} in {odd.sum()} rows; expected {expected}: export it again"
            )
    if len(cluster) and not 0 <= cluster.min() <= cluster.max() < clusters:
        raise SessionError(
            f"{where} lists clusters {cluster.min():g} to {cluster.max():g}; clusters.channels has {clusters}: its "
            "files are of different runs of spike sorting"
        )
    table = pd.DataFrame({"cluster": cluster, "label": label})
    single = table.drop_duplicates()
    contradicting = single.loc[single["cluster"].duplicated(), "cluster"]
    if len(contradicting):
        labels = [f"{one:.2f}" for one in single.loc[single["cluster"] == contradicting.iloc[0], "label"]]
        raise SessionError(
            f"{where} gives {len(contradicting)} clusters two labels, such as {' and '.join(labels)} to cluster "
            f"{contradicting.iloc[0]:g}; expected one row per cluster: keep the rows of one sorting"
        )
    repeated = len(table) - len(single)
    notes.drop("duplicate_metrics", f"{probe}: {repeated} rows of clusters.metrics repeat another; dropped", repeated)
    return single.set_index("cluster")["label"].reindex(np.arange(clusters)).to_numpy(np.float64)


def _note_clusters(probe: str, clusters: np.ndarray, labels: np.ndarray, good: np.ndarray, notes: Notes) -> None:
    """Count the clusters that are no units; note those that fire without a label, and probes that have no unit."""
    unlabelled = int(np.count_nonzero((np.bincount(clusters, minlength=len(labels)) > 0) & np.isnan(labels)))
    message = f"{probe}: {unlabelled} of {len(labels)} clusters fire and have no label in clusters.metrics; not used"
    notes.drop("clusters_without_label", message, unlabelled)
    poor = int(np.count_nonzero(~np.isnan(labels))) - len(good)
    notes.repairs["poor_clusters"] = notes.repairs.get("poor_clusters", 0) + poor
    if not len(good):
        message = (
            f"{probe}: none of {len(labels)} clusters is a unit, best label {np.nanmax(labels, initial=0):.2f}; valid "
            "time is still that of all probes: leave it out with the cohort table's column probes"
        )
        notes.add("probe_without_units", message, len(labels))


def _names(files: _Files, probe: str, clusters: int) -> np.ndarray:
    """Name of each cluster, [cluster]: its uuid, else its number."""
    if files.lacks("clusters.uuids", probe):
        return np.arange(clusters).astype(str)
    names = files.frame("clusters.uuids", probe).iloc[:, 0].to_numpy(str)
    if len(names) != clusters:
        raise SessionError(f"session {files.session}, {probe}: {len(names)} uuids for {clusters} clusters")
    return names


def _regions(files: _Files, probe: str, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Allen and Beryl acronyms of the channels, [channel]; "" where the release has no region."""
    table = next(
        (
            name
            for name in ("channels.brainLocationIds", "electrodeSites.brainLocationIds")
            if not files.lacks(name, probe)
        ),
        None,
    )
    if table is None:
        return (np.full(len(channels), ""),) * 2
    structures = np.nan_to_num(files.vector(table, probe))
    if len(channels) and channels.max() >= len(structures):
        raise SessionError(
            f"session {files.session}, {probe}: clusters name channel {channels.max()}; {table} has {len(structures)}"
        )
    acronyms = acronyms_by_structure()
    # structures of the left hemisphere are negative
    pairs = [
        acronyms.get(abs(int(structures[channel])), ("", "")) if channel >= 0 else ("", "") for channel in channels
    ]
    allen, beryl = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(allen, dtype=str), np.array(beryl, dtype=str)


@cache
def acronyms_by_structure() -> Mapping[int, tuple[str, str]]:
    """Allen and Beryl acronyms by Allen structure id (CCF 2017), from the table inside iblatlas, without the void."""
    regions = BrainRegions()
    beryl = regions.acronym[regions.mappings["Beryl"]]
    named = zip(regions.id.tolist(), regions.acronym.tolist(), beryl.tolist(), strict=True)
    return {structure: (allen, coarse) for structure, allen, coarse in named if structure > 0}


def _read_wheel(files: _Files, rate_hz: float, reach_s: tuple[float, float], notes: Notes) -> Series | None:
    """Wheel velocity, None where there is no wheel or too little of it; samples out of reach are dropped."""
    if files.lacks("wheel.position"):
        return None
    times_s, position = (files.vector(f"wheel.{name}").astype(np.float64) for name in ("timestamps", "position"))
    if times_s.shape != position.shape:
        raise SessionError(
            f"session {files.session}: {len(times_s)} wheel timestamps and {len(position)} positions; expected equally "
            "many: download them again, or remove both files"
        )
    near = (times_s >= reach_s[0]) & (times_s <= reach_s[1])
    kept = near & np.isfinite(position)
    far = times_s[np.isfinite(times_s) & ~near]
    where = f", up to {far[np.argmax(np.abs(far))]:g} s" if len(far) else ""
    message = (
        f"{np.count_nonzero(~kept)} of {len(kept)} wheel samples have no position, no time, or a time more than "
        f"{limit('reach_s'):g} s from all spikes{where}; dropped"
    )
    notes.drop("samples_dropped", message, int(np.count_nonzero(~kept)))
    sampled_s, velocity = wheel_velocity(times_s[kept], position[kept], rate_hz=rate_hz)
    return Series(times_s=sampled_s, values=velocity, unit="rad/s") if len(sampled_s) else None


def wheel_velocity(times_s: np.ndarray, position: np.ndarray, *, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Wheel velocity as ``brainbox.behavior.wheel`` computes it, then sampled at ``rate_hz``.

    Position is interpolated linearly at 1000 Hz, low-passed (Butterworth, order 8, 20 Hz) forwards and
    backwards, and differenced. Filtering backwards makes a value depend on about 50 ms of its *future*: a
    forecast that uses the wheel up to its origin must stop that much earlier.

    Args:
        times_s: Encoder times, [sample], in any order.
        position: Unwrapped wheel position in radians, [sample].
        rate_hz: Rate to keep; must divide 1000.

    Returns:
        Times [sample] and velocity in rad/s [sample]; empty where the wheel gives less than a filter needs.

    Raises:
        ValueError: The rate does not divide 1000.
    """
    every = round(WHEEL_HZ / rate_hz)
    if every < 1 or not np.isclose(every * rate_hz, WHEEL_HZ):
        raise ValueError(f"sources.ibl.wheel_rate_hz is {rate_hz}; it must divide {WHEEL_HZ}")
    finite = np.isfinite(times_s) & np.isfinite(position)
    order = np.argsort(times_s[finite], kind="stable")
    times_s, position = times_s[finite][order], position[finite][order]
    sampled_s = np.arange(times_s[0], times_s[-1], 1 / WHEEL_HZ) if len(times_s) > 1 else np.zeros(0)
    if len(sampled_s) < 10 * WHEEL_FILTER_ORDER:
        return np.zeros(0), np.zeros(0)
    if sampled_s[-1] > times_s[-1]:
        sampled_s = sampled_s[:-1]
    low_pass = butter(WHEEL_FILTER_ORDER, WHEEL_CORNER_HZ / WHEEL_HZ * 2, btype="lowpass", output="sos")
    smooth = sosfiltfilt(low_pass, np.interp(sampled_s, times_s, position))
    velocity = np.diff(smooth, prepend=smooth[0]) * WHEEL_HZ
    return sampled_s[::every], velocity[::every]


def _read_trials(files: _Files, reach_s: tuple[float, float], notes: Notes) -> dict[str, np.ndarray]:
    """Columns of the trials table by ALF name, with ``start`` and ``end``; trials without either are dropped."""
    if files.lacks("trials.table"):
        return {}
    table = files.frame("trials.table")
    if table.index.name is not None:
        table = table.reset_index()
    edges = {"intervals_0": "start", "intervals_1": "end"}
    absent = [name for name in edges if name not in table]
    if absent:
        raise SessionError(
            f"session {files.session}: the trials table lacks {', '.join(absent)}, the start or end of each trial; "
            f"it has {list_names(list(table.columns))}: export it again, or remove it"
        )
    start_s, end_s = (
        pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan) for name in edges
    )
    timed = np.isfinite(start_s) & np.isfinite(end_s)
    near = timed & (start_s >= reach_s[0]) & (end_s >= reach_s[0]) & (start_s <= reach_s[1]) & (end_s <= reach_s[1])
    untimed, far = int(np.count_nonzero(~timed)), int(np.count_nonzero(timed & ~near))
    notes.drop("trials_without_times", f"{untimed} of {len(timed)} trials have no start or no end; dropped", untimed)
    message = f"{far} of {len(timed)} trials start or end more than {limit('reach_s'):g} s from all spikes; dropped"
    notes.drop("trials_far", message, far)
    kept = np.flatnonzero(near)
    kept = kept[np.argsort(start_s[kept], kind="stable")]
    columns, skipped, replaced = {}, [], []
    for name in table:
        values = table[name]
        if name in edges:
            columns[edges[name]] = (start_s if name == "intervals_0" else end_s)[kept]
        elif name in edges.values():
            replaced.append(name)
        elif pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_complex_dtype(values):
            columns[str(name)] = values.to_numpy(np.float64, na_value=np.nan)[kept]
        else:
            skipped.append(name)
    message = f"columns of trials that are not numbers, not kept: {list_names(skipped)}"
    notes.drop("trial_columns_skipped", message, len(skipped))
    message = f"columns of trials replaced by intervals_0 and intervals_1: {list_names(replaced)}"
    notes.drop("trial_columns_replaced", message, len(replaced))
    return columns


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
