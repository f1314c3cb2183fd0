"""Findings: what is wrong or odd in a session, found by the readers and by the checks."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

Severity = Literal["fatal", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd.

    Attributes:
        code: Kind, such as ``silence``.
        severity: ``fatal``: the session cannot be used. ``warning``: a person should look at it.
        message: What was found, where and how much, and what to do.
        count: Number of spikes, units, intervals, or whatever the message counts.
    """

    code: str
    severity: Severity
    message: str
    count: int


@dataclass
class Notes:
    """What a reader finds and repairs on the way.

    Attributes:
        findings: Findings so far.
        repairs: Numbers by code, for :class:`neurohorizon.session.Session`.
    """

    findings: list[Finding] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)

    def add(self, code: str, message: str, count: int = 1) -> None:
        """Add a warning."""
        self.findings.append(Finding(code, "warning", message, count))

    def drop(self, code: str, message: str, count: int) -> None:
        """Add a warning, and its count to the repairs; nothing if nothing was dropped."""
        if count:
            self.add(code, message, count)
            self.repairs[code] = self.repairs.get(code, 0) + count


def encode_findings(findings: Iterable[Finding]) -> str:
    """Write findings as JSON text, for the provenance of a session."""
    return json.dumps([asdict(finding) for finding in findings], ensure_ascii=False)


def decode_findings(text: str) -> tuple[Finding, ...]:
    """Read findings from the provenance of a session; "" gives none."""
    return tuple(Finding(**values) for values in json.loads(text or "[]"))


def list_names(names: Sequence[object], most: int = 5) -> str:
    """Join the first names with commas; ``...`` replaces the others."""
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")
