"""The rule by which valid time is inferred for a recording whose units have no ``obs_intervals``.

It is the time of trials or epochs, if nearly no spike lies outside of them, else the time from the first to the last
spike. The recording then has a note, :func:`inferred_note`.
"""

import numpy as np

from neurohorizon.ingest.thresholds import limit
from neurohorizon.timeline import MICROSECONDS, Intervals

TABLES = ("trials", "epochs")
"""Tables of intervals that may be valid time, the first that fits."""
CONFINED = 0.05
"""Rate of spikes outside of a table's intervals, relative to that inside, below which only they were recorded."""


def is_confined(times_us: np.ndarray, whole: Intervals, inside: Intervals) -> bool:
    """Return True if spikes were recorded in some intervals only.

    Args:
        times_us: Spike times of all units in microseconds.
        whole: Time from the first to the last spike.
        inside: The intervals.
    """
    outside = whole.without(inside)
    inside_s, outside_s = (one.duration_us / MICROSECONDS for one in (whole.intersect(inside), outside))
    if not inside_s or outside_s < 1:
        return False
    beyond = int(np.count_nonzero(outside.contains(times_us)))
    within = len(times_us) - beyond
    return beyond / outside_s < CONFINED * within / inside_s


def close_pauses(intervals: Intervals) -> Intervals:
    """Return intervals without the pauses between them that rounding leaves."""
    kept = intervals.start_us[1:] - intervals.stop_us[:-1] > limit("joined_pause_s") * MICROSECONDS
    return Intervals(intervals.start_us[np.append(True, kept)], intervals.stop_us[np.append(kept, True)])


def confined_why(table: str) -> str:
    """Return the reason for which a table is valid time."""
    return f"the file has no obs_intervals, and nearly no spike lies outside of its {table}"


def inferred_note(valid_from: str, *, option: str) -> str | None:
    """Return the note about valid time that was inferred; None if it was in the file or is given.

    Args:
        valid_from: A name of :data:`TABLES`, or ``whole``.
        option: Name of the option that gives another valid time.
    """
    if valid_from in TABLES:
        return f"valid time is that of the {valid_from}: {confined_why(valid_from)}; {option} gives another"
    if valid_from == "whole":
        return (
            "valid time is from the first to the last spike: a pause of the recording in between would count as "
            f"silence; {option} gives another"
        )
    return None
