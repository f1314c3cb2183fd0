"""The same forecasts under every published definition of bits per spike.

Sums per unit go to one small file per session (:func:`score_definitions`); the table (:func:`make_tables`) is made
from these files alone.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from neurohorizon.agreement.definitions import DEFINITIONS, Definition, UnitSums, unit_sums
from neurohorizon.analysis.statistics import bootstrap_mean
from neurohorizon.analysis.tables import SESSION, Resampling, TableError, animal_names, method_order, write_table
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.forecasts.scoring import (
    OF_METHOD,
    left_out_reason,
    named,
    require_the_same_task,
    scored_or_why,
    table_of,
    write_sums,
)
from neurohorizon.methods import FORECASTER

_SUMS = tuple(UnitSums.__dataclass_fields__)
_COUNTS = ("bins", "spikes")
PARTS = tuple(dict.fromkeys(definition.first_ms for definition in DEFINITIONS))
"""Parts of the horizon that the definitions are of: milliseconds from the origin, None for all of it."""

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
    """Sum what the definitions need over every forecast of one session.

    Args:
        forecasts: Forecast files of one session in one fold, one per method and seed.
        output: Parquet file to write: a row per method, seed, part of the horizon and unit. A session that was left
            out gives no rows, and metadata that name it and the reason.
        minimum_rate_hz: Mean rate in the reference window from which on a unit counts as scored.

    Raises:
        ScoringError: The files differ in what they were asked to forecast.
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
    files = [pd.read_parquet(path) for path in scores if left_out_reason(path) is None]
    if not files:
        raise TableError("no session has a score: all were left out, or no score file was given")
    sums = pd.concat(files, ignore_index=True)
    sums["seed"] = sums["seed"].astype("Int64")
    rows = [row for definition in DEFINITIONS for row in _means(sums, definition, resampling)]
    table = pd.DataFrame(rows)
    rivals = table["class"] != "ceiling"
    table["rank"] = table[rivals].groupby("definition")["bits_per_spike"].rank(ascending=False, method="min")
    table["rank"] = table["rank"].astype("Int64")
    methods = {name: place for place, name in enumerate(method_order(table))}
    names = {definition.name: place for place, definition in enumerate(DEFINITIONS)}
    order = table.assign(by_method=table["method"].map(methods), by_name=table["definition"].map(names))
    return table.loc[order.sort_values(["by_method", "by_name"]).index].reset_index(drop=True)


def _means(sums: pd.DataFrame, definition: Definition, resampling: Resampling) -> list[dict[str, object]]:
    part = sums["first_ms"].isna() if definition.first_ms is None else sums["first_ms"] == definition.first_ms
    part &= sums["scored"] | definition.every_unit
    scored = [
        dict(zip([*SESSION, "method", "class", "seed"], key, strict=True))
        # a forecast equal to its null scores 0, and not what the order of additions leaves
        | {"bits_per_spike": round(definition.score(_unit_sums(group)), 12), "units": len(group)}
        for key, group in sums[part].groupby([*SESSION, "method", "class", "seed"], dropna=False, sort=False)
    ]
    sessions = (
        pd.DataFrame(scored)
        .dropna(subset=["bits_per_spike"])
        .groupby([*SESSION, "method", "class"], sort=False)
        .agg(bits_per_spike=("bits_per_spike", "mean"), units=("units", "first"), seeds=("bits_per_spike", "size"))
        .reset_index()
    )
    rows = []
    for (method, kind), group in sessions.groupby(["method", "class"], sort=False):
        mean = bootstrap_mean(
            group["bits_per_spike"].to_numpy(), animal_names(group), resampling.rng(), **resampling.options
        )
        rows.append(
            {
                "method": method,
                "class": kind,
                "definition": definition.name,
                "null": definition.null,
                "units_are": definition.units,
                "bits_per_spike": mean.value,
                "lower": mean.lower,
                "upper": mean.upper,
                "interval": resampling.interval,
                "rank": pd.NA,
                "sessions": mean.sessions,
                "animals": mean.animals,
                "units": int(group["units"].sum()),
                "seeds": int(group["seeds"].min()),
                "source": definition.source,
            }
        )
    return rows


def _unit_sums(rows: pd.DataFrame) -> UnitSums:
    return UnitSums(**{name: rows[name].to_numpy(dtype=np.float64) for name in _SUMS})


def make_tables(*, scores: Sequence[str | Path], folder: str | Path, resampling: Resampling) -> None:
    """Write the table as ``definitions.parquet`` and ``definitions.tsv``.

    Args:
        scores: Files of :func:`score_definitions`, one per fold and held-out session.
        folder: Where the table goes.
        resampling: How intervals are made.
    """
    write_table(definition_table(sorted(Path(path) for path in scores), resampling), Path(folder), "definitions")


def describe_definitions(folder: str | Path) -> str:
    """What the definition alone does to the forecaster's score, as a paragraph of Markdown.

    Args:
        folder: Where ``definitions.parquet`` is.
    """
    table = pd.read_parquet(Path(folder) / "definitions.parquet")
    ours = table[table["method"] == FORECASTER].dropna(subset=["bits_per_spike"]).set_index("definition")
    if ours.empty:
        return "No forecast of the network was scored under other definitions of bits per spike."
    scores = ours["bits_per_spike"]
    first, lowest, highest = DEFINITIONS[0].name, scores.idxmin(), scores.idxmax()
    sentences = [
        f"The same forecasts, under {len(scores)} definitions of bits per spike, score from "
        f"**{scores[lowest]:+.3f}** ({lowest}) to **{scores[highest]:+.3f}** ({highest}); all other tables have "
        f"{scores[first]:+.3f} ({first})."
    ]
    ranks = ours["rank"].astype(int)
    elsewhere = sorted(name for name in ranks.index if ranks[name] != ranks[first])
    place = f"place {ranks[first]} of {int(table.loc[table['definition'] == first, 'rank'].max())} methods"
    if elsewhere:
        sentences.append(f"It takes {place}, and another under {', '.join(elsewhere)}.")
    else:
        sentences.append(f"It takes {place} under every one of them.")
    return " ".join(sentences)
