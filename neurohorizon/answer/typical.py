"""One typical forecast, chosen by a rule that prefers neither good nor bad ones."""

import numpy as np

from neurohorizon.answer.answer import TypicalPopulation, TypicalUnit, TypicalWindow
from neurohorizon.answer.blocks import window_sums
from neurohorizon.forecasts.typical import (
    INTERVAL,
    UNITS_RULE,
    WINDOW_RULE,
    choose_typical,
    span_starts,
    spread_by_spikes,
)
from neurohorizon.recordings.forecast import Forecast
from neurohorizon.scores import bits_per_spike
from neurohorizon.timeline import to_s

UNITS = 8
_PATHS = 1000
_RULE = f"{WINDOW_RULE[0].upper()}{WINDOW_RULE[1:]}; {UNITS_RULE}"


def typical_window(
    forecast: Forecast, rival: Forecast, rival_label: str, scored: np.ndarray, seed: int
) -> TypicalWindow | None:
    """Choose the typical window, and return what a picture of it needs.

    Args:
        forecast: Adaptive forecasts of all windows.
        rival: Forecasts of the rival, of the same windows.
        rival_label: Its name.
        scored: True for scored units, [unit].
        seed: Seed of the sample paths of the population.

    Returns:
        None if no window was recorded throughout and has a spike.
    """
    place, score = choose_window(forecast, scored)
    if place is None:
        return None
    counts, bin_ms = forecast.counts[place], 1000 * forecast.bin_s
    units = np.flatnonzero(scored)
    shown = spread_by_spikes(np.where(scored, counts.sum(0), 0), UNITS)
    first = span_starts(len(counts), bin_ms)
    rng = np.random.default_rng([seed, 3])
    paths = forecast.recording.shared_gain.draw(forecast.log_rate[[place]], _PATHS, rng)[0][..., units].sum(-1)
    low, high = np.quantile(np.add.reduceat(paths, first, axis=1), INTERVAL, axis=0, method="inverted_cdf")

    def summed(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values[:, units].sum(1), first)

    reference = np.exp(forecast.recording.inputs.reference_log_rate.astype(np.float64))
    return TypicalWindow(
        origin_s=float(forecast.origin_s[place]),
        score=score,
        rule=_RULE,
        context_ms=forecast.recording.shape.context_bins * bin_ms,
        rival=rival_label,
        units=[
            TypicalUnit(
                unit=str(forecast.unit_ids[unit]),
                spikes_ms=_spikes_ms(forecast, place, unit),
                rate_hz=forecast.rate_hz[place, :, unit].tolist(),
                rival_hz=rival.rate_hz[place, :, unit].tolist(),
                reference_hz=float(forecast.recording.reference_rate_hz[unit]),
            )
            for unit in shown
        ],
        population=TypicalPopulation(
            edges_ms=[*(first * bin_ms).tolist(), len(counts) * bin_ms],
            observed=summed(counts).astype(int).tolist(),
            expected=summed(forecast.expected_counts[place]).tolist(),
            low=low.tolist(),
            high=high.tolist(),
            rival=summed(rival.expected_counts[place]).tolist(),
            reference=summed(np.broadcast_to(reference, counts.shape)).tolist(),
        ),
    )


def choose_window(forecast: Forecast, scored: np.ndarray) -> tuple[int | None, float]:
    """Return the typical window and its score; None if no completely recorded window has a spike of a scored unit."""
    spikes = forecast.counts[..., scored].sum((1, 2))
    return choose_typical(
        np.asarray(forecast.valid.all(1)), spikes, lambda place: _window_score(forecast, place, scored)
    )


def _window_score(forecast: Forecast, place: int, scored: np.ndarray) -> float:
    sums = window_sums(forecast, np.array([place]))
    totals = (one[:, scored].sum() for one in (sums.model_nats, sums.reference_nats, sums.spikes))
    model, null, spikes = totals
    return float(bits_per_spike(model_nats=model, null_nats=null, spikes=spikes))


def _spikes_ms(forecast: Forecast, place: int, unit: int) -> list[float]:
    """Return the spikes of a unit from the start of the context to the end of the horizon, in ms after the origin."""
    session, shape = forecast.recording.session, forecast.recording.shape
    origin_us = int(forecast.origin_us[place])
    edges_us = [origin_us - shape.context_bins * shape.bin_us, origin_us + shape.horizon_bins * shape.bin_us]
    first, last = np.searchsorted(session.spike_times_us, edges_us)
    times_us = session.spike_times_us[first:last][session.spike_unit[first:last] == unit]
    return np.round(1000 * to_s(times_us - origin_us), 3).tolist()
