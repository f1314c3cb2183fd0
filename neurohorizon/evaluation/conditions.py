"""Score sums of the conditions of a session, by brain region and by what the screen showed.

One row per condition, encoder, seed, region, stimulus and horizon bin, sums alone (see :mod:`neurohorizon.scores`), so
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
from pathlib import Path

import numpy as np
import pyarrow as pa

from neurohorizon.config import Multimodal
from neurohorizon.evaluation.forecast_file import Forecast, read_forecast
from neurohorizon.evaluation.repeats import MovieTargets, movie_targets, repeat_sums
from neurohorizon.evaluation.scoring import ScoringError, require_the_same_task, write_sums
from neurohorizon.inputs.signals import GRAY, movie_intervals, presented_images
from neurohorizon.scores import Sums, sum_scores
from neurohorizon.session import Session, read_session
from neurohorizon.timeline import Intervals

STIMULI = ("movie", "movie_heldout", "scenes", "gray", "other", "none")

_IDENTITY = [
    pa.field("fold", pa.string()),
    pa.field("session", pa.string()),
    pa.field("subject", pa.string()),
    pa.field("lab", pa.string()),
    pa.field("source", pa.string()),
    pa.field("encoder", pa.string()),  # "" for a forecast that reads none
    pa.field("condition", pa.string()),
    pa.field("class", pa.string()),
    pa.field("seed", pa.int64()),  # null where nothing is drawn
    pa.field("code", pa.string()),
    pa.field("region", pa.string()),
    pa.field("stimulus", pa.string()),
    pa.field("units", pa.int64()),  # scored ones of the region
]
SCORES = pa.schema(
    [
        *_IDENTITY,
        pa.field("unscored_units", pa.int64()),  # of the session, the same in every row
        pa.field("horizon_bin", pa.int32()),
        pa.field("bin_us", pa.int64()),
        pa.field("windows", pa.int64()),
        pa.field("spikes", pa.int64()),
        pa.field("model_nats", pa.float64()),
        pa.field("reference_nats", pa.float64()),
        pa.field("evaluation_nats", pa.float64()),
        pa.field("saturated_nats", pa.float64()),
    ]
)
REPEATS = pa.schema(
    [
        *_IDENTITY,
        pa.field("against", pa.string()),
        pa.field("first_ms", pa.float64()),
        pa.field("last_ms", pa.float64()),
        pa.field("residual", pa.float64()),
        pa.field("total", pa.float64()),
    ]
)


def score_conditions(
    *,
    session: Path,
    folders: Sequence[Path],
    others: Sequence[Path],
    multimodal: Multimodal,
    minimum_rate_hz: float,
    scores: Path,
    repeats: Path,
) -> None:
    """Score every forecast of one session: its sums by region and stimulus, and those of its PSTH R2.

    A session that was left out gives tables without rows, with the reason in their metadata.

    Args:
        session: Session file.
        folders: Folders of forecast files of the session in one fold, one per encoder and seed; one file a condition.
        others: Further forecast files of it, such as the ceiling's.
        multimodal: Says which image sets are known and which parts of movies are held out.
        minimum_rate_hz: Mean rate in the reference window from which on a unit is scored.
        scores: Parquet file of ``SCORES`` to write.
        repeats: Parquet file of ``REPEATS`` to write; without rows for a session that shows no movie.

    Raises:
        ScoringError: The forecasts differ in what they were asked, or one of them comes twice.
    """
    recording = read_session(session)
    first, seen, reason = None, set(), None
    tables, repeat_tables = [], []
    for path in [*(path for folder in folders for path in sorted(folder.glob("*.h5"))), *others]:
        forecast = read_forecast(path)
        if first is None:
            first = forecast
            reason, scored, stimulus, targets = _task(recording, first, multimodal, minimum_rate_hz)
        require_the_same_task(first, forecast, path)
        name = (forecast.method, forecast.encoder, forecast.seed)
        if name in seen:
            raise ScoringError(f"{path} repeats {forecast.method!r} of encoder {forecast.encoder!r}, seed {name[2]}")
        seen.add(name)
        if reason is None:
            tables.append(_score(forecast, scored, stimulus))
            if targets is not None:
                repeat_tables.append(_compare(forecast, scored, targets))
    if first is None:
        raise ScoringError("no forecast files were given; a session needs at least one to be scored")
    for output, parts, schema in ((scores, tables, SCORES), (repeats, repeat_tables, REPEATS)):
        write_sums(output, pa.concat_tables(parts) if parts else schema.empty_table(), first, left_out=reason)


def _task(
    session: Session, forecast: Forecast, multimodal: Multimodal, minimum_rate_hz: float
) -> tuple[str | None, np.ndarray, np.ndarray, MovieTargets | None]:
    scored = np.exp(forecast.reference_log_rate) >= minimum_rate_hz * forecast.bin_us / 1e6
    if forecast.left_out is not None:
        return forecast.left_out, scored, np.zeros(0), None
    if not scored.any():
        return (
            f"none of {scored.size} units reaches {minimum_rate_hz} Hz in the reference window",
            scored,
            np.zeros(0),
            None,
        )
    bins = np.arange(forecast.target_mask.shape[1])
    centre_us = forecast.start_us[:, None] + bins * forecast.bin_us + forecast.bin_us // 2
    heldout = movie_intervals(session.stimuli, multimodal.heldout_movie_s)
    sets = multimodal.images.sets if multimodal.images else ()
    stimulus = stimulus_at(session.stimuli, centre_us, image_sets=sets, heldout=heldout)
    return None, scored, stimulus, movie_targets(session, forecast, heldout)


def stimulus_at(
    stimuli: Mapping[str, np.ndarray], us: np.ndarray, *, image_sets: Sequence[str], heldout: Intervals
) -> np.ndarray:
    """Name the stimulus that is on the screen at each time; for the names see the module.

    Args:
        stimuli: Presentations of a session.
        us: Times, int64 microseconds, any shape.
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


def _score(forecast: Forecast, scored: np.ndarray, stimulus: np.ndarray) -> pa.Table:
    columns = {name: [] for name in SCORES.names}
    for name in STIMULI:
        mask = forecast.target_mask & (stimulus == name)
        rows = mask.any(axis=1)
        if not rows.any():
            continue
        sums = sum_scores(
            counts=forecast.observed[rows][..., scored],
            log_rate=forecast.log_rate[rows][..., scored],
            mask=mask[rows],
            reference_log_rate=forecast.reference_log_rate[scored],
        )
        _append_regions(columns, forecast, scored, name, sums)
    return pa.table([pa.array(columns[field.name], field.type) for field in SCORES], schema=SCORES)


def _append_regions(columns: dict[str, list], forecast: Forecast, scored: np.ndarray, name: str, sums: Sums) -> None:
    region = forecast.region[scored]
    for one in np.unique(region).tolist():
        inside = region == one
        bins = len(sums.windows)
        _append(columns, _identity(forecast, one, name, int(inside.sum())), bins)
        _append(columns, {"unscored_units": int((~scored).sum()), "bin_us": forecast.bin_us}, bins)
        columns["horizon_bin"].extend(range(bins))
        columns["windows"].extend(sums.windows.tolist())
        for kind in ("spikes", "model_nats", "reference_nats", "evaluation_nats", "saturated_nats"):
            columns[kind].extend(getattr(sums, kind)[:, inside].sum(axis=1).tolist())


def _compare(forecast: Forecast, scored: np.ndarray, targets: MovieTargets) -> pa.Table:
    columns = {name: [] for name in REPEATS.names}
    for sums in repeat_sums(targets, forecast):
        for one in np.unique(forecast.region[scored]).tolist():
            inside = scored & (forecast.region == one)
            stimulus = "movie_heldout" if sums.heldout else "movie"
            values = {
                "against": sums.against,
                "first_ms": sums.part_ms[0],
                "last_ms": sums.part_ms[1],
                "residual": float(sums.residual[inside].sum()),
                "total": float(sums.total[inside].sum()),
            }
            _append(columns, _identity(forecast, one, stimulus, int(inside.sum())) | values, 1)
    return pa.table([pa.array(columns[field.name], field.type) for field in REPEATS], schema=REPEATS)


def _identity(forecast: Forecast, region: str, stimulus: str, units: int) -> dict[str, object]:
    names = ("fold", "session", "subject", "lab", "source", "encoder", "seed", "code")
    identity = {name: getattr(forecast, name) for name in names}
    kind = {"condition": forecast.method, "class": forecast.method_class}
    return identity | kind | {"region": region, "stimulus": stimulus, "units": units}


def _append(columns: dict[str, list], values: Mapping[str, object], rows: int) -> None:
    for name, value in values.items():
        columns[name].extend([value] * rows)
