"""Integer time: counting, interval algebra and splits, against plain Python integers."""

from fractions import Fraction

import numpy as np
import pytest

from neurohorizon import timeline
from neurohorizon.config import Splits as SplitSettings
from neurohorizon.timeline import (
    FARTHEST_S,
    Intervals,
    bin_domain,
    compact,
    count_spikes,
    cut_domain,
    nearest_us,
    split_domain,
    to_s,
    to_us,
)

SEEDS = range(30)


def random_intervals(rng, longest_us=1000, most=12):
    """Disjoint intervals on a ramp of random steps; every third one touches the next."""
    count = int(rng.integers(1, most + 1))
    lengths = rng.integers(1, longest_us, count)
    pauses = np.where(np.arange(count) % 3 == 2, 0, rng.integers(1, longest_us, count))
    starts = np.concatenate([[0], np.cumsum(lengths + pauses)[:-1]]) + int(rng.integers(-500, 500))
    return Intervals(starts, starts + lengths)


def moments(intervals):
    """The set of microseconds inside, one by one."""
    return {us for start, stop in intervals for us in range(start, stop)}


def settings(**changes):
    values = {
        "reference_fraction": 0.5,
        "reference_maximum_s": None,
        "validation_fraction": 0.2,
        "gap_s": 2.0,
    }
    return SplitSettings(**{**values, **changes})


def test_decimal_seconds_become_their_exact_microseconds():
    ticks = np.arange(200_000) * 20_000
    written = np.array([float(f"{tick / 1e6:.6f}") for tick in ticks.tolist()])
    np.testing.assert_array_equal(to_us(written), ticks)
    np.testing.assert_array_equal(to_us(to_s(ticks * 997 + 1)), ticks * 997 + 1)
    # the trap this module exists for: scaled floats put exact edges one bin too early
    assert (np.floor(written * 100) != ticks // 10_000).any()


def test_later_microseconds_are_later_seconds():
    us = 10**11 + np.arange(1000)
    assert (np.diff(to_s(us)) > 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e15])
def test_a_time_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="time"):
        to_us(np.array([0.0, bad]))


@pytest.mark.parametrize(
    ("start", "stop", "complaint"),
    [
        ([0, 5], [6, 9], "disjoint"),
        ([5, 0], [6, 4], "sorted"),
        ([3], [3], "does not stop after it starts"),
        ([0.5], [3.0], "integer microseconds"),
        ([0, 1], [1], "2 starts and 1 stops"),
    ],
)
def test_intervals_that_make_no_sense_are_refused(start, stop, complaint):
    with pytest.raises(ValueError, match=complaint):
        Intervals(np.array(start), np.array(stop))


@pytest.mark.parametrize("seed", SEEDS)
def test_interval_algebra_agrees_with_sets_of_moments(seed):
    rng = np.random.default_rng(seed)
    mine, theirs = random_intervals(rng), random_intervals(rng)
    assert moments(mine.intersect(theirs)) == moments(mine) & moments(theirs)
    assert moments(mine.without(theirs)) == moments(mine) - moments(theirs)
    assert mine.intersect(mine) == mine
    assert mine.duration_us == len(moments(mine))
    lo, hi = sorted(rng.integers(-600, 6000, 2).tolist())
    assert moments(mine.clip(lo, hi)) == moments(mine) & set(range(lo, hi))
    starts = np.concatenate([mine.start_us, theirs.start_us])
    stops = np.concatenate([mine.stop_us, theirs.stop_us])
    order = rng.permutation(len(starts))
    union = Intervals.merged(starts[order], stops[order])
    assert moments(union) == moments(mine) | moments(theirs)
    assert (union.start_us[1:] > union.stop_us[:-1]).all()
    edges = np.concatenate([starts, stops, starts - 1, stops - 1])
    inside = moments(mine)
    assert mine.contains(edges).tolist() == [edge in inside for edge in edges.tolist()]


def test_no_interval_contains_nothing():
    none, some = Intervals.empty(), Intervals(np.array([0]), np.array([10]))
    assert not none.contains(np.arange(5)).any()
    assert len(none.intersect(some)) == len(some.intersect(none)) == len(some.clip(5, 5)) == 0
    assert Intervals.merged(np.array([3]), np.array([3])) == none


@pytest.mark.parametrize("seed", SEEDS)
def test_bins_are_whole_and_stay_in_their_segment(seed):
    rng = np.random.default_rng(seed)
    domain, bin_us = random_intervals(rng), int(rng.integers(1, 300))
    bins = bin_domain(domain, bin_us)
    expected = [
        (start + ordinal * bin_us, segment)
        for segment, (start, stop) in enumerate(domain)
        for ordinal in range((stop - start) // bin_us)
    ]
    assert list(zip(bins.start_us.tolist(), bins.segment.tolist(), strict=True)) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_counting_agrees_with_exact_integer_arithmetic(seed):
    rng = np.random.default_rng(seed)
    domain, bin_us, n_units = random_intervals(rng), int(rng.integers(2, 80)), 5
    bins = bin_domain(domain, bin_us)
    # on every edge, one before it, one after it, in the gaps, and anywhere
    edges = np.concatenate([bins.start_us, bins.start_us + bin_us, domain.start_us, domain.stop_us])
    times_us = np.concatenate([edges, edges - 1, edges + 1, rng.integers(-1000, 15000, 200)])
    unit = np.arange(len(times_us)) ** 2 % (n_units - 1)
    counts = count_spikes(times_us, unit, n_units=n_units, start_us=bins.start_us, bin_us=bin_us)
    expected = np.zeros((len(bins), n_units), int)
    bin_of = {us: index for index, start in enumerate(bins.start_us.tolist()) for us in range(start, start + bin_us)}
    for time, row in zip(times_us.tolist(), unit.tolist(), strict=True):
        if time in bin_of:
            expected[bin_of[time], row] += 1
    np.testing.assert_array_equal(counts, expected)
    assert counts[:, -1].sum() == 0


def test_a_spike_on_an_edge_of_decimal_seconds_opens_its_bin():
    # 5 ms and 10 ms edges as files hold them, against rational numbers
    texts = [f"{71 + tick / 200:.3f}" for tick in range(4000)]
    times_us = to_us(np.array([float(text) for text in texts]))
    bins = bin_domain(Intervals(to_us([71.0]), to_us([91.0])), 20_000)
    counts = count_spikes(times_us, np.zeros(4000, int), n_units=1, start_us=bins.start_us, bin_us=20_000)
    exact = np.bincount([int((Fraction(text) - 71) / Fraction(20, 1000)) for text in texts])
    np.testing.assert_array_equal(counts[:, 0], exact)


def test_order_of_spikes_changes_no_count():
    rng = np.random.default_rng(1)
    times_us, unit = np.arange(1000) * 37, np.arange(1000) % 3
    start_us = np.arange(0, 30_000, 500)
    counts = count_spikes(times_us, unit, n_units=3, start_us=start_us, bin_us=500)
    order = rng.permutation(1000)
    shuffled = count_spikes(times_us[order], unit[order], n_units=3, start_us=start_us, bin_us=500)
    np.testing.assert_array_equal(counts, shuffled)


def test_counting_refuses_overlapping_bins_and_seconds():
    with pytest.raises(ValueError, match="apart"):
        count_spikes(np.array([1]), np.array([0]), n_units=1, start_us=np.array([0, 5]), bin_us=10)
    with pytest.raises(ValueError, match="to_us"):
        count_spikes(np.array([1.0]), np.array([0]), n_units=1, start_us=np.array([0]), bin_us=10)


def test_a_continuous_session_is_cut_by_time():
    parts = split_domain(Intervals(to_us([7.25]), to_us([607.25])), settings())
    assert list(parts.reference) == [(7_250_000, 307_250_000)]
    assert list(parts.test) == [(309_250_000, 607_250_000)]
    assert list(parts.train) == [(7_250_000, 487_250_000)]
    assert list(parts.validation) == [(489_250_000, 607_250_000)]


def test_the_reference_window_has_a_longest_length():
    parts = split_domain(Intervals(to_us([0]), to_us([600])), settings(reference_maximum_s=60.0))
    assert parts.reference.duration_us == 60_000_000
    assert list(parts.test) == [(62_000_000, 600_000_000)]


def test_valid_time_is_what_counts_not_the_clock():
    # 10 s, a pause of 1000 s, 30 s: half of the valid time is 10 s into the second interval
    parts = split_domain(Intervals(to_us([0, 1010]), to_us([10, 1040])), settings())
    assert list(parts.reference) == [(0, 10_000_000), (1010_000_000, 1020_000_000)]
    assert list(parts.test) == [(1022_000_000, 1040_000_000)]


def test_trials_stay_whole():
    starts = to_us(71.21 + np.cumsum(np.arange(1, 102) % 7 + 2.5))
    domain = Intervals(starts, starts + 400_000)
    parts = split_domain(domain, settings(gap_s=0.5))
    whole = set(domain)
    for name in ("reference", "test", "train", "validation"):
        assert set(getattr(parts, name)) <= whole
    assert len(parts.reference) == 51
    assert len(parts.test) == 50


def test_a_trial_inside_the_gap_is_left_out_whole():
    # trials of 0.4 s every 0.5 s and a gap of 0.75 s: the gap ends inside the second trial after the cut
    starts = np.arange(20) * 500_000
    domain = Intervals(starts, starts + 400_000)
    first, second = cut_domain(domain, first_us=10 * 400_000, gap_us=750_000)
    assert list(first) == list(domain)[:10]
    assert list(second) == list(domain)[12:]


@pytest.mark.parametrize("seed", range(60))
def test_parts_are_disjoint_ordered_and_a_gap_apart(seed):
    rng = np.random.default_rng(seed)
    domain = random_intervals(rng, longest_us=int(rng.choice([3_000_000, 30_000_000])), most=40)
    gap_us, first_us = int(rng.integers(1, 8_000_000)), int(rng.integers(1, domain.duration_us))
    first, second = cut_domain(domain, first_us=first_us, gap_us=gap_us)
    assert first.intersect(domain) == first
    assert second.intersect(domain) == second
    assert first.duration_us >= first_us
    # never longer than asked by more than a second, or by what is left of a short interval
    assert first.duration_us < first_us + max(1_000_000, gap_us)
    if len(second):
        assert second.start_us[0] - first.stop_us[-1] >= gap_us
        bins = {*bin_domain(domain, 20_000).start_us.tolist()}
        for part in (first, second):
            assert {*bin_domain(part, 20_000).start_us.tolist()} <= bins


def test_a_session_too_short_says_what_it_has_and_what_it_needs():
    with pytest.raises(ValueError, match=r"nothing is left for validation: 4 s .* gaps of 2 s"):
        split_domain(Intervals(to_us([0]), to_us([4])), settings(reference_fraction=0.1))
    with pytest.raises(ValueError, match="nothing is left for reference: 0 s"):
        split_domain(Intervals.empty(), settings())


def test_any_time_has_a_nearest_microsecond(monkeypatch):
    monkeypatch.setattr(timeline, "BLOCK", 3)
    seconds = np.array([0.29, np.nan, -1.0000004, 1e300, np.inf, -np.inf, 2.0000006])
    far = round(FARTHEST_S * 1e6)
    expected = [290_000, -far, -1_000_000, far, far, -far, 2_000_001]
    assert nearest_us(seconds).tolist() == expected
    assert nearest_us(seconds, overwrite=True).tolist() == expected
    assert seconds.view(np.int64).tolist() == expected


def test_values_that_are_kept_move_to_the_start(monkeypatch):
    monkeypatch.setattr(timeline, "BLOCK", 4)
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 1.0):
        values, kept = np.arange(23), rng.random(23) < share
        expected = values[kept].tolist()
        found = compact(values, kept)
        assert found.tolist() == expected
        assert found.base is values


def test_times_of_any_shape_are_found_in_intervals(monkeypatch):
    intervals = Intervals(np.array([2, 7]), np.array([5, 9]))
    expected = [us in (2, 3, 4, 7, 8) for us in range(12)]
    for block in (1, 5, 100):
        monkeypatch.setattr(timeline, "BLOCK", block)
        assert intervals.contains(np.arange(12)).tolist() == expected
        assert intervals.contains(np.arange(12).reshape(3, 4)).ravel().tolist() == expected
    assert intervals.contains(3)
    assert not intervals.contains(5)
    assert intervals.contains(np.zeros(0, np.int64)).shape == (0,)
