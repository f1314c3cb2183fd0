"""A cohort of multi-electrode arrays, made from the manifest of its recordings.

The manifest is a tab-separated table of one row a recording, in the folder of the NWB files. The cohort table has a
row for every recording; one that cannot be used has the role ``left_out`` and the reason.

All recordings of one animal or culture get one subject. An acute retina is recorded on one day, at one age; so where
a study's names show no animal, recordings of one age and genotype are one subject, which may hold several animals but
never a part of one. Recordings that share a spike train are the same recording under two names: only the first is
used, and their subjects are joined.
"""

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neurohorizon.cohort import CohortError, Row, check_new, freeze_cohort
from neurohorizon.config import ArrayCohort, NwbSource, Splits, Timeline
from neurohorizon.ingest.findings import list_names
from neurohorizon.ingest.nwb import ingest_nwb
from neurohorizon.ingest.paper_cohort import FOLD, draw_animals
from neurohorizon.ingest.validation import require_usable
from neurohorizon.session import Session, SessionError
from neurohorizon.timeline import MICROSECONDS

COLUMNS = ("session", "subject", "lab", "species", "age", "region", "genotype", "condition", "units", "spikes")
MARKS = {
    "charlesworth": r"TC\d+",
    "demas2003": r"(?<=CTRL_|..DR_)[A-Z]+(?=\d)",
    "stafford2009": r"\d{4}-\d\d-\d\d",
    "torborg2004": r"\d{4}-\d\d-\d\d",
}
"""Study -> the part of a recording's name that all recordings of an animal have in common.

``charlesworth``: number of the culture, whatever array, rig, day in vitro or drug follows. ``demas2003``: letters of
the litter. The others: day of the recording.
"""
FEWEST_SPIKES = 20
"""Spikes of a train that cannot be equal to another's by chance."""


@dataclass(frozen=True)
class Content:
    """What of a recording decides about its use.

    Attributes:
        trains: Hash of each unit's spike train of at least :data:`FEWEST_SPIKES` spikes, relative to its first spike.
        reference_s: Length of the reference window in seconds.
        active_units: Units whose mean rate in the reference window reaches the lowest rate that is scored.
        fault: Reason why the recording cannot be used; "" without one.
    """

    trains: frozenset[str]
    reference_s: float
    active_units: int
    fault: str


def make_array_cohort(
    output: Path,
    *,
    manifest: Path,
    arrays: ArrayCohort,
    nwb: NwbSource,
    timeline: Timeline,
    splits: Splits,
    minimum_rate_hz: float,
    heldout_fraction: float | None,
    seed: int,
    force: bool = False,
) -> None:
    """Make the cohort table of multi-electrode arrays, and record its hash next to it.

    Args:
        output: The table; ``{output}.sha256`` holds its hash.
        manifest: Table of the recordings, with :data:`COLUMNS`; the NWB files are next to it.
        arrays: The section ``cohort.arrays`` of the configuration.
        nwb: The section ``sources.nwb``.
        timeline: The section ``timeline``.
        splits: The section ``splits``.
        minimum_rate_hz: Mean rate in the reference window from which a unit is scored.
        heldout_fraction: Share of the animals of each study and tissue that is held out; None with ``studies``.
        seed: Seed of the draw.
        force: Make the table again and record the hash that comes out.

    Raises:
        CohortError: The table exists, the manifest does not fit the files, or the hash is not the recorded one.
    """
    check_new(output, force=force)
    entries = read_manifest(manifest)
    contents = {}
    for entry in entries:
        row = _row(entry, entry["subject"])
        contents[row.session] = _content(manifest.parent, entry, row, nwb, timeline, splits, minimum_rate_hz)
    rows = array_rows(entries, contents, arrays=arrays, heldout_fraction=heldout_fraction, seed=seed)
    left_out = [row.session for row in rows if row.role == "left_out"]
    freeze_cohort(
        output,
        rows,
        made_from=f"{manifest} with seed {seed}, heldout_fraction {heldout_fraction} and {len(left_out)} recordings "
        f"left out ({list_names(left_out)})",
        force=force,
    )


def read_manifest(manifest: Path) -> tuple[dict[str, str], ...]:
    """Read the manifest, sorted by study and recording, so that the order of its rows changes nothing.

    Raises:
        CohortError: There is no manifest, a column is absent, a recording is listed twice, or files and rows differ.
    """
    if not manifest.is_file():
        raise CohortError(
            f"there is no manifest {manifest}: put the recordings there, or set NEUROHORIZON_NWB to their folder"
        )
    with manifest.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        absent = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
        if absent:
            raise CohortError(f"{manifest} has no column {', '.join(absent)}; found {reader.fieldnames}")
        entries = [{name: (row[name] or "").strip() for name in COLUMNS} for row in reader]
    listed = [entry["session"] for entry in entries]
    for what, names in (
        ("rows are of a recording that is listed before", sorted({one for one in listed if listed.count(one) > 1})),
        ("rows have no file", sorted(one for one in listed if not manifest.with_name(f"{one}.nwb").is_file())),
        ("files have no row", sorted({path.stem for path in manifest.parent.glob("*.nwb")} - set(listed))),
    ):
        if names:
            raise CohortError(f"{manifest}: {len(names)} {what}, such as {names[0]!r}: correct the table or the folder")
    for entry in entries:
        for name in ("age", "units", "spikes"):
            if not re.fullmatch(r"\d+(\.\d+)?", entry[name]):
                raise CohortError(f"{manifest}: {entry['session']}: {name} is {entry[name]!r}, expected a number")
    return tuple(sorted(entries, key=lambda entry: (entry["lab"], entry["session"])))


def array_rows(
    entries: Sequence[Mapping[str, str]],
    contents: Mapping[str, Content],
    *,
    arrays: ArrayCohort,
    heldout_fraction: float | None,
    seed: int,
) -> tuple[Row, ...]:
    """Return one row a recording, with its subject, role, fold and the reason.

    With ``hold_out: animals``, a share of the subjects of each study and tissue is drawn. With ``studies``, every
    study is a fold, and studies that share a subject are one.

    Args:
        entries: The manifest, as :func:`read_manifest` gives it.
        contents: Name of a recording -> its content.
        arrays: What is held out, and which recordings are too short or too silent.
        heldout_fraction: Share of the subjects that is held out; not used with ``studies``.
        seed: Seed of the draw.
    """
    same = _same_recordings(entries, contents)
    subjects = _joined((animal_key(entry), animal_key(other)) for entry, other in same)
    rows, used = [], []
    for entry in entries:
        key = animal_key(entry)
        row = _row(entry, subjects.get(key, key))
        first = next((other["session"] for own, other in same if own is entry), None)
        why = f"the same spike trains as {first}" if first else _reason(contents[row.session], arrays)
        rows.append(replace(row, role="left_out", why=why) if why else row)
        used += [] if why else [row]
    if arrays.hold_out == "studies":
        return tuple(_rotated(rows, used))
    return tuple(_drawn(rows, used, heldout_fraction=heldout_fraction or 0.0, seed=seed))


def animal_key(entry: Mapping[str, str]) -> str:
    """Name the smallest set of recordings that is sure to hold all recordings of an animal; see the module.

    Raises:
        CohortError: The name of a recording lacks the mark of its study.
    """
    study, session = entry["lab"], entry["session"]
    found = re.search(MARKS[study], session) if study in MARKS else None
    if found:
        return f"{study} {found[0]}"
    if study == "charlesworth":
        raise CohortError(f"{session}: no number of a culture (TC and digits) in its name: correct the manifest")
    return f"{study} P{float(entry['age']):g} {entry['genotype']}".strip()


def _row(entry: Mapping[str, str], subject: str) -> Row:
    extras = {name: entry[name] for name in ("species", "region", "genotype", "condition")}
    return Row(
        session=entry["session"],
        source="nwb",
        subject=subject,
        lab=entry["lab"],
        date="",
        role="train",
        fold="",
        why="",
        extras=extras | {"age_days": f"{float(entry['age']):g}", "file_subject": entry["subject"]},
    )


def _content(
    folder: Path,
    entry: Mapping[str, str],
    row: Row,
    nwb: NwbSource,
    timeline: Timeline,
    splits: Splits,
    minimum_rate_hz: float,
) -> Content:
    try:
        session = ingest_nwb(folder / f"{row.session}.nwb", row, source=nwb, splits=splits)
        require_usable(session, timeline=timeline, splits=splits)
    except SessionError as error:
        return Content(frozenset(), 0.0, 0, " ".join(str(error).split()))
    dropped = sum(session.repairs.get(name, 0) for name in ("not_finite", "outside_domain"))
    spikes = len(session.spike_times_us) + dropped
    if (session.n_units, spikes) != (int(entry["units"]), int(entry["spikes"])):
        raise CohortError(
            f"{row.session}: the manifest has {entry['units']} units and {entry['spikes']} spikes, the file "
            f"{session.n_units} and {spikes}: put the right file there, or correct the manifest"
        )
    reference = session.splits.reference
    reference_s = reference.duration_us / MICROSECONDS
    inside = session.spike_unit[reference.contains(session.spike_times_us)]
    rates_hz = np.bincount(inside, minlength=session.n_units) / reference_s
    return Content(_trains(session), reference_s, int((rates_hz >= minimum_rate_hz).sum()), "")


def _trains(session: Session) -> frozenset[str]:
    order = np.lexsort((session.spike_times_us, session.spike_unit))
    counts = np.bincount(session.spike_unit, minlength=session.n_units)
    trains = np.split(session.spike_times_us[order], np.cumsum(counts)[:-1])
    return frozenset(
        hashlib.sha256((train - train[0]).astype("<i8").tobytes()).hexdigest()
        for train in trains
        if len(train) >= FEWEST_SPIKES
    )


def _reason(content: Content, arrays: ArrayCohort) -> str:
    if content.fault:
        return content.fault
    if content.reference_s < arrays.minimum_reference_s:
        return f"the reference window has {content.reference_s:g} s, fewer than {arrays.minimum_reference_s:g}"
    if content.active_units < arrays.minimum_units:
        return f"{content.active_units} units are active in the reference window, fewer than {arrays.minimum_units}"
    return ""


def _same_recordings(
    entries: Sequence[Mapping[str, str]], contents: Mapping[str, Content]
) -> list[tuple[Mapping[str, str], Mapping[str, str]]]:
    """Return recordings that share a spike train with one before them, each with the first of these."""
    first: dict[str, Mapping[str, str]] = {}
    found = []
    for entry in entries:
        trains = contents[entry["session"]].trains
        before = next((other for train in sorted(trains) if (other := first.get(train))), None)
        if before is not None:
            found.append((entry, before))
        first |= {train: before or entry for train in trains if train not in first}
    return found


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return name -> joined name, for names that pairs connect."""
    of_name: dict[str, set[str]] = {}
    for pair in pairs:
        together = set(pair).union(*(of_name.get(name, set()) for name in pair))
        of_name |= dict.fromkeys(together, together)
    return {name: " + ".join(sorted(together)) for name, together in of_name.items()}


def _drawn(rows: Iterable[Row], used: Iterable[Row], *, heldout_fraction: float, seed: int) -> Iterable[Row]:
    strata: dict[tuple[str, str], set[str]] = defaultdict(set)
    stratum_of: dict[str, tuple[str, str]] = {}
    for row in used:
        # a subject of two studies is drawn once, with the first
        stratum = stratum_of.setdefault(row.subject, (row.lab, row.extras["region"]))
        strata[stratum].add(row.subject)
    heldout = {
        name
        for names in strata.values()
        for name in draw_animals(names, source="nwb", heldout_fraction=heldout_fraction, seed=seed)
    }
    for row in rows:
        if row.role == "left_out":
            yield row
            continue
        among = f"among those of {' '.join(stratum_of[row.subject])}, seed {seed}"
        if row.subject in heldout:
            yield replace(row, role="heldout", fold=FOLD, why=f"drawn to be held out, {among}")
        else:
            yield replace(row, why=f"not drawn to be held out, {among}")


def _rotated(rows: Iterable[Row], used: Sequence[Row]) -> Iterable[Row]:
    studies: dict[str, set[str]] = defaultdict(set)
    for row in used:
        studies[row.subject].add(row.lab)
    together = _joined((one, other) for labs in studies.values() for one in labs for other in labs)
    for row in rows:
        if row.role == "left_out":
            yield row
            continue
        fold = together[row.lab].replace(" + ", "-")
        yield replace(row, role="rotate", fold=fold, why="leave one study out")
