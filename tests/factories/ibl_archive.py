"""Writes a release of ALF files in the form of the IBL's public archive of the Brain-Wide Map.

Written from the publisher's description and code of the format, independently of the reader. The same spikes, trials
and wheel are then in both forms.
"""

import hashlib
import json
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numcodecs import Blosc

from neurohorizon.config import IblSource
from neurohorizon.ingest.ibl_archive import ARCHIVES, Archive, download_ibl_archive
from neurohorizon.ingest.simulated.ibl import SimulatedSession

VERSIONS = {"bwm_ephys": "1.2.1", "bwm_behavior": "2.0.0"}
TICK_US = 100
WHEEL_HZ = 100


def eid_of(session: SimulatedSession) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, session.session))


def pid_of(session: SimulatedSession, probe: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{session.session}/{probe}"))


def archive_source(folder: Path, **changes: object) -> IblSource:
    """Return the section of a configuration that reads the archives in a folder."""
    usual = {
        "mode": "archive",
        "folder": str(folder),
        "base_url": "unused",
        "revision": None,
        "minimum_label": 1.0,
        "outage_hours": 0.001,
        "wheel_rate_hz": 250.0,
    }
    return IblSource(**(usual | changes))


def publish(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make the hashes of the tar files in a folder the published ones."""
    for name, archive in ARCHIVES.items():
        sha1 = hashlib.sha1((folder / f"{name}-{archive.version}.tar").read_bytes()).hexdigest()
        monkeypatch.setitem(ARCHIVES, name, Archive(archive.version, sha1, archive.parts, archive.tables))


def index_archives(folder: Path, names: Sequence[str] = tuple(VERSIONS)) -> list[Path]:
    """Download the archives, unless they are in the folder, and return their indices."""
    for name in names:
        output = folder / "index" / f"{name}.json"
        download_ibl_archive(archive=name, ibl=archive_source(folder), output=output)
    return [folder / "index" / f"{name}.json" for name in names]


def write_archives(
    release: Path,
    folder: Path,
    sessions: Sequence[SimulatedSession],
    *,
    edit: Callable[[Path], None] = lambda place: None,
    unpacked: bool = False,
) -> dict[str, str]:
    """Write both archives and return their sha1 by name.

    Args:
        release: Folder of ALF files.
        folder: Folder of the tar files, or of the unpacked archives.
        sessions: Sessions of the release.
        edit: Called with the root folder of the unpacked archives, before their hashes are listed.
        unpacked: Keep folders, and write no tar files.
    """
    root = folder if unpacked else folder / "unpacked"
    _write_ephys(release, root / "bwm_ephys" / VERSIONS["bwm_ephys"], sessions)
    _write_behaviour(release, root / "bwm_behavior" / VERSIONS["bwm_behavior"], sessions)
    edit(root)
    found = {}
    for name, version in VERSIONS.items():
        place = root / name / version
        _write_manifest(name, version, place)
        if not unpacked:
            path = folder / f"{name}-{version}.tar"
            _pack(place, path, f"{name}/{version}")
            found[name] = hashlib.sha1(path.read_bytes()).hexdigest()
    return found


def _write_ephys(release: Path, place: Path, sessions: Sequence[SimulatedSession]) -> None:
    insertions, units, clusters, trials = [], [], [], []
    for session in sessions:
        alf = release / session.folder / "alf"
        identity = {
            "eid": eid_of(session),
            "subject": session.subject,
            "date": session.date,
            "session_number": np.int16(session.number),
            "lab": session.lab,
        }
        for sorting in sorted(alf.glob("probe*/*")):
            probe = sorting.parent.name
            pid = pid_of(session, probe)
            all_clusters = _clusters(sorting).assign(pid=pid, eid=identity["eid"])
            regional = ~all_clusters["acronym"].isin(["void", "root"])
            good = all_clusters[(all_clusters["label"] >= 1) & regional].sort_values("cluster_id")
            insertion = {"pid": pid, **identity, "probe_name": probe, "n_good_units": np.int32(len(good))}
            insertions.append(insertion)
            clusters.append(all_clusters)
            units.append(good.drop(columns="uuids").assign(**{**identity, "probe_name": probe}))
            _write_spikes(sorting, place / "spikes" / pid, good["cluster_id"].to_numpy(np.int32), insertion)
        table = pd.read_parquet(alf / "_ibl_trials.table.pqt")
        numbered = table.assign(trial_id=np.arange(len(table), dtype=np.int32), bwm_include=table["choice"] != 0)
        trials.append(numbered.assign(**identity))
    tables = {"insertions": pd.DataFrame(insertions), "units": pd.concat(units), "trials": pd.concat(trials)}
    (place / "metadata").mkdir(parents=True)
    for name, table in tables.items():
        table.to_parquet(place / "metadata" / f"{name}.parquet", compression="zstd", index=False)
    pd.concat(clusters).to_parquet(place / "clusters.pqt", index=False, row_group_size=64)
    (place / "schema.yaml").write_text("dataset_name: bwm_ephys\n")


def _clusters(sorting: Path) -> pd.DataFrame:
    """Return the table of all clusters of a probe, as the aggregate table of the IBL has them."""
    from iblatlas.regions import BrainRegions

    regions = BrainRegions()
    channel = np.load(sorting / "clusters.channels.npy")
    structure = np.load(sorting / "channels.brainLocationIds_ccf_2017.npy")[channel]
    metrics = pd.read_parquet(sorting / "clusters.metrics.pqt")
    return pd.DataFrame(
        {
            "cluster_id": np.arange(len(channel), dtype=np.int32),
            "uuids": pd.read_csv(sorting / "clusters.uuids.csv")["uuids"],
            "channels": channel.astype(np.int32),
            "label": metrics["label"].astype(np.float32),
            "atlas_id": structure.astype(np.int32),
            "acronym": regions.id2acronym(structure).astype(object),
        }
    )


def _write_spikes(sorting: Path, place: Path, good: np.ndarray, insertion: dict) -> None:
    times, clusters = np.load(sorting / "spikes.times.npy"), np.load(sorting / "spikes.clusters.npy")
    kept = np.isin(clusters, good)
    times, row = times[kept], np.searchsorted(good, clusters[kept]).astype(np.int32)
    if not len(times):
        return
    ticks = np.rint((times - times[0]) * 1e6 / TICK_US).astype(np.int64)
    deltas = np.diff(ticks, prepend=0)
    kind = np.uint16 if deltas.max() <= np.iinfo(np.uint16).max else np.uint32
    meta = {
        "format": "ibl_ai_agent_spike_shard_v2",
        "dataset_name": "bwm_ephys",
        "dataset_version": "1.0.0",
        **{name: str(value) for name, value in insertion.items() if name != "n_good_units"},
        "n_spikes": len(times),
        "n_good_units": len(good),
        "time_encoding": "delta_int_ticks",
        "time_quantization_us": TICK_US,
        "cluster_encoding": "dense_local_indices",
        "compression": {"name": "blosc_zstd_shuffle"},
        "time_dtype": np.dtype(kind).str,
        "fallback_used": kind is np.uint32,
        "time_origin_seconds": float(times[0]),
        "time_origin_ticks": int(np.rint(times[0] * 1e6 / TICK_US)),
        "arrays": {},
    }
    arrays = {
        "spike_times_delta_ticks": deltas.astype(kind),
        "spike_clusters": row,
        "cluster_ids": good,
        "cluster_spike_counts": np.bincount(row, minlength=len(good)).astype(np.int32),
    }
    place.mkdir(parents=True)
    for name, values in arrays.items():
        payload, spec = compress(values)
        (place / f"{name}.blosc").write_bytes(payload)
        meta["arrays"][name] = spec | {"entry": f"{name}.blosc"}
    (place / "meta.json").write_text(json.dumps(meta, indent=2, sort_keys=True))


def compress(values: np.ndarray) -> tuple[bytes, dict]:
    """Return an array as one frame of Blosc, and its description."""
    values = np.ascontiguousarray(values)
    payload = Blosc(cname="zstd", clevel=7, shuffle=Blosc.SHUFFLE).encode(values)
    codec = {"name": "blosc", "cname": "zstd", "clevel": 7, "shuffle": "shuffle"}
    spec = {"dtype": values.dtype.str, "shape": list(values.shape), "order": "C", "nbytes": values.nbytes}
    return payload, spec | {"compressed_nbytes": len(payload), "typesize": values.dtype.itemsize, "codec": codec}


def _write_behaviour(release: Path, place: Path, sessions: Sequence[SimulatedSession]) -> None:
    (place / "sessions").mkdir(parents=True)
    for session in sessions:
        alf = release / session.folder / "alf"
        names = [alf / f"_ibl_wheel.{name}.npy" for name in ("timestamps", "position")]
        arrays = wheel_arrays(*map(np.load, names)) if all(path.exists() for path in names) else {}
        write_behaviour_shard(place / "sessions" / f"{eid_of(session)}.zip", arrays, eid=eid_of(session))
    (place / "schema.yaml").write_text("dataset_name: bwm_behavior\n")


def wheel_arrays(times_s: np.ndarray, position: np.ndarray) -> dict[str, np.ndarray]:
    """Return a wheel on the grid of the archive."""
    grid_s = np.arange(times_s[0], times_s[-1], 1 / WHEEL_HZ)
    return {"wheel.timestamps": grid_s, "wheel.position": np.interp(grid_s, times_s, position)}


def write_behaviour_shard(path: Path, arrays: dict[str, np.ndarray], *, eid: str) -> None:
    """Write the signals of a session in the compressed form of version 2.0.0."""
    wheel = {"present": bool(arrays), "has_velocity": False, "fs": float(WHEEL_HZ)}
    meta = {"format": "ibl_ai_agent_behavior_session_shard_v2", "eid": eid, "wheel": wheel, "cameras": {}, "arrays": {}}
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_STORED) as packed:
        for name, values in arrays.items():
            if name == "wheel.timestamps":
                entry = f"arrays/{name}.ticks.blosc"
                payload, spec = compress(np.rint((values - values[0]) / 0.001).astype(np.uint32))
                where = {"ticks_entry": entry, "ticks_spec": spec}
                encoding = {"kind": "timestamp_delta_ticks", "start": float(values[0]), "tick_s": 0.001, **where}
            else:
                entry, finite = f"arrays/{name}.payload.blosc", np.isfinite(values)
                steps = np.rint(np.where(finite, values, 0) / 0.001).astype(np.int32)
                payload, spec = compress(np.where(finite, steps, np.iinfo(np.int32).min))
                encoding = {"kind": "scaled_numeric", "precision": 0.001, "entry": entry, "payload_spec": spec}
            packed.writestr(entry, payload)
            meta["arrays"][name] = {"dtype": "<f8", "shape": list(values.shape), "encoding": encoding}
        packed.writestr("meta.json", json.dumps(meta, indent=2, sort_keys=True))


def _write_manifest(name: str, version: str, place: Path) -> None:
    files = [
        {
            "path": str(path.relative_to(place)),
            "size_bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(place.rglob("*"))
        if path.is_file()
    ]
    listed = {"dataset_name": name, "dataset_version": version, "files": files}
    (place / "manifest.json").write_text(json.dumps(listed, indent=2, sort_keys=True))


def _pack(place: Path, path: Path, inside: str) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(place, arcname=inside, recursive=True)
