"""The score archive: the sums from which all tables, figures and pages of a run are made, in one file with hashes.

A tar file whose first member, ``SHA256SUMS``, has a line for each other one, as ``sha256sum`` writes it. It holds
``config.yaml``, ``cohort.tsv`` and files of sums under their names in the run's folder, and no recording. The same
files give the same bytes, so its hash, which is written next to it, identifies an archive.

An archive may come from anybody, and its hashes prove only that it is whole. So only files of sums are restored: a
checkpoint or a session file would be used by a later training.
"""

import io
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from textwrap import shorten

import h5py
import yaml

from neurohorizon.cohort import NAME_CHARACTERS, CohortError, read_cohort
from neurohorizon.experiments.catalogue import CATALOGUE
from neurohorizon.files import file_hash, replacing
from neurohorizon.hdf5_storage import ForeignValuesError, require_own_values
from neurohorizon.strict_yaml import YamlError, read_yaml

SUMS = "SHA256SUMS"
CONFIG = "config.yaml"
COHORT = "cohort.tsv"
LISTED = (
    *("models/{fold}/baselines.json", "models/{fold}/regressions.json", "models/{fold}/{network}/model.json"),
    *("scaling/{fold}/{point}/scores.parquet", "scaling/{fold}/{point}/point.json"),
    *("scaling/{fold}/{point}/sessions.json", "ablations/{fold}/{point}/scores.parquet"),
    *("downstream/scores/{fold}/{role}/{session}_seed-{seed}.parquet", "weights/dinov2.json"),
    *("poyo/decodings/{fold}/seed-{seed}/{session}.h5", "cross_session/tables/example.h5"),
)
"""Files of sums that no entry of the catalogue has a path for; ``workflow/report_files.py`` lists them."""
_FILE_OF_SUMS = re.compile(
    "|".join(
        f"[A-Za-z0-9][{NAME_CHARACTERS}]*".join(map(re.escape, re.split(r"\{\w+\}", path)))
        for path in (*LISTED, *(path for entry in CATALOGUE.values() for path in entry.sums.values()))
    ),
    flags=re.ASCII,
)
_MOST_TEXT = 10_000_000
"""Most bytes of the list of hashes, of the configuration and of the cohort."""
_ELSEWHERE = ("run.results", "sources")  # where a run lies and where its recordings lay change no score


class ArchiveError(ValueError):
    """An archive that cannot be written or restored; the message gives the file and what to do."""


def write_archive(output: str | Path, *, scores: Iterable[str | Path], folder: str | Path, cohort: str | Path) -> None:
    """Write files of a run, its configuration and its cohort into one archive, and its hash next to it.

    Args:
        output: The archive, ``.tar``; ``{output}.sha256`` is written too.
        scores: Files below ``folder``.
        folder: The run's folder, which has ``config.yaml``.

    Raises:
        ArchiveError: A file lies outside of the folder, or is no file of sums.
    """
    folder = Path(folder)
    members = {COHORT: Path(cohort), CONFIG: folder / CONFIG}
    for path in map(Path, scores):
        if not path.is_relative_to(folder):
            raise ArchiveError(f"{path} does not lie in {folder}: only files of the run can be restored into another")
        if not is_file_of_sums(path.relative_to(folder).as_posix()):
            raise ArchiveError(f"{path} is no file of sums: add its path to LISTED of neurohorizon.report.archive")
        members[path.relative_to(folder).as_posix()] = path
    sums = "".join(f"{file_hash(path, 'sha256')}  {name}\n" for name, path in sorted(members.items())).encode()
    with replacing(output) as partial:
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(_member(SUMS, len(sums)), io.BytesIO(sums))
            for name, path in sorted(members.items()):
                with path.open("rb") as file:
                    archive.addfile(_member(name, path.stat().st_size), file)
        archived = file_hash(partial, "sha256")
    with replacing(f"{output}.sha256") as partial:
        partial.write_text(f"{archived}  {Path(output).name}\n")


def is_file_of_sums(name: str) -> bool:
    """Return whether a path from the run's folder on is of a file that tables are made from."""
    return bool(_FILE_OF_SUMS.fullmatch(name))


def restore_archive(archive: str | Path, *, folder: str | Path, cohort: str | Path, config: Mapping) -> list[str]:
    """Put the files of an archive where they were in the run; nothing is written before every hash is right.

    Args:
        archive: A file that :func:`write_archive` wrote; a ``{archive}.sha256`` next to it is checked as well.
        folder: The run's folder, made if need be.
        cohort: Where the cohort's table goes. One that is there must be the same.
        config: The configuration of this run, which must be that of the archive but for where files lie.

    Returns:
        Names of the restored files, sorted.

    Raises:
        ArchiveError: It is cut short or no tar file, a hash is wrong, a file is missing, too many, no plain file or no
            file of sums, or configuration or cohort cannot be used or are another run's.
    """
    archive, folder, cohort = Path(archive), Path(folder), Path(cohort)
    beside = Path(f"{archive}.sha256")
    if beside.exists() and beside.read_text(errors="replace").split()[:1] != [file_hash(archive, "sha256")]:
        raise ArchiveError(f"{archive} is not the file whose hash {beside} records: download it again")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
        unpacked = Path(scratch)
        try:
            names = _unpack(archive, unpacked)
        except tarfile.TarError as error:
            raise ArchiveError(f"{archive} is cut short, or no tar file ({error}): download it again") from error
        _check_content(archive, unpacked, names)
        _check_config(archive, read_yaml(unpacked / CONFIG), config)
        if cohort.exists() and file_hash(cohort, "sha256") != file_hash(unpacked / COHORT, "sha256"):
            raise ArchiveError(f"{cohort} is not the cohort of {archive}: move it away, and restore again")
        for name in names:
            target = cohort if name == COHORT else folder / name
            if name == COHORT and cohort.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # works across file systems, and writes the whole file or none
            with replacing(target) as partial:
                shutil.move(unpacked / name, partial)
            os.utime(target)
    return names


def restore_scores(*, archive: Path, folder: Path, cohort: Path, config: Mapping, output: Path) -> None:
    """Restore an archive, and list the restored files in ``output``; see :func:`restore_archive`."""
    names = restore_archive(archive, folder=folder, cohort=cohort, config=config)
    with replacing(output) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names))


def record_config(*, config: Mapping, output: Path) -> None:
    """Write the configuration of a run as YAML."""
    with replacing(output) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False, default_flow_style=None))


def _unpack(archive: Path, folder: Path) -> list[str]:
    with tarfile.open(archive, "r:") as file:
        first, *members = file.getmembers() or [tarfile.TarInfo("nothing")]
        if first.name != SUMS or not _is_plain(first):
            raise ArchiveError(f"{archive} is no score archive: it begins with {first.name!r} and not with {SUMS}")
        for member in (first, *(one for one in members if one.name in (CONFIG, COHORT))):
            if member.size > _MOST_TEXT:
                raise ArchiveError(f"{archive}: {member.name} has {member.size} bytes, expected at most {_MOST_TEXT}")
        listed = _hashes(archive, file.extractfile(first).read())
        found = [member.name for member in members]
        if sorted(found) != sorted(listed):
            odd = sorted(set(found) ^ set(listed)) or sorted(name for name in found if found.count(name) > 1)
            raise ArchiveError(f"{archive}: {odd[0]!r} is in {SUMS} or in the archive, but not once in both")
        for member in members:
            parts = PurePosixPath(member.name)
            if not _is_plain(member) or parts.is_absolute() or ".." in parts.parts:
                raise ArchiveError(f"{archive}: {member.name!r} is no plain file inside the run's folder")
            if member.name not in (CONFIG, COHORT) and not is_file_of_sums(member.name):
                raise ArchiveError(
                    f"{archive}: {member.name!r} is no file of sums; refused, since it may be used later"
                )
            if any(parent.as_posix() in listed for parent in parts.parents):
                raise ArchiveError(f"{archive}: {member.name!r} is in a folder that is a file of the archive too")
        for member in members:
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with file.extractfile(member) as content, path.open("wb") as copy:
                shutil.copyfileobj(content, copy)
            if file_hash(path, "sha256") != listed[member.name]:
                raise ArchiveError(f"{archive}: {member.name} is damaged: its hash is not that of {SUMS}")
    for name in (CONFIG, COHORT):
        if name not in listed:
            raise ArchiveError(f"{archive} has no {name}")
    return sorted(found)


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Return whether a member is a file whose bytes are in the archive: no link, device, folder or sparse file."""
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.sparse


def _hashes(archive: Path, content: bytes) -> dict[str, str]:
    """Return the hash of each listed file by name."""
    listed: dict[str, str] = {}
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        match = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if not match or match[2] in listed:
            raise ArchiveError(
                f"{archive}: line {number} of {SUMS} is {shorten(line, 100)!r}; expected a hash of 64 digits, two "
                "blanks and a name that is there once"
            )
        listed[match[2]] = match[1]
    return listed


def _check_content(archive: Path, unpacked: Path, names: Iterable[str]) -> None:
    """Check what later steps rely on: a configuration, a cohort, and HDF5 files without values from elsewhere."""
    name = ""
    try:
        for name in names:
            if name == CONFIG:
                read_yaml(unpacked / name)
            elif name == COHORT:
                read_cohort(unpacked / name)
            elif name.endswith(".h5"):
                with h5py.File(unpacked / name, "r") as file:
                    require_own_values(file)
    except (YamlError, CohortError, ForeignValuesError, OSError) as error:
        reason = shorten(str(error).replace(f"{unpacked}{os.sep}", ""), 300)
        raise ArchiveError(f"{archive}: {name} cannot be used ({reason})") from error


def _check_config(archive: Path, archived: Mapping, config: Mapping) -> None:
    there, here = _leaves(archived), _leaves(config)
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key) and not key.startswith(_ELSEWHERE):
            raise ArchiveError(
                f"{archive} is of another configuration: {key} is {_short(there.get(key))} there and "
                f"{_short(here.get(key))} here. Its own is in it: tar xf {archive} {CONFIG}"
            )


def _short(value: object) -> str:
    return shorten(repr(value), 80)


def _leaves(values: Mapping, before: str = "") -> dict[str, object]:
    found = {}
    for key, value in values.items():
        name = f"{before}{key}"
        found |= _leaves(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A member without owner, mode or date: the same files give the same archive."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member
