import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from factories.sessions import made_files, made_session, small_config
from scipy.optimize import minimize
from sklearn.linear_model import Ridge

from neurohorizon.baselines.glm import (
    PooledGlm,
    fit_poisson,
    fit_pooled_glms,
    fit_unit_glms,
    pooled_inputs,
    surprises,
)
from neurohorizon.baselines.linear import (
    OWN_PENALTY,
    SOFT_COUNTS,
    Reference,
    context_means,
    fit_linear,
    leading_right_vectors,
    reference_windows,
    regression_shape,
)
from neurohorizon.baselines.tuning import MOST_WINDOWS, tune_regressions_on_files, unit_rows
from neurohorizon.experiments.cross_session.tuning_tables import make_tables
from neurohorizon.forecasts.forecast_file import read_forecast
from neurohorizon.forecasts.regressions import forecast_with_regressions
from neurohorizon.forecasts.scoring import score_session
from neurohorizon.inputs.sessions import feature_columns, load_inputs
from neurohorizon.inputs.windows import Windows, cut_windows, evaluation_origins
from neurohorizon.methods import METHODS, REGRESSIONS
from neurohorizon.scores import poisson_log_likelihood
from neurohorizon.units.reference import MARGINAL_GROUPS, read_reference

CONFIG = small_config()
SETTINGS = CONFIG.regressions.model_copy(update={"history_edges_bins": (1, 3, 10, 40)})
SHAPE = regression_shape(CONFIG.timeline, SETTINGS)
EDGES = SETTINGS.history_edges_bins


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return [made_files(folder, made_session(f"s{i}", CONFIG.splits, seed=i), CONFIG) for i in range(3)]


@pytest.fixture(scope="module")
def tuned(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "a-fold"
    folder.mkdir()
    tune_regressions_on_files(
        [one.paths for one in files[:2]],
        timeline=CONFIG.timeline,
        regressions=SETTINGS,
        minimum_rate_hz=0.1,
        output=folder / "regressions.json",
        pooled=folder / "ar_glm.json",
    )
    return folder


def reference_of(paths, use, most):
    inputs = load_inputs(paths, use, groups=(), readout=None)
    return reference_windows(inputs, read_reference(paths.features, use).intervals, shape=SHAPE, most=most)


def windows_of(files, use, most=None):
    inputs = load_inputs(files.paths, use, groups=MARGINAL_GROUPS, readout=None)
    origins = evaluation_origins(inputs.part, SHAPE, SHAPE.horizon_bins)
    if most:
        origins = origins[:: -(-origins.size // most)]
    return inputs, cut_windows(inputs.spikes, inputs.part, origins, SHAPE)


def bits(windows, mean_counts, rate):
    null = np.broadcast_to(np.log(mean_counts), windows.counts.shape)
    gained = poisson_log_likelihood(windows.counts, np.log(rate)) - poisson_log_likelihood(windows.counts, null)
    return gained.sum() / windows.counts.sum() / np.log(2)


def short_recording():
    """Draw counts of five units that follow each other, and valid bins."""
    rng = np.random.default_rng(3)
    shared = np.sin(np.arange(280) / 4)
    counts = rng.poisson(np.exp(-1 + 0.8 * np.outer(shared, [1, -1, 1, 0, 0.5])))
    valid = np.ones(280, bool)
    valid[100:112] = valid[140:148] = False
    return counts * valid[:, None], valid


def windows_at(counts, valid, origins):
    """Cut windows by plain slices; bins before the start of the recording are invalid."""
    reach = EDGES[-1]
    counts = np.concatenate([np.zeros((reach, counts.shape[1]), int), counts])
    valid = np.concatenate([np.zeros(reach, bool), valid])
    before = [slice(one, one + reach) for one in origins]
    after = [slice(one + reach, one + reach + SHAPE.horizon_bins) for one in origins]
    spans = [slice(reach - far, reach - near) for near, far in zip([0, *EDGES[:-1]], EDGES, strict=True)]
    past, past_mask = np.stack([counts[one] for one in before]), np.stack([valid[one] for one in before])
    return Windows(
        origin_us=np.asarray(origins) * SHAPE.bin_us,
        context=past[:, -SHAPE.context_bins :],
        context_mask=past_mask[:, -SHAPE.context_bins :],
        counts=np.stack([counts[one] for one in after]),
        target_mask=np.stack([valid[one] for one in after]),
        spike_window=np.zeros(0, int),
        spike_unit=np.zeros(0, int),
        spike_age_bins=np.zeros(0, np.float32),
        history_edges_bins=EDGES,
        history=np.stack([past[:, one].sum(1) for one in spans], axis=2).astype(np.float32),
        history_bins=np.stack([past_mask[:, one].sum(1) for one in spans], axis=1).astype(np.float32),
    )


def short_reference(order=(0, 1, 2, 3, 4)):
    """Return a reference window of few bins, and windows to forecast."""
    counts, valid = short_recording()
    counts = counts[:, order]
    origins = [one for one in range(5, 274) if valid[one - 5 : one].all() and valid[one]]
    return Reference(windows_at(counts, valid, origins), counts.sum(0) / valid.sum()), windows_at(
        counts, valid, range(40, 90)
    )


def dense_inputs(windows, mean_counts):
    """Compute by loops the past of all units [window, span * unit] and the history of each [window, span, unit]."""
    scale = np.sqrt(mean_counts + SOFT_COUNTS)
    own = np.zeros((len(windows.context), len(EDGES), mean_counts.size))
    for window in range(len(own)):
        for span, (near, far) in enumerate(zip([0, *EDGES[:-1]], EDGES, strict=True)):
            n_bins = windows.history_bins[window, span]
            if n_bins:
                surprise = windows.history[window, :, span] / n_bins - mean_counts
                own[window, span] = surprise * np.sqrt(min(far - near, SHAPE.context_bins**2 / (far - near))) / scale
    within = sum(edge <= SHAPE.context_bins for edge in EDGES)
    return own[:, :within].reshape(len(own), -1), own


def dense_outcomes(windows, group):
    first, last = [0, *SETTINGS.horizon_edges_bins][group : group + 2]
    mask = windows.target_mask[:, first:last]
    n_bins = mask.sum(1)
    return windows.counts[:, first:last].sum(1) / np.maximum(n_bins, 1)[:, None], n_bins


@pytest.mark.parametrize("own_first", [False, True])
@pytest.mark.parametrize("rank", [None, 2])
def test_linear_forecasts_are_those_of_scikit_learn(own_first, rank):
    reference, windows = short_reference()
    mean_counts = reference.mean_counts
    scale = np.sqrt(mean_counts + SOFT_COUNTS)
    rate = fit_linear(reference, SETTINGS)[own_first].rates(windows, penalty=40.0, floor=0.01, rank=rank)
    past, own = dense_inputs(reference.windows, mean_counts)
    new_past, new_own = dense_inputs(windows, mean_counts)
    for group, bin_index in enumerate((0, 5)):
        outcome, n_bins = dense_outcomes(reference.windows, group)
        known = n_bins > 0
        state, share = past[known], n_bins[known] / n_bins.max()
        outcome = (outcome[known] - mean_counts) / scale
        base, new_base = np.zeros_like(outcome), np.zeros((len(new_own), scale.size))
        if own_first:
            for unit in range(scale.size):
                alone = Ridge(alpha=OWN_PENALTY, fit_intercept=False)
                alone.fit(own[known][:, :, unit], outcome[:, unit], sample_weight=share)
                base[:, unit], new_base[:, unit] = (
                    alone.predict(own[known][:, :, unit]),
                    alone.predict(new_own[:, :, unit]),
                )
        ridge = Ridge(alpha=40.0).fit(state, outcome - base, sample_weight=share)
        predicted = ridge.predict(new_past)
        if rank:
            # by definition: projected on the leading right singular vectors of the fitted values
            mean = share @ state / share.sum()
            fitted = (state - mean) @ ridge.coef_.T * np.sqrt(share)[:, None]
            right = np.linalg.svd(fitted, full_matrices=False)[2][:rank]
            predicted = (new_past - mean) @ ridge.coef_.T @ right.T @ right + ridge.predict(mean[None])
        expected = mean_counts + scale * (predicted + new_base)
        np.testing.assert_allclose(rate[:, bin_index], np.maximum(expected, 0.01 * mean_counts), rtol=3e-4, atol=3e-5)


def test_no_linear_forecast_falls_below_its_floor():
    reference, windows = short_reference()
    fit = fit_linear(reference, SETTINGS)[False]
    low = fit.rates(windows, penalty=1.0, floor=0.3) / reference.mean_counts
    free = fit.rates(windows, penalty=1.0, floor=1e-6) / reference.mean_counts
    assert free.min() < 0.2
    np.testing.assert_allclose(low, np.maximum(free, 0.3), rtol=1e-6)


def test_the_largest_rank_is_no_limit():
    reference, windows = short_reference()
    fit = fit_linear(reference, SETTINGS)[True]
    np.testing.assert_allclose(
        fit.rates(windows, penalty=10.0, floor=0.01, rank=5), fit.rates(windows, penalty=10.0, floor=0.01), rtol=1e-3
    )


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (60, 50)])
def test_leading_vectors_are_those_of_the_full_decomposition(shape):
    values = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    ours, right = leading_right_vectors(values, 3), np.linalg.svd(values)[2][:3].T
    np.testing.assert_allclose(np.abs((ours * right).sum(0)), 1, rtol=1e-5)


def test_masked_bins_are_neither_spikes_nor_silence():
    reference, windows = short_reference()
    mask = windows.context_mask.copy()
    mask[:, -3:] = False
    masked = replace(windows, context=windows.context * mask[..., None], context_mask=mask)
    read = context_means(masked, reference.mean_counts, (1, 3, 10))
    assert not read[:, :2].any(), "spans of 1 and 3 bins"
    np.testing.assert_allclose(read[:, 2], context_means(windows, reference.mean_counts, (1, 3, 10))[:, 2], atol=1e-6)
    nothing = replace(windows, history=0 * windows.history, history_bins=0 * windows.history_bins)
    assert not surprises(nothing, reference.mean_counts).any()


@pytest.mark.parametrize("precision", [0.5, 50.0])
def test_a_poisson_regression_is_the_minimum_of_its_objective(precision):
    rng = np.random.default_rng(1)
    inputs, exposure = rng.normal(size=(300, 4)), rng.uniform(0.5, 3, 300)
    counts = rng.poisson(exposure * np.exp(-0.5 + inputs @ [0.5, -0.3, 0.0, 0.1]))

    def objective(weights):
        log_rate = weights[0] + inputs @ weights[1:]
        log_likelihood = (counts * log_rate - exposure * np.exp(log_rate)).sum()
        return -log_likelihood + precision / 2 * (weights[1:] ** 2).sum()

    direct = minimize(objective, np.zeros(5), method="BFGS", options={"gtol": 1e-7}).x
    np.testing.assert_allclose(fit_poisson(inputs, counts / exposure, exposure, precision), direct, atol=2e-4)


def test_the_regressions_of_units_are_poisson_regressions_of_dense_inputs():
    reference, windows = short_reference()
    mean_counts = reference.mean_counts
    fit = fit_unit_glms(reference, SETTINGS, precision=10.0)
    expected = reference.windows.history_bins[:, :, None] * mean_counts
    inputs = np.log((reference.windows.history.transpose(0, 2, 1) + 0.5) / (expected + 0.5))
    for group in (0, 1):
        outcome, n_bins = dense_outcomes(reference.windows, group)
        known = n_bins > 0
        for unit in (0, 4):
            ease = np.sqrt([1, 1, 1, 10 / 30])  # the last span is three contexts long
            direct = fit_poisson(inputs[known, :, unit] * ease, outcome[known, unit], n_bins[known], 10.0)
            direct[1:] *= ease
            np.testing.assert_allclose(fit.intercept[group, unit], direct[0], atol=1e-4)
            np.testing.assert_allclose(fit.own[group, unit], direct[1:], atol=1e-4)
    gain = fit.intercept[0] + np.einsum("wus,us->wu", surprises(windows, mean_counts), fit.own[0])
    np.testing.assert_allclose(fit.rates(windows)[:, 1], np.exp(gain), rtol=1e-5)


def test_a_mode_with_an_unlimited_penalty_has_no_effect():
    reference, windows = short_reference()
    alone = fit_unit_glms(reference, SETTINGS, precision=10.0).rates(windows)
    np.testing.assert_allclose(
        fit_unit_glms(reference, SETTINGS, precision=10.0, mode_precision=1e9).rates(windows), alone, rtol=1e-3
    )
    free = fit_unit_glms(reference, SETTINGS, precision=10.0, mode_precision=10.0).rates(windows)
    assert np.abs(np.log(free / alone)).max() > 0.1


def test_a_penalty_of_modes_gives_a_regression_with_two_penalties():
    reference, _ = short_reference()
    precision, mode_precision = 10.0, 40.0
    fit = fit_unit_glms(reference, SETTINGS, precision=precision, mode_precision=mode_precision)
    windows, unit = reference.windows, 2
    pearson = context_means(windows, reference.mean_counts, SETTINGS.mode_edges_bins)
    state = (pearson / np.sqrt(reference.mean_counts + SOFT_COUNTS)) @ fit.modes / fit.mode_scale
    inputs = np.concatenate([surprises(windows, reference.mean_counts)[:, unit], state.reshape(len(state), -1)], axis=1)
    outcome, n_bins = dense_outcomes(windows, 1)
    weights = np.concatenate([[fit.intercept[1, unit]], fit.own[1, unit], fit.coupling[1, unit]])
    rate = np.exp(weights[0] + inputs @ weights[1:])
    # at the minimum, the gradients of the likelihood and of the prior cancel
    gradient = (n_bins * (outcome[:, unit] - rate)) @ inputs
    penalties = np.repeat([precision, 3 * precision, mode_precision], [3, 1, state[0].size])
    np.testing.assert_allclose(gradient, penalties * weights[1:], atol=0.3)


def test_the_target_is_never_read():
    reference, windows = short_reference()
    linear = fit_linear(reference, SETTINGS)[True]
    glm = fit_unit_glms(reference, SETTINGS, precision=10.0, mode_precision=10.0)
    other = replace(windows, counts=windows.counts[::-1] + 3)
    for rates in (
        [linear.rates(one, penalty=30.0, floor=0.1) for one in (windows, other)],
        [glm.rates(one) for one in (windows, other)],
    ):
        np.testing.assert_array_equal(*rates)


def test_units_that_hardly_fire_keep_their_reference_mean():
    reference, windows = short_reference()
    target = reference.windows.counts.copy()
    target[:, :, 2] = 0
    target[[50, 160], 0, 2] = 1
    reference = replace(reference, windows=replace(reference.windows, counts=target))
    fit = fit_unit_glms(reference, SETTINGS, precision=10.0, mode_precision=10.0)
    assert list(fit.units) == [0, 1, 3, 4]
    np.testing.assert_allclose(fit.rates(windows)[:, :, 2], reference.mean_counts[2])


def test_unit_order_changes_nothing():
    order = [3, 0, 4, 2, 1]
    (reference, windows), (other, moved) = short_reference(), short_reference(order)
    linear = {"penalty": 30.0, "floor": 0.1, "rank": 2}
    glm = {"precision": 10.0, "mode_precision": 30.0}
    for first, second in (
        (
            fit_linear(reference, SETTINGS)[True].rates(windows, **linear),
            fit_linear(other, SETTINGS)[True].rates(moved, **linear),
        ),
        (
            fit_unit_glms(reference, SETTINGS, **glm).rates(windows),
            fit_unit_glms(other, SETTINGS, **glm).rates(moved),
        ),
    ):
        np.testing.assert_allclose(first[..., order], second, rtol=2e-3)


def test_reference_windows_lie_in_the_reference_window(files):
    reference = reference_of(files[0].paths, "test", most=500)
    splits, windows = files[0].session.splits, reference.windows
    assert 400 < len(windows.origin_us) <= 500
    assert splits.reference.contains(windows.origin_us).all()
    # bins after the reference window are not valid
    end_us = splits.reference.stop_us[-1]
    target_us = windows.origin_us[:, None] + np.arange(1, SHAPE.horizon_bins + 1) * SHAPE.bin_us
    np.testing.assert_array_equal(windows.target_mask, target_us <= end_us)
    assert not windows.counts[~windows.target_mask].any()
    assert windows.context_mask[:, -1].all() and windows.context_mask.sum(1).min() == SHAPE.context_bins // 2


def pooled_rows(files, uses=("early", "late")):
    rows = []
    for one in files:
        for use in uses:
            inputs, windows = windows_of(one, use)
            rows.append(unit_rows(inputs, feature_columns(one.paths.features, MARGINAL_GROUPS), windows))
    return rows


def test_the_pooled_regression_is_one_poisson_regression_of_all_rows(files):
    rows = pooled_rows(files[:1], ["early"])
    (fit,) = fit_pooled_glms(rows, SETTINGS, [20.0])
    (row,) = rows
    history = surprises(row.windows, row.mean_counts)
    statistics = (row.statistics - row.statistics.mean(0)) / row.statistics.std(0)
    inputs, gain, exposure = [], [], []
    for window in range(len(history)):
        for unit in range(8):
            own, known = history[window, unit], statistics[unit]
            inputs.append([*own, *known, *np.outer(own, known).ravel()])
            gain.append(row.windows.counts[window, 2:6, unit].sum() / 4 / row.mean_counts[unit])
            exposure.append(4 * row.mean_counts[unit])
    direct = fit_poisson(np.array(inputs), np.array(gain), np.array(exposure), 20.0)
    np.testing.assert_allclose(fit.intercept[1], direct[0], atol=1e-3)
    np.testing.assert_allclose(fit.weights[1], direct[1:], atol=2e-3)


def test_windows_of_the_pooled_regression_may_be_cut_in_each_iteration(files):
    class Cut:
        def __iter__(self):
            return iter(pooled_rows(files[:2]))

    listed, cut = (next(fit_pooled_glms(rows, SETTINGS, [20.0])) for rows in (pooled_rows(files[:2]), Cut()))
    np.testing.assert_array_equal(listed.weights, cut.weights)
    np.testing.assert_array_equal(listed.centre, cut.centre)


def test_a_pooled_forecast_is_the_weighted_sum_of_its_inputs(files):
    rows = pooled_rows(files[:1], ["early"])
    fit = next(fit_pooled_glms(rows, SETTINGS, [20.0]))
    gain = fit.intercept + pooled_inputs(rows[0], fit.centre, fit.scale) @ fit.weights.T
    rates = rows[0].mean_counts[:, None] * np.exp(gain).reshape(len(rows[0].windows.counts), 8, -1)
    np.testing.assert_allclose(fit.group_rates(rows[0]), rates.transpose(0, 2, 1), rtol=1e-10)


def test_the_pooled_regression_is_read_back_from_its_file(files, tmp_path):
    rows = pooled_rows(files[:2])
    (fit,) = fit_pooled_glms(rows, SETTINGS, [20.0])
    fit.write(tmp_path / "ar_glm.json")
    again = PooledGlm.read(tmp_path / "ar_glm.json")
    np.testing.assert_allclose(again.rates(rows[0]), fit.rates(rows[0]), rtol=1e-12)
    assert again.names() == fit.names() and len(fit.names()) == fit.weights.shape[1]


def test_every_regression_beats_the_reference_mean_on_a_new_session(files, tuned, tmp_path):
    forecast_with_regressions(
        tuned=tuned / "regressions.json",
        pooled=tuned / "ar_glm.json",
        paths=files[2].paths,
        fold="a-fold",
        timeline=CONFIG.timeline,
        regressions=SETTINGS,
        code="abc",
        output_folder=tmp_path,
    )
    paths = [tmp_path / f"{name}.h5" for name in REGRESSIONS]
    score_session(forecasts=paths, output=tmp_path / "scores.parquet", minimum_rate_hz=0.1)
    sums = pd.read_parquet(tmp_path / "scores.parquet").groupby(["method", "class"]).sum(numeric_only=True)
    gain = ((sums.model_nats - sums.reference_nats) / sums.spikes / np.log(2)).reset_index().set_index("method")
    assert dict(gain["class"]) == {name: METHODS[name].kind for name in REGRESSIONS}
    assert (gain[0] > 0.03).all(), gain
    # the units share an oscillation, which all spikes together predict better than a unit's own few spikes
    assert gain[0]["coupled_glm"] > gain[0]["history_glm"] + 0.01
    assert read_forecast(paths[0]).code == "abc"


def test_the_test_part_is_never_read_by_a_fit(files, tmp_path):
    spikes_after = files[2].session.splits.test.start_us[0]
    times, unit = files[2].session.spike_times_us, files[2].session.spike_unit
    before = times < spikes_after
    silent_after = replace(
        files[2].session, spike_times_us=times[before], spike_unit=unit[before], session_id="silent-after"
    )
    other = made_files(tmp_path, silent_after, CONFIG)
    first, second = (reference_of(one.paths, "test", most=300) for one in (files[2], other))
    for name in ("context", "counts", "history", "history_bins"):
        np.testing.assert_array_equal(getattr(first.windows, name), getattr(second.windows, name))


def test_the_chosen_settings_score_best(tuned):
    written = json.loads((tuned / "regressions.json").read_text())
    assert written.keys() == set(REGRESSIONS)
    n_linear = 2 * len(SETTINGS.ridge) * len(SETTINGS.floor)
    assert len(written["ridge_ar"]["tried"]) == n_linear
    assert len(written["reduced_rank"]["tried"]) == n_linear * len(SETTINGS.rank)
    for one in written.values():
        best = max(one["tried"], key=lambda tried: tried["bits_per_spike"])
        assert one["settings"] | {"bits_per_spike": one["bits_per_spike"]} == best
    assert all(
        one["precision"] == written["history_glm"]["settings"]["precision"] for one in written["coupled_glm"]["tried"]
    )


def test_a_candidates_score_is_that_of_its_forecasts(files, tuned):
    written = json.loads((tuned / "regressions.json").read_text())
    candidate = written["reduced_rank"]["tried"][5]
    settings = {key: value for key, value in candidate.items() if key != "bits_per_spike"}
    own_first = settings.pop("own_first")
    gained = spikes = 0
    for one in files[:2]:
        _, windows = windows_of(one, "early", MOST_WINDOWS)
        reference = reference_of(one.paths, "early", most=SETTINGS.windows)
        rate = fit_linear(reference, SETTINGS)[own_first].rates(windows, **settings)
        gained += bits(windows, reference.mean_counts, rate) * windows.counts.sum()
        spikes += windows.counts.sum()
    np.testing.assert_allclose(candidate["bits_per_spike"], gained / spikes, rtol=1e-5)


def test_the_table_lists_every_candidate_and_marks_the_chosen_one(tuned, tmp_path):
    make_tables(tuned=[tuned / "regressions.json"], folder=tmp_path)
    table = pd.read_csv(tmp_path / "tuning.tsv", sep="\t")
    written = json.loads((tuned / "regressions.json").read_text())
    assert set(table.fold) == {"a-fold"}
    assert len(table) == sum(len(one["tried"]) for one in written.values())
    chosen = table[table.chosen].set_index("method").bits_per_spike
    np.testing.assert_allclose(chosen, table.groupby("method").bits_per_spike.max()[chosen.index], atol=1e-5)
    assert "penalty=300" in " ".join(table.settings)
