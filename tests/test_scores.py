"""Scores agree with scipy and with independently written definitions, for odd units too."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import poisson

from neurohorizon.scores import (
    NULLS,
    Sums,
    bits_per_spike,
    evaluation_null_nats,
    poisson_d2,
    poisson_log_likelihood,
    sum_scores,
)

WINDOWS, BINS, UNITS = 23, 5, 7
SILENT, ONE_SPIKE, ZERO_RATE = 2, 4, 6


def _example(seed: int = 3) -> dict[str, np.ndarray]:
    """Counts with a silent unit, a one-spike unit and a silent unit forecast at rate zero."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(-2.5, 0.8, WINDOWS * BINS * UNITS).reshape(WINDOWS, BINS, UNITS)
    log_rate = rng.permuted(ramp, axis=2).astype(np.float32)
    counts = rng.poisson(np.exp(log_rate.astype(np.float64)))
    counts[:, :, [SILENT, ONE_SPIKE, ZERO_RATE]] = 0
    counts[11, 3, ONE_SPIKE] = 1
    log_rate[:, :, ZERO_RATE] = -np.inf
    mask = np.ones((WINDOWS, BINS), dtype=bool)
    mask[4, 3:] = mask[20, 1:] = False
    mask[7] = False
    return {
        "counts": counts,
        "log_rate": log_rate,
        "mask": mask,
        "reference_log_rate": np.linspace(-3.0, 0.3, UNITS),
    }


def _nlb_bits_per_spike(rates: np.ndarray, spikes: np.ndarray) -> float:
    """The benchmark's definition, from its paper: full negative log-likelihoods over the unit means."""
    mean_rates = np.broadcast_to(spikes.mean(axis=0), spikes.shape)

    def negative_log_likelihood(rate: np.ndarray) -> float:
        rate = np.where(rate == 0, 1e-9, rate)
        return float(np.sum(rate - spikes * np.log(rate) + gammaln(spikes + 1)))

    gain = negative_log_likelihood(mean_rates) - negative_log_likelihood(rates)
    return gain / spikes.sum() / np.log(2)


def test_log_likelihood_agrees_with_scipy():
    example = _example()
    counts, log_rate = example["counts"], example["log_rate"].astype(np.float64)
    ours = poisson_log_likelihood(counts, log_rate) - gammaln(counts + 1)
    np.testing.assert_allclose(ours, poisson.logpmf(counts, np.exp(log_rate)), atol=1e-9, rtol=1e-9)


def test_a_rate_of_zero_expects_no_spike_and_forbids_one():
    nats = poisson_log_likelihood(np.array([0, 1, 3]), np.full(3, -np.inf))
    np.testing.assert_array_equal(nats, [0.0, -np.inf, -np.inf])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_forecast_without_a_rate_is_an_error(bad):
    with pytest.raises(ValueError, match="NaN or plus infinity"):
        poisson_log_likelihood(np.array([1]), np.array([bad]))


def test_sums_agree_with_scipy_bin_by_bin():
    example = _example()
    sums = sum_scores(**example)
    for unit in range(UNITS):
        for horizon_bin in range(BINS):
            valid = example["mask"][:, horizon_bin]
            counts = example["counts"][valid, horizon_bin, unit]
            constant = gammaln(counts + 1).sum()
            rate = np.exp(example["log_rate"][valid, horizon_bin, unit].astype(np.float64))
            assert sums.windows[horizon_bin] == valid.sum()
            assert sums.spikes[horizon_bin, unit] == counts.sum()
            for name, expected in {
                "model": rate,
                "reference": np.exp(np.float64(np.float32(example["reference_log_rate"][unit]))),
                "saturated": counts,
            }.items():
                found = getattr(sums, f"{name}_nats")[horizon_bin, unit] - constant
                assert found == pytest.approx(poisson.logpmf(counts, expected).sum(), abs=1e-9)


def test_bits_per_spike_agrees_with_the_neural_latents_benchmark():
    example = _example()
    sums = sum_scores(**example)
    valid = example["mask"]
    rates = np.exp(example["log_rate"].astype(np.float64))
    ours = bits_per_spike(
        model_nats=sums.model_nats.sum(),
        null_nats=sums.null_nats("evaluation").sum(),
        spikes=sums.spikes.sum(),
    )
    assert ours == pytest.approx(_nlb_bits_per_spike(rates[valid], example["counts"][valid]), abs=1e-6)


def test_a_one_spike_unit_agrees_with_the_neural_latents_benchmark_alone():
    example = _example()
    sums = sum_scores(**example)
    valid = example["mask"]
    one = [ONE_SPIKE]
    ours = bits_per_spike(
        model_nats=sums.model_nats[:, one].sum(),
        null_nats=sums.evaluation_nats[:, one].sum(),
        spikes=sums.spikes[:, one].sum(),
    )
    rates = np.exp(example["log_rate"].astype(np.float64))
    expected = _nlb_bits_per_spike(rates[valid][:, one], example["counts"][valid][:, one])
    assert sums.spikes[:, ONE_SPIKE].sum() == 1
    assert ours == pytest.approx(expected, abs=1e-6)


def test_the_reference_null_is_the_loglikelihood_ratio_of_scipy():
    example = _example()
    sums = sum_scores(**example)
    valid = example["mask"]
    counts = example["counts"][valid]
    model = poisson.logpmf(counts, np.exp(example["log_rate"].astype(np.float64))[valid]).sum()
    null = poisson.logpmf(counts, np.exp(example["reference_log_rate"])).sum()
    ours = bits_per_spike(
        model_nats=sums.model_nats.sum(), null_nats=sums.reference_nats.sum(), spikes=sums.spikes.sum()
    )
    assert ours == pytest.approx((model - null) / np.log(2) / counts.sum(), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_untrained_model_scores_exactly_zero_over_the_reference_null(dtype):
    example = _example()
    example["log_rate"] = np.broadcast_to(example["reference_log_rate"], (WINDOWS, BINS, UNITS)).astype(dtype)
    sums = sum_scores(**example)
    np.testing.assert_array_equal(sums.model_nats, sums.reference_nats)
    assert bits_per_spike(model_nats=sums.model_nats, null_nats=sums.reference_nats, spikes=sums.spikes)[0, 0] == 0.0


def test_sums_add_over_windows_whatever_the_split(monkeypatch):
    example = _example()
    whole = sum_scores(**example)
    per_window = ("counts", "log_rate", "mask")
    parts = [
        sum_scores(**{name: value[rows] if name in per_window else value for name, value in example.items()})
        for rows in (slice(0, 6), slice(6, 7), slice(7, None))
    ]
    added = parts[0] + parts[1] + parts[2]
    monkeypatch.setattr("neurohorizon.scores._CHUNK_VALUES", 1)
    chunked = sum_scores(**example)
    for name in Sums.__dataclass_fields__:
        np.testing.assert_allclose(getattr(added, name), getattr(whole, name), rtol=1e-12)
        np.testing.assert_allclose(getattr(chunked, name), getattr(whole, name), rtol=1e-12)
    np.testing.assert_allclose(added.evaluation_nats, whole.evaluation_nats, rtol=1e-12)


def test_a_masked_bin_changes_nothing_whatever_it_holds():
    example = _example()
    before = sum_scores(**example)
    hidden = ~example["mask"]
    example["counts"][hidden] = 9
    example["log_rate"][hidden] = np.nan
    after = sum_scores(**example)
    for name in Sums.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_unmasking_a_bin_changes_its_own_horizon_bin_alone():
    example = _example()
    before = sum_scores(**example)
    example["mask"][4, 3] = True
    after = sum_scores(**example)
    changed = np.flatnonzero((before.model_nats != after.model_nats).any(axis=1))
    np.testing.assert_array_equal(changed, [3])
    assert after.windows[3] == before.windows[3] + 1


def test_unit_order_changes_nothing():
    example = _example()
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    sums = sum_scores(**example)
    shuffled = {
        name: value if name in ("mask",) else value[..., order] for name, value in example.items()
    }  # the last axis is the unit in all but the mask
    moved = sum_scores(**shuffled)
    np.testing.assert_array_equal(moved.model_nats, sums.model_nats[:, order])
    np.testing.assert_array_equal(moved.evaluation_nats, sums.evaluation_nats[:, order])


def test_a_silent_unit_has_no_score_of_its_own_but_counts_in_the_pool():
    example = _example()
    sums = sum_scores(**example)
    alone = bits_per_spike(
        model_nats=sums.model_nats.sum(axis=0),
        null_nats=sums.reference_nats.sum(axis=0),
        spikes=sums.spikes.sum(axis=0),
    )
    assert np.isnan(alone[SILENT])
    assert np.isnan(alone[ZERO_RATE])
    assert np.isfinite(alone[[0, 1, 3, ONE_SPIKE, 5]]).all()
    assert sums.model_nats[:, ZERO_RATE].sum() == 0.0
    gain = (sums.model_nats - sums.reference_nats).sum(axis=0)
    assert gain[ZERO_RATE] == pytest.approx(np.exp(0.3) * example["mask"].sum(), rel=1e-6)


def test_a_spike_at_rate_zero_is_reported_as_minus_infinity():
    example = _example()
    example["counts"][0, 0, ZERO_RATE] = 1
    sums = sum_scores(**example)
    pooled = bits_per_spike(
        model_nats=sums.model_nats.sum(), null_nats=sums.reference_nats.sum(), spikes=sums.spikes.sum()
    )
    assert pooled == -np.inf
    assert np.isfinite(sums.model_nats[1:]).all()


def test_an_unknown_null_is_named():
    with pytest.raises(ValueError, match="'mean' is not one of"):
        sum_scores(**_example()).null_nats("mean")
    assert NULLS[0] == "reference"


def test_poisson_d2_is_the_explained_deviance_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    example = _example()
    sums = sum_scores(**example)
    ours = poisson_d2(
        model_nats=sums.model_nats.sum(axis=0),
        evaluation_nats=sums.evaluation_nats.sum(axis=0),
        saturated_nats=sums.saturated_nats.sum(axis=0),
    )
    valid = example["mask"]
    for unit in (0, 1, 3, ONE_SPIKE, 5):
        counts = example["counts"][valid][:, unit]
        rate = np.exp(example["log_rate"][valid][:, unit].astype(np.float64))
        assert ours[unit] == pytest.approx(metrics.d2_tweedie_score(counts, rate, power=1), abs=1e-6)
    assert np.isnan(ours[[SILENT, ZERO_RATE]]).all()


def test_the_evaluation_null_is_the_best_constant_rate():
    example = _example()
    sums = sum_scores(**example)
    best = sums.evaluation_nats.sum(axis=0)
    mean = sums.spikes.sum(axis=0) / sums.windows.sum()
    for factor in (0.8, 1.25):
        with np.errstate(divide="ignore"):
            example["log_rate"] = np.broadcast_to(np.log(mean * factor), (WINDOWS, BINS, UNITS))
        other = sum_scores(**example).model_nats.sum(axis=0)
        assert (other[mean > 0] < best[mean > 0]).all()
    np.testing.assert_array_equal(best[mean == 0], 0.0)


def test_no_windows_give_zero_sums_and_no_score():
    example = {name: value[:0] if value.ndim > 1 else value for name, value in _example().items()}
    sums = sum_scores(**example)
    assert sums.spikes.sum() == 0
    assert sums.windows.sum() == 0
    np.testing.assert_array_equal(evaluation_null_nats(spikes=sums.spikes, windows=sums.windows), 0.0)
    assert np.isnan(bits_per_spike(model_nats=0.0, null_nats=0.0, spikes=0))


@pytest.mark.parametrize("name", ["log_rate", "mask", "reference_log_rate"])
def test_shapes_that_disagree_are_an_error(name):
    example = _example()
    example[name] = example[name][1:]
    with pytest.raises(ValueError, match=name):
        sum_scores(**example)


def test_scores_load_without_torch_or_tables():
    heavy = ("torch", "pandas", "h5py", "scipy")
    code = f"import sys, neurohorizon.scores; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
