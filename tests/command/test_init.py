"""A cohort and a configuration proposed from NWB files can be run, and nothing that cannot be used is silent."""

import argparse
import os

import pytest
from factories.nwb_files import make_file, make_long_file
from factories.recording_files import spike_trains, write_recording

from neurohorizon.cohort import folds, heldout_sessions, read_cohort, sessions_in_use, training_sessions
from neurohorizon.command.init import add_arguments, run
from neurohorizon.command.training_files import InitError, describe_proposal, init, nwb_files
from neurohorizon.config import read_config
from neurohorizon.ingest import own_cohort
from neurohorizon.ingest.nwb_file import open_nwb
from neurohorizon.ingest.own_cohort import Described, choose_region
from neurohorizon.ingest.unit_checks import Proposal


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two animals, of which one has two spellings and two recordings, and three files that cannot be used."""
    folder = tmp_path_factory.mktemp("recordings")
    for inside in ("a", "b"):
        (folder / inside).mkdir()
    make_long_file(folder / "a" / "day 1.nwb", subject="Ada")
    make_long_file(folder / "b" / "day 1.nwb", subject="ada", day=3)
    make_long_file(folder / "bo.nwb", subject="Bo")
    make_long_file(folder / "short.nwb", subject="Cy", length_s=20.0)
    make_long_file(folder / "no_subject.nwb", subject=None)
    (folder / "text.nwb").write_text("no HDF5")
    return folder


@pytest.fixture(scope="module")
def trial_files(tmp_path_factory):
    """One animal on two days, with spikes only within trials."""
    folder = tmp_path_factory.mktemp("trials")
    for day in (2, 3):
        make_long_file(folder / f"day{day}.nwb", subject="Ada", day=day, trial_s=0.5)
    return folder


@pytest.fixture(scope="module")
def proposal(recordings, tmp_path_factory):
    """The two files; the checks propose to exclude unit 3 of the recording of Bo."""
    with pytest.MonkeyPatch.context() as patch:
        unit = Proposal("3", "rate", 107.0, 100.0, "107.0 Hz on average")
        patch.setattr(own_cohort, "propose_exclusions", lambda session: (unit,) if session.session_id == "bo" else ())
        return init(tmp_path_factory.mktemp("made") / "mine", [recordings])


def test_what_is_written_is_a_configuration_and_a_cohort_that_a_run_accepts(proposal, recordings):
    config, rows = read_config(proposal.config), read_cohort(proposal.cohort)
    assert (config.run.name, config.run.results) == ("mine", "results/mine")
    assert os.path.samefile(config.cohort.table, proposal.cohort)
    source = config.sources.nwb
    assert (source.folder, source.valid_time, source.region) == (str(recordings), "obs_intervals", None)
    assert proposal.preset == "continuous" and config.timeline.context_bins == 50
    used = sessions_in_use(rows, config.sources)
    assert len(used) == 3
    for row in used:
        assert all((recordings / name).is_file() for name in row.recording_names)


def test_each_animal_is_held_out_once_and_two_spellings_are_one_animal(proposal):
    rows = read_cohort(proposal.cohort)
    assert folds(rows) == ("Ada", "Bo")
    held_out = {fold: [row.session for row in heldout_sessions(rows, fold)] for fold in folds(rows)}
    assert held_out == {"Ada": ["a_day-1", "b_day-1"], "Bo": ["bo"]}
    assert [row.session for row in training_sessions(rows, "Bo")] == ["a_day-1", "b_day-1"]
    (other,) = (row for row in rows if row.session == "b_day-1")
    assert (other.subject, other.extras["file_subject"]) == ("Ada", "ada")


def test_a_file_that_cannot_be_used_is_a_row_with_the_reason(proposal):
    why = {row.session: row.why for row in read_cohort(proposal.cohort) if row.role == "left_out"}
    assert set(why) == {"short", "no_subject", "text"}
    assert "less than the 10 s" in why["short"] or "too short" in why["short"] or "no window" in why["short"]
    assert "names no subject" in why["no_subject"] and "is not an HDF5 file" in why["text"]
    text = describe_proposal(proposal)
    assert "3 of 6 files are left out" in text and "is not an HDF5 file" in text


def test_the_choice_of_the_preset_is_printed_with_its_reason(proposal, trial_files, tmp_path):
    assert "extends: continuous, since units have obs_intervals" in describe_proposal(proposal)
    cut = init(tmp_path / "cut", [trial_files])
    assert "extends: trials, since 100.0% of the spikes lie within trials, which cover 25%" in describe_proposal(cut)
    assert read_config(cut.config).sources.nwb.valid_time == "trials"


def test_of_one_animal_days_are_held_out(trial_files, tmp_path):
    rows = read_cohort(init(tmp_path / "days", [trial_files]).cohort)
    assert {row.extras["group"] for row in rows} == {"Ada_2020-01-02", "Ada_2020-01-03"}
    assert folds(rows) == ("Ada_2020-01-02", "Ada_2020-01-03") and {row.subject for row in rows} == {"Ada"}


def test_one_animal_on_one_day_gets_an_explanation_and_no_files(recordings, tmp_path):
    with pytest.raises(InitError, match=r"one animal, Bo, and of 1 recording day: .*\n?.*neurohorizon forecast FILE"):
        init(tmp_path / "one", [recordings / "bo.nwb"])
    assert not (tmp_path / "one").exists()


def test_files_without_valid_time_are_used_from_the_first_to_the_last_spike(tmp_path):
    for subject in ("Ada", "Bo"):
        make_long_file(tmp_path / f"{subject}.nwb", subject=subject, observed=False, length_s=80.0, units=3)
    proposal = init(tmp_path)
    assert read_config(proposal.config).sources.nwb.valid_time == "whole"
    assert "would count as silence" in describe_proposal(proposal)


def test_regions_are_read_from_the_column_that_most_files_have(tmp_path):
    trains = spike_trains(length_s=120.0)
    kinds = {"a": ["CA1"] * 6, "b": ["CA3"] * 6, "c": []}
    for name, regions in kinds.items():
        write_recording(tmp_path / f"{name}.nwb", trains, subject=name, regions=regions, region_column="brain_area")
    proposal = init(tmp_path / "mine", [tmp_path])
    assert read_config(proposal.config).sources.nwb.region == "brain_area"
    assert [one.row.role for one in proposal.recordings] == ["rotate"] * 3
    faulty = Described(tmp_path / "d.nwb", region="location", fault="it has no units")
    assert choose_region([faulty, faulty, Described(tmp_path / "e.nwb", region="region")]) == "region"
    assert choose_region([Described(tmp_path / "e.nwb", region="region"), *[Described(tmp_path / "f.nwb")] * 2]) is None


@pytest.mark.parametrize("name", ["cohort.tsv", "config.yaml"])
def test_nothing_is_overwritten(name, recordings, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InitError, match=f"{name} exists, and nothing is overwritten"):
        init(tmp_path, [recordings])
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


def test_results_of_another_run_of_the_same_name_are_not_touched(recordings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "mine").mkdir(parents=True)
    with pytest.raises(InitError, match=r"results/mine exists: it has the results of another run"):
        init(tmp_path / "mine", [recordings])


def test_units_that_are_likely_noise_are_proposed_in_the_configuration(proposal, tmp_path):
    text = proposal.config.read_text()
    lines = text.split("add to `cohort`:\n")[1].replace("#   ", "  ")
    changed = tmp_path / "config.yaml"
    changed.write_text(text.replace("cohort:\n", f"cohort:\n{lines}", 1))
    assert read_config(changed).cohort.exclude_units == {"bo": ("3",)}
    assert "bo: 1 of its units is likely no single neuron" in describe_proposal(proposal)


@pytest.mark.parametrize(("name", "complaint"), [("absent.nwb", "does not exist"), ("a.txt", "is no NWB file")])
def test_a_path_that_is_no_nwb_file_is_refused(tmp_path, name, complaint):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InitError, match=f"{name} {complaint}.*; name NWB files"):
        nwb_files([tmp_path / name])
    with pytest.raises(InitError, match="has no NWB files"):
        nwb_files([tmp_path])


def test_the_command_prints_an_error_and_returns_1(tmp_path, capsys):
    make_file(tmp_path / "one.nwb", units=0)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args([str(tmp_path / "mine"), str(tmp_path)])) == 1
    assert "none of 1 files can be used:\n  one.nwb: it has no units" in capsys.readouterr().err


def test_an_unexpected_error_of_one_file_excludes_it_with_the_reason(recordings, monkeypatch):
    def failing(path):
        if path.name == "bo.nwb":
            raise KeyError("a part of the file")
        return open_nwb(path)

    monkeypatch.setattr(own_cohort, "open_nwb", failing)
    assert "KeyError" in own_cohort.describe(recordings / "bo.nwb").fault
    assert not own_cohort.describe(recordings / "a" / "day 1.nwb").fault


def test_training_starts_from_weights_on_request(recordings, tmp_path, capsys):
    made = init(tmp_path / "mine", [recordings], start_from="hippocampus")
    assert read_config(made.config).training.start_from == "hippocampus"
    assert "training.start_from: hippocampus" in describe_proposal(made)
    # these weights have no population encoder, and those of arrays have one
    config = read_config(made.config)
    assert (config.model.population, config.baselines.networks) == (False, ("own_history",))
    with_encoder = read_config(init(tmp_path / "other", [recordings], start_from="arrays").config)
    assert (with_encoder.model.population, len(with_encoder.baselines.networks)) == (True, 2)
    assert read_config(init(tmp_path / "scratch", [recordings]).config).training.start_from is None


def test_weights_that_the_recordings_do_not_fit_leave_no_files(recordings, trial_files, tmp_path):
    with pytest.raises(InitError, match=r"context and horizon are 1000 ms and 1000 ms.* preset trials, 200 ms and 200"):
        init(tmp_path / "mine", [trial_files], start_from="hippocampus")
    with pytest.raises(InitError, match=r"--start-from is 'hippocampu'.* did you mean 'hippocampus'"):
        init(tmp_path / "mine", [recordings], start_from="hippocampu")
    for subject in ("gor01", "Bo"):
        make_long_file(tmp_path / f"{subject}.nwb", subject=subject)
    with pytest.raises(InitError, match=r"--start-from is 'hippocampus', which was trained .* gor01 \(animal gor01\)"):
        init(tmp_path / "mine", [tmp_path], start_from="hippocampus")
    assert not (tmp_path / "mine").exists()
