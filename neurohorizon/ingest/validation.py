"""Runs the checks on a session, and writes their findings as JSON.

A fatal finding means that the session cannot be trained on or forecast; :func:`require_usable` stops it
before its file is written. Warnings are for people: nothing downstream reads them. All checks are listed in
:mod:`neurohorizon.ingest.checks`; the picture is drawn by :mod:`neurohorizon.ingest.validation_figure`.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from neurohorizon.config import Splits as SplitSettings
from neurohorizon.config import Timeline
from neurohorizon.files import replacing
from neurohorizon.ingest.checks import check_session
from neurohorizon.ingest.findings import Finding, decode_findings
from neurohorizon.ingest.session_checks import Settings, count_windows
from neurohorizon.ingest.unit_checks import Proposal, exclusion_line, propose_exclusions
from neurohorizon.session import Session, SessionError
from neurohorizon.timeline import MICROSECONDS


@dataclass(frozen=True)
class Report:
    """Findings on a session, and the numbers behind them.

    Attributes:
        session: Session id.
        source: Kind of release.
        subject: Animal.
        lab: Laboratory.
        date: ISO date.
        left_out: Why ingest left the session out; None where it did not.
        summary: Units, spikes, seconds of valid time, windows of each part; empty for one left out.
        findings: Fatal ones first.
        proposals: Units that are no single neuron, each with the reason.
        exclude: Line for the section ``cohort`` of the configuration that excludes them; "" without proposals.
    """

    session: str
    source: str
    subject: str
    lab: str
    date: str
    left_out: str | None
    summary: dict[str, float]
    findings: tuple[Finding, ...]
    proposals: tuple[Proposal, ...] = ()
    exclude: str = ""

    @property
    def fatal(self) -> tuple[Finding, ...]:
        """Findings because of which the session cannot be used."""
        return tuple(finding for finding in self.findings if finding.severity == "fatal")


def validate_session(session: Session, *, timeline: Timeline, splits: SplitSettings) -> Report:
    """Check a session.

    Args:
        session: The record as read or as ingest made it.
        timeline: Bins and windows that it must have room for.
        splits: For the gap between the halves of its training part.
    """
    if session.left_out is not None:
        summary: dict[str, float] = {}
        proposals: tuple[Proposal, ...] = ()
        findings = [Finding("left_out", "fatal", f"left out: {session.left_out}", 1)]
    else:
        summary, proposals = _summary(session, timeline), propose_exclusions(session)
        found = decode_findings(session.provenance.get("findings", ""))
        found += tuple(check_session(session, Settings(timeline=timeline, splits=splits)))
        findings = sorted(_without_echoes(found), key=lambda finding: finding.severity != "fatal")
    return Report(
        session=session.session_id,
        source=session.source,
        subject=session.subject,
        lab=session.lab,
        date=session.date,
        left_out=session.left_out,
        summary=summary,
        findings=tuple(findings),
        proposals=proposals,
        exclude=exclusion_line(session, proposals),
    )


def _without_echoes(findings: tuple[Finding, ...]) -> list[Finding]:
    """Drop findings that repeat one of the reader with less detail, and empty parts where the clock is wrong."""
    wrong_clock = any(finding.severity == "fatal" and finding.code != "no_spikes" for finding in findings)
    kept: dict[tuple, Finding] = {}
    for finding in findings:
        if finding.code == "no_spikes" and wrong_clock:
            continue
        key = (finding.code,) if finding.code == "outside_domain" else (finding.code, finding.message)
        kept.setdefault(key, finding)
    return list(kept.values())


def require_usable(session: Session, *, timeline: Timeline, splits: SplitSettings) -> None:
    """Refuse a session with a fatal finding.

    Raises:
        SessionError: Its fatal findings, in words.
    """
    fatal = validate_session(session, timeline=timeline, splits=splits).fatal
    if fatal:
        shown = [finding.message for finding in fatal[:2]]
        others = [f"and {len(fatal) - 2} more fatal findings"] if len(fatal) > 2 else []
        raise SessionError(f"{session.session_id}: " + "; ".join([*shown, *others]))


def write_report(path: str | Path, report: Report) -> None:
    """Write a report as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _summary(session: Session, timeline: Timeline) -> dict[str, float]:
    parts = {name: getattr(session.splits, name) for name in ("reference", "test", "train", "validation")}
    return {
        "units": session.n_units,
        "spikes": len(session.spike_times_us),
        "trials": len(session.trials["start"]),
        "presentations": len(session.stimuli["start"]),
        "intervals": len(session.domain),
        "valid_s": session.domain.duration_us / MICROSECONDS,
        **{f"{name}_s": part.duration_us / MICROSECONDS for name, part in parts.items()},
        **{f"{name}_windows": count_windows(part, timeline) for name, part in parts.items()},
    }
