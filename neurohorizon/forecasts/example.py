"""One held-out window as an example: spikes before the forecast origin, the forecast, and spikes after it.

The window is chosen by a rule that uses no score, so that the picture is a sample and not a selected success.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.files import replacing
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.session import Session, read_session

RULE = (
    "first held-out session of the cohort; among its windows that are valid throughout, the one with the "
    "median population spike count after the origin; units with the highest reference rate"
)


@dataclass(frozen=True)
class Example:
    """Data of an example raster. Times are milliseconds from the forecast origin.

    Attributes:
        session: Session id.
        subject: Animal.
        method: Method of the forecast.
        origin_s: Forecast origin on the session's clock, seconds.
        bin_ms: Width of a bin.
        context_ms: Length of the context shown.
        unit_id: Units shown, highest reference rate first, [unit].
        region: Their brain regions, [unit].
        spike_time_ms: Spikes of these units in the context and the horizon, [spike].
        spike_unit: Row of ``unit_id`` of each spike, [spike].
        rate_hz: Forecast rate, [horizon_bin, unit].
        reference_rate_hz: Mean rate in the reference window, [unit].
        target_mask: True for horizon bins of valid time, [horizon_bin].
        context_population_hz: Observed rate per unit, averaged over all units of the session, [context_bin].
        observed_population_hz: Observed rate per unit after the origin, [horizon_bin].
        forecast_population_hz: Forecast rate per unit, averaged over all units of the session, [horizon_bin].
        reference_population_hz: Mean rate per unit in the reference window.
        units_in_session: Number of units of the session; the units with the highest rates are shown.
    """

    session: str
    subject: str
    method: str
    origin_s: float
    bin_ms: float
    context_ms: float
    unit_id: np.ndarray
    region: np.ndarray
    spike_time_ms: np.ndarray
    spike_unit: np.ndarray
    rate_hz: np.ndarray
    reference_rate_hz: np.ndarray
    target_mask: np.ndarray
    context_population_hz: np.ndarray
    observed_population_hz: np.ndarray
    forecast_population_hz: np.ndarray
    reference_population_hz: float
    units_in_session: int


_AXES = {
    "unit_id": ("unit", "name"),
    "region": ("unit", "name"),
    "spike_time_ms": ("spike", "ms from origin"),
    "spike_unit": ("spike", "row of unit_id"),
    "rate_hz": ("horizon_bin, unit", "Hz"),
    "reference_rate_hz": ("unit", "Hz"),
    "target_mask": ("horizon_bin", "bool"),
    "context_population_hz": ("context_bin", "Hz per unit"),
    "observed_population_hz": ("horizon_bin", "Hz per unit"),
    "forecast_population_hz": ("horizon_bin", "Hz per unit"),
}


def make_example(
    *,
    sessions: Sequence[str | Path],
    forecasts: Sequence[str | Path],
    context_bins: int,
    units: int,
    output: str | Path,
) -> None:
    """Choose the window by :data:`RULE` and write the data of its picture.

    Args:
        sessions: Session files of held-out sessions, in cohort order.
        forecasts: Forecast file of the same session at each place.
        context_bins: Bins to show before the origin.
        units: Units to show.
        output: HDF5 file to write, under a temporary name first.

    Raises:
        ValueError: All sessions are excluded, or the files are not of the same sessions.
    """
    for session_path, forecast_path in zip(sessions, forecasts, strict=True):
        forecast = read_forecast(forecast_path)
        if forecast.left_out is None and len(forecast.start_us):
            example = _example(read_session(session_path), forecast, context_bins=context_bins, units=units)
            _write(example, Path(output))
            return
    raise ValueError("there is no held-out session to show: all are excluded or have no window")


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


def choose_window(*, observed: np.ndarray, target_mask: np.ndarray, context_valid: np.ndarray) -> int:
    """Choose the window with the median population spike count among windows that are valid throughout.

    Args:
        observed: Spikes per bin, [window, horizon_bin, unit].
        target_mask: Valid horizon bins, [window, horizon_bin].
        context_valid: True for windows whose whole context is valid time, [window].

    Returns:
        Its index; the lower median of an even number, the earliest of equals. If no window is valid throughout, the
        windows with the most valid bins are used.
    """
    validity = target_mask.sum(axis=1) + context_valid
    candidates = np.flatnonzero(validity == validity.max())
    spikes = observed[candidates].sum(axis=(1, 2), dtype=np.int64)
    order = np.argsort(spikes, kind="stable")
    median = spikes[order[(len(order) - 1) // 2]]
    return int(candidates[np.flatnonzero(spikes == median)[0]])


def _example(session: Session, forecast: Forecast, *, context_bins: int, units: int) -> Example:
    if session.session_id != forecast.session:
        raise ValueError(f"session file {session.session_id} does not belong to the forecast of {forecast.session}")
    bin_us, horizon_bins = forecast.bin_us, forecast.log_rate.shape[1]
    context_us = context_bins * bin_us
    window = choose_window(
        observed=forecast.counts,
        target_mask=forecast.target_mask,
        context_valid=_inside(session, forecast.start_us - context_us, forecast.start_us),
    )
    origin_us = int(forecast.start_us[window])
    shown = np.argsort(-forecast.reference_log_rate, kind="stable")[:units]

    # the forecast may have fewer units or another order, so units are matched by name
    names = {name: row for row, name in enumerate(forecast.unit_id.tolist())}
    row_of_unit = np.array([names.get(str(name), -1) for name in session.units["id"]])
    place_of_row = np.full(len(names) + 1, -1)  # the last place is for units without a forecast
    place_of_row[shown] = np.arange(len(shown))
    times_us = session.spike_times_us
    near = slice(*np.searchsorted(times_us, [origin_us - context_us, origin_us + horizon_bins * bin_us]))
    times_us, rows = times_us[near] - origin_us, row_of_unit[session.spike_unit[near]]
    place = place_of_row[rows]

    per_bin_to_hz = 1e6 / bin_us
    n_units = len(names)
    before = (times_us < 0) & (rows >= 0)
    context_counts = np.bincount((times_us[before] + context_us) // bin_us, minlength=context_bins)
    rate_hz = np.exp(forecast.log_rate[window].astype(np.float64)) * per_bin_to_hz
    reference_hz = np.exp(forecast.reference_log_rate.astype(np.float64)) * per_bin_to_hz
    return Example(
        session=forecast.session,
        subject=forecast.subject,
        method=forecast.method,
        origin_s=origin_us / 1e6,
        bin_ms=bin_us / 1e3,
        context_ms=context_us / 1e3,
        unit_id=forecast.unit_id[shown],
        region=forecast.region[shown],
        spike_time_ms=times_us[place >= 0] / 1e3,
        spike_unit=place[place >= 0],
        rate_hz=rate_hz[:, shown],
        reference_rate_hz=reference_hz[shown],
        target_mask=forecast.target_mask[window],
        context_population_hz=context_counts / n_units * per_bin_to_hz,
        observed_population_hz=forecast.counts[window].sum(axis=1) / n_units * per_bin_to_hz,
        forecast_population_hz=rate_hz.mean(axis=1),
        reference_population_hz=float(reference_hz.mean()),
        units_in_session=n_units,
    )


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
