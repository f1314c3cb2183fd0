"""A session has the same content through ONE and from the public archive, up to what the archive does not have."""

import json
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories.bent_sessions import NO_EXCLUSIONS
from factories.ibl_archive import archive_source, eid_of, index_archives, pid_of, publish, write_archives
from factories.ibl_sessions import SIMULATED, SPLITS, TIMELINE, row_of

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.ingest.findings import decode_findings
from neurohorizon.ingest.ibl import ingest_ibl
from neurohorizon.ingest.ibl_archive import list_session
from neurohorizon.ingest.ibl_archive_session import ingest_archive
from neurohorizon.ingest.ibl_download import download_session
from neurohorizon.ingest.ibl_one import index_release
from neurohorizon.ingest.ibl_preprocess import preprocess_ibl
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.simulated.ibl import simulate_release, simulated_sessions
from neurohorizon.session import Session, SessionError, read_session

NAMED = simulated_sessions(SIMULATED)
TICK_US = 100


def row(session=NAMED[0], **extras: str) -> Row:
    return row_of(session, **({"number": "1"} | extras))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate_release(folder / "alf", folder / "truth", simulated=SIMULATED, timeline=TIMELINE, seed=5)
    return folder / "alf"


@pytest.fixture
def release(simulated, tmp_path) -> Path:
    """Return a copy of the release, to be changed."""
    shutil.copytree(simulated, tmp_path / "alf")
    return tmp_path / "alf"


class Both:
    """One release in both forms."""

    def __init__(self, alf: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
        self.alf, self.folder = alf, folder
        index_release(alf)
        folder.mkdir()
        write_archives(alf, folder, NAMED, **options)
        if not options.get("unpacked"):
            publish(monkeypatch, folder)
        self.archives = index_archives(folder)
        self.source = archive_source(folder)

    def through_one(self, one: Row) -> Session:
        settings = IblSource(**(self.source.model_dump() | {"mode": "local", "folder": str(self.alf)}))
        return self._ingest(download_session(one, source=settings), one, settings, ingest_ibl)

    def from_archive(self, one: Row) -> Session:
        listed = list_session(one, source=self.source, archives=self.archives)
        return self._ingest(listed, one, self.source, ingest_archive)

    def _ingest(self, listed: dict, one: Row, settings: IblSource, ingest) -> Session:
        manifest = self.folder / f"{one.session}_{settings.mode}.json"
        manifest.write_text(json.dumps(listed))
        return ingest(manifest, one, source=settings, splits=SPLITS)


@pytest.fixture(scope="module")
def both(simulated, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield Both(simulated, tmp_path_factory.mktemp("both") / "archives", patch)


def assert_same_units(one: Session, other: Session) -> None:
    assert one.units.keys() == other.units.keys()
    for name, values in one.units.items():
        assert values.tolist() == other.units[name].tolist(), name


def assert_same_spikes(one: Session, other: Session, start_us: int, stop_us: int) -> None:
    """Each unit has the same spikes, within half a tick of their time, away from the edges of a span."""
    for unit in range(one.n_units):
        found = []
        for session in (one, other):
            times_us = session.spike_times_us[session.spike_unit == unit]
            found.append(times_us[(times_us >= start_us + TICK_US) & (times_us < stop_us - TICK_US)])
        near = [abs(len(found[0]) - len(found[1]))]
        assert near == [0], one.units["id"][unit]
        assert np.abs(found[0] - found[1]).max(initial=0) <= TICK_US / 2 + 1


def assert_same_trials(one: Session, other: Session) -> None:
    assert set(other.trials) == {*one.trials, "bwm_include"}
    for name, values in one.trials.items():
        np.testing.assert_array_equal(values, other.trials[name], err_msg=name)


@pytest.mark.parametrize("session", NAMED, ids=lambda session: session.session)
def test_a_session_is_the_same_from_both(both, session):
    one, other = both.through_one(row(session)), both.from_archive(row(session))
    assert_same_units(one, other)
    assert one.spike_unit.dtype == other.spike_unit.dtype
    # the simulated poor clusters fire in the first and the last second, as the good ones do
    assert one.domain == other.domain
    assert one.splits == other.splits
    assert_same_spikes(one, other, int(one.domain.start_us[0]), int(one.domain.stop_us[-1]))
    assert_same_trials(one, other)
    for name in ("session_id", "source", "subject", "lab", "date"):
        assert getattr(one, name) == getattr(other, name)
    assert one.repairs.keys() == other.repairs.keys()
    assert one.repairs["poor_clusters"] == other.repairs["poor_clusters"] > 0
    codes = [[finding.code for finding in decode_findings(x.provenance["findings"])] for x in (one, other)]
    assert codes[0] == codes[1]


@pytest.mark.parametrize("session", NAMED, ids=lambda session: session.session)
def test_the_wheel_is_the_same_up_to_the_steps_of_the_archive(both, session):
    one, other = (
        found.behaviour["wheel"] for found in (both.through_one(row(session)), both.from_archive(row(session)))
    )
    shared = min(len(one.times_s), len(other.times_s))
    assert abs(len(one.times_s) - len(other.times_s)) <= 3, "the grid of 10 ms ends up to 10 ms earlier"
    np.testing.assert_allclose(one.times_s[:shared], other.times_s[:shared], atol=1e-9)
    difference = (one.values[:shared] - other.values[:shared])[250:-250]
    usual = np.sqrt(np.mean(one.values**2))
    assert np.sqrt(np.mean(difference**2)) < 0.03 * usual
    assert one.unit == other.unit


def test_provenance_names_the_archive_and_the_parts_that_were_read(both):
    found = both.from_archive(row())
    assert found.provenance["release"] == "bwm_ephys 1.2.1, bwm_behavior 2.0.0"
    assert found.provenance["revision"] == "2024-05-06"
    assert found.provenance["eid"] == eid_of(NAMED[0])
    files = json.loads(found.provenance["files"])
    assert f"sessions/{eid_of(NAMED[0])}.zip" in files
    assert all(len(sha256) == 64 for sha256 in files.values())
    assert json.loads(found.provenance["missing"]) == []
    assert str(both.folder) not in json.dumps(dict(found.provenance))


def probe_folders(release: Path, session=NAMED[0]) -> list[Path]:
    return sorted((release / session.folder).glob("alf/probe*/pykilosort"))


def keep_spikes(place: Path, kept) -> None:
    """Remove spikes of a probe; ``kept`` gets times and labels [spike]."""
    times, clusters = np.load(place / "spikes.times.npy"), np.load(place / "spikes.clusters.npy")
    labels = pd.read_parquet(place / "clusters.metrics.pqt")["label"].to_numpy()[clusters]
    chosen = kept(times, labels)
    np.save(place / "spikes.times.npy", times[chosen])
    np.save(place / "spikes.clusters.npy", clusters[chosen])


def test_valid_time_is_that_of_good_units(release, tmp_path, monkeypatch):
    for place in probe_folders(release):
        keep_spikes(place, lambda times, labels: (labels < 1) | ((times > 5.5) & (times < 50.5)))
    found = Both(release, tmp_path / "archives", monkeypatch)
    one, other = found.through_one(row()), found.from_archive(row())
    assert (one.domain.start_us[0], one.domain.stop_us[0]) == (1_000_000, 59_000_000)
    assert (other.domain.start_us[0], other.domain.stop_us[0]) == (6_000_000, 50_000_000)
    assert_same_units(one, other)
    assert_same_spikes(one, other, 6_000_000, 50_000_000)
    assert_same_trials(one, other)


def test_time_without_a_spike_is_no_valid_time(release, tmp_path, monkeypatch):
    for place in probe_folders(release):
        keep_spikes(place, lambda times, labels: (times < 20.5) | (times > 24.5))
    found = Both(release, tmp_path / "archives", monkeypatch)
    one, other = found.through_one(row()), found.from_archive(row())
    assert one.domain == other.domain
    edges_us = [1_000_000, 20_000_000, 25_000_000, 59_000_000]
    assert np.stack([other.domain.start_us, other.domain.stop_us]).T.ravel().tolist() == edges_us
    assert "dropout" in [finding.code for finding in decode_findings(other.provenance["findings"])]
    assert_same_spikes(one, other, 25_000_000, 59_000_000)


def test_long_pauses_are_exact(release, tmp_path, monkeypatch):
    """More than 6.5 s without a spike need four bytes a delta."""
    for place in probe_folders(release):
        keep_spikes(place, lambda times, labels: (times < 20) | (times > 30))
    found = Both(release, tmp_path / "archives", monkeypatch)
    kinds = {
        json.loads(path.read_text())["time_dtype"]
        for pid in (pid_of(NAMED[0], place.parent.name) for place in probe_folders(release))
        for path in (tmp_path / "archives").rglob(f"{pid}/meta.json")
    }
    assert kinds == {"<u4"}
    one, other = found.through_one(row()), found.from_archive(row())
    assert_same_spikes(one, other, 1_000_000, 59_000_000)


def test_probe_names_with_a_letter(release, tmp_path, monkeypatch):
    first = (release / NAMED[0].folder / "alf" / "probe00").rename(release / NAMED[0].folder / "alf" / "probe00a")
    found = Both(release, tmp_path / "archives", monkeypatch)
    one, other = found.through_one(row()), found.from_archive(row())
    assert first.name in other.units["probe"].tolist()
    assert_same_units(one, other)


def test_a_probe_without_units_does_not_limit_valid_time(release, tmp_path, monkeypatch):
    session = next(one for one in NAMED if len(probe_folders(release, one)) == 2)
    place = probe_folders(release, session)[1]
    metrics = pd.read_parquet(place / "clusters.metrics.pqt")
    metrics.assign(label=np.float64(1 / 3)).to_parquet(place / "clusters.metrics.pqt", index=False)
    keep_spikes(place, lambda times, labels: times < 40)
    found = Both(release, tmp_path / "archives", monkeypatch)
    one, other = found.through_one(row(session)), found.from_archive(row(session))
    assert_same_units(one, other)
    assert set(other.units["probe"].tolist()) == {"probe00"}
    assert int(one.domain.stop_us[-1]) == 39_000_000
    assert int(other.domain.stop_us[-1]) == 59_000_000
    (noted,) = [finding for finding in decode_findings(other.provenance["findings"]) if "probe" in finding.code]
    assert noted.code == "probe_without_units"
    assert f"none of its {len(metrics)} clusters is a unit of the archive" in noted.message


def test_units_outside_of_regions_are_counted(release, tmp_path, monkeypatch):
    lost = 0
    for place in probe_folders(release):
        structures = np.load(place / "channels.brainLocationIds_ccf_2017.npy")
        labels = pd.read_parquet(place / "clusters.metrics.pqt")["label"].to_numpy()
        channels = np.load(place / "clusters.channels.npy")
        first, second = channels[np.flatnonzero(labels == 1)[:2]]
        structures[first], structures[second] = 0, 997  # the void, and root
        lost += int(np.isin(channels[labels == 1], (first, second)).sum())
        np.save(place / "channels.brainLocationIds_ccf_2017.npy", structures)
    found = Both(release, tmp_path / "archives", monkeypatch)
    one, other = found.through_one(row()), found.from_archive(row())
    assert other.n_units == one.n_units - lost
    assert other.repairs["units_not_archived"] == lost
    assert set(other.units["id"].tolist()) < set(one.units["id"].tolist())
    assert one.repairs["poor_clusters"] == other.repairs["poor_clusters"]


def test_structures_of_the_left_hemisphere_have_the_same_names(release, tmp_path, monkeypatch):
    for place in probe_folders(release):
        path = place / "channels.brainLocationIds_ccf_2017.npy"
        np.save(path, -np.load(path))
    found = Both(release, tmp_path / "archives", monkeypatch)
    assert_same_units(found.through_one(row()), found.from_archive(row()))


def test_without_a_table_of_clusters_units_are_named_by_number(simulated, tmp_path, monkeypatch):
    def edit(place: Path) -> None:
        next(place.rglob("clusters.pqt")).unlink()

    found = Both(simulated, tmp_path / "archives", monkeypatch, edit=edit).from_archive(row())
    named = [f"{probe}:{cluster}" for probe, cluster in zip(found.units["probe"], found.units["cluster"], strict=True)]
    assert found.units["id"].tolist() == named
    assert json.loads(found.provenance["missing"]) == ["clusters.uuids"]


def test_a_unit_without_a_uuid_is_named_by_number(simulated, tmp_path, monkeypatch):
    unnamed = []

    def edit(place: Path) -> None:
        path = next(place.rglob("clusters.pqt"))
        table = pd.read_parquet(path).astype({"pid": "category"})
        mine = table.index[(table["pid"] == pid_of(NAMED[0], "probe00")) & (table["label"] >= 1)]
        unnamed.append(int(table.at[mine[0], "cluster_id"]))
        table.loc[mine[0], "uuids"] = None
        table.to_parquet(path, index=False)

    found = Both(simulated, tmp_path / "archives", monkeypatch, edit=edit).from_archive(row())
    numbered = [name for name in found.units["id"].tolist() if "-" not in name]
    assert numbered == [f"probe00:{unnamed[0]}"]


def test_a_session_without_behaviour_goes_on(release, tmp_path, monkeypatch):
    next((release / NAMED[0].folder).rglob("_ibl_wheel.position.npy")).unlink()

    def edit(place: Path) -> None:
        path = next(place.rglob("trials.parquet"))
        table = pd.read_parquet(path)
        table[table["eid"] != eid_of(NAMED[0])].to_parquet(path, index=False)

    found = Both(release, tmp_path / "archives", monkeypatch, edit=edit).from_archive(row())
    assert found.behaviour == {}
    assert found.trials["start"].size == 0
    assert json.loads(found.provenance["missing"]) == ["wheel.timestamps+position", "trials.table"]


def test_an_unpacked_archive_gives_the_same_session(both, simulated, tmp_path, monkeypatch):
    unpacked = Both(simulated, tmp_path / "archives", monkeypatch, unpacked=True)
    one, other = both.from_archive(row()), unpacked.from_archive(row())
    assert_same_units(one, other)
    assert np.array_equal(one.spike_times_us, other.spike_times_us)
    assert np.array_equal(one.behaviour["wheel"].values, other.behaviour["wheel"].values)


def test_units_and_spikes_of_different_clusters_are_refused(simulated, tmp_path, monkeypatch):
    def edit(place: Path) -> None:
        path = next(place.rglob("units.parquet"))
        table = pd.read_parquet(path)
        table[table["cluster_id"] != table["cluster_id"].iloc[0]].to_parquet(path, index=False)

    found = Both(simulated, tmp_path / "archives", monkeypatch, edit=edit)
    with pytest.raises(SessionError, match=r"probe00: its spikes are of \d+ clusters, from .*the table of units has"):
        found.from_archive(row())


def test_a_damaged_part_of_an_archive_stops_the_run(both, tmp_path):
    listed = list_session(row(), source=both.source, archives=both.archives)
    path = Path(both.source.folder) / "bwm_ephys-1.2.1.tar"
    content = bytearray(path.read_bytes())
    part = next(entry for entry in listed["files"] if entry["name"].endswith("spike_clusters.blosc"))
    content[part["offset"] + part["size"] // 2] ^= 1
    (tmp_path / path.name).write_bytes(content)
    (tmp_path / "m.json").write_text(json.dumps(listed))
    with pytest.raises(SourceUnavailable, match=r"spike_clusters\.blosc in .* is damaged"):
        ingest_archive(tmp_path / "m.json", row(), source=archive_source(tmp_path), splits=SPLITS)


def test_one_session_reads_only_its_own_parts(simulated, tmp_path, monkeypatch):
    def edit(place: Path) -> None:
        for path in place.rglob("spikes/*"):
            (path / "more.blosc").write_bytes(bytes(20_000_000))
        for path in place.rglob("sessions/*.zip"):
            if path.stem != eid_of(NAMED[0]):
                with zipfile.ZipFile(path, "a") as packed:
                    packed.writestr("arrays/leftCamera.blosc", bytes(20_000_000))

    found = Both(simulated, tmp_path / "archives", monkeypatch, edit=edit)
    one = row(probes="probe00")
    found.from_archive(one)
    tracemalloc.start()
    found.from_archive(one)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15_000_000


def test_the_rule_writes_a_session_file_for_either_mode(both, tmp_path):
    listed = list_session(row(), source=both.source, archives=both.archives)
    (tmp_path / "m.json").write_text(json.dumps(listed))
    preprocess_ibl(
        manifest=tmp_path / "m.json",
        row=row(),
        ibl=both.source,
        timeline=TIMELINE,
        splits=SPLITS,
        exclusions=NO_EXCLUSIONS,
        on_fatal="stop",
        output=tmp_path / "s.h5",
    )
    assert_same_units(read_session(tmp_path / "s.h5"), both.through_one(row()))
