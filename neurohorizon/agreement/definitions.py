"""Bits per spike as others define it, on the same forecasts.

Published numbers in bits per spike differ in the null that they are gained over, in how units are pooled, and in which
units count. Each definition here takes the same sums per unit (:class:`UnitSums`), so that its
effect on a score is isolated. Only NumPy is imported: the environment of a benchmark's own scorer compares itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neurohorizon.scores import bits_per_spike, evaluation_null_nats, poisson_d2, sum_scores

RATE_FLOOR = 1e-9
"""Expected spikes per bin that ``nlb_tools`` puts in place of a forecast rate of zero."""

_CHUNK_WINDOWS = 64


@dataclass(frozen=True)
class UnitSums:
    """Sums of a forecast of one session over its windows and horizon bins, each [unit].

    Attributes:
        bins: Valid bins, all windows and horizon bins together.
        spikes: Observed spikes.
        model_nats: Log-likelihood of the forecast.
        floored_nats: The same with a rate of zero replaced by :data:`RATE_FLOOR`.
        reference_nats: Log-likelihood of the mean rate in the reference window.
        evaluation_nats: Log-likelihood of the unit's mean over all these bins.
        window_nats: Log-likelihood of the unit's mean in each window.
        saturated_nats: Log-likelihood of a forecast equal to the counts.
        expected_spikes: Forecast spikes, the sum of all rates.
        rate_log_rate: Sum of each rate times its natural log; 0 for a rate of zero.
    """

    bins: np.ndarray
    spikes: np.ndarray
    model_nats: np.ndarray
    floored_nats: np.ndarray
    reference_nats: np.ndarray
    evaluation_nats: np.ndarray
    window_nats: np.ndarray
    saturated_nats: np.ndarray
    expected_spikes: np.ndarray
    rate_log_rate: np.ndarray

    def of(self, units: np.ndarray) -> "UnitSums":
        """Sums of some units."""
        return UnitSums(**{name: getattr(self, name)[units] for name in self.__dataclass_fields__})


def unit_sums(
    *, counts: np.ndarray, log_rate: np.ndarray, mask: np.ndarray, reference_log_rate: np.ndarray
) -> UnitSums:
    """Sum the terms of the definitions over windows and horizon bins.

    Args:
        counts: Observed spikes per bin, [window, horizon_bin, unit].
        log_rate: Natural log of expected spikes per bin, [window, horizon_bin, unit].
        mask: True where the bin is valid time, [window, horizon_bin].
        reference_log_rate: Natural log of the mean spikes per bin in the reference window, [unit].
    """
    sums = sum_scores(counts=counts, log_rate=log_rate, mask=mask, reference_log_rate=reference_log_rate)
    units = counts.shape[2]
    extra = {name: np.zeros(units) for name in ("floored", "window", "expected", "rate_log_rate")}
    for first in range(0, len(counts), _CHUNK_WINDOWS):
        rows = slice(first, first + _CHUNK_WINDOWS)
        valid = mask[rows, :, None]
        seen = np.where(valid, counts[rows], 0).astype(np.float64)
        logs = np.where(valid, log_rate[rows], -np.inf).astype(np.float64)
        rates = np.exp(logs)
        floored = np.where(rates > 0, logs, np.log(RATE_FLOOR))
        extra["floored"] += np.where(valid, seen * floored - np.exp(floored), 0.0).sum(axis=(0, 1))
        extra["expected"] += rates.sum(axis=(0, 1))
        extra["rate_log_rate"] += (rates * np.where(rates > 0, logs, 0.0)).sum(axis=(0, 1))
        extra["window"] += _mean_nats(seen.sum(axis=1), mask[rows].sum(axis=1)[:, None]).sum(axis=0)
    return UnitSums(
        bins=np.full(units, mask.sum(), dtype=np.int64),
        spikes=sums.spikes.sum(axis=0),
        model_nats=sums.model_nats.sum(axis=0),
        floored_nats=extra["floored"],
        reference_nats=sums.reference_nats.sum(axis=0),
        evaluation_nats=evaluation_null_nats(spikes=sums.spikes, windows=sums.windows).sum(axis=0),
        window_nats=extra["window"],
        saturated_nats=sums.saturated_nats.sum(axis=0),
        expected_spikes=extra["expected"],
        rate_log_rate=extra["rate_log_rate"],
    )


def _mean_nats(spikes: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Log-likelihood of the mean count of ``spikes`` over ``bins``; 0 without spikes."""
    mean = np.divide(spikes, bins, out=np.ones_like(spikes), where=spikes > 0)
    return spikes * np.log(mean) - spikes


def over_reference(sums: UnitSums) -> float:
    """Gain over the reference window's mean rate, pooled over units: all nats over all spikes."""
    return _pooled(sums.model_nats, sums.reference_nats, sums)


def neural_latents_benchmark(sums: UnitSums) -> float:
    """Gain over each unit's mean in the scored bins, pooled over units; a rate of zero is floored."""
    return _pooled(sums.floored_nats, sums.evaluation_nats, sums)


def brain_wide_bench(sums: UnitSums) -> float:
    """Gain over each unit's mean in the scored bins, pooled over the units that fired in them."""
    fired = sums.of(sums.spikes > 0)
    return _pooled(fired.model_nats, fired.evaluation_nats, fired)


def mean_over_units(sums: UnitSums) -> float:
    """Gain of each unit over its mean in the scored bins, per spike of the unit; mean over the finite values."""
    each = bits_per_spike(model_nats=sums.floored_nats, null_nats=sums.evaluation_nats, spikes=sums.spikes)
    finite = each[np.isfinite(each)]
    return float(finite.mean()) if len(finite) else float("nan")


def over_window_mean(sums: UnitSums) -> float:
    """Gain over each unit's mean within the very window that is forecast, pooled over units."""
    return _pooled(sums.model_nats, sums.window_nats, sums)


def single_spike_information(sums: UnitSums) -> float:
    """Gain over each unit's mean once the forecast's own mean is set to it, pooled over units.

    The forecast of a unit is multiplied by observed over forecast spikes, so that the score depends only on
    the differences between bins.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.log(sums.spikes / sums.expected_spikes)
        # sum(counts * log(scaled rate)) - sum(scaled rate)
        scaled = sums.model_nats + sums.expected_spikes + sums.spikes * scale - sums.spikes
    return _pooled(np.where(sums.spikes > 0, scaled, 0.0), sums.evaluation_nats, sums)


def forecast_information(sums: UnitSums) -> float:
    """Information of the forecast rates, per expected spike. No observed spike is used."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_log = np.log(sums.expected_spikes / sums.bins)
        claimed = sums.rate_log_rate - np.where(sums.expected_spikes > 0, sums.expected_spikes * mean_log, 0.0)
    total = sums.expected_spikes.sum()
    return float(claimed.sum() / (total * np.log(2.0))) if total > 0 else float("nan")


def brain_wide_bench_d2(sums: UnitSums) -> float:
    """Poisson D2 of each unit, averaged over the units where it is defined; no bits per spike."""
    each = poisson_d2(
        model_nats=sums.model_nats, evaluation_nats=sums.evaluation_nats, saturated_nats=sums.saturated_nats
    )
    defined = each[~np.isnan(each)]
    return float(defined.mean()) if len(defined) else float("nan")


def _pooled(model_nats: np.ndarray, null_nats: np.ndarray, sums: UnitSums) -> float:
    return float(bits_per_spike(model_nats=model_nats.sum(), null_nats=null_nats.sum(), spikes=sums.spikes.sum()))


@dataclass(frozen=True)
class Definition:
    """One published meaning of bits per spike.

    Attributes:
        name: As tables have it.
        null: Null of the gain.
        units: How units are pooled, and which count.
        source: Its publication.
        score: From sums per unit to bits per spike.
        every_unit: Whether units that are too slow in the reference window to be scored in other tables count too.
        first_ms: Only bins that end within this many milliseconds of the forecast origin; None for the whole horizon.
    """

    name: str
    null: str
    units: str
    source: str
    score: Callable[[UnitSums], float]
    every_unit: bool = False
    first_ms: int | None = None


_OWN = "this project; the null is fixed before the test, as in Harris et al. 2003 (Nature 424:552)"
_BENCH = "IBL Brain-Wide Bench, forecasting: BPS of ibl-bwb-eval 0.1.0"
DEFINITIONS = (
    Definition("reference", "mean rate in the reference window", "pooled", _OWN, over_reference),
    Definition(
        "reference, every unit", "mean rate in the reference window", "pooled", _OWN, over_reference, every_unit=True
    ),
    Definition(
        "co-bps",
        "each unit's mean over the scored bins",
        "pooled; a rate of 0 is taken as 1e-9",
        "Neural Latents Benchmark (Pei et al. 2021, eq. 2): bits_per_spike of nlb_tools",
        neural_latents_benchmark,
    ),
    Definition(
        "Brain-Wide Bench",
        "each unit's mean over the scored bins",
        "pooled over units that fired in them",
        _BENCH,
        brain_wide_bench,
    ),
    Definition(
        "Brain-Wide Bench, 100 ms",
        "each unit's mean over the scored bins",
        "pooled over units that fired in them",
        f"{_BENCH}, on the part that it scores: the 100 ms after the last spike that is seen",
        brain_wide_bench,
        first_ms=100,
    ),
    Definition(
        "mean over units",
        "each unit's mean over the scored bins",
        "mean over units that fired, each per spike of the unit",
        "Zhang et al. 2024 (arXiv 2407.14668), as in the evaluation of IBL_foundation_model",
        mean_over_units,
    ),
    Definition(
        "window mean",
        "each unit's mean within the window that is forecast",
        "pooled",
        "an early version of the public repository Jp-17/NeuroHorizon: its bits_per_spike",
        over_window_mean,
    ),
    Definition(
        "single-spike information",
        "each unit's mean over the scored bins, to which the forecast is scaled",
        "pooled over units that fired",
        "Brenner et al. 2000; Williamson, Sahani & Pillow 2015 (PLoS Comput Biol 11:e1004141)",
        single_spike_information,
    ),
    Definition(
        "information of the forecast",
        "the forecast's own mean; no spike is looked at",
        "pooled by forecast spikes",
        "Skaggs et al. 1993 (NIPS 5), its rate map replaced by the forecast",
        forecast_information,
    ),
)
"""Each from the same forecasts. The first is the project's own, which all other tables are in."""
