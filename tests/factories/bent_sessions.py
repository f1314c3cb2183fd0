"""Small sessions, each bent so that one check finds it: an example of every finding of the checks."""

from collections.abc import Callable
from functools import partial

import numpy as np

from neurohorizon.config import Exclusions, Splits, Timeline
from neurohorizon.ingest.checks import check_spikes
from neurohorizon.ingest.findings import Finding, Notes
from neurohorizon.ingest.probe_spans import (
    ProbeSpan,
    count_trimmed,
    note_short_probes,
    recorded_span,
    silent_spans,
    without_dropouts,
)
from neurohorizon.ingest.spike_checks import RawSpikes
from neurohorizon.ingest.validation import validate_session
from neurohorizon.session import Series, Session
from neurohorizon.timeline import Intervals, split_domain, to_us

UNITS, SPIKES, LENGTH_S = 4, 500, 100.0
TIMELINE = Timeline(bin_ms=20, context_bins=50, horizon_bins=50, evaluation_stride_bins=25)
SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=2.0)
WHOLE = ((0, 120),)
NO_EXCLUSIONS = Exclusions(units=(), maximum_rate_hz=None, proposed=False)


def raw(times_s: np.ndarray, stop_s: float = LENGTH_S) -> RawSpikes:
    """Return spikes of all units, [unit, spike]; valid time is from 0 s."""
    unit = np.repeat(np.arange(len(times_s)), times_s.shape[1])
    domain = Intervals(np.array([0]), np.array([int(stop_s * 1e6)]))
    return RawSpikes(times_s.reshape(-1), unit, np.array([f"u{one}" for one in range(len(times_s))]), None, domain)


def sound() -> np.ndarray:
    """Return sound spike times, [unit, spike]."""
    return np.sort(np.random.default_rng(3).uniform(0, LENGTH_S, (UNITS, SPIKES)), axis=1)


def session(
    *,
    valid_s: tuple[tuple[float, float], ...] = WHOLE,
    drop: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    rate_hz: float = 5.0,
    more: tuple[tuple[float, int], ...] = (),
    **changes: object,
) -> Session:
    """Return a session of six units at some 5 to 10 Hz with a wheel and trials; without changes it is sound.

    Args:
        valid_s: Valid time.
        drop: Spikes to leave out, from times in seconds and units.
        rate_hz: Rate of the slowest unit.
        more: Further spikes: time in seconds and unit.
        changes: Fields of the session to replace.
    """
    edges = np.array(valid_s, dtype=float)
    domain = Intervals(to_us(edges[:, 0]), to_us(edges[:, 1]))
    trains = [np.arange(0.0137 * (unit + 1), edges.max(), 1 / (rate_hz + unit)) for unit in range(6)]
    times_s, unit = np.concatenate(trains), np.repeat(np.arange(6), [len(train) for train in trains])
    kept = domain.contains(to_us(times_s)) & (True if drop is None else ~drop(times_s, unit))
    times_s = np.concatenate([times_s[kept], [time for time, _ in more]])
    unit = np.concatenate([unit[kept], [one for _, one in more]]).astype(int)
    order = np.argsort(times_s, kind="stable")
    starts = np.arange(1.0, 100, 4)
    starts = starts[domain.contains(to_us(starts))]
    record = {
        "session_id": "bent",
        "source": "nwb",
        "subject": "m",
        "lab": "l",
        "date": "2020-01-02",
        "spike_times_us": to_us(times_s[order]),
        "spike_unit": unit[order],
        "units": {"id": np.array(list("abcdef")), "region": np.full(6, "CA1")},
        "domain": domain,
        "splits": split_domain(domain, SPLITS),
        "behaviour": {"wheel": Series(np.arange(0, 120, 0.1), np.arange(1200.0), "rad/s")},
        "trials": {"start": starts, "end": starts + 1},
    }
    return Session(**{**record, **changes})


def findings(**changes: object) -> list[Finding]:
    """Return the findings of a session."""
    return list(validate_session(session(**changes), timeline=TIMELINE, splits=SPLITS).findings)


def _spikes(times_s: np.ndarray, **options: float) -> list[Finding]:
    return check_spikes(raw(times_s, **options))


def _wheel(times_s: np.ndarray, values: np.ndarray) -> list[Finding]:
    return findings(behaviour={"wheel": Series(times_s, values, "rad/s")})


def _trials(start: list[float], end: list[float]) -> list[Finding]:
    return findings(trials={"start": np.array(start), "end": np.array(end)})


def _stimuli(start: list[float], end: list[float], name: str = "gratings") -> list[Finding]:
    shown = len(start)
    columns = {"image_set": np.full(shown, ""), "frame": np.full(shown, -1), "block": np.zeros(shown, int)}
    return findings(stimuli={"start": np.array(start), "end": np.array(end), "name": np.full(shown, name), **columns})


def _probes() -> list[Finding]:
    notes = Notes()
    times_s = {"probe00": np.linspace(0, 100, 1001), "probe01": np.append(np.linspace(0, 40, 401), 5000.0)}
    spans = [recorded_span(name, times, notes) for name, times in times_s.items()]
    assert spans[1] == ProbeSpan("probe01", 0.0, 40.0)
    note_short_probes(spans, notes)
    count_trimmed(spans, times_s, notes, start_us=0, stop_us=40_000_000)
    return notes.findings


def _dropout() -> list[Finding]:
    times_s, notes = np.arange(0, 100, 0.01), Notes()
    with_hole, span = times_s[(times_s < 30) | (times_s > 34.6)], ProbeSpan("probe01", 0.0, 99.99)
    silent = {"probe00": silent_spans(times_s, span), "probe01": silent_spans(with_hole, span)}
    without_dropouts(Intervals(np.array([0]), np.array([100_000_000])), silent, notes)
    return notes.findings


def _repaired(code: str) -> list[Finding]:
    return findings(repairs={code: 3})


TWO_PROBES = {"id": np.array(list("abcdef")), "region": np.full(6, "CA1"), "probe": np.array(["p", "q"] * 3)}
NOISE = tuple((time, 3) for time in np.arange(0.003, 119.9, 1 / 107))

CONTAMINATED = tuple((time, 3) for time in np.random.default_rng(1).uniform(0, 120, 2400))
UNRELATED = tuple((time, unit) for unit in range(6) for time in np.random.default_rng(unit).uniform(0, 120, 2400))
COPIED = tuple((time, 3) for time in np.arange(0.0137 * 2, 120, 1 / 6) + 2e-5)

EXAMPLES: dict[str, Callable[[], list[Finding]]] = {
    "stray_spikes": _probes,
    "short_probe": _probes,
    "trimmed_spikes": _probes,
    "dropout": _dropout,
    "no_spikes_read": lambda: _spikes(np.zeros((UNITS, 0))),
    "whole_numbers": lambda: _spikes(np.rint(sound() * 30000)),
    "other_unit": lambda: _spikes(sound() * 1000),
    "small_valid_time": lambda: _spikes(sound(), stop_s=0.5),
    "none_inside": lambda: _spikes(sound() + 1000),
    "coarse_times": lambda: _spikes((sound() + 2000).astype(np.float32), stop_s=3000),
    "restarts": lambda: _spikes(np.concatenate([sound(), sound()], axis=1)),
    "outside_domain": lambda: _spikes(sound(), stop_s=60),
    "too_short": partial(findings, valid_s=((0, 16),)),
    "long_valid_time": partial(findings, valid_s=((0, 50_000),), drop=lambda times_s, unit: times_s % 1000 > 1),
    "impossible_rates": partial(findings, rate_hz=300),
    "implausible_rate": partial(findings, more=NOISE),
    "refractory_violations": partial(findings, more=CONTAMINATED),
    "no_refractory_period": partial(findings, more=UNRELATED),
    "same_spikes": partial(findings, more=COPIED),
    "silence": partial(findings, drop=lambda times_s, unit: (times_s > 31) & (times_s < 34.5)),
    "no_spikes": partial(findings, drop=lambda times_s, unit: times_s > 62),
    "empty_units": partial(findings, drop=lambda times_s, unit: unit == 2),
    "silent_in_reference": partial(findings, drop=lambda times_s, unit: (unit == 4) & (times_s < 61)),
    "silent_in_test": partial(findings, drop=lambda times_s, unit: (unit == 5) & (times_s > 55)),
    "one_sided_units": partial(findings, drop=lambda times_s, unit: (unit == 5) & (times_s > 55)),
    "partial_probes": partial(findings, units=TWO_PROBES, drop=lambda times_s, unit: (unit % 2 == 1) & (times_s > 80)),
    "gaps": partial(findings, valid_s=((0, 50), (57.5, 120))),
    "not_finite": partial(_repaired, "not_finite"),
    "unsorted": partial(_repaired, "unsorted"),
    "filtered_units": partial(_repaired, "filtered_units"),
    "excluded_units": partial(_repaired, "excluded_units"),
    "duplicate_spikes": partial(findings, more=((60.0, 1), (60.0, 1))),
    "spikes_outside": partial(findings, more=((125.0, 1),)),
    "no_behaviour": partial(findings, behaviour={}),
    "behaviour_unknown": lambda: _wheel(np.arange(0, 120, 0.1), np.where(np.arange(1200) < 120, np.nan, 1.0)),
    "behaviour_short": lambda: _wheel(np.arange(0, 60, 0.1), np.arange(600.0)),
    "behaviour_clock": lambda: _wheel(np.arange(1200.0), np.arange(1200.0)),
    "behaviour_pause": lambda: _wheel(np.delete(np.arange(0, 120, 0.1), np.arange(400, 450)), np.arange(1150.0)),
    "no_trials": partial(findings, trials={}),
    "trials_end_first": lambda: _trials([1, 5], [3, 4]),
    "trials_long": lambda: _trials([1], [5000]),
    "trials_overlap": lambda: _trials([1, 5], [6, 7]),
    "trials_outside": lambda: _trials([1, 130], [3, 131]),
    "stimuli_end_first": lambda: _stimuli([1, 5], [3, 4]),
    "stimuli_overlap": lambda: _stimuli([1, 5], [6, 7]),
    "stimuli_invalid": lambda: _stimuli([1], [3], "invalid_presentation"),
    "no_region": partial(findings, units=TWO_PROBES | {"region": np.full(6, "")}),
    "missing": partial(findings, provenance={"missing": '["wheel"]'}),
}
"""Findings of bent spikes and sessions, by the code that is among them."""
