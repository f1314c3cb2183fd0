"""One NWB file is read without a cohort table, and each choice is named."""

import numpy as np
import pytest
from factories.recording_files import LENGTH_S, spike_trains, write_recording

from neurohorizon.ingest.nwb_recording import NO_REGION, read_recording
from neurohorizon.ingest.unit_filter import UnitFilter, UnitFilterError, read_filter
from neurohorizon.session import SessionError
from neurohorizon.timeline import Intervals, to_us

TRAINS = spike_trains()
ALL = [[[0.0, LENGTH_S]]] * len(TRAINS)
TRIALS = [(start, start + 4.0) for start in np.arange(2.0, 74.0, 6.0)]


def within(trains, spans):
    return [np.concatenate([one[(one >= start) & (one < stop)] for start, stop in spans]) for one in trains]


def spans_us(spans):
    return to_us(np.array(spans)).tolist()


def domain_us(recording):
    domain = recording.session.domain
    return np.stack([domain.start_us, domain.stop_us], axis=1).tolist()


def test_the_observed_time_of_all_units_is_valid_time(tmp_path):
    observed = [[[0.0, 30.0], [40.0, 80.0]], *([[[5.0, 80.0]]] * 5)]
    found = read_recording(write_recording(tmp_path / "a.nwb", TRAINS, observed=observed, trials=TRIALS))
    assert found.valid_from == "obs_intervals"
    assert domain_us(found) == spans_us([(5.0, 30.0), (40.0, 80.0)])
    assert found.session.subject == "Ada"
    assert found.session.session_id == "a"
    assert any("observed least" in note and "--exclude" in note for note in found.notes)


def test_without_an_excluded_unit_its_unobserved_time_is_valid(tmp_path):
    observed = [[[0.0, 30.0], [40.0, 80.0]], *([[[5.0, 80.0]]] * 5)]
    path = write_recording(tmp_path / "a.nwb", TRAINS, observed=observed)
    found = read_recording(path, exclude=["10"])
    assert domain_us(found) == spans_us([(5.0, 80.0)])
    assert found.session.units["id"].tolist() == ["11", "12", "13", "14", "15"]
    assert found.excluded == {"10": "listed"}
    np.testing.assert_array_equal(
        found.session.spike_times_us[found.session.spike_unit == 0], to_us(TRAINS[1][TRAINS[1] >= 5])
    )
    with pytest.raises(SessionError, match=r"no unit 3, which --exclude lists; its units are 10, 11"):
        read_recording(path, exclude=["3"])
    with pytest.raises(SessionError, match="lists all its 6 units"):
        read_recording(path, exclude=[str(10 + unit) for unit in range(6)])


@pytest.mark.parametrize("table", ["trials", "epochs"])
def test_a_table_is_valid_time_only_if_spikes_lie_only_there(tmp_path, table):
    cut = read_recording(write_recording(tmp_path / "cut.nwb", within(TRAINS, TRIALS), **{table: TRIALS}))
    assert cut.valid_from == table
    assert domain_us(cut) == spans_us(TRIALS)
    assert f"outside of its {table}" in cut.valid_why
    whole = read_recording(write_recording(tmp_path / "whole.nwb", TRAINS, **{table: TRIALS}))
    every = to_us(np.concatenate(TRAINS))
    assert whole.valid_from == "whole"
    assert domain_us(whole) == [[every.min(), every.max() + 1]]
    assert f"12 {table}" in whole.valid_why


def test_given_valid_time_excludes_the_time_that_the_file_declares_invalid(tmp_path):
    path = write_recording(tmp_path / "a.nwb", TRAINS, observed=ALL, invalid=[(20.0, 30.0)])
    found = read_recording(path, valid=Intervals(to_us(np.array([10.0])), to_us(np.array([200.0]))))
    assert found.valid_from == "given"
    assert domain_us(found) == spans_us([(10.0, 20.0), (30.0, 200.0)])
    times_s = found.session.spike_times_us / 1e6
    assert ((times_s >= 10) & ~((times_s >= 20) & (times_s < 30))).all()
    assert len(times_s) == sum(((one >= 10) & ~((one >= 20) & (one < 30))).sum() for one in TRAINS)
    with pytest.raises(SessionError, match=r"no spike lies in --valid, 100 to 200 s; its spikes lie in"):
        read_recording(path, valid=Intervals(to_us(np.array([100.0])), to_us(np.array([200.0]))))


def test_a_requested_table_that_is_absent_is_an_error_with_the_option(tmp_path):
    path = write_recording(tmp_path / "a.nwb", TRAINS)
    with pytest.raises(SessionError, match=r"--valid is trials, which it does not have; .*0 epochs"):
        read_recording(path, valid="trials")
    with pytest.raises(SessionError, match=r"--valid is obs_intervals, which its units lack"):
        read_recording(path, valid="obs_intervals")


@pytest.mark.parametrize("column", ["location", "brain_area"])
def test_regions_are_read_from_the_first_known_column(tmp_path, column):
    regions = ["CA1", "CA1", "DG", "", "unknown", "CA3"]
    path = write_recording(tmp_path / "a.nwb", TRAINS, regions=regions, region_column=column)
    found = read_recording(path)
    assert found.region_column == column
    assert found.session.units["region"].tolist() == ["CA1", "CA1", "DG", "", "", "CA3"]
    assert read_recording(write_recording(tmp_path / "b.nwb", TRAINS, regions=[""] * 6)).region_column is None


QUALITY = ["good", "mua", "good", "noise", "mua", "good"]
COLUMNS = {
    "quality": QUALITY,
    "snr": [1.0, 2.0, 2.5, 3.0, 4.0, np.nan],
    "label": [1, 0, 1, 0, 1, 1],
    "isolated": [True, False, True, True, True, True],
    "area": ["V1", "V1", "LM", "LM", "", "V1"],
}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["quality=good"], [10, 12, 15]),
        (["quality=good, mua"], [10, 11, 12, 14, 15]),
        (["snr=2.5:"], [12, 13, 14]),
        (["snr=:2.5"], [10, 11, 12]),
        (["snr=2:3"], [11, 12, 13]),
        (["snr=2,3"], [11, 13]),
        (["label=1"], [10, 12, 14, 15]),
        (["isolated=true", "quality=good,noise"], [10, 12, 13, 15]),
        (["id=11,12,13"], [11, 12, 13]),
    ],
)
def test_units_are_kept_by_a_column_and_the_others_are_listed(tmp_path, given, kept):
    path = write_recording(tmp_path / "a.nwb", TRAINS, observed=ALL, columns=COLUMNS)
    found = read_recording(path, keep=[read_filter(one) for one in given], exclude=["13"] if 13 not in kept else [])
    assert found.session.units["id"].tolist() == [str(one) for one in kept]
    assert sorted(found.excluded) == [str(10 + unit) for unit in range(6) if 10 + unit not in kept]
    spikes = np.bincount(found.session.spike_unit)
    assert spikes.tolist() == [np.count_nonzero(TRAINS[one - 10] < LENGTH_S) for one in kept]


def test_a_filter_and_an_exclusion_hold_both_and_each_unit_has_its_reason(tmp_path):
    path = write_recording(tmp_path / "a.nwb", TRAINS, observed=ALL, columns=COLUMNS)
    found = read_recording(path, keep=[read_filter("quality=good,mua")], exclude=["10"])
    assert found.excluded == {"10": "listed", "13": "quality is noise"}
    assert found.quality_column == "quality"
    by_id = read_recording(path, keep=[read_filter("id=10,11,12")], exclude=["10"])
    assert by_id.session.units["id"].tolist() == ["11", "12"]
    assert read_recording(write_recording(tmp_path / "b.nwb", TRAINS, observed=ALL)).quality_column is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("quality=fine", r"none of its 6 units passes --keep quality=fine; quality is good, mua, noise"),
        ("kind=good", r"--keep names 'kind', which is no column of single values of its units; they have \['id', "),
        ("spike_times=1", "--keep names 'spike_times', which is no column of single values"),
        ("label=good", "--keep label=good names a text, and label holds numbers such as 1"),
        ("quality=1:2", "--keep quality=1:2 is a range, and quality holds texts such as 'good'"),
    ],
)
def test_a_filter_that_cannot_be_used_is_refused(tmp_path, given, message):
    path = write_recording(tmp_path / "a.nwb", TRAINS, observed=ALL, columns=COLUMNS)
    with pytest.raises(SessionError, match=message):
        read_recording(path, keep=[read_filter(given)])


def test_a_filter_is_read_as_it_is_printed():
    for text in ("quality=good", "quality=good,mua", "snr=2.5:", "snr=:3", "snr=1:3", "time=12:30:00"):
        assert str(read_filter(text)) == text
    assert read_filter("a=b=c") == UnitFilter("a", ("b=c",))
    for text in ("quality", "=good", "quality=", "quality=a,,b", "snr=3:1"):
        with pytest.raises(UnitFilterError, match=r"COLUMN=VALUE|most is below its least"):
            read_filter(text)


def test_another_column_of_regions_can_be_chosen(tmp_path):
    regions = ["CA1", "CA1", "DG", "", "unknown", "CA3"]
    path = write_recording(tmp_path / "a.nwb", TRAINS, observed=ALL, regions=regions, columns=COLUMNS)
    assert read_recording(path).region_column == "location"
    found = read_recording(path, region="area")
    assert (found.region_column, found.session.units["region"].tolist()) == ("area", COLUMNS["area"])
    assert read_recording(path, region=NO_REGION).region_column is None
    with pytest.raises(
        SessionError, match=r"--region is 'layer', which is no column of single values of its units \['"
    ):
        read_recording(path, region="layer")


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(SessionError, match=r"there is no file .*absent\.nwb; expected the path of an NWB file$"):
        read_recording(tmp_path / "absent.nwb")


def test_units_are_excluded_by_rate_and_by_proposal_with_their_reason(tmp_path):
    fast = np.arange(0.0, LENGTH_S, 1 / 150)
    path = write_recording(tmp_path / "a.nwb", [*TRAINS, fast, TRAINS[5].copy()], observed=[*ALL, *ALL[:2]])
    by_rate = read_recording(path, maximum_rate_hz=100.0)
    assert by_rate.excluded == {"16": "150.0 Hz, above 100 Hz"}
    proposed = read_recording(path, exclude_proposed=True)
    assert set(proposed.excluded) >= {"16", "17"} or set(proposed.excluded) >= {"16", "15"}
    assert "coincide" in " ".join(proposed.excluded.values())
    assert by_rate.session.domain == proposed.session.domain


def test_spike_times_that_are_no_seconds_are_an_error(tmp_path):
    path = write_recording(tmp_path / "a.nwb", [np.round(one * 1000) for one in TRAINS], observed=ALL)
    with pytest.raises(SessionError, match=r"a\.nwb: 2635 of 2635 spike times are whole numbers"):
        read_recording(path)


def test_real_recordings_have_the_valid_time_in_which_they_were_recorded(recordings):
    # spikes of steinmetz were stored within trials of 0.4 s, and the file does not state it
    trials = read_recording(recordings / "steinmetz_01.nwb")
    assert trials.valid_from == "trials"
    assert len(trials.session.domain) == 114
    track = read_recording(recordings / "nelpy_linear-track.nwb")
    assert (track.valid_from, track.region_column, len(track.session.domain)) == ("obs_intervals", "location", 1)
