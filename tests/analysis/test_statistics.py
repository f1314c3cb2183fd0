"""Intervals cover what they say, cluster by animal, and agree with scipy where scipy has the same."""

import ast
import re
from itertools import combinations

import numpy as np
import pytest
from factories import ROOT
from scipy import stats

from neurohorizon.analysis.statistics import (
    bootstrap_draws_and_animals,
    bootstrap_mean,
    bootstrap_ratio,
    compare_paired,
    holm,
    sign_flip_p,
)


def _sessions_of_animals(rng, n_animals: int, *, between: float = 1.0, within: float = 0.3):
    """Unequal numbers of sessions per animal, with a shared shift for each animal; the true mean is 2."""
    sessions = rng.integers(1, 5, size=n_animals)
    animals = np.repeat([f"animal-{number}" for number in range(n_animals)], sessions)
    shifts = np.repeat(rng.normal(0, between, n_animals), sessions)
    return 2.0 + shifts + rng.normal(0, within, len(animals)), animals


def test_nominal_95_percent_covers_93_to_97_with_enough_animals():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1500):
        values, animals = _sessions_of_animals(rng, 60)
        estimate = bootstrap_mean(values, animals, rng, draws=800, interval=0.95)
        covered.append(estimate.lower <= 2.0 <= estimate.upper)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_a_pooled_score_covers_93_to_97_with_enough_animals():
    # nats and spikes go together, so neither sum is known alone; every animal has a score of its own around 0.3
    rng = np.random.default_rng(30)
    covered = []
    for _ in range(1500):
        sessions = rng.integers(1, 4, size=60)
        animals = np.repeat(np.arange(60), sessions)
        spikes = rng.gamma(4.0, 100.0, len(animals))
        nats = spikes * (0.3 + np.repeat(rng.normal(0, 0.1, 60), sessions) + rng.normal(0, 0.05, len(animals)))
        estimate = bootstrap_ratio(nats, spikes, animals, rng, draws=600, interval=0.95)
        covered.append(estimate.lower <= 0.3 <= estimate.upper)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_a_paired_difference_covers_93_to_97_and_is_narrower_than_two_methods_apart():
    rng = np.random.default_rng(31)
    covered, widths, apart = [], [], []
    for run in range(1500):
        sessions = rng.integers(1, 4, size=100)
        animals = np.repeat(np.arange(100), sessions)
        second = np.repeat(rng.normal(0.3, 0.5, 100), sessions) + rng.normal(0, 0.1, len(animals))
        change = np.repeat(rng.normal(0.05, 0.05, 100), sessions) + rng.normal(0, 0.05, len(animals))
        found = compare_paired(second + change, second, animals, rng, draws=400, interval=0.95).difference
        covered.append(found.lower <= 0.05 <= found.upper)
        if run < 50:
            alone = bootstrap_mean(second, animals, rng, draws=400, interval=0.95)
            widths.append(found.upper - found.lower)
            apart.append(alone.upper - alone.lower)
    assert 0.93 <= np.mean(covered) <= 0.97
    assert np.mean(widths) < 0.2 * np.mean(apart), "what sessions share cancels"


def test_ignoring_the_animal_would_cover_far_too_little():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(300):
        values, _ = _sessions_of_animals(rng, 60)
        estimate = bootstrap_mean(values, np.arange(len(values)), rng, draws=400, interval=0.95)
        covered.append(estimate.lower <= 2.0 <= estimate.upper)
    assert np.mean(covered) < 0.85


@pytest.mark.parametrize(("animals", "expected"), [(3, 0.75), (6, 0.86), (12, 0.91)])
def test_few_animals_cover_as_the_module_says(animals, expected):
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(1500):
        values = rng.normal(2.0, 1.0, animals)
        estimate = bootstrap_mean(values, np.arange(animals), rng, draws=800, interval=0.95)
        covered.append(estimate.lower <= 2.0 <= estimate.upper)
    assert np.mean(covered) == pytest.approx(expected, abs=0.03)


def test_with_three_animals_the_interval_is_the_range_of_their_means():
    values, animals = np.array([1.0, 2.0, 3.0, 10.0, 5.0]), ["a", "a", "b", "c", "b"]
    estimate = bootstrap_mean(values, animals, np.random.default_rng(0), draws=4000, interval=0.95)
    assert (estimate.lower, estimate.upper) == (1.5, 10.0)
    assert (estimate.sessions, estimate.animals) == (5, 3)
    assert estimate.value == pytest.approx(values.mean())


def test_one_animal_has_a_mean_and_no_interval():
    estimate = bootstrap_mean(np.array([1.0, 2.0]), ["a", "a"], np.random.default_rng(0), draws=100, interval=0.95)
    assert estimate.value == 1.5
    assert np.isnan(estimate.lower)
    assert np.isnan(estimate.upper)
    assert np.isnan(sign_flip_p(np.array([1.0, 2.0]), ["a", "a"], np.random.default_rng(0), draws=100))


def test_one_session_per_animal_agrees_with_the_scipy_bootstrap():
    values = np.random.default_rng(5).gamma(2.0, 1.0, 40)
    ours = bootstrap_mean(values, np.arange(40), np.random.default_rng(6), draws=20000, interval=0.9)
    scipys = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=20000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval
    assert ours.lower == pytest.approx(scipys.low, abs=0.01)
    assert ours.upper == pytest.approx(scipys.high, abs=0.01)


def test_a_ratio_of_sums_agrees_with_the_scipy_bootstrap():
    rng = np.random.default_rng(8)
    spikes = rng.integers(50, 500, 30).astype(float)
    nats = spikes * rng.normal(0.3, 0.1, 30)
    ours = bootstrap_ratio(nats, spikes, np.arange(30), np.random.default_rng(9), draws=20000, interval=0.95)
    scipys = stats.bootstrap(
        (nats, spikes),
        lambda above, below, axis: above.sum(axis) / below.sum(axis),
        paired=True,
        n_resamples=20000,
        method="percentile",
        rng=np.random.default_rng(10),
    ).confidence_interval
    assert ours.value == pytest.approx(nats.sum() / spikes.sum())
    assert ours.lower == pytest.approx(scipys.low, abs=2e-3)
    assert ours.upper == pytest.approx(scipys.high, abs=2e-3)


def test_all_sessions_of_an_animal_are_drawn_together():
    # two animals that agree within themselves: a draw holds 0, 1 or 2 copies of each and nothing between
    values, animals = np.array([0.0, 0.0, 0.0, 1.0]), ["a", "a", "a", "b"]
    estimate = bootstrap_mean(values, animals, np.random.default_rng(0), draws=2000, interval=0.4)
    assert estimate.value == 0.25
    assert {estimate.lower, estimate.upper} <= {0.0, 0.25, 1.0}


def test_the_same_generator_gives_the_same_interval_and_the_order_of_sessions_does_not_matter():
    values, animals = _sessions_of_animals(np.random.default_rng(11), 9)
    first = bootstrap_mean(values, animals, np.random.default_rng(12), draws=500, interval=0.95)
    order = np.random.default_rng(13).permutation(len(values))
    again = bootstrap_mean(values[order], animals[order], np.random.default_rng(12), draws=500, interval=0.95)
    assert (first.lower, first.upper) == pytest.approx((again.lower, again.upper), abs=1e-12)


def test_the_sign_flip_test_agrees_with_the_scipy_permutation_test():
    differences = np.random.default_rng(14).normal(0.3, 1.0, 10)
    scipys = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    ours = sign_flip_p(differences, np.arange(10), np.random.default_rng(0), draws=10)
    assert ours == pytest.approx(scipys, abs=1e-12)


def test_drawn_sign_flips_agree_with_enumerated_ones(monkeypatch):
    differences = np.random.default_rng(15).normal(0.4, 1.0, 12)
    exact = sign_flip_p(differences, np.arange(12), np.random.default_rng(0), draws=10)
    monkeypatch.setattr("neurohorizon.analysis.statistics._EXACT_ANIMALS", 0)
    drawn = sign_flip_p(differences, np.arange(12), np.random.default_rng(0), draws=40000)
    assert drawn == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("n_animals", [2, 3, 5, 8])
def test_the_smallest_p_of_n_animals_is_two_to_the_one_minus_n(n_animals):
    differences, animals = np.linspace(1.0, 2.0, 2 * n_animals), np.tile(np.arange(n_animals), 2)
    p = sign_flip_p(differences, animals, np.random.default_rng(0), draws=10)
    assert p == 2.0 ** (1 - n_animals)


def test_no_difference_is_no_evidence():
    assert sign_flip_p(np.zeros(6), np.arange(6), np.random.default_rng(0), draws=10) == 1.0


def test_the_sign_flip_test_keeps_its_level_with_clustered_sessions():
    rng = np.random.default_rng(16)
    p_values = []
    for _ in range(800):
        values, animals = _sessions_of_animals(rng, 7)
        p_values.append(sign_flip_p(values - 2.0, animals, rng, draws=10))
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_holm_is_the_closed_bonferroni_procedure():
    # written from the closure principle: the largest Bonferroni p among all subsets that hold the test
    p_values = np.array([0.011, 0.6, 0.02, 0.04, 0.02])
    everyone = range(len(p_values))
    expected = [
        max(
            min(1.0, size * min(p_values[list(subset)]))
            for size in range(1, len(p_values) + 1)
            for subset in combinations(everyone, size)
            if test in subset
        )
        for test in everyone
    ]
    np.testing.assert_allclose(holm(p_values), expected)


def test_a_test_that_could_not_be_made_does_not_count_in_the_family():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.03]), [0.02, np.nan, 0.03])
    assert len(holm([])) == 0


def test_a_paired_comparison_reports_direction_size_and_counts():
    first, second = np.array([0.30, 0.20, 0.50, 0.10]), np.array([0.10, 0.10, 0.10, 0.20])
    animals = ["a", "a", "b", "c"]
    result = compare_paired(first, second, animals, np.random.default_rng(0), draws=2000, interval=0.95)
    by_animal = np.array([0.15, 0.40, -0.10])
    assert result.difference.value == pytest.approx(np.mean(first - second))
    assert (result.sessions_better, result.animals_better) == (3, 2)
    assert (result.difference.sessions, result.difference.animals) == (4, 3)
    assert result.effect_size == pytest.approx(by_animal.mean() / by_animal.std(ddof=1))
    turned = compare_paired(second, first, animals, np.random.default_rng(0), draws=2000, interval=0.95)
    assert turned.difference.lower == pytest.approx(-result.difference.upper)
    assert turned.p == result.p


def test_the_effect_size_is_the_t_statistic_of_animals_per_root_of_their_number():
    rng = np.random.default_rng(32)
    second, animals = _sessions_of_animals(rng, 11)
    first = second + rng.normal(0.2, 0.5, len(second))
    found = compare_paired(first, second, animals, rng, draws=100, interval=0.95)
    by_animal = [np.mean((first - second)[animals == name]) for name in np.unique(animals)]
    t = stats.ttest_1samp(by_animal, 0.0).statistic
    assert found.effect_size == pytest.approx(t / np.sqrt(11), rel=1e-12)


def test_a_paired_comparison_agrees_with_the_scipy_permutation_test_and_bootstrap():
    rng = np.random.default_rng(33)
    second = rng.gamma(3.0, 0.1, 12)
    first = second + rng.normal(0.03, 0.05, 12)
    found = compare_paired(first, second, np.arange(12), rng, draws=20000, interval=0.95)
    theirs = stats.permutation_test(
        (first, second), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-12)
    interval = stats.bootstrap(
        (first, second),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        n_resamples=20000,
        method="percentile",
        rng=np.random.default_rng(34),
    ).confidence_interval
    assert found.difference.lower == pytest.approx(interval.low, abs=1e-3)
    assert found.difference.upper == pytest.approx(interval.high, abs=1e-3)


def test_holm_rejects_a_true_null_in_at_most_one_family_in_twenty_and_more_than_bonferroni():
    rng = np.random.default_rng(35)
    wrong, more = [], 0
    for _ in range(2000):
        shared = rng.normal()  # methods are compared on the same sessions, so their tests go together
        z = 0.6 * shared + 0.8 * rng.normal(size=6)
        z[3:] += 4.0  # three true effects
        p = 2 * stats.norm.sf(np.abs(z))
        adjusted = holm(p)
        wrong.append((adjusted[:3] <= 0.05).any())
        assert (adjusted >= p).all()
        assert (adjusted <= np.minimum(1, 6 * p) + 1e-15).all()
        more += int((adjusted <= 0.05).sum() - (6 * p <= 0.05).sum())
    assert np.mean(wrong) <= 0.055
    assert more > 100


def test_no_other_module_makes_tests_of_its_own():
    package = ROOT / "neurohorizon"
    for path in package.rglob("*.py"):
        if path.name == "statistics.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            of = getattr(node, "module", "") or ""
            assert not (of.startswith("scipy") and "stats" in [*imported, *of.split(".")]), (
                f"{path} imports scipy.stats"
            )
            assert "scipy.stats" not in imported, f"{path} imports scipy.stats"
            name = node.name if isinstance(node, ast.FunctionDef) else ""
            assert not re.match(r"_?(bootstrap|sign_flip|permut|holm|bonferroni|p_value)", name), f"{path}: {name}"


def test_identical_methods_differ_by_exactly_zero():
    scores = np.linspace(0.1, 0.7, 8)
    result = compare_paired(scores, scores, np.arange(8) // 2, np.random.default_rng(0), draws=500, interval=0.95)
    assert (result.difference.value, result.difference.lower, result.difference.upper, result.p) == (
        0,
        0,
        0,
        1,
    )
    assert np.isnan(result.effect_size)
    assert result.sessions_better == 0


def test_a_score_of_minus_infinity_stays_visible():
    estimate = bootstrap_mean(np.array([0.1, -np.inf]), ["a", "b"], np.random.default_rng(0), draws=100, interval=0.9)
    assert estimate.value == -np.inf
    assert np.isnan(estimate.lower)


def test_animals_and_choices_both_widen_the_interval_which_covers():
    covered = {"both": [], "animals alone": []}
    for run in range(300):
        rng = np.random.default_rng([3, run])
        animals = np.repeat(np.arange(40), rng.integers(1, 4, 40))
        values = (
            rng.normal(0, 0.5, 40)[animals][:, None] + rng.normal(0, 0.5, 30) + rng.normal(0, 0.2, (len(animals), 30))
        )
        drawn = bootstrap_draws_and_animals(values[:, :, None], animals, rng, draws=400).mean(axis=(1, 2))
        lower, upper = np.quantile(drawn, [0.025, 0.975])
        covered["both"].append(lower <= 0 <= upper)
        alone = bootstrap_mean(values.mean(axis=1), animals, rng, draws=400, interval=0.95)
        covered["animals alone"].append(alone.lower <= 0 <= alone.upper)
    assert 0.91 <= np.mean(covered["both"]) <= 0.98  # 30 choices and 40 animals: a little less than nominal
    assert np.mean(covered["animals alone"]) < 0.88


def test_few_choices_spread_as_much_as_they_should():
    spread = []
    for run in range(400):
        rng = np.random.default_rng([4, run])
        values = np.zeros((6, 1, 1)) + rng.normal(0, 1, 3)[:, None]
        spread.append(bootstrap_draws_and_animals(values, range(6), rng, draws=100).mean(axis=1).var())
    assert np.mean(spread) == pytest.approx(1 / 3, rel=0.1)  # the variance of a mean of three


def test_a_choice_is_drawn_with_all_its_sizes_and_an_animal_with_all_its_sessions():
    # session, choice and size each have a digit, so that every mean says what it was made of
    values = 1.0 * np.array([0, 0, 100])[:, None, None] + np.array([10, 20])[:, None] + np.array([1.0, 2.0])
    drawn = bootstrap_draws_and_animals(values, ["a", "a", "b"], np.random.default_rng(0), draws=200)
    assert drawn.shape == (200, 2, 2)
    np.testing.assert_allclose(drawn[..., 1] - drawn[..., 0], 1.0)
    of_sessions = np.unique(np.round(drawn[..., 0].ravel(), 6))
    # animal a twice, b twice, or one each: 0, 100 or 100 / 3; with choice 10 or 20, stretched for there being two
    choices = (15 - 5 * np.sqrt(2), 15 + 5 * np.sqrt(2))
    expected = sorted(share + choice + 1 for share in (0, 100 / 3, 100) for choice in choices)
    np.testing.assert_allclose(of_sessions, expected, atol=1e-6)
    assert len(bootstrap_draws_and_animals(values, ["a", "a", "a"], np.random.default_rng(0), draws=5)) == 0
    with pytest.raises(ValueError, match="lengths differ"):
        bootstrap_draws_and_animals(values, ["a"], np.random.default_rng(0), draws=5)


@pytest.mark.parametrize(
    ("values", "animals", "interval", "message"),
    [
        ([], [], 0.95, "no session"),
        ([1.0], [], 0.95, "lengths differ"),
        ([1.0, 2.0], ["a", "b"], 95.0, "between 0 and 1"),
    ],
)
def test_impossible_requests_are_errors(values, animals, interval, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(np.array(values), animals, np.random.default_rng(0), draws=10, interval=interval)
