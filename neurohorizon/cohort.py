"""The cohort table: which sessions take part, and in which role.

A table is a tab-separated file of one row a session (``config/cohorts/*.tsv``), read by the workflow
before any environment exists: this module uses only the standard library. Making the tables
from the public releases is :mod:`neurohorizon.ingest.paper_cohort`.

Roles:
    train: trained on in every fold.
    heldout: forecast in its ``fold``, never trained on.
    rotate: forecast in its ``fold`` and trained on in all others (leave one out).
    reserved: never opened, such as the recordings that a public benchmark holds out.
    left_out: listed with the reason in ``why``, not used.

Sessions are held out by animal: in no fold is one ``subject`` both trained on and forecast. A table
may weaken this, visibly, with a ``group`` column that names what is held out together instead (such
as a recording day); :func:`shared_subjects` then names the animals on both sides, for the report. Names that
differ only in blanks, in case or in the Unicode form of a letter are one animal.
"""

import csv
import difflib
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from neurohorizon.config import Sources
from neurohorizon.files import replacing
from neurohorizon.sources import SOURCES

COLUMNS = ("session", "source", "subject", "lab", "date", "role", "fold", "why")
ROLES = ("train", "heldout", "rotate", "reserved", "left_out")
RELEASED = "released"
"""Fold in which no session is held out: it trains released weights."""
NAME_CHARACTERS = r"\w.+=@,-"
"""Characters of a session's name, for the wildcards of the workflow; ASCII only."""

_FORECAST_ROLES = ("heldout", "rotate")
_SESSION_NAME = re.compile(rf"[A-Za-z0-9][{NAME_CHARACTERS}]*", re.ASCII)
_FOLD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_NAME = 180
"""Bytes of a session's name; file systems allow 255, and files of a run add to it."""
_OF_THE_SHELL = re.compile(r"""["'`$;&|<>\\*?!{}\[\]]""")


class CohortError(ValueError):
    """A cohort table that cannot be used; the message gives the row, what was found and what fits."""


@dataclass(frozen=True)
class Row:
    """One session of a cohort.

    Attributes:
        session: Unique id, and the stem of the session's files.
        source: Which reader it needs: one of :data:`neurohorizon.sources.SOURCES`.
        subject: The animal.
        lab: Where it was recorded; splits are stratified by it.
        date: Day of recording, YYYY-MM-DD; empty where unknown.
        role: One of :data:`ROLES`.
        fold: For ``heldout`` and ``rotate``, the fold that forecasts the session; else empty.
        why: The reason for the role, in words.
        extras: Further columns of the table by name, such as ``eid``, ``number``, ``probes``, ``group``,
            ``file`` or ``file_subject`` (the name in the file of an animal that the table names differently).
    """

    session: str
    source: str
    subject: str
    lab: str
    date: str
    role: str
    fold: str
    why: str
    extras: Mapping[str, str] = field(default_factory=dict)

    @property
    def held_out_with(self) -> str:
        """What goes to one side of a split as a whole: the ``group`` where there is one, else the animal."""
        return self.extras.get("group") or self.subject

    @property
    def probe_names(self) -> tuple[str, ...]:
        """The probes to which the column ``probes`` restricts the session, between commas or blanks; none: all."""
        return tuple(self.extras.get("probes", "").replace(",", " ").split())

    @property
    def recording_names(self) -> tuple[str, ...]:
        """The NWB files of the session, below ``sources.nwb.folder`` or in the dandiset.

        Those in the column ``file``, between ``;``; else the one that is named as the session.
        """
        names = tuple(name.strip() for name in self.extras.get("file", "").split(";") if name.strip())
        return names or (f"{self.session}.nwb",)


def read_cohort(path: str | Path) -> tuple[Row, ...]:
    """Read and check a cohort table, in the order of the file.

    A byte-order mark, blanks around a field and rows without any text are ignored, as spreadsheets add them.

    A ``{path}.sha256`` next to the table (as ``sha256sum`` writes it) freezes it: the table must still have
    that hash.

    Raises:
        CohortError: The file is absent, was changed since it was frozen, or does not hold together;
            see :func:`check_cohort`.
    """
    path = Path(path)
    if not path.is_file():
        raise CohortError(
            f"there is no cohort table {path}: `make cohorts` makes the paper's; others are written by hand, for a "
            "dandiset from the draft of `snakemake dandi_cohort`"
        )
    recorded = recorded_hash(path)
    if recorded is not None and recorded != cohort_hash(path):
        raise CohortError(
            f"{path} was changed since it was frozen: its sha256 is {cohort_hash(path)}, "
            f"{hash_path(path)} records {recorded}. Restore it, or delete "
            f"{hash_path(path).name} if the change is meant"
        )
    rows = _read_rows(path)
    try:
        check_cohort(rows)
    except CohortError as error:
        raise CohortError(f"{path}: {error}") from None
    return tuple(rows)


def _read_rows(path: Path) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CohortError(f"{path} is not UTF-8 text ({error.reason}): save it as tab-separated UTF-8") from None
    lines = csv.reader(io.StringIO(text, newline=None), delimiter="\t", quoting=csv.QUOTE_NONE)
    names: list[str] = []
    rows = []
    for fields in lines:
        values = [value.strip() for value in fields]
        if not any(values):
            continue
        while len(values) > len(names or COLUMNS) and not values[-1]:
            values.pop()
        if not names:
            names = values
            absent = [name for name in COLUMNS if name not in names]
            if absent or len(set(names)) != len(names):
                raise CohortError(
                    f"{path} needs the columns {' '.join(COLUMNS)}, each once, tab-separated; found {names}"
                )
            continue
        where = f"{path} line {lines.line_num}"
        if len(values) != len(names):
            raise CohortError(f"{where}: does not have {len(names)} tab-separated fields, but {len(values)}")
        of_name = dict(zip(names, values, strict=True))
        for name, value in of_name.items():
            if name != "why" and (hidden := _hidden(value)):
                raise CohortError(f"{where}: {name} {value!r} holds {hidden}, which does not show; delete it")
            if name != "why" and value.startswith('"'):
                raise CohortError(f"{where}: {name} is in quotes ({value}); write it without")
        extras = {name: value for name, value in of_name.items() if name not in COLUMNS}
        rows.append(Row(**{name: of_name[name] for name in COLUMNS}, extras=extras))
    if not names:
        raise CohortError(f"{path} is empty: it needs the columns {' '.join(COLUMNS)}, tab-separated")
    return rows


def _hidden(value: str) -> str:
    """Name the first character that does not show: control and format characters; "" without one."""
    found = next((one for one in value if unicodedata.category(one) in ("Cc", "Cf")), "")
    return unicodedata.name(found, f"U+{ord(found):04X}") if found else ""


def same_name(name: str) -> str:
    """Return what names that a person cannot distinguish have in common."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def write_cohort(path: str | Path, rows: Iterable[Row]) -> None:
    """Check and write a cohort table; the same rows in any order give the same bytes.

    Raises:
        CohortError: The rows do not hold together, or a field has a tab or a line break.
    """
    ordered = sorted(rows, key=lambda row: (row.source, row.lab, row.subject, row.date, row.session))
    check_cohort(ordered)
    extras = sorted({name for row in ordered for name in row.extras})
    lines = [[*COLUMNS, *extras]]
    for row in ordered:
        lines.append([getattr(row, name) for name in COLUMNS] + [row.extras.get(name, "") for name in extras])
        if any(re.search(r"[\t\r\n]", value) for value in lines[-1]):
            raise CohortError(f"session {row.session}: a field holds a tab or a line break")
    with replacing(path) as temporary:
        temporary.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8", newline="\n")


def check_new(output: Path, *, force: bool) -> None:
    """Check that a cohort table is not there yet, unless it is made again on purpose.

    Raises:
        CohortError: The table exists.
    """
    if output.exists() and not force:
        raise CohortError(f"{output} is there, and a cohort is frozen once made; to make another, force it")


def freeze_cohort(output: Path, rows: Iterable[Row], *, made_from: str, force: bool) -> None:
    """Write a cohort table and record its hash next to it.

    A table that is made again must have the hash that is already recorded. ``force`` overrules this.

    Args:
        output: The table; ``{output}.sha256`` holds its hash.
        rows: Its rows.
        made_from: Description of its inputs and settings, for the error.
        force: Record the hash that comes out.

    Raises:
        CohortError: The rows do not hold together, or the hash is another than recorded.
    """
    made = output.with_name(f"{output.name}.made")
    write_cohort(made, rows)
    expected, found = recorded_hash(output), cohort_hash(made)
    if expected is not None and expected != found and not force:
        made.unlink()
        raise CohortError(
            f"{hash_path(output)} records {expected}, but {made_from} give {found}: another release, seed or share "
            "than the recorded cohort's; force it if a new cohort is meant"
        )
    made.replace(output)
    hash_path(output).write_text(f"{found}  {output.name}\n", encoding="utf-8")


def cohort_hash(path: str | Path) -> str:
    """The sha256 of the table's bytes, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def hash_path(path: str | Path) -> Path:
    """Where the hash of a frozen table is recorded."""
    return Path(f"{path}.sha256")


def recorded_hash(path: str | Path) -> str | None:
    """The hash recorded next to a table, or None if the table is not frozen."""
    file = hash_path(path)
    return file.read_text(encoding="utf-8").split()[0] if file.is_file() else None


def check_cohort(rows: Iterable[Row]) -> None:
    """Check that rows make a cohort.

    Raises:
        CohortError: A session or a file twice; an unknown role or source; a session, file or fold that cannot be a
            file name; a name with blanks around it; a date that is not one; a fold where there must be none, or none
            where there must be one; a role ``left_out`` without a reason; an animal (or group) both trained on and
            forecast, or both trained on and reserved; nothing to forecast; a fold with nothing to train on.
    """
    rows = tuple(rows)
    seen: set[str] = set()
    recordings: dict[tuple[str, str], str] = {}
    for row in rows:
        where = f"session {row.session!r}"
        if row.session in seen:
            raise CohortError(f"{where} is there twice")
        seen.add(row.session)
        for name in ("session", "source", "subject", "lab", "role", "fold"):
            value = getattr(row, name)
            if value != value.strip() or _hidden(value):
                raise CohortError(f"{where}: {name} {value!r} has blanks around it or hidden characters; delete them")
        if row.role not in ROLES:
            raise CohortError(f"{where}: unknown role {row.role!r}; roles are {', '.join(ROLES)}")
        if row.source not in SOURCES:
            raise CohortError(f"{where}: unknown source {row.source!r}; sources are {', '.join(SOURCES)}")
        _check_names(row, where)
        if SOURCES[row.source].files and row.role != "left_out":
            for file in row.recording_names:
                if other := recordings.get((row.source, file)):
                    raise CohortError(f"{where} has the file {file!r} of session {other!r}: one is enough")
                recordings[row.source, file] = row.session
        if not row.session or not row.subject:
            raise CohortError(f"{where}: session and subject may not be empty")
        if row.date and not _is_date(row.date):
            raise CohortError(f"{where}: date {row.date!r} is not YYYY-MM-DD")
        if bool(row.fold) != (row.role in _FORECAST_ROLES):
            raise CohortError(f"{where}: role {row.role} " + ("has no fold" if row.fold else "needs a fold"))
        if row.role == "left_out" and not row.why:
            raise CohortError(f"{where} is left out: say why in the column `why`")
    names = folds(rows)
    if not names:
        raise CohortError("nothing to forecast: no session has the role heldout or rotate")
    for fold in names:
        training = training_sessions(rows, fold)
        if not training:
            raise CohortError(f"fold {fold}: nothing to train on")
        kept_apart = {row.held_out_with for row in heldout_sessions(rows, fold)}
        kept_apart |= {row.held_out_with for row in rows if row.role == "reserved"}
        trained = {row.held_out_with for row in training}
        both = sorted(kept_apart & trained)
        if both:
            raise CohortError(
                f"fold {fold}: {', '.join(both)} trained on and also held out or reserved; "
                "all sessions of an animal go to one side"
            )
        alike = {same_name(name): name for name in sorted(trained)}
        for name in sorted(kept_apart):
            if other := alike.get(same_name(name)):
                raise CohortError(
                    f"fold {fold}: {other!r} is trained on and {name!r} is held out or reserved; they differ only in "
                    "case, blanks or the form of a letter: write one animal one way, or give two animals two names"
                )


def _check_names(row: Row, where: str) -> None:
    """Check that session and fold can name files and reach a shell, and that a recording's file lies in its folder."""
    if row.session.lower().endswith(".nwb"):
        raise CohortError(f"{where}: write the session without .nwb at its end")
    if row.session and not _SESSION_NAME.fullmatch(row.session):
        raise CohortError(
            f"{where}: session {row.session!r} names files: use letters, digits and . _ - + = @ , (first a letter or "
            "a digit); an NWB file of another name goes to a column `file`, and its session is an id of your choice"
        )
    if len(row.session) > _LONGEST_NAME:
        raise CohortError(f"{where}: session names files: {len(row.session)} characters, at most {_LONGEST_NAME}")
    if row.fold and not _FOLD_NAME.fullmatch(row.fold):
        raise CohortError(f"{where}: fold {row.fold!r} names files: use letters, digits, '.', '_' and '-'")
    if row.fold == RELEASED:
        raise CohortError(
            f"{where}: fold {RELEASED!r} is the name of the weights that no session is held out of; rename it"
        )
    if not row.extras.get("file"):
        return
    if not SOURCES[row.source].files:
        with_files = " and ".join(name for name, one in SOURCES.items() if one.files)
        raise CohortError(
            f"{where}: only sessions of the sources {with_files} have a file; leave the column file empty"
        )
    for file in row.recording_names:
        parts = file.split("/")
        odd = any(part in ("", ".", "..") or part[0] in "-~" for part in parts)
        if odd or _OF_THE_SHELL.search(file) or _hidden(file):
            raise CohortError(
                f"{where}: file {file!r} is refused: give its path below sources.nwb.folder or in the dandiset, "
                "without '..', quotes, wildcards, $ & and the like, and without - or ~ at the start of a name"
            )
        if not file.endswith(".nwb"):
            raise CohortError(
                f"{where}: file {file!r} must be the whole file name, with .nwb at its end; several files of a session "
                "have ; between them"
            )


def folds(rows: Iterable[Row]) -> tuple[str, ...]:
    """The folds of a cohort, sorted; each is trained and forecast apart."""
    return tuple(sorted({row.fold for row in rows if row.role in _FORECAST_ROLES}))


def training_sessions(rows: Iterable[Row], fold: str) -> tuple[Row, ...]:
    """The sessions that a fold trains on, in the order of the table."""
    return tuple(row for row in rows if row.role == "train" or (row.role == "rotate" and row.fold != fold))


def heldout_sessions(rows: Iterable[Row], fold: str) -> tuple[Row, ...]:
    """The sessions that a fold forecasts, in the order of the table."""
    return tuple(row for row in rows if row.role in _FORECAST_ROLES and row.fold == fold)


def shared_subjects(rows: Iterable[Row], fold: str) -> tuple[str, ...]:
    """Animals both trained on and forecast in a fold, sorted.

    Empty unless the table holds out a ``group`` smaller than an animal; then the claim is a weaker one than
    "unseen animals", and the report states this.
    """
    rows = tuple(rows)
    training = {same_name(row.subject) for row in training_sessions(rows, fold)}
    return tuple(sorted({row.subject for row in heldout_sessions(rows, fold) if same_name(row.subject) in training}))


def sessions_in_use(rows: Iterable[Row], sources: Sources) -> tuple[Row, ...]:
    """The rows that a run opens: those with a role in it whose source has a section in the configuration.

    A cohort may list sessions of a source that the configuration leaves null (or that no rule reads yet);
    they keep their role in the table and take no part.

    Raises:
        CohortError: What remains is no cohort.
    """
    used = tuple(
        row
        for row in rows
        if row.role in ("train", *_FORECAST_ROLES) and getattr(sources, row.source, None) is not None
    )
    try:
        check_cohort(used)
    except CohortError as error:
        given = [name for name in SOURCES if getattr(sources, name, None) is not None]
        raise CohortError(f"with the sources that the configuration gives ({', '.join(given)}): {error}") from None
    return used


def check_excluded(rows: Iterable[Row], exclude_units: Mapping[str, object]) -> None:
    """Check that the sessions of which units are excluded are in the cohort table.

    Raises:
        CohortError: A session is not in the table.
    """
    names = [row.session for row in rows]
    for absent in (name for name in exclude_units if name not in names):
        near = difflib.get_close_matches(absent, names, n=1)
        raise CohortError(
            f"cohort.exclude_units names the session {absent!r}, which is not in the table"
            + (f"; did you mean {near[0]!r}?" if near else "; correct its name, or remove it")
        )


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
