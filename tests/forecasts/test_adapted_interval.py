"""Adapted intervals: their long-run coverage, their past, and what moves them."""

import numpy as np
import pytest

from neurohorizon.forecasts.adapted_interval import AdaptedInterval

STEP_US = 1_000_000


def run(draws, counts, *, valid=True, delay=1, interval=0.9):
    """Follow a recording window by window; return the share inside over the second half, and all bounds."""
    one, bounds, inside = AdaptedInterval(interval), [], []
    for window, (drawn, count) in enumerate(zip(draws, counts, strict=True)):
        low, high = one.bounds(drawn, window * STEP_US)
        bounds.append((low, high))
        inside.append((count >= low) & (count <= high))
        one.expect(inside[-1], np.broadcast_to(valid, np.shape(count)), (window + delay) * STEP_US)
    return np.mean(inside[len(inside) // 2 :], axis=0), bounds


@pytest.mark.parametrize("spread", [0.2, 1.0, 3.0])
def test_the_coverage_is_the_nominal_one_for_draws_that_are_too_narrow_or_too_wide(spread):
    rng = np.random.default_rng(0)
    counts = np.round(rng.normal(500, 30, (3000, 2)))
    draws = rng.normal(500, 30 * spread, (3000, 2, 16))
    covered, _ = run(draws, counts)
    np.testing.assert_allclose(covered, 0.9, atol=0.02)


def test_it_follows_a_change():
    rng = np.random.default_rng(1)
    width = np.where(np.arange(4000) < 2000, 20, 80)[:, None]
    counts = np.round(500 + width * rng.standard_normal((4000, 1)))
    covered, _ = run(rng.normal(500, 20, (4000, 1, 16)), counts)
    assert covered == pytest.approx(0.9, abs=0.02)


def test_an_outcome_counts_only_after_its_last_bin():
    rng = np.random.default_rng(2)
    draws, counts = rng.normal(50, 5, (40, 3, 16)), rng.poisson(50, (40, 3))
    _, before = run(draws, counts, delay=2)
    changed = counts.copy()
    changed[19:] += 500
    _, after = run(draws, changed, delay=2)
    # the outcome of window 19 is complete at the origin of window 21
    np.testing.assert_array_equal(np.array(before[:21]), np.array(after[:21]))
    assert not np.array_equal(np.array(before), np.array(after))


def test_time_that_is_not_valid_changes_nothing():
    rng = np.random.default_rng(3)
    one = AdaptedInterval(0.9)
    one.bounds(rng.normal(50, 5, (2, 16)), 0)
    one.expect(np.array([False, False]), np.array([True, False]), STEP_US)
    one.bounds(rng.normal(50, 5, (2, 16)), STEP_US)
    np.testing.assert_allclose(one.log_factor, [0.05 * 0.9, 0.0])


def test_the_first_interval_is_that_of_the_draws():
    draws = np.arange(101.0)[None]
    low, high = AdaptedInterval(0.9).bounds(draws, 0)
    assert (low, high) == (5, 95)
