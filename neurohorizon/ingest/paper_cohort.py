"""The paper's cohort, made from the public release tables.

Input is what the archives publish: the IBL Brain-Wide Map release (one row an insertion) and the Allen
Visual Coding Neuropixels session table. Output is one table of one row a session. The draw is by animal,
stratified by lab (IBL) or session type (Allen), and depends only on the seed and on the names of the
animals of the stratum: the order of the release's rows changes nothing.
"""

import csv
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from neurohorizon.cohort import CohortError, Row, check_new, freeze_cohort

IBL_COLUMNS = ("pid", "eid", "probe_name", "session_number", "date", "subject", "lab")
ALLEN_COLUMNS = ("id", "date_of_acquisition", "specimen_id", "session_type")
FOLD = "main"


def make_cohort(
    output: Path,
    *,
    ibl_table: Path,
    allen_table: Path,
    reserved: Path,
    heldout_fraction: float,
    seed: int,
    force: bool = False,
) -> None:
    """Make the cohort table and record its hash next to it.

    A cohort is frozen once made: an existing table is not made again, and a table that is made again must have
    the hash that is already recorded. ``force`` overrules both.

    Args:
        output: The table; ``{output}.sha256`` holds its hash.
        ibl_table: Release table of the IBL, comma-separated, with :data:`IBL_COLUMNS`.
        allen_table: Session table of the Allen Institute, comma-separated, with :data:`ALLEN_COLUMNS`.
        reserved: List of IBL session ids never to be used; see :func:`read_reserved`.
        heldout_fraction: Share of each stratum's animals that is held out.
        seed: Seed of the draw.
        force: Make the table again and record the hash that comes out.

    Raises:
        CohortError: The table is there, a release table does not fit, or the hash is another than recorded.
    """
    check_new(output, force=force)
    rows = [
        *ibl_rows(
            read_release(ibl_table, IBL_COLUMNS),
            reserved=read_reserved(reserved),
            heldout_fraction=heldout_fraction,
            seed=seed,
        ),
        *allen_rows(read_release(allen_table, ALLEN_COLUMNS), heldout_fraction=heldout_fraction, seed=seed),
    ]
    settings = f"these release tables with seed {seed} and heldout_fraction {heldout_fraction}"
    freeze_cohort(output, rows, made_from=settings, force=force)


def ibl_rows(
    insertions: Iterable[Mapping[str, str]], *, reserved: frozenset[str], heldout_fraction: float, seed: int
) -> tuple[Row, ...]:
    """One row a session from the IBL's one row an insertion.

    Sessions in ``reserved`` get that role. Other sessions of their animals are held out, never trained on:
    a model trained on them would know the animals that the benchmark takes to be new. They come on top of the
    share, which is taken of the lab's other animals.

    Raises:
        CohortError: Two insertions of a session disagree, or a reserved session is not in the release.
    """
    probes = defaultdict(set)
    sessions: dict[str, Mapping[str, str]] = {}
    for insertion in insertions:
        eid = insertion["eid"]
        known = sessions.setdefault(eid, insertion)
        for name in ("session_number", "date", "subject", "lab"):
            if insertion[name] != known[name]:
                raise CohortError(f"insertions of session {eid} disagree: {name} {known[name]!r}, {insertion[name]!r}")
        probes[eid].add(insertion["probe_name"])
    absent = sorted(reserved - set(sessions))
    if absent:
        raise CohortError(
            f"{len(absent)} of {len(reserved)} reserved sessions are not in the IBL release table, such as "
            f"{absent[0]}: is it the Brain-Wide Map release of 2023-12?"
        )
    benchmark = {sessions[eid]["subject"] for eid in reserved}
    strata = defaultdict(set)
    for session in sessions.values():
        if session["subject"] not in benchmark:
            strata[session["lab"]].add(session["subject"])
    heldout = {
        name
        for lab in strata.values()
        for name in draw_animals(lab, source="ibl", heldout_fraction=heldout_fraction, seed=seed)
    }
    rows = []
    for eid, session in sessions.items():
        subject = session["subject"]
        if eid in reserved:
            role, why = "reserved", "held out by the IBL Brain-Wide Bench"
        elif subject in benchmark:
            role, why = "heldout", "the animal has a recording that the IBL Brain-Wide Bench holds out"
        else:
            role, why = _drawn(subject in heldout, stratum=session["lab"], seed=seed)
        rows.append(
            Row(
                session=eid,
                source="ibl",
                subject=subject,
                lab=session["lab"],
                date=session["date"][:10],
                role=role,
                fold=FOLD if role == "heldout" else "",
                why=why,
                extras={
                    "eid": eid,
                    "number": session["session_number"],
                    "probes": ",".join(sorted(probes[eid])),
                },
            )
        )
    return tuple(rows)


def allen_rows(sessions: Iterable[Mapping[str, str]], *, heldout_fraction: float, seed: int) -> tuple[Row, ...]:
    """One row a session of the Allen Institute; the animal is the specimen, the stratum the session type."""
    sessions = tuple(sessions)
    strata = defaultdict(set)
    for session in sessions:
        strata[session["session_type"]].add(session["specimen_id"])
    heldout = {
        name
        for stratum in strata.values()
        for name in draw_animals(stratum, source="allen", heldout_fraction=heldout_fraction, seed=seed)
    }
    rows = []
    for session in sessions:
        subject = session["specimen_id"]
        role, why = _drawn(subject in heldout, stratum=session["session_type"], seed=seed)
        rows.append(
            Row(
                session=session["id"],
                source="allen",
                subject=subject,
                lab="allen",
                date=session["date_of_acquisition"][:10],
                role=role,
                fold=FOLD if role == "heldout" else "",
                why=why,
                extras={"session_type": session["session_type"]},
            )
        )
    return tuple(rows)


def draw_animals(subjects: Iterable[str], *, source: str, heldout_fraction: float, seed: int) -> frozenset[str]:
    """The animals of one stratum to hold out: the share, rounded half up, at least one and never all.

    Animals are ordered by a hash of seed, source and name, so that the draw needs no generator and an
    animal more or less moves no other but at the edge.
    """
    ordered = sorted(
        set(subjects), key=lambda subject: hashlib.sha256(f"{seed}/{source}/{subject}".encode()).hexdigest()
    )
    wanted = max(1, math.floor(heldout_fraction * len(ordered) + 0.5))
    return frozenset(ordered[: min(wanted, len(ordered) - 1)])


def read_release(path: Path, columns: tuple[str, ...]) -> tuple[dict[str, str], ...]:
    """Read the named columns of a comma-separated release table, as text.

    Raises:
        CohortError: No such file, a column is absent, or a field of the named columns is empty.
    """
    if not path.is_file():
        raise CohortError(f"there is no release table {path}")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        absent = [name for name in columns if name not in (reader.fieldnames or [])]
        if absent:
            raise CohortError(f"{path} has no column {', '.join(absent)}; found {reader.fieldnames}")
        rows = tuple({name: (row[name] or "").strip() for name in columns} for row in reader)
    for line, row in enumerate(rows, start=2):
        if not all(row.values()):
            raise CohortError(f"{path} line {line}: no {', '.join(name for name in columns if not row[name])}")
    return rows


def write_release(path: Path, rows: Iterable[Mapping[str, str]], columns: tuple[str, ...]) -> None:
    """Write a release table as :func:`read_release` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


def read_reserved(path: Path) -> frozenset[str]:
    """Session ids, one a line; lines that start with ``#`` are comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _drawn(heldout: bool, *, stratum: str, seed: int) -> tuple[str, str]:
    if heldout:
        return "heldout", f"animal drawn to be held out, among those of {stratum}, seed {seed}"
    return "train", f"animal not drawn to be held out, among those of {stratum}, seed {seed}"
