"""Forecasts that are compared: the adaptive one, and its rivals from the same origins."""

import numpy as np

from neurohorizon.answer.answer import Kind
from neurohorizon.methods import ADAPTIVE, FORECASTER, METHODS, REFERENCE_MEAN, SHRINKAGE, SIMPLE_JOBS
from neurohorizon.recordings.forecast import Forecast
from neurohorizon.recordings.recording import Recording

EXPLAINED = {
    ADAPTIVE: "mixes all methods below, for each unit by their earlier outcomes in this recording",
    FORECASTER: "the network, trained on other recordings; it reads the spikes of all units, and no outcomes",
    "own_history": "a network that reads only the earlier spikes of the unit that it forecasts",
    "own_history_readout": "the same, and a regression on the population that is fitted on the reference window",
    "trailing_mean": "the mean rate of the last bins",
    SHRINKAGE: "the mean rate of the last bins, drawn towards that of the reference window",
    "gamma_poisson": "a mean rate in which earlier spikes count less and less",
    "ar_glm": "one Poisson regression on the earlier spikes of a unit, fitted on other recordings",
    "ridge_ar": "a linear regression on the last spikes of all units, fitted on the reference window",
    "reduced_rank": "the same, with a few directions that all units share",
}
"""What each method does, in a clause for readers who see the page only."""
SHRINKAGE_S = 1.0
SHRINKAGE_WEIGHT = 0.3


def compared(recording: Recording, at: np.ndarray) -> dict[str, Forecast]:
    """Return the adaptive forecast, then its rivals, by method.

    Args:
        at: Forecast origins in seconds, [origin].
    """
    found = {name: one for name, one in recording.compare(at).items() if name != REFERENCE_MEAN}
    if SHRINKAGE not in found:
        bins = max(1, round(SHRINKAGE_S / found[ADAPTIVE].bin_s))
        found[SHRINKAGE] = recording.baseline(SHRINKAGE, at, bins=bins, weight=SHRINKAGE_WEIGHT)
    return {ADAPTIVE: found.pop(ADAPTIVE), **found}


def kind_of(method: str) -> Kind:
    """Return ``adaptive``, ``closed_form`` or ``network``."""
    if method == ADAPTIVE:
        return "adaptive"
    return "closed_form" if METHODS[method].job in SIMPLE_JOBS else "network"


def label_of(method: str) -> str:
    """Return the name of a method for readers who see this page only."""
    if method == ADAPTIVE:
        return "adaptive forecast"
    return "static network" if method == FORECASTER else METHODS[method].label
