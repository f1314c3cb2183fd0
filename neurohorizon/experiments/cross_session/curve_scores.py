"""Score sums of experiment 1 against the length of the reference window and the number of units.

A recording is reduced in two ways. Either it begins later, so that only the last seconds of its reference window
remain, or it has fewer units. Features, readout and reference rates are computed from the reduced recording, as for
any other, and the same network forecasts the same windows of the same units. The null stays the mean rate in the
**full** reference window, so that all gains are over one null; the mean rate of a shortened window is a separate
method (``reference_mean``).
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from neurohorizon.config import CrossSession, Features, Timeline
from neurohorizon.experiments.cross_session.elapsed_scores import CURVES, LENGTH, UNITS
from neurohorizon.experiments.cross_session.reduced_session import begun_later, nested_units, with_units
from neurohorizon.forecasts.forecast import forecast_windows, heldout_windows
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.forecasts.scoring import (
    ScoringError,
    named,
    require_the_same_task,
    scored_or_why,
    table_of,
    write_sums,
)
from neurohorizon.inputs.sessions import SessionPaths, known_by
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.weights import load_forecaster
from neurohorizon.scores import sum_scores
from neurohorizon.session import Session
from neurohorizon.timeline import bin_domain


@dataclass(frozen=True, eq=False)
class _Point:
    """A whole or reduced recording, and its scored units.

    Attributes:
        curve: ``LENGTH`` or ``UNITS``.
        size: Seconds or units.
        draw: Number of the draw of its units; None where none are drawn.
        session: The recording.
        scored: Rows of the scored units in the whole recording, [scored unit].
        place: Their rows in this one, [scored unit].
    """

    curve: str
    size: float
    draw: int | None
    session: Session
    scored: np.ndarray
    place: np.ndarray


def score_curves(
    *,
    weights: Path,
    paths: SessionPaths,
    forecasts: Sequence[Path],
    cross_session: CrossSession,
    timeline: Timeline,
    features: Features,
    minimum_rate_hz: float,
    random_seed: int,
    code: str,
    output: Path,
) -> None:
    """Score a network on one held-out session against the length of its reference window and its number of units.

    Args:
        weights: The network; its card lies next to it.
        forecasts: Forecast files of the whole session: first that of the network itself, which also names fold, method
            and seed; then others that are scored on the same units, for comparison.
        cross_session: The section ``cross_session`` of the configuration: lengths and sizes.
        minimum_rate_hz: Mean rate in the full reference window from which on a unit is scored.
        random_seed: Seed of the draws of units, which also depend on the session, and on no network.
        output: Parquet file of ``CURVES``; without rows for a session that was left out.

    Raises:
        ValueError: The session is one that the network was trained on, or its features are not the network's.
        ScoringError: Forecasts have different tasks.
    """
    whole = [read_forecast(path) for path in forecasts]
    own = whole[0]
    for forecast, path in zip(whole, forecasts, strict=True):
        require_the_same_task(own, forecast, path)
    forecaster, card = load_forecaster(weights)
    session, _, windows = heldout_windows(weights, card, paths, timeline)
    reason, scored = scored_or_why(own, minimum_rate_hz)
    if reason:
        write_sums(output, CURVES.empty_table(), own, left_out=reason)
        return
    if not np.array_equal(windows.origin_us, own.start_us):
        raise ScoringError(f"{forecasts[0]} has other windows than {paths.session}; rerun the forecast")
    groups = tuple(one for one in features.groups if one in card.features.groups)
    features = features.model_copy(update={"groups": groups})
    shape = WindowShape.of(timeline, card.model)
    parts = list(_whole_rows(whole, session, scored, cross_session, random_seed, timeline))
    for point in _points(session, scored, cross_session, random_seed, timeline):
        known = known_by(
            point.session,
            point.session.splits.reference,
            session.splits.test,
            timeline=timeline,
            features=features,
            readout=card.model.readout,
        )
        log_rate = forecast_windows(forecaster, known, own.start_us, shape)[..., point.place]
        parts.append(_rows(own, point, log_rate, code=code))
        if point.curve == LENGTH:
            mean = np.broadcast_to(known.reference_log_rate[point.place], log_rate.shape)
            parts.append(_rows(own, point, mean, method="reference_mean", seed=own.seed, code=code))
    write_sums(output, pa.concat_tables(parts), own, left_out=None)


def _draws(session: Session, scored: np.ndarray, settings: CrossSession, random_seed: int) -> Iterator:
    for draw in range(settings.unit_draws):
        # the session's name, so that the draw does not depend on which others take part
        rng = np.random.default_rng([random_seed, draw, zlib.crc32(session.session_id.encode())])
        yield draw, *nested_units(scored, settings.units, rng)


def _points(
    session: Session, scored: np.ndarray, settings: CrossSession, random_seed: int, timeline: Timeline
) -> Iterator[_Point]:
    everyone = np.flatnonzero(scored)
    for seconds in settings.reference_s:
        cut = begun_later(session, seconds, bin_us=timeline.bin_ms * 1000)
        if cut is not None:
            yield _Point(LENGTH, seconds, None, cut, everyone, everyone)
    for draw, chosen, populations in _draws(session, scored, settings, random_seed):
        for size, units in populations.items():
            yield _Point(UNITS, size, draw, with_units(session, units), chosen, np.searchsorted(units, chosen))


def _whole_rows(
    forecasts: Sequence[Forecast],
    session: Session,
    scored: np.ndarray,
    settings: CrossSession,
    random_seed: int,
    timeline: Timeline,
) -> Iterator[pa.Table]:
    bins = len(bin_domain(session.splits.reference, timeline.bin_ms * 1000))
    everyone = np.flatnonzero(scored)
    points = [_Point(LENGTH, bins * timeline.bin_ms / 1000, None, session, everyone, everyone)]
    for draw, chosen, populations in _draws(session, scored, settings, random_seed):
        if populations:
            points.append(_Point(UNITS, session.n_units, draw, session, chosen, chosen))
    for point in points:
        for forecast in forecasts:
            yield _rows(forecast, point, forecast.log_rate[..., point.place], whole=True, code=forecast.code)


def _rows(
    task: Forecast,
    point: _Point,
    log_rate: np.ndarray,
    *,
    whole: bool = False,
    method: str | None = None,
    seed: int | None = None,
    code: str,
) -> pa.Table:
    """Rows of one point: sums over its scored units, by horizon bin."""
    sums = sum_scores(
        counts=task.counts[..., point.scored],
        log_rate=log_rate,
        mask=task.target_mask,
        reference_log_rate=task.reference_log_rate[point.scored],
    )
    bins = len(sums.windows)
    constants = named(task) | {
        "code": code,
        "curve": point.curve,
        "size": float(point.size),
        "whole": whole,
        "draw": point.draw,
        "units": len(point.scored),
        "bin_us": task.bin_us,
    }
    if method is not None:
        constants |= {"method": method, "seed": seed}
    return table_of(
        CURVES,
        constants,
        {
            "horizon_bin": np.arange(bins),
            "windows": sums.windows,
            **{name: getattr(sums, name).sum(axis=1) for name in ("spikes", "model_nats", "reference_nats")},
        },
    )
