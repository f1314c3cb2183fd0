"""The session file: what is written is read, by this package and by torch_brain."""

import pickle

import h5py
import numpy as np
import pytest
from torch_brain.data import Data

from neurohorizon.session import (
    Series,
    Session,
    SessionError,
    SpikeReader,
    left_out_session,
    order_spikes,
    read_behaviour,
    read_identity,
    read_session,
    read_stimuli,
    sorted_by_time,
    steps_back,
    write_session,
)
from neurohorizon.timeline import Intervals, Splits


def part(*edges_s):
    """Intervals from pairs of seconds."""
    edges_us = np.array(edges_s, dtype=np.int64).reshape(-1, 2) * 1_000_000
    return Intervals(edges_us[:, 0], edges_us[:, 1])


def make_session(**changes):
    """Five units, one silent, 60 s with a gap of 10 s; spikes on a ramp of odd microseconds."""
    domain = part(10, 40, 50, 80)
    times_us = 10_000_000 + 70_000_000 * np.arange(400) // 400 + np.arange(400) % 7
    times_us = times_us[domain.contains(times_us)]
    record = {
        "session_id": "mouse_2020-01-02",
        "source": "nwb",
        "subject": "mouse",
        "lab": "somewhere",
        "date": "2020-01-02",
        "spike_times_us": times_us,
        "spike_unit": np.arange(len(times_us)) % 4,
        "units": {
            "id": np.array(["a", "b", "c", "d", "silent"]),
            "region": np.array(["CA1", "CA1", "", "VISp", ""]),
            "label": np.linspace(0, 1, 5),
        },
        "domain": domain,
        "splits": Splits(
            reference=part(10, 40), test=part(52, 80), train=part(10, 40, 50, 60), validation=part(62, 80)
        ),
        "behaviour": {"wheel": Series(np.arange(10, 80, 0.25), np.arange(280.0), "rad/s")},
        "trials": {
            "start": np.array([11.0, 55]),
            "end": np.array([12.0, 57]),
            "choice": np.array([1, -1]),
            "side": np.array(["left", "right"]),
            "feedback_times": np.array([11.5, np.nan]),
        },
        "stimuli": {
            "start": np.array([10.0, 20.0, 30.0, 55.0]),
            "end": np.array([20.0, 30.0, 33.0, 55.25]),
            "name": np.array(["spontaneous", "natural_movie_one", "drifting_gratings", "natural_scenes"]),
            "image_set": np.array(["gray", "natural_movie_one", "", "natural_scenes"]),
            "frame": np.array([0, 17, -1, 117]),
            "block": np.array([-1, 0, 1, 2]),
        },
        "provenance": {"revision": "2023-12", "files": '{"a.nwb": "12ab"}'},
        "repairs": {"outside_domain": 3},
    }
    return Session(**{**record, **changes})


def test_a_date_that_is_not_known_stays_so(tmp_path):
    write_session(tmp_path / "a.h5", make_session(date=""))
    assert read_session(tmp_path / "a.h5").date == ""


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "mouse_2020-01-02.h5"
    write_session(path, make_session())
    return path


def test_what_is_written_is_read(written):
    session, again = make_session(), read_session(written)
    for name in (
        "session_id",
        "source",
        "subject",
        "lab",
        "date",
        "domain",
        "splits",
        "repairs",
    ):
        assert getattr(again, name) == getattr(session, name), name
    assert again.provenance.pop("package_version")
    assert again.provenance == session.provenance
    assert again.left_out is None
    np.testing.assert_array_equal(again.spike_times_us, session.spike_times_us)
    np.testing.assert_array_equal(again.spike_unit, session.spike_unit)
    for table in ("units", "trials", "stimuli"):
        mine, theirs = getattr(session, table), getattr(again, table)
        assert set(mine) == set(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])
            assert mine[name].dtype.kind == theirs[name].dtype.kind
    np.testing.assert_array_equal(again.behaviour["wheel"].values, session.behaviour["wheel"].values)
    np.testing.assert_array_equal(again.behaviour["wheel"].times_s, session.behaviour["wheel"].times_s)
    assert again.behaviour["wheel"].unit == "rad/s"


def test_stimuli_and_behaviour_are_read_without_spikes(written, monkeypatch):
    session = read_session(written)
    monkeypatch.setattr("neurohorizon.session._read", lambda *_: 1 / 0)
    stimuli, behaviour = read_stimuli(written), read_behaviour(written)
    assert list(stimuli) == sorted(session.stimuli)
    for name, values in session.stimuli.items():
        np.testing.assert_array_equal(stimuli[name], values)
        assert stimuli[name].dtype == values.dtype
    assert (stimuli["frame"].dtype, stimuli["block"].dtype) == (np.int32, np.int32)
    assert list(behaviour) == ["wheel"]
    np.testing.assert_array_equal(behaviour["wheel"].values, session.behaviour["wheel"].values)


def test_a_session_without_stimuli_has_an_empty_table(tmp_path):
    write_session(tmp_path / "a.h5", make_session(stimuli={}))
    empty = {"start": 0, "end": 0, "name": 0, "image_set": 0, "frame": 0, "block": 0}
    assert {name: len(values) for name, values in read_stimuli(tmp_path / "a.h5").items()} == empty
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["stimuli"]  # as in files written before stimuli were kept
    assert {name: len(values) for name, values in read_session(tmp_path / "a.h5").stimuli.items()} == empty
    assert read_stimuli(tmp_path / "a.h5")["image_set"].tolist() == []
    assert Data.load(tmp_path / "a.h5", lazy=False).units.id[4] == "silent"


def test_the_same_session_gives_the_same_bytes(written, tmp_path):
    write_session(tmp_path / "again.h5", make_session())
    assert (tmp_path / "again.h5").read_bytes() == written.read_bytes()


def test_text_beyond_ascii_survives(tmp_path):
    units = {**make_session().units, "region": np.array(["área", "", "β", "CA1", "CA3"])}
    write_session(tmp_path / "a.h5", make_session(units=units))
    assert read_session(tmp_path / "a.h5").units["region"].tolist() == units["region"].tolist()
    assert Data.load(tmp_path / "a.h5", lazy=False).units.id[4] == "silent"


@pytest.mark.parametrize("lazy", [True, False])
def test_torch_brain_opens_it(written, lazy):
    session = make_session()
    with Data.load(written, lazy=lazy) as data:
        np.testing.assert_allclose(data.domain.start, [10, 50])
        np.testing.assert_allclose(data.valid_domain.end, [80])
        assert data.units.id.tolist() == session.units["id"].tolist()
        assert data.units.region.tolist() == session.units["region"].tolist()
        assert data.trials.side.tolist() == ["left", "right"]
        assert data.subject.id == "mouse"
        assert data.session.lab == "somewhere"
        np.testing.assert_allclose(data.spikes.timestamps, session.spike_times_us / 1e6)
        np.testing.assert_array_equal(data.spikes.unit_index, session.spike_unit)


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("span", [(10.0, 11.0), (20.25, 23.5), (38.0, 52.0), (79.5, 80.0)])
def test_torch_brain_slices_it(written, lazy, span):
    session = make_session()
    start, end = span
    with Data.load(written, lazy=lazy) as data:
        cut = data.slice(start, end)
        inside = (session.spike_times_us >= start * 1e6) & (session.spike_times_us < end * 1e6)
        assert inside.any()
        np.testing.assert_allclose(cut.spikes.timestamps, session.spike_times_us[inside] / 1e6 - start)
        np.testing.assert_array_equal(cut.spikes.unit_index, session.spike_unit[inside])
        wheel = session.behaviour["wheel"]
        moving = (wheel.times_s >= start) & (wheel.times_s < end)
        np.testing.assert_array_equal(cut.wheel.values, wheel.values[moving])
        trials = (session.trials["end"] > start) & (session.trials["start"] < end)
        np.testing.assert_array_equal(cut.trials.choice, session.trials["choice"][trials])
        shown = (session.stimuli["end"] > start) & (session.stimuli["start"] < end)
        np.testing.assert_array_equal(cut.stimuli.frame, session.stimuli["frame"][shown])
        assert cut.stimuli.image_set.tolist() == session.stimuli["image_set"][shown].tolist()
        np.testing.assert_allclose(cut.trials.feedback_times, session.trials["feedback_times"][trials] - start)


def test_datasets_say_their_axes_and_units(written):
    with h5py.File(written) as file:
        said = {}
        file.visititems(lambda name, node: said.update({name: node.attrs}) if isinstance(node, h5py.Dataset) else None)
        assert all({"axes", "unit"} <= set(attributes) for attributes in said.values())
        assert (said["wheel/values"]["axes"], said["wheel/values"]["unit"]) == ("sample, channel", "rad/s")
        assert (said["spikes/timestamps"]["axes"], said["spikes/timestamps"]["unit"]) == ("spike", "s")


def test_a_spike_takes_ten_bytes_in_one_piece(written):
    with h5py.File(written) as file:
        stored = [file["spikes"][name] for name in ("timestamps", "unit_index")]
        assert sum(dataset.dtype.itemsize for dataset in stored) == 10
        assert all(dataset.chunks is None and dataset.id.get_offset() for dataset in stored)


def test_many_units_need_a_wider_index(tmp_path):
    many = 70_000
    session = make_session(
        units={"id": np.arange(many).astype("U"), "region": np.full(many, "")},
        spike_times_us=np.arange(many) + 10_000_000,
        spike_unit=np.arange(many),
    )
    write_session(tmp_path / "a.h5", session)
    np.testing.assert_array_equal(SpikeReader(tmp_path / "a.h5").unit, np.arange(many))


def test_the_reader_gives_the_spikes_between_two_microseconds(written):
    session, reader = make_session(), SpikeReader(written)
    assert isinstance(reader.times_s, np.memmap)
    assert reader.n_units == 5
    rng = np.random.default_rng(0)
    edges = np.concatenate([session.spike_times_us, rng.integers(0, 90_000_000, 400)])
    for start_us, stop_us in rng.choice(edges, (300, 2)):
        inside = (session.spike_times_us >= start_us) & (session.spike_times_us < stop_us)
        times_us, unit = reader.between(int(start_us), int(max(stop_us, start_us)))
        np.testing.assert_array_equal(times_us, session.spike_times_us[inside])
        np.testing.assert_array_equal(unit, session.spike_unit[inside])


def test_the_reader_travels_as_its_path(written):
    parcel = pickle.dumps(SpikeReader(written))
    assert len(parcel) < 500
    np.testing.assert_array_equal(pickle.loads(parcel).unit, make_session().spike_unit)


def test_a_left_out_session_keeps_only_its_reason(tmp_path):
    reason = "nothing is left for test"
    left = left_out_session(
        session_id="x",
        source="nwb",
        subject="m",
        lab="l",
        date="2020-01-02",
        reason=reason,
        provenance={"path": "x"},
    )
    write_session(tmp_path / "x.h5", left)
    again = read_session(tmp_path / "x.h5")
    assert again.left_out == reason
    identity = {"session": "x", "subject": "m", "lab": "l", "source": "nwb", "left_out": reason}
    assert read_identity(tmp_path / "x.h5") == identity
    assert again.n_units == 0
    assert len(again.domain) == 0
    assert again.provenance["path"] == "x"
    times_us, unit = SpikeReader(tmp_path / "x.h5").between(0, 10**9)
    assert not len(times_us)
    assert not len(unit)
    for lazy in (True, False):
        with Data.load(tmp_path / "x.h5", lazy=lazy) as data:
            assert data.left_out == reason
            assert len(data.spikes.timestamps) == 0


def test_a_failed_write_leaves_the_old_file(written, monkeypatch):
    before = written.read_bytes()
    monkeypatch.setattr("neurohorizon.session._write_descriptions", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_session(written, make_session(subject="other"))
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_a_broken_file_is_named(written, tmp_path):
    (tmp_path / "cut.h5").write_bytes(written.read_bytes()[:3000])
    for path in (tmp_path / "cut.h5", tmp_path / "absent.h5"):
        with pytest.raises(SessionError, match=path.name):
            read_session(path)
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(SessionError, match="schema None"):
        SpikeReader(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"spike_times_us": np.array([12_000_000, 11_000_000]), "spike_unit": np.array([0, 1])}, "sorted"),
        ({"spike_times_us": np.array([11.0]), "spike_unit": np.array([0])}, "integers"),
        ({"spike_times_us": np.array([11_000_000]), "spike_unit": np.array([5])}, "there are 5"),
        ({"spike_times_us": np.array([11_000_000]), "spike_unit": np.array([-1])}, "units -1"),
        ({"units": {"id": np.array(["a", "a"]), "region": np.array(["", ""])}}, "each once"),
        ({"units": {"id": np.array(["a"])}}, "lacks"),
        ({"trials": {"start": np.array([2.0, 1]), "end": np.array([3.0, 3])}}, "sorted by start"),
        ({"stimuli": {**make_session().stimuli, "start": np.array([10.0, 20, 60, 55])}}, "stimuli .* sorted by start"),
        ({"stimuli": {**make_session().stimuli, "frame": np.array([0, 17, 3, 117])}}, "frame of 0 or more"),
        ({"stimuli": {"start": np.zeros(0), "end": np.zeros(0)}}, "stimuli lacks"),
        ({"behaviour": {"stimuli": Series(np.zeros(1), np.zeros(1), "")}}, "cannot be called"),
        ({"behaviour": {"units": Series(np.zeros(1), np.zeros(1), "")}}, "cannot be called"),
        ({"provenance": {"file": "x"}}, "torch_brain"),
        ({"domain": Intervals.empty()}, "valid time"),
    ],
)
def test_a_session_that_makes_no_sense_is_refused(changes, complaint):
    with pytest.raises(SessionError, match=complaint):
        make_session(**changes)


def test_ordering_spikes_sorts_drops_and_counts():
    domain = part(0, 10, 20, 30)
    times_s = np.array([5.0, 4.0, 4.0, np.nan, 15.0, 20.0, 10.0, 29.999999, 4.0])
    units = np.array([0, 0, 1, 0, 0, 1, 1, 1, 1])
    times_us, unit, found = order_spikes(times_s, units, domain=domain)
    assert times_us.tolist() == [4_000_000, 4_000_000, 4_000_000, 5_000_000, 20_000_000, 29_999_999]
    assert unit.tolist() == [0, 1, 1, 0, 1, 1]
    # unit 0: 5, 4, 15 goes back once; unit 1: 4, 20, 10, 29.999999, 4 goes back twice
    assert found == {"not_finite": 1, "outside_domain": 2, "unsorted": 3, "duplicate": 1}


@pytest.mark.parametrize("largest_us", [50, 10**9, 2**62])
def test_spikes_are_sorted_by_time_and_then_by_unit(largest_us):
    rng = np.random.default_rng(0)
    times_us = rng.integers(-largest_us, largest_us, 2000)
    times_us[::3] = times_us[1]
    unit = rng.integers(0, 7, 2000).astype(np.uint16)
    expected = sorted(zip(times_us.tolist(), unit.tolist(), strict=True))
    found_us, found_unit = sorted_by_time(times_us, unit)
    assert list(zip(found_us.tolist(), found_unit.tolist(), strict=True)) == expected
    assert found_unit.dtype == np.uint16
    assert len(sorted_by_time(np.zeros(0, np.int64), unit[:0])[0]) == 0


def test_a_spike_that_goes_back_is_found_among_those_of_its_unit():
    times = np.array([1, 2, 5, 4, 7, 3, 3])
    unit = np.array([0, 0, 0, 0, 1, 1, 2])
    assert steps_back(times, unit).tolist() == [2, 4]
    shuffled = np.array([4, 0, 6, 1, 5, 2, 3])  # the order within each unit is kept
    assert steps_back(times[shuffled], unit[shuffled]).tolist() == [2, 4]


def test_order_spikes_may_use_the_memory_of_its_times():
    rng = np.random.default_rng(1)
    times_s, unit = rng.uniform(0, 90, 5000), rng.integers(0, 5, 5000)
    times_s[:20] = np.nan
    domain = part(10, 40, 50, 80)
    expected = order_spikes(times_s.copy(), unit, domain=domain)
    found = order_spikes(times_s.copy(), unit, domain=domain, overwrite=True)
    assert expected[2] == found[2]
    assert np.array_equal(expected[0], found[0])
    assert np.array_equal(expected[1], found[1])
    kept = times_s.copy()
    order_spikes(kept, unit, domain=domain)
    np.testing.assert_array_equal(kept, times_s)


@pytest.mark.parametrize("name", ["id", "region"])
@pytest.mark.parametrize("odd", ["CA1\n# a", "CA1\x1b[2J", "CA1\u2028"])
def test_a_name_of_a_unit_has_no_control_characters(name, odd):
    units = make_session().units
    values = [odd, *units[name][1:].tolist()]
    with pytest.raises(SessionError, match=rf"units\['{name}'\] has control characters in .*CA1"):
        make_session(units={**units, name: np.array(values, dtype=str)})
