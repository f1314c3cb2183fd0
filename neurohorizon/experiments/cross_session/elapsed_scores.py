"""Score sums behind the curves of experiment 1: by the time since the reference window, and by unit.

Time is that between the end of the reference window and the forecast origin, on the clock, for drift does not pause.
Only sums are kept; ratios are taken last, from tables. Sums that need new forecasts are made by
:mod:`neurohorizon.experiments.cross_session.curve_scores`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from neurohorizon.config import CrossSession
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.forecasts.scoring import (
    OF_METHOD,
    fields,
    named,
    require_the_same_task,
    scored_or_why,
    sum_forecast,
    table_of,
    write_sums,
)
from neurohorizon.session import read_splits
from neurohorizon.timeline import MICROSECONDS

LENGTH, UNITS = "reference_s", "units"
"""Curves: over the length of the reference window in seconds, and over the number of units."""

_IDENTITY = [*OF_METHOD, pa.field("code", pa.string())]
_NATS = ("model_nats", "reference_nats")  # the latter of the full reference window
_SUMS = [*fields(pa.int64(), "windows", "spikes"), *fields(pa.float64(), *_NATS)]
CURVES = pa.schema(
    [
        *_IDENTITY,
        pa.field("curve", pa.string()),
        pa.field("size", pa.float64()),  # seconds or units; of the whole recording where it is whole
        pa.field("whole", pa.bool_()),
        pa.field("draw", pa.int64()),  # of the units; null where none are drawn
        pa.field("units", pa.int64()),  # scored ones
        pa.field("horizon_bin", pa.int32()),
        pa.field("bin_us", pa.int64()),
        *_SUMS,
    ]
)
ELAPSED = pa.schema(
    [
        *_IDENTITY,
        *fields(pa.float64(), "first_s", "last_s"),  # the end is excluded; null where there is none
        pa.field("units", pa.int64()),
        *_SUMS,
        pa.field("evaluation_nats", pa.float64()),  # over each unit's mean in these windows
    ]
)
BY_UNIT = pa.schema(
    [*_IDENTITY, *fields(pa.string(), "unit_id", "region"), pa.field("reference_rate_hz", pa.float64()), *_SUMS]
)


def score_elapsed(
    *,
    session: Path,
    forecasts: Sequence[Path],
    cross_session: CrossSession,
    minimum_rate_hz: float,
    elapsed: Path,
    by_unit: Path,
) -> None:
    """Score the forecasts of one held-out session by the time since its reference window, and by unit.

    Args:
        forecasts: Its forecast files, one per method and seed.
        cross_session: The section ``cross_session`` of the configuration: ends of the groups of windows.
        minimum_rate_hz: Mean rate in the reference window from which on a unit is scored.
        elapsed: Parquet file of ``ELAPSED`` to write.
        by_unit: Parquet file of ``BY_UNIT`` to write, with the unit's region and reference rate.

    Raises:
        ScoringError: Forecasts have different tasks.
    """
    first, groups, units = None, [], []
    for path in forecasts:
        forecast = read_forecast(path)
        first = first or forecast
        require_the_same_task(first, forecast, path)
        reason, scored = scored_or_why(forecast, minimum_rate_hz)
        if not reason:
            end_us = int(read_splits(session).reference.stop_us[-1])
            groups.append(_elapsed_rows(forecast, scored, end_us, cross_session.elapsed_edges_s))
            units.append(_unit_rows(forecast, scored))
    for output, schema, parts in ((elapsed, ELAPSED, groups), (by_unit, BY_UNIT, units)):
        table = pa.concat_tables(parts) if parts else schema.empty_table()
        write_sums(output, table, first, left_out=reason)


def _elapsed_rows(forecast: Forecast, scored: np.ndarray, end_us: int, edges_s: Sequence[float]) -> pa.Table:
    since_s = (forecast.start_us - end_us) / MICROSECONDS
    edges = np.array([0.0, *edges_s, np.inf])
    group = np.searchsorted(edges, since_s, side="right") - 1
    columns: dict[str, list] = {}
    for index in np.unique(group):
        inside = group == index
        sums = sum_forecast(forecast, scored, inside)
        values = {
            "first_s": edges[index],
            "last_s": edges[index + 1] if np.isfinite(edges[index + 1]) else None,
            "units": int(scored.sum()),
            "windows": int(inside.sum()),
            **{name: getattr(sums, name).sum() for name in ("spikes", *_NATS, "evaluation_nats")},
        }
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    return table_of(ELAPSED, named(forecast), columns)


def _unit_rows(forecast: Forecast, scored: np.ndarray) -> pa.Table:
    sums = sum_forecast(forecast, scored)
    rate_hz = np.exp(forecast.reference_log_rate[scored].astype(float)) * MICROSECONDS / forecast.bin_us
    return table_of(
        BY_UNIT,
        named(forecast) | {"windows": len(forecast.start_us)},
        {
            "unit_id": forecast.unit_id[scored].astype(object),
            "region": forecast.region[scored].astype(object),
            "reference_rate_hz": rate_hz,
            **{name: getattr(sums, name).sum(axis=0) for name in ("spikes", *_NATS)},
        },
    )
