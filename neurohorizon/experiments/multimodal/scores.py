"""Score sums of the conditions of a session, by brain region and by stimulus on the screen.

One row per condition, encoder, seed, region, stimulus and horizon bin, only sums (see :mod:`neurohorizon.scores`), so
that any pooling is exact. A target bin has the stimulus that is on the screen at its centre:

``movie``
    A natural movie whose images the models know, in the parts that they were trained on.
``movie_heldout``
    The same in the parts that nothing was fitted on.
``scenes``
    Natural scenes; the gray between them is ``gray``.
``gray``
    The gray screen: shown as such, or between presentations.
``other``
    Images that the models do not know, such as gratings, and time before the first and after the last presentation.
``none``
    The session has no record of a screen.

``evaluation_nats`` is over each unit's mean in the bins of that stimulus, not of the session.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from neurohorizon.analysis.tables import horizon_parts
from neurohorizon.config import Multimodal
from neurohorizon.experiments.multimodal.psth import MovieTargets, example_unit, movie_targets, phase_means, repeat_sums
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.forecasts.scoring import (
    NATS,
    OF_SESSION,
    ScoringError,
    fields,
    named,
    require_the_same_task,
    scored_or_why,
    table_of,
    write_sums,
)
from neurohorizon.modalities.signals import GRAY, movie_intervals, presented_images
from neurohorizon.scores import sum_scores
from neurohorizon.session import Session, read_session
from neurohorizon.timeline import Intervals

EXAMPLE_RULE = (
    "first held-out session with a movie; the visual unit whose response in the reference window is most alike in odd "
    "and even repeats"
)
"""How the unit of the example figure is chosen."""
STIMULI = ("movie", "movie_heldout", "scenes", "gray", "other", "none")

_IDENTITY = [
    # encoder is "" for a forecast that reads none; seed is null where nothing is drawn
    *fields(pa.string(), *OF_SESSION, "encoder", "condition", "class"),
    pa.field("seed", pa.int64()),
    *fields(pa.string(), "code", "region"),
]
_OF_STIMULUS = [pa.field("stimulus", pa.string()), pa.field("units", pa.int64())]  # scored units of the region
SCORES = pa.schema(
    [
        *_IDENTITY,
        *_OF_STIMULUS,
        pa.field("unscored_units", pa.int64()),  # of the session, the same in every row
        pa.field("horizon_bin", pa.int32()),
        *fields(pa.int64(), "bin_us", "windows", "spikes"),
        *fields(pa.float64(), *NATS),
    ]
)
REPEATS = pa.schema(
    [
        *_IDENTITY,
        *_OF_STIMULUS,
        pa.field("against", pa.string()),
        *fields(pa.float64(), "first_ms", "last_ms", "residual", "total"),
    ]
)
EXAMPLES = pa.schema(
    [
        *_IDENTITY,
        *fields(pa.string(), "unit_id", "movie"),
        *fields(pa.float64(), "phase_ms", "width_ms"),  # start and length of this part of the movie
        pa.field("heldout", pa.bool_()),
        pa.field("target_bins", pa.int64()),  # forecast bins that the means are over
        *fields(pa.float64(), "expected_hz", "observed_hz"),
    ]
)
_EXAMPLE_US = 100_000  # width of the parts of a movie over which the example is averaged
_VISUAL = ("VIS", "LGd", "LP")  # beginnings of acronyms; LP has subdivisions in some atlases


def region_group(region: str) -> str:
    """Group of a region by its Allen acronym: ``visual`` (cortex and thalamus) or ``non-visual``; "" without a name."""
    if not region:
        return ""
    return "visual" if region.startswith(_VISUAL) else "non-visual"


@dataclass(frozen=True)
class Written:
    """Files of one session that :func:`score_conditions` writes.

    Attributes:
        scores: Parquet file of ``SCORES``.
        repeats: Parquet file of ``REPEATS``; without rows for a session that shows no movie.
        example: Parquet file of ``EXAMPLES``, the response of one unit, chosen by ``EXAMPLE_RULE``; likewise.
    """

    scores: Path
    repeats: Path
    example: Path


@dataclass(frozen=True, eq=False)
class _Task:
    """The task on which all forecasts of a session are scored.

    Attributes:
        reason: Reason why the session cannot be scored; None if it can.
        scored: Whether a unit is scored, bool [unit].
        stimulus: Stimulus of each target bin, str [window, horizon_bin].
        targets: Target bins that show a movie; None where there is none.
        example: Unit whose response is kept; None where there is none.
    """

    reason: str | None
    scored: np.ndarray
    stimulus: np.ndarray
    targets: MovieTargets | None
    example: int | None


def score_conditions(
    *,
    session: Path,
    folders: Sequence[Path],
    others: Sequence[Path],
    multimodal: Multimodal,
    minimum_rate_hz: float,
    horizons_ms: Sequence[float],
    output: Written,
) -> None:
    """Score every forecast of one session: its sums by region and stimulus, those of its PSTH R2, and an example.

    A session that was left out gives tables without rows, with the reason in their metadata.

    Args:
        folders: Folders of forecast files of the session in one fold, one per encoder and seed; one file a condition.
        others: Further forecast files of it, such as the ceiling's.
        multimodal: Defines the known image sets and the held-out parts of movies.
        minimum_rate_hz: Mean rate in the reference window from which on a unit is scored.

    Raises:
        ScoringError: The forecasts have different tasks, or one of them is repeated.
    """
    recording = read_session(session)
    first, task, seen = None, None, set()
    parts = {SCORES: [], REPEATS: [], EXAMPLES: []}
    for path in [*(path for folder in folders for path in sorted(folder.glob("*.h5"))), *others]:
        forecast = read_forecast(path)
        if task is None:
            first, task = forecast, _task(recording, forecast, multimodal, minimum_rate_hz)
        require_the_same_task(first, forecast, path)
        name = (forecast.method, forecast.encoder, forecast.seed)
        if name in seen:
            raise ScoringError(f"{path} repeats {forecast.method!r} of encoder {forecast.encoder!r}, seed {name[2]}")
        seen.add(name)
        if task.reason is None:
            parts[SCORES].append(_score(forecast, task))
        if task.targets is not None:
            parts[REPEATS].append(_compare(forecast, task, horizons_ms))
        if task.example is not None:
            parts[EXAMPLES].append(_respond(forecast, task))
    if task is None:
        raise ScoringError("no forecast files were given; a session needs at least one to be scored")
    for path, (schema, tables) in zip((output.scores, output.repeats, output.example), parts.items(), strict=True):
        write_sums(path, pa.concat_tables(tables) if tables else schema.empty_table(), first, left_out=task.reason)


def _task(session: Session, forecast: Forecast, multimodal: Multimodal, minimum_rate_hz: float) -> _Task:
    reason, scored = scored_or_why(forecast, minimum_rate_hz)
    if reason is not None:
        return _Task(reason, scored, np.zeros((0, 0), str), None, None)
    bins = np.arange(forecast.target_mask.shape[1])
    centre_us = forecast.start_us[:, None] + bins * forecast.bin_us + forecast.bin_us // 2
    heldout = movie_intervals(session.stimuli, multimodal.heldout_movie_s)
    sets = multimodal.images.sets if multimodal.images else ()
    stimulus = stimulus_at(session.stimuli, centre_us, image_sets=sets, heldout=heldout)
    targets = movie_targets(session, forecast, heldout)
    visual = np.array([region_group(region) == "visual" for region in forecast.region.tolist()])
    example = example_unit(session, scored & visual) if targets is not None else None
    return _Task(None, scored, stimulus, targets, example)


def stimulus_at(
    stimuli: Mapping[str, np.ndarray], us: np.ndarray, *, image_sets: Sequence[str], heldout: Intervals
) -> np.ndarray:
    """Name the stimulus that is on the screen at each time; for the names see the module.

    Args:
        image_sets: Image sets whose images the models know.
        heldout: When parts of movies are shown that nothing was fitted on.

    Returns:
        One of ``STIMULI`` for each time, str, shape of ``us``.
    """
    if not len(stimuli["start"]):
        return np.full(np.shape(us), "none", dtype="U13")
    pieces = presented_images(stimuli)
    known = np.isin(pieces["image_set"], list(image_sets))
    names = np.full(len(pieces["start_us"]), "other", dtype="U13")
    names[known & np.char.startswith(pieces["image_set"], "natural_movie")] = "movie"
    names[known & np.char.startswith(pieces["image_set"], "natural_scenes")] = "scenes"
    names[pieces["image_set"] == GRAY] = "gray"
    piece = Intervals(pieces["start_us"], pieces["stop_us"]).index_of(us)
    found = np.where(piece >= 0, names[piece], "other")
    return np.where((found == "movie") & heldout.contains(us), "movie_heldout", found)


def _score(forecast: Forecast, task: _Task) -> pa.Table:
    scored, region = task.scored, forecast.region[task.scored]
    tables = [SCORES.empty_table()]
    for name in STIMULI:
        mask = forecast.target_mask & (task.stimulus == name)
        rows = mask.any(axis=1)
        if not rows.any():
            continue
        sums = sum_scores(
            counts=forecast.counts[rows][..., scored],
            log_rate=forecast.log_rate[rows][..., scored],
            mask=mask[rows],
            reference_log_rate=forecast.reference_log_rate[scored],
        )
        for one in np.unique(region).tolist():
            inside = region == one
            constants = _identity(forecast, one, name, int(inside.sum()))
            constants |= {"unscored_units": int((~scored).sum()), "bin_us": forecast.bin_us}
            columns = {"horizon_bin": np.arange(len(sums.windows)), "windows": sums.windows}
            columns |= {kind: getattr(sums, kind)[:, inside].sum(axis=1) for kind in ("spikes", *NATS)}
            tables.append(table_of(SCORES, constants, columns))
    return pa.concat_tables(tables)


def _compare(forecast: Forecast, task: _Task, horizons_ms: Sequence[float]) -> pa.Table:
    scored, rows = task.scored, []
    parts_ms = horizon_parts(horizons_ms, forecast.log_rate.shape[1] * forecast.bin_us / 1000)
    for sums in repeat_sums(task.targets, forecast, parts_ms):
        for one in np.unique(forecast.region[scored]).tolist():
            inside = scored & (forecast.region == one)
            rows.append(
                _identity(forecast, one, "movie_heldout" if sums.heldout else "movie", int(inside.sum()))
                | {"against": sums.against, "first_ms": sums.part_ms[0], "last_ms": sums.part_ms[1]}
                | {name: float(getattr(sums, name)[inside].sum()) for name in ("residual", "total")}
            )
    return pa.Table.from_pylist(rows, schema=REPEATS)


def _respond(forecast: Forecast, task: _Task) -> pa.Table:
    targets, unit, per_hz = task.targets, task.example, forecast.bin_us / 1e6
    weight, expected, observed = phase_means(targets, forecast)
    # the movie with the most forecast bins
    shown = targets.movie == np.argmax(np.bincount(targets.movie, weight))
    parts, part = np.unique(targets.phase_us[shown] // _EXAMPLE_US, return_inverse=True)
    bins = np.bincount(part, weight[shown])
    constants = _identity(forecast, forecast.region[unit], "", 0) | {
        "unit_id": forecast.unit_id[unit],
        "movie": targets.movies[targets.movie[shown][0]],
        "width_ms": _EXAMPLE_US / 1000,
    }
    columns = {
        "phase_ms": parts * _EXAMPLE_US / 1000,
        "heldout": np.bincount(part, weight[shown] * targets.heldout[shown]) > bins / 2,
        "target_bins": bins.astype(np.int64),
    }
    for name, values in (("expected_hz", expected), ("observed_hz", observed)):
        columns[name] = np.bincount(part, weight[shown] * values[shown, unit]) / np.maximum(bins, 1) / per_hz
    return table_of(EXAMPLES, constants, columns)


def _identity(forecast: Forecast, region: str, stimulus: str, units: int) -> dict[str, object]:
    identity = named(forecast)
    kind = {"condition": identity.pop("method"), "encoder": forecast.encoder}
    return identity | kind | {"region": region, "stimulus": stimulus, "units": units}
