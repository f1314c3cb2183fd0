"""Laws of how a score grows with the number of training sessions, fitted, compared and used to predict.

Four laws of the score against the number of sessions, D:

======================  ===========================  =============================================
``power``               ``B - A * D ** -alpha``      rises to B; the rest falls by a power
``saturating``          ``B - A * exp(-D / K)``      rises to B; the rest falls by a half-life
``log_linear``          ``C + S * ln(D)``            rises without a limit
``constant``            ``C``                        does not change
======================  ===========================  =============================================

Each is linear except for at most one parameter, which is searched on a grid and then refined, so no initial value is
needed. They are fitted by least squares to the mean scores of the subsets, one for each size and draw, and compared by
Akaike's criterion for small samples (AICc; Hurvich & Tsai 1989).

Parameters have intervals from the bootstrap over animals and draws of
:func:`neurohorizon.analysis.statistics.bootstrap_draws_and_animals`. Nominal 95 % covers a planted exponent in about
94 % of simulations with ten draws (a test simulates it), 90 % with five, and 80 % with two or three. A
parameter that the data do not determine is marked (:attr:`LawFit.not_identified`), since a fit always gives a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurohorizon.analysis.statistics import bootstrap_draws_and_animals

LAWS = ("power", "saturating", "log_linear", "constant")
PARAMETERS = {
    "power": ("B", "A", "alpha"),
    "saturating": ("B", "A", "K"),
    "log_linear": ("C", "S"),
    "constant": ("C",),
}
"""Parameters of each law, in the order of its arrays; the last one of three is not linear."""
ALPHA_RANGE = (0.02, 4.0)
"""Range of exponents. At the lower end the law equals a logarithm, at the upper end the second size reaches the
maximum."""
NEGLIGIBLE_AICC = 2.0
"""Differences of AICc up to this do not favour a law (Burnham & Anderson 2002, section 2.6)."""

_GRID = 161
_HALF_LIFE_RANGE = (0.1, 10.0)  # K over the smallest and over the largest size
_NO_RESIDUAL = 1e-24  # sums of squares below this are rounding errors


class FitError(ValueError):
    """Scores to which no law can be fitted; the message gives the reason."""


@dataclass(frozen=True)
class Curve:
    """Scores of held-out sessions against the number of training sessions.

    Attributes:
        sizes: Number of training sessions, rising, [size].
        scores: Score of each held-out session after training on a subset, averaged over seeds, [session, draw, size].
            Where the last size is one choice, its scores are repeated in every draw.
        animals: Animal of each session, [session].
        one_choice_at_the_top: Whether the last size is all sessions, so that its draws are one.
    """

    sizes: np.ndarray
    scores: np.ndarray
    animals: Sequence
    one_choice_at_the_top: bool

    def __post_init__(self) -> None:
        """Raise FitError if shapes differ, a score is missing, or sizes do not rise."""
        sizes, scores = np.asarray(self.sizes, dtype=float), np.asarray(self.scores, dtype=float)
        if scores.ndim != 3 or scores.shape[2] != len(sizes) or scores.shape[0] != len(self.animals):
            raise FitError(
                f"scores are [session, draw, size], found {scores.shape} for {len(self.animals)} sessions "
                f"and {len(sizes)} sizes"
            )
        if not np.isfinite(scores).all():
            raise FitError("a score is missing or not finite: all sessions need a score at every size and draw")
        if len(sizes) < 2 or sizes[0] <= 0 or (np.diff(sizes) <= 0).any():
            raise FitError(f"a curve needs two or more sizes that rise from above 0, found {sizes.tolist()}")
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "scores", scores)

    def below_the_top(self) -> "Curve":
        """The curve without its last size."""
        return Curve(self.sizes[:-1], self.scores[:, :, :-1], self.animals, one_choice_at_the_top=False)


@dataclass(frozen=True)
class LawFit:
    """One law fitted to a curve.

    Attributes:
        law: One of :data:`LAWS`.
        values: Its parameters, [parameter] in the order of :data:`PARAMETERS`.
        lower: Lower bounds of their intervals, [parameter]; NaN with fewer than two animals.
        upper: Upper bounds, [parameter].
        drawn: Its parameters in every bootstrap draw, [bootstrap draw, parameter]; empty with fewer than two animals.
        rss: Sum of squared residuals.
        points: Mean scores that it was fitted to.
        aicc: Akaike's criterion for small samples; infinite where there are too few points for it.
        not_identified: Reason why the data do not determine its parameters; "" where they do.
    """

    law: str
    values: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    drawn: np.ndarray
    rss: float
    points: int
    aicc: float
    not_identified: str

    def at(self, sizes: np.ndarray) -> np.ndarray:
        """The law at some sizes, [size]."""
        return evaluate(self.law, self.values[None], sizes)[0]

    def band(self, sizes: np.ndarray, interval: float) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the law at some sizes, each [size]; NaN with fewer than two animals."""
        return _bounds(evaluate(self.law, self.drawn, sizes), interval, len(np.atleast_1d(sizes)))


@dataclass(frozen=True)
class Prediction:
    """Prediction of the top size by a law fitted to the smaller sizes.

    Attributes:
        law: One of :data:`LAWS`.
        value: Predicted mean score.
        lower, upper: Interval of one more training, with the scatter of trainings around the law (Davison & Hinkley
            1997, section 6.3.3); NaN with fewer than two animals.
        observed: The observed mean score.
        difference: Observed minus predicted.
        difference_lower, difference_upper: Its interval; animals are the same on both sides.
        aicc: Akaike's criterion on the smaller sizes.
        chosen: Whether this is the lowest of all laws.
    """

    law: str
    value: float
    lower: float
    upper: float
    observed: float
    difference: float
    difference_lower: float
    difference_upper: float
    aicc: float
    chosen: bool = False

    @property
    def holds(self) -> bool | None:
        """True if the interval of (observed - predicted) includes zero, False if not, None without an interval."""
        if np.isnan(self.difference_lower):
            return None
        return bool(self.difference_lower <= 0 <= self.difference_upper)


def fit_laws(curve: Curve, rng: np.random.Generator, *, draws: int, interval: float) -> tuple[LawFit, ...]:
    """Fit every law that has no more parameters than there are sizes, in the order of :data:`LAWS`.

    All laws use the same bootstrap draws.
    """
    sizes, columns = _points(curve)
    means = curve.scores.mean(axis=0).ravel()[columns]
    drawn = bootstrap_draws_and_animals(curve.scores, curve.animals, rng, draws=draws)
    drawn = _flat(_with_luck_at_the_top(curve, drawn, rng))[:, columns]
    fits = []
    for law in LAWS:
        if len(PARAMETERS[law]) > len(curve.sizes):
            continue
        values, rss = fit_law(law, sizes, means[None])
        of_draws, _ = fit_law(law, sizes, drawn)
        lower, upper = _bounds(of_draws, interval, values.shape[1])
        fits.append(
            LawFit(
                law=law,
                values=values[0],
                lower=lower,
                upper=upper,
                drawn=of_draws,
                rss=float(rss[0]),
                points=len(sizes),
                aicc=aicc(float(rss[0]), len(sizes), len(PARAMETERS[law])),
                not_identified="",
            )
        )
    return tuple(replace(fit, not_identified=_doubt(fit, fits, curve, interval)) for fit in fits)


def predict_top(curve: Curve, rng: np.random.Generator, *, draws: int, interval: float) -> tuple[Prediction, ...]:
    """Fit every law to all sizes except the last, and compare its prediction there with the observed score.

    Arguments as in :func:`fit_laws`; no prediction where there are too few sizes.
    """
    if len(curve.sizes) < 3:
        return ()
    below = curve.below_the_top()
    sizes, columns = _points(below)
    drawn = bootstrap_draws_and_animals(curve.scores, curve.animals, rng, draws=draws)
    of_top = drawn[:, :, -1].mean(axis=1)
    drawn = _flat(drawn[:, :, :-1])[:, columns]
    means = below.scores.mean(axis=0).ravel()[columns]
    observed, top = float(curve.scores[:, :, -1].mean()), curve.sizes[-1:]
    found = []
    for law in LAWS:
        parameters = len(PARAMETERS[law])
        if parameters > len(below.sizes):
            continue
        values, rss = fit_law(law, sizes, means[None])
        predicted = float(evaluate(law, values, top)[0, 0])
        of_draws, _ = fit_law(law, sizes, drawn)
        scatter = np.zeros(len(drawn))
        if len(sizes) > parameters and len(drawn):
            residuals = means - evaluate(law, values, sizes)[0]
            # residuals of a fit are smaller than errors, by its number of parameters
            scatter = rng.choice(residuals, len(drawn)) * np.sqrt(len(sizes) / (len(sizes) - parameters))
        forecasts = evaluate(law, of_draws, top)[:, 0] + scatter
        (lower,), (upper,) = _bounds(forecasts[:, None], interval, 1)
        (lower_difference,), (upper_difference,) = _bounds((of_top - forecasts)[:, None], interval, 1)
        found.append(
            Prediction(
                law=law,
                value=predicted,
                lower=float(lower),
                upper=float(upper),
                observed=observed,
                difference=observed - predicted,
                difference_lower=float(lower_difference),
                difference_upper=float(upper_difference),
                aicc=aicc(float(rss[0]), len(sizes), parameters),
            )
        )
    best = min(found, key=lambda one: one.aicc)
    return tuple(replace(one, chosen=one is best) for one in found)


def fit_law(law: str, sizes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of one law, for many sets of scores at once.

    Args:
        sizes: Number of training sessions, [point].
        scores: Mean scores, [set, point].

    Returns:
        Parameters, [set, parameter], and sums of squared residuals, [set].
    """
    sizes, scores = np.asarray(sizes, dtype=float), np.asarray(scores, dtype=float)
    if law == "constant":
        mean = scores.mean(axis=1, keepdims=True)
        return mean, ((scores - mean) ** 2).sum(axis=1)
    if law == "log_linear":
        level, slope, rss = _line(np.log(sizes)[None], scores)
        return np.stack([level, slope], axis=1), rss
    grid = _grid(law, sizes)
    missing, centred = _missing(law, sizes, grid), scores - scores.mean(axis=1, keepdims=True)
    missing -= missing.mean(axis=1, keepdims=True)
    missing /= np.sqrt((missing**2).sum(axis=1, keepdims=True))
    rss = (centred**2).sum(axis=1, keepdims=True) - (centred @ missing.T) ** 2
    shape = _refined(np.log(grid), rss)
    level, slope, rss = _line(_missing(law, sizes, shape), scores)
    smallest = sizes.min()
    # the rest is relative to that at the smallest size, so that no power overflows
    unscaled = smallest**shape if law == "power" else np.exp(smallest / shape)
    return np.stack([level, -slope * unscaled, shape], axis=1), rss


def evaluate(law: str, parameters: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """A law with many sets of parameters, [set, parameter], at some sizes, [size]: [set, size]."""
    sizes = np.atleast_1d(np.asarray(sizes, dtype=float))
    columns = [column[:, None] for column in np.asarray(parameters, dtype=float).T]
    if law == "constant":
        return columns[0] + 0 * sizes
    if law == "log_linear":
        return columns[0] + columns[1] * np.log(sizes)
    level, scale, shape = columns
    return level - scale * (sizes**-shape if law == "power" else np.exp(-sizes / shape))


def aicc(rss: float, points: int, parameters: int) -> float:
    """Akaike's criterion of a least-squares fit, corrected for few points; the variance is one more parameter.

    Returns:
        ``n ln(rss / n) + 2 k + 2 k (k + 1) / (n - k - 1)``; infinite where n is not above k + 1.
    """
    k = parameters + 1
    if points <= k + 1:
        return float("inf")
    return points * float(np.log(max(rss, _NO_RESIDUAL) / points)) + 2 * k + 2 * k * (k + 1) / (points - k - 1)


def akaike_weights(criteria: Sequence[float]) -> np.ndarray:
    """Probability of each law to be the best of those compared, [law]; 0 where there is no AICc."""
    criteria = np.asarray(criteria, dtype=float)
    if not np.isfinite(criteria).any():
        return np.zeros(len(criteria))
    weights = np.exp(-(criteria - criteria.min()) / 2)
    return weights / weights.sum()


def _points(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Size of each mean that is fitted, and its column among all draws and sizes.

    Where the top is one choice, it is one point, though its scores are repeated in every draw.
    """
    draws, sizes = curve.scores.shape[1:]
    draw, size = np.divmod(np.arange(draws * sizes), sizes)
    columns = np.flatnonzero(~(curve.one_choice_at_the_top & (size == sizes - 1) & (draw > 0)))
    return curve.sizes[size[columns]], columns


def _with_luck_at_the_top(curve: Curve, drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap draws whose top scatters like the largest size below it: one choice of sessions shows no scatter.

    That a draw of sessions differs from another is part of that scatter, so this errs on the wide side.
    """
    draws = curve.scores.shape[1]
    if not curve.one_choice_at_the_top or draws < 2 or len(curve.sizes) < 2 or not len(drawn):
        return drawn
    below = curve.scores[:, :, -2].mean(axis=0)
    luck = (below - below.mean()) * np.sqrt(draws / (draws - 1))
    moved = drawn.copy()
    moved[:, :, -1] += rng.choice(luck, size=(len(drawn), 1))
    return moved


def _flat(drawn: np.ndarray) -> np.ndarray:
    """Columns of all draws and sizes, [bootstrap draw, column]; also of no bootstrap draw."""
    return drawn.reshape(len(drawn), drawn.shape[1] * drawn.shape[2])


def _doubt(fit: LawFit, fits: Sequence[LawFit], curve: Curve, interval: float) -> str:
    parameters = len(fit.values)
    if np.isinf(fit.aicc):
        return f"{fit.points} points are too few for a law of {parameters} parameters"
    if len(curve.sizes) <= parameters and parameters > 1:
        return f"{len(curve.sizes)} sizes cannot test a law of {parameters} parameters"
    rivals = [other for other in fits if other.law != fit.law]
    simpler = [other for other in rivals if len(other.values) < parameters and other.aicc < fit.aicc]
    if simpler:
        return f"{_best(simpler)} has fewer parameters and a lower AICc"
    better = [other for other in rivals if other.aicc < fit.aicc - NEGLIGIBLE_AICC]
    if better:
        return f"{_best(better)} has a lower AICc by more than {NEGLIGIBLE_AICC:g}"
    if parameters < 3:
        return ""
    if not len(fit.drawn):
        return "one animal gives no interval"
    shapes, tail = fit.drawn[:, 2], (1 - interval) / 2
    lowest, highest = (_grid(fit.law, _points(curve)[0])[place] for place in (0, -1))
    name = PARAMETERS[fit.law][2]
    if np.mean(shapes <= lowest * (1 + 1e-9)) > tail or np.mean(shapes >= highest * (1 - 1e-9)) > tail:
        return f"the interval of {name} runs to the end of the range that was searched, {lowest:g} to {highest:g}"
    if np.mean(fit.drawn[:, 1] <= 0) > tail:
        return "that the score rises at all is not certain"
    return ""


def _best(fits: Sequence[LawFit]) -> str:
    return min(fits, key=lambda fit: fit.aicc).law.replace("_", "-")


def _grid(law: str, sizes: np.ndarray) -> np.ndarray:
    if law == "power":
        return np.geomspace(*ALPHA_RANGE, _GRID)
    return np.geomspace(_HALF_LIFE_RANGE[0] * sizes.min(), _HALF_LIFE_RANGE[1] * sizes.max(), _GRID)


def _missing(law: str, sizes: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Distance to the limit at each size, as a share of that at the smallest size, [set, point]."""
    if law == "power":
        return (sizes / sizes.min()) ** -shape[:, None]
    return np.exp(-(sizes - sizes.min()) / shape[:, None])


def _line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level and slope of each line of y, [set, point], on x, [set or 1, point], and its sum of squared residuals."""
    x_centred = x - x.mean(axis=1, keepdims=True)
    y_centred = y - y.mean(axis=1, keepdims=True)
    slope = (x_centred * y_centred).sum(axis=1) / (x_centred**2).sum(axis=1)
    rss = ((y_centred - slope[:, None] * x_centred) ** 2).sum(axis=1)
    return y.mean(axis=1) - slope * x.mean(axis=1), slope, rss


def _refined(grid: np.ndarray, rss: np.ndarray) -> np.ndarray:
    """The minimum between grid points by a parabola through the lowest three, [set]; at an end, the end."""
    lowest = rss.argmin(axis=1)
    inside = np.clip(lowest, 1, len(grid) - 2)
    rows = np.arange(len(rss))
    before, here, after = (rss[rows, inside + step] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    step = np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1.0), 0.0)
    refined = grid[inside] + np.clip(step, -1, 1) * (grid[1] - grid[0])
    return np.exp(np.where(lowest == inside, refined, grid[lowest]))


def _bounds(drawn: np.ndarray, interval: float, number: int) -> tuple[np.ndarray, np.ndarray]:
    if not len(drawn):
        return np.full(number, np.nan), np.full(number, np.nan)
    lower, upper = np.quantile(drawn, [(1 - interval) / 2, (1 + interval) / 2], axis=0)
    return lower, upper
