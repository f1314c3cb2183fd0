"""The shared gain: planted parameters are found, means do not change, and intervals of sums have their coverage."""

import numpy as np
import pytest

from neurohorizon.forecasts.shared_gain import SharedGain, fit_shared_gain

WINDOWS, BINS, UNITS = 1500, 8, 20
LAG = np.abs(np.subtract.outer(np.arange(BINS), np.arange(BINS)))


def planted(*, shared=0.15, own=0.3) -> SharedGain:
    rng = np.random.default_rng(1)
    loading = rng.uniform(0.4, 1.6, UNITS)
    return SharedGain(
        shared=shared * 0.9**LAG,
        loading=loading,
        own=own * 0.8**LAG,
        scale=rng.uniform(0.3, 1.7, UNITS),
    )


def log_rates(windows=WINDOWS, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(-0.7, 0.6, UNITS) + rng.normal(0, 0.3, (windows, BINS, UNITS))).astype(np.float32)


def outcomes(gain, log_rate, seed=2):
    return gain.draw(log_rate, 1, np.random.default_rng(seed))[:, 0]


def fit(log_rate, counts):
    return fit_shared_gain(log_rate, counts, np.ones(counts.shape[:2], bool))


def test_planted_covariances_loadings_and_scales_are_found():
    gain, log_rate = planted(), log_rates()
    found = fit(log_rate, outcomes(gain, log_rate))
    weight = np.exp(log_rate.astype(float)).sum((0, 1))
    # loadings and covariance are known up to a factor: the mean loading is one
    mean = (gain.loading * weight).sum() / weight.sum()
    np.testing.assert_allclose(found.shared, gain.shared * mean**2, atol=0.04)
    assert np.corrcoef(found.loading, gain.loading)[0, 1] > 0.9
    np.testing.assert_allclose(found.own, gain.own, atol=0.08)
    assert np.corrcoef(found.scale, gain.scale)[0, 1] > 0.8


def test_counts_without_a_gain_give_none():
    log_rate = log_rates()
    counts = np.random.default_rng(3).poisson(np.exp(log_rate))
    found = fit(log_rate, counts)
    assert np.diag(found.shared).max() < 0.01
    assert np.diag(found.own).max() < 0.05


def test_expected_counts_do_not_change():
    log_rate = log_rates(windows=3)
    drawn = planted().draw(log_rate, 40_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(1), np.exp(log_rate), rtol=0.06)


def test_the_moments_of_draws_are_those_of_the_model():
    gain, log_rate = planted(), log_rates(windows=1)
    drawn = gain.draw(log_rate, 200_000, np.random.default_rng(0))[0].astype(float)
    rate = np.exp(log_rate[0].astype(float))
    of_two = np.cov(drawn[:, 2, 3], drawn[:, 5, 7])[0, 1]
    expected = rate[2, 3] * rate[5, 7] * np.expm1(gain.loading[3] * gain.loading[7] * gain.shared[2, 5])
    assert of_two == pytest.approx(expected, rel=0.15)
    of_one = drawn[:, 2, 3].var()
    log_variance = gain.loading[3] ** 2 * gain.shared[2, 2] + gain.scale[3] * gain.own[2, 2]
    assert of_one == pytest.approx(rate[2, 3] + rate[2, 3] ** 2 * np.expm1(log_variance), rel=0.1)


def coverage(paths, counts, axes):
    low, high = np.quantile(paths.sum(axis=tuple(axis + 1 for axis in axes)), [0.05, 0.95], axis=1)
    total = counts.sum(axis=axes)
    return ((total >= low) & (total <= high)).mean()


@pytest.mark.parametrize("axes", [(2,), (1, 2), (1,)], ids=["population", "population over the horizon", "unit"])
def test_intervals_of_sums_have_their_coverage_and_those_of_independent_counts_do_not(axes):
    gain, log_rate = planted(), log_rates(windows=1800)
    counts = outcomes(gain, log_rate)
    found = fit(log_rate[:1200], counts[:1200])
    later, observed = log_rate[1200:], counts[1200:]
    rng = np.random.default_rng(4)
    joint = coverage(found.draw(later, 200, rng), observed, axes)
    independent = coverage(rng.poisson(np.exp(later)[:, None], (600, 200, BINS, UNITS)), observed, axes)
    assert 0.87 < joint < 0.96
    assert independent < 0.85


def test_few_windows_and_windows_that_are_not_valid_throughout_give_no_gain():
    gain, log_rate = planted(), log_rates(windows=40)
    counts = outcomes(gain, log_rate)
    mask = np.ones((40, BINS), bool)
    mask[5:, 3] = False
    found = fit_shared_gain(log_rate, counts, mask)
    assert not found.shared.any() and not found.own.any()
    drawn = found.draw(log_rate[:2], 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.var(1), np.exp(log_rate[:2]), rtol=0.15)


def test_one_unit_has_no_shared_gain():
    gain, log_rate = planted(), log_rates()
    found = fit(log_rate[..., :1], outcomes(gain, log_rate)[..., :1])
    assert not found.shared.any() and np.diag(found.own).min() > 0.05
