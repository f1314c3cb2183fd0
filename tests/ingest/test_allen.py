"""Allen sessions: ingestion and AllenSDK in their environment, compared with the same files read with h5py and numpy.

Downloads come from a local server that stands in for the release's bucket.
"""

import dataclasses
import hashlib
import importlib
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from factories import ROOT, allen_driver
from factories.workflow import copy_workflow

from neurohorizon.cohort import heldout_sessions, read_cohort, training_sessions
from neurohorizon.config import read_config
from neurohorizon.ingest.allen import _session, image_shown
from neurohorizon.ingest.allen_download import GRAY, export_images
from neurohorizon.ingest.allen_units import QUALITY, AllenUnits, read_units
from neurohorizon.ingest.findings import Finding, decode_findings
from neurohorizon.ingest.paper_cohort import ALLEN_COLUMNS, read_release
from neurohorizon.ingest.simulated.allen import (
    LATENCY_S,
    REGIONS,
    Shown,
    Templates,
    image_drive,
    show,
    simulated_allen_sessions,
)
from neurohorizon.ingest.simulated.screen import ORIENTATIONS_DEG, PLACES, View, features, grating, gray_screen, look
from neurohorizon.modalities.images import read_images
from neurohorizon.session import Session, SessionError, read_session

SIMULATED = allen_driver.SIMULATED
NAMED = simulated_allen_sessions(SIMULATED)
FUNCTIONAL, OBSERVATORY, NO_PUPIL = range(3)
"""Sessions by what is special about them: the first two differ in type, the third is another functional one."""

SNAKEFILE = """
rule drive:
    output:
        "made/outcomes.json",
    conda:
        "{root}/envs/allen.yaml"
    shell:
        "PYTHONPATH={root} PYTHONNOUSERSITE=1 OMP_NUM_THREADS=1 python {root}/tests/factories/allen_driver.py made"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """What the driver left, run by the interpreter of AllenSDK's environment."""
    project = copy_workflow(tmp_path_factory.mktemp("allen") / "project")
    (project.root / "drive.smk").write_text(SNAKEFILE.format(root=ROOT))
    done = project.snakemake("--snakefile", "drive.smk", "--sdm", "conda")
    assert done.returncode == 0, done.stdout
    return project.root / "made"


@pytest.fixture(scope="module")
def outcomes(made) -> dict:
    return json.loads((made / "outcomes.json").read_text())


def recording(made: Path, index: int) -> h5py.File:
    return h5py.File(allen_driver.recording(made / "release", index))


@dataclasses.dataclass(frozen=True)
class Planted:
    """A unit as the NWB file has it."""

    spikes_s: np.ndarray
    region: str
    probe: str
    good: bool


def planted(made: Path, index: int) -> dict[int, Planted]:
    """Units by id, read with h5py alone."""
    with recording(made, index) as file:
        units, sites = file["units"], file["general/extracellular_ephys/electrodes"]
        columns = {name: units[name][:] for name in ("isi_violations", "amplitude_cutoff", "presence_ratio")}
        quality, peak = units["quality"].asstr()[:], units["peak_channel_id"][:]
        place = {
            site: (location, group)
            for site, location, group in zip(
                sites["id"][:], sites["location"].asstr()[:], sites["group_name"].asstr()[:], strict=True
            )
        }
        trains = np.split(units["spike_times"][:], units["spike_times_index"][:-1])
        found = {}
        for unit, identity in enumerate(units["id"][:]):
            region, probe = place[peak[unit]]
            good = (
                columns["isi_violations"][unit] <= 0.5
                and columns["amplitude_cutoff"][unit] <= 0.1
                and columns["presence_ratio"][unit] >= 0.95
                and quality[unit] == "good"
                and region != "None"
            )
            found[int(identity)] = Planted(trains[unit], region, probe, bool(good))
    return found


def presentations(made: Path, index: int) -> pd.DataFrame:
    """Stimuli of the NWB file, by start, read with h5py alone."""
    tables = []
    with recording(made, index) as file:
        for name, table in file["intervals"].items():
            if name.endswith("_presentations"):
                columns = ("start_time", "stop_time", "frame", "orientation", "stimulus_block")
                values = {column: table[column][:] for column in columns}
                tables.append(pd.DataFrame({**values, "name": name.removesuffix("_presentations")}))
    return pd.concat(tables).sort_values("start_time", ignore_index=True)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(SIMULATED.animals))
def test_a_session_holds_the_planted_spikes_of_the_good_units_and_no_others(made, index):
    session, units = read_session(made / f"{index}.h5"), planted(made, index)
    good = sorted((unit for unit in units if units[unit].good), key=lambda unit: (units[unit].probe, unit))
    assert session.units["id"].tolist() == [str(unit) for unit in good]
    assert SIMULATED.units[0] <= len(good) <= SIMULATED.units[1]
    assert len(good) < 0.8 * len(units)
    assert session.units["region"].tolist() == [units[unit].region for unit in good]
    assert session.units["probe"].tolist() == [units[unit].probe for unit in good]
    for row, unit in enumerate(good):
        times_us = np.rint(units[unit].spikes_s * 1e6).astype(np.int64)
        inside = times_us[session.domain.contains(times_us)]
        assert np.array_equal(np.sort(inside), session.spike_times_us[session.spike_unit == row])


@pytest.mark.slow
def test_poor_units_fail_in_every_way_there_is(made):
    units = planted(made, FUNCTIONAL)
    with recording(made, FUNCTIONAL) as file:
        table = {name: file["units"][name][:] for name in ("isi_violations", "amplitude_cutoff", "presence_ratio")}
        noise = file["units/quality"].asstr()[:] != "good"
    outside = np.array([unit.region == "None" for unit in units.values()])
    faults = [table["isi_violations"] > 0.5, table["amplitude_cutoff"] > 0.1, table["presence_ratio"] < 0.95]
    faults = np.array([*faults, noise, outside])
    assert faults.any(axis=1).all()
    assert np.array_equal(faults.sum(axis=0), [0 if unit.good else 1 for unit in units.values()])


@pytest.mark.slow
@pytest.mark.parametrize("index", range(SIMULATED.animals))
def test_the_truth_is_of_the_same_units_and_of_the_same_bins(made, index):
    session = read_session(made / f"{index}.h5")
    with h5py.File(made / "truth" / f"{NAMED[index].session}.h5") as file:
        assert file["unit_id"].asstr()[:].tolist() == session.units["id"].tolist()
        assert file.attrs["bin_us"] == 20_000
        expected = file["expected_counts"][:]
    bins = np.arange(len(expected))
    whole = session.domain.contains(bins * 20_000) & session.domain.contains(bins * 20_000 + 19_999)
    counts = np.zeros_like(expected)
    np.add.at(counts, (session.spike_times_us // 20_000, session.spike_unit), 1)
    observed, total = counts[whole].sum(axis=0), expected[whole].sum(axis=0)
    # renewal counts vary about as Poisson ones, bursting units more; whoever swapped two units is far off
    assert (np.abs(observed - total) < 8 * np.sqrt(total)).all()
    fast = expected[whole] - expected[whole].mean(axis=0)
    by_shift = [float((fast * np.roll(counts[whole], shift, axis=0)).sum()) for shift in (-2, -1, 0, 1, 2)]
    assert int(np.argmax(by_shift)) == 2


@pytest.mark.slow
def test_domain_starts_with_the_stimuli_and_ends_with_them(made):
    for index in range(SIMULATED.animals):
        session, shown = read_session(made / f"{index}.h5"), presentations(made, index)
        edges_s = np.array([session.domain.start_us[0], session.domain.stop_us[-1]]) / 1e6
        spikes = [unit.spikes_s for unit in planted(made, index).values()]
        assert min(train[0] for train in spikes) < edges_s[0] - 2
        assert max(train[-1] for train in spikes) > edges_s[1] + 2
        assert edges_s.tolist() == [np.ceil(shown["start_time"].iloc[0]), np.floor(shown["stop_time"].max())]


@pytest.mark.slow
def test_a_span_in_which_the_probes_failed_is_a_gap_and_not_silence(made):
    session = read_session(made / f"{FUNCTIONAL}.h5")
    with recording(made, FUNCTIONAL) as file:
        invalid = file["intervals/invalid_times"]
        start_us, stop_us = (round(1e6 * invalid[name][0]) for name in ("start_time", "stop_time"))
    assert len(session.domain) == 2
    assert (session.domain.stop_us[0], session.domain.start_us[1]) == (start_us, stop_us)
    lost = sum(
        np.count_nonzero((unit.spikes_s * 1e6 >= start_us) & (unit.spikes_s * 1e6 < stop_us))
        for unit in planted(made, FUNCTIONAL).values()
        if unit.good
    )
    assert lost > 50
    of_spikes = {name: count for name, count in session.repairs.items() if not name.startswith("trimmed_")}
    assert of_spikes == {"not_finite": 0, "outside_domain": lost, "unsorted": 0, "duplicate": 0}
    start_us, stop_us = session.domain.start_us[0], session.domain.stop_us[-1]
    for probe in np.unique(session.units["probe"]):
        times_us = np.concatenate(
            [
                np.rint(1e6 * unit.spikes_s)
                for unit in planted(made, FUNCTIONAL).values()
                if unit.good and unit.probe == probe
            ]
        )
        trimmed = np.count_nonzero((times_us < start_us) | (times_us >= stop_us))
        assert session.repairs[f"trimmed_{probe}"] == trimmed > 0


class Recording:
    """A session as AllenSDK presents it: probes A and B of two units each, 180 s, stimuli from 10 to 170 s."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.probes = {13: "probeA", 14: "probeA", 11: "probeB", 12: "probeB"}
        self.spike_times = {unit: np.sort(rng.uniform(0, 180, 900)) for unit in self.probes}
        self.stimulus_presentations = pd.DataFrame(
            {"start_time": np.arange(10.0, 170), "stop_time": np.arange(11.0, 171), "stimulus_name": "spontaneous"}
        )
        self.invalid_times = pd.DataFrame({"start_time": [], "stop_time": [], "tags": []})
        times_s = np.arange(0, 180, 0.1)
        self.running_speed = pd.DataFrame({"end_time": times_s, "velocity": np.sin(times_s)})

    def get_screen_gaze_data(self, **_: object) -> None:
        return None

    def read(self, *probes: str) -> Session:
        """Ingest the units of some probes, of all without any."""
        kept = [unit for unit, probe in self.probes.items() if not probes or probe in probes]
        units = AllenUnits(
            id=np.array(kept),
            probe=np.array([self.probes[unit] for unit in kept]),
            region=np.array(["CA1"] * len(kept)),
            quality=dict.fromkeys(QUALITY, np.zeros(len(kept))),
            counts=np.array([len(self.spike_times[unit]) for unit in kept]),
            times_s=np.concatenate([self.spike_times[unit] for unit in kept]),
        )
        listed = {"release": "local", "session_type": "x", "allensdk_version": "2", "files": {}}
        return _session(self, units, allen_driver.row(0), listed, allen_driver.SPLITS)


def found(session: Session) -> dict[str, Finding]:
    return {finding.code: finding for finding in decode_findings(session.provenance["findings"])}


def test_a_sound_recording_is_read_without_a_finding_and_its_trimmed_spikes_are_counted():
    recording = Recording()
    session = recording.read()
    assert (session.domain.start_us.tolist(), session.domain.stop_us.tolist()) == ([10_000_000], [170_000_000])
    assert found(session) == {}
    assert session.units["id"].tolist() == ["13", "14", "11", "12"]
    assert session.units["region"].tolist() == ["CA1"] * 4
    for probe, units in {"probeA": (13, 14), "probeB": (11, 12)}.items():
        times_s = np.concatenate([recording.spike_times[unit] for unit in units])
        assert session.repairs[f"trimmed_{probe}"] == np.count_nonzero((times_s < 10) | (times_s >= 170)) > 0


def test_a_probe_that_ends_early_is_named_and_may_be_left_out():
    recording = Recording()
    for unit in (11, 12):
        times_s = recording.spike_times[unit]
        recording.spike_times[unit] = times_s[times_s < 60.5]
    session = recording.read()
    assert session.domain.stop_us.tolist() == [60_000_000]
    assert found(session)["short_probe"].count == 110
    assert "probeB recorded from 10 to 60" in found(session)["short_probe"].message
    assert "column probes to probeA" in found(session)["short_probe"].message
    lost = sum(
        np.count_nonzero((recording.spike_times[unit] >= 60) & (recording.spike_times[unit] < 170)) for unit in (13, 14)
    )
    assert found(session)["trimmed_spikes"].count == lost
    alone = recording.read("probeA")
    assert alone.domain.stop_us.tolist() == [170_000_000]
    assert set(alone.units["probe"]) == {"probeA"}


def test_strays_and_times_that_are_no_numbers_change_no_spike():
    recording = Recording()
    expected = recording.read()
    recording.spike_times[11] = np.append(recording.spike_times[11], [np.nan, 1e6])
    shown = recording.stimulus_presentations
    recording.stimulus_presentations = pd.concat([shown, shown.iloc[:1].assign(stop_time=np.nan)])
    recording.running_speed = pd.concat(
        [recording.running_speed, recording.running_speed.iloc[:2].assign(end_time=np.nan)]
    )
    session = recording.read()
    assert np.array_equal(session.spike_times_us, expected.spike_times_us)
    assert np.array_equal(session.behaviour["running_speed"].values, expected.behaviour["running_speed"].values)
    assert np.array_equal(session.stimuli["start"], expected.stimuli["start"])
    changed = {name: count for name, count in session.repairs.items() if expected.repairs.get(name) != count}
    assert changed == {
        "not_finite": 1,
        "samples_dropped": 2,
        "stimuli_without_times": 1,
        "trimmed_probeB": expected.repairs["trimmed_probeB"] + 1,
    }
    assert set(found(session)) == {"stray_spikes", "samples_dropped", "stimuli_without_times"}


def test_spikes_in_a_span_in_which_a_probe_failed_are_counted_by_probe():
    recording = Recording()
    recording.invalid_times = pd.DataFrame(
        {"start_time": [50.0], "stop_time": [70.0], "tags": [("EcephysProbe", "probeA")]}
    )
    session = recording.read()
    assert session.domain.duration_us == 140_000_000
    lost = {
        probe: sum(
            np.count_nonzero((recording.spike_times[unit] >= 50) & (recording.spike_times[unit] < 70)) for unit in units
        )
        for probe, units in {"probeA": (13, 14), "probeB": (11, 12)}.items()
    }
    assert session.repairs["outside_domain"] == sum(lost.values())
    assert f"probes probeA ({lost['probeA']}), probeB ({lost['probeB']})" in found(session)["outside_domain"].message


def test_a_session_without_a_spike_or_a_stimulus_is_refused():
    recording = Recording()
    recording.spike_times = {unit: np.zeros(0) for unit in recording.probes}
    with pytest.raises(SessionError, match="none of its 4 units has a spike"):
        recording.read()
    recording = Recording()
    recording.stimulus_presentations = recording.stimulus_presentations.assign(start_time=np.nan)
    with pytest.raises(SessionError, match="none of 160 stimuli has times"):
        recording.read()


@pytest.mark.slow
def test_where_the_screen_failed_spikes_stay_and_the_image_is_not_known(made):
    session, shown = read_session(made / f"{OBSERVATORY}.h5"), presentations(made, OBSERVATORY)
    assert len(session.domain) == 1
    with recording(made, OBSERVATORY) as file:
        invalid = [file["intervals/invalid_times"][name][0] for name in ("start_time", "stop_time")]
    touched = (shown["start_time"] < invalid[1]) & (shown["stop_time"] > invalid[0])
    assert touched.sum() == pytest.approx(0.4 * 30, abs=2)
    failed = session.stimuli["name"] == "invalid_presentation"
    # whether two that only touch overlap is AllenSDK's to say
    assert np.array_equal(session.stimuli["start"][failed], shown["start_time"][touched])
    assert set(session.stimuli["image_set"][failed]) == {""}
    assert set(session.stimuli["frame"][failed]) == {-1}


@pytest.mark.slow
@pytest.mark.parametrize("index", [FUNCTIONAL, OBSERVATORY])
def test_stimuli_are_those_of_the_release_with_the_image_that_was_shown(made, index):
    stimuli, shown = read_session(made / f"{index}.h5").stimuli, presentations(made, index)
    np.testing.assert_array_equal(stimuli["start"], shown["start_time"])
    np.testing.assert_array_equal(stimuli["end"], shown["stop_time"])
    known = stimuli["name"] != "invalid_presentation"
    assert stimuli["name"][known].tolist() == shown["name"][known].tolist()
    block = shown["stimulus_block"].fillna(-1).astype(int)
    assert stimuli["block"][known].tolist() == block[known].tolist()
    for number in np.flatnonzero(known):
        row, image = shown.iloc[number], (stimuli["image_set"][number], int(stimuli["frame"][number]))
        if row["name"] in ("natural_movie_one", "natural_movie_one_more_repeats"):
            assert image == ("natural_movie_one", row["frame"])
        elif row["name"] == "natural_scenes" and row["frame"] >= 0:
            assert image == ("natural_scenes", row["frame"])
        elif row["name"] in ("spontaneous", "natural_scenes"):
            assert image == ("gray", 0)
        elif row["name"] == "drifting_gratings":
            assert image == (("gray", 0) if np.isnan(row["orientation"]) else ("", -1))
        else:
            assert (row["name"], image) == ("natural_movie_one_shuffled", ("", -1))
    movie = stimuli["frame"][stimuli["image_set"] == "natural_movie_one"]
    assert np.array_equal(np.unique(movie), np.arange(round(30 * SIMULATED.movie_s)))


@pytest.mark.slow
def test_both_session_types_show_what_they_do_in_the_release(made):
    common = {"spontaneous", "drifting_gratings"}
    names = {index: set(presentations(made, index)["name"]) for index in (FUNCTIONAL, OBSERVATORY)}
    assert names[OBSERVATORY] == common | {"natural_movie_one", "natural_scenes"}
    assert names[FUNCTIONAL] == common | {"natural_movie_one_more_repeats", "natural_movie_one_shuffled"}
    types = [read_session(made / f"{index}.h5").provenance["session_type"] for index in (FUNCTIONAL, OBSERVATORY)]
    assert types == ["functional_connectivity", "brain_observatory_1.1"]
    blanks = read_session(made / f"{OBSERVATORY}.h5").stimuli
    gray = blanks["name"][blanks["image_set"] == "gray"]
    assert {name: np.count_nonzero(gray == name) for name in set(gray)} == {
        "spontaneous": SIMULATED.blocks,
        "natural_scenes": SIMULATED.blocks,
        "drifting_gratings": SIMULATED.blocks,
    }


@pytest.mark.slow
def test_a_sample_of_running_speed_has_the_time_at_which_it_ends(made):
    session = read_session(made / f"{FUNCTIONAL}.h5")
    with recording(made, FUNCTIONAL) as file:
        running = file["processing/running"]
        starts, ends = running["running_speed/timestamps"][:], running["running_speed_end_times/timestamps"][:]
        speed = running["running_speed/data"][:]
    series = session.behaviour["running_speed"]
    assert (ends > starts).all()
    assert series.unit == "cm/s"
    np.testing.assert_array_equal(series.times_s, ends)
    np.testing.assert_array_equal(series.values[:, 0], speed.astype(np.float32))


@pytest.mark.slow
def test_the_pupil_is_kept_without_blinks_where_it_was_seen(made):
    session = read_session(made / f"{FUNCTIONAL}.h5")
    with recording(made, FUNCTIONAL) as file:
        area = file["processing/filtered_gaze_mapping/pupil_area/data"][:]
        raw = file["processing/raw_gaze_mapping/pupil_area/data"][:]
    assert 0 < np.isnan(area).sum() < 0.05 * len(area)
    assert not np.isnan(raw).any()
    np.testing.assert_array_equal(session.behaviour["pupil"].values[:, 0], area.astype(np.float32))
    without = read_session(made / f"{NO_PUPIL}.h5")
    assert list(without.behaviour) == ["running_speed"]
    assert json.loads(without.provenance["missing"]) == ["pupil"]


@pytest.mark.slow
def test_running_and_pupil_follow_the_same_arousal(made):
    behaviour = read_session(made / f"{OBSERVATORY}.h5").behaviour
    speed, pupil = behaviour["running_speed"], behaviour["pupil"]
    seen = np.isfinite(pupil.values[:, 0])
    along = np.interp(pupil.times_s[seen], speed.times_s, speed.values[:, 0])
    assert np.corrcoef(along, pupil.values[seen, 0])[0, 1] > 0.4


@pytest.mark.slow
def test_pictures_are_the_templates_in_their_order(made):
    movie = np.load(made / "release" / "natural_movie_templates" / "natural_movie_1.h5")
    exported = read_images(made / "natural_movie_one.h5")
    assert exported.name == "natural_movie_one"
    assert exported.images.dtype == np.uint8
    assert np.array_equal(exported.images, movie)
    assert exported.sha256 == hashlib.sha256(movie.tobytes()).hexdigest()
    scenes = read_images(made / "natural_scenes.h5").images
    assert len(scenes) == 118
    assert len(np.unique(scenes.reshape(118, -1), axis=0)) == 118
    for number in (0, 9, 10, 100, 117):  # names sort otherwise than numbers do
        content = (made / "release" / "natural_scene_templates" / f"natural_scene_{number}.tiff").read_bytes()
        assert scenes[number].tobytes() in content
    gray = read_images(made / "gray.h5").images
    assert (len(gray), np.unique(gray).tolist()) == (1, [GRAY])


@pytest.mark.slow
def test_allensdk_itself_opens_the_release_without_a_network(made, outcomes):
    read = outcomes["allensdk"]
    assert read["sessions"] == {session.session: session.type for session in NAMED}
    units = planted(made, FUNCTIONAL)
    assert read["session_units"] == {str(unit): units[unit].region for unit in units if units[unit].good}
    assert read["stimuli"][:2] == ["spontaneous", "natural_movie_one_more_repeats"]
    assert read["movie"] == [120, 120, 240]
    assert read["scene"] == [120, 240]
    assert read["invalid"] == 1
    assert all(SIMULATED.units[0] <= count <= 1.1 * SIMULATED.units[1] for count in read["unit_count"].values())


@pytest.mark.slow
@pytest.mark.parametrize("index", range(SIMULATED.animals))
def test_units_regions_and_spikes_are_those_of_allensdk(made, index):
    session = read_session(made / f"{index}.h5")
    with np.load(made / f"allensdk_{index}.npz") as theirs:
        for name in ("id", "probe", "region", *QUALITY):
            np.testing.assert_array_equal(session.units[name], theirs[name])
        times_us = np.rint(1e6 * theirs["times_s"]).astype(np.int64)
        unit = np.repeat(np.arange(len(theirs["id"])), theirs["counts"])
    inside = session.domain.contains(times_us)
    order = np.lexsort((unit[inside], times_us[inside]))
    np.testing.assert_array_equal(session.spike_times_us, times_us[inside][order])
    np.testing.assert_array_equal(session.spike_unit, unit[inside][order])


@pytest.mark.slow
def test_ingestion_makes_no_table_of_units_or_electrodes(outcomes):
    """AllenSDK reads all spikes, amplitudes and waveforms for it, several times."""
    assert outcomes["made by ingest"] == []
    assert outcomes["made by allensdk"] == ["Channels", "Probes", "Units", "electrodes", "units"]


@pytest.mark.slow
def test_ingestion_takes_twice_the_memory_of_the_spikes_that_it_keeps(outcomes):
    found = outcomes["memory"]
    own = found["kept"] * (8 + 2) / 8  # a spike's time and unit, as the session file has them
    assert own > 100e6
    assert found["big"] - found["small"] < 2 * own + 40e6
    assert found["small"] < 500e6, "AllenSDK, pandas, and a small session"


def write_units(path: Path, **changes: np.ndarray) -> dict[str, np.ndarray]:
    """Write the parts of an NWB file that hold units: 4 channels on two probes and 8 units, in no order."""
    units = {
        "id": np.array([30, 10, 20, 40, 50, 60, 70, 80]),
        "peak_channel_id": np.array([4, 1, 2, 3, 1, 2, 4, 1]),
        "isi_violations": np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        "amplitude_cutoff": np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        "presence_ratio": np.array([0.95, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        "quality": np.array(["good"] * 8),
        "spike_times": np.arange(36.0),
        "spike_times_index": np.cumsum(np.arange(1, 9)).astype(np.uint8),
        "location": np.array(["VISp", "CA1", "None", "LGd-sh"]),
        "group_name": np.array(["probeB", "probeA", "probeA", "probeA"]),
        "valid_data": np.array([True, True, True, True]),
    } | changes
    sites = ("location", "group_name", "valid_data")
    with h5py.File(path, "w") as file:
        for name, values in units.items():
            group = "general/extracellular_ephys/electrodes" if name in sites else "units"
            file[f"{group}/{name}"] = values.astype(h5py.string_dtype()) if values.dtype.kind == "U" else values
        file["general/extracellular_ephys/electrodes/id"] = [1, 2, 3, 4]
    return units


def units_read(path: Path, *, probes: str = "", **limits: float) -> AllenUnits:
    row = allen_driver.row(0, extras={"probes": probes})
    return read_units(path, row, source=allen_driver.source(path.parent, **limits))


def test_a_file_that_takes_values_from_another_file_is_refused(tmp_path):
    path = tmp_path / "file.nwb"
    write_units(path)
    with h5py.File(path, "a") as file:
        file["stimulus"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(SessionError, match=r"file\.nwb: stimulus is a link to another file \('/etc/passwd'\); refused"):
        units_read(path)
    write_units(path)
    with h5py.File(path, "a") as file:
        del file["general/extracellular_ephys/electrodes/location"]
        where = file["general/extracellular_ephys/electrodes"]
        where.create_dataset("location", (4,), "S8", external=[("/etc/passwd", 0, 32)])
    with pytest.raises(SessionError, match=r"electrodes/location has its values in another file \('/etc/passwd'\)"):
        units_read(path)


def test_units_are_ordered_by_probe_and_id_and_have_their_own_spikes(tmp_path):
    written = write_units(tmp_path / "file.nwb")
    units = units_read(tmp_path / "file.nwb")
    assert units.id.tolist() == [20, 30, 60, 70, 10, 50, 80], "40 is out of the brain"
    assert units.probe.tolist() == ["probeA"] * 4 + ["probeB"] * 3
    assert units.region.tolist() == ["CA1", "LGd", "CA1", "LGd", "VISp", "VISp", "VISp"]
    trains = dict(zip(written["id"], np.split(written["spike_times"], written["spike_times_index"][:-1]), strict=True))
    edges = np.append(0, np.cumsum(units.counts))
    for unit, start, stop in zip(units.id, edges[:-1], edges[1:], strict=True):
        assert units.times_s[start:stop].tolist() == trains[unit].tolist()
    of_probe = np.concatenate([trains[unit] for unit in (10, 50, 80)])
    assert units.of_probe("probeB").tolist() == of_probe.tolist()
    assert units.quality["isi_violations"].tolist() == [0.1, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("isi_violations", 0.51),
        ("isi_violations", np.nan),
        ("amplitude_cutoff", 0.11),
        ("amplitude_cutoff", np.nan),
        ("presence_ratio", 0.94),
        ("presence_ratio", np.nan),
        ("quality", "noise"),
        ("peak_channel_id", 3),
        ("peak_channel_id", 99),
    ],
)
def test_a_unit_that_fails_one_filter_is_dropped(tmp_path, column, value):
    values = write_units(tmp_path / "file.nwb")[column].astype(object)
    values[2] = value
    kind = {"quality": str, "peak_channel_id": int}.get(column, float)
    write_units(tmp_path / "file.nwb", **{column: values.astype(kind)})
    assert units_read(tmp_path / "file.nwb").id.tolist() == [30, 60, 70, 10, 50, 80]


def test_units_of_a_channel_without_valid_data_are_dropped(tmp_path):
    write_units(tmp_path / "file.nwb", valid_data=np.array([True, False, True, True]))
    assert units_read(tmp_path / "file.nwb").id.tolist() == [30, 70, 10, 50, 80]


def test_the_cohort_may_name_probes(tmp_path):
    write_units(tmp_path / "file.nwb")
    assert units_read(tmp_path / "file.nwb", probes="probeB").id.tolist() == [10, 50, 80]
    with pytest.raises(SessionError, match=r"no good unit of probeC, .*probes with good units: probeA, probeB"):
        units_read(tmp_path / "file.nwb", probes="probeA,probeC")
    with pytest.raises(SessionError, match="no unit that passes isi_violations_maximum"):
        units_read(tmp_path / "file.nwb", isi_violations_maximum=0.01)


def test_an_index_that_does_not_fit_its_spikes_is_an_error(tmp_path):
    for stops in (np.arange(1, 8), np.array([1, 3, 2, 4, 5, 6, 7, 8]), np.arange(30, 38)):
        write_units(tmp_path / "file.nwb", spike_times_index=stops)
        with pytest.raises(ValueError, match="spike_times_index does not fit spike_times"):
            units_read(tmp_path / "file.nwb")


def test_a_unit_without_spikes_is_kept(tmp_path):
    stops = np.array([1, 3, 3, 10, 15, 21, 28, 36])
    write_units(tmp_path / "file.nwb", spike_times_index=stops)
    units = units_read(tmp_path / "file.nwb")
    assert dict(zip(units.id.tolist(), units.counts.tolist(), strict=True))[20] == 0


def contents(folder: Path, index: int) -> dict[str, bytes]:
    """All datasets of a session's NWB file but those that say when and by whom it was written."""
    found = {}

    def keep(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and name != "file_create_date" and not name.startswith("specifications"):
            references = h5py.check_dtype(ref=node.dtype) is not None or node.dtype.names
            found[name] = (
                b""
                if references
                else np.asarray(node[()]).tobytes()
                if node.dtype != object
                else str(node[()].tolist() if node.shape else node[()]).encode()
            )

    with h5py.File(allen_driver.recording(folder, index)) as file:
        file.visititems(keep)
    return found


@pytest.mark.slow
def test_a_session_depends_on_the_seed_and_its_own_place_alone(made):
    first, alone = contents(made / "release", 0), contents(made / "alone", 0)
    assert len(first) > 80
    assert first == alone
    assert (made / "truth_alone" / "700000001.h5").read_bytes() == (made / "truth" / "700000001.h5").read_bytes()
    assert contents(made / "release", 2)["units/spike_times"] != first["units/spike_times"]


@pytest.mark.slow
def test_the_manifest_lists_files_with_their_hashes_and_no_path_of_this_machine(made):
    text = (made / "0.json").read_text()
    listed = json.loads(text)
    assert str(made) not in text
    assert (listed["id"], listed["session_type"]) == (700000001, "functional_connectivity")
    assert set(listed["files"]) == {"session"}
    assert read_session(made / "0.h5").provenance["allensdk_version"] == "2.16.2"
    for entry in listed["files"].values():
        content = (made / "release" / entry["path"]).read_bytes()
        assert (entry["size"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("another session", r"SessionError: session 700000002 is not in the release"),
        ("another animal", r"SessionError: .* is of specimen SIM-A01 in the release, the cohort table has SIM-A09"),
        ("no number", r"SessionError: session sim_1: .* only digits"),
        ("no folder", r"SourceUnavailable: sources\.allen\.folder .* lacks sessions\.csv"),
        ("no manifest", "fine"),
        ("old manifest", "fine"),
        ("empty table", r"SourceUnavailable: sessions\.csv: it cannot be read"),
        ("another table", r"SourceUnavailable: sessions\.csv: .*it has no column .*session_type"),
        ("cut short", r"SessionError: session_700000001\.nwb: it cannot be read .* may be cut short"),
        ("put right", "fine"),
        ("changed", r"SourceUnavailable: .*session_700000001\.nwb is not what was downloaded: \d+ bytes, expected"),
        ("gone", r"SourceUnavailable: .*session_700000001\.nwb is gone since its download"),
        ("never there", r"SourceUnavailable: .* lacks session_700000001/session_700000001\.nwb"),
        ("too strict", r"SessionError: .* no unit that passes isi_violations_maximum"),
        ("movie cut short", r"SourceUnavailable: natural_movie_1\.h5: it cannot be read"),
        ("no scene", r"SourceUnavailable: .* lacks natural_scene_templates/natural_scene_7\.tiff"),
        ("no such set", r"SessionError: .*'natural_movie_two'; the release has gray, natural_movie_one"),
        ("no movie three", r"SourceUnavailable: .* lacks natural_movie_templates/natural_movie_3\.h5"),
    ],
)
def test_a_fault_of_the_release_is_named(outcomes, fault, complaint):
    assert re.match(complaint, outcomes["faults"][fault])


@pytest.mark.slow
def test_a_file_of_a_local_release_is_never_deleted(outcomes):
    """AllenSDK's own cache deletes a file that it cannot read, and then goes to a network that may not be there."""
    found = outcomes["faults"]
    for name in ("cut file stays", "changed file stays", "empty table stays", "movie stays"):
        assert found[name] is True, name
    assert found["list of a failed download"] is False
    assert found["files of a failed download"] == []


@pytest.mark.slow
def test_filters_are_those_of_the_configuration(made, outcomes):
    relaxed = [unit for unit in planted(made, FUNCTIONAL).values() if unit.region != "None"]
    with recording(made, FUNCTIONAL) as file:
        noise = np.count_nonzero(file["units/quality"].asstr()[:] != "good")
    assert outcomes["faults"]["lax"] == len(relaxed) - noise


def test_a_silence_of_one_probe_is_not_valid_time(outcomes):
    found = outcomes["faults"]["silent probe"]
    (around,) = [one for one in found["before"] if one[0] < 54e6 and one[1] > 62e6]
    # whole seconds around the last spike before and the first after it
    (before,) = [one for one in found["after"] if one[0] == around[0]]
    (after,) = [one for one in found["after"] if one[1] == around[1]]
    assert 54e6 <= before[1] <= 55e6 and 60e6 <= after[0] <= 62e6
    assert len(found["after"]) == len(found["before"]) + 1
    (message,) = found["findings"]
    assert message.startswith(f"{found['probe']} has no spike at ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        ("no network", r"SourceUnavailable: .*/sessions\.csv gave no answer for .*check the network"),
        ("no table", r"SourceUnavailable: .*/sessions\.csv is not offered \(HTTP 404\).*ALLEN_TABLE="),
        ("a page instead of the table", r"SourceUnavailable: sessions\.csv is damaged .*no column .*ALLEN_TABLE="),
        ("table", "fine"),
        ("table of a null section", r"SourceUnavailable: .* needs sources\.allen, which is null.*ALLEN_TABLE="),
        ("slow, stalled, cut", "fine"),
        ("again", "fine"),
        ("cut file there", "fine"),
        ("no session", r"SessionError: .*/session_700000002\.nwb is not offered \(HTTP 404\); check .*base_url"),
        ("damaged each time", r"PassingFault: session_700000002\.nwb is damaged in each of 3 downloads: .*truncated"),
        ("another session's file", r"PassingFault: .*it is of session 700000003"),
        ("damaged once", "fine"),
        ("refused", r"SourceUnavailable: .*/session_700000003\.nwb refused the request \(HTTP 403\)"),
        ("outage", r"SourceUnavailable: .*/session_700000003\.nwb gave no answer for .* \(HTTP 500\)"),
        ("movie", "fine"),
        ("no scene", r"SourceUnavailable: .*/natural_scene_7\.tiff is not offered \(HTTP 404\)"),
    ],
)
def test_an_answer_of_the_bucket_means_one_thing(outcomes, case, outcome):
    assert re.fullmatch(f"{outcome}.*", outcomes["remote"][case])
    assert "Traceback" not in outcomes["remote"][case]


@pytest.mark.slow
def test_a_slow_download_that_stalls_and_breaks_off_goes_on_where_it_stopped(outcomes):
    """The old limit was twenty minutes for a file; here a timeout is half a second, and the download takes longer."""
    found = outcomes["remote"]
    assert found["seconds"] > 2
    assert found["asked from"] == sorted(found["asked from"])
    assert found["asked from"][0] == 0 < found["asked from"][1]
    assert found["sent"] < 1.2, "of its size"
    assert found["same bytes"] is True
    assert found["partial files"] == []
    assert found["spikes"] > 1000
    assert found["release"][0] == found["release"][1]


@pytest.mark.slow
def test_a_session_needs_the_table_of_sessions_and_its_own_file_and_both_once(outcomes):
    found = outcomes["remote"]
    assert found["files after it"] == [".sessions.csv.lock"]
    assert found["names"] == [], "the table was there, and there is no table of units, probes or channels"
    assert found["requests of it"] == 0
    assert found["table again"] == ["fine", 5], "not offered, a page three times, and the table once"


@pytest.mark.slow
def test_a_cut_file_that_is_there_is_kept_aside_and_downloaded_again(outcomes):
    assert outcomes["remote"]["cut file there"] == "fine"
    assert outcomes["remote"]["set aside"] is True


@pytest.mark.slow
def test_the_table_of_the_cohort_is_that_of_the_release(made):
    rows = read_release(made / "table.csv", ALLEN_COLUMNS)
    assert [(row["id"], row["specimen_id"], row["session_type"]) for row in rows] == [
        (session.session, session.subject, session.type) for session in NAMED
    ]


def repeats(made: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Log of the expected count around the movie's frames, [repeat, time, unit], and the units' regions."""
    session = read_session(made / f"{index}.h5")
    with h5py.File(made / "truth" / f"{session.session_id}.h5") as file:
        log_count = np.log(file["expected_counts"][:] + 1e-9)
    stimuli = session.stimuli
    starts_s = stimuli["start"][(stimuli["image_set"] == "natural_movie_one") & (stimuli["frame"] == 0)]
    grid_s = np.arange(0.3, SIMULATED.movie_s, 0.05)
    edges_s = (np.arange(len(log_count)) + 0.5) * 0.02
    curves = [[np.interp(start_s + grid_s, edges_s, unit) for unit in log_count.T] for start_s in starts_s]
    return np.array(curves).transpose(0, 2, 1), session.units["region"]


@pytest.mark.slow
def test_repeats_of_the_movie_drive_visual_units_alike_and_others_not_at_all(made):
    visual, other = [], []
    for index in (FUNCTIONAL, NO_PUPIL):
        curves, regions = repeats(made, index)
        curves = curves - curves.mean(axis=1, keepdims=True)
        halves = curves[0::2].mean(axis=0), curves[1::2].mean(axis=0)
        agree = (halves[0] * halves[1]).sum(axis=0) / np.sqrt(
            (halves[0] ** 2).sum(axis=0) * (halves[1] ** 2).sum(axis=0)
        )
        image = np.array([REGIONS[name].image for name in regions])
        visual += agree[image >= 0.8].tolist()
        other += agree[image == 0].tolist()
    assert min(len(visual), len(other)) > 10
    assert np.mean(visual) > 0.6
    assert abs(np.mean(other)) < 0.25


@pytest.mark.parametrize(
    ("name", "frame", "blank", "image"),
    [
        ("natural_movie_one", 17.0, True, ("natural_movie_one", 17)),
        ("natural_movie_one_more_repeats", 899.0, True, ("natural_movie_one", 899)),
        ("natural_movie_three", 3599.0, True, ("natural_movie_three", 3599)),
        ("natural_movie_one_shuffled", 3.0, True, ("", -1)),
        ("natural_movie_one", np.nan, True, ("", -1)),
        ("natural_scenes", 0.0, True, ("natural_scenes", 0)),
        ("natural_scenes", -1.0, True, ("gray", 0)),
        ("natural_scenes", np.nan, True, ("", -1)),
        ("spontaneous", np.nan, True, ("gray", 0)),
        ("drifting_gratings", np.nan, False, ("", -1)),
        ("drifting_gratings", np.nan, True, ("gray", 0)),
        ("drifting_gratings_75_repeats", np.nan, True, ("gray", 0)),
        ("static_gratings", np.nan, True, ("gray", 0)),
        ("gabors", np.nan, True, ("", -1)),
        ("flashes", np.nan, True, ("", -1)),
        ("dot_motion", np.nan, True, ("", -1)),
        ("invalid_presentation", np.nan, True, ("", -1)),
    ],
)
def test_what_image_a_stimulus_of_the_release_is(name, frame, blank, image):
    assert image_shown(name, frame, blank) == image


def test_features_are_nothing_for_gray_and_strongest_for_their_own_orientation():
    assert np.abs(features(gray_screen()[None])).max() < 1e-12
    found = features(np.stack([grating(orientation) for orientation in ORIENTATIONS_DEG]))
    energy = found.reshape(len(ORIENTATIONS_DEG), PLACES[0] * PLACES[1], -1)[:, :, 4:8]  # of the gratings' wavelength
    assert (energy.argmax(axis=2) == np.arange(len(ORIENTATIONS_DEG))[:, None]).all()


def test_features_know_their_place():
    image = np.full((120, 240), GRAY, np.uint8)
    image[60:, 180:] = grating(0.0)[60:, 180:]
    contrast = features(image[None]).reshape(PLACES[0] * PLACES[1], -1)[:, -2]
    assert contrast.argmax() == PLACES[0] * PLACES[1] - 1
    assert contrast[0] == pytest.approx(0, abs=1e-6)


def test_a_view_shows_the_part_of_the_picture_that_it_names():
    y, x = np.mgrid[:300, :600]
    corner = look((x / 600).astype(np.float32) * (y < 150), View(row=0.0, column=0.0, width=0.0))
    assert (np.diff(corner[10].astype(int)) >= 0).all()
    assert corner[10, -1] > corner[10, 0]
    assert abs(float(corner.mean()) - GRAY) < 10
    whole = look((y < 150).astype(np.float32), View(row=0.5, column=0.5, width=1.0))
    assert (whole[5] > 150).all()
    assert (whole[-5] < 100).all()


def made_templates() -> Templates:
    values = np.random.default_rng(0).random((1 + 30 + 118 + 4, PLACES[0] * PLACES[1] * 10))
    values[0] = 0
    return Templates(movie=np.zeros((30, 1, 1), np.uint8), scenes=np.zeros((118, 1, 1), np.uint8), features=values)


def test_units_answer_an_image_after_their_latency_and_not_before():
    templates = made_templates()
    shown = Shown(
        start_s=np.array([1.0]),
        stop_s=np.array([1.5]),
        name=np.array(["natural_scenes"]),
        block=np.zeros(1),
        frame=np.zeros(1),
        orientation=np.zeros(1),
        picture=np.array([templates.first_scene]),
    )
    drive = image_drive(np.zeros(40, int), shown, templates, steps=250, rng=np.random.default_rng(1))
    before, after = round((1.0 + LATENCY_S[0]) * 100), round((1.0 + LATENCY_S[1]) * 100)
    settled = drive[90]
    np.testing.assert_allclose(drive[80:before], np.broadcast_to(settled, (before - 80, 40)), atol=1e-9)
    moved = np.abs(drive[148] - settled)
    assert (np.abs(drive[after] - settled) > 0.3 * moved).all()
    np.testing.assert_allclose(drive[-1], settled, atol=1e-6)
    assert np.median(moved) > 0.2


def test_gaps_between_presentations_are_gray():
    shown = show(NAMED[OBSERVATORY], SIMULATED, made_templates(), np.random.default_rng(0))
    assert (np.diff(shown.start_s) > 0).all()
    scenes = np.flatnonzero((shown.name == "natural_scenes") & (shown.frame >= 0))[:3]
    assert shown.at(shown.start_s[scenes] + 0.1).tolist() == shown.picture[scenes].tolist()
    assert shown.at(shown.stop_s[scenes] + 0.1).tolist() == [0, 0, 0]
    assert shown.at(np.array([0.0, shown.stop_s[-1] + 0.01])).tolist() == [0, 0]


def test_allensdk_is_nowhere_but_in_its_own_environment(tmp_path):
    with pytest.raises(ModuleNotFoundError, match="allensdk"):
        importlib.import_module("allensdk")
    export_images("gray", allen=allen_driver.source(Path("x"), mode="remote"), output=tmp_path / "gray.h5")


def test_the_demo_cohort_names_what_the_simulator_makes():
    config = read_config(ROOT / "config" / "demo.yaml")
    rows = [row for row in read_cohort(ROOT / config.cohort.table) if row.source == "allen"]
    made = simulated_allen_sessions(config.sources.simulated_allen)
    assert [(row.session, row.subject, row.date) for row in rows] == [
        (session.session, session.subject, session.date) for session in made
    ]
    types = {session.session: session.type for session in made}
    for part in (heldout_sessions(rows, "main"), training_sessions(rows, "main")):
        assert {types[row.session] for row in part} == {"functional_connectivity", "brain_observatory_1.1"}
