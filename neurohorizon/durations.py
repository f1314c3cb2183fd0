"""Durations as text. Standard library only."""


def as_time(seconds: float) -> str:
    """Return a duration as text with one unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
