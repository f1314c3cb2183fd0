"""A recording, a tiny network and two releases that all tests of this folder share."""

import json
import shutil
from pathlib import Path

import pytest
from factories.recording_files import LENGTH_S, spike_trains, write_recording
from factories.recordings import saved_network
from factories.releases import ABOUT, run_files

from neurohorizon import network_files
from neurohorizon.answer.answer import Answer
from neurohorizon.command import forecasting
from neurohorizon.command.main import main
from neurohorizon.forecasts.release import write_sums


@pytest.fixture(scope="session")
def mouse(tmp_path_factory) -> Path:
    """A recording of six units that is observed for 80 s."""
    regions = ["CA1", "CA1", "CA3", "CA3", "DG", "unknown"]
    observed = [[[0.0, LENGTH_S]]] * 6
    path = tmp_path_factory.mktemp("mouse") / "mouse.nwb"
    columns = {"quality": ["good"] * 6}
    return write_recording(path, spike_trains(), observed=observed, regions=regions, columns=columns)


@pytest.fixture(scope="session")
def weights_path(tmp_path_factory) -> Path:
    """Weights of a network of a run: bins of 20 ms, context 200 ms, horizon 120 ms."""
    return saved_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="session")
def releases(tmp_path_factory) -> Path:
    """A folder of two releases: no unit of the recording is within the training range of the first."""
    folder, run = tmp_path_factory.mktemp("releases"), run_files(tmp_path_factory.mktemp("run"))
    score = {"bits_per_spike": 0.25, "low": 0.2, "high": 0.3, "sessions": 6, "null": "reference_mean"}
    scores = [
        {"method": "own_history", "heldout": "one animal in turn", **score, "bits_per_spike": 0.1},
        {"method": "neurohorizon_adaptive", "heldout": "one animal in turn", **score},
    ]
    for name, most in (("arrays", -90.0), ("hippocampus", 90.0)):
        about = ABOUT | {"name": name, "scores": scores, "feature_range": {"log_rate_hz": [-99.0, -95.0, most]}}
        run.about.write_text(json.dumps(about))
        run.release(folder / f"{name}.safetensors")
    write_sums(folder=folder)
    return folder


@pytest.fixture
def shipped(releases, tmp_path, monkeypatch) -> Path:
    """The package as if it shipped the two releases."""
    folder = tmp_path / "shipped"
    shutil.copytree(releases, folder)
    monkeypatch.setattr(network_files, "SHIPPED", folder)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def done(mouse, weights_path, tmp_path_factory):
    """A forecast, its exit status, and what was printed."""
    output = tmp_path_factory.mktemp("answers")
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("builtins.print", lambda *text, **_: printed.append(" ".join(map(str, text))))
        given = ["--network", str(weights_path), "--reference", "0:40", "--output", str(output), "--every", "0.12"]
        status = main(["forecast", str(mouse), *given])
    return status, output / "mouse", printed


@pytest.fixture
def quick(done, monkeypatch):
    """Answers as that of the finished forecast, in no time."""
    answer = Answer.model_validate(json.loads((done[1] / "answer.json").read_text()))

    def answer_for(recording, *, keep, **_):
        keep(recording.forecast([50.0, 60.0], adaptive=False))
        return answer

    monkeypatch.setattr(forecasting, "answer_for", answer_for)
    return answer
