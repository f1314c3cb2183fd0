"""The reference window of a recording, and the time that is left to forecast."""

from numbers import Real

from neurohorizon.recordings.units import Times, intervals_of
from neurohorizon.session import SessionError
from neurohorizon.timeline import Intervals, cut_domain


def split_at_reference(domain: Intervals, reference: float | Times, gap_us: int) -> tuple[Intervals, Intervals]:
    """Return the reference window, and the valid time after it and after the gap.

    Args:
        domain: Valid time.
        reference: ``(start, stop)`` or intervals in seconds; or a share of the valid time from its start.
        gap_us: Time after the window that no forecast uses.

    Raises:
        SessionError: The reference is none of these forms, or holds no valid time.
    """
    if isinstance(reference, Real):
        share = float(reference)
        if not 0 < share <= 1:
            raise SessionError(
                f"reference is {share:g}; expected a share of the valid time, above 0 and up to 1, or "
                "(start, stop) in seconds"
            )
        return cut_domain(domain, first_us=round(share * domain.duration_us), gap_us=gap_us)
    wanted = intervals_of(reference, "reference")
    window = domain.intersect(wanted)
    if not len(window):
        (from_s, to_s), (first_s, last_s) = wanted.hull_s, domain.hull_s
        raise SessionError(
            f"the reference window, {from_s:g} to {to_s:g} s, holds no valid time, which lies within {first_s:g} to "
            f"{last_s:g} s; choose another reference"
        )
    last_us = int(domain.stop_us[-1])
    return window, domain.clip(int(window.stop_us[-1]) + gap_us, last_us)


def recorded_share(window: Intervals, reference: float | Times) -> float:
    """Return the share of the requested reference window that is valid time; 1 for a share of the valid time."""
    if isinstance(reference, Real):
        return 1.0
    return window.duration_us / intervals_of(reference, "reference").duration_us
