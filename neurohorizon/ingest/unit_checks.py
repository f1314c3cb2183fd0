"""Checks that find units which are no single neuron, and the proposal to exclude them.

A unit is proposed for one of three reasons: its mean rate, too many intervals within the refractory period, or spikes
that coincide with those of another unit. :mod:`neurohorizon.ingest.exclusions` excludes units.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurohorizon.ingest.findings import Finding, list_names
from neurohorizon.ingest.session_checks import Settings, mean_rates_hz
from neurohorizon.ingest.thresholds import limit
from neurohorizon.session import Session
from neurohorizon.timeline import MICROSECONDS, blocks

Reason = Literal["rate", "refractory", "duplicate"]


@dataclass(frozen=True)
class Proposal:
    """One reason to exclude one unit.

    Attributes:
        unit: Id of the unit.
        reason: ``rate``: mean rate. ``refractory``: spikes within the refractory period. ``duplicate``: spikes that
            coincide with those of a unit that has more of them.
        value: Hz, contamination, or share of the unit's spikes.
        threshold: Value above which a unit is proposed.
        detail: The numbers in words.
    """

    unit: str
    reason: Reason
    value: float
    threshold: float
    detail: str


@dataclass(frozen=True)
class Refractory:
    """Violations of the refractory period, all [unit].

    Attributes:
        violations: Intervals between spikes of a unit that are shorter than the refractory period.
        share: Violations as a share of the unit's intervals.
        contamination: Share of the unit's spikes that are not of its neuron; see :func:`contamination`.
        tested: Whether a unit without a refractory period would be found, given its spikes.
        violating: Whether the unit has too many violations.
    """

    violations: np.ndarray
    share: np.ndarray
    contamination: np.ndarray
    tested: np.ndarray
    violating: np.ndarray

    @property
    def is_absent(self) -> bool:
        """Whether the session shows no refractory period: most fast units violate it, or most units.

        Simulated units do, and electrodes with several neurons each.
        """
        for among in (self.tested, np.ones_like(self.tested)):
            units, violating = np.count_nonzero(among), np.count_nonzero(among & self.violating)
            if units >= limit("refractory_units") and violating > limit("refractory_units_share") * units:
                return True
        return False


def contamination(
    violations: np.ndarray, spikes: np.ndarray, *, valid_s: float, refractory_s: float, censored_s: float
) -> np.ndarray:
    """Return the share of a unit's spikes that are of other sources, at most 0.5, [unit].

    Solves Hill, Mehta and Kleinfeld 2011 (J Neurosci 31:8699), ``r = 2 (tR - tC) N^2 (1 - F) F / T``, for the smaller
    F: r violations, N spikes, T seconds, tR the refractory period, tC the censored period after a spike in which none
    is detected. Beyond the largest r that has a solution, F is 0.5.

    Args:
        violations: Intervals shorter than the refractory period, [unit].
        spikes: Spikes, [unit].
        valid_s: Valid time in seconds.
        refractory_s: Refractory period in seconds.
        censored_s: Censored period in seconds, shorter than the refractory period.
    """
    pairs = 2 * (refractory_s - censored_s) * np.maximum(spikes, 1).astype(np.float64) ** 2 / valid_s
    return (1 - np.sqrt(np.maximum(1 - 4 * np.minimum(violations / pairs, 0.25), 0))) / 2


def find_refractory(session: Session) -> Refractory:
    """Count violations of the refractory period; the shortest interval of the session is its censored period."""
    refractory_us, units = limit("refractory_us"), session.n_units
    spikes, violations = np.bincount(session.spike_unit, minlength=units), np.zeros(units, np.int64)
    censored_us, last_us = np.iinfo(np.int64).max, np.full(units, np.iinfo(np.int64).min)
    for part in blocks(len(session.spike_unit)):
        before = np.flatnonzero(last_us > np.iinfo(np.int64).min)
        unit = np.concatenate([before, session.spike_unit[part]])
        times_us = np.concatenate([last_us[before], session.spike_times_us[part]])
        order = np.argsort(unit, kind="stable")  # times stay sorted within a unit
        unit, times_us = unit[order], times_us[order]
        same = unit[1:] == unit[:-1]
        interval_us = np.diff(times_us)[same]
        violations += np.bincount(unit[1:][same][interval_us < refractory_us], minlength=units)
        censored_us = min(censored_us, int(interval_us.min(initial=censored_us)))
        np.maximum.at(last_us, session.spike_unit[part], session.spike_times_us[part])
    share = violations / np.maximum(spikes - 1, 1)
    open_s = max(refractory_us - censored_us, 0) / MICROSECONDS
    valid_s = session.domain.duration_us / MICROSECONDS
    found = np.zeros(units)
    if open_s:
        found = contamination(
            violations,
            spikes,
            valid_s=valid_s,
            refractory_s=refractory_us / MICROSECONDS,
            censored_s=censored_us / MICROSECONDS,
        )
    # violations of a Poisson process of the same rate
    chance = spikes.astype(np.float64) ** 2 * open_s / valid_s
    least, least_share = limit("refractory_violations"), limit("refractory_share")
    return Refractory(
        violations=violations,
        share=share,
        contamination=found,
        tested=(chance >= least) & (chance > least_share * spikes),
        violating=(violations >= least) & (share > least_share) & (found > limit("contamination")),
    )


def find_duplicates(session: Session) -> list[tuple[int, int, float]]:
    """Find pairs of units that share most spikes.

    Two spikes coincide if they are at most ``coincidence_us`` apart. If most times are those of another spike, the
    clock is too coarse to find a duplicate, and there are none.

    Returns:
        Row of the unit with fewer spikes, row of the other unit, share of the first one's spikes that coincide.
    """
    times_us, unit, units = session.spike_times_us, session.spike_unit, session.n_units
    if not len(times_us) or np.count_nonzero(np.diff(times_us)) + 1 < limit("distinct_times") * len(times_us):
        return []
    pairs, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for part in blocks(len(times_us)):
        for ahead in range(1, len(times_us) - part.start):
            later = slice(part.start + ahead, min(part.stop + ahead, len(times_us)))
            near = part.start + np.flatnonzero(
                times_us[later] - times_us[part.start : later.stop - ahead] <= limit("coincidence_us")
            )
            if not len(near):
                break
            one, other = unit[near].astype(np.int64), unit[near + ahead].astype(np.int64)
            found = (np.minimum(one, other) * units + np.maximum(one, other))[one != other]
            pairs, place = np.unique(np.concatenate([pairs, found]), return_inverse=True)
            weights = np.concatenate([counts, np.ones(len(found), np.int64)])
            counts = np.bincount(place, weights, minlength=len(pairs)).astype(np.int64)
    spikes = np.bincount(unit, minlength=units)
    first, second = pairs // units, pairs % units
    swap = spikes[first] < spikes[second]
    smaller, larger = np.where(swap, first, second), np.where(swap, second, first)
    share = np.minimum(counts / np.maximum(spikes[smaller], 1), 1.0)
    same = (counts >= limit("same_spikes")) & (share > limit("same_spikes_share"))
    return list(zip(smaller[same].tolist(), larger[same].tolist(), share[same].tolist(), strict=True))


def refractory_violations(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find units with too many spikes within the refractory period (contamination: Hill et al. 2011)."""
    found = find_refractory(session)
    count = int(np.count_nonzero(found.violating))
    period_ms = limit("refractory_us") / 1000
    if found.is_absent:
        message = (
            f"no refractory period: {count} of {session.n_units} units have as many intervals below "
            f"{period_ms:g} ms as unrelated spikes have; are they simulated, or of several neurons each?"
        )
        yield Finding("no_refractory_period", "warning", message, count)
    elif count:
        rows = np.flatnonzero(found.violating)
        named = [f"{session.units['id'][row]} ({found.share[row]:.1%})" for row in rows]
        message = f"{count} of {session.n_units} units have too many intervals below {period_ms:g} ms: "
        yield Finding("refractory_violations", "warning", message + list_names(named, 3), count)


def same_spikes(session: Session, settings: Settings) -> Iterator[Finding]:
    """Find pairs of units that share most of their spikes."""
    pairs = find_duplicates(session)
    if pairs:
        ids = session.units["id"]
        named = [f"{ids[one]} and {ids[other]} ({share:.0%})" for one, other, share in pairs]
        message = (
            f"pairs of units with the same spikes: {len(pairs)}; {list_names(named, 3)}; one neuron listed twice? "
            "Exclude one of each with cohort.exclude_units"
        )
        yield Finding("same_spikes", "warning", message, len(pairs))


def propose_exclusions(session: Session) -> tuple[Proposal, ...]:
    """Propose units to exclude, ordered by reason and unit; a unit may have several reasons.

    A unit with the spikes of a unit that is proposed for its rate is no duplicate. If the session shows no refractory
    period, no unit is proposed for its violations.
    """
    ids, rate_hz = session.units["id"], mean_rates_hz(session)
    most_hz = limit("implausible_rate_hz")
    found = [
        Proposal(str(ids[row]), "rate", float(rate_hz[row]), most_hz, f"{rate_hz[row]:.1f} Hz on average")
        for row in np.flatnonzero(rate_hz > most_hz)
    ]
    refractory = find_refractory(session)
    for row in np.flatnonzero(refractory.violating) if not refractory.is_absent else ():
        detail = (
            f"{refractory.violations[row]} intervals ({refractory.share[row]:.2%}) below "
            f"{limit('refractory_us') / 1000:g} ms"
        )
        contaminated = float(refractory.contamination[row])
        found.append(Proposal(str(ids[row]), "refractory", contaminated, limit("contamination"), detail))
    largest: dict[int, tuple[int, float]] = {}
    for smaller, larger, share in find_duplicates(session):
        if rate_hz[larger] <= most_hz and share > largest.get(smaller, (0, 0.0))[1]:
            largest[smaller] = (larger, share)
    for row, (larger, share) in sorted(largest.items()):
        detail = f"{share:.0%} of its spikes coincide with those of unit {ids[larger]}"
        found.append(Proposal(str(ids[row]), "duplicate", share, limit("same_spikes_share"), detail))
    return tuple(found)


def exclusion_line(session: Session, proposals: tuple[Proposal, ...]) -> str:
    """Return the line for the section ``cohort`` of the configuration that excludes all proposed units; "" for none.

    Units that are excluded already stay in the line.
    """
    if not proposals:
        return ""
    excluded = json.loads(session.provenance.get("excluded_units", "{}"))
    units = dict.fromkeys([*excluded, *(one.unit for one in proposals)])
    # an id such as 007 would be another number in YAML
    listed = ", ".join(one if re.fullmatch("0|[1-9][0-9]*", one) else json.dumps(one) for one in units)
    return f"exclude_units: {{{json.dumps(session.session_id)}: [{listed}]}}"
