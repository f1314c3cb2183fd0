"""What a unit does with others: coupling to the population and to its modes, in closed form.

Marginal statistics cannot tell two units of equal rate and regularity apart when one leads the population and
the other ignores it. All statistics here compare a *past window* of ``WINDOW_BINS`` bins with a *future
window* of equal length that starts ``lag - 1`` bins after it, so that lag 1 follows at once; lag 0 compares a
window with itself. Past windows tile each interval of valid time from its start, and both windows lie in one
interval.

With ``z`` the counts of past windows, less their mean and over ``sqrt(variance + Poisson variance at
SOFT_RATE_HZ)`` (soft normalisation, Churchland et al. 2012, which keeps units of few spikes from ruling the
population), and ``y`` the counts of future windows, a unit ``u`` has:

* ``population_leads_lag_l``: Fisher z of the correlation of ``y_u`` with ``sum_{v != u} z_v`` (at lag 0 the
  population coupling of Okun et al. 2015, without smoothing).
* ``unit_leads_lag_l``: Fisher z of the correlation of ``z_u`` with ``sum_{v != u} y_v / scale_v``.
* ``mode_share_j``: share of the variance of ``z_u`` that the first ``j`` principal components of ``z`` hold,
  ``sum_{i <= j} eigenvalue_i loading_ui^2 / variance(z_u)``.
* ``mode_r2_lag_l``: ``arcsinh(10 R2)`` of a ridge regression of ``y_u`` on the components' activity without
  the unit's own part, ``sum_{v != u} loading_vi z_v``. Each half of the pairs, in time, is predicted from the
  other: ``R2 = 1 - sum of squared errors / sum of squares about the other half's mean``, over both halves.

None depends on the signs of the components. Where nothing is known (a silent unit, intervals too short for a
lag, fewer than ``MINIMUM_PAIRS`` pairs) the value is 0, no coupling seen; so are the correlations and R2 of a
unit that has no others.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from neurohorizon.inputs.counts import SparseCounts
from neurohorizon.timeline import MICROSECONDS

WINDOW_BINS = 5
"""Length of a past or future window; at most half of the longest interval of valid time."""
SOFT_RATE_HZ = 0.5
"""Rate whose Poisson variance is added to each unit's variance before the population is summed."""
RIDGE_PAIRS = 200
"""Prior precision of a mode's weight, in pairs of windows at the modes' mean variance: with eight modes, the
best choice where they explain some 4 % of a unit's variance, and few trials do not turn into large
weights."""
MINIMUM_PAIRS = 16
"""Fewest pairs of windows from which a coupling is estimated."""
LARGEST_CORRELATION = 0.99

_UNITS_PER_BLOCK = 256
_WINDOWS_PER_BLOCK = 4096
_ROUNDING = 1e-9
"""Share of a sum of squares below which what is left after a subtraction is rounding."""


def relational_names(*, lags_bins: tuple[int, ...], population_modes: int) -> tuple[str, ...]:
    """Name the columns of :func:`relational_features`."""
    return (
        *(f"population_leads_lag_{lag}" for lag in (0, *lags_bins)),
        *(f"unit_leads_lag_{lag}" for lag in lags_bins),
        *(f"mode_share_{modes}" for modes in _shared_modes(population_modes)),
        *(f"mode_r2_lag_{lag}" for lag in (0, *lags_bins)),
    )


def relational_features(
    counts: SparseCounts, *, bin_us: int, lags_bins: tuple[int, ...], population_modes: int
) -> np.ndarray:
    """Compute the relational block; see the module's text for the formulas.

    Memory grows with windows times units in 2-byte integers; what is wider is made for a block of units at a
    time.

    Args:
        counts: Counts of the reference window.
        bin_us: Bin width.
        lags_bins: Lags from the last bin of the past window to the first bin of the future one, above 0.
        population_modes: Principal components of the population.

    Returns:
        Values, float64, [unit, feature]. Sums over units round in their order: another order of the units
        changes values by about 1e-12.
    """
    lags = (0, *lags_bins)
    population_leads, unit_leads, mode_r2 = np.zeros((3, len(lags), counts.n_units))
    shared_modes = _shared_modes(population_modes)
    mode_share = np.zeros((len(shared_modes), counts.n_units))
    past = _past_windows(counts)
    if past.n_windows >= MINIMUM_PAIRS and counts.unit.size:
        population = _fit_population(counts, past, window_us=bin_us * past.bins, population_modes=population_modes)
        held = population.mode_shares.cumsum(axis=0)
        mode_share = held[np.minimum(shared_modes, len(held)) - 1] if len(held) else mode_share
        for index, lag in enumerate(lags):
            future = past if lag == 0 else _future_windows(counts, past, lag)
            if future.n_windows >= MINIMUM_PAIRS:
                population_leads[index], unit_leads[index], mode_r2[index] = _couple(counts, future, population)
    return np.concatenate(
        [
            np.arctanh(np.clip(population_leads, -LARGEST_CORRELATION, LARGEST_CORRELATION)),
            np.arctanh(np.clip(unit_leads[1:], -LARGEST_CORRELATION, LARGEST_CORRELATION)),
            np.clip(mode_share, 0, 1),
            np.arcsinh(10 * np.clip(mode_r2, -1, 1)),
        ]
    ).T


def _shared_modes(population_modes: int) -> list[int]:
    powers = (2**power for power in range(population_modes.bit_length()))
    return sorted({*powers, population_modes})


@dataclass(frozen=True, eq=False)
class _Windows:
    """Windows of equal length that follow one another within each interval, numbered over all intervals.

    Attributes:
        bins: Length of a window.
        first_bin: Bins between an interval's start and its first window.
        per_segment: Windows in each interval, [interval].
        past: Number of the past window that each window is paired with, [window].
    """

    bins: int
    first_bin: int
    per_segment: np.ndarray
    past: np.ndarray

    @property
    def n_windows(self) -> int:
        return self.past.size

    def of_entries(self, counts: SparseCounts) -> np.ndarray:
        """Number of the window that each entry of the counts lies in, -1 for none, [entry]."""
        before = self.per_segment.cumsum() - self.per_segment
        place = (counts.position - self.first_bin) // self.bins
        inside = (place >= 0) & (place < self.per_segment[counts.segment])
        return np.where(inside, before[counts.segment] + place, -1)[counts.bin]


def _past_windows(counts: SparseCounts) -> _Windows:
    length = np.bincount(counts.segment, minlength=1)
    bins = max(min(WINDOW_BINS, int(length.max()) // 2), 1)
    per_segment = length // bins
    return _Windows(bins=bins, first_bin=0, per_segment=per_segment, past=np.arange(per_segment.sum()))


def _future_windows(counts: SparseCounts, past: _Windows, lag: int) -> _Windows:
    length = np.bincount(counts.segment, minlength=1)
    per_segment = np.maximum((length - (lag - 1)) // past.bins - 1, 0)
    skipped = (past.per_segment.cumsum() - past.per_segment) - (per_segment.cumsum() - per_segment)
    paired = np.arange(per_segment.sum()) + np.repeat(skipped, per_segment)
    return _Windows(bins=past.bins, first_bin=past.bins + lag - 1, per_segment=per_segment, past=paired)


@dataclass(frozen=True, eq=False)
class _Population:
    """Past windows of all units, and the signals that the population makes of them.

    Attributes:
        past: Counts, uint16, [past window, unit].
        mean: Mean count of each unit, [unit].
        scale: Soft standard deviation of each unit, [unit].
        total: Sum of the standardised counts of all units, [past window].
        modes: Activity of each mode, [past window, mode].
        loadings: Weight of each unit in each mode, [unit, mode].
        mode_shares: Share of each unit's variance that each mode holds, [mode, unit].
    """

    past: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    total: np.ndarray
    modes: np.ndarray
    loadings: np.ndarray
    mode_shares: np.ndarray

    def standardised(self, units: slice) -> np.ndarray:
        """Soft-normalised counts of some units, float64, [past window, unit]."""
        return _standardise(self.past, self.mean, self.scale, units)


def _standardise(past: np.ndarray, mean: np.ndarray, scale: np.ndarray, units: slice) -> np.ndarray:
    return (past[:, units] - mean[units]) / scale[units]


def _fit_population(counts: SparseCounts, windows: _Windows, *, window_us: int, population_modes: int) -> _Population:
    row = windows.of_entries(counts)
    blocks = _unit_blocks(counts)
    past = np.zeros((windows.n_windows, counts.n_units), np.uint16)
    for units in blocks:
        past[:, units] = _count_windows(counts, row, windows.n_windows, units)
    mean = np.concatenate([past[:, units].mean(axis=0) for units in blocks])
    variance = np.concatenate([past[:, units].var(axis=0) for units in blocks])
    scale = np.sqrt(variance + SOFT_RATE_HZ * window_us / MICROSECONDS)

    eigenvalues, loadings = _principal_components(past, mean, scale, population_modes)
    total, modes = np.zeros(windows.n_windows), np.zeros((windows.n_windows, eigenvalues.size))
    for units in blocks:
        standardised = _standardise(past, mean, scale, units)
        total += standardised.sum(axis=1)
        modes += standardised @ loadings[units]
    held = eigenvalues[:, None] * loadings.T**2 * scale**2
    mode_shares = np.divide(held, variance, out=np.zeros_like(held), where=variance > 0)
    return _Population(past, mean, scale, total, modes, loadings, mode_shares)


def _principal_components(
    past: np.ndarray, mean: np.ndarray, scale: np.ndarray, population_modes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Leading eigenvalues, [mode], and eigenvectors, [unit, mode], of standardised counts' covariance."""
    n_windows, n_units = past.shape
    fewer_windows = n_windows < n_units
    if fewer_windows:
        standardised = _standardise(past, mean, scale, slice(None))
        covariance = standardised @ standardised.T / n_windows
    else:
        covariance = np.zeros((n_units, n_units))
        for first in range(0, n_windows, _WINDOWS_PER_BLOCK):
            block = _standardise(past[first : first + _WINDOWS_PER_BLOCK], mean, scale, slice(None))
            covariance += block.T @ block / n_windows
    size = len(covariance)
    wanted = (max(size - population_modes, 0), size - 1)
    eigenvalues, vectors = eigh(covariance, subset_by_index=wanted)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    kept = eigenvalues > _ROUNDING * max(eigenvalues[0], 0)
    eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
    if fewer_windows:
        vectors = standardised.T @ vectors / np.sqrt(n_windows * eigenvalues)
    return eigenvalues, vectors


def _unit_blocks(counts: SparseCounts) -> list[slice]:
    return [
        slice(first, min(first + _UNITS_PER_BLOCK, counts.n_units))
        for first in range(0, counts.n_units, _UNITS_PER_BLOCK)
    ]


def _count_windows(counts: SparseCounts, row: np.ndarray, n_windows: int, units: slice) -> np.ndarray:
    """Spikes of some units in each window, float64, [window, unit]; ``row`` is the window of each entry."""
    n_units = units.stop - units.start
    entries = slice(*np.searchsorted(counts.unit, (units.start, units.stop)))
    inside = row[entries] >= 0
    cell = (row[entries] * n_units + counts.unit[entries] - units.start)[inside]
    sums = np.bincount(cell, counts.count[entries][inside], minlength=n_windows * n_units)
    return sums.reshape(n_windows, n_units)


def _couple(
    counts: SparseCounts, future: _Windows, population: _Population
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlation with the population before and after, and R2 of the modes before, [unit] each."""
    row = future.of_entries(counts)
    inside = row >= 0
    weight = (counts.count / population.scale[counts.unit])[inside]
    later_total = np.bincount(row[inside], weight, minlength=future.n_windows)
    total, modes = population.total[future.past], population.modes[future.past]
    halves = (slice(0, future.n_windows // 2), slice(future.n_windows // 2, None))

    values = []
    for units in _unit_blocks(counts):
        past = population.standardised(units)[future.past]
        later = _count_windows(counts, row, future.n_windows, units)
        later_standardised = later / population.scale[units]
        moments = [
            _moments_without_self(modes[half], population.loadings[units], past[half], later[half]) for half in halves
        ]
        values.append(
            (
                _correlation_without_self(total, own=past, other=later),
                _correlation_without_self(later_total, own=later_standardised, other=past),
                _cross_validated_r2(*moments),
            )
        )
    population_leads, unit_leads, mode_r2 = (np.concatenate(parts) for parts in zip(*values, strict=True))
    return population_leads, unit_leads, mode_r2


@dataclass(frozen=True, eq=False)
class _Moments:
    """For each unit, moments about the mean of the modes without it (x) and of its counts (y).

    Attributes:
        n: Pairs of windows.
        x: Mean activity, [unit, mode].
        y: Mean count, [unit].
        xx: [unit, mode, mode].
        xy: [unit, mode].
        yy: [unit].
    """

    n: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray


def _moments_without_self(modes: np.ndarray, loadings: np.ndarray, past: np.ndarray, later: np.ndarray) -> _Moments:
    """Moments of ``modes - loading * past`` and ``later``, with no array [window, unit, mode]."""
    n = len(modes)
    centred = modes - modes.mean(axis=0)
    past_mean, later_mean = past.mean(axis=0), later.mean(axis=0)
    past, later = past - past_mean, later - later_mean
    both = centred.T @ centred
    cross = loadings[:, :, None] * (centred.T @ past).T[:, None, :]
    squares = np.einsum("tu,tu->u", past, past)
    own = loadings[:, :, None] * loadings[:, None, :] * squares[:, None, None]
    xx = both - cross - cross.transpose(0, 2, 1) + own
    scale = np.diagonal(both)[None] + np.einsum("uii->ui", own)
    rounding = np.einsum("uii->ui", xx) <= _ROUNDING * scale
    xx[rounding[:, :, None] | rounding[:, None, :]] = 0
    xy = (centred.T @ later).T - loadings * np.einsum("tu,tu->u", past, later)[:, None]
    return _Moments(
        n=n,
        x=modes.mean(axis=0) - loadings * past_mean[:, None],
        y=later_mean,
        xx=xx,
        xy=np.where(rounding, 0, xy),
        yy=np.einsum("tu,tu->u", later, later),
    )


def _correlation_without_self(total: np.ndarray, *, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlation over windows of ``total - own`` with ``other``, [unit].

    Args:
        total: Sum over all units, [window].
        own: Part of it that belongs to the unit, [window, unit].
        other: What it is correlated with, [window, unit].
    """
    total = total - total.mean()
    own, other = own - own.mean(axis=0), other - other.mean(axis=0)
    squares = np.einsum("tu,tu->u", own, own)
    rest = total @ total - 2 * (total @ own) + squares
    rest = np.where(rest <= _ROUNDING * (total @ total + squares), 0, rest)
    product = total @ other - np.einsum("tu,tu->u", own, other)
    return _ratio(product, np.sqrt(rest * np.einsum("tu,tu->u", other, other)))


def _cross_validated_r2(first: _Moments, second: _Moments) -> np.ndarray:
    errors, squares = np.zeros((2, first.y.size))
    for fitted, held in ((first, second), (second, first)):
        weights = _ridge(fitted.xx, fitted.xy, n=fitted.n)
        shift_x, shift_y = held.x - fitted.x, held.y - fitted.y
        explained = 2 * (held.xy * weights).sum(axis=1)
        explained -= np.einsum("ui,uij,uj->u", weights, held.xx, weights)
        errors += held.yy - explained + held.n * (shift_y - (shift_x * weights).sum(axis=1)) ** 2
        squares += held.yy + held.n * shift_y**2
    return np.where(squares > 0, 1 - _ratio(errors, squares), 0)


def _ridge(xx: np.ndarray, xy: np.ndarray, *, n: int) -> np.ndarray:
    if not xx.shape[-1]:
        return xy
    mean_variance = np.einsum("uii->u", xx) / xx.shape[-1] / n
    # a unit with no others has nothing to be regressed on: weight 0 instead of a singular system
    penalty = np.where(mean_variance > 0, RIDGE_PAIRS * mean_variance, 1.0)
    return np.linalg.solve(xx + penalty[:, None, None] * np.eye(xx.shape[-1]), xy[:, :, None])[:, :, 0]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
