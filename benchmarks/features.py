"""Reference features compared with a loop over units in plain numpy that gives equal numbers."""

from collections.abc import Sequence

import numpy as np

from benchmarks.side_by_side import Pair, compare
from neurohorizon.config import Features
from neurohorizon.timeline import Intervals
from neurohorizon.units.reference import FANO_WINDOW_BINS, ISI_EDGES_US, reference_features
from neurohorizon.units.relational import RIDGE_PAIRS, SOFT_RATE_HZ, WINDOW_BINS

MARGINAL = ("rate", "isi", "autocorrelation", "fano")


def features_by_loop(
    times_us: np.ndarray, unit_index: np.ndarray, n_units: int, interval: Intervals, *, bin_us: int, features: Features
) -> np.ndarray:
    """Compute the features directly from their definitions, for one interval of valid time and units that fire.

    Arguments as of ``inputs.reference.reference_features``.

    Returns:
        Float64, [unit, feature].
    """
    start_us, stop_us = int(interval.start_us[0]), int(interval.stop_us[0])
    edges = np.arange(start_us, stop_us + 1, bin_us)
    trains = []
    for unit in range(n_units):
        own = times_us[unit_index == unit]
        trains.append(own[(own >= start_us) & (own < stop_us)])
    binned = [np.diff(np.searchsorted(own, edges)).astype(float) for own in trains]
    rows = [_marginals(own, counts, bin_us) for own, counts in zip(trains, binned, strict=True)]
    if "relational" not in features.groups:
        return np.array(rows)
    population = _Population(
        np.stack(binned, axis=1), features.coupling_lags_bins, features.population_modes, bin_us=bin_us
    )
    return np.array([[*row, *population.features(unit)] for unit, row in enumerate(rows)])


def _marginals(own_us: np.ndarray, counts: np.ndarray, bin_us: int) -> list[float]:
    isi = np.diff(own_us)
    cv = isi.std() / isi.mean()
    histogram = np.histogram(np.clip(isi, ISI_EDGES_US[0], ISI_EDGES_US[-1]), bins=ISI_EDGES_US)[0]
    around, variance = counts - counts.mean(), counts.var()
    autocorrelation = [(around[:-lag] * around[lag:]).mean() / variance for lag in range(1, 11)]
    windows = counts[: counts.size // FANO_WINDOW_BINS * FANO_WINDOW_BINS].reshape(-1, FANO_WINDOW_BINS).sum(axis=1)
    return [
        np.log(counts.mean() / bin_us * 1e6),
        0.5 * np.log((isi.size * cv**2 + 1) / (isi.size + 1)),
        *np.sqrt((histogram + 1 / histogram.size) / (isi.size + 1)),
        *np.arctanh(np.clip(autocorrelation, -0.99, 0.99)),
        np.clip(np.log(windows.var(ddof=1) / windows.mean()), -3, 3),
    ]


class _Population:
    """Return past and future windows of all units; coupling is then computed one unit at a time."""

    def __init__(self, counts: np.ndarray, lags: Sequence[int], modes: int, *, bin_us: int) -> None:
        w, n_units = WINDOW_BINS, counts.shape[1]
        past = counts[: len(counts) // w * w].reshape(-1, w, n_units).sum(axis=1)
        mean, variance = past.mean(axis=0), past.var(axis=0)
        self.lags, self.scale = lags, np.sqrt(variance + SOFT_RATE_HZ * w * bin_us / 1e6)
        z = (past - mean) / self.scale
        eigenvalues, vectors = np.linalg.eigh(z.T @ z / len(z))
        eigenvalues, self.loadings = eigenvalues[: -modes - 1 : -1], vectors[:, : -modes - 1 : -1]
        held = np.cumsum(eigenvalues * self.loadings**2, axis=1) / z.var(axis=0)[:, None]
        self.share = held[:, sorted({*(k - 1 for k in (1, 2, 4) if k < modes), modes - 1})]
        self.pairs = {}
        summed = np.vstack([np.zeros(n_units), np.cumsum(counts, axis=0)])
        for lag in (0, *lags):
            first = np.arange(len(past)) * w + (w + lag - 1 if lag else 0)
            first = first[first + w <= len(counts)]
            y, before = summed[first + w] - summed[first], z[: len(first)]
            self.pairs[lag] = before, y, before.sum(axis=1), (y / self.scale).sum(axis=1), before @ self.loadings

    def features(self, unit: int) -> list[float]:
        leads, follows, r2 = [], [], []
        for lag, (all_z, all_y, total, later_total, all_modes) in self.pairs.items():
            z, y = all_z[:, unit], all_y[:, unit]
            leads.append(np.corrcoef(total - z, y)[0, 1])
            if lag:
                follows.append(np.corrcoef(later_total - y / self.scale[unit], z)[0, 1])
            x = all_modes - np.outer(z, self.loadings[unit])
            half = len(y) // 2
            errors = squares = 0.0
            for fitted, held in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
                centre, level = x[fitted].mean(axis=0), y[fitted].mean()
                inside = x[fitted] - centre
                gram = inside.T @ inside + RIDGE_PAIRS * inside.var(axis=0).mean() * np.eye(inside.shape[1])
                weights = np.linalg.solve(gram, inside.T @ (y[fitted] - level))
                errors += ((y[held] - level - (x[held] - centre) @ weights) ** 2).sum()
                squares += ((y[held] - level) ** 2).sum()
            r2.append(1 - errors / squares)
        return [*np.arctanh([*leads, *follows]), *self.share[unit], *np.arcsinh(10 * np.array(r2))]


def compare_features(
    times_us: np.ndarray,
    unit_index: np.ndarray,
    n_units: int,
    interval: Intervals,
    *,
    bin_us: int,
    features: Features,
    repeats: int,
) -> list[Pair]:
    """Compare all feature groups, and groups of single units without others; assert that the numbers are equal."""
    spikes = int(interval.contains(times_us).sum())
    pairs = []
    chosen = {"all groups": features, "marginal groups": features.model_copy(update={"groups": MARGINAL})}
    for words, groups in chosen.items():
        arguments = (times_us, unit_index, n_units, interval)

        def ours(groups: Features = groups, arguments: tuple = arguments) -> np.ndarray:
            return reference_features(*arguments, bin_us=bin_us, features=groups).values

        def loop(groups: Features = groups, arguments: tuple = arguments) -> np.ndarray:
            return features_by_loop(*arguments, bin_us=bin_us, features=groups)

        np.testing.assert_allclose(ours(), loop(), rtol=0, atol=2e-5)
        pairs.append(
            compare(
                f"reference features, {words}",
                ours=("reference_features", ours),
                other=("loop over units in numpy", loop),
                amount=spikes,
                unit="spikes/s",
                aim=10,
                repeats=repeats,
            )
        )
    return pairs
