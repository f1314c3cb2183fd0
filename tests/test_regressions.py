import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_sessions import made_files, made_session, small_config
from scipy.optimize import minimize
from sklearn.linear_model import Ridge

from neurohorizon.evaluation.forecast_file import read_forecast
from neurohorizon.evaluation.regressions import CLASSES, forecast_with_regressions
from neurohorizon.evaluation.scoring import score_session
from neurohorizon.evaluation.tried import make_tried
from neurohorizon.inputs.gains import Origins
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows, evaluation_origins
from neurohorizon.models.glm import (
    PooledGlm,
    fit_poisson,
    fit_pooled_glms,
    fit_unit_glms,
    past_surprises,
    surprises,
)
from neurohorizon.models.linear import (
    OWN_PENALTY,
    SOFT_COUNTS,
    ReferenceBins,
    context_means,
    fit_linear,
    leading_right_vectors,
    past_means,
    reference_bins,
)
from neurohorizon.models.regression_tuning import GROUPS, MOST_WINDOWS, tune_regressions_on_files, unit_rows
from neurohorizon.scores import poisson_log_likelihood

CONFIG = small_config()
SETTINGS = CONFIG.regressions
SHAPE = WindowShape.of(CONFIG.timeline)
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
        pooled_output=folder / "ar_glm.json",
    )
    return folder


def windows_of(files, use, most=None):
    inputs = load_inputs(files.paths, use, groups=GROUPS, readout=None)
    origins = evaluation_origins(inputs.part, SHAPE, SHAPE.horizon_bins)
    if most:
        origins = origins[:: -(-origins.size // most)]
    return inputs, cut_windows(inputs.spikes, inputs.part, origins, SHAPE)


def bits(windows, mean_counts, rate):
    null = np.broadcast_to(np.log(mean_counts), windows.target.shape)
    gained = poisson_log_likelihood(windows.target, np.log(rate)) - poisson_log_likelihood(windows.target, null)
    return gained.sum() / windows.target.sum() / np.log(2)


def dense_past(bins, edges):
    """Standardised past by plain loops: at each origin, each span, each unit."""
    rows, origins = [], []
    scale = np.sqrt(bins.mean_counts + SOFT_COUNTS)
    for origin in range(len(bins.counts)):
        first = np.flatnonzero(bins.segment == bins.segment[origin])[0]
        if origin - first < edges[-1] // 2:
            continue
        row = []
        for near, far in zip([0, *edges[:-1]], edges, strict=True):
            span = bins.counts[max(origin - far, first) : max(origin - near, first)]
            mean = span.mean(0) - bins.mean_counts if len(span) else np.zeros(bins.counts.shape[1])
            row.append(mean * np.sqrt(far - near) / scale)
        rows.append(row)
        origins.append(origin)
    return np.array(rows), np.array(origins)


def short_bins():
    """Counts of five units that follow each other, in intervals of unequal length."""
    rng = np.random.default_rng(3)
    shared = np.sin(np.arange(260) / 4)
    counts = rng.poisson(np.exp(-1 + 0.8 * np.outer(shared, [1, -1, 1, 0, 0.5])))
    return ReferenceBins(counts, np.repeat([0, 1, 2], [100, 30, 130]), counts.mean(0))


def dense_outcome(bins, origins, group):
    edges = [0, *SETTINGS.horizon_edges_bins]
    means, share = [], []
    for origin in origins:
        after = bins.counts[origin + edges[group] : origin + edges[group + 1]]
        same = bins.segment[origin + edges[group] : origin + edges[group + 1]] == bins.segment[origin]
        means.append(after[same].mean(0) if same.any() else np.full(bins.counts.shape[1], np.nan))
        share.append(same.sum() / (edges[group + 1] - edges[group]))
    return np.array(means), np.array(share)


def of_context(bins, origins):
    """The windows before some origins, all bins valid, as a session gives them."""
    full = [
        one
        for one in origins
        if one >= EDGES[-1] and (bins.segment[one - EDGES[-1] : one + 1] == bins.segment[one]).all()
    ]
    context = np.stack([bins.counts[one - EDGES[-1] : one] for one in full])
    horizon = SETTINGS.horizon_edges_bins[-1]
    empty = np.zeros((len(full), horizon, bins.counts.shape[1]), int)
    windows = Windows(
        origin_us=np.array(full) * SHAPE.bin_us,
        context=context,
        context_mask=np.ones(context.shape[:2], bool),
        target=empty,
        target_mask=np.ones(empty.shape[:2], bool),
        spike_window=np.zeros(0, int),
        spike_unit=np.zeros(0, int),
        spike_age_bins=np.zeros(0, np.float32),
    )
    return windows, np.isin(origins, full)


def own_rows(past, unit):
    return past[:, :, unit]


@pytest.mark.parametrize("own_first", [False, True])
@pytest.mark.parametrize("rank", [None, 2])
def test_linear_forecasts_are_those_of_scikit_learn(own_first, rank):
    bins = short_bins()
    past, origins = dense_past(bins, EDGES)
    windows, full = of_context(bins, origins)
    scale = np.sqrt(bins.mean_counts + SOFT_COUNTS)
    rate = fit_linear(bins, SETTINGS)[own_first].rates(windows, penalty=40.0, floor=0.01, rank=rank)
    for group, bin_index in enumerate((0, 5)):
        outcome, share = dense_outcome(bins, origins, group)
        known = share > 0
        state, outcome, share = past[known], (outcome[known] - bins.mean_counts) / scale, share[known]
        base = np.zeros_like(outcome)
        new_base = np.zeros((full.sum(), bins.counts.shape[1]))
        if own_first:
            for unit in range(bins.counts.shape[1]):
                alone = Ridge(alpha=OWN_PENALTY, fit_intercept=False).fit(
                    own_rows(state, unit), outcome[:, unit], sample_weight=share
                )
                base[:, unit] = alone.predict(own_rows(state, unit))
                new_base[:, unit] = alone.predict(own_rows(past[full], unit))
        ridge = Ridge(alpha=40.0).fit(state.reshape(len(state), -1), outcome - base, sample_weight=share)
        predicted = ridge.predict(past[full].reshape(full.sum(), -1)) - ridge.intercept_
        offset = ridge.intercept_
        if rank:
            # by its textbook: project on the leading right singular vectors of the fitted values
            mean = share @ state.reshape(len(state), -1) / share.sum()
            fitted = (state.reshape(len(state), -1) - mean) @ ridge.coef_.T * np.sqrt(share)[:, None]
            right = np.linalg.svd(fitted, full_matrices=False)[2][:rank]
            centre = ridge.intercept_ + mean @ ridge.coef_.T
            predicted = (past[full].reshape(full.sum(), -1) - mean) @ ridge.coef_.T @ right.T @ right
            offset = centre
        expected = bins.mean_counts + scale * (predicted + offset + new_base)
        np.testing.assert_allclose(
            rate[:, bin_index], np.maximum(expected, 0.01 * bins.mean_counts), rtol=2e-4, atol=2e-5
        )


def test_no_linear_forecast_falls_below_its_floor():
    bins = short_bins()
    windows, _ = of_context(bins, np.arange(20, 90))
    fit = fit_linear(bins, SETTINGS)[False]
    low = fit.rates(windows, penalty=1.0, floor=0.3) / bins.mean_counts
    free = fit.rates(windows, penalty=1.0, floor=1e-6) / bins.mean_counts
    assert free.min() < 0.2
    np.testing.assert_allclose(low, np.maximum(free, 0.3), rtol=1e-6)


def test_the_largest_rank_is_no_limit():
    bins = short_bins()
    windows, _ = of_context(bins, np.arange(20, 90))
    fit = fit_linear(bins, SETTINGS)[True]
    np.testing.assert_allclose(
        fit.rates(windows, penalty=10.0, floor=0.01, rank=5),
        fit.rates(windows, penalty=10.0, floor=0.01),
        rtol=1e-4,
    )


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (60, 50)])
def test_leading_vectors_are_those_of_the_whole_decomposition(shape):
    values = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    ours, right = leading_right_vectors(values, 3), np.linalg.svd(values)[2][:3].T
    np.testing.assert_allclose(np.abs((ours * right).sum(0)), 1, rtol=1e-5)


def test_the_past_in_a_window_is_the_past_in_the_reference_window():
    bins = short_bins()
    windows, _ = of_context(bins, np.arange(20, 90))
    index = windows.origin_us // SHAPE.bin_us
    origins = Origins(index, np.zeros_like(index), np.full_like(index, 100))
    np.testing.assert_allclose(
        context_means(windows, bins.mean_counts, EDGES), past_means(bins, origins, EDGES), atol=1e-6
    )
    units = np.array([3, 1])
    np.testing.assert_allclose(
        surprises(windows, bins.mean_counts, EDGES)[:, units], past_surprises(bins, origins, EDGES, units), atol=1e-6
    )


def test_masked_bins_are_neither_spikes_nor_silence():
    bins = short_bins()
    windows, _ = of_context(bins, np.arange(20, 90))
    mask = windows.context_mask.copy()
    mask[:, -3:] = False
    masked = replace(windows, context=windows.context * mask[..., None], context_mask=mask)
    for read in (context_means, lambda *arguments: surprises(*arguments).transpose(0, 2, 1)):
        none, some, all_of_it = read(masked, bins.mean_counts, EDGES).transpose(1, 0, 2)
        assert not none.any() and not some.any(), "spans of 1 and 3 bins"
        np.testing.assert_allclose(all_of_it, read(windows, bins.mean_counts, EDGES)[:, 2], atol=1e-6)


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
    bins = short_bins()
    windows, _ = of_context(bins, np.arange(20, 90))
    fit = fit_unit_glms(bins, SETTINGS, precision=10.0)
    past, origins = dense_past(bins, EDGES)
    raw = past * np.sqrt(bins.mean_counts + SOFT_COUNTS) / np.sqrt(np.diff([0, *EDGES]))[:, None]
    first = np.searchsorted(bins.segment, bins.segment)[origins]
    starts, stops = np.array([0, *EDGES[:-1]]), np.array(EDGES)
    valid = np.maximum(origins[:, None] - starts - np.maximum(origins[:, None] - stops, first[:, None]), 0)
    counts = (raw + bins.mean_counts * (valid > 0)[..., None]) * valid[..., None]
    inputs = np.log((counts + 0.5) / (valid[..., None] * bins.mean_counts + 0.5))
    for group in (0, 1):
        outcome, share = dense_outcome(bins, origins, group)
        known = share > 0
        n_bins = share[known] * np.diff([0, *SETTINGS.horizon_edges_bins])[group]
        for unit in (0, 4):
            direct = fit_poisson(inputs[known, :, unit], outcome[known, unit], n_bins, 10.0)
            np.testing.assert_allclose(fit.intercept[group, unit], direct[0], atol=1e-4)
            np.testing.assert_allclose(fit.own[group, unit], direct[1:], atol=1e-4)
    gain = fit.intercept[0] + np.einsum("wus,us->wu", surprises(windows, bins.mean_counts, EDGES), fit.own[0])
    np.testing.assert_allclose(fit.rates(windows)[:, 1], np.exp(gain), rtol=1e-5)


def test_a_mode_that_is_penalised_without_limit_says_nothing():
    bins = short_bins()
    windows, _ = of_context(bins, np.arange(20, 90))
    alone = fit_unit_glms(bins, SETTINGS, precision=10.0).rates(windows)
    np.testing.assert_allclose(
        fit_unit_glms(bins, SETTINGS, precision=10.0, mode_precision=1e9).rates(windows), alone, rtol=1e-4
    )
    free = fit_unit_glms(bins, SETTINGS, precision=10.0, mode_precision=10.0).rates(windows)
    assert np.abs(np.log(free / alone)).max() > 0.1


def test_the_target_is_never_read(files):
    rows = pooled_rows(files[:1], ["early"])
    (pooled,) = fit_pooled_glms(rows, SETTINGS, [20.0])
    bins = reference_bins(files[0].paths, "early", bin_us=SHAPE.bin_us)
    linear, glm = fit_linear(bins, SETTINGS)[True], fit_unit_glms(bins, SETTINGS, precision=10.0, mode_precision=10.0)
    windows = rows[0].windows
    other = replace(windows, target=windows.target[::-1] + 3)
    for rates in (
        [linear.rates(one, penalty=30.0, floor=0.1) for one in (windows, other)],
        [glm.rates(one) for one in (windows, other)],
        [pooled.rates(replace(rows[0], windows=one)) for one in (windows, other)],
    ):
        np.testing.assert_array_equal(*rates)


def test_units_that_hardly_fire_keep_their_reference_mean():
    bins = short_bins()
    counts = bins.counts.copy()
    counts[:, 2] = 0
    counts[[50, 160], 2] = 1
    bins = replace(bins, counts=counts, mean_counts=np.maximum(counts.sum(0), 0.5) / len(counts))
    windows, _ = of_context(bins, np.arange(20, 90))
    fit = fit_unit_glms(bins, SETTINGS, precision=10.0, mode_precision=10.0)
    assert list(fit.units) == [0, 1, 3, 4]
    np.testing.assert_allclose(fit.rates(windows)[:, :, 2], bins.mean_counts[2])


def test_unit_order_changes_nothing():
    bins, order = short_bins(), np.array([3, 0, 4, 2, 1])
    other = replace(bins, counts=bins.counts[:, order], mean_counts=bins.mean_counts[order])
    windows, _ = of_context(bins, np.arange(20, 90))
    moved = replace(windows, context=windows.context[..., order], target=windows.target[..., order])
    linear = {"penalty": 30.0, "floor": 0.1, "rank": 2}
    for first, second in (
        (
            fit_linear(bins, SETTINGS)[True].rates(windows, **linear),
            fit_linear(other, SETTINGS)[True].rates(moved, **linear),
        ),
        (
            fit_unit_glms(bins, SETTINGS, precision=10.0, mode_precision=30.0).rates(windows),
            fit_unit_glms(other, SETTINGS, precision=10.0, mode_precision=30.0).rates(moved),
        ),
    ):
        np.testing.assert_allclose(first[..., order], second, rtol=1e-3)


def pooled_rows(files, uses=("early", "late")):
    rows = []
    for one in files:
        for use in uses:
            inputs, windows = windows_of(one, use)
            rows.append(unit_rows(one.paths, use, inputs, windows))
    return rows


def test_the_pooled_regression_is_one_poisson_regression_of_all_rows(files):
    rows = pooled_rows(files[:1], ["early"])
    (fit,) = fit_pooled_glms(rows, SETTINGS, [20.0])
    (row,) = rows
    history = surprises(row.windows, row.mean_counts, EDGES)
    statistics = (row.statistics - row.statistics.mean(0)) / row.statistics.std(0)
    inputs, gain, exposure = [], [], []
    for window in range(len(history)):
        for unit in range(8):
            own, known = history[window, unit], statistics[unit]
            inputs.append([*own, *known, *np.outer(own, known).ravel()])
            gain.append(row.windows.target[window, 2:6, unit].sum() / 4 / row.mean_counts[unit])
            exposure.append(4 * row.mean_counts[unit])
    direct = fit_poisson(np.array(inputs), np.array(gain), np.array(exposure), 20.0)
    np.testing.assert_allclose(fit.intercept[1], direct[0], atol=1e-3)
    np.testing.assert_allclose(fit.weights[1], direct[1:], atol=2e-3)


def test_the_pooled_regression_survives_its_file(files, tmp_path):
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
    paths = [tmp_path / f"{name}.h5" for name in CLASSES]
    score_session(forecasts=paths, output=tmp_path / "scores.parquet", minimum_rate_hz=0.1)
    sums = pd.read_parquet(tmp_path / "scores.parquet").groupby(["method", "class"]).sum(numeric_only=True)
    gain = ((sums.model_nats - sums.reference_nats) / sums.spikes / np.log(2)).reset_index().set_index("method")
    assert dict(gain["class"]) == CLASSES
    assert (gain[0] > 0.03).all(), gain
    # the units share an oscillation, which their own few spikes tell of less than all spikes do
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
    first, second = (reference_bins(one.paths, "test", bin_us=SHAPE.bin_us) for one in (files[2], other))
    np.testing.assert_array_equal(first.counts, second.counts)
    assert len(first.counts) * SHAPE.bin_us <= files[2].session.splits.reference.duration_us


def test_the_chosen_settings_score_best(tuned):
    written = json.loads((tuned / "regressions.json").read_text())
    assert written.keys() == CLASSES.keys()
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
        bins = reference_bins(one.paths, "early", bin_us=SHAPE.bin_us)
        rate = fit_linear(bins, SETTINGS)[own_first].rates(windows, **settings)
        gained += bits(windows, bins.mean_counts, rate) * windows.target.sum()
        spikes += windows.target.sum()
    np.testing.assert_allclose(candidate["bits_per_spike"], gained / spikes, rtol=1e-5)


def test_the_table_lists_every_candidate_and_marks_the_chosen_one(tuned, tmp_path):
    make_tried(tuned=[tuned / "regressions.json"], output=tmp_path / "tried.tsv")
    table = pd.read_csv(tmp_path / "tried.tsv", sep="\t")
    written = json.loads((tuned / "regressions.json").read_text())
    assert set(table.fold) == {"a-fold"}
    assert len(table) == sum(len(one["tried"]) for one in written.values())
    chosen = table[table.chosen].set_index("method").bits_per_spike
    np.testing.assert_allclose(chosen, table.groupby("method").bits_per_spike.max()[chosen.index], atol=1e-5)
    assert "penalty=300" in " ".join(table.settings)
