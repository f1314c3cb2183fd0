"""Disk, downloads and memory that a run needs, with the source of each figure.

The figures are in one place: `make doctor` compares them with this machine, the README prints them as a table
(``PYTHONPATH=. python workflow/needs.py``), and ``benchmarks/cost.py`` uses the sizes of recordings and files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from layout import Layout

from neurohorizon.cohort import Row
from neurohorizon.config import Config
from neurohorizon.sources import SOURCES

FORECAST_BYTES = 1.7
"""Bytes of a forecast file for each window, bin and unit: compressed, mean over methods, measured in the demo."""
SPIKE_BYTES = 10.0
"""Bytes of a session file for each spike: a time of 8 bytes and a unit of 2, not compressed."""
SECOND_BYTES = 3000.0
"""Bytes of a session file for each second: behaviour series, stimuli and trials; measured in the demo."""
ENVIRONMENT_BYTES = 4.6e9
"""All environments of rules, measured."""
DOWNLOAD_RATE = 10e6
"""Bytes per second of all downloads together: eight at once, at 1.24 MB/s each, as measured by others for the Allen
bucket. Only for estimates of time."""


@dataclass(frozen=True)
class Recording:
    """Size of a typical recording.

    Attributes:
        units: Units that pass the filters.
        minutes: Valid time.
        rate_hz: Mean rate of a unit.
    """

    units: float
    minutes: float
    rate_hz: float

    @property
    def spikes(self) -> float:
        """Spikes of all units."""
        return self.units * 60 * self.minutes * self.rate_hz

    @property
    def session_bytes(self) -> float:
        """Size of the session file."""
        return self.spikes * SPIKE_BYTES + 60 * self.minutes * SECOND_BYTES

    def forecast_bytes(self, config: Config) -> float:
        """Return the size of one method's forecasts of the recording, if it is held out."""
        test_s = 60 * self.minutes * (1 - config.splits.reference_fraction)
        windows = 1000 * test_s / (config.timeline.evaluation_stride_bins * config.timeline.bin_ms)
        return windows * config.timeline.horizon_bins * self.units * FORECAST_BYTES


TYPICAL = {"ibl": Recording(165, 75.0, 12.2), "allen": Recording(690, 150.0, 5.0)}
"""Published: 75 708 units in 459 sessions and 4.15 G spikes (IBL), 40 010 units in 58 (Allen). The lengths and the
Allen rate are round numbers."""


@dataclass(frozen=True)
class Download:
    """Bytes that a source downloads in one mode.

    Attributes:
        whole: Bytes that do not depend on the sessions.
        per_session: Bytes of each session.
        per_probe: Bytes of each probe.
        origin: Origin of the figures.
        account: Whether the archive needs an account.
    """

    whole: float = 0.0
    per_session: float = 0.0
    per_probe: float = 0.0
    origin: str = ""
    account: bool = False

    def of(self, sessions: int, probes: int) -> float:
        """Return the bytes of a number of sessions and their probes."""
        return self.whole + self.per_session * sessions + self.per_probe * probes


DOWNLOADS = {
    ("ibl", "archive"): Download(whole=8.93e9, origin="listed by the archive"),
    ("ibl", "remote"): Download(
        per_probe=240e6, origin="estimate: 12 bytes a spike, 20 million spikes a probe", account=True
    ),
    ("allen", "remote"): Download(
        whole=1.0e9, per_session=146e9 / 58, origin="listed by the archive; images: estimate"
    ),
    ("dandi", ""): Download(origin="any size"),
}
"""Downloads by source and mode ("" if it has none); sources and modes that are not listed download nothing."""


@dataclass(frozen=True)
class Count:
    """Number of sessions of a source that a run uses, of their probes, and of those that are held out."""

    sessions: int
    probes: int
    held_out: int


PAPER = {"ibl": Count(430, 654, 74), "allen": Count(58, 332, 9)}
"""The paper's cohort, for a machine on which its table is not made yet."""


@dataclass(frozen=True)
class Need:
    """Disk space that a run needs.

    Attributes:
        folder: Folder that takes it.
        what: Kind of files.
        size: Bytes.
    """

    folder: str
    what: str
    size: float


def downloads_of(config: Config) -> dict[str, Download]:
    """Return the sources that download their sessions, with the figures of their mode."""
    used = {source: section for source in SOURCES if (section := getattr(config.sources, source))}
    modes = {source: (source, getattr(section, "mode", "")) for source, section in used.items()}
    return {source: DOWNLOADS[mode] for source, mode in modes.items() if mode in DOWNLOADS}


def counted(config: Config, rows: Sequence[Row] | None) -> dict[str, Count]:
    """Count the sessions of each source; without a table, those of the paper.

    Args:
        config: The configuration.
        rows: Sessions of the run, or None if a job of the run makes the table.
    """
    if rows is None:
        return {source: PAPER[source] for source in PAPER if getattr(config.sources, source)}
    found = {}
    for source in dict.fromkeys(row.source for row in rows):
        own = [row for row in rows if row.source == source]
        probes = sum(len(row.probe_names) or 1 for row in own)
        held_out = sum(row.role in ("heldout", "rotate") for row in own)
        found[source] = Count(len(own), probes, held_out)
    return found


def recording_of(source: str, config: Config) -> Recording | None:
    """Return the size of a source's typical recording; None if it depends on the user's files."""
    if source == "ibl" and (simulated := config.sources.simulated):
        return Recording(sum(simulated.units) / 2, simulated.duration_s / 60, 6.0)
    if source == "allen" and (shown := config.sources.simulated_allen):
        # a scene and its gray take 0.5 s, a grating 3 s; each block starts with 10 s of gray
        block_s = shown.movie_s * shown.movie_repeats + 0.5 * shown.scenes + 3 * shown.gratings + 10
        return Recording(sum(shown.units) / 2, shown.blocks * block_s / 60, 6.0)
    return TYPICAL.get(source)


def forecasts_of_a_session(config: Config, source: str) -> int:
    """Return the number of forecast files of one held-out session."""
    row = Row("one", source, "animal", "lab", "", "heldout", "fold", "")
    layout = Layout(config, lambda: [row], lambda: "")
    return len(layout.session_forecasts(SimpleNamespace(fold="fold", session="one")))


def needs(config: Config, rows: Sequence[Row] | None) -> list[Need]:
    """Return the disk space of downloads, session files and forecasts; all other files are small.

    A size of 0 is not estimated: it depends on the user's own files.

    Args:
        config: The configuration.
        rows: Sessions of the run, or None if a job of the run makes the table.
    """
    found: list[Need] = []
    sizes = {"session files": 0.0, "forecasts": 0.0}
    downloads = downloads_of(config)
    for source, count in counted(config, rows).items():
        if source in downloads:
            size = downloads[source].of(count.sessions, count.probes)
            found.append(Need(getattr(config.sources, source).folder, f"{source} downloads", size))
        if one := recording_of(source, config):
            sizes["session files"] += count.sessions * one.session_bytes
            files = count.held_out * forecasts_of_a_session(config, source)
            sizes["forecasts"] += files * one.forecast_bytes(config)
        else:
            found.append(Need(config.run.results, f"results of {source} sessions", 0.0))
    return found + [Need(config.run.results, what, size) for what, size in sizes.items() if size]


def table() -> str:
    """Return the README's table of the paper's downloads, in Markdown."""
    lines = [
        "| source, `mode` | account | downloads | hours at 10 MB/s | session files (estimate) |",
        "|---|---|---|---|---|",
    ]
    for (source, mode), download in DOWNLOADS.items():
        if source not in PAPER:
            continue
        count = PAPER[source]
        size = download.of(count.sessions, count.probes)
        files = count.sessions * TYPICAL[source].session_bytes
        name = {"ibl": "IBL", "allen": "Allen"}[source]
        hours = f"{size / DOWNLOAD_RATE / 3600:.2g}"
        account = "needed" if download.account else "none"
        cells = [f"{size / 1e9:.0f} GB ({download.origin})", hours, f"{files / 1e9:.0f} GB"]
        lines.append(f"| {name}, `{mode}` | {account} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
