"""Write docs/checks.md: every check of a session with an example, and every threshold with its reason."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from factories.bent_sessions import EXAMPLES  # noqa: E402

from neurohorizon.ingest.checks import CHECKS, READER_FINDINGS  # noqa: E402
from neurohorizon.ingest.thresholds import THRESHOLDS  # noqa: E402

PAGE = ROOT / "docs" / "checks.md"
HEAD = """# Checks of a session

<!-- Made by `make checks`. Do not edit: the next run replaces it. -->

Every session is checked when it is read, whatever its source. A **fatal** finding means that every later number would
be meaningless: the session stops the run, or is left out with its reason (`cohort.on_fatal: leave_out`). A **warning**
is for people: it is in the session's validation report and changes nothing. The checks are listed in
`neurohorizon/ingest/checks.py`, their thresholds in `neurohorizon/ingest/thresholds.py`. The examples are messages on
small recordings that were bent on purpose.
"""


def page() -> str:
    """Return the text of the page."""
    lines = [HEAD]
    for place in dict.fromkeys(check.of for check in CHECKS):
        lines += [f"## On {place}", ""]
        for check in (one for one in CHECKS if one.of == place):
            lines += [f"**{check.function.__doc__.splitlines()[0]}**", ""]
            if check.limits:
                lines += [f"Thresholds: {', '.join(f'`{name}`' for name in check.limits)}.", ""]
            lines += ["| code | severity | example |", "|---|---|---|"]
            for code in check.codes:
                found = next(finding for finding in EXAMPLES[code]() if finding.code == code)
                lines.append(f"| `{code}` | {found.severity} | {found.message} |")
            lines.append("")
    lines += [
        "## Warnings of the readers of NWB files and of IBL sessions",
        "",
        "| code | what was found |",
        "|---|---|",
    ]
    lines += [f"| `{code}` | {found} |" for code, found in READER_FINDINGS.items()]
    lines += ["", "## Thresholds", "", "| name | value | unit | reason |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {one.value:g} | {one.unit} | {one.reason} |" for name, one in THRESHOLDS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
