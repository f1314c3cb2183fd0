"""Forecasts of a held-out session's test time by the regressions, each in the file that all methods write.

================ =================================================================================================
method           data
================ =================================================================================================
``ar_glm``       training sessions; statistics of the held-out session's reference window, and the context
``ridge_ar``     the reference window, in closed form, and the context; settings from training sessions
``reduced_rank`` as ``ridge_ar``
``history_glm``  the reference window, by Poisson regressions of each unit; settings from training sessions
``coupled_glm``  as ``history_glm``, with the population's modes
================ =================================================================================================

The last two are fitted for each unit of the session (class fitted); the others are zero-shot.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from neurohorizon.baselines.closed_form import read_tuned
from neurohorizon.baselines.glm import PooledGlm, fit_unit_glms
from neurohorizon.baselines.linear import fit_linear, reference_windows, regression_shape
from neurohorizon.baselines.tuning import unit_rows
from neurohorizon.config import Regressions, Timeline
from neurohorizon.forecasts.held_out import Method, forecast_session, load_test_windows
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, feature_columns
from neurohorizon.inputs.windows import Windows, WindowShape
from neurohorizon.methods import METHODS, REGRESSIONS
from neurohorizon.timeline import Intervals
from neurohorizon.units.reference import MARGINAL_GROUPS, read_reference


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
    """
    shape = regression_shape(timeline, regressions)
    held_out = load_test_windows(paths, timeline, shape, groups=MARGINAL_GROUPS)
    methods = regression_methods(
        read_tuned(tuned),
        PooledGlm.read(pooled),
        held_out[1],
        reference=read_reference(paths.features, "test").intervals,
        names=feature_columns(paths.features, MARGINAL_GROUPS),
        regressions=regressions,
        shape=shape,
    )
    for name in REGRESSIONS:
        names = {"method": name, "method_class": METHODS[name].kind, "fold": fold, "code": code}
        forecast_session(held_out, methods[name], output_folder / f"{name}.h5", timeline, **names)


def regression_methods(
    settings: Mapping[str, Mapping[str, float]],
    pooled: PooledGlm,
    inputs: SessionInputs | None,
    *,
    reference: Intervals,
    names: Sequence[str],
    regressions: Regressions,
    shape: WindowShape,
) -> dict[str, Method]:
    """Return regressions as methods of one session; each is fitted when it forecasts, once.

    Args:
        settings: Settings of each regression of a session; those without settings are not returned.
        pooled: The pooled regression.
        inputs: Inputs of the session; None for an excluded session, of which nothing is forecast.
        reference: Its reference window.
        names: Names of the features of its inputs, [feature].
        shape: Lengths of its windows, from :func:`neurohorizon.baselines.linear.regression_shape`.
    """
    windows_of_reference = cache(lambda: reference_windows(inputs, reference, shape=shape, most=regressions.windows))
    linear = cache(lambda: fit_linear(windows_of_reference(), regressions))

    def by_all_units(windows: Windows, inputs: SessionInputs) -> np.ndarray:
        return np.log(pooled.rates(unit_rows(inputs, names, windows)))

    def by_linear(windows: Windows, inputs: SessionInputs, *, own_first: bool, **chosen: float) -> np.ndarray:
        return np.log(linear()[own_first].rates(windows, **chosen))

    def by_unit(windows: Windows, inputs: SessionInputs, **chosen: float) -> np.ndarray:
        return np.log(fit_unit_glms(windows_of_reference(), regressions, **chosen).rates(windows))

    by = {"ridge_ar": by_linear, "reduced_rank": by_linear, "history_glm": by_unit, "coupled_glm": by_unit}
    fitted = {name: partial(method, **settings[name]) for name, method in by.items() if name in settings}
    return {"ar_glm": by_all_units, **fitted}
