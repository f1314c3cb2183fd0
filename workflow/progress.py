"""Lines for the start and the end of a run: about downloads, and the reasons of failed jobs.

Downloads are counted from the lists of files that their jobs wrote. The lists are read, the files are not. Only sources
that download their sessions have lines.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from needs import Download, downloads_of

from neurohorizon.cohort import Row
from neurohorizon.config import Config
from neurohorizon.files import bytes_as_text

_FAILED = re.compile(r"^Error in rule (\w+):\n(?:    .*\n)*?    log: (\S+)", flags=re.M)
_LONGEST_REASON = 3


@dataclass(frozen=True)
class Downloaded:
    """Downloads of one source.

    Attributes:
        sessions: Rows of the sessions of the run.
        there: Names of those whose files are listed.
        left_out: Names of those that cannot be downloaded.
        passing: Those of ``left_out`` that the next run tries again.
        whole: Whether the part that all sessions share is there.
        size: Bytes of all listed files; a file of several sessions counts once.
    """

    sessions: tuple[Row, ...]
    there: frozenset[str]
    left_out: frozenset[str]
    passing: frozenset[str]
    whole: bool
    size: int

    @property
    def missing(self) -> tuple[Row, ...]:
        """Sessions that a run downloads: those without a list, and those that are tried again."""
        done = self.there | (self.left_out - self.passing)
        return tuple(row for row in self.sessions if row.session not in done)


def read_downloads(config: Config, rows: Iterable[Row], source: str) -> Downloaded:
    """Read the lists of one source below the run's folder; a session without a readable list is not downloaded."""
    own = tuple(row for row in rows if row.source == source)
    there, left_out, passing, sizes = set(), set(), set(), {}
    for row in own:
        try:
            listed = json.loads(Path(config.run.results, "raw", source, f"{row.session}.json").read_text())
            if listed.get("left_out"):
                left_out.add(row.session)
                if listed.get("passing"):
                    passing.add(row.session)
                continue
            files = listed.get("files", ())
            for entry in files.values() if isinstance(files, dict) else files:
                sizes[entry["path"], entry.get("offset")] = int(entry["size"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
        there.add(row.session)
    # an archive of all sessions has its own lists; otherwise the shared part came with the first session
    whole = bool(there) or any(Path(config.run.results, "raw", f"{source}_archive").glob("*.json"))
    return Downloaded(own, frozenset(there), frozenset(left_out), frozenset(passing), whole, sum(sizes.values()))


def lines_at_start(config: Config, rows: Sequence[Row] | None) -> list[str]:
    """Return a line for each source that downloads: what is there, and what is to be fetched.

    Args:
        config: The configuration.
        rows: Sessions of the run, or None if a job of the run makes the table.
    """
    downloads = downloads_of(config)
    if rows is None:
        return ["Downloads: counted when the cohort table is there; a job of this run makes it."] if downloads else []
    return [
        f"Downloads of {source}: {_at_start(found, downloads[source])}."
        for source in downloads
        if (found := read_downloads(config, rows, source)).sessions
    ]


def lines_at_success(config: Config, rows: Sequence[Row] | None) -> list[str]:
    """Return a line for each source with finished downloads: what is there, and what is left out."""
    found = {source: read_downloads(config, rows or (), source) for source in downloads_of(config)}
    return [f"Downloads of {source}: {_at_end(one)}." for source, one in found.items() if one.there or one.left_out]


def lines_at_error(config: Config, rows: Sequence[Row] | None) -> list[str]:
    """Return the lines of :func:`lines_at_success`, and what to do if some sessions are not downloaded yet."""
    missing = [read_downloads(config, rows or (), source).missing for source in downloads_of(config)]
    advice = "Started again, the run continues its downloads: files and parts of files that are there are kept."
    return lines_at_success(config, rows) + ([advice] if any(missing) else [])


def reasons(logs: Iterable[str | Path]) -> list[str]:
    """Return the reason of each failed job, which Snakemake prints among its commands and settings.

    Args:
        logs: Snakemake's logs of the run.
    """
    found: dict[str, str] = {}
    logged = "".join(Path(log).read_text() for log in logs if Path(log).is_file())
    for rule, path in _FAILED.findall(logged):
        text = Path(path).read_text() if Path(path).is_file() else ""
        lines = [line for line in text.splitlines() if line.strip()][-_LONGEST_REASON:]
        # a message of one to three lines starts with the name of the function that the rule calls, or of an error
        starts = [number for number, line in enumerate(lines) if re.match(r"\w+: ", line)]
        reason = re.sub(r"^[a-z_0-9]+: ", "", "\n".join(lines[starts[-1] if starts else -1 :]))
        killed = f"its log {path} is empty; its process was perhaps killed, as for want of memory or disk"
        found[path] = f"{rule} failed: {reason or killed}"
    return list(found.values())


def remaining_bytes(config: Config, rows: Sequence[Row], source: str) -> float:
    """Return the bytes that a source still downloads, by the figures of :mod:`needs`."""
    return _remaining(read_downloads(config, rows, source), downloads_of(config)[source])


def _remaining(found: Downloaded, download: Download) -> float:
    if not found.missing:
        return 0.0
    probes = sum(len(row.probe_names) or 1 for row in found.missing)
    return download.of(len(found.missing), probes) - (download.whole if found.whole else 0.0)


def _at_start(found: Downloaded, download: Download) -> str:
    text = _share(found)
    if missing := len(found.missing):
        size = _remaining(found, download)
        text += f"; {missing} to fetch" + (f", about {bytes_as_text(size)}" if size else "")
    if found.passing:
        text += f", {len(found.passing)} of them tried again"
    if final := len(found.left_out - found.passing):
        text += f"; {final} left out"
    return text


def _at_end(found: Downloaded) -> str:
    text = _share(found)
    if waiting := len(found.sessions) - len(found.there) - len(found.left_out):
        text += f"; {waiting} not yet"
    if found.left_out:
        text += f"; {len(found.left_out)} left out"
    if found.passing:
        text += f", {len(found.passing)} of them for a passing reason: started again, these are tried again"
    return text


def _share(found: Downloaded) -> str:
    total = len(found.sessions)
    if not found.there:
        return f"none of {total} sessions is there"
    share = f"all {total}" if len(found.there) == total else f"{len(found.there)} of {total}"
    return f"{share} sessions are there" + (f" ({bytes_as_text(found.size)})" if found.size else "")
