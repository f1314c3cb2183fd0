import hashlib
import json
import pickle
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from factories.ibl_sessions import SIMULATED, SPLITS, TIMELINE, row_of
from scipy.interpolate import interp1d
from scipy.signal import iirfilter, sosfiltfilt, sosfreqz

from neurohorizon.cohort import Row
from neurohorizon.config import IblSource
from neurohorizon.ingest import downloads
from neurohorizon.ingest.findings import Finding, decode_findings
from neurohorizon.ingest.ibl import acronyms_by_structure, ingest_ibl, wheel_velocity
from neurohorizon.ingest.ibl_download import download_session
from neurohorizon.ingest.ibl_one import index_release, open_one
from neurohorizon.ingest.leave_out import SourceUnavailable
from neurohorizon.ingest.simulated.ibl import simulate_release, simulated_sessions
from neurohorizon.session import SessionError, read_session, write_session

NAMED = simulated_sessions(SIMULATED)
PASSWORD = "a password that must not be seen"


def row(session=NAMED[0], **extras: str) -> Row:
    return row_of(session, **({"number": "1"} | extras))


def source(folder: Path, **changes) -> IblSource:
    usual = {
        "mode": "local",
        "folder": str(folder),
        "base_url": "https://openalyx.internationalbrainlab.org",
        "revision": None,
        "minimum_label": 1.0,
        "outage_hours": 1e-4,
        "wheel_rate_hz": 250.0,
    }
    return IblSource(**(usual | changes))


@pytest.fixture(scope="module", autouse=True)
def empty_home(tmp_path_factory):
    """ONE keeps settings in the home folder: tests get one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        patch.setattr("one.params.CACHE_DIR_DEFAULT", str(home / "ONE"))
        for name in ("ALYX_LOGIN", "ALYX_PWD", "ALYX_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setattr(downloads, "_FIRST_WAIT_S", 0.01)
        yield home


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    simulate_release(folder / "release", folder / "truth", simulated=SIMULATED, timeline=TIMELINE, seed=5)
    return folder


@pytest.fixture
def release(made, tmp_path) -> Path:
    """A release of the first session alone, to be damaged."""
    shutil.copytree(made / "release" / "sim_lab_1", tmp_path / "release" / "sim_lab_1")
    index_release(tmp_path / "release")
    return tmp_path / "release"


def download_to(manifest: Path, one_row: Row, *, source: IblSource) -> None:
    listed = download_session(one_row, source=source)
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps(listed, indent=1))


def ingest(folder: Path, manifest: Path, *, session=NAMED[0], extras=None, **changes):
    one_row, settings = row(session, **(extras or {})), source(folder, **changes)
    download_to(manifest, one_row, source=settings)
    return ingest_ibl(manifest, one_row, source=settings, splits=SPLITS)


def probe_folder(release: Path, number: int = 0) -> Path:
    return sorted(release.glob("sim_lab_1/Subjects/*/*/*/alf/probe*/pykilosort"))[number]


def planted(release: Path, session) -> dict[str, tuple[np.ndarray, int]]:
    """Spike times and channel of each good unit, by id, read with numpy and pandas alone."""
    found = {}
    for place in sorted(release.glob(f"*/Subjects/{session.subject}/*/*/alf/probe*/pykilosort")):
        times, clusters = np.load(place / "spikes.times.npy"), np.load(place / "spikes.clusters.npy")
        channels = np.load(place / "clusters.channels.npy")
        labels = pd.read_parquet(place / "clusters.metrics.pqt")["label"]
        names = pd.read_csv(place / "clusters.uuids.csv")["uuids"]
        for cluster in np.flatnonzero(labels == 1):
            found[f"{place.parent.name}:{names[cluster]}"] = times[clusters == cluster], channels[cluster]
    return found


@pytest.mark.parametrize("session", NAMED, ids=lambda session: session.session)
def test_a_session_holds_the_planted_spikes_of_the_good_units_and_no_others(made, tmp_path, session):
    read = ingest(made / "release", tmp_path / "m.json", session=session)
    good = planted(made / "release", session)
    assert list(read.units["id"]) == list(good)
    start_us, stop_us = int(read.domain.start_us[0]), int(read.domain.stop_us[0])
    assert start_us % 1_000_000 == 0
    assert stop_us % 1_000_000 == 0
    assert (start_us, stop_us) == (1_000_000, 59_000_000)
    for index, (times_s, _) in enumerate(good.values()):
        times_us = np.rint(times_s * 1e6).astype(int)
        inside = times_us[(times_us >= start_us) & (times_us < stop_us)]
        assert np.array_equal(np.sort(inside), read.spike_times_us[read.spike_unit == index])
    assert read.spike_unit.dtype == np.uint16
    assert (read.repairs["outside_domain"], read.repairs["not_finite"]) == (0, 0)


def test_some_simulated_sessions_have_two_probes(made):
    probes = {session.session: len(list((made / "release" / session.folder).glob("alf/probe*"))) for session in NAMED}
    assert set(probes.values()) == {1, 2}


def test_units_are_in_the_order_of_the_truth(made, tmp_path):
    for session in NAMED:
        read = ingest(made / "release", tmp_path / f"{session.session}.json", session=session)
        with h5py.File(made / "truth" / f"{session.session}.h5") as file:
            assert file["unit_id"].asstr()[:].tolist() == read.units["id"].tolist()
            expected = file["expected_counts"][:].sum(axis=0)
        observed = np.bincount(read.spike_unit, minlength=read.n_units)
        assert np.corrcoef(expected, observed)[0, 1] > 0.99


def test_regions_are_those_of_the_channels(made, tmp_path):
    read = ingest(made / "release", tmp_path / "m.json")
    by_structure = {
        385: "VISp",
        382: "CA1",
        10703: "DG-mo",
        218: "LP",
        672: "CP",
        733: "VPM",
        767: "MOs5",
        778: "VISp5",
    }
    assert {key: acronyms_by_structure()[key][0] for key in by_structure} == by_structure
    assert acronyms_by_structure()[778][1] == "VISp"
    places = {place.parent.name: place for place in (made / "release" / NAMED[0].folder).glob("alf/probe*/pykilosort")}
    for unit, (_, channel) in planted(made / "release", NAMED[0]).items():
        structures = np.load(places[unit.split(":")[0]] / "channels.brainLocationIds_ccf_2017.npy")
        index = read.units["id"].tolist().index(unit)
        assert read.units["region"][index] == acronyms_by_structure()[structures[channel]][0] != ""


def test_structures_of_the_left_hemisphere_have_the_same_names(release, tmp_path):
    before = ingest(release, tmp_path / "m.json").units["region"]
    for path in release.rglob("channels.brainLocationIds_ccf_2017.npy"):
        np.save(path, -np.load(path))
    index_release(release)
    assert ingest(release, tmp_path / "m.json").units["region"].tolist() == before.tolist()


def test_a_session_survives_its_file(made, tmp_path):
    read = ingest(made / "release", tmp_path / "m.json")
    write_session(tmp_path / "s.h5", read)
    again = read_session(tmp_path / "s.h5")
    assert np.array_equal(again.spike_times_us, read.spike_times_us)
    assert again.units["beryl"].tolist() == read.units["beryl"].tolist()
    assert json.loads(again.provenance["files"]) == json.loads(read.provenance["files"])


def test_trials_keep_their_columns_and_gain_start_and_end(made, tmp_path):
    read = ingest(made / "release", tmp_path / "m.json")
    table = pd.read_parquet(made / "release" / NAMED[0].folder / "alf" / "_ibl_trials.table.pqt")
    assert read.trials["start"].tolist() == table["intervals_0"].tolist()
    assert read.trials["end"].tolist() == table["intervals_1"].tolist()
    for name in set(table) - {"intervals_0", "intervals_1"}:
        np.testing.assert_array_equal(read.trials[name], table[name])


def test_amplitudes_and_depths_are_not_listed_nor_read(release, tmp_path):
    for name in ("spikes.amps", "spikes.depths", "clusters.amps", "clusters.depths"):
        files = list(release.rglob(f"{name}.npy"))
        assert files
        for path in files:
            path.unlink()
    ingest(release, tmp_path / "m.json")
    assert {entry["table"] for entry in json.loads((tmp_path / "m.json").read_text())["files"]} == {
        "spikes.times",
        "spikes.clusters",
        "clusters.channels",
        "clusters.metrics",
        "clusters.uuids",
        "channels.brainLocationIds",
        "trials.table",
        "wheel.timestamps",
        "wheel.position",
    }


def test_the_manifest_lists_files_with_their_hashes_and_no_path_of_this_machine(release, tmp_path):
    download_to(tmp_path / "raw" / "m.json", row(), source=source(release))
    text = (tmp_path / "raw" / "m.json").read_text()
    listed = json.loads(text)
    assert str(tmp_path) not in text
    assert listed["missing"] == []
    for entry in listed["files"]:
        content = (release / entry["path"]).read_bytes()
        assert (entry["size"], entry["md5"]) == (len(content), hashlib.md5(content).hexdigest())
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["m.json"]


def test_the_same_files_give_the_same_manifest(release, tmp_path):
    for name in ("a", "b"):
        download_to(tmp_path / name, row(), source=source(release))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_file_that_differs_from_its_hash_is_refused(release, tmp_path):
    flip_a_byte(probe_folder(release) / "spikes.times.npy")
    with pytest.raises(SessionError, match=r"spikes\.times\.npy is damaged"):
        ingest(release, tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()


def test_a_file_that_changed_since_its_download_is_refused(release, tmp_path):
    download_to(tmp_path / "m.json", row(), source=source(release))
    flip_a_byte(probe_folder(release) / "spikes.clusters.npy")
    with pytest.raises(SourceUnavailable, match=r"spikes\.clusters\.npy is not what was downloaded"):
        ingest_ibl(tmp_path / "m.json", row(), source=source(release), splits=SPLITS)
    (probe_folder(release) / "spikes.clusters.npy").unlink()
    with pytest.raises(SourceUnavailable, match="gone since its download"):
        ingest_ibl(tmp_path / "m.json", row(), source=source(release), splits=SPLITS)


def test_a_file_truncated_in_the_release_is_named(release, tmp_path):
    path = probe_folder(release) / "spikes.times.npy"
    path.write_bytes(path.read_bytes()[:1000])
    index_release(release)
    with pytest.raises(SessionError, match=r"spikes\.times\.npy cannot be read, it may be truncated"):
        ingest(release, tmp_path / "m.json")


def test_a_missing_table_is_named_with_what_is_there(release, tmp_path):
    (probe_folder(release) / "clusters.metrics.pqt").unlink()
    with pytest.raises(SessionError, match=r"probe00/pykilosort/clusters\.metrics\.pqt is listed .* no such file"):
        ingest(release, tmp_path / "m.json")
    index_release(release)
    with pytest.raises(SessionError, match=r"lacks clusters\.metrics in .*; found there: .*clusters\.channels\.npy"):
        ingest(release, tmp_path / "m.json")


def test_spikes_and_clusters_that_do_not_fit_are_refused(release, tmp_path):
    path = probe_folder(release) / "spikes.clusters.npy"
    np.save(path, np.load(path)[:-1])
    index_release(release)
    with pytest.raises(SessionError, match="expected equally many"):
        ingest(release, tmp_path / "m.json")


def test_a_cluster_without_a_channel_is_refused(release, tmp_path):
    path = probe_folder(release) / "clusters.channels.npy"
    np.save(path, np.load(path)[:-3])
    index_release(release)
    with pytest.raises(SessionError, match=r"clusters\.channels has"):
        ingest(release, tmp_path / "m.json")


def test_a_session_without_good_units_is_refused(release, tmp_path):
    for path in release.rglob("clusters.metrics.pqt"):
        pd.read_parquet(path).assign(label=2 / 3).to_parquet(path)
    index_release(release)
    with pytest.raises(SessionError, match=r"no unit with a label of 1\.0 or more: best of \d+ clusters 0\.67"):
        ingest(release, tmp_path / "m.json")
    clusters = sum(len(pd.read_parquet(path)) for path in release.rglob("clusters.metrics.pqt"))
    assert ingest(release, tmp_path / "m.json", minimum_label=0.667).n_units == clusters


def test_metrics_are_matched_by_cluster_not_by_row(release, tmp_path):
    before = ingest(release, tmp_path / "m.json").units["id"].tolist()
    for path in release.rglob("clusters.metrics.pqt"):
        table = pd.read_parquet(path)
        table[table["label"] == 1].iloc[::-1].to_parquet(path)
    index_release(release)
    assert ingest(release, tmp_path / "m.json").units["id"].tolist() == before


def test_a_session_goes_on_without_behaviour_and_says_so(release, tmp_path):
    for name in ("_ibl_trials.table.pqt", "_ibl_wheel.position.npy"):
        next(release.rglob(name)).unlink()
    for path in release.rglob("channels.brainLocationIds_ccf_2017.npy"):
        path.unlink()
    index_release(release)
    read = ingest(release, tmp_path / "m.json")
    assert not len(read.trials["start"])
    assert "wheel" not in read.behaviour
    assert set(read.units["region"]) == {""}
    missing = json.loads(read.provenance["missing"])
    assert missing[-2:] == ["trials.table", "wheel.timestamps+position"]
    assert missing[0] == "probe00/channels.brainLocationIds"


def test_a_session_that_is_not_there_is_named(release, tmp_path):
    with pytest.raises(SessionError, match="nothing found for subject SIM-301 on 2021-05-02, number 1"):
        ingest(release, tmp_path / "m.json", session=NAMED[2])
    # a search by part of a name would find SIM-101
    part = Row(**{**vars(row()), "subject": "SIM-10"})
    with pytest.raises(SessionError, match="nothing found for subject SIM-10 on"):
        download_to(tmp_path / "m.json", part, source=source(release))


def test_two_sessions_of_a_day_need_a_number(release, tmp_path):
    first = release / NAMED[0].folder
    shutil.copytree(first, first.with_name("002"))
    index_release(release)
    assert ingest(release, tmp_path / "m.json", extras={"number": "2"}).n_units
    with pytest.raises(SessionError, match=r"2 sessions at .* fit .*; give the cohort a number column"):
        ingest(release, tmp_path / "m.json", extras={"number": ""})


def test_the_cohort_may_restrict_the_probes(made, tmp_path):
    double = next(s for s in NAMED if (made / "release" / s.folder / "alf" / "probe01").is_dir())
    one = ingest(made / "release", tmp_path / "m.json", session=double, extras={"probes": "probe01"})
    both = ingest(made / "release", tmp_path / "m.json", session=double)
    assert set(one.units["probe"]) == {"probe01"}
    assert set(both.units["probe"]) == {"probe00", "probe01"}
    assert set(one.units["id"]) < set(both.units["id"])
    with pytest.raises(SessionError, match=r"no spikes.times for probe07; probes found: probe00, probe01"):
        ingest(made / "release", tmp_path / "m.json", session=double, extras={"probes": "probe01,probe07"})


def test_units_that_only_some_probes_could_see_are_not_called_silent(made, tmp_path):
    double = next(s for s in NAMED if (made / "release" / s.folder / "alf" / "probe01").is_dir())
    folder = tmp_path / "release"
    shutil.copytree(made / "release" / double.lab, folder / double.lab)
    path = next(folder.rglob("probe01/pykilosort/spikes.times.npy"))
    times = np.load(path)
    clusters = np.load(path.with_name("spikes.clusters.npy"))
    late = times > 20.3
    np.save(path, times[late])
    np.save(path.with_name("spikes.clusters.npy"), clusters[late])
    index_release(folder)
    read = ingest(folder, tmp_path / "m.json", session=double)
    assert read.domain.start_us.tolist() == [21_000_000]
    assert read.spike_times_us.min() >= 21_000_000


def findings(session) -> dict[str, Finding]:
    """Findings of the reader, by code."""
    return {finding.code: finding for finding in decode_findings(session.provenance["findings"])}


@pytest.fixture
def double(made, tmp_path):
    """A session with two probes, the folder of its ``alf``, and its spikes by probe; good ones and all."""
    session = next(s for s in NAMED if (made / "release" / s.folder / "alf" / "probe01").is_dir())
    folder = tmp_path / "release"
    shutil.copytree(made / "release" / session.lab, folder / session.lab)
    return session, folder, folder / session.folder / "alf"


def reread(folder: Path, session, tmp_path, **extras):
    index_release(folder)
    return ingest(folder, tmp_path / "m.json", session=session, extras=extras)


def good_spikes_s(place: Path) -> np.ndarray:
    """Times of the spikes of the good clusters of a probe."""
    labels = pd.read_parquet(place / "clusters.metrics.pqt")["label"].to_numpy()
    return np.load(place / "spikes.times.npy")[labels[np.load(place / "spikes.clusters.npy")] == 1]


def test_a_sound_session_counts_what_the_rounding_trims_and_finds_nothing(double, tmp_path):
    session, folder, alf = double
    read = reread(folder, session, tmp_path)
    assert findings(read) == {}
    for probe in ("probe00", "probe01"):
        times_s = good_spikes_s(alf / probe / "pykilosort")
        expected = np.count_nonzero((times_s < 1) | (times_s >= 59))
        assert read.repairs[f"trimmed_{probe}"] == expected > 0


def test_a_probe_that_stopped_early_is_named_with_its_cost_and_the_way_out(double, tmp_path):
    session, folder, alf = double
    whole = reread(folder, session, tmp_path)
    place = alf / "probe01" / "pykilosort"
    kept = np.load(place / "spikes.times.npy") < 20.5
    for path in place.glob("spikes.*.npy"):
        np.save(path, np.load(path)[kept])
    read = reread(folder, session, tmp_path)
    assert (read.domain.start_us.tolist(), read.domain.stop_us.tolist()) == ([1_000_000], [20_000_000])
    short, trimmed = (findings(read)[code] for code in ("short_probe", "trimmed_spikes"))
    assert short.count == 39
    expected = (
        r"probe01 recorded from 0\.\d+ to 20\.\d+ s and costs the session 39 s of the 58 s of probe00; .* probes to"
    )
    assert re.match(f"{expected} probe00$", short.message)
    times_s = good_spikes_s(alf / "probe00" / "pykilosort")
    lost = np.count_nonzero((times_s < 1) | (times_s >= 20))
    assert read.repairs["trimmed_probe00"] == lost
    assert f"{lost} of {len(times_s)} of probe00" in trimmed.message
    alone = reread(folder, session, tmp_path, probes="probe00")
    assert alone.domain.duration_us == whole.domain.duration_us
    assert set(findings(alone)) == set()


def test_a_late_spike_of_a_poor_cluster_does_not_stretch_the_valid_time(double, tmp_path):
    session, folder, alf = double
    sound = reread(folder, session, tmp_path)
    for probe in ("probe00", "probe01"):
        place = alf / probe / "pykilosort"
        poor = np.flatnonzero(pd.read_parquet(place / "clusters.metrics.pqt")["label"].to_numpy() < 1)[0]
        np.save(place / "spikes.times.npy", np.append(np.load(place / "spikes.times.npy"), 1e6))
        clusters = np.load(place / "spikes.clusters.npy")
        np.save(place / "spikes.clusters.npy", np.append(clusters, poor).astype(clusters.dtype))
    read = reread(folder, session, tmp_path)
    assert np.array_equal(read.domain.stop_us, sound.domain.stop_us)
    assert np.array_equal(read.spike_times_us, sound.spike_times_us)
    found = findings(read)
    assert set(found) == {"stray_spikes"}
    expected = r"probe01: 1 of \d+ spikes lie at 1e\+06 s, all others at 0\.\d+ to 59\.\d+ s"
    assert re.match(expected, found["stray_spikes"].message)
    assert read.repairs["trimmed_probe00"] == sound.repairs["trimmed_probe00"]


def test_probes_on_two_clocks_are_refused_with_both_spans(double, tmp_path):
    session, folder, alf = double
    path = alf / "probe01" / "pykilosort" / "spikes.times.npy"
    np.save(path, np.load(path) + 500)
    with pytest.raises(
        SessionError, match=r"share no second .*probe00 from 0\.\d+ to 59\.\d+ s, probe01 from 500(\.\d+)? to"
    ):
        reread(folder, session, tmp_path)
    np.save(path, (np.load(path) - 500) * 30_000)
    with pytest.raises(SessionError, match="less than a day of them: divide them by the sampling rate"):
        reread(folder, session, tmp_path)


@pytest.mark.parametrize(("probes", "hole_s"), [(("probe00",), (150, 160)), (("probe00", "probe01"), (150, 154.6))])
def test_the_time_of_a_dropout_is_not_valid_whichever_probe_has_it(tmp_path, probes, hole_s):
    settings = SIMULATED.model_copy(update={"duration_s": 200.0})
    simulate_release(tmp_path / "r", tmp_path / "t", simulated=settings, timeline=TIMELINE, seed=5)
    folders = {session: tmp_path / "r" / session.folder / "alf" for session in simulated_sessions(settings)}
    session, alf = next((session, alf) for session, alf in folders.items() if (alf / "probe01").is_dir())
    sound = ingest(tmp_path / "r", tmp_path / "m.json", session=session)
    assert len(sound.domain) == 1
    for probe in probes:
        place = alf / probe / "pykilosort"
        times_s = np.load(place / "spikes.times.npy")
        kept = (times_s < hole_s[0]) | (times_s > hole_s[1])
        for path in place.glob("spikes.*.npy"):
            np.save(path, np.load(path)[kept])
    read = reread(tmp_path / "r", session, tmp_path)
    start_us, stop_us = sound.domain.start_us[0], sound.domain.stop_us[0]
    # from the second of the last spike before to the second of the first spike after
    first_s, last_s = int(read.domain.stop_us[0]) // 1_000_000, int(read.domain.start_us[1]) // 1_000_000
    assert list(read.domain) == [(start_us, first_s * 1_000_000), (last_s * 1_000_000, stop_us)]
    assert hole_s[0] - 1 <= first_s <= hole_s[0]
    assert hole_s[1] <= last_s <= hole_s[1] + 1.5
    found = [finding for finding in decode_findings(read.provenance["findings"]) if finding.code == "dropout"]
    assert [finding.message.split(" ")[0] for finding in found] == list(probes)
    assert read.domain.contains(read.spike_times_us).all()


def test_columns_of_one_value_a_row_are_read_as_vectors(release, tmp_path):
    sound = ingest(release, tmp_path / "m.json")
    for path in release.rglob("*.npy"):
        if path.name.startswith(("spikes.times", "spikes.clusters", "clusters.channels", "channels.", "_ibl_wheel")):
            np.save(path, np.load(path)[:, None])
    index_release(release)
    read = ingest(release, tmp_path / "m.json")
    assert np.array_equal(read.spike_times_us, sound.spike_times_us)
    assert read.units["region"].tolist() == sound.units["region"].tolist()
    assert np.array_equal(read.behaviour["wheel"].values, sound.behaviour["wheel"].values)


def test_a_cluster_listed_twice_is_kept_once_and_refused_where_its_labels_differ(release, tmp_path):
    sound = ingest(release, tmp_path / "m.json")
    path = probe_folder(release) / "clusters.metrics.pqt"
    metrics = pd.read_parquet(path)
    pd.concat([metrics, metrics.iloc[:2]]).to_parquet(path)
    index_release(release)
    read = ingest(release, tmp_path / "m.json")
    assert read.units["id"].tolist() == sound.units["id"].tolist()
    assert read.repairs["duplicate_metrics"] == findings(read)["duplicate_metrics"].count == 2
    changed = metrics.iloc[:1].assign(label=1 - metrics["label"].iloc[0])
    pd.concat([metrics, changed]).to_parquet(path)
    index_release(release)
    with pytest.raises(SessionError, match=r"gives 1 clusters two labels, such as .* to cluster 0; expected one row"):
        ingest(release, tmp_path / "m.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="label"), r"has no column label, the share .*sources\.ibl\.revision"),
        (lambda table: table.assign(label="good"), r"has the label 'good' in \d+ rows; expected 0 to 1"),
        (lambda table: table.assign(label=9.0), r"has the label 9\.0 in \d+ rows; expected 0 to 1"),
        (lambda table: table.assign(cluster_id=np.nan), r"has the cluster nan in \d+ rows"),
        (lambda table: table.assign(cluster_id=np.arange(len(table)) + 9000), r"lists clusters 9000 to \d+"),
        (lambda table: table.iloc[:0], r"no unit with a label of 1\.0 or more: best of \d+ clusters 0\.00"),
    ],
)
def test_metrics_that_name_no_good_units_are_refused_in_words(release, tmp_path, change, message):
    for path in release.rglob("clusters.metrics.pqt"):
        change(pd.read_parquet(path)).to_parquet(path)
    index_release(release)
    with pytest.raises(SessionError, match=message) as refused:
        ingest(release, tmp_path / "m.json")
    assert str(refused.value).count("\n") <= 2


def test_a_probe_without_units_and_clusters_without_a_label_are_named(double, tmp_path):
    session, folder, alf = double
    place = alf / "probe01" / "pykilosort"
    metrics = pd.read_parquet(place / "clusters.metrics.pqt")
    metrics.assign(label=2 / 3).to_parquet(place / "clusters.metrics.pqt")
    read = reread(folder, session, tmp_path)
    assert set(read.units["probe"]) == {"probe00"}
    assert set(findings(read)) == {"probe_without_units"}
    clusters = len(metrics)
    assert (
        f"probe01: none of {clusters} clusters is a unit, best label 0.67"
        in findings(read)["probe_without_units"].message
    )
    of_other = pd.read_parquet(alf / "probe00" / "pykilosort" / "clusters.metrics.pqt")["label"]
    assert read.repairs["poor_clusters"] == clusters + (of_other < 1).sum()
    fired = np.unique(np.load(place / "spikes.clusters.npy"))
    metrics.iloc[:0].to_parquet(place / "clusters.metrics.pqt")
    read = reread(folder, session, tmp_path)
    assert set(findings(read)) == {"probe_without_units", "clusters_without_label"}
    assert read.repairs["clusters_without_label"] == len(fired)


def test_a_wheel_in_half_precision_takes_no_memory(release, tmp_path):
    path = release / NAMED[0].folder / "alf" / "_ibl_wheel.timestamps.npy"
    np.save(path, np.load(path).astype(np.float16))
    index_release(release)
    times_s = ingest(release, tmp_path / "m.json").behaviour["wheel"].times_s
    assert np.diff(times_s) == pytest.approx(0.004)


def test_a_wheel_sample_on_another_clock_is_dropped_and_takes_no_memory(release, tmp_path):
    alf = release / NAMED[0].folder / "alf"
    times_s, position = (np.load(alf / f"_ibl_wheel.{name}.npy") for name in ("timestamps", "position"))
    np.save(alf / "_ibl_wheel.timestamps.npy", times_s[:-2])
    np.save(alf / "_ibl_wheel.position.npy", position[:-2])
    index_release(release)
    expected = ingest(release, tmp_path / "m.json").behaviour["wheel"]
    times_s[-2:] = 1e7, np.nan
    np.save(alf / "_ibl_wheel.timestamps.npy", times_s)
    np.save(alf / "_ibl_wheel.position.npy", position)
    index_release(release)
    read = ingest(release, tmp_path / "m.json")
    assert np.array_equal(read.behaviour["wheel"].times_s, expected.times_s)
    assert np.array_equal(read.behaviour["wheel"].values, expected.values)
    assert read.repairs["samples_dropped"] == 2
    assert re.search(r"2 of \d+ wheel samples .* up to 1e\+07 s; dropped", findings(read)["samples_dropped"].message)


def test_trials_without_an_end_and_columns_that_are_not_numbers_are_counted(release, tmp_path):
    path = release / NAMED[0].folder / "alf" / "_ibl_trials.table.pqt"
    table = pd.read_parquet(path)
    bent = table.assign(
        comment="late", start=0.0, hits=pd.array([1, None] * (len(table) // 2) + [1] * (len(table) % 2), "Int64")
    )
    bent.loc[bent.index[::3], "intervals_1"] = np.nan
    bent.loc[bent.index[1], "intervals_1"] = 1e8
    bent.loc[bent.index[2], "intervals_0"] = -np.inf
    bent.iloc[::-1].to_parquet(path)
    index_release(release)
    read = ingest(release, tmp_path / "m.json")
    kept = [row for row in range(len(table)) if row % 3 and row not in (1, 2)]
    assert read.trials["start"].tolist() == table["intervals_0"].iloc[kept].tolist()
    assert read.trials["end"].tolist() == table["intervals_1"].iloc[kept].tolist()
    assert read.trials["choice"].tolist() == table["choice"].iloc[kept].tolist()
    np.testing.assert_array_equal(read.trials["hits"], [np.nan if row % 2 else 1.0 for row in kept])
    untimed = len(range(0, len(table), 3)) + 1
    counts = {"trials_without_times": untimed, "trials_far": 1, "trial_columns_skipped": 1, "trial_columns_replaced": 1}
    assert {code: read.repairs[code] for code in counts} == counts
    found = findings(read)
    assert f"{untimed} of {len(table)} trials have no start or no end" in found["trials_without_times"].message
    assert "comment" in found["trial_columns_skipped"].message
    assert "start" in found["trial_columns_replaced"].message


class Bomb:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_an_array_of_python_objects_is_refused_and_not_unpickled(release, tmp_path):
    path = probe_folder(release) / "spikes.times.npy"
    for write in (
        lambda: np.save(path, np.array([Bomb(tmp_path / "hit")], dtype=object), allow_pickle=True),
        lambda: path.write_bytes(pickle.dumps(Bomb(tmp_path / "hit"))),
    ):
        write()
        index_release(release)
        with pytest.raises(SessionError, match=r"spikes\.times\.npy holds Python objects, refused"):
            ingest(release, tmp_path / "m.json")
    assert not (tmp_path / "hit").exists()


HUGE = (
    b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }".ljust(117)
    + b"\n"
)
"""An array of 80 TB by its header, without a value."""


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("spikes.times.npy", np.array(["0.1", "0.2"]), r"spikes\.times\.npy holds <U3; expected numbers"),
        ("spikes.times.npy", np.ones((3, 2)), r"spikes\.times\.npy has the shape \(3, 2\); expected one value per row"),
        ("spikes.clusters.npy", np.array([0.0, np.nan]), r"1 of 2 values are no whole numbers, the first nan"),
        ("clusters.channels.npy", np.array([0.5]), r"clusters\.channels\.npy: 1 of 1 values are no whole numbers"),
        (
            "spikes.times.npy",
            HUGE,
            "cannot be read",
        ),
        (
            "clusters.metrics.pqt",
            b"PAR1 not a table PAR1",
            r"clusters\.metrics\.pqt cannot be read, it may be truncated",
        ),
        ("clusters.metrics.pqt", b"", r"clusters\.metrics\.pqt"),
        ("clusters.uuids.csv", b"\xff\xfe\x00", r"clusters\.uuids\.csv cannot be read"),
    ],
)
def test_a_file_that_holds_something_else_is_named(release, tmp_path, name, values, message):
    path = probe_folder(release) / name
    if isinstance(values, bytes):
        path.write_bytes(values)
    else:
        np.save(path, values)
    index_release(release)
    with pytest.raises(SessionError, match=message) as refused:
        ingest(release, tmp_path / "m.json")
    assert str(refused.value).count("\n") <= 2


def test_a_unit_without_a_channel_has_no_region(release, tmp_path):
    places = sorted(release.glob("sim_lab_1/Subjects/*/*/*/alf/probe*/pykilosort"))
    for place in places:
        channels = np.load(place / "clusters.channels.npy")
        np.save(place / "clusters.channels.npy", np.full_like(channels, -1, dtype=np.int64))
    index_release(release)
    assert set(ingest(release, tmp_path / "m.json").units["region"]) == {""}


@pytest.mark.parametrize("place", ["../secret.npy", "/etc/passwd", "sim_lab_1/../../secret.npy"])
def test_a_manifest_that_names_a_file_outside_the_folder_is_refused(release, tmp_path, place):
    download_to(tmp_path / "m.json", row(), source=source(release))
    listed = json.loads((tmp_path / "m.json").read_text())
    np.save(tmp_path / "secret.npy", np.arange(3.0))
    times = next(entry for entry in listed["files"] if entry["table"] == "spikes.times")
    content = Path(tmp_path / "secret.npy" if "secret" in place else place).read_bytes()
    times |= {"path": place, "size": len(content), "md5": hashlib.md5(content).hexdigest()}
    (tmp_path / "m.json").write_text(json.dumps(listed))
    with pytest.raises(SessionError, match=r"names '.*', which is outside the release's folder .*; refused"):
        ingest_ibl(tmp_path / "m.json", row(), source=source(release), splits=SPLITS)


def test_a_link_that_leaves_the_folder_is_refused_at_download_and_after_it(release, tmp_path):
    path = probe_folder(release) / "spikes.times.npy"
    download_to(tmp_path / "m.json", row(), source=source(release))
    path.rename(tmp_path / "elsewhere.npy")
    path.symlink_to(tmp_path / "elsewhere.npy")
    with pytest.raises(SessionError, match="outside the release's folder"):
        ingest_ibl(tmp_path / "m.json", row(), source=source(release), splits=SPLITS)
    with pytest.raises(SessionError, match=r"leads to .*elsewhere\.npy, outside the release's folder"):
        download_to(tmp_path / "n.json", row(), source=source(release))


@pytest.mark.parametrize("change", [{"date": ""}, {"extras": {"number": "first"}}])
def test_a_row_by_which_no_session_can_be_found_is_refused(release, tmp_path, change):
    with pytest.raises(SessionError, match="a session is found by its date"):
        download_to(tmp_path / "m.json", Row(**{**vars(row()), **change}), source=source(release))


SORTING = ("spikes.times", "spikes.clusters", "clusters.channels", "clusters.metrics", "clusters.uuids")


def test_revisions_and_sorters_are_chosen_as_one_documents(release, tmp_path):
    place = probe_folder(release)
    good = (pd.read_parquet(place / "clusters.metrics.pqt")["label"] == 1).sum()
    revised = place / "#2024-05-06#"
    shutil.copytree(place, revised)
    pd.read_parquet(place / "clusters.metrics.pqt").assign(label=1.0).to_parquet(revised / "clusters.metrics.pqt")
    other = place.parent / "zz_sorter"
    other.mkdir()
    np.save(other / "spikes.times.npy", np.arange(10.0))
    np.save(place.parent / "spikes.times.npy", np.arange(10.0))
    index_release(release)
    only = {"extras": {"probes": "probe00"}}
    assert ingest(release, tmp_path / "m.json", revision="2023-01-01", **only).n_units == good
    latest = ingest(release, tmp_path / "m.json", **only)
    assert latest.n_units == len(pd.read_parquet(place / "clusters.metrics.pqt")) > good
    listed = json.loads((tmp_path / "m.json").read_text())
    assert listed["probes"] == {"probe00": "alf/probe00/pykilosort"}
    assert {entry["revision"] for entry in listed["files"] if entry["table"] in SORTING} == {"2024-05-06"}
    assert findings(latest) == {}


@pytest.mark.parametrize("lacking", ["clusters.metrics.pqt", "spikes.clusters.npy"])
def test_tables_of_two_sortings_are_never_combined(release, tmp_path, lacking):
    place = probe_folder(release)
    sound = ingest(release, tmp_path / "m.json", extras={"probes": "probe00"})
    revised = place / "#2024-05-06#"
    shutil.copytree(place, revised)
    clusters = np.load(revised / "spikes.clusters.npy")
    np.save(revised / "spikes.clusters.npy", clusters[::-1])
    (revised / lacking).unlink()
    index_release(release)
    read = ingest(release, tmp_path / "m.json", extras={"probes": "probe00"})
    listed = json.loads((tmp_path / "m.json").read_text())
    assert {entry["revision"] for entry in listed["files"] if entry["table"] in SORTING} == {""}
    assert np.array_equal(read.spike_unit, sound.spike_unit)
    message = findings(read)["older_sorting"].message
    assert message.startswith(f"probe00: revision 2024-05-06 lacks {lacking.rpartition('.')[0]};")
    (place / "clusters.channels.npy").unlink()
    index_release(release)
    with pytest.raises(SessionError, match=r"no revision of alf/probe00/pykilosort has all tables of one spike"):
        ingest(release, tmp_path / "m.json", extras={"probes": "probe00"})


def test_names_of_units_and_regions_of_an_older_sorting_are_not_used(release, tmp_path):
    place = probe_folder(release)
    revised = place / "#2024-05-06#"
    shutil.copytree(place, revised)
    (revised / "clusters.uuids.csv").unlink()
    (revised / "channels.brainLocationIds_ccf_2017.npy").unlink()
    index_release(release)
    read = ingest(release, tmp_path / "m.json", extras={"probes": "probe00"})
    assert set(read.units["region"]) == {""}
    assert read.units["id"].tolist() == [f"probe00:{cluster}" for cluster in read.units["cluster"]]
    assert json.loads(read.provenance["missing"]) == ["probe00/clusters.uuids", "probe00/channels.brainLocationIds"]


def test_a_curation_of_a_lab_and_metrics_in_two_formats_are_passed_over(release, tmp_path):
    place = probe_folder(release)
    sound = ingest(release, tmp_path / "m.json")
    np.save(place / "_av_spikes.clusters.npy", np.load(place / "spikes.clusters.npy")[::-1])
    pd.read_parquet(place / "clusters.metrics.pqt").assign(label=0.0).to_csv(place / "clusters.metrics.csv")
    index_release(release)
    read = ingest(release, tmp_path / "m.json")
    assert np.array_equal(read.spike_unit, sound.spike_unit)
    assert read.units["id"].tolist() == sound.units["id"].tolist()


def test_regions_are_those_of_the_sites_where_these_are_the_channels(release, tmp_path):
    place = probe_folder(release)
    sound = ingest(release, tmp_path / "m.json", extras={"probes": "probe00"})
    channels = np.load(place / "channels.brainLocationIds_ccf_2017.npy")
    sites = place.parent / "electrodeSites.brainLocationIds_ccf_2017.npy"
    for structures, regions in (
        (np.full(len(channels), 385), ["VISp"] * sound.n_units),
        (np.full(len(channels) + 1, 385), sound.units["region"].tolist()),
    ):
        np.save(sites, structures)
        index_release(release)
        read = ingest(release, tmp_path / "m.json", extras={"probes": "probe00"})
        assert read.units["region"].tolist() == regions
        assert json.loads(read.provenance["missing"]) == []
    np.save(sites, np.full(len(channels), 385))
    (place / "channels.brainLocationIds_ccf_2017.npy").unlink()
    index_release(release)
    read = ingest(release, tmp_path / "m.json", extras={"probes": "probe00"})
    assert set(read.units["region"]) == {"VISp"}
    assert json.loads(read.provenance["missing"]) == []


def test_a_wheel_with_one_time_too_few_is_missing_and_the_session_is_not(release, tmp_path):
    path = release / NAMED[0].folder / "alf" / "_ibl_wheel.timestamps.npy"
    times_s = np.load(path)
    np.save(path, times_s[:-1])
    index_release(release)
    read = ingest(release, tmp_path / "m.json")
    assert "wheel" not in read.behaviour
    expected = [f"wheel: {len(times_s) - 1} timestamps for {len(times_s)} positions"]
    assert json.loads(read.provenance["missing"]) == expected


def test_a_probe_without_a_sorter_folder_is_read_too(release, tmp_path):
    before = ingest(release, tmp_path / "m.json").units["id"].tolist()
    for place in list(release.rglob("pykilosort")):
        for path in place.iterdir():
            path.rename(place.parent / path.name)
        place.rmdir()
    index_release(release)
    assert ingest(release, tmp_path / "m.json").units["id"].tolist() == before


def test_a_recording_too_short_for_its_splits_is_refused(release, tmp_path):
    long_gap = SPLITS.model_copy(update={"gap_s": 40.0})
    download_to(tmp_path / "m.json", row(), source=source(release))
    with pytest.raises(SessionError, match="too short: nothing is left for test"):
        ingest_ibl(tmp_path / "m.json", row(), source=source(release), splits=long_gap)


def test_wheel_velocity_is_that_of_brainbox(made):
    alf = made / "release" / NAMED[0].folder / "alf"
    times_s, position = np.load(alf / "_ibl_wheel.timestamps.npy"), np.load(alf / "_ibl_wheel.position.npy")
    sampled_s, velocity = wheel_velocity(times_s, position, rate_hz=1000.0)
    # derived apart: interp1d, a filter designed with fs, and a loop for the difference
    grid = np.arange(times_s[0], times_s[-1], 0.001)
    smooth = sosfiltfilt(
        iirfilter(8, 20, btype="lowpass", ftype="butter", fs=1000, output="sos"),
        interp1d(times_s, position, kind="linear")(grid),
    )
    expected = np.array([0.0] + [(smooth[i] - smooth[i - 1]) * 1000 for i in range(1, len(smooth))])
    np.testing.assert_allclose(sampled_s, grid)
    np.testing.assert_allclose(velocity, expected, atol=1e-9)
    slow_s, slow = wheel_velocity(times_s, position, rate_hz=250.0)
    np.testing.assert_array_equal(slow, velocity[::4])
    assert np.diff(slow_s).mean() == pytest.approx(0.004)


def test_the_wheel_filter_keeps_turns_and_drops_tremor():
    times_s = np.arange(0, 20, 0.002)
    turn = np.sin(2 * np.pi * 1.5 * times_s)
    sampled_s, velocity = wheel_velocity(times_s, turn + 0.05 * np.sin(2 * np.pi * 80 * times_s), rate_hz=500.0)
    middle = (sampled_s > 2) & (sampled_s < 18)
    # the backward difference lags by half a millisecond
    expected = 2 * np.pi * 1.5 * np.cos(2 * np.pi * 1.5 * (sampled_s - 0.0005))
    np.testing.assert_allclose(velocity[middle], expected[middle], atol=1e-2)
    frequencies, response = sosfreqz(iirfilter(8, 20, btype="lowpass", fs=1000, output="sos"), fs=1000)
    assert np.abs(response[frequencies > 80]).max() < 1e-4


def test_a_wheel_rate_that_leaves_samples_uneven_is_refused():
    with pytest.raises(ValueError, match="must divide 1000"):
        wheel_velocity(np.arange(10.0), np.arange(10.0), rate_hz=300.0)


def test_a_wheel_that_hardly_moved_is_left_out(release, tmp_path):
    alf = release / NAMED[0].folder / "alf"
    np.save(alf / "_ibl_wheel.timestamps.npy", np.array([3.0, 3.01]))
    np.save(alf / "_ibl_wheel.position.npy", np.array([0.0, 0.1]))
    index_release(release)
    read = ingest(release, tmp_path / "m.json")
    assert "wheel" not in read.behaviour
    assert json.loads(read.provenance["missing"]) == ["wheel: too few samples"]


def test_a_folder_that_is_no_release_is_said_in_one_line(tmp_path):
    with pytest.raises(SourceUnavailable, match=r"no ONE folder: sessions\.pqt and datasets\.pqt not found") as told:
        open_one(source(tmp_path))
    assert "\n" not in str(told.value)


def test_missing_credentials_are_said_in_one_line(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(SourceUnavailable, match=r"no credentials for .* ALYX_LOGIN and ALYX_PWD") as told:
        open_one(source(tmp_path / "downloads", mode="remote"))
    assert "\n" not in str(told.value)
    assert not home.exists()
