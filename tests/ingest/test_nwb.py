"""NWB files as they come: made ones with everything in them, broken ones, and the real recordings."""

import h5py
import numpy as np
import pytest
from factories import ROOT
from factories.nwb_files import make_file, spike_train

from neurohorizon.cohort import Row, read_cohort, shared_subjects
from neurohorizon.config import NwbSource, Splits
from neurohorizon.ingest.nwb import ingest_nwb
from neurohorizon.session import SessionError, read_session, write_session
from neurohorizon.timeline import Intervals, to_us

COHORTS = ROOT / "config" / "cohorts"
ROW = Row("made", "nwb", "Ada", "lab", "2020-01-02", "heldout", "ada", "")
SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=0.5)
SOURCE = {
    "folder": ".",
    "valid_time": "obs_intervals",
    "region": "location",
    "behaviour": {"position": "processing/behavior/Position/track", "wheel": "acquisition/wheel"},
    "trials": True,
    "unit_filters": {},
}


def source(**changes):
    return NwbSource(**{**SOURCE, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_file(tmp_path_factory.mktemp("nwb") / "made.nwb")


def seconds(*edges):
    edges = np.array(edges, dtype=float).reshape(-1, 2)
    return Intervals(to_us(edges[:, 0]), to_us(edges[:, 1]))


def test_a_time_is_valid_when_every_unit_was_observed(made):
    assert ingest_nwb(made, ROW, source=source(), splits=SPLITS).domain == seconds(0, 4, 5, 11)
    kept = ingest_nwb(made, ROW, source=source(unit_filters={"quality": "good"}), splits=SPLITS)
    assert kept.domain == seconds(0, 11)  # without unit 1, the others' touching pieces are one


def test_trials_and_epochs_are_joined_into_valid_time(made):
    trials = ingest_nwb(made, ROW, source=source(valid_time="trials"), splits=SPLITS)
    assert trials.domain == Intervals(to_us(np.arange(1, 12) + 0.1), to_us(np.arange(1, 12) + 0.5))
    epochs = ingest_nwb(made, ROW, source=source(valid_time="epochs"), splits=SPLITS)
    assert epochs.domain == seconds(0, 10)


def test_declared_invalid_times_are_no_valid_time(tmp_path):
    path = make_file(tmp_path / "a.nwb", invalid=True)
    session = ingest_nwb(path, ROW, source=source(valid_time="epochs"), splits=SPLITS)
    assert session.domain == seconds(0, 1, 1.25, 10)


def test_spikes_keep_their_unit_and_lie_in_the_domain(made):
    session = ingest_nwb(made, ROW, source=source(), splits=SPLITS)
    outside = 0
    for unit in range(4):
        times_us = to_us(spike_train(unit))
        inside = session.domain.contains(times_us)
        outside += np.count_nonzero(~inside)
        np.testing.assert_array_equal(session.spike_times_us[session.spike_unit == unit], times_us[inside])
    assert session.repairs["outside_domain"] == outside > 0


def test_filters_keep_units_by_number_text_and_truth(made):
    kept = ingest_nwb(made, ROW, source=source(unit_filters={"quality": "good"}), splits=SPLITS)
    assert kept.units["id"].tolist() == ["100", "102", "103"]
    assert kept.repairs["filtered_units"] == 1
    np.testing.assert_array_equal(
        kept.spike_times_us[kept.spike_unit == 1],
        [time for time in to_us(spike_train(2)) if kept.domain.contains(time)],
    )
    only = ingest_nwb(made, ROW, source=source(unit_filters={"firing_rate": 2}), splits=SPLITS)
    assert only.units["id"].tolist() == ["102"]
    with pytest.raises(SessionError, match="none of its 4 units passes"):
        ingest_nwb(made, ROW, source=source(unit_filters={"quality": "great"}), splits=SPLITS)
    with pytest.raises(SessionError, match=r"unit_filters names 'kwality'.*'quality'"):
        ingest_nwb(made, ROW, source=source(unit_filters={"kwality": "good"}), splits=SPLITS)


def test_regions_are_those_of_most_of_the_units_electrodes(made):
    session = ingest_nwb(made, ROW, source=source(), splits=SPLITS)
    assert session.units["region"].tolist() == ["CA1", "CA3", "DG", ""]


def test_regions_may_be_a_column_of_the_units_or_none(made):
    assert ingest_nwb(made, ROW, source=source(region="quality"), splits=SPLITS).units["region"][1] == "noise"
    none = ingest_nwb(made, ROW, source=source(region=None), splits=SPLITS)
    assert none.units["region"].tolist() == [""] * 4
    assert none.units["quality"].tolist() == ["good", "noise", "good", "good"]
    with pytest.raises(SessionError, match=r"'area'.*location"):
        ingest_nwb(made, ROW, source=source(region="area"), splits=SPLITS)


def test_regions_may_be_those_of_the_electrode_group(made, tmp_path):
    path = tmp_path / "made.nwb"
    path.write_bytes(made.read_bytes())
    with h5py.File(path, "a") as file:
        for name in ("electrodes", "electrodes_index"):
            del file["units"][name]
        names = [name for name in file["units"].attrs["colnames"] if name != "electrodes"]
        file["units"].attrs["colnames"] = names
    session = ingest_nwb(path, ROW, source=source(), splits=SPLITS)
    assert session.units["region"].tolist() == ["CA1", "CA1", "DG", "DG"]


def test_behaviour_keeps_its_clock_and_its_unit(made):
    session = ingest_nwb(made, ROW, source=source(), splits=SPLITS)
    position, wheel = session.behaviour["position"], session.behaviour["wheel"]
    np.testing.assert_allclose(position.times_s, np.arange(100) / 8)
    np.testing.assert_allclose(position.values[:, 0], np.arange(100)[::-1] * 0.01, rtol=1e-6)
    np.testing.assert_allclose(position.values[:, 1], -np.arange(100)[::-1] * 0.01, rtol=1e-6)
    np.testing.assert_allclose(wheel.times_s, np.arange(50) / 10 - 1)
    np.testing.assert_allclose(wheel.values[:, 0], np.arange(50) + 2)
    assert (position.unit, wheel.unit) == ("m", "rad/s")
    assert "unsorted times" in session.provenance["findings"]


def test_a_behaviour_that_is_not_there_is_noted_and_a_wrong_path_is_refused(made):
    absent = source(behaviour={"pupil": "processing/behavior/pupil"})
    session = ingest_nwb(made, ROW, source=absent, splits=SPLITS)
    assert not session.behaviour
    assert "no behaviour series processing/behavior/pupil" in session.provenance["findings"]
    with pytest.raises(SessionError, match=r"Position is a Position, not a time series; inside are \['track'\]"):
        ingest_nwb(made, ROW, source=source(behaviour={"p": "processing/behavior/Position"}), splits=SPLITS)


def test_trials_are_sorted_and_keep_their_columns(made):
    session = ingest_nwb(made, ROW, source=source(), splits=SPLITS)
    np.testing.assert_allclose(session.trials["start"], np.arange(1, 12) + 0.1)
    np.testing.assert_allclose(session.trials["end"], np.arange(1, 12) + 0.5)
    assert session.trials["side"].tolist() == ["LR"[trial % 2] for trial in range(1, 12)]
    assert "licks" not in session.trials
    assert "licks" in session.provenance["findings"]
    assert len(ingest_nwb(made, ROW, source=source(trials=False), splits=SPLITS).trials["start"]) == 0


def test_the_session_survives_its_file(made, tmp_path):
    session = ingest_nwb(made, ROW, source=source(), splits=SPLITS)
    write_session(tmp_path / "made.h5", session)
    again = read_session(tmp_path / "made.h5")
    np.testing.assert_array_equal(again.spike_times_us, session.spike_times_us)
    assert again.units["region"].tolist() == session.units["region"].tolist()
    assert again.splits == session.splits
    assert session.provenance.items() <= again.provenance.items()
    assert "sha256:" in again.provenance["files"]
    assert again.provenance["species"] == "Mus musculus"


def test_the_wrong_animal_is_refused_and_another_date_noted(made, tmp_path):
    with pytest.raises(SessionError, match="subject 'Ada', the cohort table has 'Eve'"):
        ingest_nwb(made, Row("made", "nwb", "Eve", "lab", "", "heldout", "eve", ""), source=source(), splits=SPLITS)
    other = Row("made", "nwb", "Ada", "elsewhere", "2021-01-02", "heldout", "ada", "")
    session = ingest_nwb(made, other, source=source(), splits=SPLITS)
    assert session.date == "2021-01-02"
    assert session.lab == "elsewhere"
    assert "2020-01-02" in session.provenance["findings"]
    assert "lab is 'lab'" in session.provenance["findings"]
    unnamed = make_file(tmp_path / "a.nwb", subject=None)
    assert "names no subject" in ingest_nwb(unnamed, ROW, source=source(), splits=SPLITS).provenance["findings"]


@pytest.mark.parametrize(
    ("lacks", "wanted", "complaint"),
    [
        (
            {"observed": False},
            "obs_intervals",
            r"obs_intervals, which its units lack; it has .* 11 trials, 2 epochs",
        ),
        (
            {"trials": False},
            "trials",
            r"trials, which it does not have; it has .*obs_intervals.* 0 trials, 2 epochs",
        ),
        ({"epochs": False}, "epochs", r"epochs, which it does not have; it has .* 11 trials, 0 epochs"),
        ({"units": 0}, "trials", r"no units with spike_times; it has no units, 11 trials"),
    ],
)
def test_a_file_without_what_is_asked_says_what_it_has(tmp_path, lacks, wanted, complaint):
    path = make_file(tmp_path / "lacking.nwb", **lacks)
    with pytest.raises(SessionError, match=complaint):
        ingest_nwb(path, ROW, source=source(valid_time=wanted), splits=SPLITS)


def test_too_short_a_recording_is_refused_in_words(made):
    long_gap = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=8.0)
    with pytest.raises(SessionError, match=r"made.nwb: nothing is left for test: 10 s of valid time"):
        ingest_nwb(made, ROW, source=source(), splits=long_gap)


def test_broken_files_are_named_in_plain_words(made, tmp_path):
    whole = made.read_bytes()
    broken = {
        "absent.nwb": (None, "there is no file"),
        "text.nwb": (b"not a file of this kind", "not an HDF5 file"),
        "short.nwb": (whole[: len(whole) // 2], "cut short"),
    }
    for name, (content, complaint) in broken.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(SessionError, match=f"{name}.*{complaint}|{complaint}.*{name}"):
            ingest_nwb(tmp_path / name, ROW, source=source(), splits=SPLITS)
    with h5py.File(tmp_path / "other.nwb", "w") as file:
        file["x"] = 1
    with pytest.raises(SessionError, match=r"other.nwb is not a readable NWB file|other.nwb cannot be opened"):
        ingest_nwb(tmp_path / "other.nwb", ROW, source=source(), splits=SPLITS)


def test_spikes_out_of_order_are_sorted_and_counted(made, tmp_path):
    path = tmp_path / "made.nwb"
    path.write_bytes(made.read_bytes())
    with h5py.File(path, "a") as file:
        times = file["units/spike_times"]
        times[:300] = times[:300][::-1]  # all of unit 100
        times[5] = np.nan
        times[299] = times[298]
    session = ingest_nwb(path, ROW, source=source(), splits=SPLITS)
    assert session.repairs["not_finite"] == 1
    assert session.repairs["duplicate"] == 1
    assert session.repairs["unsorted"] == 297
    assert (np.diff(session.spike_times_us) >= 0).all()


def real_rows():
    rows = [*read_cohort(COHORTS / "steinmetz.tsv"), *read_cohort(COHORTS / "hippocampus.tsv")]
    return [pytest.param(row, id=row.session) for row in rows]


@pytest.mark.parametrize("row", real_rows())
def test_every_real_recording_is_read(row, recordings):
    path = recordings / f"{row.session}.nwb"
    mouse = row.lab == "steinmetz"
    wanted = source(
        valid_time="trials" if mouse else "obs_intervals",
        behaviour={"position": "processing/behavior/Position/position"},
    )
    gap_s = 0.5 if mouse else 2.0
    splits = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=gap_s)
    session = ingest_nwb(path, row, source=wanted, splits=splits)
    with h5py.File(path) as file:  # independently of pynwb
        stops = file["units/spike_times_index"][:].astype(int)
        spikes = np.diff(np.concatenate([[0], stops]))
        kept = np.bincount(session.spike_unit, minlength=session.n_units)
        assert (kept <= spikes).all()
        assert kept.sum() + session.repairs["outside_domain"] == spikes.sum()
        assert session.repairs["outside_domain"] <= 1  # one that ends the recording, on the open end
        assert session.units["region"].tolist() == [text.decode() for text in file["units/location"][:]]
        if mouse:
            np.testing.assert_allclose(session.trials["feedback"], file["intervals/trials/feedback"][:])
            assert set((session.domain.stop_us - session.domain.start_us).tolist()) == {400_000}
            for part in (session.splits.reference, session.splits.test):
                assert set(part) <= set(session.domain)
        assert ("position" in session.behaviour) == ("processing/behavior" in file)
    assert "the file's date" not in session.provenance["findings"]


def test_real_cohorts_hold_out_what_shares_neurons():
    mice = read_cohort(COHORTS / "steinmetz.tsv")
    assert {(row.subject, row.fold) for row in mice} == {
        ("Cori", "cori"),
        ("Forssmann", "forssmann"),
        ("Hench", "hench"),
    }
    rats = read_cohort(COHORTS / "hippocampus.tsv")
    days = {row.date: row.fold for row in rats if row.subject == "gor01"}
    assert len(days) == len(set(days.values())) == 2
    assert shared_subjects(rats, days["2006-06-07"]) == ("gor01",)
    assert shared_subjects(rats, "nelpy") == ()
