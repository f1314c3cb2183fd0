"""All forms of units give the same recording, and input that cannot be used is refused with what to do."""

import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
from factories.file_server import serving
from factories.recording_files import spike_trains, write_recording

from neurohorizon import SessionError
from neurohorizon.ingest.nwb_recording import read_recording
from neurohorizon.recordings.units import intervals_of, read_units

VALID = (0.0, 80.0)


class TsGroup(dict):
    """The parts of pynapple's TsGroup that are read."""

    def __init__(self, units, start, end):
        super().__init__({name: TsGroup.Ts(times) for name, times in units.items()})
        self.time_support = TsGroup.IntervalSet(start, end)

    class Ts:
        def __init__(self, times):
            self.times = lambda: times

    class IntervalSet:
        def __init__(self, start, end):
            self.start, self.end = np.array(start), np.array(end)


def nwb_file(units, observed=None):
    """Return a file in memory, as pynwb reads it."""
    from pynwb import NWBFile

    file = NWBFile("made", "made", datetime(2020, 1, 1, tzinfo=UTC))
    for name, times in units.items():
        intervals = {} if observed is None else {"obs_intervals": observed[name]}
        file.add_unit(spike_times=times, id=10 + name, **intervals)
    return file


def forms(units, tmp_path):
    """Return every form of the same units, with the ids that are expected."""
    from pynwb import NWBHDF5IO

    path = tmp_path / "made.nwb"
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb_file(units))
    names = list(units)
    return {
        "list of arrays": (list(units.values()), names),
        "list of lists": ([times.tolist() for times in units.values()], names),
        "mapping": ({f"unit {name}": times for name, times in units.items()}, [f"unit {name}" for name in names]),
        "TsGroup": (TsGroup(units, [0.0], [80.0]), names),
        "NWBFile": (nwb_file(units), [10 + name for name in names]),
        "path": (path, [str(10 + name) for name in names]),
        "text path": (str(path), [str(10 + name) for name in names]),
    }


def test_every_form_gives_the_same_forecast_and_keeps_the_ids(network, units, recording, tmp_path):
    expected = recording.forecast(50.0).log_rate
    for form, (given, ids) in forms(units, tmp_path).items():
        found = network.fit_reference(given, reference=(0.0, 40.0), valid=VALID)
        assert found.unit_ids.tolist() == ids, form
        assert found.session.session_id == ("made" if "path" in form else "recording")
        np.testing.assert_array_equal(found.forecast(50.0).log_rate, expected, err_msg=form)


def test_a_session_of_the_workflow_is_a_recording(network, made, recording):
    found = network.fit_reference(made, reference=(0.0, 40.0))
    np.testing.assert_array_equal(found.forecast(50.0).log_rate, recording.forecast(50.0).log_rate)
    cut = network.fit_reference(made, reference=(0.0, 40.0), valid=(0.0, 60.0))
    assert cut.session.domain.hull_s == (0.0, 60.0)
    assert cut.session.spike_times_us.max() < 60e6


def test_units_may_have_their_own_valid_time(units):
    session, _, notes = read_units(TsGroup(units, [0.0, 50.0], [30.0, 80.0]))
    assert notes[0].startswith("spikes outside valid time, dropped: 1552 of 6115")
    assert session.domain.start_us.tolist() == [0, 50_000_000]
    observed = {name: [[0.0, 74.0 - name]] for name in units}
    session = read_units(nwb_file(units, observed)).session
    assert session.domain.hull_s == (0.0, 70.0)
    assert session.spike_times_us.max() < 70e6


TRIALS = [(start, start + 4.0) for start in np.arange(2.0, 74.0, 6.0)]


def files(tmp_path):
    """Files with and without valid time, and the choice that is expected."""
    trains = spike_trains()
    within = [np.concatenate([one[(one >= start) & (one < stop)] for start, stop in TRIALS]) for one in trains]
    observed = [[[0.0, 30.0], [40.0, 80.0]], *([[[5.0, 80.0]]] * 5)]
    made = {
        "obs_intervals": write_recording(tmp_path / "a.nwb", trains, observed=observed, invalid=[(50.0, 51.0)]),
        "trials": write_recording(tmp_path / "b.nwb", within, trials=TRIALS),
        "epochs": write_recording(tmp_path / "c.nwb", within, epochs=TRIALS, invalid=[(14.0, 19.0)]),
        "whole": write_recording(tmp_path / "d.nwb", trains, trials=TRIALS, invalid=[(20.0, 30.0)]),
    }
    return made.items()


def test_a_file_has_the_session_and_the_notes_of_the_command_line(tmp_path):
    for chosen, path in files(tmp_path):
        found, expected = read_units(path), read_recording(path)
        assert expected.valid_from == chosen
        assert found.session.domain == expected.session.domain
        names = {key: value.replace("--", "") for key, value in expected.session.provenance.items()}
        assert found.session.provenance == names
        np.testing.assert_array_equal(found.session.spike_times_us, expected.session.spike_times_us)
        assert found.notes == tuple(note.replace("--", "") for note in expected.notes)
        assert any("valid gives another" in note for note in found.notes) == (chosen != "obs_intervals")


def test_an_open_file_has_the_valid_time_of_its_path(tmp_path):
    from pynwb import NWBHDF5IO

    for chosen, path in files(tmp_path):
        with NWBHDF5IO(path, "r") as io:
            found, notes = read_units(io.read())[::2]
        expected = read_units(path).session
        assert found.domain == expected.domain, chosen
        np.testing.assert_array_equal(found.spike_times_us, expected.spike_times_us, err_msg=chosen)
        assert any("valid gives another" in note for note in notes) == (chosen != "obs_intervals")


def test_valid_time_of_a_file_can_be_named_or_given(tmp_path):
    path = dict(files(tmp_path))["whole"]
    assert len(read_units(path, valid="trials").session.domain) == len(TRIALS) - 2
    assert read_units(path, valid=(10.0, 40.0), name="Ada").session.domain.hull_s == (10.0, 40.0)
    assert read_units(path, valid=(10.0, 40.0), name="Ada").session.session_id == "Ada"
    with pytest.raises(SessionError, match=r"d\.nwb: valid is lunch, which it does not have"):
        read_units(path, valid="lunch")
    with pytest.raises(SessionError, match=r"no spike lies in valid, 900 to 999 s"):
        read_units(path, valid=(900.0, 999.0))
    with pytest.raises(SessionError, match=r"d\.nwb has no unit 3, which exclude lists; its units are 10, 11"):
        read_units(path, exclude=[3])
    assert read_units(path, exclude=[10, "12"]).unit_ids.tolist() == ["11", "13", "14", "15"]


def test_a_remote_file_is_the_file_at_its_path(network, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_recording(tmp_path / "mouse.nwb", spike_trains(), observed=[[VALID]] * 6)
    with serving(tmp_path) as server:
        found = network.fit_reference(f"{server.url}/mouse.nwb")
    expected = network.fit_reference(path)
    assert repr(found) == repr(expected) and found.notes == expected.notes
    np.testing.assert_array_equal(found.forecast(60.0).log_rate, expected.forecast(60.0).log_rate)


def test_without_valid_time_it_is_from_the_first_to_the_last_spike_and_a_warning_says_so(network, units):
    with pytest.warns(UserWarning, match="no valid time is given: it is .* the first to the last spike") as caught:
        recording = network.fit_reference(list(units.values()))
    assert caught[0].filename == __file__, "the warning points to the caller"
    assert recording.notes == (str(caught[0].message),)
    session = recording.session
    assert session.domain.start_us[0] == session.spike_times_us[0]
    assert session.domain.stop_us[-1] == session.spike_times_us[-1] + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert network.fit_reference(list(units.values()), valid=VALID).notes == ()


def test_a_silent_unit_is_kept(network, units):
    # with a sixth unit, not most units violate the refractory period, which simulated units do not have
    with pytest.warns(UserWarning, match="likely no single neurons: 3; 2 .41 intervals"):
        found = network.fit_reference({**units, "silent": []}, reference=(0.0, 40.0), valid=VALID)
    assert found.unit_ids.tolist() == [0, 1, 2, 3, 4, "silent"]
    assert np.isfinite(found.forecast(50.0).log_rate).all()


A = np.arange(0.1, 60.0, 0.37)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"a": A, "b": A[::-1]}, r"unit b: spike times go back 161 times, first at index 1 \(59.67 s, then 59.3 s\)"),
        ({"a": A, "b": A - 1}, r"unit b: 3 of 162 spike times are negative, from -0.9 s"),
        ({"a": A, "b": [1.0, np.nan, 3.5]}, "unit b: 1 of 3 spike times are NaN or infinite, the first at index 1"),
        ({"a": A, "b": ["x"]}, "unit b: its times are list, expected seconds"),
        ({"a": A, "b": np.ones((4, 2))}, r"unit b: its times have shape \(4, 2\), expected .spike.: times, not counts"),
        ({1: A, "1": A}, "unit ids occur more than once: 1; give each unit its own id"),
        ({"a": [], "b": []}, "none of the 2 units has a spike"),
        ([], "none of the 0 units has a spike"),
        ({"a": np.arange(60.0), "b": np.arange(60.0)}, "whole numbers, as sample numbers are"),
        ({"a": A + 500, "b": A + 500}, "put both on one clock, or choose another valid time"),
        (A, r"units are an array of shape \(162,\); expected spike times in seconds, one array for each unit"),
        (np.zeros((50, 10)), r"units are an array of shape \(50, 10\)"),
        (A.tolist(), "units are a list; expected spike times in seconds"),
        (None, "no units with spike_times"),
        (3, "units are a int; expected"),
        ("recording.mat", "recording.mat is no NWB file"),
        ("absent.nwb", "absent.nwb"),
        ("ftp://host/a.nwb", "addresses with ftp:// cannot be read; expected https://HOST/FILE.nwb"),
    ],
)
def test_units_that_cannot_be_used_are_refused_in_three_lines(units, message):
    with pytest.raises(SessionError, match=message) as caught:
        read_units(units, valid=VALID)
    assert len(str(caught.value)) < 3 * 120


def test_times_in_milliseconds_are_refused_without_valid_time_too(units):
    finer = {name: 1000 * times for name, times in units.items()}
    with pytest.raises(SessionError, match=r"valid time lasts 22.2 h, .* are all times in milliseconds\? Convert them"):
        read_units(finer)
    with pytest.raises(SessionError, match=r"valid time lasts .*e.06 s, .*: are its times in another unit"):
        read_units({name: 100 * times for name, times in finer.items()})
    with pytest.raises(SessionError, match=r"the median unit fires at .* are spike times in minutes or hours"):
        read_units({name: times / 3600 for name, times in units.items()})


def test_a_silence_of_all_units_is_reported(units):
    pause = {name: times[(times < 30) | (times > 36)] for name, times in units.items()}
    (note,) = read_units(pause, valid=VALID).notes
    assert note.startswith("times within valid time that all units fall silent at once: 1, the longest from 29.")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((5.0, 5.0), "an interval from 5 s to 5 s; expected a stop after the start"),
        ([(0.0, 1.0), (9.0, 3.0)], "an interval from 9 s to 3 s"),
        (7.0, r"valid must be \(start, stop\) or intervals .* found shape \(\)"),
        ([(0.0, np.nan)], "1 of 2 times are NaN"),
        ("all", "could not convert string"),
        ([], r"shape \(0,\)"),
    ],
)
def test_intervals_that_cannot_be_used_are_refused(given, message):
    with pytest.raises(SessionError, match=message):
        intervals_of(given, "valid")


def test_intervals_are_sorted_and_joined():
    found = intervals_of([(5.0, 6.0), (0.0, 1.0), (1.0, 2.0), (5.5, 7.0)], "valid")
    assert list(found) == [(0, 2_000_000), (5_000_000, 7_000_000)]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (1.5, "reference is 1.5; expected a share of the valid time"),
        (0.0, "reference is 0; expected"),
        ((0.0, 8.0), r"the reference window holds 8 s .* features need 10 s"),
        ((100.0, 200.0), "the reference window, 100 to 200 s, holds no valid time, which lies within 0 to 80 s"),
        ("first", "could not convert string"),
    ],
)
def test_reference_windows_that_cannot_be_used_are_refused(network, units, reference, message):
    with pytest.raises(SessionError, match=message) as caught:
        network.fit_reference(units, reference=reference, valid=VALID)
    assert len(str(caught.value)) < 3 * 120


def test_a_reference_window_that_is_not_recorded_throughout_is_reported(network, units):
    with pytest.warns(UserWarning, match="of the reference window 60% was recorded"):
        found = network.fit_reference(units, reference=(0.0, 50.0), valid=[(0.0, 30.0), (50.0, 80.0)])
    assert found.reference.hull_s == (0.0, 30.0)
    with pytest.raises(SessionError, match="gap is -1 s"):
        network.fit_reference(units, reference=(0.0, 40.0), valid=VALID, gap=-1.0)


def test_units_that_are_likely_no_neurons_are_reported_and_can_be_excluded(network, units, recording):
    noise = np.arange(0.0005, 80.0, 1 / 150)
    given = {**units, "noise": noise, "again": units[4] + 2e-5}
    (note,) = read_units(given, valid=VALID).notes
    assert note.startswith("units that are likely no single neurons: 2; noise (150.0 Hz on average), ")
    assert "100% of its spikes coincide with those of unit" in note
    found = network.fit_reference(given, reference=(0.0, 40.0), valid=VALID, exclude=["noise", "again"])
    assert found.notes == () and found.unit_ids.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found.forecast(50.0).log_rate, recording.forecast(50.0).log_rate)
    with pytest.raises(SessionError, match="exclude names 9, no units of the recording; it has 0, 1, 2, 3, 4"):
        read_units(units, valid=VALID, exclude=[0, 9])


def test_the_real_pynapple_has_these_parts(network, units, recording):
    pynapple = pytest.importorskip("pynapple", reason="pynapple is in no environment of the tests")
    support = pynapple.IntervalSet(0.0, 80.0)
    group = pynapple.TsGroup({name: pynapple.Ts(times) for name, times in units.items()}, time_support=support)
    found = network.fit_reference(group, reference=(0.0, 40.0))
    assert found.session.domain.hull_s == (0.0, 80.0)
    np.testing.assert_array_equal(found.forecast(50.0).log_rate, recording.forecast(50.0).log_rate)
    again = network.fit_reference(group, reference=support.intersect(pynapple.IntervalSet(0.0, 40.0)))
    assert again.reference == found.reference
