"""What an NWB file holds for a forecast, and whether it can be forecast."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurohorizon.command.cards import Candidate, Lengths
from neurohorizon.command.fits import Fit, fitting
from neurohorizon.command.options import Reading
from neurohorizon.ingest.address import Address
from neurohorizon.ingest.findings import list_names
from neurohorizon.ingest.nwb_recording import NwbRecording, read_recording
from neurohorizon.ingest.unit_checks import Proposal, propose_exclusions
from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.printed_names import one_line
from neurohorizon.recordings.reference_window import recorded_share, split_at_reference
from neurohorizon.recordings.units import intervals_of
from neurohorizon.session import Session, SessionError
from neurohorizon.timeline import MICROSECONDS, MINIMUM_REFERENCE_S, Intervals, bin_domain

SCHEMA = "neurohorizon-check-1"
"""Name of the form of the JSON document; its number rises if a reader of an older one would fail."""
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Examination:
    """What was found in one file.

    Attributes:
        path: The file, or its address.
        recording: Its content; None if it cannot be read.
        reference: The reference window.
        part: Valid time in which forecasts lie.
        windows: Number of windows of context and horizon in it, one horizon apart.
        fits: Windows of each network that may forecast the recording.
        networks: Names of those that are left to choose from; their windows have the lengths ``lengths``.
        reaching: Number of units that reach the minimum rate in the reference window.
        proposals: Reasons for which units are likely no single neurons.
        notes: Oddities, one sentence each.
        faults: Why it cannot be forecast; empty if it can.
        lengths: Lengths of the windows.
        minimum_rate_hz: The minimum rate.
    """

    path: Path | Address
    recording: NwbRecording | None
    reference: Intervals
    part: Intervals
    windows: int
    fits: tuple[Fit, ...]
    networks: tuple[str, ...]
    reaching: int
    proposals: tuple[Proposal, ...]
    notes: tuple[str, ...]
    faults: tuple[str, ...]
    lengths: Lengths
    minimum_rate_hz: float

    @property
    def forecastable(self) -> bool:
        """Whether the recording can be forecast."""
        return not self.faults

    @property
    def likely_noise(self) -> dict[str, str]:
        """Reason for each unit that is likely no single neuron, by its id."""
        found: dict[str, str] = {}
        for one in self.proposals:
            found.setdefault(one.unit, one.detail)
        return found

    @property
    def noise_note(self) -> str:
        """Units that are likely no single neurons, as a sentence; "" if there are none."""
        noise = self.likely_noise
        if self.recording is None or not noise:
            return ""
        proposed = list_names([f"{unit} ({detail})" for unit, detail in noise.items()], _SHOWN)
        return (
            f"likely no single neurons: {len(noise)} of {self.recording.session.n_units} units, {one_line(proposed)}; "
            "one such unit can decide a score, and --exclude-proposed excludes them"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what was found as a JSON object; docs/forecast.md describes it."""
        values: dict[str, Any] = {
            "file": str(self.path),
            "forecastable": self.forecastable,
            "faults": list(self.faults),
            "notes": list(self.notes),
        }
        if self.recording is None:
            return values
        session = self.recording.session
        return values | {
            "subject": session.subject,
            "species": session.provenance.get("species", ""),
            "units": session.n_units,
            "units_at_minimum_rate": self.reaching,
            "minimum_rate_hz": self.minimum_rate_hz,
            "spikes": len(session.spike_times_us),
            "region_column": self.recording.region_column,
            "regions": _regions(session),
            "quality_column": self.recording.quality_column,
            "quality": _labels(self.recording),
            "valid_time": {
                "from": self.recording.valid_from,
                "why": self.recording.valid_why,
                **_bounds(session.domain),
                "intervals": len(session.domain),
            },
            "reference": _bounds(self.reference),
            "forecast": {
                **_bounds(self.part),
                "windows": self.windows,
                "context_s": self.lengths.context_s,
                "horizon_s": self.lengths.horizon_s,
            },
            "preparation": self.recording.preparation,
            "networks": [
                one.to_json()
                | {"forecastable": self.forecastable and one.windows > 0, "candidate": one.name in self.networks}
                for one in self.fits
            ],
            "excluded": self.recording.excluded,
            "likely_no_neurons": self.likely_noise,
        }


def examine(
    path: Path | Address,
    reading: Reading,
    networks: Sequence[Candidate],
    report: Callable[[str], None] | None = None,
) -> Examination:
    """Read a file, and return what a forecast of it would use.

    Args:
        path: The NWB file, or its address.
        reading: How it is read.
        networks: Networks that may forecast it. Windows are counted with the lengths of those that are left to choose
            from; see :func:`neurohorizon.command.fits.fitting`.
        report: Receives lines about the bytes of a remote file; None: standard error.
    """
    nothing, lengths = Intervals.empty(), networks[0].lengths
    try:
        valid = intervals_of(reading.valid, "--valid") if isinstance(reading.valid, tuple) else reading.valid
        recording = read_recording(
            path,
            valid=valid,
            region=reading.region,
            keep=reading.keep,
            exclude=reading.exclude,
            maximum_rate_hz=reading.maximum_rate_hz,
            exclude_proposed=reading.exclude_proposed,
            report=report,
        )
        session = recording.session
        parts = {one: _split(session, reading, one) for one in {one.lengths for one in networks}}
    except (SessionError, OSError) as error:
        fault, least = one_line(error), reading.minimum_rate_hz
        return Examination(path, None, nothing, nothing, 0, (), (), 0, (), (), (fault,), lengths, least)
    counts = {one: _windows(part, one) for one, (_, part) in parts.items()}
    fits = tuple(Fit(one, counts[one.lengths]) for one in networks)
    left = fitting(fits, recording.preparation)
    lengths = left[0].candidate.lengths
    (window, part), windows = parts[lengths], counts[lengths]
    bin_us = lengths.bin_ms * 1000
    inside = window.contains(session.spike_times_us)
    rate_hz = np.bincount(session.spike_unit[inside], minlength=session.n_units) / max(_seconds(window), 1e-6)
    reaching = int(np.count_nonzero(rate_hz >= reading.minimum_rate_hz))
    faults, notes = list(recording.faults), list(recording.notes)
    if (share := recorded_share(window, reading.reference)) < 0.9:
        notes.append(f"of the reference window {share:.0%} was recorded; the rest is not used")
    described_s = len(bin_domain(window, bin_us)) * lengths.bin_ms / 1000
    if described_s < MINIMUM_REFERENCE_S:
        faults.append(
            f"the reference window holds {described_s:g} s of valid time, and units are described from "
            f"{MINIMUM_REFERENCE_S:g} s on; choose a longer --reference"
        )
    if not windows:
        longest_s = (part.stop_us - part.start_us).max(initial=0) / MICROSECONDS
        shortest_s = min(one.lengths.context_s + one.lengths.horizon_s for one in networks)
        faults.append(
            f"no context and horizon ({shortest_s:g} s) fits into the valid time after the "
            f"reference window, whose longest interval is {longest_s:g} s; choose an earlier --reference or another "
            "--valid"
        )
    if not reaching:
        faults.append(
            f"none of {session.n_units} units reaches {reading.minimum_rate_hz:g} Hz in the reference window; lower "
            "--minimum-rate, or choose another --reference"
        )
    return Examination(
        path=path,
        recording=recording,
        reference=window,
        part=part,
        windows=windows,
        fits=fits,
        networks=tuple(one.name for one in left),
        reaching=reaching,
        proposals=propose_exclusions(session),
        notes=tuple(map(one_line, notes)),
        faults=tuple(map(one_line, faults)),
        lengths=lengths,
        minimum_rate_hz=reading.minimum_rate_hz,
    )


def _split(session: Session, reading: Reading, lengths: Lengths) -> tuple[Intervals, Intervals]:
    """Return the reference window, and the time that is left to forecast by windows of some lengths."""
    gap_us = round((lengths.context_s + lengths.horizon_s) * MICROSECONDS)
    return split_at_reference(session.domain, reading.reference, gap_us)


def _windows(part: Intervals, lengths: Lengths) -> int:
    """Return the number of windows in some time, one horizon apart."""
    bins = lengths.context_bins
    shape = WindowShape(lengths.bin_ms * 1000, bins, lengths.horizon_bins, (bins,))
    return len(evaluation_origins(part, shape, lengths.horizon_bins))


def describe(found: Examination) -> str:
    """Return what was found as text, one fact a line."""
    lines = [one_line(found.path)]
    if found.recording is not None:
        lines += [f"  {name:<13}{text}" for name, text in _facts(found, found.recording)]
    lines += [f"  {'note':<13}{one}" for one in found.notes]
    lines += [f"  {'forecastable':<13}{'yes' if found.forecastable else 'no: ' + '; '.join(found.faults)}"]
    return "\n".join(lines)


def minutes(hull_s: tuple[float, float]) -> str:
    """Return a span of time as text, in minutes or, if it is short, in seconds."""
    start_s, stop_s = hull_s
    if stop_s - start_s < 120:
        return f"{start_s:.4g} to {stop_s:.4g} s"
    return f"{start_s / 60:.3g} to {stop_s / 60:.3g} min"


def _facts(found: Examination, recording: NwbRecording) -> list[tuple[str, str]]:
    session = recording.session
    species = session.provenance.get("species", "")
    subject = f"{session.subject or 'not named in the file'}{f' ({species})' if species else ''}"
    pieces = f", {_seconds(session.domain) / 60:.3g} min in {len(session.domain)} intervals"
    facts = [
        ("subject", one_line(subject)),
        (
            "units",
            f"{session.n_units}, of which {found.reaching} reach {found.minimum_rate_hz:g} Hz in the reference window",
        ),
        ("regions", _region_text(recording)),
        *([("quality", _quality_text(recording))] if recording.quality_column else []),
        (
            "valid time",
            f"{minutes(session.domain.hull_s)}{pieces if len(session.domain) > 1 else ''}: {recording.valid_from}, "
            f"{one_line(recording.valid_why)}",
        ),
        ("reference", minutes(found.reference.hull_s) if len(found.reference) else "none"),
    ]
    if len(found.part):
        facts.append(
            (
                "forecast",
                f"{minutes(found.part.hull_s)}, {found.windows} windows of {found.lengths.context_s:g} s of context "
                f"and {found.lengths.horizon_s:g} s of horizon",
            )
        )
    if named := [one.as_text() for one in found.fits if one.name]:
        facts.append(("networks", "; ".join(named)))
        chosen = " or ".join(found.networks) + (", by its features" if len(found.networks) > 1 else "")
        facts.append(("counted with", chosen if found.windows else f"{chosen}, though none has a window"))
        facts.append(("preparation", recording.preparation_why))
    if recording.excluded:
        named = [f"{unit} ({why})" for unit, why in recording.excluded.items()]
        facts.append(("excluded", f"{len(named)} units: {one_line(list_names(named, _SHOWN))}"))
    if found.noise_note:
        facts.append(("no neurons?", found.noise_note))
    return facts


def _region_text(recording: NwbRecording) -> str:
    regions = _regions(recording.session)
    if recording.region_column is None:
        return "none"
    named = [f"{one_line(name)} {count}" for name, count in regions.items() if name]
    unknown = f", unknown {regions['']}" if "" in regions else ""
    return f"column {recording.region_column}: {list_names(named, _SHOWN)}{unknown}"


def _quality_text(recording: NwbRecording) -> str:
    column, labels = recording.quality_column, _labels(recording)
    named = list_names([f"{one_line(name) or 'empty'} {count}" for name, count in labels.items()], _SHOWN)
    if len(labels) < 2:
        return f"column {column}: {named}"
    return f"column {column}: {named}; all of these are used, --keep {column}=VALUE uses some"


def _labels(recording: NwbRecording) -> dict[str, int]:
    """Return the number of units with each label of quality, the most first."""
    if recording.quality_column is None:
        return {}
    return dict(Counter(map(str, recording.session.units[recording.quality_column].tolist())).most_common())


def _regions(session: Session) -> dict[str, int]:
    """Return the number of units of each region, the largest first; "" is an unknown region."""
    return dict(Counter(session.units["region"].tolist()).most_common())


def _bounds(intervals: Intervals) -> dict[str, float | None]:
    start_s, stop_s = intervals.hull_s if len(intervals) else (None, None)
    return {"start_s": start_s, "stop_s": stop_s, "duration_s": _seconds(intervals)}


def _seconds(intervals: Intervals) -> float:
    return intervals.duration_us / MICROSECONDS
