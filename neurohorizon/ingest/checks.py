"""All checks of sessions on one page.

A reader calls :func:`check_spikes` on spikes as read; :func:`~neurohorizon.ingest.validation.validate_session` calls
:func:`check_session`. Checks run in the order of the table. Limits are in :mod:`neurohorizon.ingest.thresholds`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from neurohorizon.ingest.findings import Finding
from neurohorizon.ingest.probe_spans import count_trimmed, note_short_probes, recorded_span, without_dropouts
from neurohorizon.ingest.session_checks import (
    Settings,
    behaviour_clock,
    behaviour_cover,
    behaviour_pauses,
    events,
    gaps,
    long_valid_time,
    missing_tables,
    no_spikes,
    one_sided_units,
    partial_probes,
    rates,
    regions,
    repairs,
    silences,
    silent_units,
    too_short,
)
from neurohorizon.ingest.spike_checks import (
    RawSpikes,
    coarse_times,
    no_spikes_at_all,
    none_inside,
    other_unit,
    outside_by_unit,
    restarts,
    whole_numbers,
)
from neurohorizon.ingest.unit_checks import refractory_violations, same_spikes
from neurohorizon.session import Session

PROBES, RAW, SESSION = "probes as read", "spikes as read", "session"


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        function: Generator of its findings; its docstring describes what it finds.
        codes: Codes of its findings.
        limits: Names of its thresholds.
        of: ``probes as read``, ``spikes as read`` or ``session``.
    """

    function: Callable
    codes: tuple[str, ...]
    limits: tuple[str, ...] = ()
    of: str = SESSION


CHECKS = (
    Check(
        recorded_span,
        ("stray_spikes",),
        ("stray_pause_s", "stray_share", "stray_spikes", "stray_of_spikes"),
        PROBES,
    ),
    Check(note_short_probes, ("short_probe",), ("partial_share",), PROBES),
    Check(count_trimmed, ("trimmed_spikes",), (), PROBES),
    Check(without_dropouts, ("dropout",), ("dropout_s", "dropout_spikes", "dropout_usual"), PROBES),
    Check(no_spikes_at_all, ("no_spikes_read",), (), RAW),
    Check(whole_numbers, ("whole_numbers",), ("whole_seconds_share",), RAW),
    Check(other_unit, ("other_unit", "small_valid_time"), ("span_ratio", "slow_rate_hz"), RAW),
    Check(none_inside, ("none_inside",), (), RAW),
    Check(coarse_times, ("coarse_times",), ("coarse_us",), RAW),
    Check(restarts, ("restarts",), ("restart_share", "restarts", "restart_units"), RAW),
    Check(outside_by_unit, ("outside_domain",), (), RAW),
    Check(too_short, ("too_short",)),
    Check(long_valid_time, ("long_valid_time",), ("long_recording_s", "half_day_s", "slow_long_rate_hz")),
    Check(rates, ("impossible_rates", "implausible_rate"), ("impossible_rate_hz", "implausible_rate_hz")),
    Check(
        refractory_violations,
        ("refractory_violations", "no_refractory_period"),
        (
            *("refractory_us", "refractory_violations", "refractory_share", "contamination"),
            *("refractory_units", "refractory_units_share"),
        ),
    ),
    Check(same_spikes, ("same_spikes",), ("coincidence_us", "same_spikes_share", "same_spikes", "distinct_times")),
    Check(silences, ("silence",), ("silence_s", "silence_spikes", "silence_usual", "silent_share")),
    Check(no_spikes, ("no_spikes",)),
    Check(silent_units, ("empty_units", "silent_in_reference", "silent_in_test")),
    Check(one_sided_units, ("one_sided_units",), ("one_sided_spikes",)),
    Check(partial_probes, ("partial_probes",), ("partial_share", "silence_spikes")),
    Check(gaps, ("gaps",)),
    Check(
        repairs,
        (
            *("not_finite", "outside_domain", "unsorted", "filtered_units", "excluded_units"),
            *("duplicate_spikes", "spikes_outside"),
        ),
    ),
    Check(behaviour_cover, ("no_behaviour", "behaviour_unknown", "behaviour_short"), ("series_cover",)),
    Check(
        behaviour_clock,
        ("behaviour_clock",),
        ("series_inside", "series_whole", "whole_seconds_share"),
    ),
    Check(behaviour_pauses, ("behaviour_pause",), ("series_pause_s", "series_pause_steps")),
    Check(
        events,
        (
            "no_trials",
            "trials_end_first",
            "trials_long",
            "trials_overlap",
            "trials_outside",
            "stimuli_end_first",
            "stimuli_overlap",
            "stimuli_invalid",
        ),
        ("long_trial_s", "stimulus_overlap_s"),
    ),
    Check(regions, ("no_region",)),
    Check(missing_tables, ("missing",)),
)
"""All checks, in the order in which they run."""

READER_FINDINGS = {
    "behaviour_absent": "A behaviour series of the configuration is not in the file, or is empty.",
    "clusters_without_label": "Clusters fire and have no quality label; they are no units.",
    "draft_version": "The file is of a dandiset's draft, which can change.",
    "duplicate_metrics": "Rows of a probe's table of metrics repeat another; they are dropped.",
    "intervals_backward": "Intervals stop before they start; they are not used.",
    "intervals_too_long": "Intervals are longer than any recording; they are not used.",
    "intervals_without_times": "Intervals lack a start or a stop; they are not valid time.",
    "joined_pauses": "Pauses of rounding between intervals are closed.",
    "no_region_column": "Neither units nor electrodes have the region's column.",
    "no_subject": "The file names no subject; the cohort table's is used.",
    "older_sorting": "The newest revision of a spike sorting lacks a table, so an earlier revision is used.",
    "other_date": "The file's date differs from the cohort table's.",
    "other_lab": "The file's lab differs from the cohort table's.",
    "probe_without_units": "No cluster of a probe is good enough to be a unit.",
    "regions_of_groups": "Units have the region of their electrode group, since no electrode has one.",
    "repeated_ids": "Unit ids occur more than once; each is made unique.",
    "samples_dropped": "Samples of behaviour without a time near the recording are dropped.",
    "samples_unsorted": "The times of a behaviour series go back; it is sorted.",
    "short_units": "Some units were observed for less time and cost all others valid time.",
    "stale_record": "A file differs from the database's hash in the same way in two downloads; it is kept.",
    "trial_columns_replaced": "Columns of trials have the names of the record's own columns and are replaced.",
    "trial_columns_skipped": "Columns of trials without single values are not kept.",
    "trials_far": "Trials far from the valid time, or longer than any recording, are not kept.",
    "whole_valid_time": "Valid time is from the first to the last spike, since the file names none.",
    "trials_without_times": "Trials lack a start or a stop; they are not kept.",
    "unit_columns_replaced": "Columns of units have the names of the record's own columns and are replaced.",
    "unit_columns_skipped": "Columns of units without single values are not kept.",
}
"""Warnings that the readers of NWB files and of IBL sessions add themselves, by code."""


def check_spikes(raw: RawSpikes) -> list[Finding]:
    """Run all checks of spikes as read."""
    return [finding for check in CHECKS if check.of == RAW for finding in check.function(raw)]


def check_session(session: Session, settings: Settings) -> list[Finding]:
    """Run all checks of a session."""
    return [finding for check in CHECKS if check.of == SESSION for finding in check.function(session, settings)]
