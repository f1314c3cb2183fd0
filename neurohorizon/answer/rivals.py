"""Forecasts that are compared: the adaptive one, and its rivals from the same origins."""

import numpy as np

from neurohorizon.answer.answer import Kind
from neurohorizon.methods import ADAPTIVE, FORECASTER, METHODS, REFERENCE_MEAN, SHRINKAGE, SIMPLE_JOBS
from neurohorizon.recordings.forecast import Forecast
from neurohorizon.recordings.recording import Recording

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
