"""Filters of units by one column of an NWB file, as the command line takes them.

``quality=good,mua`` keeps units with one of some values, ``snr=2.5:`` those within a range whose ends count.
"""

import math
from dataclasses import dataclass

FORM = "COLUMN=VALUE[,VALUE], such as quality=good, or COLUMN=LEAST:MOST, such as snr=2.5:"


class UnitFilterError(ValueError):
    """A text is no filter of units."""


@dataclass(frozen=True)
class UnitFilter:
    """A column, and the values of the units that are kept.

    Attributes:
        column: Column of ``units``, or ``id``.
        values: Values of which a unit must have one; empty: those of the range.
        least: Lower end of the range, -inf if it has none.
        most: Upper end, inf if it has none.
    """

    column: str
    values: tuple[str, ...] = ()
    least: float = -math.inf
    most: float = math.inf

    def __str__(self) -> str:
        """Return it as text, which :func:`read_filter` reads."""
        if self.values:
            return f"{self.column}={','.join(self.values)}"
        ends = (f"{one:g}" if math.isfinite(one) else "" for one in (self.least, self.most))
        return f"{self.column}={':'.join(ends)}"


def read_filter(text: str) -> UnitFilter:
    """Read a filter, in the form of :data:`FORM`.

    Raises:
        UnitFilterError: The text has another form.
    """
    column, equals, wanted = (one.strip() for one in text.partition("="))
    values = tuple(one.strip() for one in wanted.split(","))
    if not (equals and column and all(values)):
        raise UnitFilterError(f"{text!r} is no filter of units; expected {FORM}")
    least, colon, most = wanted.partition(":")
    ends = (_end(least, -math.inf), _end(most, math.inf))
    if not colon or None in ends or wanted == ":":  # a value may have a colon too
        return UnitFilter(column, values)
    if ends[0] > ends[1]:
        raise UnitFilterError(f"{text!r} is a range whose most is below its least; expected {FORM}")
    return UnitFilter(column, (), *ends)


def _end(text: str, without: float) -> float | None:
    """Return the end of a range, ``without`` if it is empty, None if it is no number."""
    if not text.strip():
        return without
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
