"""Memory and time of the jobs of finished runs, for the table of resources (``workflow/resources.py``).

Reads the benchmark files of runs and Snakemake's records of their inputs, and prints one line for each rule or family
of rules of a run: its job with most memory and its longest job. A test compares the result with the table:

    PYTHONPATH=.:workflow .venv-test/bin/python benchmarks/job_sizes.py RESULTS [RESULTS ...] > benchmarks/job_sizes.tsv

A folder of results is inside of the folder in which Snakemake ran.
"""

import csv
import json
import os
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from resources import family_of

COLUMNS = ("run", "rule", "jobs", "memory_mb", "memory_input_mb", "seconds", "seconds_input_mb")


@dataclass(frozen=True)
class Job:
    """One job of a run.

    Attributes:
        rule: Its rule.
        memory_mb: Largest resident memory of its processes together, sampled.
        seconds: Wall time.
        input_mb: Size of its input files.
    """

    rule: str
    memory_mb: float
    seconds: float
    input_mb: float


def jobs_of(results: Path) -> list[Job]:
    """Read the jobs of a run whose benchmark files and records are there."""
    root = next((one for one in results.resolve().parents if (one / ".snakemake" / "metadata").is_dir()), None)
    if root is None:
        raise SystemExit(f"{results}: no folder above it has .snakemake/metadata; name the results of a run")
    found: dict[Path, Job] = {}
    for path in (root / ".snakemake" / "metadata").rglob("*"):
        if not path.is_file():
            continue
        record = json.loads(path.read_text())
        log = (record.get("log") or [""])[0]
        benchmark = root / log.replace("/logs/", "/benchmarks/").removesuffix(".log")
        benchmark = benchmark.with_name(f"{benchmark.name}.tsv")
        if benchmark in found or results.resolve() not in benchmark.parents or not benchmark.is_file():
            continue
        with benchmark.open() as lines:
            (row, *_) = csv.DictReader(lines, delimiter="\t")
        inputs = [root / one for one in record["input"]]
        size = sum(os.path.getsize(one) for one in inputs if one.is_file()) / 1e6
        memory = 0.0 if row["max_rss"] in ("NA", "-") else float(row["max_rss"])  # a job of less than a second
        found[benchmark] = Job(record["rule"], memory, float(row["s"]), size)
    return list(found.values())


def rows_of(run: str, jobs: list[Job]) -> list[tuple]:
    """Return one row for each rule: the job with most memory and the longest job."""
    by_rule: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_rule[family_of(job.rule)].append(job)
    rows = []
    for rule, own in sorted(by_rule.items()):
        most = max(own, key=lambda job: job.memory_mb)
        longest = max(own, key=lambda job: job.seconds)
        numbers = (most.memory_mb, most.input_mb, longest.seconds, longest.input_mb)
        rows.append((run, rule, len(own), *(f"{one:.1f}" for one in numbers)))
    return rows


def main(folders: list[str]) -> None:
    """Print the rows of all runs."""
    print("\t".join(COLUMNS))
    for folder in map(Path, folders):
        for row in rows_of(folder.name, jobs_of(folder)):
            print("\t".join(map(str, row)))


if __name__ == "__main__":
    main(sys.argv[1:])
