"""The same forecasts under every published definition of bits per spike.

Sums per unit go to one small file per session (:func:`score_definitions`); the table (:func:`make_definitions`) is
computed from these files only.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from neurohorizon.agreement.definitions import DEFINITIONS, Definition, UnitSums, unit_sums
from neurohorizon.analysis.tables import (
    METHOD,
    SESSION,
    Resampling,
    grouped_rows,
    ordered,
    read_scored,
    write_table,
)
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.forecasts.scoring import (
    OF_METHOD,
    named,
    require_the_same_task,
    scored_or_why,
    table_of,
    write_sums,
)

_SUMS = tuple(UnitSums.__dataclass_fields__)
_COUNTS = ("bins", "spikes")
PARTS = tuple(dict.fromkeys(definition.first_ms for definition in DEFINITIONS))
"""Parts of the horizon that the definitions use: milliseconds from the origin, None for all of it."""

SCHEMA = pa.schema(
    [
        *OF_METHOD,
        pa.field("first_ms", pa.int64()),  # part of the horizon; null for all of it
        pa.field("unit_id", pa.string()),
        pa.field("scored", pa.bool_()),  # fast enough in the reference window for the tables of scores
        *(pa.field(name, pa.int64() if name in _COUNTS else pa.float64()) for name in _SUMS),
    ]
)


def score_definitions(*, forecasts: Sequence[str | Path], output: str | Path, minimum_rate_hz: float) -> None:
    """Sum the terms of the definitions over every forecast of one session.

    Args:
        forecasts: Forecast files of one session in one fold, one per method and seed.
        output: Parquet file to write: a row per method, seed, part of the horizon and unit. An excluded
            session gives no rows, and metadata with its name and the reason.
        minimum_rate_hz: Smallest mean rate in the reference window of a scored unit.

    Raises:
        ScoringError: The files differ in the forecast task.
    """
    tables, first, reason = [], None, None
    for path in forecasts:
        forecast = read_forecast(path)
        first = first or forecast
        require_the_same_task(first, forecast, path)
        reason, scored = scored_or_why(forecast, minimum_rate_hz)
        if not reason:
            tables += [_rows(forecast, scored, part) for part in PARTS]
    write_sums(output, pa.concat_tables(tables) if tables else SCHEMA.empty_table(), first, left_out=reason)


def _rows(forecast: Forecast, scored: np.ndarray, first_ms: int | None) -> pa.Table:
    bins = forecast.log_rate.shape[1] if first_ms is None else first_ms * 1000 // forecast.bin_us
    sums = unit_sums(
        counts=forecast.counts[:, :bins],
        log_rate=forecast.log_rate[:, :bins],
        mask=forecast.target_mask[:, :bins],
        reference_log_rate=forecast.reference_log_rate,
    )
    columns = {"unit_id": forecast.unit_id.astype(object), "scored": scored}
    columns |= {name: getattr(sums, name) for name in _SUMS}
    return table_of(SCHEMA, named(forecast) | {"first_ms": first_ms}, columns)


def definition_table(scores: Sequence[str | Path], resampling: Resampling) -> pd.DataFrame:
    """Mean over sessions of every method's bits per spike under every definition.

    Columns: method, class, definition, null, units_are (how they are pooled), bits_per_spike with lower, upper and
    their nominal coverage, interval; rank (1 is the best of the methods that are no ceiling, under this definition),
    sessions, animals, units, seeds, source (where it is defined). Seeds are averaged within a session first.

    Raises:
        TableError: No file has a score.
    """
    sums = read_scored(scores)
    sums["seed"] = sums["seed"].astype("Int64")
    rows = [row for definition in DEFINITIONS for row in _means(sums, definition, resampling)]
    table = pd.DataFrame(rows)
    rivals = table["class"] != "ceiling"
    table["rank"] = table[rivals].groupby("definition")["bits_per_spike"].rank(ascending=False, method="min")
    table["rank"] = table["rank"].astype("Int64")
    return ordered(table, ["method", "definition"], definition=[definition.name for definition in DEFINITIONS])


def _means(sums: pd.DataFrame, definition: Definition, resampling: Resampling) -> list[dict[str, object]]:
    part = sums["first_ms"].isna() if definition.first_ms is None else sums["first_ms"] == definition.first_ms
    part &= sums["scored"] | definition.every_unit
    scored = [
        dict(zip([*SESSION, *METHOD, "seed"], key, strict=True))
        # a forecast equal to its null scores exactly 0, without the rounding error of the sums
        | {"bits_per_spike": round(definition.score(_unit_sums(group)), 12), "units": len(group)}
        for key, group in sums[part].groupby([*SESSION, *METHOD, "seed"], dropna=False, sort=False)
    ]
    sessions = (
        pd.DataFrame(scored)
        .dropna(subset=["bits_per_spike"])
        .groupby([*SESSION, *METHOD], sort=False)
        .agg(bits_per_spike=("bits_per_spike", "mean"), units=("units", "first"), seeds=("bits_per_spike", "size"))
        .reset_index()
    )
    named = {"definition": definition.name, "null": definition.null, "units_are": definition.units}

    def row(group: pd.DataFrame) -> dict[str, object]:
        found = named | resampling.mean_row(group) | {"rank": pd.NA, "units": int(group["units"].sum())}
        return found | {"seeds": int(group["seeds"].min()), "source": definition.source}

    return grouped_rows(sessions, METHOD, row).to_dict("records")


def _unit_sums(rows: pd.DataFrame) -> UnitSums:
    return UnitSums(**{name: rows[name].to_numpy(dtype=np.float64) for name in _SUMS})


def make_tables(*, scores: Sequence[str | Path], folder: str | Path, resampling: Resampling) -> None:
    """Write the table as ``definitions.parquet`` and ``definitions.tsv``.

    Args:
        scores: Files of :func:`score_definitions`, one per fold and held-out session.
    """
    write_table(definition_table(sorted(Path(path) for path in scores), resampling), Path(folder), "definitions")
