"""Downstream decoding: what is decoded and when, spans, nested probes, scores of a session."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from factories.cards import made_card
from factories.sessions import MadeFiles, made_files, made_session, small_config
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from neurohorizon.config import Config
from neurohorizon.experiments.downstream.contexts import (
    normalised,
    read_contexts,
    span_counts,
    span_means,
    write_contexts,
)
from neurohorizon.experiments.downstream.decoding_file import write_decodings
from neurohorizon.experiments.downstream.labels import decoding_shape
from neurohorizon.experiments.downstream.nested_probes import (
    OneClassError,
    auc_within,
    balanced_accuracy,
    fit_classes,
    fit_values,
    in_coordinates,
    numbered_blocks,
    probe,
    shifted_scores,
)
from neurohorizon.experiments.downstream.ridge_probes import read_frozen
from neurohorizon.experiments.downstream.scores import representations, score_downstream
from neurohorizon.experiments.downstream.targets import TRIAL_TARGETS, read_labels, trial_labels, wheel_labels
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.weights import save_forecaster
from neurohorizon.session import Series, left_out_session, write_session
from neurohorizon.timeline import Intervals, to_us

PENALTIES = (0.01, 1.0, 100.0)
GAP_US = 1_000_000
SHAPE = WindowShape(bin_us=20_000, context_bins=10, horizon_bins=0, history_edges_bins=(10,))
WHOLE = Intervals(np.array([0]), np.array([10**9]))
probe_classes, probe_values = partial(probe, classes=True), partial(probe, classes=False)


def made_trials(number: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    """Trials of the IBL's columns, 1.7 s apart, whose labels say nothing about anything."""
    rng = np.random.default_rng(seed)
    start = 1 + 1.7 * np.arange(number)
    left = rng.random(number) < 0.5
    contrast = rng.choice([0.0, 0.25, 1.0], size=number)
    return {
        "start": start,
        "end": start + 1.6,
        "stimOn_times": start + 0.3,
        "firstMovement_times": start + 0.5,
        "feedback_times": start + 0.8,
        "choice": rng.choice([-1.0, 1.0], size=number),
        "feedbackType": rng.choice([-1.0, 1.0], size=number),
        "contrastLeft": np.where(left, contrast, np.nan),
        "contrastRight": np.where(left, np.nan, contrast),
        "probabilityLeft": np.repeat([0.5, 0.2, 0.8, 0.2, 0.8, 0.2], number // 6),
    }


@pytest.mark.parametrize("target", TRIAL_TARGETS)
def test_trials_with_an_early_a_late_or_no_movement_are_left_out_where_the_mask_is_set(target):
    trials = made_trials()
    every = trial_labels(trials, target, part=WHOLE, shape=SHAPE)
    response_s = np.resize([0.05, 0.081, 0.5, 1.99, 2.01, np.nan, -0.1], len(trials["start"]))
    trials["firstMovement_times"] = trials["stimOn_times"] + response_s
    kept = (response_s >= 0.08) & (response_s <= 2)
    found = trial_labels(trials, target, part=WHOLE, shape=SHAPE, first_movement_s=(0.08, 2.0))
    only = {name: values[kept] for name, values in trials.items()}
    expected = trial_labels(only, target, part=WHOLE, shape=SHAPE)
    assert found.origin_us.tolist() == expected.origin_us.tolist()
    assert found.label.tolist() == expected.label.tolist()
    assert 0 < len(found.label) < len(every.label)
    del trials["stimOn_times"]
    assert "stimOn_times" in trial_labels(trials, target, part=WHOLE, shape=SHAPE, first_movement_s=(0.08, 2)).left_out


@pytest.mark.parametrize(
    ("target", "event", "delay_s"),
    [
        ("choice", "firstMovement_times", 0.0),
        ("reward", "feedback_times", 0.2),
        ("stimulus_side", "stimOn_times", 0.1),
        ("block", "stimOn_times", -0.1),
    ],
)
def test_a_context_ends_at_the_declared_moment_of_its_trial(target, event, delay_s):
    trials = made_trials()
    found = trial_labels(trials, target, part=WHOLE, shape=SHAPE)
    moments = np.rint((trials[event] + delay_s) * 1e6).astype(int)
    rows = np.searchsorted(moments, found.origin_us)
    np.testing.assert_array_equal(moments[rows], found.origin_us)
    positive = {
        "choice": trials["choice"] == 1,
        "reward": trials["feedbackType"] == 1,
        "stimulus_side": ~np.isnan(trials["contrastLeft"]),
        "block": trials["probabilityLeft"] == 0.8,
    }[target]
    np.testing.assert_array_equal(found.label == 1, positive[rows])
    unlabelled = {
        "stimulus_side": np.nan_to_num(trials["contrastLeft"]) + np.nan_to_num(trials["contrastRight"]) == 0,
        "block": trials["probabilityLeft"] == 0.5,
    }.get(target, np.zeros(60, bool))
    assert len(found.label) == np.count_nonzero(~unlabelled)
    assert not set(rows) & set(np.flatnonzero(unlabelled))
    assert not found.left_out


def test_trials_without_an_event_an_answer_or_a_whole_context_are_left_out():
    trials = made_trials()
    trials["choice"][3] = 0.0  # no answer
    trials["firstMovement_times"][5] = np.nan
    pause = Intervals(np.array([0, to_us(20.1)]), np.array([to_us(20.05), 10**9]))  # trial 11 moves at 20.2 s
    found = trial_labels(trials, "choice", part=pause, shape=SHAPE)
    gone = {3, 5, 11}
    assert not gone & set(np.searchsorted(to_us(np.nan_to_num(trials["firstMovement_times"])), found.origin_us))
    assert len(found.label) == 60 - len(gone)
    ends = np.array([to_us(trials["firstMovement_times"][0])])
    exact = Intervals(ends - 200_000, ends)
    assert len(trial_labels(trials, "choice", part=exact, shape=SHAPE).label) == 1, (
        "a context may end where a part ends"
    )
    short = Intervals(ends - 199_999, ends)
    assert len(trial_labels(trials, "choice", part=short, shape=SHAPE).label) == 0


def test_a_target_that_cannot_be_decoded_says_why():
    trials = made_trials()
    assert "no choice" in trial_labels({"start": np.zeros(0)} | {"firstMovement_times": np.zeros(0)}, "choice",
                                       part=WHOLE, shape=SHAPE).left_out  # fmt: skip
    trials["choice"] = np.repeat([1.0, -1.0], [51, 9])
    assert "9 trials of one class" in trial_labels(trials, "choice", part=WHOLE, shape=SHAPE).left_out
    trials["choice"] = np.repeat([1.0, -1.0, 1.0], 20)
    assert "3 runs of equal labels" in trial_labels(trials, "choice", part=WHOLE, shape=SHAPE).left_out
    assert (
        "no behaviour series"
        in wheel_labels(None, "wheel_speed", part=WHOLE, shape=SHAPE, stride_bins=5, label_bins=5).left_out
    )


def test_wheel_speed_is_the_mean_of_what_velocity_is_without_its_sign():
    times_s = np.arange(0, 40, 0.004)
    velocity = np.sin(9 * times_s) * np.linspace(0, 2, len(times_s))
    series = Series(times_s, velocity, "rad/s")
    part = Intervals(np.array([to_us(2.0)]), np.array([to_us(38.0)]))
    options = {"part": part, "shape": SHAPE, "stride_bins": 7, "label_bins": 5}
    for target, values in (("wheel_velocity", velocity), ("wheel_speed", np.abs(velocity))):
        found = wheel_labels(series, target, **options)
        np.testing.assert_array_equal(found.origin_us, np.arange(2_200_000, 38_000_001, 140_000))
        expected = [
            values[(to_us(times_s) >= end - 100_000) & (to_us(times_s) < end)].mean() for end in found.origin_us
        ]
        np.testing.assert_allclose(found.label, expected, atol=1e-6)
        assert found.unit == "rad/s"


def test_spans_hold_each_count_once_and_begin_at_the_end_of_the_context():
    context = np.arange(2 * 10 * 3).reshape(2, 10, 3)
    found = span_counts(context, (2, 5, 10))
    np.testing.assert_array_equal(found[:, 0], context[:, 8:].sum(axis=1))
    np.testing.assert_array_equal(found[:, 1], context[:, 5:8].sum(axis=1))
    np.testing.assert_array_equal(found[:, 2], context[:, :5].sum(axis=1))
    rate = np.array([0.5, 1.0, 4.0])
    scaled = normalised(found, np.log(rate), (2, 5, 10))
    for span, bins in enumerate((2, 3, 5)):
        expected = (found[:, span] - bins * rate) / np.sqrt(bins * rate + 1)
        np.testing.assert_allclose(scaled[:, span], expected)


def test_moments_are_averaged_over_their_span_and_a_span_without_one_takes_the_nearest():
    values = np.arange(2 * 4 * 3, dtype=float).reshape(2, 4, 3) ** 2
    age = np.array([8.75, 6.25, 3.75, 1.25])
    found = span_means(values, age, (1, 5, 10))
    np.testing.assert_allclose(found[:, 0], values[:, 3], err_msg="no moment within one bin: the nearest")
    np.testing.assert_allclose(found[:, 1], values[:, 2:].mean(axis=1))
    np.testing.assert_allclose(found[:, 2], values[:, :2].mean(axis=1))


@pytest.mark.parametrize("inputs", [7, 90])
def test_fewer_coordinates_give_the_predictions_of_all_weights(inputs):
    rng = np.random.default_rng(0)
    known, asked = rng.normal(3, np.arange(1, inputs + 1), size=(40, inputs)), rng.normal(3, 5, size=(9, inputs))
    value = known[:, 0] + rng.normal(size=40)
    label = (value > np.quantile(value, 0.75)).astype(float)  # of unequal numbers
    scale = np.sqrt(known.var(axis=0).sum())
    whole = (known - known.mean(axis=0)) / scale, (asked - known.mean(axis=0)) / scale
    few = in_coordinates(known, asked)
    assert few[0].shape[1] <= min(inputs, 40)
    np.testing.assert_allclose(few[0] @ few[0].T, whole[0] @ whole[0].T, atol=1e-10)
    for place, penalty in enumerate(PENALTIES):
        logistic = LogisticRegression(C=1 / penalty, class_weight="balanced", tol=1e-10, max_iter=10_000)
        expected = logistic.fit(whole[0], label).decision_function(whole[1])
        np.testing.assert_allclose(fit_classes(*_around(few, label), PENALTIES)[place], expected, rtol=3e-3, atol=2e-3)
        expected = Ridge(alpha=penalty).fit(whole[0], value).predict(whole[1])
        np.testing.assert_allclose(fit_values(*_around(few, value), PENALTIES)[place], expected, rtol=1e-6)


def _around(few: tuple[np.ndarray, np.ndarray], label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return few[0], label, few[1]


def made_problem(number: int = 90, inputs: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, of which two know a value, the value, and ends of contexts at uneven distances."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(number, inputs)) * np.arange(1, inputs + 1)
    value = values[:, 1] - values[:, 4] / 2 + rng.normal(0, 1, size=number)
    return values, value, np.cumsum(rng.integers(200_000, 900_000, size=number))


def test_nested_ridge_is_what_scikit_learn_gives_by_hand():
    # with as many inputs as windows, what was fitted on would be predicted best with the least penalty
    values, value, origin_us = made_problem(inputs=70)
    found = probe_values(values, value, origin_us, blocks=5, penalties=PENALTIES, gap_us=GAP_US)
    assert set(found.penalties) != {PENALTIES[0]}

    def fitted(rows: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
        scale = np.sqrt(values[rows].var(axis=0).sum())
        return Ridge(alpha=penalty).fit(values[rows] / scale, value[rows]).predict(values[asked] / scale)

    blocks = np.array_split(np.arange(90), 5)
    for number, block in enumerate(blocks):
        known = [row for row in range(90) if _far(row, block, origin_us)]
        errors = []
        for penalty in PENALTIES:
            error = 0.0
            for inner, other in enumerate(blocks):
                if inner != number:
                    asked = [row for row in other if row in known]
                    rows = [row for row in known if _far(row, asked, origin_us)]
                    error += ((fitted(rows, asked, penalty) - value[asked]) ** 2).sum()
            errors.append(error)
        best = PENALTIES[int(np.argmin(errors))]
        assert found.penalties[number] == best
        np.testing.assert_allclose(found.predicted[block], fitted(known, block, best), rtol=1e-6)


def _far(row: int, block: np.ndarray, origin_us: np.ndarray) -> bool:
    return origin_us[row] <= origin_us[block[0]] - GAP_US or origin_us[row] >= origin_us[block[-1]] + GAP_US


def test_what_is_fitted_on_ends_a_gap_from_what_is_predicted_in_both_rounds(monkeypatch):
    _, value, origin_us = made_problem()
    module, rounds = "neurohorizon.experiments.downstream.nested_probes", []

    def spy(known: np.ndarray, label: np.ndarray, asked: np.ndarray, penalties: tuple) -> np.ndarray:
        rounds.append((known[:, 0].astype(int), asked[:, 0].astype(int)))
        return np.zeros((len(penalties), len(asked)))

    monkeypatch.setattr(f"{module}.fit_values", spy)
    monkeypatch.setattr(f"{module}.in_coordinates", lambda known, asked: (known, asked))
    probe_values(np.arange(90)[:, None], value, origin_us, blocks=5, penalties=PENALTIES, gap_us=GAP_US)
    assert len(rounds) == 5 * 5, "four inner rounds and one outer for each block"
    for known, asked in rounds:
        assert np.abs(origin_us[known][:, None] - origin_us[asked]).min() >= GAP_US
    for inner in range(5):
        *inners, (_, held) = rounds[5 * inner : 5 * inner + 5]
        assert all(np.abs(origin_us[np.append(*one)][:, None] - origin_us[held]).min() >= GAP_US for one in inners)


@pytest.mark.slow
@pytest.mark.parametrize("probe", [probe_classes, probe_values])
def test_no_label_of_a_block_or_near_it_reaches_what_is_predicted_there(probe):
    values, value, origin_us = made_problem()
    label = (value > 0).astype(float)
    options = {"blocks": 5, "penalties": PENALTIES, "gap_us": GAP_US}
    found = probe(values, label, origin_us, **options)
    for number in range(5):
        block = np.flatnonzero(found.block == number)
        near = np.array([not _far(row, block, origin_us) for row in range(90)])
        assert near.sum() > len(block), "some neighbours are near"
        changed = probe(values, np.where(near, 1 - label, label), origin_us, **options)
        np.testing.assert_array_equal(changed.predicted[block], found.predicted[block])
        first_far = np.flatnonzero(~near & (np.arange(90) != 0))[0]
        other = label.copy()
        other[first_far] = 1 - other[first_far]
        assert (probe(values, other, origin_us, **options).predicted[block] != found.predicted[block]).any()


@pytest.mark.slow
def test_planted_classes_are_found_and_shuffled_ones_are_not():
    values, value, origin_us = made_problem(200)
    label = (value > 0).astype(float)
    options = {"blocks": 5, "penalties": PENALTIES, "gap_us": GAP_US}
    found = probe_classes(values, label, origin_us, **options)
    assert balanced_accuracy(label, found.predicted) > 0.8
    assert balanced_accuracy(label, found.predicted) > np.quantile(
        shifted_scores(label, found.predicted, found.block), 0.99
    )
    scores = []
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(label)
        scores.append(balanced_accuracy(shuffled, probe_classes(values, shuffled, origin_us, **options).predicted))
    assert np.mean(scores) == pytest.approx(0.5, abs=0.03)


def test_a_decoder_that_follows_the_blocks_alone_scores_no_more_than_chance_by_shifts():
    block = numbered_blocks(120, 4)
    rng = np.random.default_rng(0)
    label = (rng.random(120) < np.array([0.9, 0.1, 0.9, 0.1])[block]).astype(float)
    predicted = np.where(block % 2, -1.0, 1.0)
    shifted = shifted_scores(label, predicted, block)
    assert balanced_accuracy(label, predicted) > 0.8
    np.testing.assert_allclose(shifted, balanced_accuracy(label, predicted))


def test_shifts_move_labels_within_their_blocks():
    rng = np.random.default_rng(0)
    label, predicted, block = rng.integers(0, 2, 11).astype(float), rng.normal(size=11), numbered_blocks(11, 2)
    found = shifted_scores(label, predicted, block)
    assert len(found) == 4, "the smallest block has five windows"
    for shift in range(1, 5):
        moved = label.copy()
        for part in (np.flatnonzero(block == 0), np.flatnonzero(block == 1)):
            for place, row in enumerate(part):
                moved[part[(place + shift) % len(part)]] = label[row]
        assert found[shift - 1] == pytest.approx(balanced_accuracy_score(moved, predicted > 0))


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    label = (rng.random(60) < 0.3).astype(float)
    predicted = label + rng.normal(size=60)
    assert balanced_accuracy(label, predicted) == pytest.approx(balanced_accuracy_score(label, predicted > 0))
    one = np.zeros(60, int)
    assert auc_within(label, predicted, one) == pytest.approx(roc_auc_score(label, predicted))
    halves = numbered_blocks(60, 2)
    apart = auc_within(label, predicted, halves)
    assert auc_within(label, predicted + 100 * halves, halves) == pytest.approx(apart), "fits are not compared"
    assert np.isnan(auc_within(np.ones(9), np.zeros(9), numbered_blocks(9, 3)))


def test_blocks_of_time_follow_each_other_and_are_of_about_equal_size():
    found = numbered_blocks(83, 5)
    assert (np.diff(found) >= 0).all()
    assert np.ptp(np.bincount(found)) <= 1 and found.max() == 4


def test_a_class_that_comes_in_one_block_alone_is_not_decoded():
    values, _, origin_us = made_problem()
    label = (numbered_blocks(90, 5) == 2).astype(float)
    with pytest.raises(OneClassError, match="block 3 of 5"):
        probe_classes(values, label, origin_us, blocks=5, penalties=PENALTIES, gap_us=GAP_US)


# ---------------------------------------------------------------- a whole session


@pytest.fixture(scope="module")
def config() -> Config:
    """The small configuration, with the penalties of these tests."""
    return small_config(downstream={"source": "nwb", "penalties": list(PENALTIES), "span_edges_bins": [2, 10]})


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory, config) -> Path:
    """An untrained forecaster."""
    card = made_card(config, features=config.features.model_copy(update={"groups": ("rate",)}), sessions=("known",))
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("forecaster") / "model.safetensors"
    save_forecaster(path, card.build(), card)
    return path


def planted(name: str, config: Config, folder: Path) -> MadeFiles:
    """A session whose units follow an oscillation, as do its choices and its wheel; its rewards follow nothing."""
    session = made_session(name, config.splits, n_units=10, duration_s=240.0, seed=0)
    trials = made_trials(138)
    # the oscillation of made_spikes, at the end of the context
    follows = np.sin(2 * np.pi * (trials["firstMovement_times"] - 0.04) / 1.3)
    trials["choice"] = np.where(follows > 0, 1.0, -1.0)
    time_s = np.arange(0, 240.0, 0.01)
    wheel = Series(time_s, np.sin(2 * np.pi * time_s / 1.3), "rad/s")
    return made_files(folder, replace(session, trials=trials, behaviour={"wheel": wheel}), config)


@pytest.fixture(scope="module")
def made(tmp_path_factory, config) -> MadeFiles:
    """The planted session."""
    return planted("new", config, tmp_path_factory.mktemp("sessions"))


def of_targets(config: Config, *targets: str) -> Config:
    """The configuration with some targets only."""
    return config.model_copy(update={"downstream": config.downstream.model_copy(update={"targets": list(targets)})})


def scored(forecaster: Path, made: MadeFiles, config: Config, output: Path, **changes: object) -> pd.DataFrame:
    """Score a session."""
    options = {"role": "heldout", "fold": "made", "seed": 3, "code": "abc", "poyo": ()}
    score_downstream(
        weights=forecaster,
        paths=made.paths,
        downstream=config.downstream,
        timeline=config.timeline,
        gap_s=config.splits.gap_s,
        output=output,
        **(options | changes),
    )
    return pd.read_parquet(output)


@pytest.mark.slow
def test_a_session_is_scored_for_every_target_and_representation(tmp_path, forecaster, made, config):
    table = scored(forecaster, made, config, tmp_path / "x.parquet")
    rows = table.set_index(["target", "method"])
    assert set(table["target"]) == set(config.downstream.targets)
    assert set(table["method"]) == {"latents", "raw_counts", "normalised_counts", "population_modes", "forecast_modes"}
    assert (table["role"] == "heldout").all() and (table["class"] == "fitted").all() and (table["seed"] == 3).all()
    for method in ("raw_counts", "normalised_counts", "latents", "population_modes"):
        choice, reward = rows.loc[("choice", method)], rows.loc[("reward", method)]
        assert choice["score"] > choice["chance_upper"] > choice["chance"]
        assert choice["score"] > 0.8 and choice["auc"] > 0.85
        assert reward["score"] == pytest.approx(0.5, abs=0.17)
        assert choice["chance"] == pytest.approx(0.5, abs=0.08)
    velocity = rows.xs("wheel_velocity").drop("forecast_modes")  # of an untrained network
    assert (velocity["score"] > 0.3).all() and (velocity["metric"] == "R2").all() and (velocity["chance"] == 0).all()
    assert "runs of equal labels" in rows.loc[("block", "latents"), "left_out"]
    assert rows.loc[("choice", "raw_counts"), "inputs"] == 2 * 10
    assert rows.loc[("choice", "latents"), "inputs"] == 2 * config.model.width


@pytest.mark.slow
def test_choices_that_follow_nothing_are_not_found(tmp_path, forecaster, made, config):
    trials = dict(made.session.trials)
    trials["choice"] = np.random.default_rng(1).permutation(trials["choice"])
    path = tmp_path / "shuffled.h5"
    write_session(path, replace(made.session, trials=trials))
    shuffled, config = replace(made, paths=replace(made.paths, session=path)), of_targets(config, "choice")
    table = scored(forecaster, shuffled, config, tmp_path / "x.parquet")
    assert len(table) and (table["score"] < 0.68).all()


def test_no_spike_after_its_context_and_no_label_reaches_a_representation(tmp_path, forecaster, made, config):
    session = made.session
    frozen = read_frozen(forecaster, made.paths)
    (choice,) = read_labels(
        made.paths.session,
        targets=["choice"],
        part=session.splits.test,
        shape=decoding_shape(config.timeline),
        stride_bins=6,
        label_bins=5,
        first_movement_s=None,
    )
    found = representations(frozen, session.splits.test, choice.origin_us, config.downstream, config.timeline)
    context_us = 200_000
    age = choice.origin_us[:, None] - session.spike_times_us
    kept = ((age > 0) & (age <= context_us)).any(axis=0) | (session.spike_times_us < session.splits.test.start_us[0])
    assert 0 < kept.sum() < kept.size
    trials = dict(session.trials) | {
        "feedbackType": -session.trials["feedbackType"],
        "choice": session.trials["choice"],
    }
    less = replace(
        session, spike_times_us=session.spike_times_us[kept], spike_unit=session.spike_unit[kept], trials=trials
    )
    path = tmp_path / "less.h5"
    write_session(path, less)
    again = representations(
        read_frozen(forecaster, replace(made.paths, session=path)),
        session.splits.test,
        choice.origin_us,
        config.downstream,
        config.timeline,
    )
    # forecasts also read a unit's own past before the context
    for name in found.keys() - {"forecast_modes"}:
        np.testing.assert_allclose(again[name], found[name], atol=1e-5, err_msg=name)
    last = choice.origin_us[-1:]
    kept = session.spike_times_us < last[0]
    write_session(
        path, replace(session, spike_times_us=session.spike_times_us[kept], spike_unit=session.spike_unit[kept])
    )
    frozen = read_frozen(forecaster, replace(made.paths, session=path))
    again = representations(frozen, session.splits.test, last, config.downstream, config.timeline)
    for name, values in found.items():
        np.testing.assert_allclose(again[name], values[-1:], atol=1e-5, err_msg=name)


def test_what_is_decoded_lies_in_the_test_part_alone(made, config):
    found = read_labels(
        made.paths.session,
        targets=[*TRIAL_TARGETS, "wheel_speed"],
        part=made.session.splits.test,
        shape=decoding_shape(config.timeline),
        stride_bins=6,
        label_bins=5,
        first_movement_s=None,
    )
    for one in found:
        assert (one.origin_us - 200_000 >= made.session.splits.test.start_us[0]).all()
        assert len(one.origin_us)


@pytest.mark.slow
def test_a_session_that_was_trained_on_is_no_held_out_one(tmp_path, forecaster, config):
    known, config = planted("known", config, tmp_path), of_targets(config, "wheel_velocity")
    with pytest.raises(ValueError, match="was trained on known"):
        scored(forecaster, known, config, tmp_path / "x.parquet")
    table = scored(forecaster, known, config, tmp_path / "x.parquet", role="train")
    assert (table["role"] == "train").all() and table["score"].notna().any()


def test_spans_beyond_the_context_are_refused(tmp_path, forecaster, made, config):
    short = config.model_copy(update={"timeline": config.timeline.model_copy(update={"context_bins": 9})})
    with pytest.raises(ValueError, match=r"reach to 10 bins; decoders read timeline.context_bins, 9"):
        scored(forecaster, made, short, tmp_path / "x.parquet")


def test_a_session_that_was_left_out_has_rows_that_say_why(tmp_path, forecaster, made, config):
    path = tmp_path / "gone.h5"
    write_session(
        path, left_out_session(session_id="gone", source="nwb", subject="a", lab="", date="", reason="no spikes")
    )
    table = scored(forecaster, replace(made, paths=replace(made.paths, session=path)), config, tmp_path / "x.parquet")
    assert (table["left_out"] == "no spikes").all() and table["score"].isna().all()
    assert set(table["target"]) == set(config.downstream.targets)


@pytest.mark.slow
def test_poyo_is_probed_at_the_same_contexts_or_not_at_all(tmp_path, forecaster, made, config):
    config = of_targets(config, "choice", "wheel_velocity")
    labels = read_labels(
        made.paths.session,
        targets=config.downstream.targets,
        part=made.session.splits.test,
        shape=decoding_shape(config.timeline),
        stride_bins=config.timeline.evaluation_stride_bins,
        label_bins=config.downstream.label_bins,
        first_movement_s=config.downstream.first_movement_s,
    )
    rng = np.random.default_rng(0)
    knows = {
        one.target: (one.origin_us, np.column_stack([one.label, rng.normal(size=len(one.label))])) for one in labels
    }
    poyo = decodings, contexts = tmp_path / "decodings.h5", tmp_path / "contexts.h5"
    write_decodings(decodings, [])
    write_contexts(contexts, knows)
    back = read_contexts(contexts)
    assert back.keys() == knows.keys() and (back["choice"][0] == knows["choice"][0]).all()
    rows = scored(forecaster, made, config, tmp_path / "x.parquet", poyo=poyo).set_index(["target", "method"])
    assert rows.loc[("choice", "poyo_latents"), "score"] > 0.9
    assert "POYO" in rows.loc[("wheel_velocity", "poyo"), "left_out"]
    config = of_targets(config, "choice")
    write_contexts(contexts, "POYO has no unit of it")
    rows = scored(forecaster, made, config, tmp_path / "x.parquet", poyo=poyo).set_index(["target", "method"])
    assert rows.loc[("choice", "poyo_latents"), "left_out"] == "POYO has no unit of it"
    shifted = {name: (origin_us + 1, values) for name, (origin_us, values) in knows.items()}
    write_contexts(contexts, shifted)
    with pytest.raises(ValueError, match="has other contexts"):
        scored(forecaster, made, config, tmp_path / "x.parquet", poyo=poyo)
