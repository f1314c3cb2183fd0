"""`neurohorizon forecast` writes what Python forecasts, whole or not at all, and says where."""

import json
import re
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from factories.recording_files import LENGTH_S, spike_trains, write_recording

import neurohorizon as nh
from neurohorizon.answer.answer import Answer, Estimate
from neurohorizon.command import forecast as forecast_command
from neurohorizon.command import forecasting, output_folder
from neurohorizon.command.answer_text import describe_answer
from neurohorizon.command.cards import candidates
from neurohorizon.command.examination import examine
from neurohorizon.command.forecast import check_every
from neurohorizon.command.forecasting import write_units
from neurohorizon.command.main import main
from neurohorizon.command.network_choice import choose_network, share_outside
from neurohorizon.command.options import Reading
from neurohorizon.command.output_folder import FILES
from neurohorizon.command.progress import PAUSE_S, Progress
from neurohorizon.command.usage import UsageError
from neurohorizon.durations import as_time
from neurohorizon.files import replacing_folder
from neurohorizon.forecasts.forecast_file import read_forecast
from neurohorizon.ingest.nwb_recording import read_recording

TRAINS = spike_trains()


def stand_in(monkeypatch, answer):
    """Replace the computing of an answer, which takes seconds."""
    monkeypatch.setattr(forecasting, "answer_for", answer)


def folder_of(done) -> Path:
    status, folder, _ = done
    assert status == 0
    return folder


def test_the_files_are_there_and_no_others(done):
    folder = folder_of(done)
    assert sorted(one.name for one in folder.iterdir()) == sorted(FILES)
    assert [one.name for one in folder.parent.iterdir()] == ["mouse"]
    assert (folder / "answer.html").read_text().lstrip().lower().startswith("<!doctype html")


def test_the_forecasts_are_those_of_python_from_arrays(done, weights_path):
    found = read_forecast(folder_of(done) / "forecast.h5")
    units = {str(10 + unit): times for unit, times in enumerate(TRAINS)}
    recording = nh.load(weights_path).fit_reference(units, (0.0, 40.0), valid=(0.0, LENGTH_S))
    expected = recording.forecast(recording.origins(0.12))
    np.testing.assert_array_equal(found.start_us, expected.origin_us)
    np.testing.assert_array_equal(found.log_rate, expected.log_rate)
    assert found.unit_id.tolist() == list(units)


def test_numbers_agree_in_the_text_the_table_and_the_answer(done):
    folder, printed = folder_of(done), "\n".join(done[2])
    answer = Answer.model_validate(json.loads((folder / "answer.json").read_text()))
    header, *rows = [line.split("\t") for line in (folder / "units.tsv").read_text().splitlines()]
    assert header[:2] == ["unit", "region"]
    assert [row[:2] for row in rows] == [
        [str(10 + unit), region] for unit, region in enumerate(["CA1", "CA1", "CA3", "CA3", "DG", ""])
    ]
    scores = {row[0]: float(row[header.index("bits_per_spike")]) for row in rows}
    assert scores == pytest.approx({one.unit: one.score.value for one in answer.units}, rel=1e-5)
    assert answer.sentence in printed
    assert f"adaptive forecast  {answer.score.value:.3f}" in printed
    assert re.search(
        rf"Best units of 20 spikes or more: {max(scores, key=scores.get)} \({max(scores.values()):.2f}\)", printed
    )
    worse = sum(value <= 0 for value in scores.values())
    assert f"No better than their mean rate: {worse} of 6 units" in printed
    assert "mouse  6 units (6 scored), reference 0 to 40 s" in printed
    assert "chosen by --network" in printed
    assert f"Page: {folder}/answer.html" in printed


def test_the_best_units_are_named_with_their_scores_best_first(done):
    answer = Answer.model_validate(json.loads((folder_of(done) / "answer.json").read_text()))
    values, spikes = [0.1, 0.3, 0.2, -0.1, None, 9.0], [20, 400, 30, 500, 0, 19]
    units = [
        one.model_copy(update={"score": Estimate(value=value), "spikes": count})
        for one, value, count in zip(answer.units, values, spikes, strict=True)
    ]
    text = describe_answer(answer.model_copy(update={"units": units}), "answers")
    best = "11 (0.30), 12 (0.20), 10 (0.10)"
    assert f"Best units of 20 spikes or more: {best}. No better than their mean rate: 2 of 6 units" in text


def test_the_table_has_intervals_and_no_score_of_a_slow_unit(done, session, weights_path, tmp_path):
    answer = Answer.model_validate(json.loads((folder_of(done) / "answer.json").read_text()))
    scored = answer.units[1].model_copy(
        update={"score": Estimate(value=0.2, low=0.125, high=0.25), "spikes": 7, "outside": 3}
    )
    recording = nh.load(weights_path).fit_reference(session)
    write_units(recording, answer.model_copy(update={"units": [scored]}), tmp_path / "units.tsv")
    _, slow, fast, *_ = [line.split("\t") for line in (tmp_path / "units.tsv").read_text().splitlines()]
    rate_hz = recording.reference_rate_hz
    assert slow == ["10", "CA1", f"{rate_hz[0]:.6g}", "no", "", "", "", "", ""]
    assert fast == ["11", "CA1", f"{rate_hz[1]:.6g}", "yes", "7", "0.2", "0.125", "0.25", "3"]


def test_progress_has_steps_and_shares(done):
    lines = [line for line in done[2] if line.startswith("mouse.nwb: ")]
    assert lines[0] == "mouse.nwb: reading"
    assert any(re.fullmatch(r"mouse.nwb: scores, \d+ %, about .* left", line) for line in lines)


def test_a_second_run_replaces_the_files_of_the_first(quick, here, mouse, weights_path, capsys):
    given = ["forecast", str(mouse), "--network", str(weights_path), "--quiet"]
    assert main(given) == 0
    (here / "mouse_forecast" / "answer.html").write_text("old")
    assert main(given) == 0
    assert "Page: mouse_forecast/answer.html" in capsys.readouterr().out
    assert (here / "mouse_forecast" / "answer.html").read_text() != "old"
    assert [one.name for one in here.iterdir()] == ["mouse_forecast"]


def test_a_folder_with_other_files_is_refused_before_anything_is_computed(monkeypatch, here, mouse, capsys):
    stand_in(monkeypatch, None)
    (here / "mouse_forecast").mkdir()
    (here / "mouse_forecast" / "thesis.tex").write_text("years of work")
    assert main(["forecast", str(mouse)]) == 2
    assert "holds 'thesis.tex', which is no earlier result" in capsys.readouterr().err
    assert [one.name for one in (here / "mouse_forecast").iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(monkeypatch, here, mouse, capsys):
    stand_in(monkeypatch, None)
    (here / "results").write_text("a file")
    assert main(["forecast", str(mouse), "--output", "results/today"]) == 2
    assert "results is a file, and the folder results/today/mouse cannot be in it" in capsys.readouterr().err

    def refuse(**given):
        raise OSError(30, "Read-only file system", str(given["dir"]))

    monkeypatch.setattr(output_folder, "TemporaryDirectory", refuse)
    assert main(["forecast", str(mouse)]) == 2
    message = f"mouse_forecast cannot be made, since nothing can be written to {here} (Read-only file system)"
    assert message in capsys.readouterr().err
    assert [one.name for one in here.iterdir()] == ["results"]


def test_a_time_between_forecasts_that_is_no_whole_number_of_bins_is_wrong_use(here, mouse, shipped, capsys):
    assert main(["forecast", str(mouse), "--every", "0.05"]) == 2
    assert "--every 0.05 is no whole number of bins; expected a multiple of 0.02 s, such as 0.04" in (
        capsys.readouterr().err
    )
    for every_s in (0.02, 0.06, 0.14, 1.0, 3600.0):
        check_every(every_s, candidates(None))


def test_a_failed_recording_does_not_stop_the_others(quick, here, mouse, weights_path, capsys):
    (here / "bad.nwb").write_text("no HDF5")
    given = ["--network", str(weights_path), "--json", "--output", "answers"]
    assert main(["forecast", "bad.nwb", str(mouse), *given]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["schema"] == "neurohorizon-forecast-1"
    bad, good = document["recordings"]
    assert "is not an HDF5 file" in bad["fault"]
    assert bad["answer"] is None
    assert good["fault"] is None
    assert good["answer"] == quick.to_json()
    assert good["folder"] == "answers/mouse"
    assert "bad.nwb: not forecast: " in printed.err
    assert [one.name for one in (here / "answers").iterdir()] == ["mouse"]


def test_an_error_in_the_middle_leaves_the_earlier_files(quick, here, mouse, weights_path, capsys, monkeypatch):
    given = ["forecast", str(mouse), "--network", str(weights_path), "--quiet"]
    assert main(given) == 0
    before = {one.name: one.read_bytes() for one in (here / "mouse_forecast").iterdir()}
    monkeypatch.setattr(forecasting, "write_units", lambda *_: 1 / 0)
    assert main(given) == 1
    assert "not forecast: division by zero" in capsys.readouterr().err
    assert {one.name: one.read_bytes() for one in (here / "mouse_forecast").iterdir()} == before
    assert [one.name for one in here.iterdir()] == ["mouse_forecast"]


def test_an_interruption_leaves_nothing(monkeypatch, here, mouse, weights_path, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    stand_in(monkeypatch, interrupt)
    assert main(["forecast", str(mouse), "--network", str(weights_path)]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_two_recordings_of_one_name_are_refused(here, mouse, capsys):
    (here / "other").mkdir()
    (here / "other" / "mouse.nwb").symlink_to(mouse)
    assert main(["forecast", str(mouse), str(here)]) == 2
    assert "several recordings are named mouse.nwb" in capsys.readouterr().err


def test_notes_of_the_file_are_printed_and_warnings_are_lines(monkeypatch, here, mouse, weights_path, capsys, quick):
    def answer(recording, *, keep, **_):
        keep(recording.forecast([50.0], adaptive=False))
        warnings.warn("the moon is full", UserWarning, stacklevel=2)
        return quick.model_copy(
            update={"recording": quick.recording.model_copy(update={"notes": list(recording.notes)})}
        )

    stand_in(monkeypatch, answer)
    assert main(["forecast", str(mouse), "--network", str(weights_path), "--valid", "whole"]) == 0
    printed = capsys.readouterr()
    assert "Note: valid time is from the first to the last spike" in printed.out
    assert "mouse.nwb: warning: the moon is full" in printed.err


def test_units_that_are_likely_no_neurons_are_among_the_notes(monkeypatch, here, tmp_path, weights_path, capsys, quick):
    def answer(recording, *, keep, **_):
        keep(recording.forecast([50.0], adaptive=False))
        return quick.model_copy(
            update={"recording": quick.recording.model_copy(update={"notes": list(recording.notes)})}
        )

    stand_in(monkeypatch, answer)
    noise = np.arange(0.0, LENGTH_S, 1 / 120)
    path = write_recording(tmp_path / "noisy.nwb", [*TRAINS, noise], observed=[[[0.0, LENGTH_S]]] * 7)
    note = "likely no single neurons: 1 of 7 units, 16 (120.0 Hz on average); one such unit can decide a score"
    given = ["forecast", str(path), "--network", str(weights_path), "--quiet"]
    assert main(given) == 0
    assert f"Note: {note}" in capsys.readouterr().out
    assert note in (here / "noisy_forecast" / "answer.html").read_text()
    assert main([*given, "--exclude-proposed"]) == 0
    assert "likely no single neurons" not in capsys.readouterr().out


def test_the_page_is_opened_on_request(quick, here, mouse, weights_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(forecast_command.webbrowser, "open", opened.append)
    assert main(["forecast", str(mouse), "--network", str(weights_path), "--quiet", "--open"]) == 0
    assert opened == [(here / "mouse_forecast" / "answer.html").as_uri()]
    assert capsys.readouterr().err == ""


@pytest.fixture(scope="module")
def session(mouse):
    return read_recording(mouse).session


@pytest.mark.usefixtures("shipped")
def test_the_network_with_the_most_similar_training_units_is_chosen(mouse):
    found = examine(mouse, Reading(), candidates(None))
    choice = choose_network(found, Reading(), None)
    assert choice.network.about.name == "hippocampus"
    assert "hippocampus has the smallest share" in choice.why
    assert re.search(r"\(arrays \d+\.\d %, hippocampus 0\.0 %\)", choice.why)
    named = choose_network(found, Reading(), "arrays")
    assert named.network.about.name == "arrays"


@pytest.mark.usefixtures("shipped")
def test_the_choice_uses_no_spike_after_the_reference_window(session):
    cut = nh.load("arrays").fit_reference(session, 0.5).reference.hull_s[1]
    early = session.spike_times_us < cut * 1e6
    late = np.where(early, session.spike_unit, 0).astype(session.spike_unit.dtype)
    changed = type(session)(**{**vars(session), "spike_unit": late})
    assert (changed.spike_unit != session.spike_unit).any()
    for name in ("arrays", "hippocampus"):
        network = nh.load(name)
        names = network.card.feature_names
        assert share_outside(network, changed, Reading(), names) == share_outside(network, session, Reading(), names)


def test_without_releases_a_network_is_required(shipped, here, mouse, capsys):
    for path in shipped.glob("*.json"):
        path.unlink()
    assert main(["forecast", str(mouse)]) == 2
    assert "name a trained network with --network" in capsys.readouterr().err


def test_progress_is_a_line_at_each_step_and_every_few_seconds(capsys):
    now = iter([0.0, 1.0, 1.0 + PAUSE_S, 20.0])
    progress = Progress("a", clock=lambda: next(now))
    for step, share in (("one", 0.0), ("one", 0.1), ("one", 0.25), ("two", 0.5)):
        progress(step, share)
    assert capsys.readouterr().err.splitlines() == [
        "a: one, 0 %",
        "a: one, 25 %, about 18 s left",
        "a: two, 50 %, about 20 s left",
    ]
    assert [as_time(one) for one in (5, 300, 9000)] == ["5 s", "5 min", "2.5 h"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "a" / "results"
    with replacing_folder(folder) as temporary:
        (temporary / "one").write_text("1")
    with suppress(UsageError), replacing_folder(folder) as temporary:
        (temporary / "two").write_text("2")
        raise UsageError
    assert [one.name for one in folder.iterdir()] == ["one"]
    with replacing_folder(folder) as temporary:
        (temporary / "three").write_text("3")
    assert [one.name for one in folder.iterdir()] == ["three"]
    assert list(folder.parent.iterdir()) == [folder]
