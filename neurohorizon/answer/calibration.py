"""Coverage of the intervals of joint sample paths.

Counts are small whole numbers, so a plain interval from quantile to quantile covers more than its nominal share. The
coverage is therefore that of the randomised probability integral transform: of S paths it is
``(#below + v (#equal + 1)) / (S + 1)`` with ``v`` uniform, and a calibrated forecast covers exactly the nominal share
(Czado, Gneiting & Held 2009, Biometrics 65).
"""

import numpy as np

from neurohorizon.answer.answer import Calibration, Coverage, percent
from neurohorizon.answer.blocks import number
from neurohorizon.inputs.windows import subsample
from neurohorizon.recordings.forecast import Forecast

NOMINAL = (0.5, 0.8, 0.9)
PATHS = 99
_WINDOWS = 100
_VALUES = 3e7  # drawn counts, which bound the time
_PER_DRAW = 10
_WIDE = 0.07
"""Difference to the nominal coverage of 90 % from which on the sentence warns."""
_KINDS = {
    "one unit, one bin": (),
    "one unit, whole horizon": (-2,),
    "all units, one bin": (-1,),
    "all units, whole horizon": (-2, -1),
}
"""Counts whose intervals are scored, and the axes over which they are sums."""


def calibrate(forecast: Forecast, scored: np.ndarray, seed: int) -> Calibration | None:
    """Draw joint paths of some windows, and compare their intervals with the observed counts.

    Args:
        forecast: Forecasts of all windows.
        scored: True for scored units, [unit].
        seed: Seed of the draws.

    Returns:
        The coverage; None if no window was recorded throughout.
    """
    whole = np.flatnonzero(forecast.valid.all(1))
    values = PATHS * forecast.log_rate[0].size
    rows = whole[subsample(range(whole.size), int(np.clip(_VALUES / values, 20, _WINDOWS)))]
    if not rows.size:
        return None
    rng = np.random.default_rng([seed, 1])
    pit: dict[str, list[np.ndarray]] = {kind: [] for kind in _KINDS}
    for first in range(0, rows.size, _PER_DRAW):
        some = rows[first : first + _PER_DRAW]
        paths = forecast.recording.shared_gain.draw(forecast.log_rate[some], PATHS, rng)[..., scored]
        observed = forecast.counts[some][..., scored]
        for kind, axes in _KINDS.items():
            pit[kind].append(
                rank_pit(paths.sum(axes) if axes else paths, observed.sum(axes) if axes else observed, rng)
            )
    found = {kind: np.concatenate([one.ravel() for one in parts]) for kind, parts in pit.items()}
    table = [
        Coverage(counts=kind, nominal=list(NOMINAL), observed=[number(coverage(values, one)) for one in NOMINAL])
        for kind, values in found.items()
    ]
    return Calibration(windows=rows.size, paths=PATHS, rows=table, sentence=_sentence(table))


def rank_pit(paths: np.ndarray, observed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the randomised rank of observed counts among paths, in [0, 1).

    Args:
        paths: Counts of paths, [window, path, ...].
        observed: Observed counts, [window, ...].
        rng: Source of the random ranks of ties.
    """
    below = (paths < observed[:, None]).sum(1)
    equal = (paths == observed[:, None]).sum(1)
    return (below + rng.random(observed.shape) * (equal + 1)) / (paths.shape[1] + 1)


def coverage(pit: np.ndarray, nominal: float) -> float:
    """Return the share of ranks within the central interval; NaN without a rank."""
    return float(np.mean(np.abs(pit - 0.5) <= nominal / 2)) if pit.size else float("nan")


def _sentence(table: list[Coverage]) -> str:
    shares = {one.counts: one.observed[NOMINAL.index(0.9)] for one in table}
    single, population = shares["one unit, one bin"], shares["all units, whole horizon"]
    if single is None or population is None:
        return "No count was observed, so the intervals cannot be checked."
    text = (
        f"Intervals of 90 % contain {percent(single)} of the counts of single units and {percent(population)} of those "
        "of the whole population over the horizon"
    )
    if population < 0.9 - _WIDE:
        return f"{text}: intervals of the population are too narrow here, so do not rely on them."
    if population > 0.9 + _WIDE:
        return f"{text}: intervals of the population are too wide here, and so safe."
    return f"{text}, close to their nominal share."
