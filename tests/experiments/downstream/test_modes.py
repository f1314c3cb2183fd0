"""Inputs of decoders in population modes: against loops and closed forms, and nothing from after a context."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neurohorizon.config import Readout
from neurohorizon.experiments.downstream.contexts import span_counts
from neurohorizon.experiments.downstream.modes import (
    ASSOCIATION_PENALTY,
    LEVEL_SPIKES,
    association_profiles,
    forecast_modes,
    local_level,
    population_modes,
    relative_forecasts,
)
from neurohorizon.inputs.windows import Spikes
from neurohorizon.timeline import Intervals
from neurohorizon.units.population_readout import fit_readout

BIN_US = 20_000
UNITS = 5
LOG_RATE = np.log(np.linspace(0.02, 0.3, UNITS))
PART = Intervals(np.array([10_000_000, 70_000_000]), np.array([60_000_000, 200_000_000]))  # a pause of 10 s


def made_spikes(seed=0):
    rng = np.random.default_rng(seed)
    times_s = np.sort(np.round(rng.uniform(0, 200, 3000), 6))
    return Spikes(times_s, rng.integers(0, UNITS, 3000), UNITS)


def level(spikes, origin_us):
    return local_level(spikes, PART, origin_us, LOG_RATE, BIN_US)


def test_a_level_is_that_of_a_loop_over_the_bins_of_the_last_minute():
    spikes, origins = made_spikes(), np.array([11_000_000, 100_013_000, 199_000_000])
    found = level(spikes, origins)
    times_us = np.rint(spikes.times_s * 1e6).astype(int)
    for row, origin in zip(found, origins, strict=True):
        counts, bins = np.zeros(UNITS), 0
        for back in range(1, 3001):
            first, last = origin - back * BIN_US, origin - (back - 1) * BIN_US
            if not any(first >= start and last <= stop for start, stop in PART):
                continue
            bins += 1
            counts += np.bincount(spikes.unit[(times_us >= first) & (times_us < last)], minlength=UNITS)
        expected = (counts + LEVEL_SPIKES) / (bins * np.exp(LOG_RATE) + LEVEL_SPIKES)
        np.testing.assert_allclose(row, expected)


def test_later_counts_change_no_level_and_earlier_ones_do():
    spikes, origins = made_spikes(), np.array([100_000_000])
    before = level(spikes, origins)
    later = spikes.times_s >= 100.0
    moved = Spikes(spikes.times_s, np.where(later, 0, spikes.unit), UNITS)
    np.testing.assert_array_equal(level(moved, origins), before)
    moved = Spikes(spikes.times_s, np.where(later, spikes.unit, 0), UNITS)
    assert (level(moved, origins) != before).all()
    # older than a minute
    moved = Spikes(spikes.times_s, np.where(spikes.times_s < 40.0, 0, spikes.unit), UNITS)
    np.testing.assert_array_equal(level(moved, origins), before)


@pytest.fixture(scope="module")
def readout():
    rng = np.random.default_rng(1)
    drive = np.repeat(rng.normal(0, 0.5, (400, 1)), 5, axis=0) * rng.normal(1, 0.3, UNITS)
    counts = rng.poisson(0.3 * np.exp(drive))
    options = {"modes": 3, "span_edges_bins": (2, 8), "ridge": (10.0,), "horizon_edges_bins": (2, 4)}
    options["leverage"] = 0.0
    return fit_readout(counts, np.zeros(len(counts), int), np.log(counts.mean(0)), Readout(**options))


def test_population_modes_are_those_of_a_loop_and_of_the_readout(readout):
    rng = np.random.default_rng(2)
    context, edges = rng.poisson(0.3, (4, 8, UNITS)), readout.span_edges_bins
    log_rate = np.log(readout.mean_counts)
    rate = span_counts(context, edges) / np.diff((0, *edges))[:, None]
    found = population_modes(rate, log_rate, readout.modes)
    for window in range(4):
        for span, bins in enumerate((context[window, 6:], context[window, :6])):
            for mode in range(3):
                mean = 0.0
                for counts in bins:
                    for unit in range(UNITS):
                        reference = readout.mean_counts[unit]
                        residual = (counts[unit] - reference) / np.sqrt(reference)
                        mean += residual * readout.modes[unit, mode] / len(bins)
                assert found[window, span, mode] == pytest.approx(mean, rel=1e-4, abs=1e-5)
    gain = np.einsum("wd,dug->wug", (found / readout.scale).reshape(4, -1), readout.weights)
    expected = readout.log_gain(context, np.ones((4, 8), bool), np.arange(UNITS))
    np.testing.assert_allclose(gain, expected, atol=1e-4)


def test_forecast_modes_are_population_modes_to_first_order_and_drift_leaves_them():
    rng = np.random.default_rng(3)
    modes = np.linalg.qr(rng.normal(size=(UNITS, 2)))[0]
    deviation = rng.normal(0, 1e-4, (3, 2, UNITS))
    forecast = LOG_RATE + deviation
    still = np.ones((3, UNITS))
    found = forecast_modes(relative_forecasts(forecast, still, LOG_RATE), LOG_RATE, modes)
    np.testing.assert_allclose(found, population_modes(np.exp(forecast), LOG_RATE, modes), rtol=2e-3, atol=1e-8)
    drift = rng.uniform(0.5, 2.0, (3, UNITS))
    drifted = relative_forecasts(forecast + np.log(drift)[:, None], drift, LOG_RATE)
    np.testing.assert_allclose(forecast_modes(drifted, LOG_RATE, modes), found, atol=1e-12)


def test_association_profiles_are_the_ridge_of_scikit_learn():
    rng = np.random.default_rng(4)
    label = rng.normal(0.3, 1, (300, 1))
    counts = rng.normal(0, 0.3, (300, UNITS)) + 1.0
    counts[:, 0] += label[:, 0] > 0
    counts[:, 1] += np.abs(label[:, 0])
    found = association_profiles(counts, label)
    regressors = np.column_stack([label > 0, label < 0, np.abs(label)]).astype(float)
    regressors = (regressors - regressors.mean(0)) / regressors.std(0)
    expected = Ridge(alpha=ASSOCIATION_PENALTY * 300).fit(regressors, counts).coef_
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert found[0, 0] > 0.1 > -0.1 > found[0, 1] and found[1].argmax() == 2
    # a label that is never negative has no profile of that
    assert (association_profiles(counts, np.abs(label))[:, 1] == 0).all()
