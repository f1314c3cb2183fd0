"""Population states in a session's own modes, and association profiles of its units, as inputs of decoders.

Modes are those of the closed-form population readout (:mod:`neurohorizon.units.population_readout`), which is fitted on
the reference window without labels: loadings ``V`` of units, for Pearson residuals. With spikes per bin ``r`` of units
and their reference rates ``r_0``, the state is ``V' (r - r_0) / sqrt(r_0)``. A forecast is first divided by the local
level of each unit, which removes slow drift; ``r - r_0`` is then replaced by ``r_0 log(r / r_0)``, which is equal to
first order and limits the effect of high rates. The level was chosen on training sessions: it raises the score of
forecasts there, and not that of observed modes.

An association profile (:func:`association_profiles`) is the regression of a unit's counts on labels.
"""

import numpy as np

from neurohorizon.inputs.windows import Spikes, past_sums
from neurohorizon.session import SpikeReader
from neurohorizon.timeline import MICROSECONDS, Intervals

NO_MODES = "the forecaster has no population readout, whose modes these are"
"""Reason why nothing is decoded from modes."""
LEVEL_S = 60.0
"""Seconds before the end of a context in which the local level of a unit is estimated."""
LEVEL_SPIKES = 20.0
"""Spikes at the reference rate that are added to both counts of a level, so that few spikes change it little."""
ASSOCIATION_PENALTY = 0.3
"""Penalty of association profiles, per labelled window."""


def local_level(
    spikes: Spikes | SpikeReader, part: Intervals, origin_us: np.ndarray, log_rate: np.ndarray, bin_us: int
) -> np.ndarray:
    """Estimate the rate of units in the last minute relative to their reference rate, from spikes before each origin.

    Args:
        spikes: Spikes of the session.
        part: Valid time that may be read.
        origin_us: Ends of the contexts, int64 [window].
        log_rate: Natural log of the expected spikes per bin in the reference window, [unit].
        bin_us: Bin width in microseconds.

    Returns:
        Level, 1 at the reference rate, float64 [window, unit]: the posterior mean of a gamma-Poisson model.
    """
    edges_bins = (round(LEVEL_S * MICROSECONDS / bin_us),)
    counts, valid = past_sums(spikes, part, origin_us, from_bin=0, edges_bins=edges_bins, bin_us=bin_us)
    expected = valid * np.exp(np.asarray(log_rate, np.float64))
    return (counts[..., 0] + LEVEL_SPIKES) / (expected + LEVEL_SPIKES)


def relative_forecasts(forecast: np.ndarray, level: np.ndarray, log_rate: np.ndarray) -> np.ndarray:
    """Divide forecasts by the reference rate and the local level, as natural log, float64 [window, group, unit].

    Args:
        forecast: Natural log of expected spikes per bin in groups of horizon bins, [window, group, unit].
        level: From :func:`local_level`, [window, unit].
        log_rate: Natural log of the expected spikes per bin in the reference window, [unit].
    """
    return forecast - np.log(level)[:, None] - np.asarray(log_rate, np.float64)


def population_modes(rate: np.ndarray, log_rate: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Project observed rates on population modes, float64 [window, span, mode].

    Args:
        rate: Observed spikes per bin, [window, span, unit].
        log_rate: Natural log of the expected spikes per bin in the reference window, [unit].
        modes: Loading of each unit on each mode, [unit, mode].
    """
    reference = np.exp(np.asarray(log_rate, np.float64))
    return ((rate - reference) / np.sqrt(reference)) @ modes.astype(np.float64)


def forecast_modes(relative: np.ndarray, log_rate: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Project forecasts on population modes, float64 [window, group, mode].

    Args:
        relative: From :func:`relative_forecasts`, [window, group, unit].
        log_rate: Natural log of the expected spikes per bin in the reference window, [unit].
        modes: Loading of each unit on each mode, [unit, mode].
    """
    return (relative * np.exp(np.asarray(log_rate, np.float64) / 2)) @ modes.astype(np.float64)


def association_profiles(counts: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Regress counts of each unit on labels, by ridge: the association profile of APST, float64 [unit, regressor].

    The regressors of each channel of the label are whether it is positive, whether it is negative, and its absolute
    value, standardised; a mean is fitted too, and is not in the profile.

    Args:
        counts: Normalised counts of units at the labels, [window, unit].
        label: Labels, [window, channel].
    """
    label = np.asarray(label, np.float64)
    regressors = np.concatenate([label > 0, label < 0, np.abs(label)], axis=1).astype(np.float64)
    regressors -= regressors.mean(axis=0)
    deviation = regressors.std(axis=0)
    regressors /= np.where(deviation > 1e-9, deviation, 1.0)
    squares = regressors.T @ regressors + ASSOCIATION_PENALTY * len(label) * np.eye(regressors.shape[1])
    return np.linalg.solve(squares, regressors.T @ (counts - counts.mean(axis=0))).T
