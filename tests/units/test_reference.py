"""Reference features: equal to plain definitions, defined for every unit, from the reference window alone."""

import h5py
import numpy as np
import pytest
from scipy.stats import pearsonr, variation
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from neurohorizon.config import Features, Splits, Timeline
from neurohorizon.session import Session, SessionError, left_out_session, read_session, write_session
from neurohorizon.timeline import Intervals, split_domain
from neurohorizon.units import reference as reference_module
from neurohorizon.units import relational as relational_module
from neurohorizon.units.counts import lagged_products, reference_counts, sort_spikes, sparse_counts
from neurohorizon.units.reference import (
    FANO_WINDOW_BINS,
    ISI_EDGES_US,
    MARGINAL_FEATURES,
    WINDOW_NAMES,
    autocorrelation_features,
    compute_reference_file,
    fano_features,
    feature_names,
    isi_features,
    read_reference,
    reference_features,
    reference_windows,
)
from neurohorizon.units.relational import RIDGE_PAIRS, SOFT_RATE_HZ, WINDOW_BINS, relational_features, relational_names

BIN_US = 20_000
LAGS = (1, 2, 5, 10, 25)
FEATURES = Features(
    groups=("rate", "isi", "autocorrelation", "fano", "relational"),
    population_modes=6,
    coupling_lags_bins=LAGS,
)
TIMELINE = Timeline(bin_ms=20, context_bins=10, horizon_bins=10, evaluation_stride_bins=5)
SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=2.0)


def seconds(*pairs):
    edges = np.rint(np.array(pairs) * 1_000_000).astype(np.int64)
    return Intervals(edges[:, 0], edges[:, 1])


GAPPY = seconds((0.5, 30.51), (33, 33.4), (33.4, 33.8), (40.001, 95.0))


def made_spikes(rng, n_units, *, stop_s=100.0):
    """Bursty spikes that share a drive; unit 0 is silent, unit 1 fires once and unit 2 twice in ``GAPPY``."""
    grid_s = 0.01
    drive = np.convolve(rng.normal(size=int(stop_s / grid_s)), np.ones(20) / np.sqrt(20), mode="same")
    times, units = (
        [np.array([50_000_000]), np.array([12_000_000, 80_000_000])],
        [np.array([1]), np.array([2, 2])],
    )
    for unit in range(3, n_units):
        log_rate = np.log(0.5 + unit) + (unit % 5 - 1) * 0.4 * np.roll(drive, 2 * unit)
        number = rng.poisson(np.exp(log_rate) * grid_s)
        start = np.repeat(np.arange(drive.size), number) * int(grid_s * 1e6)
        times.append(start + rng.integers(0, int(grid_s * 1e6), start.size))
        units.append(np.full(start.size, unit))
    times, units = np.concatenate(times), np.concatenate(units)
    order = np.argsort(times, kind="stable")
    return times[order], units[order]


@pytest.fixture(scope="module")
def spikes():
    return made_spikes(np.random.default_rng(3), 24)


def features_of(times_us, unit, n_units, intervals=GAPPY, **changes):
    return reference_features(
        times_us, unit, n_units, intervals, bin_us=BIN_US, features=FEATURES.model_copy(update=changes)
    )


def counts_of(times_us, unit, n_units, intervals):
    return sparse_counts(sort_spikes(times_us, unit, n_units=n_units, intervals=intervals), bin_us=BIN_US)


def column(window, name):
    return window.values[:, window.names.index(name)]


# the plain definitions, unit by unit


def plain_marginals(times_us, unit_index, unit, intervals):
    own = times_us[unit_index == unit]
    isi, binned = [], []
    for start, stop in intervals:
        inside = own[(own >= start) & (own < stop)]
        isi.append(np.diff(inside))
        bins = (stop - start) // BIN_US
        edges = start + BIN_US * np.arange(bins + 1)
        binned.append(np.diff(np.searchsorted(inside, edges)))
    return plain_isi(np.concatenate(isi)), plain_autocorrelation(binned), plain_fano(binned)


def plain_isi(isi_us):
    n = isi_us.size
    cv = variation(isi_us) if n else 1.0
    histogram = np.histogram(np.clip(isi_us, ISI_EDGES_US[0], ISI_EDGES_US[-1]), bins=ISI_EDGES_US)[0]
    return np.array([0.5 * np.log((n * cv**2 + 1) / (n + 1)), *np.sqrt((histogram + 0.05) / (n + 1))])


def plain_autocorrelation(binned):
    together = np.concatenate(binned)
    mean, variance = together.mean(), together.var()
    values = []
    for lag in range(1, 11):
        products = np.concatenate([(x[:-lag] - mean) * (x[lag:] - mean) for x in binned if x.size > lag])
        values.append(products.mean() / variance if variance > 0 and products.size else 0.0)
    return np.arctanh(np.clip(values, -0.99, 0.99))


def plain_fano(binned):
    w = FANO_WINDOW_BINS
    windows = np.concatenate([x[: x.size // w * w].reshape(-1, w).sum(axis=1) for x in binned])
    fano = windows.var(ddof=1) / windows.mean() if windows.any() else 1.0
    return np.log(np.clip(fano, np.exp(-3), np.exp(3)))


def test_marginal_features_are_their_plain_definitions(spikes):
    times_us, unit = spikes
    spikes_by_unit = sort_spikes(times_us, unit, n_units=24, intervals=GAPPY)
    counts = sparse_counts(spikes_by_unit, bin_us=BIN_US)
    isi = isi_features(spikes_by_unit)
    autocorrelation, fano = autocorrelation_features(counts), fano_features(counts)
    for index in range(24):
        expected = plain_marginals(times_us, unit, index, GAPPY)
        np.testing.assert_allclose(isi[index], expected[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(autocorrelation[index], expected[1], rtol=0, atol=1e-9)
        np.testing.assert_allclose(fano[index, 0], expected[2], rtol=0, atol=1e-9)


def test_the_four_marginal_groups_have_33_features():
    assert sum(len(names) for names in MARGINAL_FEATURES.values()) == 33


# the relational block


class PlainPopulation:
    """Windows of all units, then one unit at a time; ``binned``: counts of each interval, [bin, unit]."""

    def __init__(self, binned, lags, modes):
        w, n_units = WINDOW_BINS, binned[0].shape[1]
        past = [x[: len(x) // w * w].reshape(-1, w, n_units).sum(axis=1) for x in binned]
        every = np.concatenate(past)
        mean, scale = every.mean(axis=0), np.sqrt(every.var(axis=0) + SOFT_RATE_HZ * w * BIN_US / 1e6)
        pca = PCA(modes, svd_solver="covariance_eigh").fit((every - mean) / scale)
        self.lags, self.scale, self.loadings = lags, scale, pca.components_.T
        variance = ((every - mean) / scale).var(axis=0)
        eigenvalues = pca.explained_variance_ * (len(every) - 1) / len(every)
        held = np.cumsum(eigenvalues * self.loadings**2, axis=1) / np.where(variance > 0, variance, 1)[:, None]
        self.share = held[:, [0, 1, 3, modes - 1]]
        self.pairs = {}
        for lag in (0, *lags):
            before, after = [], []
            for counts, windows in zip(binned, past, strict=True):
                for k, window in enumerate(windows):
                    first = (k + 1) * w + lag - 1 if lag else k * w
                    if first + w <= len(counts):
                        before.append(window)
                        after.append(counts[first : first + w].sum(axis=0))
            z, y = (np.array(before) - mean) / scale, np.array(after)
            self.pairs[lag] = z, y, z.sum(axis=1), (y / scale).sum(axis=1), z @ self.loadings

    def features(self, unit):
        leads, follows, r2 = {}, {}, {}
        for lag, (all_z, all_y, total, later_total, all_modes) in self.pairs.items():
            z, y, own_modes = all_z[:, unit], all_y[:, unit], np.outer(all_z[:, unit], self.loadings[unit])
            leads[lag] = pearsonr(total - z, y)[0] if y.any() else 0
            follows[lag] = pearsonr(later_total - y / self.scale[unit], z)[0] if z.std() > 1e-9 else 0
            x, half = all_modes - own_modes, len(y) // 2
            errors = squares = 0.0
            for fitted, held in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
                penalty = RIDGE_PAIRS * x[fitted].var(axis=0).mean()
                model = Ridge(penalty).fit(x[fitted], y[fitted])
                errors += ((y[held] - model.predict(x[held])) ** 2).sum()
                squares += ((y[held] - y[fitted].mean()) ** 2).sum()
            r2[lag] = 1 - errors / squares if squares else 0
        correlations = [*leads.values(), *(follows[lag] for lag in self.lags)]
        return np.array([*np.arctanh(correlations), *self.share[unit], *np.arcsinh(10 * np.array([*r2.values()]))])


@pytest.mark.parametrize("intervals", [GAPPY, seconds(*((t, t + 0.4) for t in np.arange(1, 41) * 0.5))])
def test_relational_features_are_their_plain_definitions(spikes, intervals):
    times_us, unit = spikes
    lags = (1, 2, 5, 10)
    counts = counts_of(times_us, unit, 24, intervals)
    dense, segment = reference_counts(times_us, unit, n_units=24, intervals=intervals, bin_us=BIN_US)
    found = relational_features(counts, bin_us=BIN_US, lags_bins=lags, population_modes=6)
    plain = PlainPopulation([dense[segment == s].astype(float) for s in np.unique(segment)], lags, 6)
    expected = np.array([plain.features(index) for index in range(24)])
    assert found.shape == (24, len(relational_names(lags_bins=lags, population_modes=6)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_features_of_a_thousand_units_are_those_of_a_loop_over_units():
    rng = np.random.default_rng(0)
    n_units, intervals = 1000, seconds((0, 600))
    number = rng.poisson(rng.exponential(3, n_units) * 600)
    unit = np.repeat(np.arange(n_units), number)
    times_us = rng.integers(0, 600_000_000, unit.size)
    order = np.argsort(times_us, kind="stable")
    times_us, unit = times_us[order], unit[order]

    window = features_of(times_us, unit, n_units, intervals)
    dense, _ = reference_counts(times_us, unit, n_units=n_units, intervals=intervals, bin_us=BIN_US)
    plain = PlainPopulation([dense.astype(float)], LAGS, 6)
    some = range(0, n_units, 100)
    expected = []
    for index in some:
        isi, autocorrelation, fano = plain_marginals(times_us, unit, index, intervals)
        rate = np.log((unit == index).sum() / 600)
        expected.append(np.array([rate, *isi, *autocorrelation, fano, *plain.features(index)]))
    np.testing.assert_allclose(window.values[some], expected, rtol=0, atol=1e-5)


def test_blocks_of_units_and_windows_change_nothing(spikes, monkeypatch):
    counts = counts_of(*spikes, 24, GAPPY)
    whole = relational_features(counts, bin_us=BIN_US, lags_bins=LAGS, population_modes=6)
    monkeypatch.setattr(relational_module, "_UNITS_PER_BLOCK", 7)
    monkeypatch.setattr(relational_module, "_WINDOWS_PER_BLOCK", 100)
    blocks = relational_features(counts, bin_us=BIN_US, lags_bins=LAGS, population_modes=6)
    np.testing.assert_allclose(blocks, whole, rtol=0, atol=1e-9)


def test_blocks_of_units_change_no_marginal_feature(spikes):
    whole = sort_spikes(*spikes, n_units=24, intervals=GAPPY)
    counts = sparse_counts(whole, bin_us=BIN_US)
    blocks = whole.unit_blocks(whole.unit.size // 5)
    assert len(blocks) > 3 and [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
    for of, features in (
        (whole, isi_features),
        (counts, autocorrelation_features),
        (counts, fano_features),
    ):
        together = np.concatenate([features(of.of_units(units)) for units in blocks])
        np.testing.assert_array_equal(together, features(of))


def test_the_bin_of_an_interval_is_searched_among_the_edges():
    isi_us = np.concatenate([[0, 1, 10**12], *(ISI_EDGES_US + step for step in (-1, 0, 1)), np.arange(1000, 30_000)])
    expected = np.searchsorted(ISI_EDGES_US[1:-1], isi_us, side="right")
    np.testing.assert_array_equal(reference_module._isi_bin(isi_us), expected)


def test_fewer_windows_than_units_give_the_same_modes(spikes, monkeypatch):
    times_us, unit = spikes
    intervals = seconds((0, 90))
    counts = counts_of(times_us, unit, 24, intervals)
    # as many silent units as make the units outnumber the windows
    many = counts_of(times_us, unit, 1000, intervals)
    few = relational_features(counts, bin_us=BIN_US, lags_bins=LAGS, population_modes=6)
    padded = relational_features(many, bin_us=BIN_US, lags_bins=LAGS, population_modes=6)
    np.testing.assert_allclose(padded[:24], few, rtol=0, atol=1e-9)
    assert not padded[24:].any()


def test_the_sign_of_a_mode_changes_nothing(spikes, monkeypatch):
    counts = counts_of(*spikes, 24, GAPPY)
    before = relational_features(counts, bin_us=BIN_US, lags_bins=LAGS, population_modes=6)
    components = relational_module._principal_components

    def flipped(*arguments):
        eigenvalues, vectors = components(*arguments)
        return eigenvalues, vectors * np.where(np.arange(eigenvalues.size) % 2, -1, 1)

    monkeypatch.setattr(relational_module, "_principal_components", flipped)
    after = relational_features(counts, bin_us=BIN_US, lags_bins=LAGS, population_modes=6)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-12)


def test_a_unit_that_follows_the_population_is_told_from_one_that_leads_it():
    rng = np.random.default_rng(1)
    bins, delay = 30_000, 10
    drive = 2.0 * (rng.random(bins // 10) < 0.2).repeat(10)
    rates = np.stack([0.05 + 0.1 * drive] * 10, axis=1)
    rates[:, 0] = np.roll(rates[:, 0], delay)
    rates[:, 1] = np.roll(rates[:, 1], -delay)
    fired, unit = np.nonzero(rng.random(rates.shape) < rates)
    window = features_of(fired * BIN_US + 1000, unit, 10, seconds((0, bins * 0.02)))
    population_leads, unit_leads = (
        column(window, "population_leads_lag_5"),
        column(window, "unit_leads_lag_5"),
    )
    assert population_leads[0] > unit_leads[0] + 0.1
    assert unit_leads[1] > population_leads[1] + 0.1


# gaps, order, and what lies outside


def test_spikes_outside_the_reference_window_change_no_bit(spikes):
    times_us, unit = spikes
    before = features_of(times_us, unit, 24)
    inside = GAPPY.contains(times_us)
    rng = np.random.default_rng(5)
    outside = rng.integers(-10_000_000, 200_000_000, 5000)
    outside = np.concatenate([outside, *[GAPPY.start_us - 1, GAPPY.stop_us] * 10])
    outside = outside[~GAPPY.contains(outside)]
    times = np.concatenate([times_us[inside], outside])
    units = np.concatenate([unit[inside], rng.integers(0, 24, outside.size)])
    order = np.argsort(times, kind="stable")
    after = features_of(times[order], units[order], 24)
    np.testing.assert_array_equal(after.values, before.values)
    np.testing.assert_array_equal(after.reference_log_rate, before.reference_log_rate)


def test_the_length_of_a_gap_changes_no_bit(spikes):
    times_us, unit = spikes
    inside = GAPPY.contains(times_us)
    times_us, unit, interval = times_us[inside], unit[inside], GAPPY.index_of(times_us[inside])
    shift = np.array([0, 1_234_567, 7_000_000, 90_000_003])
    moved = Intervals(GAPPY.start_us + shift, GAPPY.stop_us + shift)
    before, after = features_of(times_us, unit, 24), features_of(times_us + shift[interval], unit, 24, moved)
    np.testing.assert_array_equal(after.values, before.values)
    np.testing.assert_array_equal(after.reference_log_rate, before.reference_log_rate)


def test_a_gap_is_not_silence():
    # a spike every 100 ms, with 20 s of unknown time inside
    times_us = np.arange(0, 60_000_000, 100_000) + 1000
    intervals = seconds((0, 20), (40, 60))
    times_us = times_us[intervals.contains(times_us)]
    unit = np.zeros(times_us.size, np.int64)
    masked, silent = (
        features_of(times_us, unit, 1, intervals),
        features_of(times_us, unit, 1, seconds((0, 60))),
    )
    np.testing.assert_allclose(masked.reference_log_rate, np.log(0.2), rtol=1e-12)
    assert column(masked, "log_isi_cv") == np.float32(0.5 * np.log(1 / 399))
    assert column(silent, "log_isi_cv") > column(masked, "log_isi_cv") + 1
    assert column(masked, "log_fano") == -3
    assert column(silent, "log_fano") > -1


def test_unit_order_changes_nothing(spikes):
    times_us, unit = spikes
    order = np.random.default_rng(2).permutation(24)
    before, after = features_of(times_us, unit, 24), features_of(times_us, np.argsort(order)[unit], 24)
    alone = np.array(before.groups) != "relational"
    np.testing.assert_array_equal(after.values[:, alone], before.values[order][:, alone])
    np.testing.assert_allclose(after.values, before.values[order], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(after.reference_log_rate, before.reference_log_rate[order])


def test_spikes_of_one_time_may_come_in_any_order(spikes):
    times_us, unit = spikes
    times_us = times_us // 10_000 * 10_000
    again = np.lexsort((-unit, times_us))
    before, after = features_of(times_us, unit, 24), features_of(times_us[again], unit[again], 24)
    np.testing.assert_array_equal(after.values, before.values)


# units about which little is known


def test_silent_and_one_spike_units_have_the_documented_values(spikes):
    window = features_of(*spikes, 24)
    assert np.isfinite(window.values).all()
    assert np.isfinite(window.reference_log_rate).all()
    n_bins = round(window.valid_s / 0.02)
    assert n_bins == 1500 + 20 + 20 + 2749
    np.testing.assert_allclose(window.reference_log_rate[:3], np.log(np.array([0.5, 1, 2]) / n_bins), rtol=1e-12)
    np.testing.assert_allclose(column(window, "log_rate_hz")[:3], np.log(np.array([0.5, 1, 2]) / n_bins / 0.02))
    for unit in (0, 1, 2):  # the two spikes of unit 2 lie in different intervals
        assert column(window, "log_isi_cv")[unit] == 0
        isi = [column(window, name)[unit] for name in MARGINAL_FEATURES["isi"][1:]]
        np.testing.assert_allclose(isi, np.sqrt(0.05), rtol=1e-6)
    autocorrelation = [column(window, name) for name in MARGINAL_FEATURES["autocorrelation"]]
    assert not np.array(autocorrelation)[:, 0].any()
    assert np.abs(np.array(autocorrelation)[:, 1]).max() < 1e-3
    np.testing.assert_allclose(column(window, "log_fano")[:2], 0, atol=1e-7)
    assert not window.values[0, np.array(window.groups) == "relational"].any()


def test_a_unit_alone_has_no_coupling():
    times_us = np.sort(np.random.default_rng(0).integers(0, 60_000_000, 600))
    window = features_of(times_us, np.zeros(600, np.int64), 1, seconds((0, 60)))
    named = {name: column(window, name)[0] for name in window.names if "lag" in name or "share" in name}
    assert named.pop("mode_share_1") == pytest.approx(1)
    for modes in (2, 4, 6):
        assert named.pop(f"mode_share_{modes}") == pytest.approx(1)
    assert set(named.values()) == {0}


@pytest.mark.parametrize("n_units", [0, 3])
def test_a_session_without_spikes_has_finite_features(n_units):
    window = features_of(np.zeros(0, np.int64), np.zeros(0, np.int64), n_units, seconds((0, 20)))
    assert window.values.shape == (n_units, len(window.names))
    assert np.isfinite(window.values).all()
    np.testing.assert_array_equal(window.reference_log_rate, np.full(n_units, np.log(0.5 / 1000)))


def test_unchanging_counts_have_no_autocorrelation():
    times_us = np.arange(0, 60_000_000, BIN_US)
    window = features_of(times_us, np.zeros(times_us.size, np.int64), 1, seconds((0, 60)))
    assert np.isfinite(window.values).all()
    assert not any(column(window, name)[0] for name in MARGINAL_FEATURES["autocorrelation"])
    np.testing.assert_array_equal(window.reference_log_rate, [0.0])


def test_lags_longer_than_every_trial_give_zero(spikes):
    trials = seconds(*((t, t + 0.4) for t in np.arange(1, 81) * 0.7))
    window = features_of(*spikes, 24, trials)
    assert np.isfinite(window.values).all()
    for name in ("population_leads_lag_25", "unit_leads_lag_25", "mode_r2_lag_25"):
        assert not column(window, name).any()
    assert np.abs(column(window, "population_leads_lag_10")).max() > 0.05


def test_intervals_shorter_than_the_counting_windows_are_used(spikes):
    trials = seconds(*((t, t + 0.06) for t in np.arange(1, 300) * 0.2))
    window = features_of(*spikes, 24, trials)
    assert np.isfinite(window.values).all()
    assert column(window, "log_fano").any()
    assert column(window, "population_leads_lag_0").any()
    assert not column(window, "autocorrelation_3").any()
    assert column(window, "autocorrelation_2").any()


# counting


def test_sparse_counts_are_the_dense_ones_and_lagged_products_their_sums(spikes):
    times_us, unit = spikes
    edges = GAPPY.start_us[3] + BIN_US * np.arange(20)
    times_us, unit = np.concatenate([times_us, edges, edges - 1]), np.concatenate([unit, np.full(40, 5)])
    order = np.argsort(times_us, kind="stable")
    times_us, unit = times_us[order], unit[order]
    sparse = counts_of(times_us, unit, 24, GAPPY)
    dense, segment = reference_counts(times_us, unit, n_units=24, intervals=GAPPY, bin_us=BIN_US)
    scattered = np.zeros_like(dense)
    scattered[sparse.bin, sparse.unit] = sparse.count
    np.testing.assert_array_equal(scattered, dense)
    np.testing.assert_array_equal(sparse.segment, segment)
    products = lagged_products(sparse, 30)
    wide = dense.astype(float)
    for lag in range(31):
        same = segment[lag:] == segment[: len(segment) - lag]
        expected = (wide[lag:] * wide[: len(wide) - lag] * same[:, None]).sum(axis=0)
        np.testing.assert_array_equal(products[:, lag], expected)


def test_the_reference_rate_is_the_plain_mean_of_whole_bins(spikes):
    dense, _ = reference_counts(*spikes, n_units=24, intervals=GAPPY, bin_us=BIN_US)
    window = features_of(*spikes, 24)
    np.testing.assert_allclose(np.exp(window.reference_log_rate[1:]), dense.mean(axis=0)[1:], rtol=1e-12)
    assert window.reference_log_rate.dtype == np.float64
    assert window.values.dtype == np.float32


def test_groups_can_be_left_out(spikes):
    every = features_of(*spikes, 24)
    chosen = features_of(*spikes, 24, groups=("fano", "rate"))
    assert chosen.names == ("log_fano", "log_rate_hz")
    assert chosen.groups == ("fano", "rate")
    np.testing.assert_array_equal(chosen.values[:, 1], column(every, "log_rate_hz"))
    none = features_of(*spikes, 24, groups=())
    assert none.values.shape == (24, 0)
    np.testing.assert_array_equal(none.reference_log_rate, every.reference_log_rate)


# at the door


def test_too_short_a_window_is_an_error_for_people(spikes):
    trials = seconds(*((t, t + 0.4) for t in np.arange(1, 20)))
    with pytest.raises(SessionError, match=r"7\.6 s in whole bins of 20 ms \(19 intervals.*need 10 s"):
        features_of(*spikes, 24, trials)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, u: (t[::-1], u[::-1]), "sorted"),
        (lambda t, u: (t / 1e6, u), "integers"),
        (lambda t, u: (t, u + 1), "there are 24"),
        (lambda t, u: (t[1:], u), "equal lists"),
    ],
)
def test_spikes_that_cannot_be_right_are_refused(spikes, change, message):
    with pytest.raises(ValueError, match=message):
        features_of(*change(*spikes), 24)


# files


def made_session(times_us, unit, n_units=24):
    domain = seconds((0, 40), (41, 97))
    inside = domain.contains(times_us)
    return Session(
        session_id="made",
        source="nwb",
        subject="animal",
        lab="lab",
        date="2020-02-01",
        spike_times_us=times_us[inside],
        spike_unit=unit[inside],
        units={"id": np.array([f"u{index}" for index in range(n_units)]), "region": np.array([""] * n_units)},
        domain=domain,
        splits=split_domain(domain, SPLITS),
    )


def write_features(tmp_path, session, name="features.h5"):
    write_session(tmp_path / "session.h5", session)
    compute_reference_file(
        tmp_path / "session.h5", tmp_path / name, features=FEATURES, timeline=TIMELINE, splits=SPLITS
    )
    return tmp_path / name


def test_a_feature_file_gives_back_what_was_computed(spikes, tmp_path):
    session = made_session(*spikes)
    path = write_features(tmp_path, session)
    windows = reference_windows(read_session(tmp_path / "session.h5"), gap_us=2_000_000)
    assert tuple(windows) == WINDOW_NAMES
    for name, intervals in windows.items():
        found = read_reference(path, name)
        expected = features_of(session.spike_times_us, session.spike_unit, 24, intervals)
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.reference_log_rate, expected.reference_log_rate)
        assert (found.names, found.groups, found.valid_s) == (
            expected.names,
            expected.groups,
            expected.valid_s,
        )
        assert found.intervals == intervals
    assert sorted(path.parent.iterdir()) == [path, tmp_path / "session.h5"]


def test_datasets_carry_their_axes_and_units(spikes, tmp_path):
    path = write_features(tmp_path, made_session(*spikes))
    with h5py.File(path) as file:
        assert file["windows/early/values"].attrs["axes"] == "unit, feature"
        assert file["windows/early/reference_log_rate"].attrs["unit"] == "log(spikes/bin)"
        assert file["unit_id"].asstr()[:3].tolist() == ["u0", "u1", "u2"]
        assert file.attrs["bin_us"] == BIN_US
        assert file.attrs["left_out"] == ""


def test_the_halves_of_training_time_do_not_meet_and_test_time_is_in_no_window(spikes):
    session = made_session(*spikes)
    windows = reference_windows(session, gap_us=2_000_000)
    assert windows["late"].start_us[0] - windows["early"].stop_us[-1] >= 2_000_000
    assert windows["early"].duration_us > 30_000_000
    assert windows["late"].duration_us > 30_000_000
    assert not len(windows["test"].intersect(session.splits.test))
    assert not len(windows["validation"].intersect(session.splits.validation))


def test_features_for_test_time_never_read_it(spikes, tmp_path):
    times_us, unit = spikes
    session = made_session(times_us, unit)
    before = read_reference(write_features(tmp_path, session), "test")
    kept = times_us < session.splits.test.start_us[0]
    after = read_reference(write_features(tmp_path, made_session(times_us[kept], unit[kept])), "test")
    np.testing.assert_array_equal(after.values, before.values)
    np.testing.assert_array_equal(after.reference_log_rate, before.reference_log_rate)


def test_a_session_left_out_gives_an_empty_file_that_says_why(tmp_path):
    session = left_out_session(
        session_id="gone",
        source="nwb",
        subject="a",
        lab="l",
        date="2020-02-01",
        reason="the clock runs backwards",
    )
    path = write_features(tmp_path, session)
    with h5py.File(path) as file:
        assert file.attrs["left_out"] == "the clock runs backwards"
    names = [name for group in feature_names(FEATURES).values() for name in group]
    for name in WINDOW_NAMES:
        window = read_reference(path, name)
        assert window.values.shape == (0, len(names))
        assert window.reference_log_rate.shape == (0,)
        assert list(window.names) == names


def test_an_interrupted_write_leaves_the_old_file(spikes, tmp_path, monkeypatch):
    path = write_features(tmp_path, made_session(*spikes))
    old = path.read_bytes()

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("neurohorizon.files.os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        compute_reference_file(tmp_path / "session.h5", path, features=FEATURES, timeline=TIMELINE, splits=SPLITS)
    assert path.read_bytes() == old
    assert not list(tmp_path.glob(".part*"))


def test_an_error_names_the_session_and_the_window(spikes, tmp_path, monkeypatch):
    monkeypatch.setattr(reference_module, "MINIMUM_VALID_S", 38.0)
    with pytest.raises(SessionError, match=r"session made, window 'late': .*need 38 s"):
        write_features(tmp_path, made_session(*spikes))


def test_a_window_or_a_file_that_is_not_there_is_named(spikes, tmp_path):
    path = write_features(tmp_path, made_session(*spikes))
    with pytest.raises(SessionError, match=r"no reference window 'tset'.*'test'"):
        read_reference(path, "tset")
    with pytest.raises(SessionError, match="no feature file"):
        read_reference(tmp_path / "other.h5", "test")


# real recordings


def real_spikes(path):
    """Spikes, and valid time: the trials where the file has them, else from the first spike to the last."""
    with h5py.File(path) as file:
        times_us = np.rint(file["units/spike_times"][:] * 1e6).astype(np.int64)
        unit = np.repeat(np.arange(len(file["units/id"])), np.diff(file["units/spike_times_index"][:], prepend=0))
        valid = seconds((times_us.min() / 1e6, times_us.max() / 1e6))
        if "intervals/trials" in file:
            trials = file["intervals/trials"]
            valid = seconds(*zip(trials["start_time"][:], trials["stop_time"][:], strict=True))
        n_units = len(file["units/id"])
    order = np.argsort(times_us, kind="stable")
    return times_us[order], unit[order], n_units, valid


@pytest.mark.parametrize("name", ["hc3_gor01_2006-6-12_15-55-31", "nelpy_linear-track", "steinmetz_03"])
def test_features_of_real_units_are_finite_bounded_and_tell_units_apart(recordings, name):
    times_us, unit, n_units, valid = real_spikes(recordings / f"{name}.nwb")
    reference = split_domain(valid, SPLITS).reference
    window = features_of(times_us, unit, n_units, reference)
    assert window.values.shape[0] == n_units
    assert np.isfinite(window.values).all()
    assert np.abs(window.values).max() < 10
    assert np.median(column(window, "mode_r2_lag_0")) > 0
    assert column(window, "mode_r2_lag_1").max() > 0.5
    expected = plain_marginals(times_us, unit, n_units - 1, reference)
    found = window.values[n_units - 1, np.array(window.groups) == "isi"]
    np.testing.assert_allclose(found, expected[0], rtol=0, atol=1e-6)
