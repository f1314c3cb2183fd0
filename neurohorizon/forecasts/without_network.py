"""Forecasts of a held-out session's test time by the closed-form baselines and by the oracle."""

from functools import partial
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.baselines.closed_form import CLOSED_FORMS, baseline_shape, read_tuned
from neurohorizon.config import Timeline
from neurohorizon.forecasts.held_out import forecast_session, load_test_windows
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths
from neurohorizon.inputs.windows import Windows, WindowShape
from neurohorizon.methods import CEILING, ORACLE, ZERO_SHOT


def forecast_with_baselines(
    *, baselines: Path, paths: SessionPaths, fold: str, timeline: Timeline, code: str, output_folder: Path
) -> None:
    """Write the forecasts of every closed-form baseline, one file each.

    Args:
        baselines: Settings of the baselines, tuned on training sessions.
    """
    settings = read_tuned(baselines)
    trailing_bins = [one["bins"] for one in settings.values() if "bins" in one]
    held_out = load_test_windows(paths, timeline, baseline_shape(timeline, trailing_bins))
    names = {"method_class": ZERO_SHOT, "fold": fold, "code": code}
    for name, baseline in CLOSED_FORMS.items():
        by, output = partial(baseline.log_rate, **settings[name]), output_folder / f"{name}.h5"
        forecast_session(held_out, by, output, timeline, method=name, **names)


def forecast_with_oracle(
    *, truth: Path, paths: SessionPaths, fold: str, timeline: Timeline, code: str, output: Path
) -> None:
    """Write the simulator's true expected counts: a ceiling that also uses the future drive.

    Args:
        truth: Expected counts, as the simulator saved them.

    Raises:
        ValueError: The units of the true counts are not those of the session.
    """
    held_out = session, _, _ = load_test_windows(paths, timeline, WindowShape.of(timeline))

    def true_log_rate(windows: Windows, inputs: SessionInputs) -> np.ndarray:
        with h5py.File(truth, "r") as file:
            expected, bin_us = file["expected_counts"][:], int(file.attrs["bin_us"])
            units = file["unit_id"].asstr()[:]
        if list(units) != list(session.units["id"]):
            raise ValueError(f"{truth} and {paths.session} differ in their units or their order")
        with np.errstate(divide="ignore"):
            return np.log(_expected_counts(expected, bin_us, windows.origin_us, timeline))

    names = {"method": ORACLE, "method_class": CEILING, "fold": fold, "code": code}
    forecast_session(held_out, true_log_rate, output, timeline, **names)


def _expected_counts(expected: np.ndarray, truth_bin_us: int, origin_us: np.ndarray, timeline: Timeline) -> np.ndarray:
    """Integrate the true rate over bins, whose width may differ from that of the rate, [window, horizon bin, unit]."""
    total = np.concatenate([np.zeros((1, expected.shape[1])), np.cumsum(expected, axis=0, dtype=np.float64)])
    edge_us = origin_us[:, None] + np.arange(timeline.horizon_bins + 1) * timeline.bin_ms * 1000
    place = np.clip(edge_us / truth_bin_us, 0, len(expected))
    low = np.minimum(place.astype(np.int64), len(expected) - 1)
    share = (place - low)[..., None]
    at_edge = total[low] * (1 - share) + total[low + 1] * share
    return np.maximum(np.diff(at_edge, axis=1), 0)
