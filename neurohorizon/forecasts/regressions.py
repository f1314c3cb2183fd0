"""Forecasts of a held-out session's test time by the regressions, each in the file that all methods write.

================ =================================================================================================
method           data that it uses
================ =================================================================================================
``ar_glm``       training sessions; of the held-out one, statistics of its reference window and the context
``ridge_ar``     the reference window, in closed form, and the context; settings from training sessions
``reduced_rank`` the same
``history_glm``  the reference window, by Poisson regressions of each unit; settings from training sessions
``coupled_glm``  the same, with the population's modes
================ =================================================================================================

The last two are fitted for each unit of the session (class fitted); the others are zero-shot.
"""

from pathlib import Path

import numpy as np

from neurohorizon.baselines.closed_form import read_tuned
from neurohorizon.baselines.glm import PooledGlm, fit_unit_glms
from neurohorizon.baselines.linear import fit_linear, reference_windows, regression_shape
from neurohorizon.baselines.tuning import unit_rows
from neurohorizon.config import Regressions, Timeline
from neurohorizon.forecasts.forecast import empty_forecast, filled_forecast
from neurohorizon.forecasts.forecast_file import write_forecast
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, load_inputs
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows, evaluation_origins
from neurohorizon.methods import METHODS, REGRESSIONS
from neurohorizon.session import read_session
from neurohorizon.units.reference import MARGINAL_GROUPS


def forecast_with_regressions(
    *,
    tuned: Path,
    pooled: Path,
    paths: SessionPaths,
    fold: str,
    timeline: Timeline,
    regressions: Regressions,
    code: str,
    output_folder: Path,
) -> None:
    """Fit and write every regression's forecasts of one held-out session, one file each.

    Args:
        tuned: Settings, chosen on training sessions.
        pooled: The pooled regression, fitted on training sessions.
        paths: Files of the session.
        fold: Fold in which the session is held out.
        timeline: Its section of the configuration.
        regressions: Its section of the configuration.
        code: Fingerprint of the code.
        output_folder: Folder of the files.
    """
    session = read_session(paths.session)
    inputs = load_inputs(paths, "test", groups=MARGINAL_GROUPS, readout=None)
    rates = {}
    if inputs is not None:
        shape = regression_shape(timeline, regressions)
        origins = evaluation_origins(inputs.part, shape, timeline.evaluation_stride_bins)
        windows = cut_windows(inputs.spikes, inputs.part, origins, shape)
        rates = regression_rates(read_tuned(tuned), PooledGlm.read(pooled), paths, inputs, windows, regressions, shape)
    for name in REGRESSIONS:
        forecast = empty_forecast(
            session, fold=fold, method=name, method_class=METHODS[name].kind, timeline=timeline, seed=None, code=code
        )
        if inputs is not None:
            forecast = filled_forecast(forecast, session, inputs, windows, np.log(rates[name]).astype(np.float32))
        write_forecast(output_folder / f"{name}.h5", forecast)


def regression_rates(
    settings: dict[str, dict[str, float]],
    pooled: PooledGlm,
    paths: SessionPaths,
    inputs: SessionInputs,
    windows: Windows,
    regressions: Regressions,
    shape: WindowShape,
) -> dict[str, np.ndarray]:
    """Forecast windows of a session's test time: for each method expected counts, [window, horizon bin, unit]."""
    reference = reference_windows(paths, "test", shape=shape, most=regressions.windows)
    rates = {"ar_glm": pooled.rates(unit_rows(paths, "test", inputs, windows))}
    fits = fit_linear(reference, regressions)
    for name in ("ridge_ar", "reduced_rank"):
        chosen = dict(settings[name])
        rates[name] = fits[chosen.pop("own_first")].rates(windows, **chosen)
    for name in ("history_glm", "coupled_glm"):
        rates[name] = fit_unit_glms(reference, regressions, **settings[name]).rates(windows)
    return rates
