"""Teacher-forced scores: the decoder receives the observed counts of the horizon, so this is not a forecast.

Each bin of the horizon is decoded given the observed counts of all bins before it. So it is always a prediction of one
bin ahead, whatever its distance from the origin, and its score is that of a rollout without errors. These scores are in
no table of forecasts and have their own class. They cover exactly the windows for which sample paths are drawn, next to
the true rates where these are available.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neurohorizon.config import Timeline
from neurohorizon.files import replacing
from neurohorizon.forecasts.forecast import forecast_windows, heldout_windows
from neurohorizon.forecasts.forecast_file import Forecast, read_forecast
from neurohorizon.forecasts.scoring import OF_METHOD, fields, none_scored, table_of
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.count_feedback import FedBackCounts
from neurohorizon.models.weights import load_forecaster
from neurohorizon.scores import Sums, scored_units, sum_scores
from neurohorizon.session import Session

NOT_A_FORECAST = "not a forecast"
"""Class of teacher-forced scores. Forecast files refuse it."""

SCHEMA = pa.schema(
    [
        *OF_METHOD,
        pa.field("code", pa.string()),
        pa.field("horizon_bin", pa.int32()),
        pa.field("bin_us", pa.int64()),
        *fields(pa.int64(), "units", "unscored_units", "windows", "spikes"),  # sums are over the scored units
        *fields(pa.float64(), "model_nats", "reference_nats"),
    ]
)


def score_teacher_forcing(
    *,
    weights: Path,
    paths: Sequence[SessionPaths],
    oracles: Sequence[Path],
    fold: str,
    method: str,
    seed: int,
    timeline: Timeline,
    every_windows: int,
    minimum_rate_hz: float,
    code: str,
    output: Path,
) -> None:
    """Score a teacher-forced network in the sampled windows of held-out sessions, and write the sums.

    The file has a row for each session, method and horizon bin, summed over scored units. Sessions that have no score
    are named, with the reason, in its metadata under ``left_out``, as JSON. A network without feedback has no
    teacher-forced score: only the true rates are scored.

    Args:
        weights: A network; its card lies next to it.
        oracles: Forecast files of the true rates, of those sessions that have them.
        method: Name of the network; the rows are named after it.
        every_windows: Every n-th test window is scored, like the windows of sample paths.
        minimum_rate_hz: Mean rate in the reference window from which on a unit is scored.

    Raises:
        ValueError: A session is one that the network was trained on, its features are not the network's, or its true
            rates are of other windows.
    """
    forecaster, card = load_forecaster(weights)
    shape = WindowShape.of(timeline, card.model)
    of_session = {one.session: one for one in map(read_forecast, oracles)}
    tables, left_out = [SCHEMA.empty_table()], {}
    for files in paths:
        session, inputs, windows = heldout_windows(weights, card, files, timeline)
        name = session.session_id
        if inputs is None:
            left_out[name] = session.left_out
            continue
        scored = scored_units(np.exp(inputs.reference_log_rate), minimum_rate_hz=minimum_rate_hz, bin_us=shape.bin_us)
        kept = slice(None, None, every_windows)
        origin_us = windows.origin_us[kept]
        if not origin_us.size or not scored.any():
            left_out[name] = none_scored(scored, minimum_rate_hz) if origin_us.size else "no window fits"
            continue

        def sums(log_rate: np.ndarray, windows=windows, inputs=inputs, scored=scored, kept=kept) -> Sums:
            return sum_scores(
                counts=windows.counts[kept][..., scored],
                log_rate=log_rate[..., scored],
                mask=windows.target_mask[kept],
                reference_log_rate=inputs.reference_log_rate[scored],
            )

        identity = _identity(session, scored) | {"fold": fold, "code": code, "bin_us": shape.bin_us}
        if forecaster.feedback is not None:
            forced = forecast_windows(forecaster, inputs, origin_us, shape, fed_back=FedBackCounts.observed)
            own = {"method": f"{method}_teacher_forced", "class": NOT_A_FORECAST, "seed": seed}
            tables.append(_rows(sums(forced), identity | own))
        if name in of_session:
            oracle = of_session[name]
            own = {"method": oracle.method, "class": oracle.method_class, "seed": None}
            tables.append(_rows(sums(_at(oracle, origin_us)), identity | own))
    with replacing(output) as partial:
        table = pa.concat_tables(tables).replace_schema_metadata({"left_out": json.dumps(left_out)})
        pq.write_table(table, partial, compression="zstd")


def _at(oracle: Forecast, origin_us: np.ndarray) -> np.ndarray:
    """Take the forecasts at some origins, [window, horizon bin, unit]."""
    place = np.searchsorted(oracle.start_us, origin_us)
    if not np.array_equal(oracle.start_us[np.minimum(place, len(oracle.start_us) - 1)], origin_us):
        raise ValueError(
            f"the true rates of session {oracle.session} are not of the windows that are scored; rerun its forecast "
            f"{oracle.method!r}"
        )
    return oracle.log_rate[place]


def _identity(session: Session, scored: np.ndarray) -> Mapping[str, object]:
    return {
        "session": session.session_id,
        "subject": session.subject,
        "lab": session.lab,
        "source": session.source,
        "units": int(scored.sum()),
        "unscored_units": int((~scored).sum()),
    }


def _rows(sums: Sums, constants: Mapping[str, object]) -> pa.Table:
    columns = {"horizon_bin": np.arange(len(sums.windows)), "windows": sums.windows}
    columns |= {name: getattr(sums, name).sum(axis=1) for name in ("spikes", "model_nats", "reference_nats")}
    return table_of(SCHEMA, constants, columns)
