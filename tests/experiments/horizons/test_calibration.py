import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln

from neurohorizon.experiments.horizons.calibration import (
    INTERVALS,
    PIT_BINS,
    NegativeBinomial,
    Poisson,
    central_coverage,
    energy_scores,
    measure_law,
    measure_paths,
    sum_measures,
)

MEANS = np.array([0.0, 0.003, 0.2, 1.0, 4.5, 38.0, 900.0])
SHAPES = np.array([0.1, 0.7, 3.0, 20.0, 1.0, 5.0, 50.0])


def rng(seed=0):
    return np.random.default_rng(seed)


def frozen(law):
    """The same law of scipy."""
    if isinstance(law, Poisson):
        return stats.poisson(law.mean)
    return stats.nbinom(law.shape, law.shape / (law.shape + law.mean))


LAWS = [Poisson(MEANS), NegativeBinomial(MEANS, SHAPES)]
COUNTS = np.array([0, 0, 1, 0, 9, 30, 1000])


@pytest.mark.parametrize("law", LAWS)
def test_the_pit_of_a_law_is_drawn_between_its_distribution_below_and_at_the_count(law):
    pit = measure_law(law, COUNTS, rng(1)).pit
    below, at = frozen(law).cdf(COUNTS - 1), frozen(law).cdf(COUNTS)
    np.testing.assert_allclose(pit, below + rng(1).random(COUNTS.size) * (at - below), atol=1e-9)


@pytest.mark.parametrize("law", LAWS)
def test_the_crps_of_a_law_is_the_sum_of_squared_differences_of_distributions(law):
    found = measure_law(law, COUNTS, rng()).crps
    levels = np.arange(20_000)
    for case, count in enumerate(COUNTS):
        one = law.of(np.array([case]))
        expected = ((frozen(one).cdf(levels) - (levels >= count)) ** 2).sum()
        np.testing.assert_allclose(found[case], expected, rtol=1e-7, atol=1e-7)


def test_the_crps_of_a_poisson_law_is_the_closed_form():
    """Wei & Held (2014); in scoringRules of Jordan, Kruger & Lerch (2019, J. Stat. Softw. 90)."""
    from scipy.special import ive

    mean, count = MEANS[1:], COUNTS[1:]
    law = stats.poisson(mean)
    bessel = ive(0, 2 * mean) + ive(1, 2 * mean)
    expected = (count - mean) * (2 * law.cdf(count) - 1) + 2 * mean * law.pmf(count) - mean * bessel
    np.testing.assert_allclose(measure_law(Poisson(mean), count, rng()).crps, expected, rtol=1e-6)


@pytest.mark.parametrize("law", LAWS)
def test_the_bounds_of_a_law_are_its_quantiles(law):
    bounds = measure_law(law, COUNTS, rng()).bounds
    for interval, found in zip(INTERVALS, bounds, strict=True):
        for level, bound in zip(((1 - interval) / 2, (1 + interval) / 2), found, strict=True):
            np.testing.assert_array_equal(bound, np.maximum(frozen(law).ppf(level), 0))


def test_how_cases_are_laid_out_changes_nothing():
    mean, counts = rng().gamma(1, 3, (4, 5, 6)), rng(1).poisson(3, (4, 5, 6))
    whole = measure_law(Poisson(mean), counts, rng(2))
    generator = rng(2)
    parts = [measure_law(Poisson(mean[rows]), counts[rows], generator) for rows in (slice(0, 1), slice(1, 4))]
    np.testing.assert_array_equal(whole.pit, np.concatenate([part.pit for part in parts]))
    np.testing.assert_array_equal(whole.crps, np.concatenate([part.crps for part in parts]))
    np.testing.assert_array_equal(whole.bounds, np.concatenate([part.bounds for part in parts], axis=2))


def test_the_crps_of_paths_is_the_fair_estimator_over_all_pairs():
    paths, counts = rng().poisson([[0.2], [3.0], [40.0]], (3, 7)).astype(np.uint8), np.array([1, 2, 60])
    n = paths.shape[-1]
    values = paths.astype(int)
    far = np.abs(values - counts[:, None]).mean(1)
    spread = np.abs(values[:, :, None] - values[:, None]).sum((1, 2)) / (2 * n * (n - 1))
    np.testing.assert_allclose(measure_paths(paths, counts, rng()).crps, far - spread, rtol=1e-12)


def test_the_crps_of_paths_tends_to_that_of_their_law_however_few_they_are():
    law, counts = Poisson(np.full(60_000, 2.3)), rng().poisson(4.0, 60_000)
    exact = measure_law(law, counts, rng()).crps.mean()
    for n in (2, 8):
        paths = rng(n).poisson(2.3, (counts.size, n))
        assert measure_paths(paths, counts, rng()).crps.mean() == pytest.approx(exact, abs=0.02)


def test_the_bounds_of_paths_are_the_smallest_counts_that_reach_each_level():
    paths = rng().poisson(6.0, (50, 32))
    bounds = measure_paths(paths, np.zeros(50, int), rng()).bounds
    for interval, found in zip(INTERVALS, bounds, strict=True):
        levels = ((1 - interval) / 2, (1 + interval) / 2)
        np.testing.assert_array_equal(found, np.quantile(paths, levels, axis=1, method="inverted_cdf"))


def test_one_path_is_no_forecast_of_a_spread():
    with pytest.raises(ValueError, match="at least 2"):
        measure_paths(np.zeros((3, 1)), np.zeros(3), rng())


def pit_of(measured):
    return np.bincount((measured.pit.ravel() * PIT_BINS).astype(int), minlength=PIT_BINS)


def departure(measured):
    """Chi-square of the PIT against uniform; its mean is PIT_BINS - 1 where the forecast is right."""
    histogram = pit_of(measured)
    expected = histogram.sum() / PIT_BINS
    return ((histogram - expected) ** 2 / expected).sum()


CASES = 40_000
RIGHT = stats.chi2.ppf(0.9999, PIT_BINS - 1)


@pytest.fixture
def made():
    """Counts of negative binomial laws whose means differ from case to case."""
    mean = rng(3).gamma(2.0, 1.5, CASES)
    shape = np.full(CASES, 3.0)
    return mean, shape, rng(4).negative_binomial(shape, shape / (shape + mean))


def test_the_pit_is_uniform_for_the_law_that_made_the_counts_and_for_paths_of_it(made):
    mean, shape, counts = made
    assert departure(measure_law(NegativeBinomial(mean, shape), counts, rng(5))) < RIGHT
    for n in (3, 32):
        paths = rng(6).negative_binomial(shape[:, None], (shape / (shape + mean))[:, None], (CASES, n))
        measured = measure_paths(paths, counts, rng(5))
        assert departure(measured) < RIGHT
        for nominal in (0.1, 0.5, 0.9):
            assert central_coverage(pit_of(measured), nominal) == pytest.approx(nominal, abs=0.012)


def test_a_law_that_is_too_narrow_covers_too_little_and_one_that_is_too_wide_too_much(made):
    mean, shape, counts = made
    narrow = measure_law(Poisson(mean), counts, rng(5))
    wide = measure_law(NegativeBinomial(mean, shape / 6), counts, rng(5))
    assert min(departure(narrow), departure(wide)) > 3 * RIGHT
    for nominal in INTERVALS:
        assert central_coverage(pit_of(narrow), nominal) < nominal - 0.05
        assert central_coverage(pit_of(wide), nominal) > nominal + 0.05
    best = measure_law(NegativeBinomial(mean, shape), counts, rng(5)).crps.mean()
    assert best < min(narrow.crps.mean(), wide.crps.mean())


def test_a_mean_that_is_off_tilts_the_pit(made):
    mean, shape, counts = made
    low = measure_law(NegativeBinomial(mean / 1.5, shape), counts, rng(5)).pit.mean()
    high = measure_law(NegativeBinomial(mean * 1.5, shape), counts, rng(5)).pit.mean()
    assert low > 0.55 > 0.45 > high


def test_plain_intervals_of_rare_counts_cover_more_than_they_say_though_the_forecast_is_right():
    counts = rng().poisson(0.05, (200, 10, 30))
    measured = measure_law(Poisson(np.full(counts.shape, 0.05)), counts, rng(1))
    sums = sum_measures(measured, counts, np.ones((200, 10), bool))
    assert (sums.covered[:, 0] / sums.cases).min() > 0.9
    assert central_coverage(sums.pit.sum(0), 0.5) == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(sums.width[:, 0], sums.cases)


def test_sums_leave_out_what_is_masked_and_add_up_over_windows():
    counts = rng().poisson(2.0, (12, 4, 5))
    mask = rng(1).random((12, 4)) < 0.7
    measured = measure_law(Poisson(np.full(counts.shape, 2.0)), counts, rng(2))
    sums = sum_measures(measured, counts, mask)
    for part in range(4):
        rows = mask[:, part]
        assert sums.cases[part] == rows.sum() * 5
        assert sums.spikes[part] == counts[rows, part].sum()
        assert sums.crps[part] == pytest.approx(measured.crps[rows, part].sum())
        low, high = measured.bounds[1, 0][rows, part], measured.bounds[1, 1][rows, part]
        assert sums.covered[part, 1] == ((counts[rows, part] >= low) & (counts[rows, part] <= high)).sum()
        assert sums.width[part, 1] == (high - low + 1).sum()
        expected, _ = np.histogram(measured.pit[rows, part], bins=PIT_BINS, range=(0, 1))
        np.testing.assert_array_equal(sums.pit[part], expected)
    generator = rng(2)
    halves = []
    for rows in (slice(0, 5), slice(5, 12)):
        part = measure_law(Poisson(np.full(counts[rows].shape, 2.0)), counts[rows], generator)
        halves.append(sum_measures(part, counts[rows], mask[rows]))
    added = halves[0] + halves[1]
    for name in vars(sums):
        np.testing.assert_allclose(getattr(added, name), getattr(sums, name))


def test_a_central_interval_that_cuts_a_bin_is_refused():
    histogram = np.arange(PIT_BINS)
    assert central_coverage(histogram, 0.9) == histogram[1:-1].sum() / histogram.sum()
    with pytest.raises(ValueError, match="PIT bins"):
        central_coverage(histogram, 0.95)


def test_the_energy_score_is_that_of_a_loop_over_paths():
    paths, counts = rng(1).poisson(3.0, (3, 5, 7)), rng(2).poisson(3.0, (3, 5))
    found = energy_scores(paths, counts)
    for window in range(3):
        draws = paths[window].T
        far = np.mean([np.linalg.norm(one - counts[window]) for one in draws])
        pairs = [np.linalg.norm(draws[i] - draws[j]) for i in range(7) for j in range(7) if i != j]
        assert found[window] == pytest.approx((far - np.mean(pairs) / 2) / np.sqrt(5))
    with pytest.raises(ValueError, match="at least 2"):
        energy_scores(paths[..., :1], counts)


def test_the_energy_score_of_one_count_is_its_crps():
    paths, counts = rng(1).poisson(900.0, (50, 1, 8)), rng(2).poisson(900.0, (50, 1))
    np.testing.assert_allclose(energy_scores(paths, counts), measure_paths(paths, counts, rng()).crps[:, 0])


@pytest.mark.parametrize("paths", [2, 16])
def test_the_energy_score_of_a_right_normal_forecast_is_the_closed_form_for_any_number_of_paths(paths):
    """Half the mean distance of two draws, ``Gamma((d + 1) / 2) / Gamma(d / 2)`` for d independent normal numbers."""
    length, windows = 4, 20_000
    found = energy_scores(rng(1).normal(size=(windows, length, paths)), rng(2).normal(size=(windows, length)))
    expected = np.exp(gammaln((length + 1) / 2) - gammaln(length / 2)) / np.sqrt(length)
    assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(windows))


def test_the_energy_score_rewards_the_right_dependence():
    windows, units = 2000, 10
    gain = rng(1).gamma(4.0, 0.25, (windows, 1, 17))
    drawn = rng(2).poisson(5.0 * gain, (windows, units, 17))
    joint, counts = drawn[..., 1:], drawn[..., 0]
    exchanged = rng(3).permuted(joint, axis=2)
    difference = energy_scores(exchanged, counts) - energy_scores(joint, counts)
    assert difference.mean() > 5 * difference.std() / np.sqrt(windows)
