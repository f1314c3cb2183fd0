"""Numbers of an answer equal those of independent computations, and its intervals those of a known case."""

from dataclasses import replace

import numpy as np
import pytest
from answer.conftest import EVERY_S, poisson, record
from scipy.stats import poisson as poisson_law

import neurohorizon
from neurohorizon.answer.answer import LengthPoint, SubsetPoint, UnitScore
from neurohorizon.answer.blocks import BlockSums, Bootstrap, cut_blocks
from neurohorizon.answer.calibration import coverage, rank_pit
from neurohorizon.answer.evaluate import answer_for
from neurohorizon.answer.reference_length import (
    _length_sentence,
    _units_sentence,
    described_by,
    last_part,
    of_units,
    sufficient,
)
from neurohorizon.answer.typical import choose_window
from neurohorizon.answer.verdict import carrier_of
from neurohorizon.timeline import Intervals, to_us


@pytest.fixture(scope="module")
def forecast(rhythmic):
    return rhythmic.forecast(rhythmic.origins(EVERY_S))


def gained(forecast, rows=slice(None)):
    """Return the gained bits and the spikes, [bin, unit], by scipy's Poisson law."""
    counts, reference = forecast.counts[rows], np.exp(forecast.recording.inputs.reference_log_rate)
    gain = poisson_law.logpmf(counts, np.exp(forecast.log_rate[rows])) - poisson_law.logpmf(counts, reference)
    return gain.sum(0) / np.log(2), counts.sum(0)


def test_scores_are_those_of_scipys_poisson_law(answer, forecast):
    bits, spikes = gained(forecast)
    assert answer.score.value == pytest.approx(bits.sum() / spikes.sum(), rel=1e-5)
    assert [one.score.value for one in answer.units] == pytest.approx(bits.sum(0) / spikes.sum(0), rel=1e-4)
    assert answer.methods[0].mean_over_units.value == pytest.approx((bits.sum(0) / spikes.sum(0)).mean(), rel=1e-5)
    assert [one.spikes for one in answer.units] == spikes.sum(0).tolist()
    first = answer.horizon[0]
    assert (first.from_ms, first.to_ms) == (0, 20)
    assert first.score.value == pytest.approx(bits[0].sum() / spikes[0].sum(), rel=1e-5)
    kept = np.arange(6) != 2
    assert answer.units[2].without == pytest.approx(bits[:, kept].sum() / spikes[:, kept].sum(), rel=1e-5)


def test_an_answer_holds_the_version_of_the_package_also_where_it_is_not_installed(answer):
    assert answer.package_version == neurohorizon.__version__ != ""


def test_blocks_are_contiguous_and_at_least_30_s_or_a_twentieth_long():
    block, length_s = cut_blocks(700.0 + np.arange(2000), 1.0)
    assert (np.diff(block) >= 0).all() and np.bincount(block).tolist() == [100] * 20 and length_s == 100
    assert np.bincount(cut_blocks(np.arange(300.0), 1.0)[0]).tolist() == [30] * 10
    assert cut_blocks(np.arange(20.0), 1.0)[0].max() == 0
    assert np.bincount(cut_blocks(31.4 + np.arange(2500) * 0.12, 0.12)[0]).tolist() == [250] * 10  # 300 s
    assert cut_blocks(np.array([5.0]), 1.0)[0].tolist() == [0]


def test_pauses_between_trials_are_time_of_a_block_and_long_ones_are_cut():
    trials = np.arange(114) * 5.0
    block, length_s = cut_blocks(trials, 0.2)
    assert length_s == pytest.approx(565.2 / 18) and np.ptp(np.bincount(block)) <= 1
    assert all(np.ptp(trials[block == one]) <= length_s for one in range(18))
    # two runs of 100 s, hours from each other, are 230 s
    block, length_s = cut_blocks(np.concatenate([np.arange(100.0), 9000 + np.arange(100.0)]), 1.0)
    assert block.max() + 1 == 7 and length_s == pytest.approx(229 / 7, abs=0.2)
    assert np.bincount(block).min() > 0
    # each window far from the next
    assert cut_blocks(np.arange(6) * 1000.0, 1.0)[0].tolist() == [0, 0, 1, 2, 3, 4]  # 151 s


def test_the_interval_of_a_mean_of_normal_blocks_is_that_of_the_textbook():
    rng = np.random.default_rng(1)
    gain = rng.normal(100, 10, (400, 1, 1)) * np.log(2)
    found = Bootstrap(400, seed=0).pooled(BlockSums(gain, np.full(gain.shape, 100)))
    error = 1.96 * gain.std() / np.log(2) / 100 / np.sqrt(400)
    assert found.value == pytest.approx(gain.mean() / np.log(2) / 100)
    assert [found.low, found.high] == pytest.approx([found.value - error, found.value + error], abs=error / 5)


def test_a_difference_that_is_the_same_in_all_blocks_has_an_interval_of_no_width():
    rng = np.random.default_rng(2)
    one = BlockSums(rng.normal(size=(10, 2, 3)), np.full((10, 2, 3), 5))
    lead = Bootstrap(10, seed=0).pooled(replace(one, gain=one.gain + np.log(2)).minus(one))
    assert [lead.value, lead.low, lead.high] == pytest.approx([0.2] * 3)


def test_there_is_no_interval_with_fewer_than_eight_blocks():
    sums = BlockSums(np.ones((7, 1, 1)), np.ones((7, 1, 1)))
    assert Bootstrap(7, seed=0).pooled(sums).low is None
    assert Bootstrap(8, seed=0).pooled(BlockSums(np.ones((8, 1, 1)), np.ones((8, 1, 1)))).low is not None


def test_calibrated_paths_have_their_nominal_coverage_and_narrow_ones_have_not():
    rng = np.random.default_rng(3)
    rate = rng.gamma(1.0, 1.0, (4000, 1))
    pit = rank_pit(rng.poisson(rate, (4000, 99)), rng.poisson(rate[:, 0]), rng)
    for nominal in (0.5, 0.8, 0.9):
        assert coverage(pit, nominal) == pytest.approx(nominal, abs=0.025)
    narrow = rank_pit(np.full((4000, 99), 3), rng.poisson(3.0, 4000), rng)
    assert coverage(narrow, 0.9) < 0.4


def test_the_coverage_of_an_answer_is_near_the_nominal_one(answer):
    single = answer.calibration.rows[0]
    assert single.nominal == [0.5, 0.8, 0.9]
    assert single.observed == pytest.approx(single.nominal, abs=0.05)


def test_the_last_part_of_a_window_has_the_given_valid_time():
    window = Intervals(to_us(np.array([0.0, 100.0])), to_us(np.array([50.0, 130.0])))
    assert last_part(window, 40_000_000) == Intervals(to_us(np.array([40.0, 100.0])), to_us(np.array([50.0, 130.0])))


def test_fewer_units_are_described_as_if_only_they_were_recorded(network, rhythmic):
    kept = np.array([1, 3, 4])
    few = described_by(rhythmic, of_units(rhythmic.session, kept), rhythmic.reference)
    session = rhythmic.session
    inside = np.isin(session.spike_unit, kept)
    unit = np.searchsorted(kept, session.spike_unit[inside])
    only = record(network, session.spike_times_us[inside], unit, list("bde"))
    at = [100.0, 200.0]
    np.testing.assert_array_equal(few.forecast(at, adaptive=False).log_rate, only.forecast(at, adaptive=False).log_rate)


@pytest.mark.parametrize(
    ("values", "first"),
    [([0.1, 0.96, 0.97, 1.0], 1), ([0.96, 0.9, 1.0], None), ([0.96, 0.99, 1.0], 0), ([0.0, None, -1.0], None)],
)
def test_a_length_suffices_if_it_and_all_longer_ones_reach_95_percent(values, first):
    assert sufficient(values) == first


def test_a_sentence_on_the_length_is_true_where_scores_do_not_rise():
    def sentence(*scores):
        points = [LengthPoint(minutes=minutes, score=score) for minutes, score in zip((1, 2, 5), scores, strict=True)]
        reached = sufficient(list(scores))
        return _length_sentence(points, None if reached is None else points[reached].minutes)

    assert sentence(0.1, 0.2, 0.3).startswith("No shorter reference window reaches 95 % of the score of all 5.0 min")
    assert sentence(0.1, 0.3, 0.3).startswith("The last 2 min of the reference window suffice")
    assert sentence(0.31, 0.2, 0.3) == (
        "The score does not rise with the length: it lies between 0.200 and 0.310 from 1 to 5.0 min, so no sufficient "
        "length can be named."
    )


def test_a_sentence_on_the_number_of_units_is_true_where_scores_do_not_rise():
    def sentence(*scores):
        points = [
            SubsetPoint(units=units, draws=3, score=score, score_with_all=0.3)
            for units, score in zip((5, 10, 20), scores, strict=True)
        ]
        reached = sufficient([score / 0.3 for score in scores])
        return _units_sentence(points, None if reached is None else points[reached].units)

    assert sentence(0.1, 0.2, 0.3).startswith("With fewer than all 20 units, the same units score below 95 %")
    assert sentence(0.1, 0.29, 0.3).startswith("10 random units suffice")
    assert sentence(0.3, 0.2, 0.3).startswith("The score does not rise with the number of recorded units")


def test_the_typical_window_has_the_median_score_of_busy_windows(forecast):
    place, score = choose_window(forecast, np.ones(6, bool))
    totals = [gained(forecast, [row]) for row in range(len(forecast.counts))]
    spikes = np.array([one[1].sum() for one in totals])
    scores = np.array([one[0].sum() / max(one[1].sum(), 1) for one in totals])
    busy = scores[spikes >= np.median(spikes[spikes > 0])]
    assert score == pytest.approx(scores[place], rel=1e-4)
    assert abs(score - np.median(busy)) == pytest.approx(np.abs(busy - np.median(busy)).min(), abs=1e-5)


def test_a_noise_unit_that_carries_the_score_is_named(network, random):
    times_us, unit = poisson([2.0, 4.0, 6.0, 8.0], seed=6)
    # its rate rises after the reference window
    noise_s = np.concatenate([np.arange(0, 60, 0.04), np.arange(60, 330, 0.01)])
    noise_us = np.rint(noise_s * 1e6).astype(np.int64)
    order = np.argsort(np.concatenate([times_us, noise_us]), kind="stable")
    times_us = np.concatenate([times_us, noise_us])[order]
    unit = np.concatenate([unit, np.full(noise_us.size, 4)])[order]
    found = answer_for(record(network, times_us, unit, [*"abcd", "noise"]), every_s=EVERY_S)
    assert found.carrier == found.busiest == "noise"
    assert found.score.value > 0.05 > abs(found.without_busiest)
    assert found.verdict == "barely" and "noise" in found.sentence
    assert any("noise" in one and "exclude" in one for one in found.advice)


def test_no_unit_of_equals_carries_the_score():
    units = [
        UnitScore(
            unit=name,
            region="",
            rate_hz=1.0,
            spikes=10,
            spike_share=0.25,
            score={"value": 0.2},
            without=0.2,
        )
        for name in "abcd"
    ]
    assert carrier_of(units, 0.2) is None
