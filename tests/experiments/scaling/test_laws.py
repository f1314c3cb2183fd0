"""Laws of scaling: planted ones come back, others are told apart, and what is not known is said."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from neurohorizon.experiments.scaling.laws import (
    ALPHA_RANGE,
    LAWS,
    PARAMETERS,
    Curve,
    FitError,
    aicc,
    akaike_weights,
    evaluate,
    fit_law,
    fit_laws,
    predict_top,
)

SIZES = np.array([10.0, 50.0, 100.0, 200.0, 370.0])
PLANTED = {
    "power": np.array([0.30, 0.8, 0.6]),
    "saturating": np.array([0.25, 0.2, 90.0]),
    "log_linear": np.array([0.02, 0.03]),
    "constant": np.array([0.15]),
}
OPTIONS = {"draws": 400, "interval": 0.95}
FORMULAS = {  # written as in the paper, for scipy
    "power": lambda d, b, a, alpha: b - a * d**-alpha,
    "saturating": lambda d, b, a, k: b - a * np.exp(-d / k),
    "log_linear": lambda d, c, s: c + s * np.log(d),
    "constant": lambda d, c: c + 0 * d,
}


def made_curve(law, seed, *, scatter=0.002, animals=30, draws=5, sizes=SIZES, values=None):
    """Scores around a law: each session has a level of its own, each training a little luck."""
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(animals), rng.integers(1, 4, animals))
    truth = FORMULAS[law](sizes, *(PLANTED[law] if values is None else values))
    luck = rng.normal(0, scatter, (draws, len(sizes)))
    luck[:, -1] = luck[0, -1]
    levels = rng.normal(0, 0.05, animals)[names] + rng.normal(0, 0.02, len(names))
    levels -= levels.mean()
    noise = rng.normal(0, 0.005, (len(names), draws, len(sizes)))
    noise[:, :, -1] = noise[:, :1, -1]
    return Curve(
        sizes=sizes,
        scores=truth + luck + levels[:, None, None] + noise,
        animals=names,
        one_choice_at_the_top=True,
    )


def fitted(law, seed=0, **options):
    fits = fit_laws(made_curve(law, seed, **options), np.random.default_rng(0), **OPTIONS)
    return {fit.law: fit for fit in fits}


@pytest.mark.parametrize("law", LAWS)
def test_a_law_without_noise_comes_back(law):
    values, rss = fit_law(law, SIZES, FORMULAS[law](SIZES, *PLANTED[law])[None])
    np.testing.assert_allclose(values[0], PLANTED[law], rtol=2e-3)
    assert rss[0] < 1e-8
    np.testing.assert_allclose(evaluate(law, PLANTED[law][None], SIZES)[0], FORMULAS[law](SIZES, *PLANTED[law]))


@pytest.mark.parametrize("law", LAWS)
def test_least_squares_are_scipys(law):
    rng = np.random.default_rng(1)
    sizes = np.repeat(SIZES, 3)
    scores = FORMULAS[law](sizes, *PLANTED[law]) + rng.normal(0, 0.002, (4, len(sizes)))
    values, rss = fit_law(law, sizes, scores)
    for row in range(4):
        found, _ = curve_fit(FORMULAS[law], sizes, scores[row], p0=PLANTED[law], maxfev=20_000)
        expected = ((scores[row] - FORMULAS[law](sizes, *found)) ** 2).sum()
        assert rss[row] == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(values[row], found, rtol=0.02)


def test_aicc_is_that_of_the_likelihood_of_the_residuals():
    rss, points, parameters = 0.02, 9, 3
    variance = rss / points
    log_likelihood = -0.5 * points * (np.log(2 * np.pi * variance) + 1)
    k = parameters + 1
    expected = -2 * log_likelihood + 2 * k + 2 * k * (k + 1) / (points - k - 1)
    # but for what all laws share
    assert aicc(rss, points, parameters) == pytest.approx(expected - points * (np.log(2 * np.pi) + 1))
    assert aicc(rss, 5, 3) == np.inf
    weights = akaike_weights([0.0, 2.0, np.inf])
    np.testing.assert_allclose(weights, np.array([1, np.exp(-1), 0]) / (1 + np.exp(-1)))
    assert akaike_weights([np.inf, np.inf]).sum() == 0


@pytest.mark.parametrize("law", LAWS)
def test_the_planted_law_is_chosen_and_its_parameters_lie_in_their_intervals(law):
    chosen, inside = [], []
    for seed in range(12):
        fits = fitted(law, seed)
        chosen.append(min(fits.values(), key=lambda fit: fit.aicc).law == law)
        fit = fits[law]
        inside.append((fit.lower <= PLANTED[law]) & (PLANTED[law] <= fit.upper))
    assert np.mean(chosen) >= 0.75
    assert np.mean(inside) >= 0.8


def test_nominal_95_percent_covers_the_exponent_with_ten_draws():
    covered = []
    for seed in range(120):
        curve = made_curve("power", [7, seed], draws=10, scatter=0.004)
        power = fit_laws(curve, np.random.default_rng(seed), **OPTIONS)[0]
        covered.append(power.lower[2] <= PLANTED["power"][2] <= power.upper[2])
    assert 0.89 <= np.mean(covered) <= 0.99


def test_alpha_and_b_are_identified_where_the_data_decide_them():
    fit = fitted("power")["power"]
    assert fit.not_identified == ""
    b, _, alpha = range(3)
    assert fit.lower[alpha] < 0.6 < fit.upper[alpha]
    assert fit.upper[alpha] - fit.lower[alpha] < 0.3
    assert fit.lower[b] < 0.3 < fit.upper[b]


@pytest.mark.parametrize(
    ("law", "options", "why"),
    [
        ("log_linear", {}, "log-linear has fewer parameters"),
        ("constant", {}, "constant has fewer parameters"),
        ("saturating", {"scatter": 0.0005, "values": (0.25, 0.2, 30.0)}, "saturating has a lower AICc"),
        ("power", {"sizes": SIZES[:3]}, "3 sizes cannot test a law of 3 parameters"),
        ("power", {"sizes": SIZES[:3], "draws": 1}, "points are too few"),
        ("power", {"animals": 1}, "one animal"),
    ],
)
def test_a_power_law_that_the_data_do_not_decide_is_not_identified(law, options, why):
    assert why in fitted(law, **options)["power"].not_identified


def test_an_exponent_that_runs_out_of_the_range_is_not_identified():
    steep = np.array([0.3, 0.2 * 10**4.5, 4.5])
    fit = fitted("power", values=steep)["power"]
    assert fit.upper[2] == pytest.approx(ALPHA_RANGE[1])
    assert "runs to the end of the range" in fit.not_identified


def test_a_power_law_that_falls_is_not_called_a_rise():
    fit = fitted("power", values=np.array([0.1, -0.8, 0.6]))["power"]
    assert "rises at all" in fit.not_identified


def test_laws_need_as_many_sizes_as_parameters():
    assert list(fitted("power", sizes=SIZES[:2])) == ["log_linear", "constant"]
    assert all(len(PARAMETERS[law]) == len(fit.values) for law, fit in fitted("power").items())


def test_the_top_counts_once_though_it_stands_in_every_draw():
    fit = fitted("power", draws=4)["power"]
    assert fit.points == 4 * (len(SIZES) - 1) + 1


def test_draws_and_animals_widen_the_interval():
    def width(**options):
        fit = fitted("log_linear", **options)["log_linear"]
        return fit.upper[1] - fit.lower[1]

    assert width(scatter=0.01) > 2 * width(scatter=0.001)
    # sessions differ in their level alone, so animals matter for the level and not for the slope
    level = fitted("log_linear")["log_linear"]
    assert level.upper[0] - level.lower[0] > 0.02


def test_the_top_scatters_like_the_size_below_though_it_was_trained_on_once():
    curve = made_curve("log_linear", 0, sizes=SIZES[:2], draws=6, scatter=0.01)
    slope = fit_laws(curve, np.random.default_rng(0), draws=4000, interval=0.95)[0].drawn[:, 1]
    of_draws = curve.scores[:, :, 0].mean(axis=0).var(ddof=1)
    # the mean of six draws at the smaller size, and one training at the top
    expected = np.sqrt(of_draws / 6 + of_draws) / np.log(SIZES[1] / SIZES[0])
    assert slope.std() == pytest.approx(expected, rel=0.05)


def test_a_band_holds_the_law():
    fit = fitted("power")["power"]
    lower, upper = fit.band(SIZES, 0.95)
    assert (lower < fit.at(SIZES)).all()
    assert (fit.at(SIZES) < upper).all()
    assert np.isnan(fitted("power", animals=1)["power"].band(SIZES, 0.95)[0]).all()


@pytest.mark.parametrize("law", LAWS)
def test_the_right_law_predicts_the_top_from_the_smaller_sizes(law):
    held = []
    for seed in range(12):
        found = predict_top(made_curve(law, seed), np.random.default_rng(0), **OPTIONS)
        prediction = {one.law: one for one in found}[law]
        assert prediction.lower < prediction.value < prediction.upper
        assert sum(one.chosen for one in found) == 1
        held.append(prediction.holds)
    assert np.mean(held) >= 0.75


def test_a_wrong_law_does_not_predict_the_top():
    found = {one.law: one for one in predict_top(made_curve("power", 0), np.random.default_rng(0), **OPTIONS)}
    assert found["log_linear"].difference < -0.02
    assert found["log_linear"].holds is False
    assert found["constant"].difference > 0.02
    assert found["constant"].holds is False


def test_the_prediction_never_sees_the_top():
    curve = made_curve("power", 0)
    raised = Curve(
        sizes=curve.sizes,
        scores=curve.scores + np.array([0, 0, 0, 0, 0.5]),
        animals=curve.animals,
        one_choice_at_the_top=True,
    )
    for one, other in zip(
        predict_top(curve, np.random.default_rng(0), **OPTIONS),
        predict_top(raised, np.random.default_rng(0), **OPTIONS),
        strict=True,
    ):
        assert (one.value, one.lower, one.upper) == (other.value, other.lower, other.upper)
        assert other.observed == pytest.approx(one.observed + 0.5)
        assert other.difference == pytest.approx(one.difference + 0.5)


def test_without_an_interval_nothing_is_said_to_hold():
    found = predict_top(made_curve("power", 0, animals=1), np.random.default_rng(0), **OPTIONS)
    assert all(one.holds is None and np.isnan(one.lower) for one in found)
    assert predict_top(made_curve("power", 0, sizes=SIZES[:2]), np.random.default_rng(0), **OPTIONS) == ()


@pytest.mark.parametrize(
    ("sizes", "scores", "message"),
    [
        ([2.0, 4.0], np.zeros((3, 1, 3)), "scores are"),
        ([2.0, 4.0], np.full((2, 1, 2), np.nan), "missing"),
        ([4.0, 2.0], np.zeros((2, 1, 2)), "rise"),
        ([2.0], np.zeros((2, 1, 1)), "two or more sizes"),
    ],
)
def test_scores_that_make_no_curve_are_refused(sizes, scores, message):
    with pytest.raises(FitError, match=message):
        Curve(sizes=np.array(sizes), scores=scores, animals=["a", "b"], one_choice_at_the_top=False)
