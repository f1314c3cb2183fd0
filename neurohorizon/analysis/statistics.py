"""Intervals and tests for numbers that come from sessions of animals: the only statistics of the project.

Sessions of one animal share neurons, electrodes and habits, so the animal is the unit of resampling: all its sessions
are drawn, or flipped, together. The reliability of the results depends on the number of animals, n:

* The bootstrap interval (:func:`bootstrap_mean`, :func:`bootstrap_ratio`) is a percentile interval.
  Nominal 95 % covers 93-97 % from about 40 animals on (a test simulates it), about 91 % at 12 and 86 % at 6. With three
  animals it is exactly the range of their means, since one draw in 27 repeats the lowest animal three times, and covers
  75 %; it can show agreement between animals, not a population. With one animal there is no interval (NaN).
* The sign-flip test (:func:`sign_flip_p`) keeps its level at every n if differences are symmetric
  around zero, but its smallest two-sided p is ``2 ** (1 - n)``: 0.25 for three animals, 0.06 for
  five. Below six animals no result can reach 0.05, and none should be expected to.

Every result therefore carries its numbers of sessions and animals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_EXACT_ANIMALS = 14  # 2**14 sign patterns are enumerated; beyond, they are drawn


@dataclass(frozen=True)
class Estimate:
    """A number with its animal-clustered percentile interval.

    ``lower`` and ``upper`` are NaN with fewer than two animals.
    """

    value: float
    lower: float
    upper: float
    sessions: int
    animals: int


@dataclass(frozen=True)
class PairedComparison:
    """Difference between two methods over the sessions that both forecast.

    Attributes:
        difference: Mean over sessions of the first method's score minus the second's, with its interval.
        p: Two-sided sign-flip p by animal; NaN with fewer than two animals.
        effect_size: Mean over animals of their mean difference, in standard deviations between animals
            (Cohen's d of paired data); NaN with fewer than two animals or without spread between them.
        sessions_better: Sessions in which the first method scores higher.
        animals_better: Animals whose mean difference is above zero.
    """

    difference: Estimate
    p: float
    effect_size: float
    sessions_better: int
    animals_better: int

    def columns(self, interval: float) -> dict[str, float]:
        """Return the columns of a table of comparisons; the table fills in Holm's p."""
        return {
            "difference": self.difference.value,
            "lower": self.difference.lower,
            "upper": self.difference.upper,
            "interval": interval,
            "p": self.p,
            "p_holm": np.nan,
            "effect_size": self.effect_size,
            "sessions": self.difference.sessions,
            "animals": self.difference.animals,
            "sessions_better": self.sessions_better,
            "animals_better": self.animals_better,
        }


def bootstrap_mean(
    values: np.ndarray, animals: Sequence, rng: np.random.Generator, *, draws: int, interval: float
) -> Estimate:
    """Mean over sessions with its interval; see :func:`bootstrap_ratio`."""
    return bootstrap_ratio(values, np.ones(len(values)), animals, rng, draws=draws, interval=interval)


def bootstrap_ratio(
    numerator: np.ndarray,
    denominator: np.ndarray,
    animals: Sequence,
    rng: np.random.Generator,
    *,
    draws: int,
    interval: float,
) -> Estimate:
    """Ratio of two sums over sessions, with a percentile bootstrap interval over animals.

    Each draw takes n of the n animals, with replacement, with all their sessions (Davison & Hinkley 1997, section 3.8).
    With nats and spikes it is a pooled score; with ones below, a mean.

    Numerator, denominator and animal are of each session, [session]; ``interval`` is the nominal coverage.

    Raises:
        ValueError: Lengths differ, there is no session, or ``interval`` is not between 0 and 1.
    """
    numerator, denominator = (np.asarray(values, dtype=np.float64) for values in (numerator, denominator))
    if not len(numerator) == len(denominator) == len(animals):
        raise ValueError(f"lengths differ: {len(numerator)} and {len(denominator)} values, {len(animals)} animals")
    if len(numerator) == 0:
        raise ValueError("there is no session: an interval needs at least one")
    if not 0 < interval < 1:
        raise ValueError(f"interval must lie between 0 and 1, found {interval}")
    above, below = _sum_by_animal(numerator, animals), _sum_by_animal(denominator, animals)
    n_animals = len(above)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(above.sum() / below.sum())
        lower = upper = np.nan
        if n_animals > 1 and np.isfinite(above).all():
            times_drawn = rng.multinomial(n_animals, np.full(n_animals, 1 / n_animals), size=draws)
            tail = (1 - interval) / 2
            ratios = (times_drawn @ above) / (times_drawn @ below)
            lower, upper = np.quantile(ratios, [tail, 1 - tail])
    return Estimate(value=value, lower=float(lower), upper=float(upper), sessions=len(numerator), animals=n_animals)


def bootstrap_draws_and_animals(
    values: np.ndarray, animals: Sequence, rng: np.random.Generator, *, draws: int
) -> np.ndarray:
    """Means over sessions when both animals and random choices of training data are resampled.

    Held-out sessions are forecast by networks of several random choices of training sessions, so two factors are random
    and crossed: both are resampled, each as a whole (the pigeonhole bootstrap of Owen 2007, which errs on the wide
    side). A choice is drawn with all its sizes, as its subsets are nested. Differences between n choices are stretched
    by ``sqrt(n / (n - 1))``, or few of them would spread too little; intervals from two or three stay coarse.

    Args:
        values: A number for each session and choice, at each size or condition, [session, choice, size].

    Returns:
        Means over sessions of the drawn animals, [draw, choice, size], for the drawn choices; no draw with fewer than
        two animals.
    """
    values = np.asarray(values, dtype=np.float64)
    sessions, choices, sizes = values.shape
    names, index = np.unique(np.asarray(animals, dtype=str), return_inverse=True)
    if len(index) != sessions:
        raise ValueError(f"lengths differ: {sessions} values, {len(index)} animals")
    if len(names) < 2:
        return np.zeros((0, choices, sizes))
    if choices > 1:
        mean = values.mean(axis=1, keepdims=True)
        values = mean + np.sqrt(choices / (choices - 1)) * (values - mean)
    of_animal = np.stack([values[index == animal].sum(axis=0) for animal in range(len(names))])
    times_drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    sessions_drawn = times_drawn @ np.bincount(index)
    means = np.tensordot(times_drawn, of_animal, axes=1) / sessions_drawn[:, None, None]
    return np.take_along_axis(means, rng.integers(0, choices, size=(draws, choices, 1)), axis=1)


def sign_flip_p(differences: np.ndarray, animals: Sequence, rng: np.random.Generator, *, draws: int) -> float:
    """Two-sided p of a mean difference of zero, by sign flips of animals.

    All ``2 ** n`` patterns are enumerated up to 14 animals, so the test is exact; beyond that,
    ``draws`` patterns are drawn and the observed one is counted among them (Phipson & Smyth 2010).

    p is at least ``2 ** (1 - n)`` for n animals, and NaN with fewer than two animals.
    """
    sums = _sum_by_animal(np.asarray(differences, dtype=np.float64), animals)
    n_animals = len(sums)
    if n_animals < 2 or not np.isfinite(sums).all():
        return float("nan")
    observed = abs(sums.sum())
    # patterns that tie with the observed one must count, whatever the order of their additions
    threshold = observed * (1 - 1e-12) - 1e-300
    if n_animals <= _EXACT_ANIMALS:
        patterns = (np.arange(2**n_animals)[:, None] >> np.arange(n_animals)) & 1
        return float(np.mean(np.abs((1 - 2 * patterns) @ sums) >= threshold))
    patterns = rng.integers(0, 2, size=(draws, n_animals), dtype=np.int8)
    extreme = np.count_nonzero(np.abs((1 - 2 * patterns) @ sums) >= threshold)
    return (extreme + 1) / (draws + 1)


def compare_paired(
    first: np.ndarray,
    second: np.ndarray,
    animals: Sequence,
    rng: np.random.Generator,
    *,
    draws: int,
    interval: float,
) -> PairedComparison:
    """Compare two methods session by session; arguments as in :func:`bootstrap_mean`."""
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    by_animal = _sum_by_animal(differences, animals) / _sum_by_animal(np.ones(len(differences)), animals)
    effect_size = float("nan")
    if len(by_animal) > 1 and np.isfinite(by_animal).all() and np.std(by_animal) > 0:
        effect_size = float(np.mean(by_animal) / np.std(by_animal, ddof=1))
    return PairedComparison(
        difference=bootstrap_mean(differences, animals, rng, draws=draws, interval=interval),
        p=sign_flip_p(differences, animals, rng, draws=draws),
        effect_size=effect_size,
        sessions_better=int(np.count_nonzero(differences > 0)),
        animals_better=int(np.count_nonzero(by_animal > 0)),
    )


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values for one family of tests (Holm 1979), float64 [test].

    NaN (no test possible) stays NaN and does not count.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(p_values), np.nan)
    made = np.flatnonzero(~np.isnan(p_values))
    order = made[np.argsort(p_values[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def _sum_by_animal(values: np.ndarray, animals: Sequence) -> np.ndarray:
    _, index = np.unique(np.asarray(animals, dtype=str), return_inverse=True)
    return np.bincount(index, weights=values)
