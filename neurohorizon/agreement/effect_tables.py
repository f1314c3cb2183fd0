"""Effects that were planted in simulated recordings, and whether the tables of a run show them.

Simulated neurons have statistics that correlate with their tuning, share latent dynamics and drift, and respond to
images in visual regions only. A correct pipeline finds these effects; one that leaks, shifts a window or mixes up units
does not. Each effect is one row: a number of a table, its interval, and the bound that the interval must keep.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    Cell,
    Resampling,
    by_method,
    over_all_sources,
    text_table,
    write_table,
)
from neurohorizon.files import replacing
from neurohorizon.methods import FORECASTER

GAP_CLOSED = 0.8
"""Share of the gap to a network fitted on the session that zero-shot forecasts close on the simulated cohort."""
NO_IMAGE_GAIN = 0.01
"""Largest gain in bits per spike without information in the images: in other regions, and with shuffled images."""
YES, NO, NOT_RUN = "yes", "no", "not run"


@dataclass(frozen=True)
class PlantedEffect:
    """One planted effect and the result of a run.

    Attributes:
        effect: The effect in words.
        measure: The number that shows it.
        value: The measured number; NaN if the run lacks the table.
        lower: Lower bound of its interval over animals.
        upper: Upper bound of its interval over animals.
        must_be: ``above`` (the lower bound) or ``below`` (the upper bound) ...
        bound: ... this.
        null: Null of the scores.
        sessions: Sessions behind the number.
        animals: Animals behind the number.
    """

    effect: str
    measure: str
    value: float = np.nan
    lower: float = np.nan
    upper: float = np.nan
    must_be: str = "above"
    bound: float = 0.0
    null: str = PRIMARY_NULL
    sessions: int = 0
    animals: int = 0

    @property
    def holds(self) -> str:
        """``yes``, ``no``, or ``not run``."""
        if np.isnan(self.value):
            return NOT_RUN
        held = self.lower > self.bound if self.must_be == "above" else self.upper < self.bound
        return YES if held else NO


def planted_effects(folder: str | Path, resampling: Resampling) -> tuple[PlantedEffect, ...]:
    """Compare the tables of a finished run with every planted effect.

    Args:
        folder: Results of the run. Experiments that were not run have no tables, and their effects are ``not run``.
    """
    folder = Path(folder)
    found = []
    for measured, table, absent in _QUESTIONS:
        path = folder / f"{table}.parquet"
        answers = measured(pd.read_parquet(path), resampling) if path.exists() else []
        found += answers or [PlantedEffect(effect=absent, measure=f"{table} has no such row")]
    return tuple(found)


_IDENTITY = "identity helps"
_SHUFFLED = "another unit's identity does not"
_GAP = "zero-shot forecasts close the gap to a network fitted on the session"
_HORIZON = "accuracy falls with the horizon"
_LENGTH = "accuracy rises with the reference window"
_SESSIONS = "accuracy rises with training sessions"
_ABLATED = "a trained network with wrong identities scores lower"
_IMAGES = "images help in visual regions"
_NOWHERE = "images help nowhere else"
_SCRAMBLED = "shuffled images do not help"


def _identity(comparisons: pd.DataFrame, resampling: Resampling) -> list[PlantedEffect]:
    del resampling  # the table has the interval
    rows = comparisons[comparisons["against"] == "mean_identity"]
    return [_of_row(_IDENTITY, f"{FORECASTER} - mean_identity", row) for row in rows.to_dict("records")]


def _shuffled(sessions: pd.DataFrame, resampling: Resampling) -> list[PlantedEffect]:
    wide = _wide(sessions[sessions["null"] == PRIMARY_NULL], "method", ["shuffled_identity", "mean_identity"])
    name = "shuffled_identity - mean_identity"
    return _difference(_SHUFFLED, name, wide, ["shuffled_identity", "mean_identity"], resampling, must_be="below")


def _gap(summary: pd.DataFrame, resampling: Resampling) -> list[PlantedEffect]:
    del resampling
    rows = over_all_sources(summary)
    rows = rows[(rows["null"] == PRIMARY_NULL) & (rows["method"] == FORECASTER) & rows["gap_closed"].notna()]
    return [
        _of_row(_GAP, "gap closed", row, "gap_closed", name="gap_closed", bound=GAP_CLOSED)
        for row in rows.to_dict("records")
    ]


def _horizon(horizon_sessions: pd.DataFrame, resampling: Resampling) -> list[PlantedEffect]:
    of = horizon_sessions[horizon_sessions["method"] == FORECASTER]
    first, last = of["horizon_ms"].min(), of["horizon_ms"].max()
    name = f"{FORECASTER}, bin at {first:g} ms - bin at {last:g} ms"
    return _difference(_HORIZON, name, _wide(of, "horizon_ms", [first, last]), [first, last], resampling)


def _length(reference_length: pd.DataFrame, resampling: Resampling) -> list[PlantedEffect]:
    del resampling
    of = reference_length[
        (reference_length["method"] == FORECASTER)
        & (reference_length["horizon_ms"] == reference_length["horizon_ms"].max())
        & ~reference_length["whole"]
    ]
    shortest = of[of["size"] == of["size"].min()]
    return [
        _of_row(
            _LENGTH, f"{FORECASTER}, {row['size']:g} s - full reference window", row, name="difference", must_be="below"
        )
        for row in shortest.to_dict("records")
    ]


def _sessions(comparisons: pd.DataFrame, resampling: Resampling) -> list[PlantedEffect]:
    del resampling
    rows = comparisons[comparisons["comparison"] == "more_sessions"]
    return [_of_row(_SESSIONS, f"{row['what']} - {row['against']}", row) for row in rows.to_dict("records")]


def _ablated(ablations: pd.DataFrame, resampling: Resampling) -> list[PlantedEffect]:
    del resampling
    rows = ablations[ablations["declared"] & (ablations["variant"] == "shuffled_identity")]
    return [_of_row(_ABLATED, "shuffled_identity - full", row, must_be="below") for row in rows.to_dict("records")]


def _images(effect: str, condition: str, region: str, must_be: str, bound: float) -> Callable:
    def measured(regions: pd.DataFrame, resampling: Resampling) -> list[PlantedEffect]:
        del resampling
        rows = regions[
            (regions["condition"] == condition) & (regions["region"] == region) & (regions["stimulus"] == "all")
        ]
        measure = f"gain of {condition} relative to spikes only, {region} units"
        found = {"must_be": must_be, "bound": bound}
        return [
            _of_row(effect, f"{measure}, {row['encoder']}", row, "gain", **found) for row in rows.to_dict("records")
        ]

    return measured


_QUESTIONS = (
    (_identity, "cross_session/tables/comparisons", _IDENTITY),
    (_shuffled, "cross_session/tables/sessions", _SHUFFLED),
    (_gap, "cross_session/tables/summary", _GAP),
    (_horizon, "cross_session/tables/horizon_sessions", _HORIZON),
    (_length, "cross_session/tables/reference_length", _LENGTH),
    (_sessions, "scaling/tables/comparisons", _SESSIONS),
    (_ablated, "ablations/tables/ablations", _ABLATED),
    (_images(_IMAGES, "image_ahead", "visual", "above", 0.0), "multimodal/tables/regions", _IMAGES),
    (_images(_NOWHERE, "image_ahead", "non-visual", "below", NO_IMAGE_GAIN), "multimodal/tables/regions", _NOWHERE),
    (
        _images(_SCRAMBLED, "image_ahead_shuffled", "visual", "below", NO_IMAGE_GAIN),
        "multimodal/tables/regions",
        _SCRAMBLED,
    ),
)
"""Function, its table, and the effect if the table is missing."""


def _of_row(
    effect: str,
    measure: str,
    row: dict,
    value: str = "difference",
    *,
    name: str = "",
    must_be: str = "above",
    bound: float = 0.0,
) -> PlantedEffect:
    """Compare a row of a table with what was planted; its bounds begin with ``name``, or are plain if that is ""."""
    lower, upper = (row[f"{name}_{end}" if name else end] for end in ("lower", "upper"))
    counts = {"sessions": row["sessions"], "animals": row["animals"]}
    found = {"value": row[value], "lower": lower, "upper": upper, "must_be": must_be, "bound": bound}
    return PlantedEffect(effect=effect, measure=measure, **found, **counts)


def _wide(sessions: pd.DataFrame, by: str, names: list) -> pd.DataFrame:
    """Scores of sessions, one column per name."""
    return by_method(sessions[sessions[by].isin(names)], column=by)


def _difference(
    effect: str, measure: str, wide: pd.DataFrame, names: list, resampling: Resampling, *, must_be: str = "above"
) -> list[PlantedEffect]:
    found = resampling.compare(wide, *names)
    return [_of_row(effect, measure, found, must_be=must_be)] if found else []


def effect_table(effects: tuple[PlantedEffect, ...]) -> pd.DataFrame:
    """One row per effect, with whether it holds."""
    return pd.DataFrame([asdict(effect) | {"holds": effect.holds} for effect in effects])


def make_tables(*, results: str | Path, folder: str | Path, resampling: Resampling) -> None:
    """Write ``planted_effects.tsv``, ``planted_effects.parquet`` and ``planted_effects.txt``, for the terminal.

    Args:
        results: Results of the run, with the tables of its experiments.
    """
    effects = planted_effects(results, resampling)
    table = effect_table(effects)
    columns: dict[str, Cell] = {
        "planted": "{effect}",
        "measured": "{measure}",
        "found": "{value:+.4f}",
        f"{resampling.interval:.0%} interval": "[{lower:+.4f}, {upper:+.4f}]",
        "must be": "{must_be} {bound:g}",
        "holds": "{holds}",
    }
    write_table(table, Path(folder), "planted_effects")
    with replacing(Path(folder) / "planted_effects.txt") as path:
        path.write_text("\n".join(text_table(table, columns)[1:]) + "\n")
