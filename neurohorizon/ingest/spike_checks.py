"""Checks on spikes as a file lists them, before they are sorted and cut to the valid time.

Each check is a generator of findings over :class:`RawSpikes`; :data:`neurohorizon.ingest.checks.CHECKS` lists them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurohorizon.ingest.findings import Finding, Severity, list_names
from neurohorizon.ingest.thresholds import limit
from neurohorizon.session import steps_back
from neurohorizon.timeline import MICROSECONDS, Intervals, nearest_us


@dataclass(frozen=True)
class RawSpikes:
    """Spikes as read.

    Attributes:
        times_s: Time of each spike in seconds, [spike], in the order of the file.
        unit: Unit of each spike, [spike].
        ids: Name of each unit, [unit].
        probe: Probe of each unit, [unit]; None where the file has no probes.
        domain: Valid time.
    """

    times_s: np.ndarray
    unit: np.ndarray
    ids: np.ndarray
    probe: np.ndarray | None
    domain: Intervals

    @cached_property
    def finite(self) -> np.ndarray:
        """Times that are numbers, [spike]."""
        times_s = np.asarray(self.times_s, np.float64)
        known = np.isfinite(times_s)
        return times_s if known.all() else times_s[known]

    @cached_property
    def finite_unit(self) -> np.ndarray:
        """Units of the spikes whose times are numbers, [spike]."""
        unit = np.asarray(self.unit)
        return unit if len(self.finite) == len(unit) else unit[np.isfinite(self.times_s)]

    @cached_property
    def inside(self) -> np.ndarray:
        """Whether each spike lies in valid time, [spike]."""
        return self.domain.contains(nearest_us(self.times_s))

    def spread(self) -> str:
        """Describe where the spikes and the valid time lie."""
        first_s, last_s = self.domain.hull_s
        return (
            f"{np.count_nonzero(self.inside)} of {len(self.times_s)} spikes lie in valid time, {first_s:g} to "
            f"{last_s:g} s; all lie at {self.finite.min():g} to {self.finite.max():g}"
        )


def no_spikes_at_all(raw: RawSpikes) -> Iterator[Finding]:
    """Find files without a single spike."""
    if not len(raw.finite):
        yield Finding("no_spikes_read", "fatal", f"none of the {len(raw.ids)} units has a spike: sort the recording", 1)


def whole_numbers(raw: RawSpikes) -> Iterator[Finding]:
    """Find spike times that are sample numbers or counts."""
    whole = np.count_nonzero(raw.finite == np.rint(raw.finite))
    if whole > limit("whole_seconds_share") * len(raw.finite) and len(raw.finite) > 1:
        message = (
            f"{whole} of {len(raw.finite)} spike times are whole numbers, as sample numbers are; {raw.spread()}; "
            "divide them by the sampling rate"
        )
        yield Finding("whole_numbers", "fatal", message, int(whole))


def other_unit(raw: RawSpikes) -> Iterator[Finding]:
    """Find spike times in another unit of time than the valid time."""
    if len(raw.finite) < 2:
        return
    first_s, last_s = raw.domain.hull_s
    span_s = float(np.ptp(raw.finite))
    ratio = span_s / (last_s - first_s)
    if ratio < limit("span_ratio"):
        return
    median_hz = float(np.median(np.bincount(raw.unit, minlength=len(raw.ids)))) / span_s
    message = f"{raw.spread()}: the spikes span {ratio:.0f} times the valid time"
    if median_hz < limit("slow_rate_hz"):
        message += f", at {median_hz:.2g} Hz per unit; are they in milliseconds? Convert them to seconds"
        yield Finding("other_unit", "fatal", message, len(raw.times_s))
    else:
        yield Finding("small_valid_time", "warning", message, int(np.count_nonzero(~raw.inside)))


def none_inside(raw: RawSpikes) -> Iterator[Finding]:
    """Find spikes of which none lies in valid time."""
    if len(raw.finite) and not raw.inside.any():
        message = f"{raw.spread()}; put both on one clock, or choose another valid time"
        yield Finding("none_inside", "fatal", message, len(raw.times_s))


def coarse_times(raw: RawSpikes) -> Iterator[Finding]:
    """Find spike times that were stored as float32."""
    if not len(raw.finite):
        return
    with np.errstate(over="ignore", invalid="ignore"):  # a time beyond float32 is no float32
        single = raw.finite.astype(np.float32)
        grid_us = float(np.spacing(np.abs(single).max())) * MICROSECONDS
    if grid_us <= limit("coarse_us") or not (single == raw.finite).all():
        return
    # a clock has the same grid all the time, float32 a finer one for earlier times
    last_s = float(raw.finite.max())
    if raw.finite.min() < last_s / 2 and not (raw.finite % (grid_us / MICROSECONDS)).any():
        return
    if not (raw.finite == np.rint(raw.finite)).all():
        message = f"spike times are float32, on a grid of up to {grid_us:.0f} us; export them as float64"
        yield Finding("coarse_times", "warning", message, len(raw.finite))


def restarts(raw: RawSpikes) -> Iterator[Finding]:
    """Find units whose times start again: joined recordings, or an index that gives a unit another unit's spikes."""
    if len(raw.finite) < 2:
        return
    times_s, unit = raw.finite, raw.finite_unit
    if (unit[1:] < unit[:-1]).any():
        order = np.argsort(unit, kind="stable")
        times_s, unit = times_s[order], unit[order]
    steps = steps_back(times_s, unit)
    back_s = times_s[steps] - times_s[steps + 1]
    jumps = back_s > limit("restart_share") * np.ptp(times_s)
    per_unit = np.bincount(unit[steps[jumps]], minlength=len(raw.ids))
    again = (per_unit > 0) & (per_unit <= limit("restarts"))
    if not again.any():
        return
    spiking = np.bincount(unit, minlength=len(raw.ids)) > 1
    names = list_names(raw.ids[again].tolist())
    message = (
        f"the times of {np.count_nonzero(again)} of {np.count_nonzero(spiking)} units start again, by up to "
        f"{back_s[jumps].max():g} s back: {names}; "
    )
    before = [one for one in np.flatnonzero(again) if one and not spiking[one - 1] and per_unit[one] == 1]
    severity: Severity = "warning"
    if np.count_nonzero(again) >= max(2, limit("restart_units") * np.count_nonzero(spiking)):
        severity = "fatal"
        message += "two recordings joined without an offset? Add it, or export them as two files"
    elif before:
        severity = "fatal"
        message += f"unit {raw.ids[before[0] - 1]}, the one before, has no spikes: correct spike_times_index"
    else:
        message += "such a unit may hold the spikes of two units or recordings: check spike_times_index"
    yield Finding("restarts", severity, message, int(per_unit[again].sum()))


def outside_by_unit(raw: RawSpikes) -> Iterator[Finding]:
    """Count spikes outside valid time, by probe and by the units that lose most."""
    outside = np.isfinite(raw.times_s) & ~raw.inside
    total = int(np.count_nonzero(outside))
    if not total:
        return
    lost = np.bincount(np.asarray(raw.unit)[outside], minlength=len(raw.ids))
    most = [unit for unit in np.argsort(-lost, kind="stable") if lost[unit]]
    parts = [f"units {list_names([f'{raw.ids[unit]} ({lost[unit]})' for unit in most], 3)}"]
    if raw.probe is not None:
        of_probe = {str(name): int(lost[raw.probe == name].sum()) for name in np.unique(raw.probe)}
        parts.insert(0, "probes " + list_names([f"{name} ({count})" for name, count in of_probe.items()]))
    message = f"spikes outside valid time, dropped: {total} of {len(raw.times_s)}; of " + "; of ".join(parts)
    yield Finding("outside_domain", "warning", message, total)
