"""Kinds of NWB files that programs and people write: right, a finding, or a refusal in words.

Every file is the same sound recording, bent in one way.
"""

import dataclasses
import datetime
import fcntl
import json
import resource

import h5py
import numpy as np
import pynwb
import pytest
from factories.bent_sessions import NO_EXCLUSIONS

from neurohorizon.cohort import Row
from neurohorizon.config import NwbSource, Splits, Timeline
from neurohorizon.ingest.nwb import ingest_nwb, preprocess_nwb
from neurohorizon.ingest.validation import validate_session
from neurohorizon.session import SessionError, SpikeReader, read_session, write_session
from neurohorizon.timeline import to_us

ROW = Row("made", "nwb", "Ada", "", "", "heldout", "ada", "")
SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=2.0)
TIMELINE = Timeline(bin_ms=20, context_bins=25, horizon_bins=25, evaluation_stride_bins=25)
LENGTH_S, UNITS = 240.0, 6
POSITION = "processing/behavior/Position/position"
REGIONS = ["CA1", "CA1", "CA3", "DG", "DG", "V1"]


def source(**changes):
    fields = {
        "folder": ".",
        "valid_time": "obs_intervals",
        "region": "location",
        "behaviour": {},
        "trials": False,
        "unit_filters": {},
    }
    return NwbSource.model_validate_json(json.dumps({**fields, **changes}))


def trains(scale=1.0, offset_s=0.0):
    rng = np.random.default_rng(5)
    counts = (rng.poisson(8 * LENGTH_S * (0.5 + 0.25 * unit)) for unit in range(UNITS))
    refractory_s = 0.002
    drawn = (np.sort(rng.uniform(0.01, LENGTH_S - n * refractory_s, n)) + np.arange(n) * refractory_s for n in counts)
    return [np.round(times, 6) * scale + offset_s for times in drawn]


def build(spikes=None, observed=((0.0, LENGTH_S),), trials=((0.0, 2.0),) * 0, **more):
    nwb = pynwb.NWBFile(
        session_description=more.pop("description", "made"),
        identifier="made",
        session_start_time=datetime.datetime(2024, 3, 5, tzinfo=datetime.UTC),
    )
    nwb.subject = pynwb.file.Subject(subject_id="Ada", species="Mus musculus")
    device = nwb.create_device("probe")
    groups = [nwb.create_electrode_group(f"probe{i}", "shank", ("hippocampus", "V2")[i], device) for i in range(2)]
    for row, name in enumerate(more.pop("regions", REGIONS)):
        nwb.add_electrode(location=name, group=groups[row // 3])
    nwb.add_unit_column("quality", "label")
    nwb.add_unit_column("snr", "ratio")
    for unit, times in enumerate(trains() if spikes is None else spikes):
        seen = observed[unit] if isinstance(observed, dict) else observed
        nwb.add_unit(
            id=unit,
            spike_times=times,
            obs_intervals=np.array(seen),
            electrodes=[unit],
            electrode_group=groups[unit // 3],
            quality="good" if unit % 2 == 0 else "noise",
            snr=float(unit),
        )
    for start_s, stop_s in trials if len(trials) else [(4.0 * trial, 4.0 * trial + 2) for trial in range(60)]:
        nwb.add_trial(start_time=start_s, stop_time=stop_s)
    nwb.add_epoch(0.0, 100.0, ["run"])
    nwb.add_epoch(120.0, 240.0, ["sleep", "home"])
    position = pynwb.behavior.Position()
    times_s = np.arange(int(LENGTH_S * 30)) / 30
    position.create_spatial_series(
        name="position", data=np.stack([times_s, -times_s], axis=1), timestamps=times_s, reference_frame="corner"
    )
    nwb.create_processing_module("behavior", "tracking").add(position)
    speed = pynwb.TimeSeries(name="speed", data=np.arange(12000.0), rate=50.0, starting_time=0.5, unit="cm/s")
    nwb.processing["behavior"].add(speed)
    return nwb


@pytest.fixture
def write(tmp_path):
    """Write a file, then bend it."""

    def write(bend=None, **fields):
        path = tmp_path / "made.nwb"
        with pynwb.NWBHDF5IO(path, "w") as io:
            io.write(build(**fields))
        if bend is not None:
            with h5py.File(path, "a") as file:
                bend(file)
        return path

    return write


def read(path, **changes):
    return ingest_nwb(path, ROW, source=source(**changes), splits=SPLITS)


def findings(session):
    found = validate_session(session, timeline=TIMELINE, splits=SPLITS).findings
    return {finding.code: finding for finding in found}


def replaced(file, place, values, **attributes):
    """Put other values, of any shape and kind, in the place of a dataset; keep its attributes."""
    kept = dict(file[place].attrs)
    links = [name for name in (f"{place}_index",) if name in file]
    del file[place]
    made = file.create_dataset(place, data=values)
    for key, value in {**kept, **attributes}.items():
        made.attrs[key] = value
    for name in links:
        file[name].attrs["target"] = made.ref


def assert_sound(session):
    assert session.units["region"].tolist() == REGIONS
    for unit, times in enumerate(trains()):
        np.testing.assert_array_equal(session.spike_times_us[session.spike_unit == unit], to_us(times))


def test_the_sound_file_is_read_to_the_microsecond_and_has_no_finding_on_its_clock(write):
    session = read(write(), behaviour={"position": POSITION}, trials=True)
    assert_sound(session)
    assert session.units["probe"].tolist() == ["probe0"] * 3 + ["probe1"] * 3
    assert set(findings(session)) == set()


# what is sound and was not read, or read differently


def column(file):
    replaced(file, "units/spike_times", file["units/spike_times"][:][:, None])
    for name in ("data", "timestamps"):
        values = file[f"{POSITION}/{name}"][:]
        replaced(file, f"{POSITION}/{name}", values[:, None] if values.ndim == 1 else values)


def without_ids(file):
    def strip(_, item):
        item.attrs.pop("object_id", None)

    file.visititems(strip)


def without_group_column(file):
    del file["general/extracellular_ephys/electrodes/group"]


def unknown_extension(file):
    for place in (POSITION, "general/devices/probe"):
        file[place].attrs["namespace"] = "ndx-mylab"
        file[place].attrs["neurodata_type"] = "MyType"


def broken_series_of_others(file):
    del file["processing/behavior/speed/starting_time"]


@pytest.mark.parametrize(
    "bend",
    [column, without_ids, without_group_column, unknown_extension, broken_series_of_others],
    ids=lambda f: f.__name__,
)
def test_parts_that_nothing_needs_stop_nothing(write, bend):
    session = read(write(bend), behaviour={"position": POSITION}, trials=True)
    assert_sound(session)
    np.testing.assert_allclose(session.behaviour["position"].values[:, 1], -np.arange(7200) / 30, rtol=1e-6)


def test_one_unit_without_an_index_has_all_spikes(write):
    def bend(file):
        del file["units/spike_times_index"]

    session = read(write(bend, spikes=trains()[:1]))
    np.testing.assert_array_equal(session.spike_times_us, to_us(trains()[0]))
    with pytest.raises(SessionError, match="values for 6 rows and no spike_times_index"):
        read(write(bend))


def test_a_pointer_to_row_minus_one_is_no_region_and_one_beyond_the_table_is_refused(write):
    def minus_one(file):
        file["units/electrodes"][0] = -1

    def ids(file):
        file["general/extracellular_ephys/electrodes/id"][:] = np.arange(100, 106)
        file["units/electrodes"][:] = np.arange(100, 106)

    assert read(write(minus_one)).units["region"].tolist() == ["", *REGIONS[1:]]
    with pytest.raises(SessionError, match=r"units/electrodes names row 105 of 6 electrodes: they are ids, not rows"):
        read(write(ids))


def test_regions_come_from_the_electrode_groups_only_where_no_electrode_has_one(write):
    session = read(write(regions=["unknown"] * 6))
    assert session.units["region"].tolist() == ["hippocampus"] * 3 + ["V2"] * 3
    assert findings(session)["regions_of_groups"].count == 6
    assert read(write(regions=["unknown", *REGIONS[1:]])).units["region"].tolist() == ["", *REGIONS[1:]]


def test_a_subject_is_the_same_in_both_forms_of_a_letter_and_with_blanks(write):
    def bend(file):
        replaced(file, "general/subject/subject_id", " Zoe\u0301 ")

    row = dataclasses.replace(ROW, subject="Zo\u00e9")
    assert ingest_nwb(write(bend), row, source=source(), splits=SPLITS).subject == "Zo\u00e9"
    with pytest.raises(SessionError, match="is of subject"):
        read(write(bend))


def test_enumerated_labels_are_read_as_text(write):
    def bend(file):
        elements = file.create_dataset("units/area_elements", data=[b"CA1", b"V1"])
        codes = file.create_dataset("units/area", data=np.array([0, 1, 0, 1, 0, 1], np.uint8))
        codes.attrs["elements"] = elements.ref
        file["units"].attrs["colnames"] = [*file["units"].attrs["colnames"], "area"]

    assert read(write(bend), region="area").units["region"].tolist() == ["CA1", "V1"] * 3


def test_filters_take_lists_and_ranges(write):
    path = write()
    assert read(path, unit_filters={"id": [0, 4]}).units["id"].tolist() == ["0", "4"]
    assert read(path, unit_filters={"snr": {"minimum": 2, "maximum": 4}}).units["id"].tolist() == ["2", "3", "4"]
    both = read(path, unit_filters={"snr": {"minimum": 1}, "quality": ["good", "mua"]})
    assert both.units["id"].tolist() == ["2", "4"]
    with pytest.raises(SessionError, match="needs numbers"):
        read(path, unit_filters={"quality": {"minimum": 1}})


def test_valid_time_comes_from_any_table_and_from_tags(write):
    def bend(file):
        file.copy(file["intervals/epochs"], file["intervals"], "encoding")

    path = write(bend)
    assert read(path, valid_time="encoding").domain.duration_us == 220_000_000
    tagged = read(path, valid_time={"table": "epochs", "tags": ["home", "rest"]})
    assert list(tagged.domain) == [(120_000_000, 240_000_000)]
    assert tagged.provenance["valid_time"] == "epochs tagged home, rest"
    with pytest.raises(SessionError, match=r"no row with the tags \['maze'\]; it has home, run, sleep"):
        read(path, valid_time={"table": "epochs", "tags": ["maze"]})
    with pytest.raises(SessionError, match=r"valid_time is lunch, which it does not have; .* 2 encoding"):
        read(path, valid_time="lunch")


def test_pauses_of_a_clocks_rounding_are_closed(write):
    starts = np.arange(120) * 2.0
    session = read(write(trials=list(zip(starts, starts + 2 - 1 / 30000, strict=True))), valid_time="trials")
    assert len(session.domain) == 1
    assert findings(session)["joined_pauses"].count == 119


# what was silently wrong


def counts_for_stops(file):
    stops = file["units/spike_times_index"]
    stops[:] = np.diff(stops[:].astype(int), prepend=0)


def falling_index(file):
    stops = file["units/spike_times_index"][:]
    stops[2] = stops[1] - 5
    file["units/spike_times_index"][:] = stops


def transposed(file):
    replaced(file, "processing/behavior/speed/data", np.zeros((2, 12000)))


def nan_stops(file):
    file["intervals/trials/stop_time"][:] = np.nan


def text_series(file):
    replaced(file, "processing/behavior/speed/data", np.array([b"start"] * 12000))


def rate_zero(file):
    file["processing/behavior/speed/starting_time"].attrs["rate"] = 0.0


def neither_times_nor_rate(file):
    del file["processing/behavior/speed/starting_time"]


def one_sample_more(file):
    replaced(file, f"{POSITION}/timestamps", file[f"{POSITION}/timestamps"][:-1])


def behaviour_in_nanoseconds(file):
    file[f"{POSITION}/timestamps"][:] = file[f"{POSITION}/timestamps"][:] * 1e9 + 1.7e18


def trials_in_nanoseconds(file):
    for name in ("start_time", "stop_time"):
        file[f"intervals/trials/{name}"][:] = file[f"intervals/trials/{name}"][:] * 1e9 + 1.7e18


def endless_interval(file):
    file["units/obs_intervals"][:] = [[0.0, np.inf]] * 6


def flat_intervals(file):
    replaced(file, "units/obs_intervals", file["units/obs_intervals"][:].T)


def other_unit_declared(file):
    file["units/spike_times"].attrs["unit"] = "milliseconds"


def units_elsewhere(file):
    file.move("units", "processing/behavior/units")


def no_rows(file):
    for name in ("spike_times", "id", "quality", "snr", "spike_times_index", "electrodes", "electrodes_index"):
        replaced(file, f"units/{name}", file[f"units/{name}"][:0])
    for name in ("electrode_group", "obs_intervals", "obs_intervals_index"):
        del file[f"units/{name}"]


def old_version(file):
    file.attrs["nwb_version"] = "NWB-1.0.6"


def beta_version(file):
    file.attrs["nwb_version"] = "2.0b"


@pytest.mark.parametrize(
    ("bend", "words", "changes"),
    [
        (counts_for_stops, r"spike_times_index ends at \d+, but spike_times has \d+ values .*counts, not stops", {}),
        (falling_index, "spike_times_index does not rise", {}),
        (
            transposed,
            r"2 samples of 12000 channels .* \[channel, sample\]",
            {"behaviour": {"s": "processing/behavior/speed"}},
        ),
        (nan_stops, "60 of 60 trials have no stop_time", {"valid_time": "trials"}),
        (text_series, "speed/data holds text, expected numbers", {"behaviour": {"s": "processing/behavior/speed"}}),
        (rate_zero, "rate of 0 Hz .* 12000 samples", {"behaviour": {"s": "processing/behavior/speed"}}),
        (neither_times_nor_rate, "neither timestamps nor", {"behaviour": {"s": "processing/behavior/speed"}}),
        (one_sample_more, "7200 samples and 7199 times", {"behaviour": {"p": POSITION}}),
        (behaviour_in_nanoseconds, "Position/position has times from 1.7e", {"behaviour": {"p": POSITION}}),
        (trials_in_nanoseconds, r"intervals/trials has times from 1.7e\+18", {"trials": True}),
        (trials_in_nanoseconds, "intervals/trials has intervals of .* in another unit", {"valid_time": "trials"}),
        (endless_interval, "obs_intervals are not finite for unit 0", {}),
        (flat_intervals, "obs_intervals_index ends at 6, but obs_intervals has 2", {}),
        (other_unit_declared, "declares the unit 'milliseconds'", {}),
        (units_elsewhere, "units lie in processing/behavior/units", {}),
        (no_rows, "units table is empty", {}),
        (old_version, "is NWB 1.0.6; expected NWB 2", {}),
        (beta_version, "is NWB 2.0b; expected NWB 2", {}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_meant_is_refused_in_words(write, bend, words, changes):
    with pytest.raises(SessionError, match=words) as caught:
        read(write(bend), **changes)
    assert "made.nwb" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_spikes_in_another_unit_than_valid_time_are_fatal(write):
    milliseconds = findings(read(write(spikes=trains(scale=1e3))))
    assert milliseconds["other_unit"].severity == "fatal"
    assert "spikes span 1000 times the valid time" in milliseconds["other_unit"].message
    samples = findings(read(write(spikes=[np.rint(times * 3e4) for times in trains()]), valid_time="epochs"))
    assert samples["whole_numbers"].severity == samples["none_inside"].severity == "fatal"
    assert "0 of" in samples["none_inside"].message
    minutes = findings(read(write(spikes=trains(scale=1 / 60))))
    assert minutes["silence"].severity == "fatal"
    shifted = findings(read(write(spikes=trains(offset_s=1e5))))
    assert shifted["none_inside"].severity == "fatal"


@pytest.mark.slow
def test_everything_in_milliseconds_is_fatal(write):
    session = read(write(spikes=trains(scale=1e3), observed=((0.0, LENGTH_S * 1e3),)))
    assert findings(session)["long_valid_time"].severity == "fatal"


def test_a_small_part_of_a_long_recording_is_a_warning(write):
    rng = np.random.default_rng(0)
    day = [np.sort(rng.uniform(0, 30000, 30000)) for _ in range(UNITS)]
    found = findings(read(write(spikes=day)))
    assert found["small_valid_time"].severity == "warning"
    assert not [one for one in found.values() if one.severity == "fatal"]


def test_numbers_of_frames_for_times_of_behaviour_are_found(write):
    def frames(file):
        file[f"{POSITION}/timestamps"][:] = np.arange(7200.0)

    found = findings(read(write(frames), behaviour={"position": POSITION}))["behaviour_clock"]
    assert found.message.startswith("240 of 7200 samples of position lie in the valid time")


def test_images_are_no_behaviour_and_are_not_read(write):
    def film(file):
        group = file["processing/behavior/speed"]
        del group["data"]
        group.create_dataset("data", (12000, 2000, 2000), "u1", chunks=(1, 2000, 2000))

    with pytest.raises(SessionError, match=r"has shape \(12000, 2000, 2000\), expected \[sample, channel\]"):
        read(write(film), behaviour={"speed": "processing/behavior/speed"})


def test_times_that_start_again_are_fatal_in_most_units_and_named_in_one(write):
    joined = [np.concatenate([times, times + 0.003]) for times in trains()]
    assert findings(read(write(spikes=joined)))["restarts"].severity == "fatal"
    one = [*trains()[:3], np.concatenate([trains()[3], trains()[4] + 1e-4]), *trains()[4:]]
    assert findings(read(write(spikes=one)))["restarts"].message.startswith("the times of 1 of 6 units start again")
    assert findings(read(write(spikes=one)))["restarts"].severity == "warning"

    def wrapped(file):
        stops = file["units/spike_times_index"][:]
        stops[0] = 0
        file["units/spike_times_index"][:] = stops

    found = findings(read(write(wrapped)))["restarts"]
    assert found.severity == "fatal"
    assert "unit 0, the one before, has no spikes" in found.message
    rng = np.random.default_rng(1)
    unsorted = findings(read(write(spikes=[rng.permutation(times) for times in trains()])))
    assert "restarts" not in unsorted
    assert unsorted["unsorted"].severity == "warning"


def test_units_with_the_same_spikes_are_named(write):
    same = trains()
    same[4] = np.union1d(same[1], [0.5, 1.5])
    found = findings(read(write(spikes=same)))["same_spikes"]
    assert found.count == 1
    assert "1 and 4 (100%)" in found.message


def without_valid_time(file):
    for name in ("obs_intervals", "obs_intervals_index"):
        del file["units"][name]
    file["units"].attrs["colnames"] = [name for name in file["units"].attrs["colnames"] if name != "obs_intervals"]


def test_a_bare_file_is_valid_from_its_first_to_its_last_spike(write, capsys):
    path = write(without_valid_time)
    with pytest.raises(SessionError, match=r"which its units lack; .*, or whole \(from the first to the last spike\)"):
        read(path)
    with pytest.raises(SessionError, match=r"valid_time is lunch, .*, or whole"):
        read(path, valid_time="lunch")
    capsys.readouterr()
    session = read(path, valid_time="whole")
    times_us = to_us(np.concatenate(trains()))
    assert (session.domain.start_us, session.domain.stop_us) == ([times_us.min()], [times_us.max() + 1])
    np.testing.assert_array_equal(session.spike_times_us, np.sort(times_us))
    found = findings(session)["whole_valid_time"]
    assert found.severity == "warning"
    assert "from the first to the last spike" in found.message
    assert found.message in capsys.readouterr().err
    assert session.provenance["valid_time"] == "whole"
    with pytest.raises(SessionError, match=r"convert them to seconds|another unit"):
        read(write(without_valid_time, spikes=trains(scale=1e6)), valid_time="whole")


def test_a_file_without_a_spike_has_no_whole_valid_time(write):
    with pytest.raises(SessionError, match="whole leave no valid time for its 6 units"):
        read(write(without_valid_time, spikes=[np.full(3, np.nan)] * UNITS), valid_time="whole")


def test_single_precision_is_named(write):
    late = [times.astype(np.float32).astype(float) for times in trains(offset_s=3 * 3600)]
    observed = ((3 * 3600.0, 3 * 3600 + LENGTH_S),)
    assert "grid of up to 977 us" in findings(read(write(spikes=late, observed=observed)))["coarse_times"].message


def test_single_precision_is_distinguished_from_a_clock_of_coarse_steps(write):
    start_s = 1000.0
    observed = ((start_s, start_s + LENGTH_S),)
    of_float32 = [times.astype(np.float32).astype(float) for times in trains(offset_s=start_s)]
    of_clock = [np.rint(times * 2**14) / 2**14 for times in trains(offset_s=start_s)]
    early = [0.25, 10.1]
    for trains_s, named in ((of_float32, True), (of_clock, False)):
        grid = np.float32 if named else (lambda times_s: np.rint(np.array(times_s) * 2**14) / 2**14)
        with_early = [np.concatenate([np.array(grid(early), float), times]) for times in trains_s]
        found = findings(read(write(spikes=with_early, observed=((0.0, 20.0), *observed))))
        assert ("coarse_times" in found) == named


def test_the_unit_that_costs_the_others_time_is_named(write):
    seen = dict.fromkeys(range(UNITS), ((0.0, LENGTH_S),)) | {3: ((0.0, 60.0),)}
    session = read(write(observed=seen))
    assert session.domain.duration_us == 60_000_000
    message = findings(session)["short_units"].message
    assert "60 s of the 240 s" in message
    assert "3 (60 s)" in message
    dropped = findings(session)["outside_domain"]
    assert dropped.count == sum(int((times >= 60).sum()) for times in trains())
    assert "probes probe0" in dropped.message
    kept = read(write(observed=seen), unit_filters={"id": [0, 1, 2, 4, 5]})
    assert kept.domain.duration_us == 240_000_000


def test_trials_after_the_probe_stopped_are_silence(write):
    session = read(write(spikes=[times[times < 210] for times in trains()]), valid_time="trials", trials=True)
    message = findings(session)["silence"].message
    assert "to 238.000 s (8 pieces of valid time)" in message


def test_a_probe_that_ends_early_is_named(write):
    short = [times if unit < 3 else times[times < 100] for unit, times in enumerate(trains())]
    message = findings(read(write(spikes=short)))["partial_probes"].message
    assert message.startswith("probe probe1 fires only from")
    assert "58%" in message


def test_trials_without_a_stop_are_counted_in_valid_time_and_in_the_table(write):
    def bend(file):
        stops = file["intervals/trials/stop_time"]
        stops[:] = np.where(np.arange(60) % 3 == 0, np.nan, stops[:])

    session = read(write(bend), valid_time="trials", trials=True)
    assert len(session.domain) == len(session.trials["start"]) == 40
    assert session.repairs["intervals_without_times"] == session.repairs["trials_without_times"] == 20
    assert findings(session)["intervals_without_times"].count == 20


def test_columns_that_are_overwritten_are_named(write):
    def bend(file):
        for table, name in (("units", "region"), ("intervals/trials", "start")):
            rows = len(file[f"{table}/id"])
            file.create_dataset(f"{table}/{name}", data=np.arange(rows, dtype=float))
            file[table].attrs["colnames"] = [*file[table].attrs["colnames"], name]

    found = findings(read(write(bend), trials=True))
    assert "region" in found["unit_columns_replaced"].message
    assert "start" in found["trial_columns_replaced"].message


# several files of one session


def split_session(write, tmp_path):
    """Write a file of each probe and one of behaviour and trials."""

    def keep(rows):
        def bend(file):
            del file["intervals"], file["processing/behavior"]
            file["units/obs_intervals"][:] = [[0.0, 240.0 if 0 in rows else 200.0]] * len(rows)

        return bend

    places = []
    for rows in ((0, 1, 2), (3, 4, 5)):
        path = write(keep(rows), spikes=[trains()[row] for row in rows], regions=[REGIONS[row] for row in rows])
        places.append(path.rename(tmp_path / f"probe{rows[0] // 3}.nwb"))

    def no_units(file):
        del file["units"]

    places.append(write(no_units).rename(tmp_path / "behavior.nwb"))
    return places


def test_files_of_one_session_are_read_as_one(write, tmp_path):
    places = split_session(write, tmp_path)
    session = read(places, behaviour={"position": POSITION}, trials=True)
    assert session.units["id"].tolist() == [f"probe{i // 3}:{i % 3}" for i in range(6)]
    assert session.units["region"].tolist() == REGIONS
    assert session.domain.duration_us == 200_000_000
    for unit, times in enumerate(trains()):
        kept = to_us(times[times < 200])
        np.testing.assert_array_equal(session.spike_times_us[session.spike_unit == unit], kept)
    assert len(session.behaviour["position"].times_s) == 7200
    assert len(session.trials["start"]) == 60
    assert set(json.loads(session.provenance["files"])) == {"probe0.nwb", "probe1.nwb", "behavior.nwb"}


def test_files_with_other_clocks_are_refused(write, tmp_path):
    places = split_session(write, tmp_path)
    with h5py.File(places[1], "a") as file:
        file["timestamps_reference_time"][()] = "2024-03-06T00:00:00+00:00"
    with pytest.raises(SessionError, match="files of one session have 2 clocks"):
        read(places)


# one bad number, and hostile files


def test_one_bad_number_takes_no_memory(write, tmp_path):
    def late_trial(file):
        file["intervals/trials/stop_time"][59] = 1e8
        file[f"{POSITION}/timestamps"][7199] = 1e7

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    session = read(write(late_trial), valid_time="trials", trials=True, behaviour={"position": POSITION})
    write_session(tmp_path / "made.h5", session)
    found = findings(session)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert found["intervals_too_long"].count == found["trials_far"].count == found["samples_dropped"].count == 1
    assert len(session.domain) == len(session.trials["start"]) == 59


def test_a_month_between_two_pieces_takes_no_memory(write, tmp_path):
    zero_s, month_s = 1_709_640_000.0, 30 * 86400.0
    spikes = [np.where(times < 120, times, times - 120 + month_s) + zero_s for times in trains()]
    observed = ((zero_s, zero_s + 120), (zero_s + month_s, zero_s + month_s + 120))
    session = read(write(spikes=spikes, observed=observed))
    assert session.domain.duration_us == 240_000_000
    write_session(tmp_path / "made.h5", session)
    assert (tmp_path / "made.h5").stat().st_size < 2_000_000
    second, before = SpikeReader(tmp_path / "made.h5").seconds
    assert len(second) <= 242
    np.testing.assert_array_equal(before[-1], np.bincount(session.spike_unit))
    np.testing.assert_array_equal(read_session(tmp_path / "made.h5").spike_times_us, session.spike_times_us)


def test_links_stay_in_the_files_folder(write, tmp_path):
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    for place in (outside / "speed.h5", tmp_path / "speed.h5"):
        with h5py.File(place, "w") as file:
            file["data"] = np.arange(100.0)
            file["timestamps"] = np.arange(100.0)

    def link(name, inside="/"):
        def bend(file):
            file["acquisition/linked"] = h5py.ExternalLink(name, inside)

        return bend

    wanted = {"behaviour": {"speed": "acquisition/linked"}}
    inside = read(write(link("speed.h5")), **wanted)
    np.testing.assert_array_equal(inside.behaviour["speed"].values[:, 0], np.arange(100))
    gone = read(write(link("gone.h5")), **wanted)
    assert "gone.h5, which is not there" in findings(gone)["behaviour_absent"].message
    for name in ("../elsewhere/speed.h5", str(outside.parent.parent / "speed.h5"), "/etc/passwd"):
        with pytest.raises(SessionError, match="outside of the file's folder"):
            read(write(link(name)), **wanted)

    def circle(file):
        file["acquisition/linked"] = h5py.SoftLink("/acquisition/linked")

    with pytest.raises(SessionError, match="leads to itself"):
        read(write(circle), **wanted)


def test_values_in_other_files_and_objects_are_refused(write, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(8 * 12000))

    def raw(file):
        del file["processing/behavior/speed/data"]
        file["processing/behavior/speed"].create_dataset(
            "data", (12000,), "f8", external=[(str(tmp_path / "secret"), 0, 8 * 12000)]
        )

    def spikes(file):
        count = len(file["units/spike_times"])
        del file["units/spike_times"]
        layout = h5py.VirtualLayout((count,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret"), "a", (count,))
        file.create_virtual_dataset("units/spike_times", layout)

    def regions(file):
        count = file["units/id"].shape[0]
        file["units"].create_dataset("location", (count,), "S8", external=[("/etc/passwd", 0, 8 * count)])

    def labels(file):
        count = file["units/id"].shape[0]
        file["units/location"] = np.zeros(count, "u1")
        file["units"].create_dataset("location_elements", (4,), "S8", external=[("/etc/passwd", 0, 32)])
        file["units/location"].attrs["elements"] = file["units/location_elements"].ref

    def version(file):
        del file.attrs["nwb_version"]
        file.create_dataset("nwb_version", (1,), "S8", external=[("/etc/passwd", 0, 8)])

    def opaque(file):
        replaced(file, "processing/behavior/speed/data", np.zeros(12000, "V8"))

    wanted = {"behaviour": {"speed": "processing/behavior/speed"}}
    for bend, name, other in (
        (raw, "processing/behavior/speed/data", tmp_path / "secret"),
        (spikes, "units/spike_times", tmp_path / "secret"),
        (regions, "units/location", "/etc/passwd"),
        (labels, "units/location_elements", "/etc/passwd"),
        (version, "nwb_version", "/etc/passwd"),
    ):
        with pytest.raises(SessionError, match=rf"{name} has its values in another file \('{other}'\)"):
            read(write(bend), **wanted, region="location")
    with pytest.raises(SessionError, match="opaque values"):
        read(write(opaque), **wanted)


def test_files_in_use_folders_and_pointers_are_named(write, tmp_path):
    path = write()
    with path.open("r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(SessionError, match="open in another program"):
            read(path)
    (tmp_path / "zarr.nwb").mkdir()
    with pytest.raises(SessionError, match="is a folder, as Zarr files are"):
        read(tmp_path / "zarr.nwb")
    (tmp_path / "lfs.nwb").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(SessionError, match="pointer of Git LFS"):
        read(tmp_path / "lfs.nwb")


def test_a_compression_filter_of_a_plugin_is_read(write):
    hdf5plugin = pytest.importorskip("hdf5plugin")

    def bend(file):
        values = file["units/spike_times"][:]
        kept = dict(file["units/spike_times"].attrs)
        del file["units/spike_times"]
        made = file.create_dataset("units/spike_times", data=values, **hdf5plugin.Zstd())
        made.attrs.update(kept)

    assert_sound(read(write(bend)))


def test_a_session_that_cannot_be_used_is_left_out_whatever_the_error(write, tmp_path, monkeypatch, capsys):
    def left_out(path):
        preprocess_nwb(
            recordings=[path],
            row=ROW,
            nwb=source(),
            timeline=TIMELINE,
            splits=SPLITS,
            exclusions=NO_EXCLUSIONS,
            on_fatal="leave_out",
            output=tmp_path / "left.h5",
        )
        return read_session(tmp_path / "left.h5").left_out

    assert "counts, not stops" in left_out(write(counts_for_stops))
    assert "in milliseconds" in left_out(write(spikes=trains(scale=1e3)))

    def fail(*_):
        raise MemoryError("Unable to allocate 74.5 GiB")

    monkeypatch.setattr("neurohorizon.ingest.nwb.order_spikes", fail, raising=True)
    path = write()
    monkeypatch.setattr("neurohorizon.ingest.nwb.check_spikes", fail)
    reason = left_out(path)
    assert reason.startswith("session made cannot be read: MemoryError: Unable to allocate")
    assert "Traceback" in capsys.readouterr().err
