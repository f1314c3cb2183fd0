"""A release holds all experts, is read as it was written, and damage to any of its files is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from factories.releases import ABOUT, CLOSED_FORMS, NETWORKS, REGRESSIONS, run_files

from neurohorizon.baselines.glm import PooledGlm
from neurohorizon.forecasts.release import SUMS, is_release, read_release, released, write_sums
from neurohorizon.models.weights import WeightsError, card_path, load_forecaster
from neurohorizon.network_files import SHIPPED


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_files(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def written(run, tmp_path_factory):
    return run.release(tmp_path_factory.mktemp("release") / "made.safetensors")


@pytest.fixture
def release(written, tmp_path):
    """A copy that a test may damage."""
    for one in (written, card_path(written)):
        shutil.copy(one, tmp_path)
    return tmp_path / written.name


def test_a_release_holds_every_expert_of_the_run_bit_for_bit(run, written):
    found = read_release(written)
    assert tuple(found.networks) == NETWORKS
    for path in run.networks:
        network, card = load_forecaster(path)
        assert found.cards[card.method] == card
        tensors = found.networks[card.method].state_dict()
        assert list(tensors) == list(network.state_dict())
        for name, value in network.state_dict().items():
            assert torch.equal(tensors[name], value), name
    pooled = PooledGlm.read(run.pooled)
    np.testing.assert_array_equal(found.pooled.weights, pooled.weights)
    np.testing.assert_array_equal(found.pooled.centre, pooled.centre)
    assert found.closed_forms == CLOSED_FORMS
    assert found.settings == {name: REGRESSIONS[name] for name in ("ridge_ar", "reduced_rank")}
    assert (found.about.name, found.about.code) == ("made", "c0de")
    assert found.about.feature_range["log_rate_hz"] == (0.0, 1.5, 2.5)
    assert (is_release(written), is_release(run.networks[0])) == (True, False)
    assert released(written.parent) == (found.about,)


def changed(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda all_: all_.pop("pooled"), "pooled: Field required; copy"),
        (lambda all_: all_.update(more=1), "more: Extra inputs are not permitted"),
        (lambda all_: all_["about"].update(preparation="in silico"), r"about\.preparation: Input should be 'in vivo'"),
        (lambda all_: all_["about"].update(author="me"), r"about\.author: Unexpected keyword|about\.author: Extra"),
        (lambda all_: all_["about"]["data"][0].pop("licence"), r"an entry of about\.data has the keys"),
        (lambda all_: all_["about"]["feature_range"].update(colour=[0, 1, 2]), "'colour', which is no reference"),
        (lambda all_: all_["about"].update(sha256="0" * 64), "damaged or of another release: its SHA-256 is"),
        (lambda all_: all_["cards"].pop("own_history"), "holds the tensor 'own_history/.*' of no network"),
        (lambda all_: all_["cards"].pop("neurohorizon"), "expected neurohorizon first"),
        (lambda all_: all_["cards"]["own_history"].update(method="other"), "has the card of 'other'"),
        (lambda all_: all_["cards"]["own_history"].pop("model"), r"lacks \['model'\]"),
        (lambda all_: all_["cards"]["own_history"].update(sessions=3), "TypeError"),
        (lambda all_: all_["cards"]["own_history"]["model"].update(head_width=8), "does not fit its card"),
        (lambda all_: all_["cards"]["own_history"]["timeline"].update(bin_ms=10), "bins and windows of own_history"),
        (lambda all_: all_["cards"]["own_history"]["features"].update(population_modes=9), "reads reference features"),
        (
            lambda all_: all_["cards"]["own_history_readout"]["model"]["readout"].update(modes=2),
            "population readout of own_history_readout differs",
        ),
        (
            lambda all_: all_["closed_forms"]["shrinkage"].pop("weight"),
            r"shrinkage has the settings \('bins',\); expected",
        ),
        (lambda all_: all_["settings"].pop("ridge_ar"), "ridge_ar has the settings None"),
        (lambda all_: all_["adaptive"].update(horizon_edges_bins=[2, 7]), "have another horizon than 6 bins"),
        (lambda all_: all_["pooled"]["groups"].pop(), "spans of ar_glm differ"),
        (lambda all_: all_["pooled"]["groups"][0].pop("weights"), "KeyError"),
        (lambda all_: all_["pooled"]["statistics"].pop("log_fano"), "or lacks weights"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_in_three_lines(release, change, message):
    changed(card_path(release), change)
    with pytest.raises(WeightsError, match=message) as caught:
        read_release(release)
    assert len(str(caught.value).replace(str(release.parent), "")) < 3 * 120


def test_damaged_and_missing_files_are_refused(release):
    whole = release.read_bytes()
    release.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"made\.safetensors is damaged or of another release"):
        read_release(release)
    release.unlink()
    with pytest.raises(FileNotFoundError, match=r"made\.safetensors: no such file; a release is two files"):
        read_release(release)
    release.write_bytes(whole)
    card_path(release).write_bytes(b"\xff\xfe")
    with pytest.raises(WeightsError, match="it is not text"):
        read_release(release)
    card_path(release).write_text("{")
    with pytest.raises(WeightsError, match="the file: Invalid JSON"):
        read_release(release)


def test_a_folder_with_hashes_refuses_every_other_file(release):
    write_sums(folder=release.parent)
    read_release(release)
    changed(card_path(release), lambda all_: all_["about"].update(summary="Trained on everything."))
    for read in (lambda: read_release(release), lambda: released(release.parent)):
        with pytest.raises(WeightsError, match=r"made\.json is not the released file: .* and SHA256SUMS lists"):
            read()
    (release.parent / SUMS).write_text("")
    with pytest.raises(WeightsError, match="SHA256SUMS does not list it"):
        read_release(release)
    (release.parent / SUMS).write_text("one\n")
    with pytest.raises(WeightsError, match="SHA256SUMS cannot be read"):
        read_release(release)


def test_a_release_that_cannot_be_used_is_not_written(run, tmp_path):
    with pytest.raises(WeightsError, match="describes 'made', but the output is"):
        run.release(tmp_path / "other.safetensors")
    run.about.write_text(json.dumps(ABOUT | {"species": "rat"}))
    with pytest.raises(WeightsError, match=r"about\.species"):
        run.release(tmp_path / "made.safetensors")
    run.about.write_text(json.dumps(ABOUT))
    assert not list(tmp_path.iterdir())


def test_every_release_of_the_package_is_listed_with_its_hash_and_can_be_read():
    for about in released():
        assert read_release(SHIPPED / f"{about.name}.safetensors").about == about
