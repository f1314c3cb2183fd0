"""The network fitted on the session that is forecast, and the same network with tampered identities."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from factories.sessions import made_files, made_session, made_spikes, small_config
from factories.trainings import train_network

from neurohorizon.config import LearnedEmbedding
from neurohorizon.forecasts.forecast import (
    forecast_with_controls,
    forecast_with_learned_embedding,
    forecast_with_network,
)
from neurohorizon.forecasts.forecast_file import read_forecast
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.methods import CONTROLS
from neurohorizon.models.identity import (
    derangement,
    identity_of,
    with_control,
    with_identity,
    with_learned_identity,
)
from neurohorizon.models.weights import load_forecaster
from neurohorizon.models.within_session import (
    ShortReferenceError,
    fit_within_session,
    fitting_inputs,
    reference_session,
)
from neurohorizon.session import left_out_session
from neurohorizon.timeline import to_us

LEARNING = {"steps": 120, "validate_every_steps": 40, "windows_per_session": 16, "warmup_steps": 5}
CONFIG = small_config(training={"sessions_per_batch": 2, "threads": 1, **LEARNING})
SETTINGS = LearnedEmbedding(
    steps=60, learning_rate=0.02, weights_learning_rate=0.002, validate_every_steps=20, patience=3
)
UNITS = 6


def odd_spikes(*, duration_s: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of units that, unlike those of training, fall silent after they fired and fire after silence."""
    rng = np.random.default_rng(seed)
    step_s, trace = 0.02, np.zeros(UNITS)
    spikes = []
    for step in range(int(duration_s / step_s)):
        counts = rng.poisson(np.minimum(0.6 * np.exp(1.5 - 2.0 * trace), 5))
        trace = 0.8 * trace + 0.4 * counts
        for unit in np.flatnonzero(counts):
            at_us = to_us(step * step_s) + rng.integers(0, int(step_s * 1e6), counts[unit])
            spikes += [(time_us, unit) for time_us in at_us]
    times_us, unit = np.array(sorted(spikes)).T
    return times_us, unit.astype(np.uint16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("within")


@pytest.fixture(scope="module")
def weights(folder):
    files = [made_files(folder, made_session(f"s{i}", CONFIG.splits, n_units=UNITS, seed=i), CONFIG) for i in (0, 1)]
    return train_network(folder, files, CONFIG)


@pytest.fixture(scope="module")
def odd(folder):
    """A held-out session of units such as training never saw."""
    times_us, unit = odd_spikes(duration_s=80, seed=5)
    session = made_session("odd", CONFIG.splits, n_units=UNITS, duration_s=80)
    return made_files(folder, replace(session, spike_times_us=times_us, spike_unit=unit), CONFIG)


def fitted(weights, session, **changes):
    forecaster, card = load_forecaster(weights)
    return fit_within_session(
        forecaster=forecaster,
        card=card,
        session=session,
        timeline=CONFIG.timeline,
        splits=CONFIG.splits,
        features=CONFIG.features,
        training=CONFIG.training,
        settings=SETTINGS.model_copy(update=changes),
        seed=0,
    )


def state(fit):
    return {name: value.cpu().numpy() for name, value in fit.forecaster.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.fixture(scope="module")
def fit(weights, odd):
    return fitted(weights, odd.session)


def scored(forecast):
    gained = forecast.counts * (forecast.log_rate - forecast.reference_log_rate)
    gained = gained - np.exp(forecast.log_rate) + np.exp(forecast.reference_log_rate)
    return gained[forecast.target_mask].sum() / forecast.counts.sum() / np.log(2)


def forecast_fitted(weights, paths, output, **changes):
    forecast_with_learned_embedding(
        weights=weights,
        paths=paths,
        fold="main",
        seed=0,
        timeline=CONFIG.timeline,
        splits=CONFIG.splits,
        features=CONFIG.features,
        training=CONFIG.training,
        learned_embedding=SETTINGS.model_copy(update=changes),
        code="c0de",
        output=output,
    )
    return read_forecast(output)


def forecast_plain(weights, paths, output):
    forecast_with_network(
        weights=weights,
        paths=paths,
        fold="main",
        method="neurohorizon",
        seed=0,
        timeline=CONFIG.timeline,
        code="c0de",
        output=output,
    )
    return read_forecast(output)


def test_units_that_no_statistics_tell_of_are_learned_on_the_session(weights, odd, tmp_path):
    learned = forecast_fitted(weights, odd.paths, tmp_path / "f.h5")
    plain = forecast_plain(weights, odd.paths, tmp_path / "z.h5")
    assert (learned.method, learned.method_class, learned.seed) == ("learned_embedding", "fitted", 0)
    for name in ("start_us", "target_mask", "counts", "reference_log_rate", "unit_id"):
        np.testing.assert_array_equal(getattr(learned, name), getattr(plain, name))
    assert scored(learned) > scored(plain) + 0.02


def test_no_stage_of_the_fit_is_worse_than_the_one_before_where_it_was_stopped(fit):
    scores = list(fit.scores.values())
    assert list(fit.scores) == ["zero_shot", "embeddings", "all_weights"]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_a_fit_that_only_hurts_is_not_kept(weights, odd, tmp_path):
    wild = {"steps": 20, "learning_rate": 30.0, "weights_learning_rate": 3.0, "validate_every_steps": 10}
    assert len(set(fitted(weights, odd.session, **wild).scores.values())) == 1
    untouched = forecast_fitted(weights, odd.paths, tmp_path / "f.h5", **wild)
    plain = forecast_plain(weights, odd.paths, tmp_path / "z.h5")
    np.testing.assert_array_equal(untouched.log_rate, plain.log_rate)


def test_nothing_of_the_test_part_is_read(weights, odd, fit):
    times_us, unit = made_spikes(n_units=UNITS, duration_s=80, seed=99)
    after_us = odd.session.splits.reference.stop_us[-1]
    early, late = odd.session.spike_times_us < after_us, times_us >= after_us
    other = replace(
        odd.session,
        spike_times_us=np.concatenate([odd.session.spike_times_us[early], times_us[late]]),
        spike_unit=np.concatenate([odd.session.spike_unit[early], unit[late]]),
    )
    assert_same(state(fitted(weights, other)), state(fit))


def test_the_reference_part_is_read(weights, odd, fit):
    times_us, unit = odd_spikes(duration_s=80, seed=6)
    other = state(fitted(weights, replace(odd.session, spike_times_us=times_us, spike_unit=unit)))
    assert any(not np.array_equal(value, state(fit)[name]) for name, value in other.items())


def test_targets_never_stand_in_the_window_that_their_unit_is_known_by(odd):
    config = CONFIG
    halves, validation = fitting_inputs(
        odd.session,
        timeline=config.timeline,
        splits=config.splits,
        features=config.features,
        readout=config.model.readout,
    )
    alone = reference_session(odd.session, config.splits)
    assert alone.spike_times_us.max() < odd.session.splits.reference.stop_us[-1]
    early, late = (one.part for one in halves[::-1])
    gap_us = to_us(config.splits.gap_s)
    assert early.stop_us[-1] + gap_us <= late.start_us[0]
    assert late.stop_us[-1] + gap_us <= validation.part.start_us[0]
    assert validation.part.stop_us[-1] <= odd.session.splits.reference.stop_us[-1]
    # rates by which each is known are those of the other half, of both for the last part
    bins = {"early": early, "late": late, "both": alone.splits.train}
    for inputs, known in zip((*halves, validation), ("early", "late", "both"), strict=True):
        times_us = odd.session.spike_times_us[odd.session.spike_unit == 3]
        expected = bins[known].contains(times_us).sum() / (bins[known].duration_us // 20_000)
        assert np.exp(inputs.reference_log_rate[3]) == pytest.approx(expected, rel=1e-2)
        assert inputs.features[3, 0] == pytest.approx(np.log(expected * 50), rel=1e-2)
        np.testing.assert_allclose(inputs.readout.mean_counts, np.exp(inputs.reference_log_rate), rtol=1e-5)


def test_what_is_fitted_begins_where_the_network_was_and_leaves_it_as_it_is(weights, odd, fit, tmp_path):
    content = weights.read_bytes()
    untouched = forecast_fitted(weights, odd.paths, tmp_path / "f.h5", steps=1)  # too few for a validation
    plain = forecast_plain(weights, odd.paths, tmp_path / "z.h5")
    np.testing.assert_array_equal(untouched.log_rate, plain.log_rate)
    assert len(set(fitted(weights, odd.session, steps=1).scores.values())) == 1
    assert weights.read_bytes() == content

    forecaster, card = load_forecaster(weights)
    before = copy.deepcopy(forecaster.state_dict())
    fit_within_session(
        forecaster=forecaster,
        card=card,
        session=odd.session,
        timeline=CONFIG.timeline,
        splits=CONFIG.splits,
        features=CONFIG.features,
        training=CONFIG.training,
        settings=SETTINGS.model_copy(update={"steps": 20}),
        seed=0,
    )
    assert not [name for name, value in forecaster.state_dict().items() if not torch.equal(value, before[name])]
    assert (state(fit)["unit_encoder.of_unit.weight"] != 0).all(), "every unit learned"


def test_the_same_seed_gives_the_same_fit(weights, odd, fit):
    assert_same(state(fitted(weights, odd.session)), state(fit))


def test_where_the_reference_part_is_too_short_the_network_stays_as_it_was(weights, folder, tmp_path):
    session = made_session("short", CONFIG.splits, n_units=UNITS, duration_s=44)  # halves of less than 10 s
    made = made_files(folder, session, CONFIG)
    fit = fitted(weights, session)
    assert fit.scores == {}
    assert "half of the reference window of short" in fit.too_short
    learned = forecast_fitted(weights, made.paths, tmp_path / "f.h5")
    np.testing.assert_array_equal(learned.log_rate, forecast_plain(weights, made.paths, tmp_path / "z.h5").log_rate)
    with pytest.raises(ShortReferenceError, match="the reference window of short: nothing is left for"):
        reference_session(session, small_config(splits={"gap_s": 12.0}).splits)


def test_a_table_of_embeddings_is_for_one_session_alone(weights, odd):
    forecaster, _ = load_forecaster(weights)
    changed = with_identity(forecaster, torch.zeros(UNITS, CONFIG.model.width))
    learned = with_learned_identity(forecaster, n_units=UNITS)
    for one in (changed, learned):
        with pytest.raises(ValueError, match=f"{UNITS} embeddings for 3 units"):
            one.unit_encoder(torch.zeros(1, 3, 4), torch.zeros(1, 3, 2))


# controls


def test_every_unit_gets_the_identity_of_another_one():
    for n_units in (2, 3, 50):
        drawn = derangement(n_units, seed=4)
        np.testing.assert_array_equal(np.sort(drawn), np.arange(n_units))
        assert (drawn != np.arange(n_units)).all()
    assert derangement(1, seed=4).tolist() == [0]
    assert not np.array_equal(derangement(50, seed=4), derangement(50, seed=5))


def test_a_control_changes_the_identities_and_nothing_else(weights, odd):
    forecaster, card = load_forecaster(weights)
    inputs = load_inputs(odd.paths, "test", groups=card.features.groups, readout=card.model.readout)
    own = identity_of(forecaster, inputs)
    shuffled = with_control(forecaster, inputs, "shuffled_identity", seed=1)
    np.testing.assert_array_equal(shuffled.unit_encoder.embedding.detach(), own[derangement(UNITS, 1)])
    mean = with_control(forecaster, inputs, "mean_identity", seed=1).unit_encoder.embedding.detach()
    with torch.no_grad():
        expected = forecaster.unit_encoder.norm(
            forecaster.unit_encoder.layers(torch.zeros(len(card.feature_names) + 4))
        )
    np.testing.assert_allclose(mean, expected.expand(UNITS, -1), atol=1e-6)
    for name, value in forecaster.state_dict().items():
        if not name.startswith("unit_encoder"):
            assert torch.equal(shuffled.state_dict()[name], value)
    with pytest.raises(ValueError, match="no control 'none'"):
        with_control(forecaster, inputs, "none", seed=0)


def test_controls_are_forecast_beside_the_others_and_are_none_of_them(weights, odd, tmp_path):
    forecast_with_controls(
        weights=weights,
        paths=odd.paths,
        controls=CONTROLS,
        fold="main",
        seed=3,
        timeline=CONFIG.timeline,
        code="c0de",
        output_folder=tmp_path,
    )
    plain = forecast_plain(weights, odd.paths, tmp_path / "plain.h5")
    for control in CONTROLS:
        made = read_forecast(tmp_path / f"{control}_seed-3.h5")
        assert (made.method, made.method_class, made.seed) == (control, "control", 3)
        np.testing.assert_array_equal(made.reference_log_rate, plain.reference_log_rate)
        np.testing.assert_array_equal(made.counts, plain.counts)
        assert not np.allclose(made.log_rate, plain.log_rate, atol=1e-3)


def test_a_session_that_was_left_out_has_all_its_files(weights, folder, tmp_path):
    session = left_out_session(
        session_id="gone", source="nwb", subject="g", lab="made", date="2020-01-01", reason="clock jumps"
    )
    gone = made_files(folder, session, CONFIG)
    assert forecast_fitted(weights, gone.paths, tmp_path / "f.h5").left_out == "clock jumps"
    forecast_with_controls(
        weights=weights,
        paths=gone.paths,
        controls=CONTROLS,
        fold="main",
        seed=0,
        timeline=CONFIG.timeline,
        code="c0de",
        output_folder=tmp_path,
    )
    assert {path.name for path in tmp_path.iterdir()} == {"f.h5", *(f"{name}_seed-0.h5" for name in CONTROLS)}
