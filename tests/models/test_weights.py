"""A card holds all that a forecast needs, and other cards are refused by name."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from factories.cards import made_card
from factories.recordings import CONFIG, saved_network

from neurohorizon import load
from neurohorizon.models.weights import WeightsError, card_path, load_forecaster, save_forecaster


@pytest.fixture
def weights(tmp_path):
    return saved_network(tmp_path)


def test_weights_and_card_are_read_as_they_were_written_and_by_anyone(weights):
    before = os.umask(0o022)
    try:
        forecaster, card = load_forecaster(str(weights))
        save_forecaster(weights, forecaster, card)
    finally:
        os.umask(before)
    again, found = load_forecaster(weights)
    assert found == card == made_card(CONFIG)
    for name, value in again.state_dict().items():
        assert torch.equal(value, forecaster.state_dict()[name]), name
    assert [path.stat().st_mode & 0o777 for path in (weights, card_path(weights))] == [0o644] * 2


def test_a_network_is_loaded_by_its_folder_or_its_file(weights):
    assert load(weights.parent).card == load(str(weights)).card
    assert repr(load(weights)) == "Network(neurohorizon, bins of 20 ms, context 200 ms, horizon 120 ms)"


def changed(weights, change):
    values = json.loads(card_path(weights).read_text())
    change(values)
    card_path(weights).write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.pop("timeline"), r"lacks \['timeline'\]; train the network again"),
        (lambda card: card.update(bin_ms=20), r"has \['bin_ms'\]; train"),
        (lambda card: card["timeline"].pop("bin_ms"), r"timeline\.bin_ms: Field required; train"),
        (lambda card: card["model"].update(breadth=3), r"model\.breadth: Extra inputs are not permitted; train"),
        (lambda card: card["features"].update(population_modes=0), r"features\.population_modes: Input should be"),
        (lambda card: card["feature_names"].insert(0, card["feature_names"].pop()), r"this version .* computes \d+"),
        (lambda card: card["feature_names"].pop(), r"does not fit its card, or is damaged \(size mismatch for unit_"),
    ],
)
def test_a_card_of_another_version_is_refused_in_three_lines(weights, change, message):
    changed(weights, change)
    with pytest.raises(WeightsError, match=message) as caught:
        load(weights)
    assert len(str(caught.value).replace(str(weights.parent), "")) < 3 * 120


def test_files_that_are_missing_or_broken_are_named(weights, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent/model\.safetensors: no such file, expected the weights"):
        load_forecaster(tmp_path / "absent" / "model.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:50])
    with pytest.raises(WeightsError, match="does not fit its card, or is damaged"):
        load(weights)
    weights.write_bytes(whole)
    card_path(weights).write_text("{")
    with pytest.raises(WeightsError, match=r"model\.json is no card of weights: it is not JSON"):
        load(weights)
    card_path(weights).unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.json: no such file, expected the card of these weights"):
        load(weights.parent)


def test_a_network_that_reads_behaviour_or_images_is_not_forecast_from_spikes(weights, monkeypatch):
    forecaster, card = load_forecaster(weights)
    seen = replace(card, modalities=object())
    monkeypatch.setattr("neurohorizon.recordings.network.load_forecaster", lambda path: (forecaster, seen))
    with pytest.raises(WeightsError, match="reads behaviour or images"):
        load(weights)


def test_the_settings_of_the_features_decide_the_forecast_and_are_those_of_the_card(tmp_path, weights):
    units = {name: np.sort(np.random.default_rng(name).uniform(0, 80, 400)) for name in range(4)}
    other = CONFIG.features.model_copy(update={"population_modes": 2, "coupling_lags_bins": (1, 4)})
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    networks = [load(saved_network(tmp_path / "a")), load(saved_network(tmp_path / "b", features=other))]
    one, two = (network.fit_reference(units, valid=(0.0, 80.0)).inputs.features for network in networks)
    assert one.shape[1] == len(networks[0].card.feature_names)
    assert two.shape[1] == len(networks[1].card.feature_names)
    assert one.shape != two.shape
