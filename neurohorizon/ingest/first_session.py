"""One session of an archive, compared with the numbers that are known of it.

A number that is known from no publication is recorded by the first run and compared by later ones.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurohorizon.files import replacing
from neurohorizon.session import read_identity, read_size, read_stimuli, read_trials

HASHES = ("sha256", "sha1", "md5")
_SHOWN = 2


class FirstSessionError(ValueError):
    """A session differs from what is expected; the message has both values."""


def check_first_session(
    *, session: Path, manifest: Path, expected: Mapping[str, Any], recorded: Path, output: Path
) -> None:
    """Compare a session with expected and recorded numbers, print them, and write them all as JSON.

    Args:
        session: Session file.
        manifest: List of its downloaded files.
        expected: Number by name; None if none is known.
        recorded: Numbers of an earlier run, JSON; written by the first one. It is no output of the rule, which would
            be deleted before the next run.
        output: Numbers found, expected, and the origin of what was expected.

    Raises:
        FirstSessionError: A number differs, or an expected one does not exist.
    """
    found = measure(session, manifest)
    name = read_identity(session)["session"]
    if unknown := expected.keys() - found.keys():
        raise FirstSessionError(
            f"session {name} has no number called {', '.join(sorted(unknown))}; it has {', '.join(found)}: correct "
            "config/cohorts/first_session.yaml"
        )
    earlier = json.loads(recorded.read_text()) if recorded.is_file() else {}
    known = {key: (value, str(recorded)) for key, value in earlier.items()}
    known |= {key: (value, "config/cohorts/first_session.yaml") for key, value in expected.items() if value is not None}
    faults = [
        f"{key}: found {found.get(key)}, expected {value} ({origin})"
        for key, (value, origin) in known.items()
        if found.get(key) != value
    ]
    if faults:
        more = f" (and {len(faults) - _SHOWN} more)" if len(faults) > _SHOWN else ""
        raise FirstSessionError(
            f"session {name} is not as expected: {'; '.join(faults[:_SHOWN])}{more}\n"
            "If the archive or the reader was changed on purpose, correct or delete the file in brackets."
        )
    rows = [
        {"name": key, "found": value, "expected": known.get(key, (None,))[0], "origin": known.get(key, ("", ""))[1]}
        for key, value in found.items()
    ]
    print("\n".join(_lines(name, rows)), file=sys.stderr)
    with replacing(recorded) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
    with replacing(output) as temporary:
        temporary.write_text(json.dumps({"session": name, "numbers": rows}, indent=1) + "\n")


def measure(session: Path, manifest: Path) -> dict[str, Any]:
    """Return the numbers of a session by name: of its contents, and size and hash of each downloaded file."""
    size, listed = read_size(session), json.loads(Path(manifest).read_text())
    found = {
        "subject": read_identity(session)["subject"],
        "units": size["units"],
        "spikes": size["spikes"],
        "valid_s": round(size["recorded_s"], 6),
        "trials": _length(read_trials(session)),
        "stimuli": _length(read_stimuli(session)),
    }
    if "session_type" in listed:
        found["session_type"] = listed["session_type"]
    files = listed["files"]
    for entry in files.values() if isinstance(files, dict) else files:
        place = entry.get("name", entry["path"])
        found[f"bytes of {place}"] = entry["size"]
        found |= {f"{kind} of {place}": entry[kind] for kind in HASHES if entry.get(kind)}
    return found


def _length(columns: Mapping[str, Any]) -> int:
    return len(next(iter(columns.values()), ()))


def _lines(name: str, rows: list[dict[str, Any]]) -> list[str]:
    width = max(len(row["name"]) for row in rows)
    states = {True: "as expected", False: "recorded now, compared by later runs"}
    return [f"session {name}:"] + [
        f"  {row['name']:<{width}}  {row['found']}  {states[bool(row['origin'])]}" for row in rows
    ]
