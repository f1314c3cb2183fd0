"""Score sums of the forecasts of a session.

The table has one row per method, seed, unit and horizon bin, and holds only sums (see
:mod:`neurohorizon.scores`), so that any pooling of it is exact.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neurohorizon.files import replacing
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.scores import Sums, scored_units, sum_scores

OF_SESSION = ("fold", "session", "subject", "lab", "source")
"""Columns of every file of sums that name a session, and attributes of a forecast."""


def fields(kind: pa.DataType, *names: str) -> list[pa.Field]:
    """Columns of one type, for a schema."""
    return [pa.field(name, kind) for name in names]


OF_METHOD = (
    *fields(pa.string(), *OF_SESSION, "method", "class"),
    pa.field("seed", pa.int64()),  # null for a method without randomness
)
"""Columns of files of sums that name the session and the method."""

NATS = ("model_nats", "reference_nats", "evaluation_nats", "saturated_nats")
SCHEMA = pa.schema(
    [
        *OF_METHOD,
        *fields(pa.string(), "code", "unit_id", "region"),
        pa.field("horizon_bin", pa.int32()),
        # unscored_units is the total of the session, the same in every row
        *fields(pa.int64(), "bin_us", "unscored_units", "windows", "spikes"),
        *fields(pa.float64(), *NATS),
    ]
)


class ScoringError(ValueError):
    """Forecasts that cannot be compared; the message names them and their difference."""


def none_scored(scored: np.ndarray, minimum_rate_hz: float) -> str:
    """Return the reason why a session without a scored unit has no score."""
    return f"none of {scored.size} units reaches {minimum_rate_hz} Hz in the reference window"


def score_session(*, forecasts: Sequence[str | Path], output: str | Path, minimum_rate_hz: float = 0.0) -> None:
    """Score every forecast of one session and write the table of sums.

    Units below ``minimum_rate_hz`` in the reference window are not scored, by any method. The choice uses only
    the reference window, never test spikes.

    The table of an excluded session has no rows; its file metadata names the session and the reason (read it with
    :func:`left_out_reason`).

    Args:
        forecasts: Forecast files of one session in one fold, one per method and seed.
        output: Parquet file to write, under a temporary name first.
        minimum_rate_hz: Lowest mean rate in the reference window of a scored unit.

    Raises:
        ScoringError: The files are of different sessions, repeat a method, or differ in their
            task (windows, masks, counts, units or the reference null).
    """
    if not forecasts:
        raise ScoringError("no forecast files were given; a session needs at least one to be scored")
    tables, first, seen, reasons = [], None, set(), []
    for path in forecasts:
        forecast = read_forecast(path)
        first = first or forecast
        require_the_same_task(first, forecast, path)
        if (forecast.method, forecast.seed) in seen:
            raise ScoringError(f"{path} repeats method {forecast.method!r} with seed {forecast.seed}")
        seen.add((forecast.method, forecast.seed))
        table, reason = score_forecast(forecast, minimum_rate_hz=minimum_rate_hz)
        if reason is None:
            tables.append(table)
        else:
            reasons.append(reason)
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    write_sums(output, table, first, left_out=reasons[0] if reasons else None)


def score_forecast(forecast: Forecast, *, minimum_rate_hz: float) -> tuple[pa.Table, str | None]:
    """Return the table of sums of one forecast, and the reason if it has no rows."""
    reason, scored = scored_or_why(forecast, minimum_rate_hz)
    return (SCHEMA.empty_table() if reason else _score(forecast, scored)), reason


def scored_or_why(forecast: Forecast, minimum_rate_hz: float) -> tuple[str | None, np.ndarray]:
    """Return the reason why a session has no score, or None; and True for scored units, bool [unit]."""
    scored = scored_units(np.exp(forecast.reference_log_rate), minimum_rate_hz=minimum_rate_hz, bin_us=forecast.bin_us)
    if forecast.left_out is not None:
        return forecast.left_out, scored
    return (None if scored.any() else none_scored(scored, minimum_rate_hz)), scored


def named(forecast: Forecast) -> dict[str, object]:
    """Return the columns that name the session and the method of a forecast."""
    names = (*OF_SESSION, "method", "seed", "code")
    return {name: getattr(forecast, name) for name in names} | {"class": forecast.method_class}


def table_of(schema: pa.Schema, constants: dict[str, object], columns: dict[str, Sequence]) -> pa.Table:
    """Build a table of a schema from columns and from values that are the same in every row."""
    rows = len(next(iter(columns.values())))
    values = {name: [value] * rows for name, value in constants.items()} | columns
    return pa.table([pa.array(values[field.name], field.type) for field in schema], schema=schema)


def left_out_reason(path: str | Path) -> dict[str, str] | None:
    """Return the excluded session of a score table, with the reason as ``left_out``; None if it has scores."""
    metadata = {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
    names = (*OF_SESSION, "left_out")
    return {name: metadata[name] for name in names} if "left_out" in metadata else None


def write_sums(path: str | Path, table: pa.Table, forecast: Forecast, *, left_out: str | None) -> None:
    """Write sums of a session, whole or not at all; file metadata hold its name and the reason for an exclusion."""
    identity = {name: getattr(forecast, name) for name in OF_SESSION}
    if left_out is not None:
        identity["left_out"] = left_out
    with replacing(path) as partial:
        pq.write_table(table.replace_schema_metadata(identity), partial, compression="zstd")


def sum_forecast(forecast: Forecast, scored: np.ndarray, windows: np.ndarray | slice = slice(None)) -> Sums:
    """Sum the log-likelihoods of the scored units of a forecast over windows; see :func:`sum_scores`."""
    return sum_scores(
        counts=forecast.counts[windows][..., scored],
        log_rate=forecast.log_rate[windows][..., scored],
        mask=forecast.target_mask[windows],
        reference_log_rate=forecast.reference_log_rate[scored],
    )


def require_the_same_task(first: Forecast, other: Forecast, path: str | Path) -> None:
    """Check that two forecasts of a session have the same task.

    Raises:
        ScoringError: They differ; the message names the difference and the file to remake.
    """
    for name in ("session", "fold", "subject", "lab", "bin_us"):
        found, expected = getattr(other, name), getattr(first, name)
        if found != expected:
            raise ScoringError(f"{path} has {name} {found!r}, but the first forecast has {expected!r}")
    if (other.left_out is None) != (first.left_out is None):
        raise ScoringError(
            f"{path}: some methods exclude session {first.session} ({first.left_out or other.left_out}) "
            "and some do not; remake its forecasts"
        )
    for name in ("unit_id", "start_us", "target_mask", "counts", "reference_log_rate"):
        found, expected = getattr(other, name), getattr(first, name)
        if found.shape != expected.shape or not np.array_equal(found, expected):
            raise ScoringError(
                f"{path}: {name} differs from that of {first.method!r}; methods are compared only on the same "
                f"windows, masks, counts, units and null. Remake the forecasts of session {first.session}"
            )


def _score(forecast: Forecast, scored: np.ndarray) -> pa.Table:
    sums = sum_forecast(forecast, scored)
    bins, units = sums.spikes.shape
    constants = named(forecast) | {"bin_us": forecast.bin_us, "unscored_units": int((~scored).sum())}
    columns = {
        "unit_id": np.tile(forecast.unit_id[scored].astype(object), bins),
        "region": np.tile(forecast.region[scored].astype(object), bins),
        "horizon_bin": np.repeat(np.arange(bins), units),
        "windows": np.repeat(sums.windows, units),
    }
    columns |= {name: getattr(sums, name).ravel() for name in ("spikes", *NATS)}
    return table_of(SCHEMA, constants, columns)
