"""Decoding of behaviour: labels, POYO and its new sessions, linear probes, R2, tables and figure."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from factories.cards import made_card
from factories.sessions import MadeFiles, made_files, made_session, small_config
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from neurohorizon.analysis.style import render_png
from neurohorizon.analysis.tables import Resampling
from neurohorizon.config import Config, Poyo
from neurohorizon.experiments.downstream.contexts import read_contexts
from neurohorizon.experiments.downstream.decoding_file import Decoding, r2, read_decodings, write_decodings
from neurohorizon.experiments.downstream.labels import (
    LabelledSession,
    LabelSeries,
    labelled_origins,
    learned_origins,
    read_labelled,
    scored_origins,
)
from neurohorizon.experiments.downstream.latents import frozen_features
from neurohorizon.experiments.downstream.poyo import (
    Samples,
    collated,
    decode_trained,
    extended,
    fit,
    fit_extended,
    latents_of,
    load_poyo,
    time_blocks,
    to_learn,
    train_poyo,
)
from neurohorizon.experiments.downstream.poyo_decoding import decode_new_session, decode_training_sessions
from neurohorizon.experiments.downstream.poyo_figures import draw_decoding
from neurohorizon.experiments.downstream.poyo_tables import METHOD_ORDER, format_summary, session_table, summary_table
from neurohorizon.experiments.downstream.ridge_probes import block_errors, probe_session, ridge_probe
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.weights import load_forecaster, save_forecaster
from neurohorizon.session import Series, write_session
from neurohorizon.timeline import Intervals, to_us

SPAN_US = 100_000
TRAINED, NEW = ("known-0", "known-1"), "new"


def small_poyo(**changes: object) -> Poyo:
    """Settings of a POYO for tests: 5 of 10 bins are a label."""
    values = {
        **{"source": "nwb", "target": "wheel", "target_bins": 5, "still_s": None, "labelled_s": 24.0},
        **{"ridge": (0.01, 0.1, 1.0), "width": 16, "depth": 1, "heads": 2, "latent_step_bins": 5},
        **{"latents_per_step": 2, "dropout": 0.0, "steps": 150, "batch_windows": 16, "learning_rate": 0.01},
        **{
            "weight_decay": 0.0,
            "adapt": "vocabulary",
            "adapt_steps": 20,
            "adapt_windows": 8,
            "adapt_learning_rate": 0.02,
        },
    }
    return Poyo(**(values | changes))


def wheel(session_seed: int, duration_s: float) -> Series:
    """What all units of a made session follow, half of them with the other sign, and a channel that nobody follows."""
    time_s = np.arange(0, duration_s, 0.01)
    shared = np.sin(2 * np.pi * time_s / 1.3 + session_seed)
    return Series(time_s, 3 + 2 * shared, "rad/s")


@pytest.fixture(scope="module")
def config() -> Config:
    """The small configuration."""
    return small_config()


@pytest.fixture(scope="module")
def files(tmp_path_factory, config) -> dict[str, MadeFiles]:
    """Two sessions to train on and a new one, each with a wheel."""
    folder, made = tmp_path_factory.mktemp("sessions"), {}
    for seed, name in enumerate((*TRAINED, NEW)):
        session = made_session(name, config.splits, n_units=8 + seed, seed=seed)
        made[name] = made_files(folder, replace(session, behaviour={"wheel": wheel(seed, 80.0)}), config)
    return made


def train(files: dict[str, MadeFiles], config: Config, poyo: Poyo, output: Path, seed: int = 0) -> Path:
    """Train a POYO on the two sessions."""
    train_poyo(
        sessions=[files[name].paths.session for name in TRAINED],
        poyo=poyo,
        timeline=config.timeline,
        fold="made",
        seed=seed,
        code="code",
        accelerator="cpu",
        threads=1,
        checkpoints=output.parent / "checkpoints",
        output=output,
    )
    return output


@pytest.fixture(scope="module")
def weights(tmp_path_factory, files, config) -> Path:
    """A trained POYO."""
    return train(files, config, small_poyo(), tmp_path_factory.mktemp("poyo") / "model.safetensors")


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory, config) -> Path:
    """An untrained forecaster, whose head is not silent."""
    card = made_card(config, features=config.features.model_copy(update={"groups": ("rate",)}), sessions=TRAINED)
    torch.manual_seed(0)
    network = card.build()
    torch.nn.init.normal_(network.head.rate_weights.weight, std=0.1)
    path = tmp_path_factory.mktemp("forecaster") / "model.safetensors"
    save_forecaster(path, network, card)
    return path


def labelled(files: dict[str, MadeFiles], name: str) -> LabelledSession:
    """A session as decoders know it."""
    return read_labelled(files[name].paths.session, target="wheel", still_s=None)


def extend(weights: Path, session: Path, output: Path) -> Decoding:
    """Extend to a session and decode it."""
    decode_new_session(
        weights=weights, session=session, fold="made", seed=0, code="", accelerator="cpu", threads=1, output=output
    )
    (found,) = read_decodings([output])
    return found


def probe(forecaster: Path, paths, config: Config, output: Path, **changes: object) -> dict[str, Decoding]:
    """Decode a session by linear probes."""
    probe_session(
        weights=forecaster,
        paths=paths,
        poyo=small_poyo(**changes),
        timeline=config.timeline,
        fold="made",
        seed=0,
        code="",
        output=output,
    )
    return {one.method: one for one in read_decodings([output])}


def perturbed(made: MadeFiles, folder: Path, *, first_us: int, last_us: int) -> Path:
    """Write the session again, with other values of the wheel in a stretch of time."""
    series = made.session.behaviour["wheel"]
    times_us = to_us(series.times_s)
    there = (times_us >= first_us) & (times_us < last_us)
    assert there.any()
    values = np.where(there[:, None], 1000 - 7 * series.values, series.values)
    path = folder / "perturbed.h5"
    write_session(path, replace(made.session, behaviour={"wheel": Series(series.times_s, values, series.unit)}))
    return path


def test_a_label_is_the_mean_of_the_samples_before_it_and_of_nothing_else():
    times_us = np.arange(0, 2_000_000, 16_667)
    values = np.column_stack([times_us / 1e6, np.cos(times_us / 1e5)])
    labels = LabelSeries.of(Series(times_us / 1e6, values, "m"), name="x", still_s=None)
    origins = np.array([100_000, 500_000, 500_010, 1_900_000])
    found, known = labels.at(origins, SPAN_US)
    assert known.all()
    for origin, mean in zip(origins, found, strict=True):
        inside = (times_us >= origin - SPAN_US) & (times_us < origin)
        np.testing.assert_allclose(mean, values[inside].mean(axis=0), rtol=1e-6)


def test_a_label_with_any_unknown_sample_is_not_known():
    times_s = np.arange(0, 4, 0.01)
    values = np.sin(times_s)
    values[100] = np.nan
    labels = LabelSeries.of(Series(times_s, values, "m"), name="x", still_s=None)
    origins = np.arange(200_000, 4_000_000, SPAN_US)
    _, known = labels.at(origins, SPAN_US)
    assert [int(origin) for origin in origins[~known]] == [1_100_000]
    assert not labels.at(np.array([0, 5_000_000]), SPAN_US)[1].any(), "no sample, no label"


def test_a_tracker_that_repeats_itself_knows_nothing():
    times_s = np.arange(0, 10, 0.01)
    values = np.sin(times_s)
    values[200:600] = 0.25
    series = Series(times_s, values, "m")
    origins = np.arange(200_000, 10_000_000, SPAN_US)
    unknown = {
        still: ~LabelSeries.of(series, name="x", still_s=still).at(origins, SPAN_US)[1] for still in (None, 2, 5)
    }
    assert not unknown[None].any() and not unknown[5].any()
    np.testing.assert_array_equal(unknown[2], (origins > 2_000_000) & (origins < 6_000_000 + SPAN_US))


def test_labels_to_learn_from_are_the_last_of_the_reference_part_and_as_long_as_agreed(files, config):
    session, poyo = labelled(files, NEW), small_poyo(labelled_s=20.0)
    found = labelled_origins(session, poyo, config.timeline)
    grid = learned_origins(session, "reference", poyo, config.timeline)
    assert len(found) == 200, "a label stands for its span"
    np.testing.assert_array_equal(found, grid[-200:])
    assert found[-1] <= session.splits.reference.stop_us[-1]
    everything = labelled_origins(session, small_poyo(labelled_s=1e4), config.timeline)
    np.testing.assert_array_equal(everything, grid)


def test_windows_lie_wholly_in_valid_time(config):
    pauses = Intervals(to_us(np.array([0.0, 20.0, 50.0])), to_us(np.array([15.0, 45.0, 90.0])))
    session = made_session("gaps", config.splits, duration_s=90.0, domain=pauses)
    labels = LabelSeries.of(wheel(0, 90.0), name="wheel", still_s=None)
    one = type("Gaps", (), {"splits": session.splits, "labels": labels})()
    origins = learned_origins(one, "reference", small_poyo(), config.timeline)
    context_us = config.timeline.context_bins * config.timeline.bin_ms * 1000
    interval = session.splits.reference.index_of(origins - context_us)
    assert (interval >= 0).all() and len(set(interval.tolist())) > 1
    assert (origins <= session.splits.reference.stop_us[interval]).all()


def test_the_tokenizer_gets_exactly_the_spikes_of_the_context_and_labels_that_may_be_read(files, config, weights):
    network, _ = load_poyo(weights)
    made, session = files[TRAINED[1]], labelled(files, TRAINED[1])
    origins = learned_origins(session, "train", small_poyo(), config.timeline)[7:40:3]
    known = replace(
        to_learn(session, session.splits.train, origins, span_us=SPAN_US), label_us=origins[:1], origin_us=origins
    )
    samples = Samples(network, [known], config.timeline, 5).tokens(np.arange(len(origins)))
    context_us = config.timeline.context_bins * config.timeline.bin_ms * 1000
    for origin, sample in zip(origins, samples, strict=True):
        times_us = made.session.spike_times_us
        inside = (times_us >= origin - context_us) & (times_us < origin)
        spikes = sample["input_token_type"].obj == 0
        assert spikes.sum() == inside.sum()
        np.testing.assert_allclose(
            sample["input_timestamps"].obj[spikes], (times_us[inside] - origin + context_us) / 1e6, atol=1e-6
        )
        rows = [network.unit_emb.vocab[f"{TRAINED[1]}/{TRAINED[1]}-{unit}"] for unit in made.session.spike_unit[inside]]
        np.testing.assert_array_equal(sample["input_unit_index"].obj[spikes], rows)
        query_us = origin - context_us + np.rint(sample["output_timestamps"].astype(float) * 1e6).astype(int)
        assert query_us[-1] == origin, "the last query is the end of the context"
        np.testing.assert_array_equal(sample["weight"] == 1, query_us == origins[0])


def test_poyo_decodes_held_out_time_of_its_sessions_well_and_says_what_it_saw(tmp_path, files, config, weights):
    decode_training_sessions(
        weights=weights,
        sessions=[files[name].paths.session for name in TRAINED],
        fold="made",
        seed=0,
        code="",
        accelerator="cpu",
        threads=1,
        output=tmp_path / "training.h5",
    )
    found = read_decodings([tmp_path / "training.h5"])
    assert [one.session for one in found] == list(TRAINED)
    for one, name in zip(found, TRAINED, strict=True):
        session = labelled(files, name)
        np.testing.assert_array_equal(
            one.origin_us, scored_origins(session, "validation", small_poyo(), config.timeline)
        )
        np.testing.assert_array_equal(one.observed, session.labels.at(one.origin_us, SPAN_US)[0])
        assert r2(one.observed, one.predicted) > 0.5
        assert one.origin_us.min() > session.splits.train.stop_us[-1]


def test_what_is_decoded_is_what_the_network_says_of_the_end_of_the_context(files, config, weights):
    network, card = load_poyo(weights)
    session = labelled(files, TRAINED[0])
    origins = scored_origins(session, "validation", card.poyo, config.timeline)[:6]
    asked = to_learn(session, session.splits.validation, origins, span_us=SPAN_US)
    tokens = Samples(network, [asked], config.timeline, 5).tokens(np.arange(6))
    end_s = np.array([config.timeline.context_bins * config.timeline.bin_ms / 1000], np.float32)
    batch = collated([{**sample, "output_timestamps": end_s} for sample in tokens])
    del batch["label"], batch["weight"]
    with torch.inference_mode():
        alone = network(**batch)[:, 0].numpy() * card.spread[0] + card.centre[0]
    np.testing.assert_allclose(decode_trained(network, card, session, origins), alone, atol=1e-4)


def test_labels_outside_of_the_training_part_reach_no_weight(tmp_path, files, config):
    poyo = small_poyo(steps=6)
    first = train(files, config, poyo, tmp_path / "a" / "model.safetensors").read_bytes()
    session = labelled(files, TRAINED[0])
    changed = perturbed(
        files[TRAINED[0]],
        tmp_path,
        first_us=int(session.splits.train.stop_us[-1]),
        last_us=int(session.splits.validation.stop_us[-1]),
    )
    made = files | {TRAINED[0]: replace(files[TRAINED[0]], paths=replace(files[TRAINED[0]].paths, session=changed))}
    assert train(made, config, poyo, tmp_path / "b" / "model.safetensors").read_bytes() == first
    earlier = perturbed(files[TRAINED[0]], tmp_path, first_us=5_000_000, last_us=50_000_000)
    made[TRAINED[0]] = replace(made[TRAINED[0]], paths=replace(made[TRAINED[0]].paths, session=earlier))
    assert train(made, config, poyo, tmp_path / "c" / "model.safetensors").read_bytes() != first


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_weights(files, config, weights):
    session = labelled(files, TRAINED[0])
    origins = learned_origins(session, "train", small_poyo(), config.timeline)
    known = to_learn(session, session.splits.train, origins, span_us=SPAN_US)

    def trained(checkpoint: Path | None, killed_after: int | None = None) -> list[torch.Tensor]:
        network, _ = load_poyo(weights)
        network.dropout.p = 0.3

        def kill(step: int) -> None:
            if step == killed_after:
                raise KeyboardInterrupt

        options = {"steps": 40, "batch_windows": 8, "learning_rate": 0.01, "weight_decay": 0.1, "seed": 3}
        samples = Samples(network, [known], config.timeline, 5)
        fit(
            network,
            samples,
            parameters=list(network.parameters()),
            **options,
            checkpoint=checkpoint,
            evaluate=kill,
            words="",
        )
        return [parameter.detach() for parameter in network.parameters()]

    whole = trained(None)
    checkpoint = weights.parent / "killed" / "last.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(checkpoint, killed_after=13)
    assert torch.load(checkpoint, weights_only=True)["step"] == 12
    for one, other in zip(trained(checkpoint), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_new_rows_leave_all_that_was_learned_as_it_is(files, config, weights):
    network, card = load_poyo(weights)
    session = labelled(files, NEW)
    copy = extended(network, card, session, seed=1)
    before, after = dict(network.named_parameters()), dict(copy.named_parameters())
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name][: len(value)] if value.ndim else after[name], value, rtol=0, atol=0)
    assert len(copy.unit_emb.weight) == len(network.unit_emb.weight) + len(session.unit_ids)
    assert copy.session_emb.tokenizer(NEW) == len(network.session_emb.weight)
    assert NEW not in network.session_emb.vocab
    known = labelled(files, TRAINED[0])
    origins = scored_origins(known, "validation", card.poyo, card.timeline)
    np.testing.assert_array_equal(
        decode_trained(copy, card, known, origins), decode_trained(network, card, known, origins)
    )


@pytest.mark.parametrize("adapt", ["vocabulary", "all"])
def test_a_fit_to_a_new_session_changes_no_row_of_others_and_weights_only_where_asked(files, config, weights, adapt):
    network, card = load_poyo(weights)
    session = labelled(files, NEW)
    copy = extended(network, card, session, seed=1)
    before = {name: value.detach().clone() for name, value in copy.named_parameters()}
    origins = labelled_origins(session, card.poyo, card.timeline)
    known = to_learn(session, session.splits.reference, origins, span_us=SPAN_US)
    rows = [copy.unit_emb.weight, copy.session_emb.weight]
    options = {"steps": 4, "batch_windows": 8, "learning_rate": 0.01, "weight_decay": 0.1, "seed": 0, "words": ""}
    chosen = rows if adapt == "vocabulary" else list(copy.parameters())
    fit(copy, Samples(copy, [known], card.timeline, 5), parameters=chosen, **options)
    after = dict(copy.named_parameters())
    for name in ("unit_emb.weight", "session_emb.weight"):
        old = len(dict(network.named_parameters())[name])
        torch.testing.assert_close(after[name][:old], before[name][:old], rtol=0, atol=0)
        assert (after[name][old:] != before[name][old:]).any(dim=1).all(), "every new row was fitted"
    others = {name for name in before if not name.endswith("_emb.weight") or name.startswith(("latent", "token"))}
    same = {name for name in others if torch.equal(after[name], before[name])}
    assert same == others if adapt == "vocabulary" else len(same) < len(others) / 2


@pytest.mark.slow
def test_no_label_but_the_labelled_seconds_reaches_a_decoding(tmp_path, files, config, weights, forecaster):
    session, made = labelled(files, NEW), files[NEW]
    learned = labelled_origins(session, small_poyo(), config.timeline)
    assert learned[0] - SPAN_US > session.splits.reference.start_us[0] + 1_000_000, "some labels are not given"
    end = int(session.splits.test.stop_us[-1])
    stretches = {"later": (int(learned[-1]), end), "earlier": (0, int(learned[0]) - SPAN_US)}
    stretches["given"] = (int(learned[50]), int(learned[150]))
    poyo, probes = {}, {}
    for name, (first_us, last_us) in stretches.items():
        path = perturbed(made, tmp_path, first_us=first_us, last_us=last_us)
        poyo[name] = extend(weights, path, tmp_path / "poyo.h5")
        probes[name] = probe(forecaster, replace(made.paths, session=path), config, tmp_path / "probes.h5")
    told = extend(weights, made.paths.session, tmp_path / "poyo.h5")
    told_probes = probe(forecaster, made.paths, config, tmp_path / "probes.h5")
    assert set(told_probes) == set(METHOD_ORDER) - {"poyo"}
    for name in ("later", "earlier"):
        np.testing.assert_array_equal(poyo[name].predicted, told.predicted)
        for method, one in told_probes.items():
            np.testing.assert_array_equal(probes[name][method].predicted, one.predicted)
    assert (poyo["given"].predicted != told.predicted).any()
    assert all((probes["given"][name].predicted != one.predicted).any() for name, one in told_probes.items())
    # the same labels and the same windows for all
    for one in told_probes.values():
        np.testing.assert_array_equal(one.origin_us, told.origin_us)
        np.testing.assert_array_equal(one.observed, told.observed)
        assert one.labelled_s == told.labelled_s == 24.0
    assert told.origin_us.min() > learned.max()
    assert r2(told_probes["count_ridge"].observed, told_probes["count_ridge"].predicted) > 0.5


def test_what_was_trained_on_is_not_new(tmp_path, files, config, weights, forecaster):
    paths = files[TRAINED[0]].paths
    with pytest.raises(ValueError, match="was trained on known-0"):
        extend(weights, paths.session, tmp_path / "x.h5")
    with pytest.raises(ValueError, match="was trained on known-0"):
        probe(forecaster, paths, config, tmp_path / "x.h5")


def test_a_session_that_cannot_be_decoded_says_why(tmp_path, files, config, weights, forecaster):
    made = files[NEW]
    bare = tmp_path / "bare.h5"
    write_session(bare, replace(made.session, behaviour={}))
    still = tmp_path / "still.h5"
    series = made.session.behaviour["wheel"]
    test_s = made.session.splits.test.start_us[0] / 1e6 - 1
    values = np.where(series.times_s[:, None] > test_s, np.nan, series.values)
    write_session(still, replace(made.session, behaviour={"wheel": Series(series.times_s, values, "rad/s")}))
    for path, why in ((bare, "no behaviour series wheel"), (still, "0 known labels of wheel to score")):
        for one in (
            extend(weights, path, tmp_path / "x.h5"),
            *probe(forecaster, replace(made.paths, session=path), config, tmp_path / "x.h5").values(),
        ):
            assert why in one.left_out
            assert one.predicted.size == 0


def test_frozen_features_see_no_spike_outside_of_the_context(files, config, forecaster):
    network, card = load_forecaster(forecaster)
    inputs = load_inputs(files[NEW].paths, "test", groups=("rate",), readout=card.model.readout)
    shape = WindowShape.of(config.timeline, card.model)
    session = files[NEW].session
    origins = scored_origins(labelled(files, NEW), "test", small_poyo(), config.timeline)[2:5]
    found = frozen_features(network, inputs, session.splits.test, origins, shape, groups=[(0,), (1, 2)])
    assert found.latents.shape == (3, card.model.latents_per_window, card.model.width)
    assert found.log_rate.shape == (3, 2, session.n_units)
    assert (np.diff(found.age_bins) < 0).all() and found.age_bins[-1] > 0, "oldest first"
    single = frozen_features(network, inputs, session.splits.test, origins, shape, groups=[(0,), (1,), (2,)])
    rate = np.exp(single.log_rate.astype(float))
    np.testing.assert_allclose(np.exp(found.log_rate[:, 0]), rate[:, 0], rtol=1e-6)
    np.testing.assert_allclose(np.exp(found.log_rate[:, 1]), rate[:, 1:].mean(1), rtol=1e-5)
    alone = frozen_features(network, inputs, session.splits.test, origins, shape, groups=())
    np.testing.assert_array_equal(alone.latents, found.latents)
    context_us = config.timeline.context_bins * config.timeline.bin_ms * 1000
    inside = (session.spike_times_us >= origins[1] - context_us) & (session.spike_times_us < origins[1])
    spikes = type(inputs.spikes)(files[NEW].paths.session)
    spikes.times_s, spikes.unit = session.spike_times_us[inside] / 1e6, session.spike_unit[inside]
    alone = frozen_features(
        network, replace(inputs, spikes=spikes), session.splits.test, origins[1:2], shape, groups=[(0,), (1, 2)]
    )
    np.testing.assert_allclose(alone.latents[0], found.latents[1], atol=1e-5)
    np.testing.assert_allclose(alone.log_rate[0], found.log_rate[1], atol=1e-5)


def test_a_ridge_probe_is_the_ridge_of_scikit_learn_with_the_penalty_that_blocks_choose():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 2))
    known, asked = rng.normal(2, 3, size=(100, 6)), rng.normal(2, 3, size=(30, 6))
    label = known @ weights + rng.normal(0, 1, size=(100, 2))
    origins = np.arange(100) * SPAN_US
    penalties = (0.001, 0.1, 30.0)
    predicted, penalty = ridge_probe(known, label, asked, origins, penalties=penalties, gap_us=3 * SPAN_US)

    def by_hand(rows: np.ndarray, inputs: np.ndarray, alpha: float) -> np.ndarray:
        mean, deviation = known[rows].mean(axis=0), known[rows].std(axis=0)
        model = Ridge(alpha=alpha * len(rows)).fit((known[rows] - mean) / deviation, label[rows])
        return model.predict(np.clip((inputs - mean) / deviation, -5, 5))

    errors = []
    for alpha in penalties:
        error = 0.0
        for block in np.split(np.arange(100), 5):
            others = np.array([row for row in range(100) if row <= block[0] - 3 or row >= block[-1] + 3])
            error += ((by_hand(others, known[block], alpha) - label[block]) ** 2).sum()
        errors.append(error)
    found = block_errors(known, label, origins, penalties=penalties, gap_us=3 * SPAN_US)
    np.testing.assert_allclose(found, errors, rtol=1e-4)
    assert penalty == penalties[int(np.argmin(errors))]
    np.testing.assert_allclose(predicted, by_hand(np.arange(100), asked, penalty), rtol=1e-4)


def test_a_strong_penalty_is_chosen_where_inputs_say_nothing():
    rng = np.random.default_rng(1)
    known, label = rng.normal(size=(100, 60)), rng.normal(size=(100, 1))
    _, penalty = ridge_probe(known, label, known, np.arange(100) * SPAN_US, penalties=(0.01, 100.0), gap_us=SPAN_US)
    assert penalty == 100.0


def test_time_blocks_share_no_spike():
    origins = np.arange(50) * SPAN_US
    earlier, later = time_blocks(origins, share=0.8, gap_us=400_000)
    np.testing.assert_array_equal(earlier, origins[:40])
    np.testing.assert_array_equal(later, origins[43:])


@pytest.mark.parametrize("channels", [1, 3])
def test_r2_is_that_of_scikit_learn(channels):
    rng = np.random.default_rng(0)
    observed = rng.normal(np.arange(channels), 1 + np.arange(channels), size=(40, channels)).astype(np.float32)
    predicted = observed + rng.normal(0, 1, size=(40, channels)).astype(np.float32)
    expected = r2_score(observed, predicted, multioutput="variance_weighted")
    assert r2(observed, predicted) == pytest.approx(expected, rel=1e-6)
    assert r2(observed, np.broadcast_to(observed.mean(axis=0), observed.shape)) == pytest.approx(0, abs=1e-6)


def test_there_is_no_r2_of_nothing_or_of_what_never_changes():
    assert np.isnan(r2(np.zeros((0, 1)), np.zeros((0, 1))))
    assert np.isnan(r2(np.full((30, 2), 0.3, np.float32), np.zeros((30, 2))))


def made_decoding(session: str, method: str, seed: int, error: float, part: str = "test", **values: object) -> Decoding:
    """A decoding of a ramp with an error of its own, so that its R2 is known."""
    observed = np.arange(40, dtype=np.float32)[:, None]
    given = {"origin_us": np.arange(40), "observed": observed, "predicted": observed + error, "labelled_s": 24.0}
    animal = f"animal-{session[0]}"
    return Decoding(session, animal, "lab", "nwb", "made", method, seed, part, "wheel", "rad/s", **(given | values))


def test_decodings_come_back_as_they_were_written_and_say_their_axes(tmp_path):
    path = tmp_path / "x.h5"
    written = [made_decoding("a1", "poyo", 3, 1.0, chosen="4 steps", saw="much", code="abc")]
    written.append(Decoding("b", "animal", "", "nwb", "made", "poyo", 0, "test", "wheel", left_out="why"))
    write_decodings(path, written)
    for one, other in zip(read_decodings([path]), written, strict=True):
        for name in Decoding.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    with h5py.File(path) as file:
        assert file["0/observed"].attrs["axes"] == "window, channel"
        assert file["0/observed"].attrs["unit"] == "rad/s"
    with pytest.raises(ValueError, match="equal size"):
        replace(written[0], predicted=written[0].predicted[:-1])


def made_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    errors = {"poyo": 2.0, "latent_probe": 8.0, "forecast_probe": 6.0, "count_ridge": 4.0}
    errors["association_ridge_exchanged"] = 9.0
    decodings = [
        made_decoding(session, method, seed, error + place + seed)
        for place, session in enumerate(("a1", "a2", "b1"))
        for method, error in errors.items()
        for seed in (0, 1)
    ]
    decodings += [made_decoding(session, "poyo", 0, 1.0, part="validation") for session in ("c1", "d1")]
    decodings.append(Decoding("e1", "animal-e", "", "nwb", "made", "poyo", 0, "test", "wheel", left_out="no wheel"))
    sessions = session_table(decodings[::-1])
    return sessions, summary_table(sessions, Resampling(draws=200, interval=0.95, seed=0))


def test_tables_average_seeds_first_and_keep_who_was_left_out():
    sessions, summary = made_tables()
    variance = np.arange(40).var()
    scores = {m: [np.mean([1 - (e + p + s) ** 2 / variance for s in (0, 1)]) for p in range(3)] for m, e in
              {"poyo": 2, "count_ridge": 4}.items()}  # fmt: skip
    rows = summary[summary["part"] == "test"].set_index("method")
    assert list(rows.index) == [
        "poyo", "latent_probe", "forecast_probe", "count_ridge", "association_ridge_exchanged"
    ]  # fmt: skip
    for method, values in scores.items():
        assert rows.loc[method, "r2"] == pytest.approx(np.mean(values), rel=1e-6)
    assert rows.loc["poyo", "sessions"] == 3 and rows.loc["poyo", "animals"] == 2
    assert rows.loc["count_ridge", "difference"] == pytest.approx(
        np.mean(np.subtract(scores["poyo"], scores["count_ridge"])), rel=1e-6
    )
    assert rows.loc["count_ridge", "poyo_better"] == 3
    assert sessions.loc[sessions["session"] == "e1", "left_out"].item() == "no wheel"
    control = sessions["method"] == "association_ridge_exchanged"
    assert set(sessions.loc[~control, "class"]) == {"fitted"} and set(sessions.loc[control, "class"]) == {"control"}
    text = "\n".join(format_summary(summary, sessions, 0.95))
    assert "left out: e1 (test): no wheel" in text
    assert "POYO" in text and "held-out time of training sessions" in text


def test_tables_and_figure_of_a_run_in_which_nobody_could_be_decoded():
    nobody = [Decoding("e1", "animal-e", "", "nwb", "made", "poyo", 0, "test", "wheel", left_out="no wheel")]
    sessions = session_table(nobody)
    summary = summary_table(sessions, Resampling(draws=10, interval=0.95, seed=0))
    assert summary.empty
    assert any(line.startswith("left out: e1") for line in format_summary(summary, sessions, 0.95))
    assert render_png(draw_decoding(sessions=sessions, summary=summary))


def test_the_figure_shows_every_decoder_and_is_the_same_each_time():
    sessions, summary = made_tables()
    figure = draw_decoding(sessions=sessions, summary=summary)
    left = figure.axes[0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "POYO (fitted)",
        "ridge on NeuroHorizon's latents (fitted)",
        "ridge on NeuroHorizon's forecasts (fitted)",
        "ridge on counts (fitted)",
        "ridge on counts by exchanged profiles (control)",
    ]
    assert "2 sessions, 2 animals" in left.get_title(loc="right")
    assert render_png(figure) == render_png(draw_decoding(sessions=sessions, summary=summary))


def test_a_unit_that_was_silent_until_the_test_part_says_nothing(tmp_path, files, config, forecaster):
    session = files[NEW].session
    begins = session.splits.test.start_us[0]
    decoded = []
    for name, spoken in (("silent", True), ("gone", False)):
        kept = (session.spike_unit != 5) | (spoken & (session.spike_times_us >= begins))
        changed = replace(session, spike_times_us=session.spike_times_us[kept], spike_unit=session.spike_unit[kept])
        made = made_files(tmp_path / name, changed, config)
        decoded.append(probe(forecaster, made.paths, config, tmp_path / f"{name}.h5"))
    for method, one in decoded[0].items():
        np.testing.assert_allclose(one.predicted, decoded[1][method].predicted, atol=1e-4)


def test_a_probe_does_not_extrapolate_far_beyond_the_labelled_seconds():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(100, 2))
    label = known[:, :1] + rng.normal(0, 0.1, size=(100, 1))
    far = known.mean(axis=0) + known.std(axis=0) * np.array([[5.0, 0.0], [5000.0, 0.0]])
    predicted, _ = ridge_probe(known, label, far, np.arange(100) * SPAN_US, penalties=(0.01,), gap_us=SPAN_US)
    assert predicted[0] == pytest.approx(predicted[1], rel=1e-5)
    assert predicted[0] > 3


def test_a_forecaster_may_reach_further_back_than_what_is_decoded_from(tmp_path, files, config, forecaster):
    short = config.model_copy(update={"timeline": config.timeline.model_copy(update={"context_bins": 5})})
    found = probe(forecaster, files[NEW].paths, short, tmp_path / "short.h5")
    whole = probe(forecaster, files[NEW].paths, config, tmp_path / "whole.h5")
    first = files[NEW].session.splits.test.start_us[0]
    for method, one in found.items():
        assert one.origin_us[0] == first + 5 * 20_000
        assert whole[method].origin_us[0] == first + 10 * 20_000
        assert np.isfinite(one.predicted).all()


@pytest.mark.parametrize("adapt", ["vocabulary", "all"])
def test_the_configuration_decides_what_is_fitted_and_all_labels_are_used_in_the_end(
    files, config, weights, monkeypatch, adapt
):
    network, card = load_poyo(weights)
    card = replace(card, poyo=small_poyo(adapt=adapt))
    session = labelled(files, NEW)
    learned = labelled_origins(session, card.poyo, config.timeline)
    fits = []

    def pretend(network, samples, *, parameters, steps, evaluate, **others: object) -> None:
        fitted = {name for name, value in network.named_parameters() if any(value is one for one in parameters)}
        fits.append((fitted, len(samples), steps))
        if evaluate:
            evaluate(steps)

    monkeypatch.setattr("neurohorizon.experiments.downstream.poyo.fit", pretend)
    found = fit_extended(network, card, session, learned, seed=0)
    rows = {"unit_emb.weight", "session_emb.weight"}
    everything = {name for name, _ in network.named_parameters()}
    expected = rows if adapt == "vocabulary" else everything
    assert [fitted for fitted, _, _ in fits] == [expected, expected]
    assert [windows for _, windows, _ in fits] == [int(0.8 * len(learned)), len(learned)]
    assert found.steps == card.poyo.adapt_steps


def test_latents_of_poyo_are_what_it_decodes_from(files, config, weights):
    network, card = load_poyo(weights)
    session = labelled(files, TRAINED[0])
    origins = scored_origins(session, "validation", card.poyo, config.timeline)[:6] + 7_000  # on no grid of labels
    asked = to_learn(session, session.splits.validation, origins, span_us=SPAN_US)
    latents, age_bins = latents_of(network, asked, card)
    steps = config.timeline.context_bins // card.poyo.latent_step_bins
    assert latents.shape == (6, steps, card.poyo.latents_per_step * card.poyo.width)
    assert (np.diff(age_bins) < 0).all() and (age_bins > 0).all() and age_bins[0] < config.timeline.context_bins
    context_s = config.timeline.context_bins * config.timeline.bin_ms / 1000
    times_s = torch.tensor(context_s - age_bins * config.timeline.bin_ms / 1000, dtype=torch.float32)
    with torch.inference_mode():
        heard = torch.from_numpy(latents).reshape(6, steps * card.poyo.latents_per_step, -1)
        at = network.rotary_emb(times_s.repeat_interleave(card.poyo.latents_per_step).expand(6, -1))
        row = torch.tensor([network.session_emb.tokenizer(session.session_id)] * 6)
        query = network.session_emb(row)[:, None]
        end = network.rotary_emb(torch.full((6, 1), context_s))
        query = query + network.dec_atn(query, heard, end, at)
        said = network.readout(query + network.dec_ffn(query))[:, 0].numpy() * card.spread[0] + card.centre[0]
    np.testing.assert_allclose(said, decode_trained(network, card, session, origins), atol=1e-4)


def test_an_extended_poyo_leaves_its_latents_at_the_contexts_that_are_decoded_downstream(
    tmp_path, files, config, weights
):
    downstream = config.downstream.model_copy(update={"targets": ("choice", "wheel_speed", "wheel_velocity")})

    def contexts(session: Path, name: str) -> dict:
        decode_new_session(
            **{"weights": weights, "session": session, "fold": "made", "seed": 0, "code": "", "accelerator": "cpu"},
            **{"threads": 1, "output": tmp_path / "x.h5", "downstream": downstream, "contexts": tmp_path / name},
        )
        return read_contexts(tmp_path / name)

    found = contexts(files[NEW].paths.session, "contexts.h5")
    assert found.keys() == {"wheel_speed", "wheel_velocity"}, "there are no trials"
    (decoded,) = read_decodings([tmp_path / "x.h5"])
    for origin_us, values in found.values():
        np.testing.assert_array_equal(origin_us, decoded.origin_us)
        assert values.shape == (len(origin_us), len(downstream.span_edges_bins) * 2 * 16)
    part = files[NEW].session.splits.test
    other = perturbed(files[NEW], tmp_path, first_us=int(part.start_us[0]), last_us=int(part.stop_us[-1]))
    again = contexts(other, "again.h5")
    np.testing.assert_array_equal(again["wheel_speed"][1], found["wheel_speed"][1])
    bare = tmp_path / "bare.h5"
    write_session(bare, replace(files[NEW].session, behaviour={}))
    assert "no behaviour series wheel" in contexts(bare, "bare_contexts.h5")
