"""A recording as if it had begun later or had fewer units, with the same windows to forecast."""

from dataclasses import replace

import numpy as np

from neurohorizon.session import Session
from neurohorizon.timeline import MICROSECONDS, Splits, bin_domain


def begun_later(session: Session, reference_s: float, *, bin_us: int) -> Session | None:
    """Cut a session so that only the last seconds of its reference window remain; the time after it is unchanged.

    ``reference_s`` is counted in whole bins of valid time; the cut is at an edge of a bin, so that the bins after it
    are unchanged. Spikes, valid time and parts begin at the cut. None if the reference window is not longer than that.
    """
    bins = bin_domain(session.splits.reference, bin_us)
    kept = -(-round(reference_s * MICROSECONDS) // bin_us)
    if kept >= len(bins):
        return None
    cut_us, stop_us = int(bins.start_us[-kept]), int(session.domain.stop_us[-1])
    inside = session.spike_times_us >= cut_us
    parts = Splits.__dataclass_fields__
    return replace(
        session,
        spike_times_us=session.spike_times_us[inside],
        spike_unit=session.spike_unit[inside],
        domain=session.domain.clip(cut_us, stop_us),
        splits=Splits(**{name: getattr(session.splits, name).clip(cut_us, stop_us) for name in parts}),
    )


def with_units(session: Session, units: np.ndarray) -> Session:
    """Reduce a session to some of its units, [kept unit], in this order."""
    place = np.full(session.n_units, -1)
    place[units] = np.arange(len(units))
    kept = place[session.spike_unit] >= 0
    unit = place[session.spike_unit[kept]]
    # spikes of one time are ordered by unit
    order = np.lexsort((unit, session.spike_times_us[kept]))
    return replace(
        session,
        spike_times_us=session.spike_times_us[kept][order],
        spike_unit=unit[order],
        units={name: values[units] for name, values in session.units.items()},
    )


def nested_units(
    scored: np.ndarray, sizes: tuple[int, ...], rng: np.random.Generator
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Draw units that are scored, and growing populations around them.

    Args:
        scored: Whether a unit can be scored, bool [unit].
        sizes: Sizes of the populations, rising. Those that the session's own does not exceed are left out.

    Returns:
        The scored units, as many as the smallest size; and the units of each population, in the session's order, which
        hold those of the smaller ones. Neither where the session has too few scored units.
    """
    candidates = rng.permutation(np.flatnonzero(scored))
    if len(candidates) < sizes[0]:
        return np.zeros(0, np.int64), {}
    chosen = candidates[: sizes[0]]
    others = rng.permutation(np.setdiff1d(np.arange(scored.size), chosen))
    order = np.concatenate([chosen, others])
    return np.sort(chosen), {size: np.sort(order[:size]) for size in sizes if size < scored.size}
