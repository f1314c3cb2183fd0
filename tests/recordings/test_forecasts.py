"""Forecasts from Python are those of the workflow's files, and origins that cannot be forecast are refused."""

import pickle
import sys
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from factories import ROOT
from factories.recordings import CONFIG, DURATION_S, saved_network
from factories.sessions import made_files, made_session

from neurohorizon import Forecast, Score, load
from neurohorizon.baselines.closed_form import write_tuned
from neurohorizon.config import read_config
from neurohorizon.forecasts.forecast import forecast_with_network
from neurohorizon.forecasts.forecast_file import read_forecast
from neurohorizon.forecasts.online_mixture import mix_windows
from neurohorizon.forecasts.without_network import forecast_with_baselines
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.methods import FORECASTER, OWN_HISTORY, REFERENCE_MEAN
from neurohorizon.scores import bits_per_spike, sum_scores
from neurohorizon.timeline import Intervals, to_us

GAP_S = CONFIG.splits.gap_s


def in_workflow(weights, paths, folder):
    """Return the forecast that the workflow writes for the test part of a session."""
    output = folder / "forecast.h5"
    forecast_with_network(
        weights=weights,
        paths=paths,
        fold="main",
        method="neurohorizon",
        seed=0,
        timeline=CONFIG.timeline,
        code="",
        output=output,
    )
    return read_forecast(output)


def pauses(*edges_s):
    edges_us = to_us(np.array(edges_s)).reshape(-1, 2)
    return Intervals(*edges_us.T)


@pytest.mark.parametrize(
    "domain", [None, pauses(0, 35, 41.3, 60.5, 62, 80)], ids=["continuous", "with pauses, one shorter than a window"]
)
def test_the_numbers_are_those_of_the_workflows_forecast_file(domain, network, weights, tmp_path):
    made = made_session("s", CONFIG.splits, n_units=6, seed=5, domain=domain)
    expected = in_workflow(weights, made_files(tmp_path, made, CONFIG).paths, tmp_path)
    times_s = made.spike_times_us / 1e6
    units = {name: times_s[made.spike_unit == unit] for unit, name in enumerate(made.units["id"].tolist())}
    valid = np.stack([made.domain.start_us, made.domain.stop_us], axis=1) / 1e6
    recording = network.fit_reference(units, reference=0.5, valid=valid, gap=GAP_S)
    assert recording.reference == made.splits.reference
    found = recording.forecast(recording.origins(), adaptive=False)
    np.testing.assert_array_equal(found.origin_us, expected.start_us)
    np.testing.assert_array_equal(found.log_rate, expected.log_rate)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.unit_ids, expected.unit_id)
    assert np.ptp(found.log_rate, axis=0).max() > 0.1  # the network does not forecast the mean
    sums = sum_scores(
        counts=expected.counts,
        log_rate=expected.log_rate,
        mask=expected.target_mask,
        reference_log_rate=expected.reference_log_rate,
    )
    one_unit = {"model_nats": sums.model_nats[:, 2].sum(), "null_nats": sums.reference_nats[:, 2].sum()}
    score = recording.score(adaptive=False)
    assert score.of_unit[2] == pytest.approx(bits_per_spike(**one_unit, spikes=sums.spikes[:, 2].sum()))
    pooled = {"model_nats": sums.model_nats.sum(), "null_nats": sums.reference_nats.sum()}
    assert float(score) == pytest.approx(bits_per_spike(**pooled, spikes=sums.spikes.sum()))


def test_a_network_without_readout_forecasts_from_python_as_in_the_workflow(files, units, tmp_path):
    groups = CONFIG.features.model_copy(update={"groups": ("rate", "isi")})
    model = CONFIG.model.model_copy(update={"population": False, "feedback": False})
    weights = saved_network(
        tmp_path, method=OWN_HISTORY, model=model, features=groups, population_readout=False, std=0.4
    )
    expected = in_workflow(weights, SessionPaths(files.paths.session, files.paths.features), tmp_path)
    recording = load(weights).fit_reference(units, valid=(0.0, DURATION_S), gap=GAP_S)
    np.testing.assert_array_equal(recording.forecast(recording.origins(), adaptive=False).log_rate, expected.log_rate)


def test_axes_are_origin_bin_and_unit_and_every_unit_of_measure_follows_from_the_log_rate(recording):
    forecast = recording.forecast([50.0, 60.003, 55.5])
    assert forecast.rate_hz.shape == (3, CONFIG.timeline.horizon_bins, 5)
    np.testing.assert_array_equal(forecast.origin_s, [50.0, 60.003, 55.5])
    np.testing.assert_allclose(forecast.rate_hz * forecast.bin_s, forecast.expected_counts, rtol=1e-6)
    np.testing.assert_allclose(np.log(forecast.expected_counts), forecast.log_rate, atol=1e-6)
    np.testing.assert_allclose(forecast.ahead_s, 0.02 * np.arange(6))
    single = recording.forecast(55.5)
    np.testing.assert_allclose(single.log_rate[0], forecast.log_rate[2], atol=1e-6)


def test_no_spike_from_the_origin_on_and_none_outside_valid_time_is_read(network, units):
    whole = network.fit_reference(units, reference=(0.0, 40.0), valid=(0.0, DURATION_S))
    until = {name: times[times < 60.0] for name, times in units.items()}
    cut = network.fit_reference(until, reference=(0.0, 40.0), valid=(0.0, 60.0))
    at_the_end = cut.forecast(60.0, adaptive=False)
    np.testing.assert_array_equal(at_the_end.log_rate, whole.forecast(60.0, adaptive=False).log_rate)
    assert not at_the_end.valid.any() and not at_the_end.counts.any()
    with pytest.raises(ValueError, match="no counts to score"):
        at_the_end.score()


def test_a_recording_that_is_all_reference_has_no_forecast_of_its_own_time(network, units):
    recording = network.fit_reference(units, reference=1.0, valid=(0.0, DURATION_S))
    assert repr(recording).endswith("no valid time after it)")
    assert not recording.origins().size
    with pytest.raises(ValueError, match="no context and horizon fit into the 0 s"):
        recording.score()
    with pytest.raises(ValueError, match="before the end of the reference window at 80 s"):
        recording.forecast(60.0)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (
            [20.0, 50.0],
            "1 of 2 origins, from 20 s, are before the end of the reference window at 40 s .* at 40.32",
        ),
        (40.2, "in the gap after it"),
        ([50.0, 80.5], "1 of 2 origins, first 80.5 s, are not in valid time, which ends at 80 s"),
        (65.0, "first 65 s, are not in valid time"),
        ([50.0, 70.1], r"context of 1 of 2 origins was not recorded throughout: 0\.1 of 0\.2 s before 70\.1 s"),
        (40.32, "0.2 of 0.2 s before 40.32 s are missing"),
        ([], "expected one or more origins"),
        ([[50.0]], "expected one or more origins"),
        ([50.0, np.nan], r"expected origins in seconds, \[origin\]; found 1 of 2 times are NaN"),
        ("now", r"expected origins in seconds, \[origin\]; found could not convert"),
    ],
)
def test_origins_that_cannot_be_forecast_are_refused_in_three_lines(network, units, at, message):
    recording = network.fit_reference(units, reference=(0.0, 40.0), valid=[(0.0, 60.0), (70.0, 80.0)])
    with pytest.raises(ValueError, match=message) as caught:
        recording.forecast(at)
    assert len(str(caught.value)) < 3 * 120


@pytest.mark.filterwarnings("ignore:times within valid time that all units fall silent")
def test_a_context_with_a_gap_is_masked_on_request(network, units):
    recording = network.fit_reference(units, reference=(0.0, 40.0), valid=[(0.0, 60.0), (70.0, 80.0)])
    masked = recording.forecast(70.1, adaptive=False, gaps="mask").log_rate
    silent = {name: times[(times < 60) | (times >= 70)] for name, times in units.items()}
    as_silence = (
        network.fit_reference(silent, reference=(0.0, 40.0), valid=(0.0, 80.0)).forecast(70.1, adaptive=False).log_rate
    )
    assert np.abs(masked - as_silence).max() > 1e-3
    with pytest.raises(ValueError, match="expected refuse or mask"):
        recording.forecast(50.0, gaps="skip")


def test_the_adaptive_forecast_is_the_mixture_of_all_outcomes_before_the_origin(recording):
    grid = recording.origins()
    static = recording.forecast(grid, adaptive=False)
    mean = np.broadcast_to(recording.inputs.reference_log_rate, static.log_rate.shape)
    expected = mix_windows(
        {REFERENCE_MEAN: mean, FORECASTER: static.log_rate},
        start_us=static.origin_us,
        counts=static.counts,
        target_mask=static.valid,
        bin_us=20_000,
        settings=recording.adaptive_settings(True),
        stride_bins=CONFIG.timeline.evaluation_stride_bins,
    )
    found = recording.forecast(grid)
    np.testing.assert_allclose(found.log_rate, expected, atol=1e-6)
    assert found.method == "neurohorizon_adaptive"
    # the last of a few origins has learned from all between, and an origin between two of the grid counts none twice
    few = recording.forecast([grid[200], grid[40] + 0.013, grid[10]])
    np.testing.assert_allclose(few.log_rate[[0, 2]], expected[[200, 10]], atol=1e-6)
    np.testing.assert_allclose(few.log_rate[1], recording.forecast(grid[40] + 0.013).log_rate[0], atol=1e-6)


@pytest.mark.parametrize("name", ["config", "demo", "hippocampus", "mea", "steinmetz"])
def test_the_adaptive_settings_are_those_of_the_configurations(recording, name):
    expected = read_config(ROOT / "config" / f"{name}.yaml").adaptive
    found = recording.adaptive_settings(True)
    assert found.model_copy(update={"horizon_edges_bins": expected.horizon_edges_bins}) == expected


def test_paths_are_drawn_around_the_forecast_by_the_seed(recording):
    forecast = recording.forecast([50.0, 60.0])
    paths = forecast.sample(4000, seed=3)
    np.testing.assert_allclose(paths.mean(axis=1), forecast.expected_counts, atol=0.1)
    np.testing.assert_array_equal(paths, forecast.sample(4000, seed=3))
    assert (forecast.sample(8, seed=4) != forecast.sample(8, seed=3)).any()
    assert recording.shared_gain.shared.any()
    low, high = forecast.quantiles([0.1, 0.9], sum_over=["bin", "unit"], paths=4000, seed=3)
    totals = np.sort(paths.sum(axis=(2, 3)), axis=1)
    np.testing.assert_array_equal(low, totals[:, 399])
    np.testing.assert_array_equal(high, totals[:, 3599])
    np.testing.assert_array_equal(forecast.quantiles(0.5, sum_over="bin").shape, (1, 2, 5))


def test_what_no_draw_can_give_is_refused(recording):
    forecast = recording.forecast(50.0)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        forecast.quantiles([0.5, 1.0])
    with pytest.raises(ValueError, match="sum_over names"):
        forecast.quantiles(sum_over=["origin"])
    with pytest.raises(ValueError, match="paths is 0"):
        forecast.sample(0)
    with pytest.raises(ValueError, match="multiple of the bin width"):
        recording.origins(every=0.03)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("reference_mean", {}),
        ("trailing_mean", {"bins": 25}),
        ("shrinkage", {"bins": 10, "weight": 0.3}),
        ("gamma_poisson", {"shape": 2.0, "discount": 0.95}),
    ],
)
def test_a_baseline_from_python_is_that_of_the_workflows_forecast_file(made, files, network, tmp_path, name, settings):
    chosen = {"reference_mean": {}, "trailing_mean": {"bins": 3}, "shrinkage": {"bins": 3, "weight": 0.5}}
    chosen |= {"gamma_poisson": {"shape": 1.0, "discount": 0.9}} | {name: settings}
    tuned = tmp_path / "baselines.json"
    write_tuned(tuned, {one: [values | {"bits_per_spike": 0.0}] for one, values in chosen.items()})
    forecast_with_baselines(
        baselines=tuned, paths=files.paths, fold="main", timeline=CONFIG.timeline, code="", output_folder=tmp_path
    )
    expected = read_forecast(tmp_path / f"{name}.h5")
    recording = network.fit_reference(made, gap=GAP_S)
    found = recording.baseline(name, recording.origins(), **settings)
    np.testing.assert_allclose(found.log_rate, expected.log_rate, atol=1e-6)
    assert found.method == name


def test_baselines_that_do_not_exist_are_refused(recording):
    with pytest.raises(ValueError, match=r"found the baseline 'persistence' with the settings \[\]; expected one of"):
        recording.baseline("persistence", 50.0)
    with pytest.raises(ValueError, match=r"shrinkage \['bins', 'weight'\]"):
        recording.baseline("shrinkage", 50.0, bins=3)


def test_units_below_the_minimum_rate_have_a_score_and_do_not_enter_the_total(recording):
    rates = recording.reference_rate_hz
    limit = np.sort(rates)[2]
    score = recording.score(every=1.0, minimum_rate_hz=limit)
    np.testing.assert_array_equal(score.scored, rates >= limit)
    sums = score.sums
    gained = (sums.model_nats - sums.reference_nats)[:, score.scored].sum(axis=1)
    np.testing.assert_allclose(score.of_bin, gained / sums.spikes[:, score.scored].sum(axis=1) / np.log(2))
    assert np.isfinite(score.of_unit).all()
    assert isinstance(score, Score) and "3 of 5 units" in repr(score)


def test_a_saved_forecast_is_a_forecast_file_and_a_forecast_travels_between_processes(recording, tmp_path):
    forecast = recording.forecast([50.0, 60.0])
    forecast.save(str(tmp_path / "forecast.h5"))
    found = read_forecast(tmp_path / "forecast.h5")
    np.testing.assert_array_equal(found.log_rate, forecast.log_rate)
    np.testing.assert_array_equal(found.start_us, forecast.origin_us)
    assert found.unit_id.tolist() == ["0", "1", "2", "3", "4"]
    copy = pickle.loads(pickle.dumps(forecast))
    assert isinstance(copy, Forecast)
    np.testing.assert_array_equal(copy.sample(4), forecast.sample(4))


def test_xarray_has_the_same_numbers_by_names(recording):
    pytest.importorskip("xarray", reason="xarray is in no environment of the tests; `make test-wheel` has it")
    forecast = recording.forecast([50.0, 79.96])
    found = forecast.to_xarray()
    assert found.rate_hz.dims == ("origin", "bin", "unit")
    np.testing.assert_array_equal(found.rate_hz.sel(origin=50.0, unit=3), forecast.rate_hz[0, :, 3])
    assert found.observed_counts.sel(origin=79.96).isnull().any(dim="unit").values.tolist() == [False] * 2 + [True] * 4
    np.testing.assert_allclose(found.ahead_s, forecast.ahead_s)


def test_without_xarray_the_error_names_the_extra(recording, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "neurohorizon\[xarray\]"'):
        recording.forecast(50.0).to_xarray()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["xarray"] == ["xarray"]


def test_a_recording_of_the_training_data_is_reported(network, units):
    seen = replace(network, card=replace(network.card, sessions=("mine",)))
    with pytest.warns(UserWarning, match="mine is in the training data, so its scores are not zero-shot"):
        seen.fit_reference(units, reference=(0.0, 40.0), valid=(0.0, DURATION_S), name="mine")


def test_an_animal_of_the_name_of_a_training_animal_is_reported(network, made):
    known = replace(made, subject="Ada")
    seen = replace(network, card=replace(network.card, subjects=("Ada",)))
    with pytest.warns(UserWarning, match="an animal of the training data is named Ada, as that of this recording"):
        seen.fit_reference(known, reference=(0.0, 40.0))
    assert not network.fit_reference(known, reference=(0.0, 40.0)).notes
