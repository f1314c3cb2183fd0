"""Calibration of forecast distributions of counts: PIT, CRPS and coverage of discrete forecasts, as sums.

A forecast of a count is either a law (:class:`Poisson`, :class:`NegativeBinomial`) or sample paths. Both are scored
alike, case by case:

PIT
    The randomised probability integral transform ``F(y - 1) + v (F(y) - F(y - 1))`` with ``v`` uniform (Smith 1985;
    Czado, Gneiting & Held 2009, Biometrics 65): uniform if, and over all laws only if, the forecast is right. Of S
    paths it is ``(#below + v (#equal + 1)) / (S + 1)``, the rank of the observation among them with ties and ranks
    made continuous: uniform whenever observation and paths can be exchanged, for any S.
CRPS
    Continuous ranked probability score ``E|X - y| - E|X - X'| / 2 = sum_k (F(k) - 1{y <= k})^2`` (Gneiting & Raftery
    2007), in spikes; lower is better. Of S paths the fair estimator (Ferro 2014, Q. J. R. Meteorol. Soc. 140), whose
    expectation does not depend on S, so that few paths are no disadvantage. For a law the sum itself.
Coverage
    Share of observations in a central interval. By the PIT a calibrated forecast covers exactly the nominal share. A
    plain interval of whole counts, from quantile to quantile, bounds included, covers more than the nominal share if
    counts are low; it is stored with its width (bounds' difference plus one: the number of counts in it).

The energy score of a vector of counts is the CRPS with distances in place of differences. It scores the counts of a
window together, so it depends on their dependence (:func:`energy_scores`).

Few paths show a miscalibration less clearly than a law: ranks among S paths blur a PIT that is not uniform. Methods are
therefore compared by PIT and coverage of the same number of paths, drawn from the law where there is one.

Only sums are stored, so that pooling is exact; ratios are taken last.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

UNIT, UNIT_TOTAL, POPULATION, POPULATION_TOTAL = "unit", "unit_total", "population", "population_total"
TARGETS = (UNIT, UNIT_TOTAL, POPULATION, POPULATION_TOTAL)
"""Scored targets: spikes of a unit in a bin and over the horizon, and of all units together."""
VECTORS = (UNIT, UNIT_TOTAL, POPULATION)
"""Targets whose counts in a window, over bins and units, are scored together as one vector."""
GAIN, EXCHANGED = "shared_gain", "exchanged"
"""Paths of the parallel forecast times a gain that units share, added to the name of the network; and the control of
paths whose units depend on each other, added to the name of their method."""
INTERVALS = (0.5, 0.9)
"""Central intervals whose plain bounds are scored."""
ADAPTED, ADAPTED_WIDTH = "adapted_90", "adapted_width_90"
"""Columns of intervals of 90 % whose width follows their misses: number inside, and sum of widths."""
PIT_BINS = 20
"""Bins of the PIT histogram; central intervals of every tenth, the ones above included, are whole bins of it."""

_TAIL = 1e-8  # probability that a sum over counts may omit


class _Law:
    """A law of each case, with its parameters as arrays."""

    def of(self, cases: np.ndarray) -> "Law":
        """Take some cases of a flat law."""
        return type(self)(*(values[cases] for values in vars(self).values()))

    def flat(self, shape: tuple[int, ...]) -> "Law":
        """Spread over cases of a shape, in one axis."""
        spread = (np.broadcast_to(np.asarray(values, np.float64), shape) for values in vars(self).values())
        return type(self)(*(values.ravel() for values in spread))


@dataclass(frozen=True)
class Poisson(_Law):
    """Poisson law of each case; ``mean`` are the expected counts, any shape."""

    mean: np.ndarray

    def log_masses(self) -> Iterator[np.ndarray]:
        """Yield the log probability of 0, 1, 2 ... spikes."""
        mass, count = -self.mean, 0
        # a mean of 0 allows no spike; xlogy keeps 0 * log(0) out
        log_mean = np.log(self.mean, out=np.full(self.mean.shape, -np.inf), where=self.mean > 0)
        while True:
            yield mass
            count += 1
            mass = mass + (log_mean - np.log(count))

    def draw(self, paths: int, rng: np.random.Generator) -> np.ndarray:
        """Draw counts, [..., path]."""
        return rng.poisson(self.mean[..., None], (*self.mean.shape, paths))


@dataclass(frozen=True)
class NegativeBinomial(_Law):
    """Negative binomial law of each case: Poisson counts whose rate is gamma distributed.

    Attributes:
        mean: Expected counts, any shape.
        shape: Shape of the rate's gamma distribution, which broadcasts with it: the variance is
            ``mean + mean^2 / shape``.
    """

    mean: np.ndarray
    shape: np.ndarray

    def log_masses(self) -> Iterator[np.ndarray]:
        """Yield the log probability of 0, 1, 2 ... spikes."""
        mean, shape = np.broadcast_arrays(self.mean, self.shape)
        log_share = np.log(mean, out=np.full(mean.shape, -np.inf), where=mean > 0) - np.log(mean + shape)
        mass, count = -xlogy(shape, 1 + mean / shape), 0
        while True:
            yield mass
            count += 1
            mass = mass + (log_share + np.log((count - 1 + shape) / count))

    def draw(self, paths: int, rng: np.random.Generator) -> np.ndarray:
        """Draw counts, [..., path]."""
        mean, shape = (value[..., None] for value in np.broadcast_arrays(self.mean, self.shape))
        return rng.poisson(rng.standard_gamma(shape, (*mean.shape[:-1], paths)) * mean / shape)


Law = Poisson | NegativeBinomial


@dataclass(frozen=True)
class Measures:
    """Calibration measures of each observed count; all arrays of the counts' shape.

    Attributes:
        pit: Randomised PIT, in [0, 1).
        crps: CRPS, spikes.
        bounds: Lower and upper bound of each of :data:`INTERVALS`, spikes, both inside, [interval, bound, ...].
    """

    pit: np.ndarray
    crps: np.ndarray
    bounds: np.ndarray


def measure_law(law: Law, counts: np.ndarray, rng: np.random.Generator) -> Measures:
    """Score laws, which broadcast, on observed counts of any shape; ``rng`` draws the randomised PIT in their order."""
    counts = np.asarray(counts)
    cases, drawn = counts.ravel(), rng.random(counts.shape).ravel()
    law = law.flat(counts.shape)
    pit, crps = np.empty(cases.size), np.empty(cases.size)
    bounds = np.empty((len(_LEVELS), cases.size))
    # cases of like size together: most counts are 0 or 1, and need but a few terms
    octave = np.ceil(np.log2(1 + np.maximum(cases, law.mean)))
    for size in np.unique(octave):
        some = np.flatnonzero(octave == size)
        below, at, crps[some], bounds[:, some] = _summed_up(law.of(some), cases[some])
        pit[some] = np.clip(below + drawn[some] * at, 0, np.nextafter(1, 0))
    return Measures(
        pit=pit.reshape(counts.shape),
        crps=crps.reshape(counts.shape),
        bounds=bounds.reshape(len(INTERVALS), 2, *counts.shape),
    )


def measure_paths(paths: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> Measures:
    """Score sample paths, [..., path], on observed counts, [...]; ``rng`` draws the randomised PIT in their order.

    Raises:
        ValueError: There are fewer than two paths, which have no spread.
    """
    n = paths.shape[-1]
    if n < 2:
        raise ValueError(f"{n} path cannot be scored: the spread of a forecast needs at least 2")
    observed = np.asarray(counts)[..., None]
    below = (paths < observed).sum(-1, dtype=np.int32)
    equal = (paths == observed).sum(-1, dtype=np.int32)
    pit = (below + rng.random(below.shape) * (equal + 1)) / (n + 1)
    ordered = np.sort(paths, axis=-1)
    # sum over pairs of |x_i - x_j|, from the ordered paths
    weight = (2 * np.arange(n) - (n - 1)).astype(np.float64)
    spread = _summed(ordered, weight) / (n * (n - 1))
    # sum |x - y| = sum (x - y) - 2 sum over those below (x - y)
    total = _summed(ordered, np.ones(n))
    lower_part = np.where(paths < observed, paths, 0).sum(-1, dtype=np.int64)
    far = total - n * observed[..., 0] - 2 * (lower_part - below * observed[..., 0])
    bounds = np.stack([ordered[..., int(np.ceil(level * n - 1e-9)) - 1] for level in _LEVELS])
    return Measures(
        pit=np.minimum(pit, np.nextafter(1, 0)),
        crps=far / n - spread,
        bounds=bounds.astype(np.float64).reshape(len(INTERVALS), 2, *below.shape),
    )


def energy_scores(paths: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Score sample paths of a vector of counts: energy score divided by the root of the vector's length, [window].

    The score is ``E|X - y| - E|X - X'| / 2`` with Euclidean distances (Gneiting & Raftery 2007, J. Am. Stat. Assoc.
    102), in spikes; lower is better. As for the CRPS, the mean over pairs is that of different paths, so that its
    expectation does not depend on their number. A vector of one count has its CRPS.

    Args:
        paths: Sample paths, [window, count, path].
        counts: Observed counts, [window, count].

    Raises:
        ValueError: There are fewer than two paths, which have no spread.
    """
    n = paths.shape[-1]
    if n < 2:
        raise ValueError(f"{n} path cannot be scored: the spread of a forecast needs at least 2")
    # distances from products, which are exact: they are of whole counts
    vectors = np.concatenate([paths, counts[..., None]], axis=-1).astype(np.float64)
    products = vectors.transpose(0, 2, 1) @ vectors
    squares = np.diagonal(products, axis1=1, axis2=2)
    distance = np.sqrt(np.maximum(squares[:, :, None] + squares[:, None] - 2 * products, 0))
    near = distance[:, :n, :n].sum((1, 2)) / (2 * n * (n - 1))
    return (distance[:, :n, n].mean(1) - near) / np.sqrt(counts.shape[1])


@dataclass(frozen=True)
class CalibrationSums:
    """Sums over cases, by part of the horizon; adding two adds their cases.

    Attributes:
        cases: Number of scored counts, int64 [part].
        spikes: Their sum, int64 [part].
        crps: Sum of their CRPS, float64 [part].
        pit: Histogram of their PIT, int64 [part, PIT bin].
        covered: Number inside the plain interval, int64 [part, interval].
        width: Sum of the widths of the plain interval, float64 [part, interval].
    """

    cases: np.ndarray
    spikes: np.ndarray
    crps: np.ndarray
    pit: np.ndarray
    covered: np.ndarray
    width: np.ndarray

    def __add__(self, other: "CalibrationSums") -> "CalibrationSums":
        names = self.__dataclass_fields__
        return CalibrationSums(**{name: getattr(self, name) + getattr(other, name) for name in names})


def sum_measures(measures: Measures, counts: np.ndarray, mask: np.ndarray) -> CalibrationSums:
    """Sum measures of counts, [window, part, member], over windows and members.

    Only valid parts, where ``mask``, [window, part], is True, are in the sums.
    """
    members = counts.shape[-1]
    valid = np.broadcast_to(mask[..., None], counts.shape)
    place = np.minimum((measures.pit * PIT_BINS).astype(np.int64), PIT_BINS - 1)
    n_parts = counts.shape[1]
    cell = place + np.arange(n_parts)[:, None] * PIT_BINS
    inside = (counts >= measures.bounds[:, 0]) & (counts <= measures.bounds[:, 1]) & valid
    width = np.where(valid, measures.bounds[:, 1] - measures.bounds[:, 0] + 1, 0.0)
    return CalibrationSums(
        cases=mask.sum(axis=0, dtype=np.int64) * members,
        spikes=np.where(valid, counts, 0).sum(axis=(0, 2), dtype=np.int64),
        crps=np.where(valid, measures.crps, 0.0).sum(axis=(0, 2)),
        pit=np.bincount(cell[valid], minlength=n_parts * PIT_BINS).reshape(n_parts, PIT_BINS),
        covered=inside.sum(axis=(1, 3), dtype=np.int64).T,
        width=width.sum(axis=(1, 3)).T,
    )


def central_coverage(pit: np.ndarray, nominal: float) -> np.ndarray:
    """Share of cases whose PIT lies in the central interval, from histograms, [..., PIT bin].

    Raises:
        ValueError: The interval does not end at edges of bins: ``nominal`` must be a multiple of ``2 / PIT_BINS``.
    """
    pit = np.asarray(pit, np.float64)
    outside = (1 - nominal) / 2 * pit.shape[-1]
    first = round(outside)
    if abs(outside - first) > 1e-9:
        raise ValueError(f"an interval of {nominal} cannot be computed from {pit.shape[-1]} PIT bins")
    total = pit.sum(-1)
    inside = pit[..., first : pit.shape[-1] - first].sum(-1)
    return np.divide(inside, total, out=np.full(total.shape, np.nan), where=total > 0)[()]


_LEVELS = tuple(level for interval in INTERVALS for level in ((1 - interval) / 2, (1 + interval) / 2))


def _summed(ordered: np.ndarray, weight: np.ndarray) -> np.ndarray:
    # a matrix product casts and sums in one go; small counts are exact in float32, sums of them only in float64
    return ordered.astype(np.float64) @ weight


def _summed_up(law: Law, counts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return P(X < y), P(X = y), CRPS, all [case], and the quantiles at :data:`_LEVELS`, [level, case]."""
    below, at = np.zeros(counts.size), np.zeros(counts.size)
    crps, bounds = np.zeros(counts.size), np.zeros((len(_LEVELS), counts.size))
    through, most = np.zeros(counts.size), counts.max(initial=0)
    for count, log_mass in enumerate(law.log_masses()):
        mass = np.exp(log_mass)
        at = np.where(counts == count, mass, at)
        below = np.where(counts == count, through, below)
        through = np.minimum(through + mass, 1.0)
        crps += (through - (counts <= count)) ** 2
        for row, level in zip(bounds, _LEVELS, strict=True):
            row += through < level - 1e-12
        if count >= most and through.min(initial=1) > 1 - _TAIL:
            break
    return below, at, crps, bounds
