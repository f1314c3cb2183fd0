"""A held-out session, its test windows, and the file of a forecast of them by any method.

This module imports no network, so that jobs without one start quickly.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurohorizon.config import Readout, Timeline
from neurohorizon.forecasts.forecast_file import Forecast, write_forecast
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, load_inputs
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows, evaluation_origins
from neurohorizon.session import Session, read_session

Method = Callable[[Windows, SessionInputs], np.ndarray]
"""A method: a function of windows and of the inputs of their session that returns the natural log of expected counts
per bin, [window, horizon bin, unit]."""
HeldOut = tuple[Session, SessionInputs | None, Windows | None]
"""A held-out session, its inputs and its test windows; the last two are None for an excluded session."""


def load_test_windows(
    paths: SessionPaths,
    timeline: Timeline,
    shape: WindowShape,
    *,
    groups: Sequence[str] = (),
    readout: Readout | None = None,
) -> HeldOut:
    """Load a session with some groups of features, and its test windows."""
    session = read_session(paths.session)
    inputs = load_inputs(paths, "test", groups=groups, readout=readout)
    if inputs is None:
        return session, None, None
    origins = evaluation_origins(inputs.part, shape, timeline.evaluation_stride_bins)
    return session, inputs, cut_windows(inputs.spikes, inputs.part, origins, shape)


def forecast_session(held_out: HeldOut, by: Method, output: Path, timeline: Timeline, **names: str | int) -> None:
    """Forecast the test windows of a held-out session by one method, and write the file.

    Args:
        held_out: The session; the file of an excluded session holds only the reason.
        by: The method.
        **names: Fields of :class:`Forecast` that name the method: fold, method, class, code, seed and encoder.
    """
    session, inputs, windows = held_out
    forecast = empty_forecast(session, timeline, **names)
    if inputs is not None:
        forecast = filled_forecast(forecast, session, inputs, windows, by(windows, inputs).astype(np.float32))
    write_forecast(output, forecast)


def empty_forecast(session: Session, timeline: Timeline, **names: str | int) -> Forecast:
    """Return a forecast of a session without windows; for an excluded session it holds the reason."""
    return Forecast(
        session=session.session_id,
        subject=session.subject,
        lab=session.lab,
        source=session.source,
        bin_us=timeline.bin_ms * 1000,
        left_out=session.left_out or "",
        **names,
    )


def filled_forecast(
    empty: Forecast, session: Session, inputs: SessionInputs, windows: Windows, log_rate: np.ndarray
) -> Forecast:
    """Complete a forecast with its windows and its log rates, float32, [window, horizon bin, unit]."""
    units = session.units
    return replace(
        empty,
        unit_id=units["id"],
        # the coarser of two parcellations if a source gives both: single cortical layers have too few units
        region=units.get("beryl", units["region"]),
        start_us=windows.origin_us,
        target_mask=windows.target_mask,
        counts=windows.counts.astype(np.uint16),
        log_rate=log_rate,
        reference_log_rate=inputs.reference_log_rate,
        left_out=None,
    )
