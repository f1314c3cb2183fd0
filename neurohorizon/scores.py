"""Poisson scores of forecasts: sums first, ratios last.

A forecast is scored once, into sums per unit and horizon bin (:func:`sum_scores`). Sums add over windows, units, bins
and sessions; every reported number is one ratio of them, relative to a null that the caller names:

``reference``
    The unit's mean rate in the reference window, which is available before the forecast. Primary.
``evaluation``
    The unit's own mean count over the scored bins, which is unavailable to any forecast; the null of the Neural
    Latents Benchmark.

All log-likelihoods are in nats and exclude ``-log(counts!)``, which is the same for every forecast of the same counts
and cancels in every score. Nothing is clipped: a spike at a forecast rate of zero gives a score of minus infinity.
"""

from dataclasses import dataclass

import numpy as np

NULLS = ("reference", "evaluation")

_CHUNK_VALUES = 2**18  # float64 values of one temporary: small enough for the cache, seven times faster than 2**22


def scored_units(mean_counts: np.ndarray, *, minimum_rate_hz: float, bin_us: int) -> np.ndarray:
    """Return True for units that reach the minimum rate, bool [unit].

    Args:
        mean_counts: Expected spikes per bin in the reference window, [unit].
        minimum_rate_hz: Lowest mean rate in the reference window of a scored unit.
        bin_us: Bin width.
    """
    return mean_counts >= minimum_rate_hz * bin_us / 1e6


def poisson_log_likelihood(counts: np.ndarray, log_rate: np.ndarray) -> np.ndarray:
    """Return the Poisson log-likelihood of each count, ``counts * log_rate - exp(log_rate)``, float64 nats.

    Args:
        counts: Observed spikes per bin, any shape.
        log_rate: Natural log of expected spikes per bin, broadcastable to ``counts``. Minus infinity is a rate of zero:
            0 nats for no spike, minus infinity for any spike.

    Raises:
        ValueError: A log rate is NaN or plus infinity.
    """
    counts = np.asarray(counts, dtype=np.float64)
    log_rate = np.asarray(log_rate, dtype=np.float64)
    if np.isnan(log_rate).any() or np.isposinf(log_rate).any():
        raise ValueError("log_rate holds NaN or plus infinity: a forecast needs a finite rate, or minus infinity for 0")
    # 0 * -inf is NaN; the likelihood of no spikes at rate 0 is 1
    interaction = np.multiply(counts, log_rate, out=np.zeros(np.broadcast(counts, log_rate).shape), where=counts != 0)
    return interaction - np.exp(log_rate)


@dataclass(frozen=True)
class Sums:
    """Score sums of one forecast of one session; adding two of the same units adds their windows.

    Attributes:
        windows: Valid windows, int64 [horizon_bin].
        spikes: Observed spikes, int64 [horizon_bin, unit].
        model_nats: Log-likelihood of the forecast, float64 [horizon_bin, unit].
        reference_nats: Log-likelihood of the reference-window mean rate, float64 [horizon_bin, unit].
        saturated_nats: Log-likelihood of a forecast equal to the counts, float64 [horizon_bin, unit].
    """

    windows: np.ndarray
    spikes: np.ndarray
    model_nats: np.ndarray
    reference_nats: np.ndarray
    saturated_nats: np.ndarray

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    @property
    def evaluation_nats(self) -> np.ndarray:
        """Log-likelihood of each unit's mean count over all scored bins, float64 [horizon_bin, unit].

        One rate per unit for all horizon bins, as in the Neural Latents Benchmark. It is computed from the other sums,
        so add sums before reading it.
        """
        return evaluation_null_nats(spikes=self.spikes, windows=self.windows)

    def null_nats(self, null: str) -> np.ndarray:
        """Log-likelihood of the named null, float64 [horizon_bin, unit]."""
        if null not in NULLS:
            raise ValueError(f"null {null!r} is not one of {NULLS}")
        return getattr(self, f"{null}_nats")


def sum_scores(
    *,
    counts: np.ndarray,
    log_rate: np.ndarray,
    mask: np.ndarray,
    reference_log_rate: np.ndarray,
) -> Sums:
    """Sum a forecast's log-likelihoods over its windows.

    The null is rounded to the precision of ``log_rate`` first, so that a forecast equal to it scores exactly zero.

    Args:
        counts: Observed spikes per bin, [window, horizon_bin, unit].
        log_rate: Natural log of expected spikes per bin, [window, horizon_bin, unit].
        mask: True where the bin is valid time, [window, horizon_bin]; other bins enter no sum.
        reference_log_rate: Natural log of the mean spikes per bin in the reference window, [unit].

    Raises:
        ValueError: Shapes disagree, counts are negative, or a valid bin's log rate is NaN or plus infinity.
    """
    counts, log_rate, mask = np.asarray(counts), np.asarray(log_rate), np.asarray(mask, dtype=bool)
    if counts.ndim != 3 or log_rate.shape != counts.shape or mask.shape != counts.shape[:2]:
        raise ValueError(
            "counts and log_rate must be [window, horizon_bin, unit] and mask [window, horizon_bin]; "
            f"found counts {counts.shape}, log_rate {log_rate.shape}, mask {mask.shape}"
        )
    if counts.size and counts.min() < 0:
        raise ValueError(f"counts must not be negative; found {counts.min()}")
    n_windows, n_bins, n_units = counts.shape
    reference = np.asarray(reference_log_rate).astype(log_rate.dtype)
    if reference.shape != (n_units,):
        raise ValueError(f"reference_log_rate must be [unit] = ({n_units},); found {reference.shape}")

    spikes = np.zeros((n_bins, n_units), dtype=np.int64)
    nats = {name: np.zeros((n_bins, n_units)) for name in ("model", "saturated", "reference")}
    step = max(1, _CHUNK_VALUES // max(1, n_bins * n_units))
    for first in range(0, n_windows, step):
        rows = slice(first, first + step)
        valid = mask[rows, :, None]
        observed = np.where(valid, counts[rows], 0).astype(np.int64)
        spikes += observed.sum(axis=0)
        with np.errstate(divide="ignore"):
            candidates = {"model": log_rate[rows], "saturated": np.log(observed), "reference": reference}
        for name, candidate in candidates.items():
            # values of invalid bins are arbitrary, so they are replaced before the likelihood and excluded after it
            candidate = np.where(valid, candidate, log_rate.dtype.type(0))
            nats[name] += np.where(valid, poisson_log_likelihood(observed, candidate), 0.0).sum(axis=0)
    return Sums(
        windows=mask.sum(axis=0, dtype=np.int64),
        spikes=spikes,
        model_nats=nats["model"],
        reference_nats=nats["reference"],
        saturated_nats=nats["saturated"],
    )


def evaluation_null_nats(*, spikes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return the log-likelihood of each unit's mean count over the scored bins.

    Args:
        spikes: Observed spikes, [horizon_bin, unit].
        windows: Valid windows, [horizon_bin].

    Returns:
        float64 nats [horizon_bin, unit]; 0 for a silent unit.
    """
    spikes, windows = np.asarray(spikes, dtype=np.float64), np.asarray(windows, dtype=np.float64)
    total = spikes.sum(axis=0)
    mean = np.divide(total, windows.sum(), out=np.zeros_like(total), where=windows.sum() > 0)
    log_mean = np.log(mean, out=np.zeros_like(mean), where=mean > 0)
    return spikes * log_mean - windows[:, None] * mean


def bits_per_spike(*, model_nats: np.ndarray, null_nats: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Return the information gained relative to the null, in bits per observed spike, from sums of one shape.

    With ``null_nats`` of the evaluation mean, summed over all bins and units, this is the co-bps of the Neural Latents
    Benchmark (Pei et al. 2021, eq. 2).

    Args:
        model_nats: Summed log-likelihood of the forecast.
        null_nats: Summed log-likelihood of the null over the same bins.
        spikes: Observed spikes in those bins.

    Returns:
        float64, same shape. NaN without a spike to divide by; such sums still count when they are added to others.
        Minus infinity for a spike at a forecast rate of zero.
    """
    model_nats, null_nats, spikes = (np.asarray(value, dtype=np.float64) for value in (model_nats, null_nats, spikes))
    with np.errstate(invalid="ignore"):
        gain = model_nats - null_nats
    undefined = np.full(np.broadcast(gain, spikes).shape, np.nan)
    return np.divide(gain, spikes * np.log(2.0), out=undefined, where=spikes > 0)[()]


def poisson_d2(*, model_nats: np.ndarray, evaluation_nats: np.ndarray, saturated_nats: np.ndarray) -> np.ndarray:
    """Return the share of the Poisson deviance around each unit's evaluation mean that the forecast explains.

    This is Cohen's pseudo-R2 per unit, as the IBL Brain-Wide Bench defines it (``ibl-bwb-eval``, ``PoissonD2Score``);
    their score of a session is the mean over the units for which it is defined.

    Args:
        model_nats: Log-likelihood of the forecast, summed over windows and bins, [unit].
        evaluation_nats: Log-likelihood of the unit's mean over the scored bins, [unit].
        saturated_nats: Log-likelihood of a forecast equal to the counts, [unit].

    Returns:
        float64 [unit]; 1 is perfect, 0 the mean, NaN where the counts do not vary (silent units).
    """
    model_nats, evaluation_nats, saturated_nats = (
        np.asarray(value, dtype=np.float64) for value in (model_nats, evaluation_nats, saturated_nats)
    )
    null_deviance = saturated_nats - evaluation_nats
    undefined = np.full(np.broadcast(model_nats, null_deviance).shape, np.nan)
    # the deviance of constant counts is rounding error, and a ratio to it has no meaning
    varies = null_deviance > 1e-9
    return 1.0 - np.divide(saturated_nats - model_nats, null_deviance, out=undefined, where=varies)
