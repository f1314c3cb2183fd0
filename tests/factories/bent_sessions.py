"""Spikes as read, each bent so that one check finds it."""

import numpy as np

from neurohorizon.ingest.spike_checks import RawSpikes
from neurohorizon.timeline import Intervals

UNITS, SPIKES, LENGTH_S = 4, 500, 100.0


def raw(times_s: np.ndarray, stop_s: float = LENGTH_S) -> RawSpikes:
    """Return spikes of all units, [unit, spike]; valid time is from 0 s."""
    unit = np.repeat(np.arange(len(times_s)), times_s.shape[1])
    domain = Intervals(np.array([0]), np.array([int(stop_s * 1e6)]))
    return RawSpikes(times_s.reshape(-1), unit, np.array([f"u{one}" for one in range(len(times_s))]), None, domain)


def sound() -> np.ndarray:
    """Return sound spike times, [unit, spike]."""
    return np.sort(np.random.default_rng(3).uniform(0, LENGTH_S, (UNITS, SPIKES)), axis=1)


SPIKE_EXAMPLES = {
    "no_spikes_read": lambda: raw(np.zeros((UNITS, 0))),
    "whole_numbers": lambda: raw(np.rint(sound() * 30000)),
    "other_unit": lambda: raw(sound() * 1000),
    "small_valid_time": lambda: raw(sound(), stop_s=0.5),
    "none_inside": lambda: raw(sound() + 1000),
    "coarse_times": lambda: raw((sound() + 2000).astype(np.float32), stop_s=3000),
    "restarts": lambda: raw(np.concatenate([sound(), sound()], axis=1)),
    "same_spikes": lambda: raw(sound()[[0, 0, 1, 2]]),
    "outside_domain": lambda: raw(sound(), stop_s=60),
}
"""Bent spikes by the code of the finding that they yield."""
