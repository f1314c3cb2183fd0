"""Ingestion of downloaded IBL sessions, ALF files, into a Session."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import shorten

import numpy as np
import pandas as pd
from iblatlas.regions import BrainRegions
from scipy.signal import butter, sosfiltfilt

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.config import Splits as SplitSettings
from neurohorizon.ingest.checks import check_spikes
from neurohorizon.ingest.findings import Notes, encode_findings, list_names
from neurohorizon.ingest.listed_files import listed_file
from neurohorizon.ingest.probe_spans import (
    ProbeSpan,
    count_trimmed,
    note_short_probes,
    recorded_span,
    shared_time,
    silent_spans,
    without_dropouts,
)
from neurohorizon.ingest.spike_checks import RawSpikes
from neurohorizon.ingest.thresholds import limit
from neurohorizon.session import Series, Session, SessionError, order_spikes
from neurohorizon.timeline import MICROSECONDS, Intervals, split_domain

WHEEL_HZ = 1000
WHEEL_CORNER_HZ = 20
WHEEL_FILTER_ORDER = 8
REGION_TABLES = ("channels.brainLocationIds", "electrodeSites.brainLocationIds")
"""Allen structure of each channel of the spike sorting, and of each site of the probe."""


def ingest_ibl(manifest: Path, row: Row, *, source: IblSource, splits: SplitSettings) -> Session:
    """Read a downloaded session: good units of all probes, their regions, spikes, wheel velocity and trials.

    Unit ids are ``{probe}:{uuid}`` (the cluster number where the release gives no uuid); units come by probe,
    then by cluster number. ``region`` is the Allen acronym, ``beryl`` its coarser Beryl region.

    The domain is the time when every probe recorded: from the latest first spike to the earliest last
    spike, over all clusters of a probe, good or not, rounded inward to whole seconds, so that bins that
    divide a second have the edges they would have from the clock's zero. A few spikes far from all
    others do not count. Silences in which a probe cannot have recorded are taken out. What is dropped is
    counted in ``repairs``, ``trimmed_{probe}`` for spikes before and after the domain, and described in the
    findings.

    Args:
        manifest: Written by :func:`download_session`.

    Raises:
        SessionError: A file is absent or damaged, tables do not fit together, no unit is good enough, or the
            session is too short for its splits.
    """
    listed = json.loads(Path(manifest).read_text())
    files, notes = _Files(row.session, Path(source.folder), listed["files"]), Notes()
    for code, message, count in listed.get("notes", []):
        notes.add(code, message, count)
    probes = [_read_probe(files, probe, source.minimum_label, notes) for probe in listed["probes"]]
    if not any(len(probe.units["id"]) for probe in probes):
        labels = np.concatenate([probe.labels for probe in probes])
        raise SessionError(
            f"session {row.session} has no unit with a label of {source.minimum_label} or more: best of {len(labels)} "
            f"clusters {np.nanmax(labels, initial=0):.2f}; lower sources.ibl.minimum_label or leave the session out"
        )

    def behaviour(reach_s: tuple[float, float]) -> Behaviour:
        missing = list(listed["missing"])
        wheel = _read_wheel(files, source.wheel_rate_hz, reach_s, notes, missing)
        return Behaviour(wheel, _read_trials(files, reach_s, notes), missing)

    provenance = {
        "release": listed["release"],
        "revision": listed["revision"] or "",
        "eid": listed["eid"],
        "one_version": listed["one_version"],
        "collections": json.dumps(listed["probes"]),
        "files": json.dumps({entry["path"]: entry["md5"] for entry in listed["files"]}),
    }
    return build_session(row, probes, behaviour, provenance=provenance, splits=splits, notes=notes)


@dataclass(frozen=True)
class Probe:
    """Good units of a probe and their spikes.

    Attributes:
        units: Columns, [unit].
        labels: Quality label of each cluster, [cluster].
        times_s: Spikes of the units, [spike].
        unit: Row of ``units`` of each spike, [spike].
        span: When the probe recorded.
        silent_s: Silences in which it cannot have recorded, [silence, 2].
    """

    units: dict[str, np.ndarray]
    labels: np.ndarray
    times_s: np.ndarray
    unit: np.ndarray
    span: ProbeSpan
    silent_s: np.ndarray


@dataclass(frozen=True)
class Behaviour:
    """Behaviour of a session.

    Attributes:
        wheel: Velocity of the wheel, if there is enough of it.
        trials: Columns of trials, [trial].
        missing: Tables that the release does not have, or that cannot be used.
    """

    wheel: Series | None
    trials: dict[str, np.ndarray]
    missing: list[str]


def build_session(
    row: Row,
    probes: Sequence[Probe],
    read_behaviour: Callable[[tuple[float, float]], Behaviour],
    *,
    provenance: Mapping[str, str],
    splits: SplitSettings,
    notes: Notes,
) -> Session:
    """Put the probes of a session together, in the time when all of them recorded.

    Args:
        row: Row of the cohort table.
        probes: The probes; one or more have units.
        read_behaviour: Returns the behaviour, given the earliest and latest time of a sample.
        provenance: Where the session is from.
        splits: The section ``splits``.
        notes: Receives the findings.

    Raises:
        SessionError: The probes share no time, or too little for the splits.
    """
    units = {name: np.concatenate([probe.units[name] for probe in probes]) for name in probes[0].units}
    spans = [probe.span for probe in probes]
    start_us, stop_us = shared_time(row.session, spans)
    note_short_probes(spans, notes)
    of_probe = {probe.span.probe: probe.times_s for probe in probes}
    count_trimmed(spans, of_probe, notes, start_us=start_us, stop_us=stop_us)
    whole = Intervals(np.array([start_us]), np.array([stop_us]))
    domain = without_dropouts(whole, {probe.span.probe: probe.silent_s for probe in probes}, notes)
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
    behaviour = read_behaviour((first_s - limit("reach_s"), last_s + limit("reach_s")))
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
        behaviour={"wheel": behaviour.wheel} if behaviour.wheel else {},
        trials=behaviour.trials,
        provenance={
            **provenance,
            "missing": json.dumps(behaviour.missing),
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


def _read_probe(files: _Files, probe: str, minimum_label: float, notes: Notes) -> Probe:
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
    span = recorded_span(probe, times_s, notes)
    return Probe(units, labels, times_s[unit >= 0], unit[unit >= 0], span, silent_spans(times_s, span))


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
    aligned, sites = (
        None if files.lacks(name, probe) else np.nan_to_num(files.vector(name, probe)) for name in REGION_TABLES
    )
    # as ibllib, whose regions the Brain-Wide Map uses
    structures = sites if sites is not None and (aligned is None or len(sites) == len(aligned)) else aligned
    if structures is None:
        return (np.full(len(channels), ""),) * 2
    if len(channels) and channels.max() >= len(structures):
        raise SessionError(
            f"session {files.session}, {probe}: clusters name channel {channels.max()}; its table of regions has "
            f"{len(structures)}"
        )
    known = channels >= 0
    of_channel = np.zeros(len(channels))
    of_channel[known] = structures[channels[known]]
    return acronyms_of(of_channel)


def acronyms_of(structures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Allen and Beryl acronyms of Allen structure ids (CCF 2017), [structure]; "" for the void and unknown ids.

    The sign, which is the hemisphere, does not count.
    """
    acronyms = acronyms_by_structure()
    pairs = [acronyms.get(abs(int(structure)), ("", "")) for structure in structures]
    allen, beryl = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(allen, dtype=str), np.array(beryl, dtype=str)


@cache
def acronyms_by_structure() -> Mapping[int, tuple[str, str]]:
    """Allen and Beryl acronyms by Allen structure id (CCF 2017), from the table inside iblatlas, without the void."""
    regions = BrainRegions()
    beryl = regions.acronym[regions.mappings["Beryl"]]
    named = zip(regions.id.tolist(), regions.acronym.tolist(), beryl.tolist(), strict=True)
    return {structure: (allen, coarse) for structure, allen, coarse in named if structure > 0}


def _read_wheel(
    files: _Files, rate_hz: float, reach_s: tuple[float, float], notes: Notes, missing: list[str]
) -> Series | None:
    """Wheel velocity; None where there is no wheel or too little of it, which is added to ``missing``."""
    if files.lacks("wheel.position"):
        return None
    times_s, position = (files.vector(f"wheel.{name}").astype(np.float64) for name in ("timestamps", "position"))
    if times_s.shape != position.shape:
        missing.append(f"wheel: {len(times_s)} timestamps for {len(position)} positions")
        return None
    wheel = wheel_series(times_s, position, rate_hz=rate_hz, reach_s=reach_s, notes=notes)
    if wheel is None:
        missing.append("wheel: too few samples")
    return wheel


def wheel_series(
    times_s: np.ndarray, position: np.ndarray, *, rate_hz: float, reach_s: tuple[float, float], notes: Notes
) -> Series | None:
    """Return wheel velocity, or None where there is too little of it; samples out of reach are dropped and noted.

    Args:
        times_s: Encoder times, [sample].
        position: Unwrapped wheel position in radians, [sample].
        rate_hz: Rate to keep.
        reach_s: Earliest and latest time of a sample.
        notes: Receives the findings.
    """
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
    if files.lacks("trials.table"):
        return {}
    return trial_columns(files.frame("trials.table"), session=files.session, reach_s=reach_s, notes=notes)


def trial_columns(
    table: pd.DataFrame, *, session: str, reach_s: tuple[float, float], notes: Notes
) -> dict[str, np.ndarray]:
    """Return columns of a trials table by ALF name, with ``start`` and ``end``, ordered by start.

    Trials without either, or out of reach, are dropped, and so are columns that hold no numbers; each is noted.

    Args:
        table: The table, one row per trial.
        session: Name of the session, for messages.
        reach_s: Earliest and latest time of a trial.
        notes: Receives the findings.

    Raises:
        SessionError: The table has no times of its trials.
    """
    if table.index.name is not None:
        table = table.reset_index()
    edges = {"intervals_0": "start", "intervals_1": "end"}
    absent = [name for name in edges if name not in table]
    if absent:
        raise SessionError(
            f"session {session}: the trials table lacks {', '.join(absent)}, the start or end of each trial; "
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
