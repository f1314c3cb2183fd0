"""Sessions of the IBL's public archive, read from their parts into a Session."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
from pyarrow.parquet import read_schema

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.config import Splits as SplitSettings
from neurohorizon.ingest.findings import Notes, list_names
from neurohorizon.ingest.ibl import Behaviour, Probe, acronyms_of, build_session, trial_columns, wheel_series
from neurohorizon.ingest.ibl_archive import CLUSTERS, TRIALS, UNITS, WHEEL
from neurohorizon.ingest.ibl_shards import ProbeSpikes, decode_spikes, decode_wheel
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.probe_spans import recorded_span, silent_spans
from neurohorizon.ingest.tar_members import from_entry, open_member, read_member
from neurohorizon.session import Session, SessionError

NAMES_OF_TRIALS = ("eid", "trial_id", "subject", "date", "session_number", "lab")
"""Columns that the archive adds to the trials table, to find a trial in it."""


def ingest_archive(manifest: Path, row: Row, *, source: IblSource, splits: SplitSettings) -> Session:
    """Read a session of the archive: the same units, spikes and behaviour as through ONE, with these differences.

    * Spike times are whole ticks of 100 us after the first spike of their probe.
    * Units in no region (void or root) are absent, as the archive has no spikes of them; they are counted.
    * The archive has spikes of good units only. A probe's span is from their first spike to their last, so valid time
      may start later and end earlier; a probe without units does not limit it.
    * Wheel positions are at 100 Hz; velocity is computed from them in the same way.
    * Trials have the columns of the IBL's aggregated table, with ``bwm_include``.

    Args:
        manifest: Written by :func:`neurohorizon.ingest.ibl_archive.list_session`.
        row: Row of the cohort table.
        source: The section ``sources.ibl`` of the configuration.
        splits: The section ``splits``.

    Raises:
        SessionError: Parts do not fit together, no unit is good enough, or the session is too short for its splits.
        SourceUnavailable: The archive is gone or damaged.
    """
    listed = json.loads(Path(manifest).read_text())
    parts, notes = _Parts(row.session, Path(source.folder), listed["files"]), Notes()
    read = [_read_probe(parts, probe, pid, notes) for probe, pid in listed["probes"].items()]
    probes = [probe for probe in read if probe is not None]
    if not probes:
        raise SessionError(f"session {row.session} has no unit in the IBL's public archive: leave the session out")
    trials, wheel = parts.rows(TRIALS, "eid", listed["eid"]), parts.wheel()
    trials = trials.drop(columns=[name for name in NAMES_OF_TRIALS if name in trials])

    def behaviour(reach_s: tuple[float, float]) -> Behaviour:
        found = wheel and wheel_series(*wheel, rate_hz=source.wheel_rate_hz, reach_s=reach_s, notes=notes)
        missing = [*listed["missing"], *([] if found else ["wheel: too few samples"] if wheel else [WHEEL])]
        if not len(trials):
            return Behaviour(found, {}, [*missing, "trials.table"])
        return Behaviour(found, trial_columns(trials, session=row.session, reach_s=reach_s, notes=notes), missing)

    provenance = {
        "release": listed["release"],
        "revision": listed["revision"],
        "eid": listed["eid"],
        "collections": json.dumps(listed["probes"]),
        "files": json.dumps({entry["name"]: entry["sha256"] for entry in listed["files"]}),
    }
    return build_session(row, probes, behaviour, provenance=provenance, splits=splits, notes=notes)


def _read_probe(parts: "_Parts", probe: str, pid: str, notes: Notes) -> Probe | None:
    """Return a probe, or None if it has no unit."""
    units = parts.rows(UNITS, "pid", pid).sort_values("cluster_id")
    clusters = parts.clusters(pid)
    _note_clusters(probe, clusters, len(units), notes)
    if not len(units):
        return None
    spikes = parts.spikes(probe)
    numbers = units["cluster_id"].to_numpy(np.int64)
    if not np.array_equal(numbers, spikes.clusters):
        raise SessionError(
            f"session {parts.session}, {probe}: its spikes are of {len(spikes.clusters)} clusters, from "
            f"{list_names(spikes.clusters.tolist())}; the table of units has {len(numbers)}, from "
            f"{list_names(numbers.tolist())}: leave the probe out with the cohort table's column probes"
        )
    region, beryl = acronyms_of(units["atlas_id"].to_numpy(np.float64, na_value=0))
    named = clusters.dropna(subset=["uuids"]) if "uuids" in clusters else None
    names = {} if named is None else dict(zip(named["cluster_id"].tolist(), named["uuids"].tolist(), strict=True))
    table = {
        "id": np.array([f"{probe}:{names.get(number, number)}" for number in numbers.tolist()], dtype=str),
        "region": region,
        "beryl": beryl,
        "probe": np.full(len(numbers), probe),
        "label": units["label"].to_numpy(np.float64),
        "cluster": numbers,
    }
    span = recorded_span(probe, spikes.times_s, notes)
    silent_s = silent_spans(spikes.times_s, span)
    return Probe(table, table["label"], spikes.times_s, spikes.row.astype(np.int64), span, silent_s)


def _note_clusters(probe: str, clusters: pd.DataFrame, units: int, notes: Notes) -> None:
    """Count the clusters that are no units, and note the good ones that the archive does not have."""
    if "label" in clusters:
        label = clusters["label"].to_numpy(np.float64, na_value=np.nan)
        good = int(np.count_nonzero(label >= 1 - 1e-3))
        poor = int(np.count_nonzero(~np.isnan(label))) - good
        notes.repairs["poor_clusters"] = notes.repairs.get("poor_clusters", 0) + poor
        absent = good - units
        message = f"{probe}: {absent} of {good} good clusters are in no region, and the archive lacks their spikes"
        notes.drop("units_not_archived", message, absent)
    if not units:
        message = (
            f"{probe}: none of its {len(clusters)} clusters is a unit of the archive; its recording time is not "
            "there and does not limit valid time"
        )
        notes.add("probe_without_units", message, len(clusters))


class _Parts:
    """The parts of a session, checked against its list as they are read."""

    def __init__(self, session: str, folder: Path, entries: list[dict[str, Any]]) -> None:
        self.session = session
        self.folder = folder
        self.members = {entry["name"]: from_entry(entry) for entry in entries}
        self.probes = {entry["probe"]: Path(entry["name"]).parent for entry in entries if entry["probe"]}

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return read_member(self.members[name], self.folder, name=name)

    def rows(self, name: str, column: str, value: str) -> pd.DataFrame:
        """Return rows of a table."""
        with self._faults(name):
            return pd.read_parquet(io.BytesIO(self.read(name)), filters=[(column, "==", value)])

    def clusters(self, pid: str) -> pd.DataFrame:
        """Return number, name and label of each cluster of a probe, good or not; empty if the archive has no table.

        The table is large, so only these columns are read, and its hash is not checked again.
        """
        if CLUSTERS not in self.members:
            return pd.DataFrame({"cluster_id": np.zeros(0, np.int64)})
        with self._faults(CLUSTERS), open_member(self.members[CLUSTERS], self.folder, name=CLUSTERS) as file:
            columns = [name for name in ("cluster_id", "uuids", "label") if name in read_schema(file).names]
            return pd.read_parquet(file, columns=columns, filters=[("pid", "==", pid)])

    def spikes(self, probe: str) -> ProbeSpikes:
        """Return the spikes of a probe."""
        place = self.probes[probe]
        with self._faults(f"{place}"):
            return decode_spikes(self.read(f"{place}/meta.json"), lambda entry: self.read(f"{place}/{entry}"))

    def wheel(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return times and positions of the wheel; None if there is no wheel."""
        name = next((name for name in self.members if name.startswith("sessions/")), None)
        if name is None:
            return None
        with self._faults(name):
            return decode_wheel(self.read(name))

    @contextmanager
    def _faults(self, name: str) -> Iterator[None]:
        try:
            yield
        except (SessionError, SourceUnavailable):
            raise
        except (ValueError, LookupError, TypeError, OSError) as error:
            raise SessionError(
                f"session {self.session}: {name} of the archive cannot be read: "
                f"{shorten(f'{type(error).__name__}: {error}', 200)}"
            ) from error
