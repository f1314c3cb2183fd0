"""Forecasts of a held-out session's test time, by a trained network, the baselines or the oracle."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch

from neurohorizon.config import Timeline
from neurohorizon.evaluation.forecast_file import Forecast, left_out_forecast, write_forecast
from neurohorizon.inputs.sessions import SessionPaths, feature_columns, load_inputs
from neurohorizon.inputs.windows import (
    SessionInputs,
    Windows,
    WindowShape,
    collate,
    cut_windows,
    evaluation_origins,
    session_block,
)
from neurohorizon.models.baselines import RATES, read_tuned
from neurohorizon.models.forecaster import Forecaster, Tensors
from neurohorizon.models.weights import load_forecaster
from neurohorizon.session import Session, read_session

WINDOWS_PER_BATCH = 32


def forecast_with_network(
    *,
    weights: Path,
    paths: SessionPaths,
    fold: str,
    method: str,
    seed: int,
    timeline: Timeline,
    code: str,
    output: Path,
) -> None:
    """Write a network's forecasts of one held-out session.

    Raises:
        ValueError: The session is one that the network was trained on, or its features are not the network's.
    """
    forecaster, card = load_forecaster(weights)
    shape = WindowShape.of(timeline, card.model.history_edges_bins)
    session = read_session(paths.session)
    empty = _empty(session, fold=fold, method=method, method_class="Z", timeline=timeline, seed=seed, code=code)
    if empty.session in card.sessions:
        raise ValueError(f"{weights} was trained on {empty.session}: its forecast would not be held out")
    inputs = load_inputs(paths, "test", groups=card.feature_groups, readout=card.model.readout)
    if inputs is None:
        write_forecast(output, empty)
        return
    if feature_columns(paths.features, card.feature_groups) != card.features:
        raise ValueError(f"{paths.features} does not hold the features that {weights} was trained on; make both anew")
    origins = evaluation_origins(inputs.part, shape, timeline.evaluation_stride_bins)
    windows = cut_windows(inputs.spikes, inputs.part, origins, shape)
    log_rate = forecast_windows(forecaster, inputs, origins, shape)
    write_forecast(output, _filled(empty, session, inputs, windows, log_rate))


def forecast_windows(
    forecaster: Forecaster, inputs: SessionInputs, origin_us: np.ndarray, shape: WindowShape
) -> np.ndarray:
    """Forecast windows of one session.

    Returns:
        Natural log of expected counts per bin, float32, [window, horizon bin, unit].
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    forecaster = forecaster.to(device).eval()
    parts = [np.zeros((0, shape.horizon_bins, inputs.spikes.n_units), np.float32)]
    with torch.inference_mode():
        for first in range(0, origin_us.size, WINDOWS_PER_BATCH):
            batch = collate([session_block(inputs, origin_us[first : first + WINDOWS_PER_BATCH], shape)])
            parts.append(forecaster(Tensors.of(batch, device))[0].float().cpu().numpy())
    return np.concatenate(parts)


def forecast_with_baselines(
    *, baselines: Path, paths: SessionPaths, fold: str, timeline: Timeline, code: str, output_folder: Path
) -> None:
    """Write the forecasts of every closed-form baseline, one file each."""
    settings = read_tuned(baselines)
    session = read_session(paths.session)
    loaded = _test_windows(paths, timeline)
    for name, rate in RATES.items():
        forecast = _empty(session, fold=fold, method=name, method_class="Z", timeline=timeline, seed=None, code=code)
        if loaded is not None:
            inputs, windows = loaded
            with np.errstate(divide="ignore"):  # a rate of zero is a forecast too
                log_rate = np.log(rate(windows, np.exp(inputs.log_rate.astype(float)), **settings[name]))
            forecast = _filled(forecast, session, inputs, windows, log_rate.astype(np.float32))
        write_forecast(output_folder / f"{name}.h5", forecast)


def forecast_with_oracle(
    *, truth: Path, paths: SessionPaths, fold: str, timeline: Timeline, code: str, output: Path
) -> None:
    """Write the simulator's true expected counts: a ceiling that knows the drive of the future too.

    Raises:
        ValueError: The truth is of other units than the session.
    """
    session = read_session(paths.session)
    forecast = _empty(
        session, fold=fold, method="oracle", method_class="ceiling", timeline=timeline, seed=None, code=code
    )
    loaded = _test_windows(paths, timeline)
    if loaded is not None:
        inputs, windows = loaded
        with h5py.File(truth, "r") as file:
            expected, bin_us = file["expected_counts"][:], int(file.attrs["bin_us"])
            units = file["unit_id"].asstr()[:]
        if list(units) != list(session.units["id"]):
            raise ValueError(f"{truth} and {paths.session} differ in their units or their order")
        with np.errstate(divide="ignore"):
            log_rate = np.log(_expected_counts(expected, bin_us, windows.origin_us, timeline))
        forecast = _filled(forecast, session, inputs, windows, log_rate.astype(np.float32))
    write_forecast(output, forecast)


def _expected_counts(expected: np.ndarray, truth_bin_us: int, origin_us: np.ndarray, timeline: Timeline) -> np.ndarray:
    """Integrate the true rate over bins that need not be the truth's own, [window, horizon bin, unit]."""
    total = np.concatenate([np.zeros((1, expected.shape[1])), np.cumsum(expected, axis=0, dtype=np.float64)])
    edge_us = origin_us[:, None] + np.arange(timeline.horizon_bins + 1) * timeline.bin_ms * 1000
    place = np.clip(edge_us / truth_bin_us, 0, len(expected))
    low = np.minimum(place.astype(np.int64), len(expected) - 1)
    share = (place - low)[..., None]
    at_edge = total[low] * (1 - share) + total[low + 1] * share
    return np.maximum(np.diff(at_edge, axis=1), 0)


def _test_windows(paths: SessionPaths, timeline: Timeline) -> tuple[SessionInputs, Windows] | None:
    inputs = load_inputs(paths, "test", groups=(), readout=None)
    if inputs is None:
        return None
    shape = WindowShape.of(timeline)
    origins = evaluation_origins(inputs.part, shape, timeline.evaluation_stride_bins)
    return inputs, cut_windows(inputs.spikes, inputs.part, origins, shape)


def _empty(
    session: Session,
    *,
    fold: str,
    method: str,
    method_class: str,
    timeline: Timeline,
    seed: int | None,
    code: str,
) -> Forecast:
    return left_out_forecast(
        session=session.session_id,
        subject=session.subject,
        lab=session.lab,
        source=session.source,
        fold=fold,
        method=method,
        method_class=method_class,
        bin_us=timeline.bin_ms * 1000,
        reason=session.left_out or "",
        seed=seed,
        code=code,
    )


def _filled(
    empty: Forecast, session: Session, inputs: SessionInputs, windows: Windows, log_rate: np.ndarray
) -> Forecast:
    units = session.units
    return replace(
        empty,
        unit_id=units["id"],
        # the coarser of two parcellations, where a source gives both: cortical layers are too few units each
        region=units.get("beryl", units["region"]),
        start_us=windows.origin_us,
        target_mask=windows.target_mask,
        observed=windows.target.astype(np.uint16),
        log_rate=log_rate,
        reference_log_rate=inputs.log_rate,
        left_out=None,
    )
