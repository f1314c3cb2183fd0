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


@dataclass(frozen=True)
class _Question:
    """How an effect is measured.

    Attributes:
        effect: The effect in words.
        table: Table of the run.
        measured: From the table to rows with ``measure``, ``sessions``, ``animals``, the value and its bounds.
        value: Column of the value.
        bounds: Beginning of the names of its bounds; "" for ``lower`` and ``upper``.
        must_be, bound: As in :class:`PlantedEffect`.
    """

    effect: str
    table: str
    measured: Callable[[pd.DataFrame, Resampling], pd.DataFrame]
    value: str = "difference"
    bounds: str = ""
    must_be: str = "above"
    bound: float = 0.0

    def answers(self, folder: Path, resampling: Resampling) -> list[PlantedEffect]:
        """Return the effect in each row, or one effect without a value if the run has no such row."""
        path = folder / f"{self.table}.parquet"
        rows = self.measured(pd.read_parquet(path), resampling).to_dict("records") if path.exists() else []
        prefix = f"{self.bounds}_" if self.bounds else ""
        return [
            PlantedEffect(
                effect=self.effect,
                measure=row["measure"],
                value=row[self.value],
                lower=row[f"{prefix}lower"],
                upper=row[f"{prefix}upper"],
                must_be=self.must_be,
                bound=self.bound,
                sessions=row["sessions"],
                animals=row["animals"],
            )
            for row in rows
        ] or [PlantedEffect(effect=self.effect, measure=f"{self.table} has no such row")]


def planted_effects(folder: str | Path, resampling: Resampling) -> tuple[PlantedEffect, ...]:
    """Compare the tables of a finished run with every planted effect.

    Args:
        folder: Results of the run. Experiments that were not run have no tables, and their effects are ``not run``.
    """
    return tuple(effect for question in _QUESTIONS for effect in question.answers(Path(folder), resampling))


def _identity(comparisons: pd.DataFrame, _: Resampling) -> pd.DataFrame:
    rows = comparisons[comparisons["against"] == "mean_identity"]
    return rows.assign(measure=f"{FORECASTER} - mean_identity")


def _shuffled(sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    of_null = sessions[sessions["null"] == PRIMARY_NULL]
    names = ["shuffled_identity", "mean_identity"]
    return _difference(of_null, "method", names, "shuffled_identity - mean_identity", resampling)


def _gap(summary: pd.DataFrame, _: Resampling) -> pd.DataFrame:
    rows = over_all_sources(summary)
    rows = rows[(rows["null"] == PRIMARY_NULL) & (rows["method"] == FORECASTER) & rows["gap_closed"].notna()]
    return rows.assign(measure="gap closed")


def _horizon(horizon_sessions: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    of = horizon_sessions[horizon_sessions["method"] == FORECASTER]
    first, last = of["horizon_ms"].min(), of["horizon_ms"].max()
    measure = f"{FORECASTER}, bin at {first:g} ms - bin at {last:g} ms"
    return _difference(of, "horizon_ms", [first, last], measure, resampling)


def _length(reference_length: pd.DataFrame, _: Resampling) -> pd.DataFrame:
    of = reference_length[(reference_length["method"] == FORECASTER) & ~reference_length["whole"]]
    of = of[of["horizon_ms"] == reference_length["horizon_ms"].max()]
    shortest = of[of["size"] == of["size"].min()]
    return shortest.assign(measure=[f"{FORECASTER}, {size:g} s - full reference window" for size in shortest["size"]])


def _sessions(comparisons: pd.DataFrame, _: Resampling) -> pd.DataFrame:
    rows = comparisons[comparisons["comparison"] == "more_sessions"]
    return rows.assign(measure=rows["what"] + " - " + rows["against"])


def _ablated(ablations: pd.DataFrame, _: Resampling) -> pd.DataFrame:
    rows = ablations[ablations["declared"] & (ablations["variant"] == "shuffled_identity")]
    return rows.assign(measure="shuffled_identity - full")


def _images(condition: str, region: str) -> Callable[[pd.DataFrame, Resampling], pd.DataFrame]:
    def measured(regions: pd.DataFrame, _: Resampling) -> pd.DataFrame:
        rows = regions[(regions["condition"] == condition) & (regions["region"] == region)]
        rows = rows[rows["stimulus"] == "all"]
        return rows.assign(measure=f"gain of {condition} relative to spikes only, {region} units, " + rows["encoder"])

    return measured


def _difference(sessions: pd.DataFrame, by: str, names: list, measure: str, resampling: Resampling) -> pd.DataFrame:
    """Paired difference of the scores of sessions between two values of a column; no row without a pair."""
    found = resampling.compare(by_method(sessions[sessions[by].isin(names)], column=by), *names)
    return pd.DataFrame([found | {"measure": measure}] if found else [])


_REGIONS = "multimodal/tables/regions"
_GAIN, _NO_GAIN = {"value": "gain"}, {"value": "gain", "must_be": "below", "bound": NO_IMAGE_GAIN}
_QUESTIONS = (
    _Question("identity helps", "cross_session/tables/comparisons", _identity),
    _Question("another unit's identity does not", "cross_session/tables/sessions", _shuffled, must_be="below"),
    _Question(
        "zero-shot forecasts close the gap to a network fitted on the session",
        "cross_session/tables/summary",
        _gap,
        value="gap_closed",
        bounds="gap_closed",
        bound=GAP_CLOSED,
    ),
    _Question("accuracy falls with the horizon", "cross_session/tables/horizon_sessions", _horizon),
    _Question(
        "accuracy rises with the reference window",
        "cross_session/tables/reference_length",
        _length,
        bounds="difference",
        must_be="below",
    ),
    _Question("accuracy rises with training sessions", "scaling/tables/comparisons", _sessions),
    _Question(
        "a trained network with wrong identities scores lower", "ablations/tables/ablations", _ablated, must_be="below"
    ),
    _Question("images help in visual regions", _REGIONS, _images("image_ahead", "visual"), **_GAIN),
    _Question("images help nowhere else", _REGIONS, _images("image_ahead", "non-visual"), **_NO_GAIN),
    _Question("shuffled images do not help", _REGIONS, _images("image_ahead_shuffled", "visual"), **_NO_GAIN),
)


def make_tables(*, results: str | Path, folder: str | Path, resampling: Resampling) -> None:
    """Write ``planted_effects.tsv``, ``planted_effects.parquet`` and ``planted_effects.txt``, for the terminal.

    Args:
        results: Results of the run, with the tables of its experiments.
    """
    effects = planted_effects(results, resampling)
    table = pd.DataFrame([asdict(effect) | {"holds": effect.holds} for effect in effects])
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
