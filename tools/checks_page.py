"""Write docs/checks.md: every check of a session, and every threshold with its reason."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from factories.bent_sessions import SPIKE_EXAMPLES  # noqa: E402

from neurohorizon.ingest.checks import CHECKS, READER_FINDINGS  # noqa: E402
from neurohorizon.ingest.spike_checks import check_spikes  # noqa: E402
from neurohorizon.ingest.thresholds import THRESHOLDS  # noqa: E402

PAGE = ROOT / "docs" / "checks.md"


def page() -> str:
    """Return the text of the page."""
    lines = ["# Checks of a session", "", "Written by `make checks`.", ""]
    lines += ["| codes | what is checked | checked on | thresholds |", "|---|---|---|---|"]
    for check in CHECKS:
        codes, limits = (", ".join(f"`{name}`" for name in names) for names in (check.codes, check.limits))
        lines.append(f"| {codes} | {check.function.__doc__.splitlines()[0]} | {check.of} | {limits} |")
    lines += ["", "## Examples of spikes as read", "", "| code | severity | message |", "|---|---|---|"]
    for code, bent in SPIKE_EXAMPLES.items():
        found = next(finding for finding in check_spikes(bent()) if finding.code == code)
        lines.append(f"| `{code}` | {found.severity} | {found.message} |")
    lines += ["", "## Warnings of the reader of NWB files", "", "| code | what was found |", "|---|---|"]
    lines += [f"| `{code}` | {found} |" for code, found in READER_FINDINGS.items()]
    lines += ["", "## Thresholds", "", "| name | value | unit | reason |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {one.value:g} | {one.unit} | {one.reason} |" for name, one in THRESHOLDS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
