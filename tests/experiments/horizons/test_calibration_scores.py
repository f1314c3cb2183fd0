"""The job of sample paths: scores, files, and draws that belong to their windows."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from factories.calibration import CONFIG, HORIZON, network, run
from factories.sessions import made_files, made_session

from neurohorizon.baselines.closed_form import gamma_poisson_law
from neurohorizon.experiments.horizons.calibration import PIT_BINS, TARGETS, NegativeBinomial, Poisson
from neurohorizon.experiments.horizons.calibration_scores import (
    CalibrationAccumulator,
    Sampler,
    summed,
    summed_mask,
)
from neurohorizon.experiments.horizons.example_paths import EXAMPLE_LEVELS, read_paths_example
from neurohorizon.forecasts.forecast import forecast_windows, forecast_with_network
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.forecasts.sample_paths import reference_gain, seed_words
from neurohorizon.forecasts.scoring import left_out_reason, score_session
from neurohorizon.forecasts.shared_gain import fit_shared_gain
from neurohorizon.forecasts.without_network import forecast_with_baselines
from neurohorizon.inputs.sessions import load_inputs
from neurohorizon.inputs.windows import WindowShape, cut_windows, evaluation_origins, spread_origins
from neurohorizon.session import read_session, write_session

SHAPE = WindowShape.of(CONFIG.timeline, CONFIG.model)
GAMMA = {"shape": 2.0, "discount": 0.9}
BIN_US = SHAPE.bin_us


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    made = made_files(folder, made_session("s0", CONFIG.splits, n_units=6), CONFIG)
    baselines = folder / "baselines.json"
    tuned = {"reference_mean": {}, "trailing_mean": {"bins": 5}, "shrinkage": {"bins": 5, "weight": 0.3}}
    tuned["gamma_poisson"] = GAMMA
    baselines.write_text(json.dumps({name: {"settings": one} for name, one in tuned.items()}))
    return folder, made, baselines


@pytest.fixture(scope="module")
def done(files):
    return run(*files)


@pytest.fixture(scope="module")
def sampler(files):
    _, made, _ = files
    forecaster, card = network()
    inputs = load_inputs(made.paths, "test", groups=card.features.groups, readout=card.model.readout)
    return Sampler(
        forecaster=forecaster,
        inputs=inputs,
        shape=SHAPE,
        method="neurohorizon",
        seed=3,
        rollout=CONFIG.rollout,
        gamma_poisson=GAMMA,
        scored=np.arange(6) != 4,
        gain=reference_gain(forecaster, inputs, SHAPE, 50),
    )


def origins_of(sampler):
    return evaluation_origins(sampler.inputs.part, SHAPE, CONFIG.timeline.evaluation_stride_bins)


def rows_of(output, method, target):
    table = pd.read_parquet(output.sums)
    table = table[(table["method"] == method) & (table["target"] == target) & (table["paths"] > 0)]
    return table.sort_values("first_bin")


def test_every_method_and_target_is_scored_in_every_window(files, done):
    table = pd.read_parquet(done.sums)
    methods = {"reference_mean", "gamma_poisson", "neurohorizon"}
    dependent = {f"neurohorizon_{name}" for name in (*CONFIG.rollout.decodings, "shared_gain")}
    controls = {f"{name}_exchanged" for name in dependent}
    methods |= dependent | controls
    assert set(zip(table["method"], table["target"], strict=True)) == {(m, t) for m in methods for t in TARGETS}
    control = table["method"].isin(controls)
    assert set(table.loc[control, "class"]) == {"control"} and set(table.loc[~control, "class"]) == {"zero_shot"}
    assert table.loc[table["method"] == "reference_mean", "seed"].isna().all()
    windows = len(read_forecast(done.forecasts["autoregressive"]).start_us)
    for (method, target), every in table.groupby(["method", "target"]):
        rows = every[every["paths"] > 0]
        parts = HORIZON if target in ("unit", "population") else 1
        members = rows["units"].iloc[0] if target in ("unit", "unit_total") else 1
        assert len(rows) == parts
        assert (rows["windows"] == windows).all() and (rows["cases"] == windows * members).all()
        assert (rows[[f"pit_{index:02d}" for index in range(PIT_BINS)]].sum(axis=1) == rows["cases"]).all()
        has_law = method in ("reference_mean", "neurohorizon") or (method, target) == ("gamma_poisson", "unit")
        assert set(every["paths"]) == ({0, CONFIG.rollout.paths} if has_law else {CONFIG.rollout.paths})
    # the same spikes come to all, and those of units are those of the population
    assert table[table["paths"] > 0].groupby("target")["spikes"].sum().nunique() == 1


def test_the_shared_gain_changes_no_expected_count_and_its_control_only_the_dependence(sampler):
    block = cut_windows(sampler.inputs.spikes, sampler.inputs.part, origins_of(sampler)[:5], SHAPE)
    found = {one.method: one for one in sampler.outlooks(block)}
    joint, exchanged = found["neurohorizon_shared_gain"], found["neurohorizon_shared_gain_exchanged"]
    for one in (joint, exchanged):
        np.testing.assert_array_equal(one.log_rate, found["neurohorizon"].log_rate)
    assert not np.array_equal(joint.paths, exchanged.paths)
    # each unit keeps its paths, in another order
    for unit in range(6):
        for window in range(5):
            paths = [sorted(map(tuple, one.paths[window, :, :, unit])) for one in (joint, exchanged)]
            assert paths[0] == paths[1]
    again = {one.method: one for one in sampler.outlooks(block)}
    np.testing.assert_array_equal(again["neurohorizon_shared_gain"].paths, joint.paths)


def test_exchanged_paths_keep_every_score_of_units_and_change_that_of_their_sums(sampler):
    block = cut_windows(sampler.inputs.spikes, sampler.inputs.part, origins_of(sampler)[:5], SHAPE)
    accumulator, scored_afresh = CalibrationAccumulator(sampler), CalibrationAccumulator(sampler)
    for one in sampler.outlooks(block):
        accumulator.add(one, block)
        scored_afresh.add(replace(one, exchanged_from=""), block)
    found, expected = (one.table(_named()).to_pandas() for one in (accumulator, scored_afresh))
    pd.testing.assert_frame_equal(found, expected)
    rows = found.set_index(["method", "target"]).select_dtypes("number")
    for name in ("blockwise", "shared_gain"):
        for target in ("unit", "unit_total"):
            own, control = (rows.loc[(f"neurohorizon_{name}{end}", target)] for end in ("", "_exchanged"))
            np.testing.assert_array_equal(own.to_numpy(), control.to_numpy())
        own, control = (rows.loc[(f"neurohorizon_{name}{end}", "population_total")] for end in ("", "_exchanged"))
        assert own["crps"] != control["crps"] and own["energy_unit_total"] != control["energy_unit_total"]
        assert own["spikes"] == control["spikes"]


def test_the_gain_is_fitted_on_the_reference_window_only(files):
    _, made, _ = files
    forecaster, card = network()
    inputs = load_inputs(made.paths, "test", groups=card.features.groups, readout=card.model.readout)
    reference = replace(inputs, part=read_session(made.paths.session).splits.reference)
    found = reference_gain(forecaster, reference, SHAPE, 50)
    origins = spread_origins(reference.part, SHAPE, 50)
    assert (origins < inputs.part.start_us[0]).all()
    windows = cut_windows(inputs.spikes, reference.part, origins, SHAPE)
    log_rate = forecast_windows(forecaster, reference, origins, SHAPE)
    expected = fit_shared_gain(log_rate, windows.counts, windows.target_mask)
    np.testing.assert_allclose(found.shared, expected.shared)
    np.testing.assert_allclose(found.loading, expected.loading)


def test_sums_are_those_of_the_windows_one_by_one(sampler):
    block = cut_windows(sampler.inputs.spikes, sampler.inputs.part, origins_of(sampler)[:5], SHAPE)
    accumulator = CalibrationAccumulator(sampler)
    found = list(sampler.outlooks(block))
    for one in found:
        accumulator.add(one, block)
    table = accumulator.table(_named())
    rows = table.to_pandas().set_index(["method", "target", "first_bin"])
    counts = block.counts[..., sampler.scored]
    by_name = {one.method: one for one in found}
    paths = by_name["neurohorizon_blockwise"].paths[..., sampler.scored].astype(int)
    # fair CRPS of the population in the third bin, by hand
    total, observed = paths.sum(-1)[:, :, 2], counts.sum(-1)[:, 2]
    n = total.shape[1]
    far = np.abs(total - observed[:, None]).mean(1)
    near = np.abs(total[:, :, None] - total[:, None]).sum((1, 2)) / (2 * n * (n - 1))
    row = rows.loc[("neurohorizon_blockwise", "population", 2)]
    assert row["crps"] == pytest.approx((far - near).sum())
    assert row["spikes"] == observed.sum()
    whole = rows.loc[("neurohorizon_blockwise", "unit_total", 0)]
    total, observed = paths.sum(2), counts.sum(1)
    far = np.abs(total - observed[:, None]).mean(1)
    near = np.abs(total[:, :, None] - total[:, None]).sum((1, 2)) / (2 * n * (n - 1))
    assert whole["crps"] == pytest.approx((far - near).sum()) and whole["last_bin"] == HORIZON
    # energy score of the vector of all counts, window by window
    whole = rows.loc[("neurohorizon_blockwise", "population_total", 0)]
    expected = 0.0
    for window in range(5):
        vectors, observed = paths[window].reshape(n, -1), counts[window].ravel()
        far = np.linalg.norm(vectors - observed, axis=1).mean()
        near = np.linalg.norm(vectors[:, None] - vectors, axis=2).sum() / (2 * n * (n - 1))
        expected += (far - near) / np.sqrt(observed.size)
    assert whole["energy_unit"] == pytest.approx(expected)
    others = rows.drop(index="population_total", level="target")
    assert others["energy_unit"].isna().all() and rows.xs("population_total", level=1)["energy_population"].any()


def _named():
    names = dict.fromkeys(("session", "subject", "lab", "source", "fold", "method"), "x")
    return Forecast(**names, method_class="zero_shot", bin_us=BIN_US, left_out="", seed=3)


def test_windows_with_invalid_bins_have_no_energy_score(sampler):
    block = cut_windows(sampler.inputs.spikes, sampler.inputs.part, origins_of(sampler)[:3], SHAPE)
    shorter, cut = CalibrationAccumulator(sampler), CalibrationAccumulator(sampler)
    mask = block.target_mask.copy()
    mask[1, -1] = False
    (one,) = (one for one in sampler.outlooks(block) if one.method == "neurohorizon_blockwise")
    cut.add(one, replace(block, target_mask=mask))
    kept = [0, 2]
    names = ("counts", "target_mask", "context", "context_mask", "origin_us")
    some = replace(block, **{name: getattr(block, name)[kept] for name in names})
    shorter.add(replace(one, paths=one.paths[kept], log_rate=one.log_rate[kept], halves=()), some)
    found, expected = (
        accumulator.table(_named()).to_pandas().set_index("target").loc["population_total"]
        for accumulator in (cut, shorter)
    )
    assert found["energy_unit"] == pytest.approx(expected["energy_unit"]) and found["windows"] == 2


def test_sums_of_poisson_counts_that_are_drawn_apart_are_poisson_and_the_filters_law_is_negative_binomial(sampler):
    block = cut_windows(sampler.inputs.spikes, sampler.inputs.part, origins_of(sampler)[:3], SHAPE)
    by_name = {one.method: one for one in sampler.outlooks(block)}
    parallel = by_name["neurohorizon"]
    mean = np.exp(parallel.log_rate.astype(float))[..., sampler.scored]
    assert all(isinstance(law, Poisson) for law in parallel.laws.values()) and parallel.paths is None
    np.testing.assert_allclose(parallel.laws["population"].mean[..., 0], mean.sum(-1))
    np.testing.assert_allclose(parallel.laws["unit_total"].mean[:, 0], mean.sum(1))
    np.testing.assert_allclose(parallel.laws["population_total"].mean[:, 0, 0], mean.sum((1, 2)))
    law = by_name["gamma_poisson"].laws["unit"]
    alpha, beta = gamma_poisson_law(block, np.exp(sampler.inputs.reference_log_rate.astype(float)), **GAMMA)
    assert isinstance(law, NegativeBinomial) and set(by_name["gamma_poisson"].laws) == {"unit"}
    np.testing.assert_allclose(law.mean, (alpha / beta)[..., sampler.scored])
    np.testing.assert_allclose(law.shape, alpha[..., sampler.scored])


def test_a_negative_binomial_network_is_scored_by_its_law_in_a_bin_and_by_paths_in_sums(files, sampler):
    forecaster, _ = network(likelihood="negative_binomial")
    broad = replace(sampler, forecaster=forecaster)
    block = cut_windows(broad.inputs.spikes, broad.inputs.part, origins_of(broad)[:2], SHAPE)
    parallel = next(one for one in broad.outlooks(block) if one.method == "neurohorizon")
    assert set(parallel.laws) == {"unit"} and isinstance(parallel.laws["unit"], NegativeBinomial)
    assert parallel.paths.shape == (2, CONFIG.rollout.paths, HORIZON, 6)


def test_a_window_draws_the_same_whatever_is_drawn_besides(sampler):
    origins = origins_of(sampler)[:6]
    small = CONFIG.rollout.model_copy(update={"paths": 4})
    one_by_one = replace(sampler, rollout=small)
    alone = cut_windows(sampler.inputs.spikes, sampler.inputs.part, origins[2:3], SHAPE)
    before = {one.method: one for one in one_by_one.outlooks(alone)}
    list(one_by_one.outlooks(cut_windows(sampler.inputs.spikes, sampler.inputs.part, origins[:2], SHAPE)))
    torch.manual_seed(99)  # no draw comes from torch's global generator
    after = {one.method: one for one in one_by_one.outlooks(alone)}
    other_seed = {one.method: one for one in replace(one_by_one, seed=4).outlooks(alone)}
    for method in ("gamma_poisson", *(f"neurohorizon_{one}" for one in CONFIG.rollout.decodings)):
        np.testing.assert_array_equal(before[method].paths, after[method].paths)
        assert (before[method].paths != other_seed[method].paths).any()


def test_seeds_tell_apart_all_that_they_are_made_of():
    words = (3, "s", "blockwise", 10), (4, "s", "blockwise", 10), (3, "t", "blockwise", 10), (3, "s", "unit", 10)
    assert len({tuple(seed_words(*one)) for one in (*words, (3, "s", "blockwise", 11))}) == 5


def test_a_decodings_forecast_is_the_mean_over_paths_of_what_each_expects(files, done, sampler):
    origins = origins_of(sampler)
    assert sampler.windows_per_block >= origins.size, "one block"
    block = cut_windows(sampler.inputs.spikes, sampler.inputs.part, origins, SHAPE)
    by_name = {one.method: one for one in sampler.outlooks(block)}
    for decoding, path in done.forecasts.items():
        forecast = read_forecast(path)
        assert (forecast.method, forecast.method_class, forecast.seed) == (f"neurohorizon_{decoding}", "zero_shot", 3)
        np.testing.assert_array_equal(forecast.start_us, origins)
        np.testing.assert_allclose(forecast.log_rate, by_name[forecast.method].log_rate, rtol=1e-5, atol=1e-5)
        # counts of the paths have that mean
        paths = by_name[forecast.method].paths
        expected = np.exp(forecast.log_rate.astype(float))
        assert paths.mean() == pytest.approx(expected.mean(), rel=0.1)


def test_sums_of_halves_are_those_of_the_mean_over_either_half(files, done, sampler):
    scored = np.exp(sampler.inputs.reference_log_rate) >= 0.1 * BIN_US / 1e6
    decoding, expected = "blockwise", np.zeros(HORIZON)
    for block, outlooks in replace(sampler, scored=scored).blocks(origins_of(sampler)):
        (one,) = [one for one in outlooks if one.method == f"neurohorizon_{decoding}"]
        # the mean over all paths is the mean of the means over either half
        np.testing.assert_allclose(np.exp(one.halves).mean(0), np.exp(one.log_rate), rtol=1e-5)
        counts, valid = block.counts[..., scored], block.target_mask[..., None]
        for log_rate in (half[..., scored].astype(float) for half in one.halves):
            expected += np.where(valid, counts * log_rate - np.exp(log_rate), 0).sum((0, 2)) / 2
    rows = rows_of(done, f"neurohorizon_{decoding}", "unit")
    np.testing.assert_allclose(rows["half_nats"], expected, rtol=1e-6)
    assert (rows["half_nats"] != rows["model_nats"]).all()
    assert rows_of(done, f"neurohorizon_{decoding}", "population")["half_nats"].isna().all()
    for method in ("neurohorizon", "gamma_poisson", "reference_mean"):
        assert rows_of(done, method, "unit")["half_nats"].isna().all()


def test_decodings_stand_beside_all_other_forecasts_and_score_what_the_sums_say(files, done, tmp_path):
    folder, made, baselines = files
    parallel = tmp_path / "neurohorizon_seed-3.h5"
    shared = {"paths": made.paths, "fold": "f", "timeline": CONFIG.timeline, "code": "c"}
    forecast_with_network(
        weights=folder / "out" / "model.safetensors", method="neurohorizon", seed=3, output=parallel, **shared
    )
    forecast_with_baselines(baselines=baselines, output_folder=tmp_path, **shared)
    others = [parallel, tmp_path / "reference_mean.h5", tmp_path / "gamma_poisson.h5"]
    scores = tmp_path / "scores.parquet"
    score_session(forecasts=[*others, *done.forecasts.values()], output=scores, minimum_rate_hz=0.1)
    nats = pd.read_parquet(scores).groupby(["method", "horizon_bin"])[["model_nats", "reference_nats", "spikes"]].sum()
    for method, of_method in nats.groupby("method"):
        rows = rows_of(done, method, "unit")
        for name in ("model_nats", "reference_nats", "spikes"):
            np.testing.assert_allclose(rows[name], of_method[name], rtol=1e-5)


def test_windows_can_be_thinned_and_decodings_then_have_no_forecast_files(files, done):
    thinned = run(*files, name="thin", every_windows=3)
    assert not list(thinned.sums.parent.glob("neurohorizon_*.h5"))
    all_windows = rows_of(done, "neurohorizon", "unit")["windows"].iloc[0]
    rows = rows_of(thinned, "neurohorizon", "unit")
    assert (rows["windows"] == -(-all_windows // 3)).all()
    forecast = read_forecast(done.forecasts["autoregressive"])
    scored = np.exp(forecast.reference_log_rate) >= 0.1 * BIN_US / 1e6
    expected = (forecast.counts[::3][..., scored] * forecast.target_mask[::3][..., None]).sum((0, 2))
    np.testing.assert_array_equal(rows["spikes"], expected)


def test_a_network_without_encoder_has_all_methods_but_rollouts(files, done):
    plain = network(population=False, feedback=False)
    found = run(*files, name="plain", forecaster=plain, decodings=())
    every, methods = (set(pd.read_parquet(one.sums)["method"]) for one in (done, found))
    assert methods == {name for name in every if not any(mode in name for mode in CONFIG.rollout.decodings)}
    assert {"neurohorizon", "neurohorizon_shared_gain", "neurohorizon_shared_gain_exchanged"} <= methods
    assert set(read_paths_example(found.example).methods) <= methods


def test_slow_units_are_not_scored(files):
    log_rate = load_inputs(files[1].paths, "test", groups=("rate",), readout=None).reference_log_rate
    middle_hz = float(np.median(np.exp(log_rate)) / BIN_US * 1e6)
    rows = rows_of(run(*files, name="fast", minimum_rate_hz=middle_hz), "neurohorizon", "unit_total")
    assert rows["units"].iloc[0] == 3 and rows["unscored_units"].iloc[0] == 3


def test_a_session_that_was_left_out_says_why_in_all_its_files(files, tmp_path):
    _, made, baselines = files
    session = tmp_path / "gone.h5"
    write_session(session, replace(made.session, session_id="gone", left_out="no spikes"))
    gone = replace(made, paths=replace(made.paths, session=session))
    output = run(tmp_path, gone, baselines, forecaster=network())
    assert {read_forecast(path).left_out for path in output.forecasts.values()} == {"no spikes"}
    assert left_out_reason(output.sums)["left_out"] == "no spikes"
    assert pd.read_parquet(output.sums).empty
    assert read_paths_example(output.example) is None


def test_a_session_without_a_scored_unit_is_forecast_too(files, done):
    output = run(*files, name="slow", minimum_rate_hz=1e6)
    assert "none of 6 units" in left_out_reason(output.sums)["left_out"]
    assert pd.read_parquet(output.sums).empty and read_paths_example(output.example) is None
    for decoding, path in output.forecasts.items():
        np.testing.assert_array_equal(read_forecast(path).log_rate, read_forecast(done.forecasts[decoding]).log_rate)


def test_the_example_holds_quantiles_and_a_few_paths_of_one_window(done):
    example = read_paths_example(done.example)
    blocks = HORIZON // CONFIG.rollout.block_bins
    assert example.quantiles.shape == (len(example.methods), len(EXAMPLE_LEVELS), blocks, 2)
    assert (np.diff(example.quantiles, axis=1) >= 0).all()
    forecast = read_forecast(done.forecasts["autoregressive"])
    (window,) = np.flatnonzero(forecast.start_us == round(example.origin_s * 1e6))
    population = forecast.counts[window].sum(-1).reshape(blocks, -1).sum(-1)
    np.testing.assert_array_equal(example.observed, np.stack([population, population.cumsum()], axis=-1))
    np.testing.assert_array_equal(example.paths[..., 0].cumsum(-1), example.paths[..., 1])
    # the quantiles lie around what the forecast expects
    of_method = list(example.methods).index("reference_mean")
    median = example.quantiles[of_method, EXAMPLE_LEVELS.index(0.5), :, 0].mean()
    assert median == pytest.approx(example.reference, rel=0.15)


def test_sums_of_a_target_keep_what_it_does_not_sum():
    counts = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    shapes = {"unit": (2, 3, 4, 5), "unit_total": (2, 3, 1, 5), "population": (2, 3, 4, 1)}
    for target, shape in {**shapes, "population_total": (2, 3, 1, 1)}.items():
        found = summed(counts, target)
        assert found.shape == shape
        assert found.sum() == counts.sum(dtype=int), "no overflow of small integers"
    mask = np.array([[True, True], [True, False]])
    np.testing.assert_array_equal(summed_mask(mask, "population"), mask)
    np.testing.assert_array_equal(summed_mask(mask, "unit_total"), [[True], [False]])
