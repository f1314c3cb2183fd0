"""What was planted in simulated recordings, and whether the tables of a run give it back.

Simulated neurons have statistics that carry some of their tuning, share latent dynamics and drift, and answer to images
in visual regions alone. A sound pipeline finds that, and a pipeline that leaks, shifts a window or mixes up units does
not. Each truth is one row: a number of a table, its interval, and the bound that the interval must keep.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.analysis.statistics import compare_paired
from neurohorizon.analysis.tables import (
    PRIMARY_NULL,
    SESSION,
    Resampling,
    aligned,
    animal_names,
    over_all_sources,
    write_table,
)
from neurohorizon.files import replacing
from neurohorizon.methods import FORECASTER

GAP_CLOSED = 0.8
"""Share of the gap to a network fitted on the session that zero-shot forecasts close on the simulated cohort."""
NO_IMAGE_GAIN = 0.01
"""Bits per spike below which images say nothing: where neurons do not see, and where images are shuffled."""
YES, NO, NOT_RUN = "yes", "no", "not run"


@dataclass(frozen=True)
class Truth:
    """One planted truth and what a run found.

    Attributes:
        truth: In words.
        measure: The number that shows it.
        value: What was found; NaN where the run lacks the table.
        lower: Bound of its interval by animal.
        upper: Bound of its interval by animal.
        must_be: ``above`` (the lower bound) or ``below`` (the upper bound) ...
        bound: ... this.
        null: Null of the scores.
        sessions: Sessions behind the number.
        animals: Animals behind the number.
    """

    truth: str
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


def planted_truths(folder: str | Path, resampling: Resampling) -> tuple[Truth, ...]:
    """Ask the tables of a finished run for every planted truth.

    Args:
        folder: Results of the run. Experiments that were not run have no tables, and their truths say so.
        resampling: How intervals are made that no table has.
    """
    folder = Path(folder)
    found = []
    for asks, table, absent in _QUESTIONS:
        path = folder / f"{table}.parquet"
        answers = asks(pd.read_parquet(path), resampling) if path.exists() else []
        found += answers or [Truth(truth=absent, measure=f"{table} has no such row")]
    return tuple(found)


_IDENTITY = "identity helps"
_SHUFFLED = "another unit's identity does not"
_GAP = "zero-shot forecasts close the gap to a network fitted on the session"
_HORIZON = "accuracy falls with the horizon"
_LENGTH = "accuracy rises with the reference window"
_SESSIONS = "accuracy rises with training sessions"
_ABLATED = "a trained network that is told other identities loses"
_IMAGES = "images help in visual regions"
_NOWHERE = "images help nowhere else"
_SCRAMBLED = "shuffled images do not help"


def _identity(comparisons: pd.DataFrame, resampling: Resampling) -> list[Truth]:
    del resampling  # the table has the interval
    rows = comparisons[comparisons["against"] == "mean_identity"]
    return [_of_row(_IDENTITY, f"{FORECASTER} - mean_identity", row) for row in rows.to_dict("records")]


def _shuffled(sessions: pd.DataFrame, resampling: Resampling) -> list[Truth]:
    wide = _wide(sessions[sessions["null"] == PRIMARY_NULL], "method", ["shuffled_identity", "mean_identity"])
    name = "shuffled_identity - mean_identity"
    return _difference(_SHUFFLED, name, wide, ["shuffled_identity", "mean_identity"], resampling, must_be="below")


def _gap(summary: pd.DataFrame, resampling: Resampling) -> list[Truth]:
    del resampling
    rows = over_all_sources(summary)
    rows = rows[(rows["null"] == PRIMARY_NULL) & (rows["method"] == FORECASTER) & rows["gap_closed"].notna()]
    return [
        Truth(
            truth=_GAP,
            measure="gap closed",
            value=row["gap_closed"],
            lower=row["gap_closed_lower"],
            upper=row["gap_closed_upper"],
            bound=GAP_CLOSED,
            sessions=row["sessions"],
            animals=row["animals"],
        )
        for row in rows.to_dict("records")
    ]


def _horizon(horizon_sessions: pd.DataFrame, resampling: Resampling) -> list[Truth]:
    of = horizon_sessions[horizon_sessions["method"] == FORECASTER]
    first, last = of["horizon_ms"].min(), of["horizon_ms"].max()
    name = f"{FORECASTER}, bin at {first:g} ms - bin at {last:g} ms"
    return _difference(_HORIZON, name, _wide(of, "horizon_ms", [first, last]), [first, last], resampling)


def _length(reference_length: pd.DataFrame, resampling: Resampling) -> list[Truth]:
    del resampling
    of = reference_length[
        (reference_length["method"] == FORECASTER)
        & (reference_length["horizon_ms"] == reference_length["horizon_ms"].max())
        & ~reference_length["whole"]
    ]
    shortest = of[of["size"] == of["size"].min()]
    return [
        Truth(
            truth=_LENGTH,
            measure=f"{FORECASTER}, {row['size']:g} s - whole reference window",
            value=row["difference"],
            lower=row["difference_lower"],
            upper=row["difference_upper"],
            must_be="below",
            sessions=row["sessions"],
            animals=row["animals"],
        )
        for row in shortest.to_dict("records")
    ]


def _sessions(comparisons: pd.DataFrame, resampling: Resampling) -> list[Truth]:
    del resampling
    rows = comparisons[comparisons["comparison"] == "more_sessions"]
    return [_of_row(_SESSIONS, f"{row['what']} - {row['against']}", row) for row in rows.to_dict("records")]


def _ablated(ablations: pd.DataFrame, resampling: Resampling) -> list[Truth]:
    del resampling
    rows = ablations[ablations["declared"] & (ablations["variant"] == "shuffled_identity")]
    return [_of_row(_ABLATED, "shuffled_identity - full", row, must_be="below") for row in rows.to_dict("records")]


def _images(truth: str, condition: str, region: str, must_be: str, bound: float) -> Callable:
    def ask(regions: pd.DataFrame, resampling: Resampling) -> list[Truth]:
        del resampling
        rows = regions[
            (regions["condition"] == condition) & (regions["region"] == region) & (regions["stimulus"] == "all")
        ]
        return [
            Truth(
                truth=truth,
                measure=f"gain of {condition} over spikes alone, {region} units, {row['encoder']}",
                value=row["gain"],
                lower=row["lower"],
                upper=row["upper"],
                must_be=must_be,
                bound=bound,
                sessions=row["sessions"],
                animals=row["animals"],
            )
            for row in rows.to_dict("records")
        ]

    return ask


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
"""Who asks, which table, and the truth where it is not there."""


def _of_row(truth: str, measure: str, row: dict, *, must_be: str = "above") -> Truth:
    """A truth that a table of comparisons tells."""
    return Truth(
        truth=truth,
        measure=measure,
        value=row["difference"],
        lower=row["lower"],
        upper=row["upper"],
        must_be=must_be,
        sessions=row["sessions"],
        animals=row["animals"],
    )


def _wide(sessions: pd.DataFrame, by: str, names: list) -> pd.DataFrame:
    """Scores of sessions that have all the names, in columns of these names."""
    wide = sessions[sessions[by].isin(names)].pivot(index=SESSION, columns=by, values="bits_per_spike").reset_index()
    return wide.dropna() if set(names) <= set(wide) else wide.iloc[:0]


def _difference(
    truth: str, measure: str, wide: pd.DataFrame, names: list, resampling: Resampling, *, must_be: str = "above"
) -> list[Truth]:
    if wide.empty:
        return []
    found = compare_paired(
        wide[names[0]], wide[names[1]], animal_names(wide), resampling.rng(), **resampling.options
    ).difference
    return [Truth(truth=truth, measure=measure, must_be=must_be, **asdict(found))]


def truth_table(truths: tuple[Truth, ...]) -> pd.DataFrame:
    """One row per truth, with whether it holds."""
    return pd.DataFrame([asdict(truth) | {"holds": truth.holds} for truth in truths])


def make_tables(*, results: str | Path, folder: str | Path, resampling: Resampling) -> None:
    """Write ``truths.tsv``, ``truths.parquet`` and ``truths.txt``, for the terminal.

    Args:
        results: Results of the run, with the tables of its experiments.
        folder: Where these tables go.
        resampling: How intervals are made that no table has.
    """
    truths = planted_truths(results, resampling)
    write_table(truth_table(truths), Path(folder), "truths")
    rows = [("planted truth", "measured", "found", f"{resampling.interval:.0%} interval", "must be", "holds")]
    for one in truths:
        number = "" if np.isnan(one.value) else f"{one.value:+.4f}"
        bounds = "" if np.isnan(one.lower) else f"[{one.lower:+.4f}, {one.upper:+.4f}]"
        rows.append((one.truth, one.measure, number, bounds, f"{one.must_be} {one.bound:g}", one.holds))
    with replacing(Path(folder) / "truths.txt") as path:
        path.write_text("\n".join(aligned(rows)) + "\n")


def describe_truths(folder: str | Path) -> str:
    """How many planted truths came back, and which did not, as a paragraph of Markdown.

    Args:
        folder: Where ``truths.parquet`` is.
    """
    table = pd.read_parquet(Path(folder) / "truths.parquet")
    by_truth = table.groupby("truth", sort=False)["holds"].agg(set)
    run = by_truth[[answers != {NOT_RUN} for answers in by_truth]]
    lost = [truth for truth, answers in run.items() if NO in answers]
    if not lost:
        return f"All **{len(run)}** truths that were planted in the simulated recordings and asked for came back."
    return (
        f"Of **{len(run)}** truths that were planted in the simulated recordings, **{len(lost)}** did not come back: "
        f"{'; '.join(lost)}."
    )
