"""The score archive: the sums from which all tables, figures and pages of a run are made, in one file with hashes.

A tar file whose first member, ``SHA256SUMS``, has a line for each other one, as ``sha256sum`` writes it. It holds
``config.yaml``, ``cohort.tsv`` and files of sums under their names in the run's folder, and no recording. The same
files give the same bytes, so its hash, which is written next to it, identifies an archive.
"""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import yaml

from neurohorizon.files import replacing

SUMS = "SHA256SUMS"
CONFIG = "config.yaml"
COHORT = "cohort.tsv"
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
        ArchiveError: A file lies outside of the folder.
    """
    folder = Path(folder)
    members = {COHORT: Path(cohort), CONFIG: folder / CONFIG}
    for path in map(Path, scores):
        if not path.is_relative_to(folder):
            raise ArchiveError(f"{path} does not lie in {folder}: only files of the run can be restored into another")
        members[path.relative_to(folder).as_posix()] = path
    sums = "".join(f"{_hash(path)}  {name}\n" for name, path in sorted(members.items())).encode()
    with replacing(output) as partial:
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(_member(SUMS, len(sums)), io.BytesIO(sums))
            for name, path in sorted(members.items()):
                with path.open("rb") as file:
                    archive.addfile(_member(name, path.stat().st_size), file)
        archived = _hash(partial)
    with replacing(f"{output}.sha256") as partial:
        partial.write_text(f"{archived}  {Path(output).name}\n")


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
        ArchiveError: It is cut short or no tar file, a hash is wrong, a file is missing or too many, a name leads out
            of the folder, or configuration or cohort are another run's.
    """
    archive, folder, cohort = Path(archive), Path(folder), Path(cohort)
    beside = Path(f"{archive}.sha256")
    if beside.exists() and beside.read_text().split()[0] != _hash(archive):
        raise ArchiveError(f"{archive} is not the file whose hash {beside} records: download it again")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
        unpacked = Path(scratch)
        try:
            names = _unpack(archive, unpacked)
        except tarfile.TarError as error:
            raise ArchiveError(f"{archive} is cut short, or no tar file ({error}): download it again") from error
        _check_config(archive, yaml.safe_load((unpacked / CONFIG).read_text()), config)
        if cohort.exists() and _hash(cohort) != _hash(unpacked / COHORT):
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
    output.write_text("".join(f"{name}\n" for name in names))


def record_config(*, config: Mapping, output: Path) -> None:
    """Write the configuration of a run as YAML."""
    output.write_text(yaml.safe_dump(config, sort_keys=False, default_flow_style=None))


def _unpack(archive: Path, folder: Path) -> list[str]:
    with tarfile.open(archive, "r:") as file:
        first, *members = file.getmembers() or [tarfile.TarInfo("nothing")]
        if first.name != SUMS:
            raise ArchiveError(f"{archive} is no score archive: it begins with {first.name} and not with {SUMS}")
        listed = dict(reversed(line.split("  ", 1)) for line in file.extractfile(first).read().decode().splitlines())
        found = [member.name for member in members]
        if sorted(found) != sorted(listed):
            odd = sorted(set(found) ^ set(listed)) or sorted(found)
            raise ArchiveError(f"{archive}: {odd[0]} is in {SUMS} or in the archive, but not once in both")
        for member in members:
            parts = PurePosixPath(member.name)
            if not member.isfile() or parts.is_absolute() or ".." in parts.parts:
                raise ArchiveError(f"{archive}: {member.name} is no plain file inside the run's folder")
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with file.extractfile(member) as content, path.open("wb") as copy:
                shutil.copyfileobj(content, copy)
            if _hash(path) != listed[member.name]:
                raise ArchiveError(f"{archive}: {member.name} is damaged: its hash is not that of {SUMS}")
    for name in (CONFIG, COHORT):
        if name not in listed:
            raise ArchiveError(f"{archive} has no {name}")
    return sorted(found)


def _check_config(archive: Path, archived: Mapping, config: Mapping) -> None:
    there, here = _leaves(archived), _leaves(config)
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key) and not key.startswith(_ELSEWHERE):
            raise ArchiveError(
                f"{archive} is of another configuration: {key} is {there.get(key)} there and {here.get(key)} here. "
                f"Its own is in it: tar xf {archive} {CONFIG}"
            )


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


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
