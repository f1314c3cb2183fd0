"""A conda channel on disk whose ``python`` is this machine's interpreter.

Its ``python`` package has the files of ``python -m venv``: a link to the interpreter and a ``pyvenv.cfg``. Its
``pip`` package is the pip of the running virtual environment. Only the standard library is needed.
"""

import hashlib
import io
import json
import shutil
import sys
import tarfile
import tempfile
from importlib.metadata import distribution
from pathlib import Path

EPOCH_S = 1_700_000_000  # any fixed time, so that the same machine writes the same bytes


def write_channel(folder: Path, *, platform: str) -> None:
    """Write the channel, replacing an older one.

    Args:
        folder: Folder of the channel; its last part is the channel's name.
        platform: The conda platform of the machine, such as ``linux-64``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    _write_index(made, platform, [_python(made / platform, platform)])
    _write_index(made, "noarch", [_pip(made / "noarch")])
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)


def _python(folder: Path, platform: str) -> dict:
    major, minor, patch = sys.version_info[:3]
    interpreter = Path(sys._base_executable).resolve()
    settings = [
        f"home = {interpreter.parent}",
        "include-system-site-packages = false",
        f"version = {major}.{minor}.{patch}",
    ]
    links = {"bin/python": str(interpreter), "bin/python3": "python", f"bin/python{major}.{minor}": "python"}
    system, _, processor = platform.partition("-")
    return _write_package(
        folder,
        {
            "name": "python",
            "version": f"{major}.{minor}.{patch}",
            "depends": [],
            "subdir": platform,
            "platform": system,
            "arch": {"64": "x86_64"}.get(processor, processor),
        },
        files={"pyvenv.cfg": ("\n".join(settings) + "\n").encode()},
        links=links,
    )


def _pip(folder: Path) -> dict:
    pip = distribution("pip")
    parts = [part for part in pip.files or () if part.parts[0] != ".." and part.suffix != ".pyc"]
    return _write_package(
        folder,
        {
            "name": "pip",
            "version": pip.version,
            "depends": ["python >=3.9"],
            "subdir": "noarch",
            "noarch": "python",
        },
        files={f"site-packages/{part}": Path(part.locate()).read_bytes() for part in parts},
        entry_points=["pip = pip._internal.cli.main:main", "pip3 = pip._internal.cli.main:main"],
    )


def _write_package(
    folder: Path,
    index: dict,
    *,
    files: dict[str, bytes],
    links: dict[str, str] | None = None,
    entry_points: list[str] | None = None,
) -> dict:
    links = links or {}
    content = json.dumps([index, sorted(links.items()), {name: _sha256(data) for name, data in files.items()}])
    build = f"h{_sha256(content.encode())[:7]}_0"  # depends on the linked files: no cache mixes builds
    index = {**index, "build": build, "build_number": 0, "timestamp": EPOCH_S * 1000, "constrains": []}
    paths = [
        {"_path": name, "path_type": "hardlink", "sha256": _sha256(data), "size_in_bytes": len(data)}
        for name, data in files.items()
    ] + [{"_path": name, "path_type": "softlink", "sha256": _sha256(b""), "size_in_bytes": 0} for name in links]
    about = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "\n".join([*files, *links]) + "\n",
    }
    if entry_points:
        noarch = {"type": "python", "entry_points": entry_points}
        about["info/link.json"] = json.dumps({"noarch": noarch, "package_metadata_version": 1})

    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{index['name']}-{index['version']}-{build}.tar.bz2"
    with tarfile.open(archive, "w:bz2", compresslevel=1) as tar:
        for name, text in about.items():
            _add(tar, name, text.encode())
        for name, data in files.items():
            _add(tar, name, data)
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mtime = tarfile.SYMTYPE, target, EPOCH_S
            tar.addfile(entry)
    data = archive.read_bytes()
    return {**index, "fn": archive.name, "sha256": _sha256(data), "size": len(data)}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(data), EPOCH_S, 0o644
    tar.addfile(entry, io.BytesIO(data))


def _write_index(folder: Path, subdir: str, packages: list[dict]) -> None:
    index = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}, "repodata_version": 1}
    for package in packages:
        index["packages"][package.pop("fn")] = package
    (folder / subdir / "repodata.json").write_text(json.dumps(index, indent=1))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
