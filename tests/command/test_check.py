"""`neurohorizon check` names what a file holds and why it can be forecast or not."""

import json

import numpy as np
import pytest
from factories.recording_files import LENGTH_S, spike_trains, write_recording

from neurohorizon.command.main import main

TRAINS = spike_trains()
ALL = [[[0.0, LENGTH_S]]] * len(TRAINS)


def checked(capsys, *given):
    """Return the exit status and the JSON document."""
    status = main(["check", *map(str, given), "--json", "--quiet"])
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "neurohorizon-check-1"
    return status, document["recordings"]


def test_the_facts_are_those_of_the_file(mouse, capsys):
    status, (found,) = checked(capsys, mouse, "--minimum-rate", "4.5")
    assert status == 0
    assert found["file"] == str(mouse)
    assert found["forecastable"] is True
    assert found["faults"] == []
    assert (found["subject"], found["species"], found["units"]) == ("Ada", "Mus musculus", 6)
    assert found["spikes"] == sum(map(len, TRAINS))
    rates_hz = [np.count_nonzero(one < 40) / 40 for one in TRAINS]
    assert found["units_at_minimum_rate"] == sum(rate >= 4.5 for rate in rates_hz)
    assert 0 < found["units_at_minimum_rate"] < 6
    assert found["region_column"] == "location"
    assert found["regions"] == {"CA1": 2, "CA3": 2, "DG": 1, "": 1}
    valid = found["valid_time"]
    assert (valid["from"], valid["start_s"], valid["stop_s"], valid["intervals"]) == ("obs_intervals", 0.0, 80.0, 1)
    assert found["reference"] == {"start_s": 0.0, "stop_s": 40.0, "duration_s": 40.0}
    # 1 s of context and 1 s of horizon are the gap, and the first context
    assert found["forecast"]["start_s"] == 42.0
    assert found["forecast"]["windows"] == 37
    assert found["likely_no_neurons"] == {}


def test_the_text_has_the_same_facts(mouse, capsys):
    assert main(["check", str(mouse)]) == 0
    printed = capsys.readouterr().out
    for part in (
        "Ada (Mus musculus)",
        "6, of which 6 reach 0.1 Hz",
        "CA1 2",
        "unknown 1",
        "obs_intervals",
        "37 windows",
    ):
        assert part in printed
    assert printed.splitlines()[-1].split() == ["forecastable", "yes"]


def test_windows_are_those_of_the_network(mouse, weights_path, capsys):
    _, (found,) = checked(capsys, mouse, "--network", weights_path, "--reference", "0:30")
    assert found["forecast"]["context_s"] == 0.2
    assert found["forecast"]["horizon_s"] == 0.12
    assert found["forecast"]["start_s"] == 30.32
    assert found["reference"]["stop_s"] == 30.0


def test_options_override_what_the_file_says(mouse, capsys):
    _, (found,) = checked(capsys, mouse, "--valid", "10:50", "--exclude", "10,12", "--exclude", "15")
    assert (found["valid_time"]["from"], found["valid_time"]["duration_s"]) == ("given", 40.0)
    assert found["units"] == 3
    assert found["excluded"] == {"10": "listed", "12": "listed", "15": "listed"}
    _, (whole,) = checked(capsys, mouse, "--valid", "whole")
    assert whole["valid_time"]["stop_s"] == pytest.approx(max(one[-1] for one in TRAINS), abs=1e-5)


def test_an_assumed_valid_time_is_a_note(tmp_path, capsys):
    status, (found,) = checked(capsys, write_recording(tmp_path / "bare.nwb", TRAINS, subject=""))
    assert status == 0
    assert found["valid_time"]["from"] == "whole"
    assert found["subject"] == ""
    assert any("first to the last spike" in note and "--valid" in note for note in found["notes"])


def test_likely_noise_is_named_and_can_be_excluded(tmp_path, capsys):
    noise = np.arange(0.0, LENGTH_S, 1 / 120)
    path = write_recording(tmp_path / "noisy.nwb", [*TRAINS, noise], observed=[*ALL, ALL[0]])
    _, (found,) = checked(capsys, path)
    assert found["likely_no_neurons"] == {"16": "120.0 Hz on average"}
    for option in (["--exclude-proposed"], ["--max-rate", "100"], ["--exclude", "16"]):
        _, (without,) = checked(capsys, path, *option)
        assert list(without["excluded"]) == ["16"], option
        assert without["units"] == 6
        assert without["likely_no_neurons"] == {}


def test_labels_of_quality_are_printed_and_choose_units(tmp_path, capsys):
    columns = {"quality": ["good", "mua", "good", "noise", "mua", "good"], "area": ["V1", "V1", "LM", "LM", "LM", "LM"]}
    path = write_recording(tmp_path / "a.nwb", TRAINS, observed=ALL, columns=columns)
    _, (found,) = checked(capsys, path)
    assert (found["quality_column"], found["quality"]) == ("quality", {"good": 3, "mua": 2, "noise": 1})
    assert main(["check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "column quality: good 3, mua 2, noise 1; all of these are used, --keep quality=VALUE uses some" in printed
    _, (found,) = checked(capsys, path, "--keep", "quality=good,mua", "--region", "area")
    assert (found["units"], found["quality"]) == (5, {"good": 3, "mua": 2})
    assert found["excluded"] == {"13": "quality is noise"}
    assert (found["region_column"], found["regions"]) == ("area", {"LM": 3, "V1": 2})
    assert main(["check", str(path), "--keep", "quality=good"]) == 0
    assert "quality      column quality: good 3\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--keep", "kind=good"], "--keep names 'kind', which is no column"),
        (["--region", "layer"], "--region is 'layer', which is no column"),
        (["--valid", "0:1e300"], "a time of 1e+300 s"),
        (["--valid", "0:12"], "units are described from 10 s on; choose a longer --reference"),
        (["--reference", "0:79", "--network", "hippocampus"], "no context and horizon (2 s) fits"),
        (["--minimum-rate", "50"], "none of 6 units reaches 50 Hz"),
        (["--reference", "90:99"], "holds no valid time"),
        (["--exclude", "7"], "has no unit 7"),
        (["--valid", "epochs"], "--valid is epochs, which it does not have"),
    ],
)
def test_a_recording_that_cannot_be_forecast_has_its_reason(mouse, capsys, options, fault):
    status, (found,) = checked(capsys, mouse, *options)
    assert status == 1
    assert found["forecastable"] is False
    assert fault in " ".join(found["faults"])


def test_a_broken_file_does_not_stop_the_others_of_a_folder(tmp_path, mouse, capsys):
    folder = tmp_path / "sub-1"
    folder.mkdir()
    (folder / "good.nwb").symlink_to(mouse)
    (folder / "broken.nwb").write_text("no HDF5")
    (folder / ".hidden.nwb").write_text("no HDF5")
    status, (broken, good) = checked(capsys, tmp_path)
    assert status == 1
    assert (broken["forecastable"], good["forecastable"]) == (False, True)
    assert "is not an HDF5 file" in broken["faults"][0]
    assert "units" not in broken
    assert main(["check", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "1 of 2 recordings can be forecast"
    assert "broken.nwb (1 of 2)" in printed.err


def test_names_in_a_file_cannot_move_the_cursor(tmp_path, capsys):
    path = write_recording(tmp_path / "a.nwb", TRAINS, subject="Ada\x1b[2J\nBea", regions=["CA1\x1b[31m"] * 6)
    assert main(["check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "Ada [2J Bea" in printed
    assert "regions are not used: units['region'] has control characters" in printed
