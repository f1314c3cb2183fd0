"""One held-out window as an example: some units before and after the forecast origin, the forecast, and a rival.

The window is typical by a rule that prefers neither good nor bad forecasts, so that the picture is no selected success.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import h5py
import numpy as np
from scipy.special import pdtr, pdtrik

from neurohorizon.files import replacing
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.forecasts.scoring import require_the_same_task, sum_forecast
from neurohorizon.forecasts.typical import (
    INTERVAL,
    UNITS_RULE,
    WINDOW_RULE,
    choose_typical,
    span_starts,
    spread_by_spikes,
)
from neurohorizon.scores import bits_per_spike, scored_units
from neurohorizon.session import Session, read_session

RULE = f"first held-out session of the cohort; among its windows that are valid throughout, {WINDOW_RULE}; {UNITS_RULE}"


@dataclass(frozen=True)
class Example:
    """Data of an example. Times are milliseconds from the forecast origin.

    Attributes:
        session: Session id.
        subject: Animal.
        method: Method of the forecast.
        rival: Method of the forecast next to it.
        origin_s: Forecast origin on the session's clock, seconds.
        score: Score of the forecast in this window, bits per spike relative to the reference mean.
        bin_ms: Width of a bin.
        context_ms: Length of the context shown.
        units_in_session: Number of units of the session.
        unit_id: Units shown, from the most spikes down, [unit].
        region: Their brain regions, [unit].
        spike_time_ms: Spikes of these units in the context and the horizon, [spike].
        spike_unit: Row of ``unit_id`` of each spike, [spike].
        rate_hz: Forecast rate, [horizon_bin, unit].
        rival_hz: Rate of the rival, [horizon_bin, unit].
        reference_rate_hz: Mean rate in the reference window, [unit].
        target_mask: True for horizon bins of valid time, [horizon_bin].
        edges_ms: Edges of the spans of counts, [span + 1].
        observed: Observed spikes, [span, unit].
        low: Lower bound of the 90 % interval of a Poisson count with the forecast mean, [span, unit].
        high: Its upper bound, [span, unit].
        population: Observed spikes of all scored units, [span].
        population_forecast: Forecast spikes of all scored units, [span].
        population_rival: The rival's, [span].
        population_reference: The mean rates', [span].
    """

    session: str
    subject: str
    method: str
    rival: str
    origin_s: float
    score: float
    bin_ms: float
    context_ms: float
    units_in_session: int
    unit_id: np.ndarray
    region: np.ndarray
    spike_time_ms: np.ndarray
    spike_unit: np.ndarray
    rate_hz: np.ndarray
    rival_hz: np.ndarray
    reference_rate_hz: np.ndarray
    target_mask: np.ndarray
    edges_ms: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    population: np.ndarray
    population_forecast: np.ndarray
    population_rival: np.ndarray
    population_reference: np.ndarray


_AXES = {
    "unit_id": ("unit", "name"),
    "region": ("unit", "name"),
    "spike_time_ms": ("spike", "ms from origin"),
    "spike_unit": ("spike", "row of unit_id"),
    "rate_hz": ("horizon_bin, unit", "Hz"),
    "rival_hz": ("horizon_bin, unit", "Hz"),
    "reference_rate_hz": ("unit", "Hz"),
    "target_mask": ("horizon_bin", "bool"),
    "edges_ms": ("span + 1", "ms from origin"),
    "observed": ("span, unit", "spikes"),
    "low": ("span, unit", "spikes"),
    "high": ("span, unit", "spikes"),
    "population": ("span", "spikes"),
    "population_forecast": ("span", "spikes"),
    "population_rival": ("span", "spikes"),
    "population_reference": ("span", "spikes"),
}


def make_example(
    *,
    sessions: Sequence[str | Path],
    forecasts: Sequence[str | Path],
    rivals: Sequence[str | Path],
    context_bins: int,
    units: int,
    minimum_rate_hz: float,
    output: str | Path,
) -> None:
    """Choose the window by :data:`RULE` and write the data of its picture.

    Args:
        sessions: Session files of held-out sessions, in cohort order.
        forecasts: Forecast file of the same session at each place.
        rivals: Forecast file of the rival at each place.
        context_bins: Bins to show before the origin.
        units: Largest number of units to show.
        minimum_rate_hz: Units below this mean rate in the reference window are not shown and enter no score.
        output: HDF5 file to write, under a temporary name first.

    Raises:
        ValueError: All sessions are excluded or have no spike, or the files are not of the same sessions.
    """
    for session_path, forecast_path, rival_path in zip(sessions, forecasts, rivals, strict=True):
        forecast = read_forecast(forecast_path)
        if forecast.left_out is None and len(forecast.start_us):
            rival, session = read_forecast(rival_path), read_session(session_path)
            require_the_same_task(forecast, rival, rival_path)
            options = {"context_bins": context_bins, "units": units, "minimum_rate_hz": minimum_rate_hz}
            if example := _example(session, forecast, rival, **options):
                _write(example, Path(output))
                return
    raise ValueError("there is no held-out session to show: all are excluded, or none has a spike of a scored unit")


def read_example(path: str | Path) -> Example:
    """Read the file that :func:`make_example` wrote."""
    with h5py.File(path, "r") as file:
        values = {}
        for entry in fields(Example):
            if entry.name in file.attrs:
                values[entry.name] = file.attrs[entry.name]
            elif entry.name in ("unit_id", "region"):
                values[entry.name] = file[entry.name].asstr()[:].astype(str)
            else:
                values[entry.name] = file[entry.name][:]
    return Example(**values)


def _example(
    session: Session, forecast: Forecast, rival: Forecast, *, context_bins: int, units: int, minimum_rate_hz: float
) -> Example | None:
    """Return the data of the typical window; None if no window has a spike of a scored unit."""
    if session.session_id != forecast.session:
        raise ValueError(f"session file {session.session_id} does not belong to the forecast of {forecast.session}")
    bin_us, (_, horizon_bins, _) = forecast.bin_us, forecast.log_rate.shape
    context_us = context_bins * bin_us
    scored = scored_units(np.exp(forecast.reference_log_rate), minimum_rate_hz=minimum_rate_hz, bin_us=bin_us)
    validity = forecast.target_mask.sum(1) + _inside(session, forecast.start_us - context_us, forecast.start_us)
    window, score = choose_typical(
        validity == validity.max(),  # throughout, if there is such a window
        forecast.counts[..., scored].sum((1, 2), dtype=np.int64),
        lambda place: _score(forecast, place, scored),
    )
    if window is None:
        return None
    counts = forecast.counts[window].astype(np.int64)
    shown = spread_by_spikes(np.where(scored, counts.sum(0), 0), units)

    # the forecast may have fewer units or another order, so units are matched by name
    names = {name: row for row, name in enumerate(forecast.unit_id.tolist())}
    row_of_unit = np.array([names.get(str(name), -1) for name in session.units["id"]])
    place_of_row = np.full(len(names) + 1, -1)  # the last place is for units without a forecast
    place_of_row[shown] = np.arange(len(shown))
    origin_us, times_us = int(forecast.start_us[window]), session.spike_times_us
    near = slice(*np.searchsorted(times_us, [origin_us - context_us, origin_us + horizon_bins * bin_us]))
    times_us, place = times_us[near] - origin_us, place_of_row[row_of_unit[session.spike_unit[near]]]

    expected, of_rival = (np.exp(one.log_rate[window].astype(np.float64)) for one in (forecast, rival))
    reference = np.exp(forecast.reference_log_rate.astype(np.float64))
    first = span_starts(horizon_bins, bin_us / 1e3)

    def in_spans(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values * forecast.target_mask[window, :, None], first)

    low, high = (_poisson_quantile(share, in_spans(expected)[:, shown]) for share in INTERVAL)
    per_bin_to_hz = 1e6 / bin_us
    return Example(
        session=forecast.session,
        subject=forecast.subject,
        method=forecast.method,
        rival=rival.method,
        origin_s=origin_us / 1e6,
        score=score,
        bin_ms=bin_us / 1e3,
        context_ms=context_us / 1e3,
        units_in_session=len(names),
        unit_id=forecast.unit_id[shown],
        region=forecast.region[shown],
        spike_time_ms=times_us[place >= 0] / 1e3,
        spike_unit=place[place >= 0],
        rate_hz=expected[:, shown] * per_bin_to_hz,
        rival_hz=of_rival[:, shown] * per_bin_to_hz,
        reference_rate_hz=reference[shown] * per_bin_to_hz,
        target_mask=forecast.target_mask[window],
        edges_ms=np.append(first, horizon_bins) * bin_us / 1e3,
        observed=in_spans(counts)[:, shown],
        low=low,
        high=high,
        population=in_spans(counts)[:, scored].sum(1),
        population_forecast=in_spans(expected)[:, scored].sum(1),
        population_rival=in_spans(of_rival)[:, scored].sum(1),
        population_reference=in_spans(np.broadcast_to(reference, counts.shape))[:, scored].sum(1),
    )


def _score(forecast: Forecast, window: int, scored: np.ndarray) -> float:
    sums = sum_forecast(forecast, scored, np.array([window]))
    totals = {"model_nats": sums.model_nats, "null_nats": sums.reference_nats, "spikes": sums.spikes}
    return float(bits_per_spike(**{name: one.sum() for name, one in totals.items()}))


def _inside(session: Session, start_us: np.ndarray, stop_us: np.ndarray) -> np.ndarray:
    """Return True for spans that lie in one valid interval, bool [window]."""
    interval = np.searchsorted(session.domain.start_us, start_us, side="right") - 1
    return (interval >= 0) & (stop_us <= session.domain.stop_us[interval])


def _write(example: Example, path: Path) -> None:
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["rule"] = RULE
        for entry in fields(Example):
            value = getattr(example, entry.name)
            if entry.name not in _AXES:
                file.attrs[entry.name] = value
                continue
            if entry.name in ("unit_id", "region"):
                dataset = file.create_dataset(entry.name, data=value.astype(object), dtype=h5py.string_dtype())
            else:
                dataset = file.create_dataset(entry.name, data=value)
            dataset.attrs["axes"], dataset.attrs["unit"] = _AXES[entry.name]


def _poisson_quantile(share: float, expected: np.ndarray) -> np.ndarray:
    """Return the smallest counts at or below which lies a share of a Poisson distribution."""
    counts = np.ceil(pdtrik(share, expected))
    fewer = np.maximum(counts - 1, 0.0)
    # rounding errors of the inverse
    return np.where(pdtr(fewer, expected) >= share, fewer, counts)
