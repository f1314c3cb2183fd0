"""Coupling of a unit to the population and to its modes, in closed form.

Marginal statistics do not distinguish two units of equal rate and regularity if one leads the population and the other
is independent of it. All statistics here compare a *past window* of ``WINDOW_BINS`` bins with a *future window* of
equal length that starts ``lag - 1`` bins after it, so that lag 1 follows immediately; lag 0 compares a window with
itself. Past windows tile each interval of valid time from its start, and both windows are in one interval.

Let ``z`` be the counts of past windows minus their mean, divided by ``sqrt(variance + Poisson variance at
SOFT_RATE_HZ)`` (soft normalisation, Churchland et al. 2012, so that units with few spikes do not dominate the
population), and ``y`` the counts of future windows. A unit ``u`` has:

* ``population_leads_lag_l``: Fisher z of the correlation of ``y_u`` with ``sum_{v != u} z_v`` (at lag 0 the
  population coupling of Okun et al. 2015, without smoothing).
* ``unit_leads_lag_l``: Fisher z of the correlation of ``z_u`` with ``sum_{v != u} y_v / scale_v``.
* ``mode_share_j``: share of the variance of ``z_u`` in the first ``j`` principal components of ``z``,
  ``sum_{i <= j} eigenvalue_i loading_ui^2 / variance(z_u)``.
* ``mode_r2_lag_l``: ``arcsinh(10 R2)`` of a ridge regression of ``y_u`` on the components' activity without
  the unit's own part, ``sum_{v != u} loading_vi z_v``. Each half of the pairs, in time, is predicted from the
  other: ``R2 = 1 - sum of squared errors / sum of squares about the other half's mean``, over both halves.

No statistic depends on the signs of the components. The value is 0, no coupling, without data: for a silent unit, for
intervals too short for a lag, and for fewer than ``MINIMUM_PAIRS`` pairs. So are the correlations and R2 of the only
unit of a session.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from neurohorizon.timeline import MICROSECONDS, concatenated_ranges
from neurohorizon.units.counts import SparseCounts

WINDOW_BINS = 5
"""Length of a past or future window; at most half of the longest interval of valid time."""
SOFT_RATE_HZ = 0.5
"""Rate whose Poisson variance is added to each unit's variance before the population is summed."""
RIDGE_PAIRS = 200
"""Prior precision of a mode's weight, in pairs of windows at the modes' mean variance: the best choice for eight modes
that explain some 4 % of a unit's variance. With it, few trials do not give large weights."""
MINIMUM_PAIRS = 16
"""Fewest pairs of windows from which a coupling is estimated."""
LARGEST_CORRELATION = 0.99

_UNITS_PER_BLOCK = 32
_WINDOWS_PER_BLOCK = 1024
_LARGEST_EXACT = 2**24
"""Integers up to here, and their sums, are exact in single precision."""
_ROUNDING = 1e-9
"""Share of a sum of squares below which the rest after a subtraction is only rounding."""


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

    Memory grows with windows times units in the smallest integers that hold the counts; wider arrays are made for one
    block of units or of windows at a time. Every coupling is computed from sums of products of small integers and a few
    population signals, so no array is centred or standardised window by window.

    Args:
        counts: Counts of the reference window.
        lags_bins: Lags from the last bin of the past window to the first bin of the future one, above 0.

    Returns:
        Values, float64, [unit, feature]. Another order of the units changes the rounding of sums, and so values by
        about 1e-12.
    """
    lags = (0, *lags_bins)
    coupling = np.zeros((3, len(lags), counts.n_units))
    shared_modes = _shared_modes(population_modes)
    mode_share = np.zeros((len(shared_modes), counts.n_units))
    past = _past_windows(counts)
    if past.n_windows >= MINIMUM_PAIRS and counts.unit.size:
        population = _fit_population(counts, past, window_us=bin_us * past.bins, population_modes=population_modes)
        held = population.mode_shares.cumsum(axis=0)
        mode_share = held[np.minimum(shared_modes, len(held)) - 1] if len(held) else mode_share
        weight = np.bincount(counts.bin, counts.count / population.scale[counts.unit], minlength=counts.n_bins)
        pairs = [
            _Pairs.of(past if lag == 0 else _future_windows(counts, past, lag), population, weight) for lag in lags
        ]
        for units in _unit_blocks(counts):
            dense = _dense(counts, past.bins, units)
            for index, one in enumerate(pairs):
                if one.future.n_windows >= MINIMUM_PAIRS:
                    coupling[:, index, units] = _couple(one, population, dense, units)
    population_leads, unit_leads, mode_r2 = coupling
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
        per_segment: Windows in each interval, [interval].
        first_bin: First bin of each window, [window].
        past: Number of the past window that each window is paired with, [window].
    """

    bins: int
    per_segment: np.ndarray
    first_bin: np.ndarray
    past: np.ndarray

    @property
    def n_windows(self) -> int:
        return self.past.size

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over each window of values [bin, ...], in their own type, [window, ...]."""
        total = values[self.first_bin]
        for later in range(1, self.bins):
            total += values[self.first_bin + later]
        return total


def _past_windows(counts: SparseCounts) -> _Windows:
    length = np.bincount(counts.segment, minlength=1)
    bins = max(min(WINDOW_BINS, int(length.max()) // 2), 1)
    per_segment = length // bins
    return _Windows(
        bins=bins,
        per_segment=per_segment,
        first_bin=_first_bins(length, per_segment, bins, skipped=0),
        past=np.arange(per_segment.sum()),
    )


def _future_windows(counts: SparseCounts, past: _Windows, lag: int) -> _Windows:
    length = np.bincount(counts.segment, minlength=1)
    per_segment = np.maximum((length - (lag - 1)) // past.bins - 1, 0)
    skipped = (past.per_segment.cumsum() - past.per_segment) - (per_segment.cumsum() - per_segment)
    return _Windows(
        bins=past.bins,
        per_segment=per_segment,
        first_bin=_first_bins(length, per_segment, past.bins, skipped=past.bins + lag - 1),
        past=np.arange(per_segment.sum()) + np.repeat(skipped, per_segment),
    )


def _first_bins(length: np.ndarray, per_segment: np.ndarray, bins: int, *, skipped: int) -> np.ndarray:
    ordinal, segment = concatenated_ranges(np.zeros_like(per_segment), per_segment)
    return (length.cumsum() - length)[segment] + skipped + ordinal * bins


@dataclass(frozen=True, eq=False)
class _Population:
    """Past windows of all units, and the population signals computed from them.

    Attributes:
        past: Counts, [past window, unit].
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


def _fit_population(counts: SparseCounts, windows: _Windows, *, window_us: int, population_modes: int) -> _Population:
    n = windows.n_windows
    past = np.zeros((n, counts.n_units), _kind(counts, windows.bins))
    total, squares = np.zeros((2, counts.n_units))
    for units in _unit_blocks(counts):
        past[:, units] = windows.sums(_dense(counts, windows.bins, units))
        number = past[:, units].astype(np.float64)
        total[units], squares[units] = number.sum(axis=0), np.einsum("tu,tu->u", number, number)
    mean = total / n
    # sums of integers are exact
    variance = (squares - total * mean) / n
    scale = np.sqrt(variance + SOFT_RATE_HZ * window_us / MICROSECONDS)

    eigenvalues, loadings = _principal_components(past, mean, scale, population_modes)
    signals = np.concatenate([np.ones((counts.n_units, 1)), loadings], axis=1) / scale[:, None]
    activity = np.concatenate([past[rows] @ signals for rows in _window_blocks(n)]) - mean @ signals
    held = eigenvalues[:, None] * loadings.T**2 * scale**2
    mode_shares = np.divide(held, variance, out=np.zeros_like(held), where=variance > 0)
    return _Population(past, mean, scale, activity[:, 0], activity[:, 1:], loadings, mode_shares)


def _principal_components(
    past: np.ndarray, mean: np.ndarray, scale: np.ndarray, population_modes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return leading eigenvalues, [mode], and eigenvectors, [unit, mode], of the covariance of standardised counts."""
    n_windows, n_units = past.shape
    fewer_windows = n_windows < n_units
    if fewer_windows:
        standardised = (past - mean) / scale
        covariance = standardised @ standardised.T / n_windows
    else:
        covariance = _products(past) / n_windows
        covariance -= mean[:, None] * mean
        covariance /= scale[:, None] * scale
    size = len(covariance)
    wanted = (max(size - population_modes, 0), size - 1)
    eigenvalues, vectors = eigh(covariance, subset_by_index=wanted)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    kept = eigenvalues > _ROUNDING * max(eigenvalues[0], 0)
    eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
    if fewer_windows:
        vectors = standardised.T @ vectors / np.sqrt(n_windows * eigenvalues)
    return eigenvalues, vectors


def _products(past: np.ndarray) -> np.ndarray:
    """Sum the products of any two units' counts over windows, exactly, float64, [unit, unit]."""
    products = np.zeros((past.shape[1], past.shape[1]))
    for rows in _window_blocks(len(past)):
        block = past[rows]
        # no sum of products exceeds a unit's sum of squares, which is below this
        exact = int(block.max(initial=0)) ** 2 * len(block) <= _LARGEST_EXACT
        block = block.astype(np.float32 if exact else np.float64)
        products += block.T @ block
    return products


def _unit_blocks(counts: SparseCounts) -> list[slice]:
    return _blocks(counts.n_units, _UNITS_PER_BLOCK)


def _window_blocks(n_windows: int) -> list[slice]:
    return _blocks(n_windows, _WINDOWS_PER_BLOCK)


def _blocks(number: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, number)) for first in range(0, number, size)]


def _kind(counts: SparseCounts, bins: int) -> np.dtype:
    """Return the smallest integer type that holds the counts of windows of some bins."""
    return np.min_scalar_type(int(counts.count.max(initial=0)) * bins)


def _dense(counts: SparseCounts, bins: int, units: slice) -> np.ndarray:
    """Return the counts of some units, in integers that hold their sums over some bins, [bin, unit]."""
    dense = np.zeros((counts.n_bins, units.stop - units.start), _kind(counts, bins))
    entries = slice(*np.searchsorted(counts.unit, (units.start, units.stop)))
    dense[counts.bin[entries], counts.unit[entries] - units.start] = counts.count[entries]
    return dense


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of a past and a future window, and the signals of the population in them.

    Attributes:
        future: The future windows.
        halves: Rows of the first and of the second half.
        mode_mean: Mean activity of the modes in past windows, [half, mode].
        signals: Columns: activity of the modes in past windows, minus its mean in each half; sum of the standardised
            counts of all units in past windows, and of their scaled counts in future windows, each minus its mean;
            ones, [window, mode + 3].
    """

    future: _Windows
    halves: tuple[slice, slice]
    mode_mean: np.ndarray
    signals: np.ndarray

    @classmethod
    def of(cls, future: _Windows, population: _Population, weight: np.ndarray) -> "_Pairs":
        """Take the signals of the pairs; ``weight`` is the scaled count of all units in each bin, [bin]."""
        n = future.n_windows
        halves = (slice(0, n // 2), slice(n // 2, n))
        n_modes = population.modes.shape[1]
        signals = np.ones((n, n_modes + 3))
        signals[:, :n_modes] = population.modes[future.past]
        signals[:, n_modes] = population.total[future.past]
        signals[:, n_modes + 1] = future.sums(weight)
        mode_mean = np.zeros((2, n_modes))
        if n:
            signals[:, n_modes : n_modes + 2] -= signals[:, n_modes : n_modes + 2].mean(axis=0)
        for mean, half in zip(mode_mean, halves, strict=True):
            if half.stop > half.start:
                mean[:] = signals[half, :n_modes].mean(axis=0)
                signals[half, :n_modes] -= mean
        return cls(future=future, halves=halves, mode_mean=mode_mean, signals=signals)


def _couple(
    pairs: _Pairs, population: _Population, dense: np.ndarray, units: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the correlation with the past and the later population, and the R2 of the past modes, [unit] each."""
    scale, loadings, mean = population.scale[units], population.loadings[units], population.mean[units]
    n_modes = loadings.shape[1]
    past = population.past[:, units][pairs.future.past].astype(np.float64)
    later = pairs.future.sums(dense).astype(np.float64)
    moments = []
    totals = np.zeros((2, 3, scale.size))
    sums = np.zeros((5, scale.size))
    for half, mode_mean in zip(pairs.halves, pairs.mode_mean, strict=True):
        signals, x, y = pairs.signals[half], past[half], later[half]
        with_past, with_later = (signals.T @ x), (signals.T @ y)
        ones = signals[:, -1]
        own = np.stack([with_past[-1], with_later[-1], ones @ (x * x), ones @ (x * y), ones @ (y * y)])
        sums += own
        totals += np.stack([with_past[n_modes:], with_later[n_modes:]])
        modes = signals[:, :n_modes]
        moments.append(
            _moments_without_self(
                modes.T @ modes,
                loadings,
                mode_mean=mode_mean,
                with_past=with_past[:n_modes] / scale,
                with_later=with_later[:n_modes],
                own=_Own.of(own, n=len(x), mean=mean, scale=scale),
            )
        )
    own = _Own.of(sums, n=len(past), mean=mean, scale=scale)
    squares = np.einsum("ts,ts->s", pairs.signals, pairs.signals)[n_modes:]
    return (
        _correlation_without_self(
            squares[0],
            total_own=totals[0, 0] / scale,
            total_other=totals[1, 0],
            own=own.past_past,
            both=own.past_later,
            other=own.later_later,
        ),
        _correlation_without_self(
            squares[1],
            total_own=totals[1, 1] / scale,
            total_other=totals[0, 1] / scale,
            own=own.later_later / scale**2,
            both=own.past_later / scale,
            other=own.past_past,
        ),
        _cross_validated_r2(*moments),
    )


@dataclass(frozen=True, eq=False)
class _Own:
    """Counts of single units in pairs of windows: past counts standardised, later ones unchanged.

    Attributes:
        n: Pairs.
        past: Mean of the past, [unit].
        later: Mean of the later counts, [unit].
        past_past: Sum of squares about the mean, as all that follow, [unit].
        past_later: Sum of products, [unit].
        later_later: Sum of squares, [unit].
    """

    n: int
    past: np.ndarray
    later: np.ndarray
    past_past: np.ndarray
    past_later: np.ndarray
    later_later: np.ndarray

    @classmethod
    def of(cls, sums: np.ndarray, *, n: int, mean: np.ndarray, scale: np.ndarray) -> "_Own":
        """Take exact sums of past and later counts, and of their products, [5, unit]."""
        past, later, past_past, past_later, later_later = sums
        return cls(
            n=n,
            past=(past / n - mean) / scale,
            later=later / n,
            past_past=(past_past - past * past / n) / scale**2,
            past_later=(past_later - past * later / n) / scale,
            later_later=later_later - later * later / n,
        )


@dataclass(frozen=True, eq=False)
class _Moments:
    """Moments about the mean of the modes without each unit (x) and of the unit's counts (y).

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


def _moments_without_self(
    both: np.ndarray,
    loadings: np.ndarray,
    *,
    mode_mean: np.ndarray,
    with_past: np.ndarray,
    with_later: np.ndarray,
    own: _Own,
) -> _Moments:
    """Compute moments of ``modes - loading * past`` and of later counts, without an array [window, unit, mode].

    Args:
        both: Products of the modes, about their means, [mode, mode].
        loadings: Weight of each unit in each mode, [unit, mode].
        mode_mean: Mean of the modes, [mode].
        with_past: Products of the modes with the units' past, [mode, unit].
        with_later: With the units' later counts, [mode, unit].
        own: Moments of the units' own counts.
    """
    cross = loadings[:, :, None] * with_past.T[:, None, :]
    squares = loadings[:, :, None] * loadings[:, None, :] * own.past_past[:, None, None]
    xx = both - cross - cross.transpose(0, 2, 1) + squares
    scale = np.diagonal(both)[None] + np.einsum("uii->ui", squares)
    rounding = np.einsum("uii->ui", xx) <= _ROUNDING * scale
    xx[rounding[:, :, None] | rounding[:, None, :]] = 0
    return _Moments(
        n=own.n,
        x=mode_mean - loadings * own.past[:, None],
        y=own.later,
        xx=xx,
        xy=np.where(rounding, 0, with_later.T - loadings * own.past_later[:, None]),
        yy=own.later_later,
    )


def _correlation_without_self(
    total: float,
    *,
    total_own: np.ndarray,
    total_other: np.ndarray,
    own: np.ndarray,
    both: np.ndarray,
    other: np.ndarray,
) -> np.ndarray:
    """Correlate a total without the unit's own part with another signal, over windows, [unit].

    Args:
        total: Sum of squares of the total; this and all other sums are about the mean.
        total_own: Products of the total with the unit's own part, [unit].
        total_other: Products of the total with the other, [unit].
        own: Sum of squares of the own part, [unit].
        both: Products of the own part with the other, [unit].
        other: Sum of squares of the other, [unit].
    """
    rest = total - 2 * total_own + own
    rest = np.where(rest <= _ROUNDING * (total + own), 0, rest)
    return _ratio(total_other - both, np.sqrt(rest * other))


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
    # the only unit of a session has no regressors: weight 0 instead of a singular system
    penalty = np.where(mean_variance > 0, RIDGE_PAIRS * mean_variance, 1.0)
    return np.linalg.solve(xx + penalty[:, None, None] * np.eye(xx.shape[-1]), xy[:, :, None])[:, :, 0]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
