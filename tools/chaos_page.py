"""Write docs/reliability.md from the faults of a campaign."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
HEAD = """# Reliability

<!-- Made by `make chaos`. Do not edit: the next campaign replaces it. -->

What happens to a run if its processes are killed, its disk is full, or a file changes behind its back? `make chaos`
does all of this to a small run of the whole workflow, on purpose: from a simulated release to the report, with every
kind of file on the way. After each fault the same command is started again, as a user would. The end is good in two
cases only: the tables are the same, byte for byte, as those of an undisturbed run; or the run stops, and names the file
and what to do. Other tables, a bare traceback, or half a file count as harm.
"""
OUTCOMES = {
    "same": "same tables",
    "went on": "went on",
    "refused, then went on": "refused while a job of the killed run worked, then went on",
    "named": "stopped, named the file and what to do",
    "named by make verify": "`make verify` names it",
    "set aside": "set aside with a line, same weights",
    "skipped": "skipped: it needs root",
    "harm": "**harm**",
}
WORDS = {"group": "all processes", "scheduler": "only Snakemake's main process", "job": "the process of one job"}
KILLS = """## Kills

`kill -9` at random moments, several in a row, until the run is at its end. A job that was killed starts again. If only
the main process is killed, its job goes on; the next start refuses to disturb it and names its process, and starts when
it has ended. Nobody unlocks a folder. A training continues from its last checkpoint, which the lost work here does not
contain: it counts the whole job, as a share of the undisturbed run. In a long run it is the same number of seconds.
"""
DISKS = """## Full disks

A disk with too little space for the forecasts, scores and pages of the run, enlarged step by step; then one for the
whole working folder. Its size is a share of what is still to be written. No half file is left, and after the last step
the tables are the same.
"""
DAMAGE = """## Damaged files

A file between two starts is cut at a random place, or one random bit of it is flipped; then what reads it runs again.
Each file of a run has a record next to it (`.NAME.crc32`) of its CRC-32 and its length, and each job compares its input
with it; downloaded recordings have the hashes of their release. A file that no rule reads is found by `make verify`.
The comparison takes 0.4 to 0.7 ms for each megabyte: up to a fifth of the time in which a session file is read, 4 to
8 % of that of a file of forecasts, 2 % of that of sums; a job itself takes seconds.
"""
END = """## What is not covered

- A record finds faults, not forgeries: [SECURITY.md](../SECURITY.md). A file that a kill left between its last byte and
  its record has no check.
- Files that no job of the workflow wrote: a table of sessions, recordings in your own folder, environments. Snakemake's
  own files in `.snakemake`: without them, jobs run again.
- The logs of jobs, and the log of a training in its folder of checkpoints: no table depends on them.
- Damage in memory, and a disk that returns other bytes at each reading.
- Nodes without a shared folder: an object store has its own checksums, and records stay where the job ran.
- Failures of power: what the operating system has not written yet is gone, whatever a program does.

To repeat the campaign: `make chaos`, or `make chaos CHAOS="--seed 1 --kills 50"` for other moments and places. Stopped
and started again, it continues. Full disks need root.
"""


def write_page(faults: Sequence[dict], seed: int) -> None:
    """Write the page."""
    whole = next(one for one in faults if one["fault"] == "none")
    kills = [one for one in faults if one["fault"] == "kill"]
    ends = [one for one in faults if one["fault"] == "kill end"]
    disks = [one for one in faults if one["fault"] in ("disk", "disk end")]
    damages = [one for one in faults if one["fault"].startswith("damage")]
    together = next((one for one in faults if one["fault"] == "all kinds"), None)
    done = [*kills, *(one for one in disks if one["fault"] == "disk"), *damages]
    harm = sum(one["outcome"] == "harm" for one in faults)
    lines = [
        HEAD,
        f"The last campaign (seed {seed}): {len(done)} faults, of which {harm or 'none'} did harm. The undisturbed\n"
        f"run has {whole['jobs']} jobs and {whole['tables']} tables.\n",
        KILLS,
        *_kill_table(kills, whole["wall_s"]),
        f"\nRuns that were killed and came to their end: {_outcomes(ends)}; kills in them: {len(kills)}.\n",
        DISKS,
        "| on the small disk | size | outcome |",
        "|---|---|---|",
        *(_disk_row(one) for one in disks),
        "",
        DAMAGE,
        "| kind of file | cut | one bit |",
        "|---|---|---|",
        *_damage_rows(damages),
        *_together(together),
        "",
        END,
    ]
    PAGE.write_text("\n".join(lines).rstrip("\n") + "\n")


def _together(fault: dict | None) -> list[str]:
    if fault is None:
        return []
    kinds, starts, deleted = (fault.get(name, 0) for name in ("damaged", "starts", "deleted"))
    same = "not the same" if fault["outcome"] == "harm" else "the same"
    return [
        "",
        f"With one bit flipped in a file of each of {kinds} kinds at once, and each file deleted that a message named,",
        f"the tables were {same} after {starts} starts and {deleted} deleted files.",
    ]


def _kill_table(kills: Iterable[dict], whole_s: float) -> list[str]:
    rows = [
        "| killed | number | during a job | started again | work lost, median | most |",
        "|---|---|---|---|---|---|",
    ]
    for what, words in WORDS.items():
        some = [one for one in kills if one["name"] == what]
        lost = [one["lost_s"] / whole_s for one in some if one.get("jobs")]
        shares = f"{median(lost):.1%} | {max(lost):.1%}" if lost else "none | none"
        rows.append(f"| {words} | {len(some)} | {len(lost)} | {_outcomes(some)} | {shares} |")
    return rows


def _outcomes(faults: Iterable[dict]) -> str:
    found = Counter(one["outcome"] for one in faults)
    return "; ".join(f"{found[name]} {words}" for name, words in OUTCOMES.items() if found[name])


def _disk_row(fault: dict) -> str:
    place, _, share = fault["name"].partition(", ")
    words = {"results": "the results", "notebook": "the results", "project": "the whole working folder"}[place]
    share = f"{share} of a notebook" if place == "notebook" and share else share
    return f"| {words} | {share.replace('%', ' %') or 'enough'} | {OUTCOMES[fault['outcome']]} |"


def _damage_rows(damages: Sequence[dict]) -> list[str]:
    rows = []
    for kind in dict.fromkeys(one["name"] for one in damages):
        found = {
            one["fault"].removeprefix("damage: "): OUTCOMES[one["outcome"]] for one in damages if one["name"] == kind
        }
        rows.append(f"| {kind} | " + " | ".join(found.get(way, "") for way in ("cut", "one bit")) + " |")
    return rows
