"""The released network that forecasts a recording: windows first, then preparation, length and features."""

import json

import h5py
import numpy as np
import pytest
from factories.nwb_files import make_long_file

from neurohorizon.command.cards import Candidate, Lengths, candidates
from neurohorizon.command.examination import describe, examine
from neurohorizon.command.fits import Fit, fitting
from neurohorizon.command.main import main
from neurohorizon.command.network_choice import choose_network
from neurohorizon.command.options import Reading
from neurohorizon.forecasts.release import write_sums
from neurohorizon.ingest.nwb_file import open_nwb
from neurohorizon.ingest.nwb_recording import preparation_of

SHORT, LONG = Lengths(20, 10, 10), Lengths(20, 50, 50)


def fit(name, windows, lengths=LONG, preparation="in vivo"):
    return Fit(Candidate(name, lengths, preparation), windows)


def left(*fits, preparation=""):
    return [one.name for one in fitting(fits, preparation)]


def test_more_windows_that_are_shorter_are_no_advantage():
    assert left(fit("long", 500), fit("trials", 4000, SHORT)) == ["long"]


def test_a_network_without_windows_is_never_left_while_another_has_some():
    assert left(fit("long", 0), fit("trials", 3, SHORT)) == ["trials"]
    assert left(fit("long", 0), fit("trials", 0, SHORT)) == ["long"]


def test_a_few_long_intervals_do_not_decide():
    # 500 windows forecast 100 s, so 9 s are too few
    assert left(fit("long", 9), fit("trials", 500, SHORT)) == ["trials"]
    assert left(fit("long", 10), fit("trials", 500, SHORT)) == ["long"]


def test_networks_of_the_same_lengths_are_left_for_the_features():
    assert left(fit("a", 50), fit("b", 50, preparation="ex vivo"), fit("c", 100, SHORT)) == ["a", "b"]


def test_the_context_decides_between_equal_horizons():
    assert left(fit("a", 50, Lengths(20, 10, 50)), fit("b", 49)) == ["b"]


def test_a_preparation_that_the_file_names_excludes_the_other_even_if_its_horizon_is_longer():
    tissue, animal = fit("arrays", 500, preparation="ex vivo"), fit("trials", 2000, SHORT)
    assert left(tissue, animal, preparation="in vivo") == ["trials"]
    assert left(tissue, animal, preparation="ex vivo") == ["arrays"]
    assert left(tissue, animal) == ["arrays"]
    assert left(tissue, preparation="in vivo") == ["arrays"]


@pytest.fixture
def two_lengths(shipped):
    """The package as if it shipped networks of 0.2 s to 0.12 s, and one of 1 s to 1 s."""
    values = json.loads((shipped / "arrays.json").read_text())
    values["about"]["name"] = "long"
    values["cards"]["neurohorizon"]["timeline"] |= {"context_bins": 50, "horizon_bins": 50}
    (shipped / "long.json").write_text(json.dumps(values))
    (shipped / "long.safetensors").write_bytes((shipped / "arrays.safetensors").read_bytes())
    write_sums(folder=shipped)
    return shipped


@pytest.mark.usefixtures("two_lengths")
def test_short_trials_choose_the_network_of_short_windows(tmp_path):
    path = make_long_file(tmp_path / "trials.nwb", subject="Ada", observed=False, trial_s=0.4)
    found = examine(path, Reading(), candidates(None))
    assert (found.networks, found.lengths.horizon_s) == (("arrays", "hippocampus"), 0.12)
    assert found.forecastable
    choice = choose_network(found, Reading(), None)
    assert choice.network.about.name == "hippocampus"
    assert "long (1 s to 1 s, in vivo): no windows" in choice.why
    printed = describe(found)
    assert "counted with arrays or hippocampus" in printed
    assert "long (1 s to 1 s, in vivo): no windows" in printed
    of_each = {one["name"]: one["forecastable"] for one in found.to_json()["networks"]}
    assert of_each == {"arrays": True, "hippocampus": True, "long": False}


@pytest.mark.usefixtures("two_lengths")
def test_a_continuous_recording_chooses_the_longest_horizon(tmp_path):
    found = examine(make_long_file(tmp_path / "all.nwb", subject="Ada"), Reading(), candidates(None))
    assert found.networks == ("long",)
    windows = {one.name: one.windows for one in found.fits}
    assert windows["hippocampus"] > windows["long"] == found.windows
    assert [one["candidate"] for one in found.to_json()["networks"]] == [False, False, True]


@pytest.mark.usefixtures("two_lengths")
def test_no_length_that_fits_is_a_fault_with_the_shortest(tmp_path, capsys):
    path = make_long_file(tmp_path / "shorter.nwb", subject="Ada", observed=False, trial_s=0.3)
    assert main(["check", str(path)]) == 1
    assert "no context and horizon (0.32 s) fits" in capsys.readouterr().out


def prepared(path, write):
    make_long_file(path, subject="Ada")
    with h5py.File(path, "a") as file:
        write(file)
    with open_nwb(path) as file:
        return preparation_of(file)[0]


def test_the_preparation_is_that_of_slices_or_behaviour_and_never_of_free_text(tmp_path):
    def slices(file):
        file["general/slices"] = "acute slices of 300 um"

    def behaviour(file):
        file.create_dataset("processing/behavior/Position/data", data=np.arange(3.0))

    def both(file):
        slices(file)
        behaviour(file)

    def text(file):
        file["general/experiment_description"] = "no slices: in vivo"

    found = [prepared(tmp_path / f"{one.__name__}.nwb", one) for one in (slices, behaviour, both, text)]
    assert found == ["ex vivo", "in vivo", "", ""]
