"""A folder for the Hugging Face hub is read back to the same network, and its model card has valid metadata."""

import json
import shutil

import numpy as np
import pytest
import yaml
from factories.recordings import DURATION_S
from factories.releases import ABOUT, run_files

from neurohorizon import WeightsError, load
from neurohorizon.files import file_hash

SCORE = {
    **{"method": "neurohorizon", "bits_per_spike": 0.3, "low": 0.2, "high": None, "sessions": 2},
    **{"null": "mean | rate", "heldout": "<b>animals</b>"},
}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    files = run_files(tmp_path_factory.mktemp("run"))
    files.about.write_text(json.dumps(ABOUT | {"scores": [SCORE]}))
    return files.release(tmp_path_factory.mktemp("release") / "made.safetensors")


@pytest.fixture(params=["run", "release"])
def source(request):
    return load(request.getfixturevalue({"run": "weights", "release": "release"}[request.param]))


@pytest.fixture
def folder(source, tmp_path):
    source.to_hugging_face(tmp_path / "out" / "my-model")
    return tmp_path / "out" / "my-model"


def front_matter(folder) -> dict:
    start, text, _ = (folder / "README.md").read_text().split("---\n", 2)
    assert start == ""
    return yaml.safe_load(text)


def test_the_folder_is_read_back_to_the_same_network(source, folder, units):
    assert sorted(one.name for one in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert [one.name for one in folder.parent.iterdir()] == ["my-model"]
    found = load(folder)
    assert found.card == source.card and found.about == source.about and found.experts == source.experts
    for name, value in source.forecaster.state_dict().items():
        np.testing.assert_array_equal(found.forecaster.state_dict()[name], value)
    at = [50.0, 60.0]
    here, there = (
        one.fit_reference(units, reference=(0.0, 40.0), valid=(0.0, DURATION_S)).forecast(at, adaptive=False)
        for one in (source, found)
    )
    np.testing.assert_array_equal(there.log_rate, here.log_rate)


def test_the_weights_are_the_file_of_the_run_or_of_the_release(source, folder):
    digest = file_hash(folder / "model.safetensors", "sha256")
    assert digest == file_hash(source.path, "sha256")
    assert f"SHA-256 `{digest}`" in (folder / "README.md").read_text()


def test_the_model_card_has_the_metadata_that_the_hub_reads(source, folder):
    found = front_matter(folder)
    assert (found["license"], found["library_name"], found["metrics"]) == ("mit", "neurohorizon", ["bits_per_spike"])
    assert ("datasets" in found) == (source.about is not None) == ("rat" in found["tags"])
    hub = pytest.importorskip("huggingface_hub", reason="it checks the metadata of the model card")
    card = hub.ModelCard.load(folder / "README.md")
    assert card.data.to_dict() == found and "# " in card.text


def test_the_model_card_of_a_release_lists_data_and_scores_as_plain_text(release, tmp_path):
    load(release).to_hugging_face(tmp_path / "made")
    text = (tmp_path / "made" / "README.md").read_text()
    assert "| made | 2 | 1 | CC0-1.0 | nobody |" in text
    (line,) = (line for line in text.splitlines() if "0.300" in line)
    assert line.startswith("| neurohorizon | 0.300 | 0.200 to unknown | 2 |") and line.count("|") == 7
    assert "<b>" not in text


def test_a_folder_that_exists_is_refused_and_nothing_is_left_after_an_error(release, tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(FileExistsError, match="no folder is overwritten"):
        load(release).to_hugging_face(tmp_path / "here")
    copied = tmp_path / "made.safetensors"
    shutil.copy(release, copied)
    shutil.copy(release.with_suffix(".json"), copied.with_suffix(".json"))
    network = load(copied)
    copied.write_bytes(copied.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="was changed since it was read"):
        network.to_hugging_face(tmp_path / "new")
    copied.unlink()
    with pytest.raises(FileNotFoundError):
        network.to_hugging_face(tmp_path / "new")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["here", "made.json"]
