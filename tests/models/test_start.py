"""A training starts from trained weights: to the bit, with their scale, and never from a network that does not fit."""

import json
from pathlib import Path

import pytest
import torch
from factories.recordings import CONFIG as OF_RELEASE
from factories.releases import run_files
from factories.sessions import made_files, made_session, small_config
from factories.trainings import train_network
from safetensors.torch import load_file

from neurohorizon import network_files
from neurohorizon.cohort import Row
from neurohorizon.models.training import TrainingModule
from neurohorizon.models.weights import card_of, load_forecaster, read_card
from neurohorizon.starting_weights import FEEDBACK, Start, StartError, check_unseen, find_start, start_data

CONFIG = small_config(training={"steps": 4, "validate_every_steps": 2})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return [made_files(folder, made_session(f"s{i}", CONFIG.splits, n_units=6, seed=i), CONFIG) for i in range(3)]


def train(folder: Path, files, *, config=CONFIG, **changes):
    folder.mkdir(exist_ok=True)
    return train_network(folder, files, config, **changes)


@pytest.fixture(scope="module")
def first(files, tmp_path_factory):
    """A network of a run, trained on the first session."""
    return train(tmp_path_factory.mktemp("first"), files[:1])


@pytest.fixture
def before(monkeypatch):
    """Tensors of the network before its first step, filled in by a training."""
    found: dict[str, torch.Tensor] = {}

    def keep(module: TrainingModule) -> None:
        found.update({name: value.clone() for name, value in module.forecaster.state_dict().items()})

    monkeypatch.setattr(TrainingModule, "on_train_start", keep)
    return found


def equal(found, expected) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_network_before_its_first_step_is_the_trained_one_to_the_bit(files, first, before, tmp_path):
    path = train(tmp_path, files[1:], start_from=str(first.parent))
    assert equal(before, load_file(first))
    trained = load_file(path)
    assert not equal(trained, load_file(first))
    # its features keep the scale with which its weights were trained
    for name in ("mean", "deviation", "lowest", "highest"):
        assert torch.equal(trained[f"unit_encoder.{name}"], before[f"unit_encoder.{name}"])


def test_without_a_start_the_scale_is_that_of_the_training_sessions(files, first, before, tmp_path):
    train(tmp_path, files[1:])
    assert not torch.equal(before["unit_encoder.mean"], load_file(first)["unit_encoder.mean"])


def test_the_card_has_the_start_and_all_that_was_ever_trained_on(files, first, tmp_path):
    path = train(tmp_path, files[1:], start_from=str(first))
    card = read_card(path.with_suffix(".json"))
    assert card.started_from == {"name": str(first), "sha256": find_start(str(first)).sha256}
    assert card.training.start_from == str(first)
    assert card.sessions == ("s1", "s2", "s0")
    assert card.subjects == ("animal-s0", "animal-s1", "animal-s2")
    assert card.scores["start_validation_bits_per_spike"] <= card.scores["validation_bits_per_spike"]
    assert read_card(first.with_suffix(".json")).started_from is None


def test_weights_that_training_makes_worse_are_kept(files, first, tmp_path, capsys):
    path = train(tmp_path, files[1:], start_from=str(first), learning_rate=3.0, warmup_steps=0)
    assert equal(load_file(path), load_file(first))
    assert "which are kept" in capsys.readouterr().out


def test_a_network_without_feedback_starts_from_one_with_it(files, first, before, tmp_path):
    plain = CONFIG.model_copy(update={"model": CONFIG.model.model_copy(update={"feedback": False})})
    train(tmp_path, files[1:], start_from=str(first), config=plain)
    expected = load_file(first)
    assert before.keys() < expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in before.items())


def test_a_network_with_feedback_starts_from_one_without(files, first, before, tmp_path):
    plain = CONFIG.model_copy(update={"model": CONFIG.model.model_copy(update={"feedback": False})})
    path = train(tmp_path / "plain", files[:1], config=plain)
    without = dict(load_file(path))
    train(tmp_path / "fed", files[1:], start_from=str(path))
    assert before.keys() > without.keys()
    assert all(torch.equal(value, before[name]) for name, value in without.items())
    fed = before.keys() - without.keys()
    assert all(name.startswith(FEEDBACK) for name in fed) and any(before[name].abs().sum() > 0 for name in fed)


def test_a_forecaster_without_encoder_starts_from_the_network_with_the_same_parts(release, before, tmp_path):
    sessions = [made_session(f"s{i}", OF_RELEASE.splits, n_units=6, seed=i) for i in range(2)]
    of_release = [made_files(tmp_path, one, OF_RELEASE) for one in sessions]
    marginal = tuple(name for name in OF_RELEASE.features.groups if name != "relational")
    plain = OF_RELEASE.model_copy(
        update={
            "training": CONFIG.training,
            "model": OF_RELEASE.model.model_copy(update={"population": False, "feedback": False}),
            "features": OF_RELEASE.features.model_copy(update={"groups": marginal}),
        }
    )
    path = train(tmp_path / "out", of_release, start_from="made", config=plain)
    prefix = "own_history_readout/"
    tensors = load_file(release)
    assert equal(before, {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)})
    assert read_card(path.with_suffix(".json")).method == "neurohorizon"
    # and a later training from it, whose forecaster has no encoder
    before.clear()
    train(tmp_path / "again", of_release, start_from=str(path), config=plain)
    assert equal(before, load_file(path))
    # a new encoder beside a trained head has no trained start
    with_encoder = plain.model_copy(update={"model": OF_RELEASE.model.model_copy(update={"feedback": False})})
    with pytest.raises(StartError, match=r"in 1 keys; expected model\.population: false"):
        train(tmp_path / "with", of_release, start_from=str(path), config=with_encoder)


def test_data_of_a_run_that_has_no_list_of_them_are_not_released(first):
    with pytest.raises(StartError, match=r"a network of a run, which does not list licences.*; a release needs them"):
        start_data(find_start(str(first)))
    entries = start_data(find_start("hippocampus"))
    assert {"name", "recordings", "animals", "licence", "citation"} <= entries[0].keys()


def test_a_killed_training_resumes_after_its_start(files, first, before, tmp_path, monkeypatch):
    expected = load_file(train(tmp_path / "whole", files[1:], start_from=str(first)))

    def stop(module: TrainingModule) -> None:
        if module.global_step >= 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "on_train_batch_start", lambda module, batch, index: stop(module))
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(tmp_path / "cut", files[1:], start_from=str(first))
    assert list((tmp_path / "cut" / "checkpoints").rglob("last.ckpt"))
    assert equal(load_file(train(tmp_path / "cut", files[1:], start_from=str(first))), expected)


def test_another_size_is_refused_with_the_keys_to_set(files, first, tmp_path):
    other = CONFIG.model_copy(update={"model": CONFIG.model.model_copy(update={"width": 32})})
    with pytest.raises(StartError, match=r"differs from this configuration in 1 keys; expected model\.width: 16"):
        train(tmp_path, files[1:], start_from=str(first), config=other)
    shorter = CONFIG.timeline.model_copy(update={"context_bins": 20, "evaluation_stride_bins": 3})
    with pytest.raises(StartError, match=r"in 1 keys; expected timeline\.context_bins: 10"):
        train(tmp_path, files[1:], start_from=str(first), config=CONFIG.model_copy(update={"timeline": shorter}))


def test_weights_that_changed_since_the_run_was_planned_are_refused(files, first, tmp_path):
    planned = Start(str(first), str(first), "0" * 64)
    with pytest.raises(StartError, match="changed since the run was planned"):
        train(tmp_path, files[1:], start_from=str(first), start=planned)


@pytest.fixture
def release(tmp_path, monkeypatch):
    """The package as if it shipped the release ``made`` of three networks."""
    shipped = tmp_path / "shipped"
    path = run_files(tmp_path / "run").release(shipped / "made.safetensors")
    monkeypatch.setattr(network_files, "SHIPPED", shipped)
    return path


@pytest.mark.parametrize("method", ["neurohorizon", "own_history"])
def test_each_network_starts_from_the_release_s_network_of_its_method(release, before, tmp_path, method):
    sessions = [made_session(f"s{i}", OF_RELEASE.splits, n_units=6, seed=i) for i in range(2)]
    files = [made_files(tmp_path, one, OF_RELEASE) for one in sessions]
    if method == "own_history":
        files = [type(one)(one.session, type(one.paths)(one.paths.session, one.paths.features)) for one in files]
    short = OF_RELEASE.model_copy(update={"training": CONFIG.training})
    path = train(tmp_path / "out", files, start_from="made", method=method, config=short)
    of_release = {
        name.removeprefix(f"{method}/"): value
        for name, value in load_file(release).items()
        if name.startswith(f"{method}/")
    }
    assert equal(before, of_release)
    assert read_card(path.with_suffix(".json")).started_from["name"] == "made"


def test_a_network_that_the_weights_lack_starts_from_random_weights(files, first, tmp_path, capsys):
    path = train(tmp_path, files[1:], start_from=str(first), method="own_history_readout")
    assert read_card(path.with_suffix(".json")).started_from is None
    assert "has no network own_history_readout" in capsys.readouterr().out


def test_a_wrong_name_has_the_right_one(release):
    with pytest.raises(StartError, match=r"there is no file .*mad\.safetensors; .*: made; did you mean 'made'\?"):
        find_start("mad")


def row(session, subject, role="heldout"):
    return Row(session, "nwb", subject, "lab", "", role, "main" if role == "heldout" else "", "")


def test_what_the_weights_were_trained_on_cannot_be_held_out(first):
    start = find_start(str(first))
    check_unseen(start, [row("s0", "animal-s0", "train"), row("s8", "animal-s8")], "main")
    with pytest.raises(StartError, match=r"fold main holds out: s0 \(animal other\)"):
        check_unseen(start, [row("s0", "other")], "main")
    # the same animal in another session, written another way
    with pytest.raises(StartError, match=r"holds out: s8 \(animal Animal-S0\)"):
        check_unseen(start, [row("s8", "Animal-S0")], "main")
    check_unseen(start, [row("s0", "animal-s0")], "another fold")


def test_older_cards_are_read_and_name_their_sessions_only(first, tmp_path):
    values = json.loads(first.with_suffix(".json").read_text())
    for key in ("subjects", "started_from"):
        del values[key]
    del values["training"]["start_from"]
    card = card_of(values, "old.json")
    assert (card.subjects, card.started_from, card.training.start_from) == ((), None, None)
    (tmp_path / "model.json").write_text(json.dumps(values))
    (tmp_path / "model.safetensors").write_bytes(first.read_bytes())
    start = find_start(str(tmp_path))
    check_unseen(start, [row("s8", "animal-s0")], "main")
    with pytest.raises(StartError, match="s0"):
        check_unseen(start, [row("s0", "animal-s0")], "main")
    assert load_forecaster(tmp_path / "model.safetensors")[1].subjects == ()
