import numpy as np
import pytest
from factories.sessions import made_spikes, small_config
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from neurohorizon.timeline import Intervals, to_us
from neurohorizon.units import population_readout as module
from neurohorizon.units.counts import reference_counts
from neurohorizon.units.population_readout import fit_readout, zero_readout

SETTINGS = small_config().model.readout
DOMAIN = Intervals(to_us(np.array([0.0, 70.0])), to_us(np.array([60.0, 120.0])))


def binned(n_units=8, domain=DOMAIN, seed=0):
    times_us, unit = made_spikes(n_units=n_units, duration_s=120.0, seed=seed)
    return reference_counts(times_us, unit, n_units=n_units, intervals=domain, bin_us=20_000)


@pytest.fixture(scope="module")
def reference():
    counts, segment = binned()
    return counts, segment, np.log(counts.mean(0))


def contexts(counts, segment, origins, n_bins=10):
    """Cut contexts out of binned counts; bins of another segment are masked."""
    context = np.stack([counts[origin - n_bins : origin] for origin in origins]).astype(float)
    mask = np.stack([segment[origin - n_bins : origin] == segment[origin] for origin in origins])
    return context * mask[..., None], mask


def test_one_precision_is_scikit_learns_ridge(reference):
    # against an independent path: scikit-learn's components and its ridge, a unit and a group at a time
    counts, segment, log_rate = reference
    settings = SETTINGS.model_copy(update={"ridge": (50.0,), "modes": 2})
    fitted = fit_readout(counts, segment, log_rate, settings)
    mean = counts.mean(0)
    residual = (counts - mean) / np.sqrt(mean)
    same = segment[1:] == segment[:-1]
    pairs = (residual[1:] + residual[:-1])[same] / 2
    components = PCA(2).fit(np.concatenate([pairs, -pairs])).components_
    agreement = np.abs(components @ fitted.modes)
    np.testing.assert_allclose(agreement, np.eye(2), atol=1e-3)

    origins = np.array([t for t in range(1, len(counts)) if segment[t - 1] == segment[t]])
    state, outcome, own = [], [], []
    for t in origins:
        lower = np.searchsorted(segment, segment[t])
        upper = np.searchsorted(segment, segment[t], side="right")
        spans = [(max(t - 2, lower), t), (max(t - 10, lower), max(t - 2, lower))]
        state.append([residual[a:z].mean(0) @ fitted.modes if z > a else np.zeros(2) for a, z in spans])
        own.append([(counts[a:z] / mean - 1).mean(0) if z > a else np.zeros(8) for a, z in spans])
        outcome.append((counts[t : min(t + 2, upper)] / mean - 1).mean(0))
    state = (np.array(state) / fitted.scale).reshape(len(origins), -1)
    own, outcome = np.array(own), np.array(outcome)
    share = np.array([min(2, np.searchsorted(segment, segment[t], side="right") - t) / 2 for t in origins])
    for unit in range(8):
        information = 2 * mean[unit]
        alone = Ridge(alpha=30 / information, fit_intercept=False).fit(own[:, :, unit], outcome[:, unit], share)
        surprise = outcome[:, unit] - alone.predict(own[:, :, unit])
        expected = Ridge(alpha=50 / information, fit_intercept=False).fit(state, surprise, share).coef_
        np.testing.assert_allclose(fitted.weights[:, unit, 0], expected, rtol=2e-3, atol=2e-4)


def test_it_finds_the_shared_oscillation(reference):
    counts, segment, log_rate = reference
    fitted = fit_readout(counts, segment, log_rate, SETTINGS)
    later, later_segment = binned(domain=Intervals(to_us(np.array([61.0])), to_us(np.array([69.0]))))
    origins = np.arange(10, len(later) - 2)
    context, mask = contexts(later, later_segment, origins)
    gain = fitted.log_gain(context, mask, np.arange(8))[..., 0]
    mean = np.exp(log_rate)
    target = np.stack([later[t : t + 2].mean(0) for t in origins])
    gained = (target * gain - mean * (np.exp(gain) - 1)).sum()
    assert gained / target.sum() > 0.1  # nats per spike that its reference window did not hold
    assert (fitted.cv_gain[:, 0] > 0).sum() >= 6


def test_independent_units_are_not_trusted():
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.linspace(0.05, 0.5, 8), (6000, 8))
    fitted = fit_readout(counts, np.zeros(6000, int), np.log(counts.mean(0)), SETTINGS)
    assert fitted.cv_gain[:, 0].max() < 0.005
    assert np.abs(fitted.weights).max() < 0.1


def test_a_gap_is_not_looked_across(reference):
    counts, segment, log_rate = reference
    edge = int(np.searchsorted(segment, 1))
    settings = SETTINGS.model_copy(update={"ridge": (50.0,)})
    fitted = fit_readout(counts, segment, log_rate, settings)
    # reversing the order of the two segments changes what is beside the gap and nothing else
    swapped = fit_readout(
        np.concatenate([counts[edge:], counts[:edge]]),
        np.concatenate([np.zeros(len(counts) - edge, int), np.ones(edge, int)]),
        log_rate,
        settings,
    )
    sign = np.sign((fitted.modes * swapped.modes).sum(0))
    n_spans = len(SETTINGS.span_edges_bins)
    np.testing.assert_allclose(
        fitted.weights, swapped.weights * np.tile(sign, n_spans)[:, None, None], rtol=1e-3, atol=1e-5
    )


def test_unit_order_changes_nothing(reference):
    counts, segment, log_rate = reference
    order = np.random.default_rng(0).permutation(8)
    context, mask = contexts(counts, segment, np.arange(100, 120))
    plain = fit_readout(counts, segment, log_rate, SETTINGS)
    shuffled = fit_readout(counts[:, order], segment, log_rate[order], SETTINGS)
    np.testing.assert_allclose(
        plain.log_gain(context, mask, order), shuffled.log_gain(context[:, :, order], mask, np.arange(8)), atol=1e-4
    )


def test_nothing_before_the_last_span_matters(reference):
    counts, segment, log_rate = reference
    fitted = fit_readout(counts, segment, log_rate, SETTINGS)
    context, mask = contexts(counts, segment, np.arange(100, 120))
    short = fitted.log_gain(context, mask, np.arange(8))
    before = np.full((len(context), 7, 8), 9, context.dtype)
    longer = np.concatenate([before, context], axis=1)
    longer_mask = np.concatenate([np.ones((len(context), 7), bool), mask], axis=1)
    np.testing.assert_array_equal(fitted.log_gain(longer, longer_mask, np.arange(8)), short)


def test_units_that_are_not_heard_do_not_matter(reference):
    counts, segment, log_rate = reference
    fitted = fit_readout(counts, segment, log_rate, SETTINGS)
    context, mask = contexts(counts, segment, np.arange(100, 120))
    encoded_units = np.arange(8) != 3
    louder = context.copy()
    louder[:, :, 3] += 5
    quiet = fitted.log_gain(context, mask, np.arange(8), encoded_units)
    np.testing.assert_array_equal(quiet, fitted.log_gain(louder, mask, np.arange(8), encoded_units))
    assert not np.allclose(quiet, fitted.log_gain(louder, mask, np.arange(8)))


def test_a_gain_counts_less_the_further_the_state_is_from_the_reference_window(reference):
    counts, segment, log_rate = reference
    full, careful = (
        fit_readout(counts, segment, log_rate, SETTINGS.model_copy(update={"leverage": c})) for c in (0, 2)
    )
    assert full.distrust.shape == (6, 0)
    np.testing.assert_array_equal(full.weights, careful.weights)
    origins = np.arange(10, len(counts) - 2)[segment[10:-2] == segment[:-12]]
    context, mask = contexts(counts, segment, origins)
    ratio = careful.log_gain(context, mask, np.arange(8)) / full.log_gain(context, mask, np.arange(8))
    residual = (context - np.exp(log_rate)) / np.exp(log_rate / 2)
    spans = [residual[:, -2:].mean(1) @ full.modes, residual[:, -10:-2].mean(1) @ full.modes]
    state = (np.stack(spans, axis=1) / full.scale).reshape(len(origins), -1)
    covariance = state.T @ state / len(state)
    inverse = np.linalg.inv(covariance + 0.01 * np.trace(covariance) / 6 * np.eye(6))
    leverage = np.einsum("tk,kl,tl->t", state, inverse, state)
    expected = 1 / np.sqrt(1 + 2 * leverage / leverage.mean())
    np.testing.assert_allclose(ratio[:, 0, 0], expected, rtol=0.05)
    far = careful.log_gain(50 * context, mask, np.arange(8)), full.log_gain(50 * context, mask, np.arange(8))
    assert np.abs(far[0]).max() < 0.2 * np.abs(far[1]).max()


def test_silent_units_and_tiny_windows_stay_finite():
    counts = np.zeros((40, 3), int)
    counts[5, 0] = 1
    log_rate = np.log(np.maximum(counts.sum(0), 0.5) / 40)
    fitted = fit_readout(counts, np.zeros(40, int), log_rate, SETTINGS)
    assert np.isfinite(fitted.weights).all()
    assert np.isfinite(fitted.cv_gain).all()
    gain = fitted.log_gain(np.ones((2, 10, 3)), np.ones((2, 10), bool), np.arange(3))
    assert np.isfinite(gain).all()
    assert np.abs(gain).max() <= module.LARGEST_LOG_GAIN


def test_without_modes_it_says_nothing(reference):
    counts, segment, log_rate = reference
    context, mask = contexts(counts, segment, np.arange(100, 103))
    fitted = fit_readout(counts, segment, log_rate, SETTINGS.model_copy(update={"modes": 0}))
    for one in (fitted, zero_readout(log_rate, SETTINGS)):
        gain = one.log_gain(context, mask, np.array([1, 2]))
        assert gain.shape == (3, 2, 2)
        assert not gain.any()


def test_a_thousand_units_take_the_iterative_path_to_the_same_modes(reference):
    counts, segment, log_rate = reference
    mean = np.exp(log_rate)
    residual = ((counts - mean) / np.sqrt(mean)).astype(np.float32)
    few = module._principal_modes(residual, segment, 1)  # 4 * 1 <= 8 units: iterative
    all_modes = module._principal_modes(residual, segment, 8)  # dense
    np.testing.assert_allclose(np.abs(few[:, 0] @ all_modes[:, 0]), 1, atol=1e-4)
