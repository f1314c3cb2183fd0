"""An ensemble of networks that differ in the seed of their training: the mean of their log rates."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurohorizon.forecasts.forecast_file import WINDOWS_PER_CHUNK, open_same_windows, write_forecast
from neurohorizon.methods import ENSEMBLE, ZERO_SHOT


def forecast_with_ensemble(*, forecasts: Sequence[Path], code: str, output: Path) -> None:
    """Write the ensemble of one held-out session: the geometric mean of the rates that several networks predict.

    Log rates are averaged, not rates, because a network adds a residual to the log rate of the reference window.

    Args:
        forecasts: Forecast files of the networks, of the same session and windows.
        code: Fingerprint of the code.

    Raises:
        ValueError: The files differ in their session, units or windows.
    """
    with open_same_windows(forecasts) as members:
        mean = np.empty(members[0].log_rate.shape, np.float32)
        for first in range(0, len(mean), WINDOWS_PER_CHUNK):
            some = slice(first, first + WINDOWS_PER_CHUNK)
            mean[some] = np.mean([one.log_rate[some] for one in members], axis=0, dtype=np.float64)
        found = replace(members[0], log_rate=mean, method=ENSEMBLE, method_class=ZERO_SHOT, seed=None, code=code)
    write_forecast(output, found)
