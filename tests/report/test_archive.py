"""The score archive: what goes in comes out, whole and proven, and nothing else is written."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import h5py
import pytest
import yaml

from neurohorizon.cohort import COLUMNS
from neurohorizon.report.archive import SUMS, ArchiveError, restore_archive, write_archive

CONFIG = {
    "run": {"name": "toy", "results": "results/toy"},
    "model": {"width": 64},
    "sources": {"nwb": {"folder": "a"}},
}
SCORES = {
    "scores/main/one.parquet": b"\x00\x01",
    "multimodal/scores/main/one.parquet": b"",
    "models/main/baselines.json": b"{}",
}
COHORT = "\n".join(
    "\t".join(fields)
    for fields in (
        COLUMNS,
        ("one", "nwb", "a", "lab", "", "heldout", "main", ""),
        ("two", "nwb", "b", "lab", "", "train", "", ""),
    )
)


@pytest.fixture
def run(tmp_path) -> Path:
    """A folder with scores, a configuration, and a file that is none of them."""
    folder = tmp_path / "run"
    for name, content in SCORES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "forecast.h5").write_text("large")
    (tmp_path / "cohort.tsv").write_text(COHORT)
    return folder


def archived(run: Path, name: str = "scores.tar") -> Path:
    archive = run.parent / name
    write_archive(archive, scores=[run / one for one in SCORES], folder=run, cohort=run.parent / "cohort.tsv")
    return archive


def restored(archive: Path, folder: Path, config: dict = CONFIG) -> list[str]:
    return restore_archive(archive, folder=folder, cohort=folder / "cohorts" / "mine.tsv", config=config)


def rewritten(archive: Path, change) -> Path:
    """A copy of an archive in which ``change(name, content)`` gives each member, or None to drop it."""
    target = archive.with_name("changed.tar")
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        for member in old.getmembers():
            content = change(member.name, old.extractfile(member).read())
            if content is not None:
                name, content = content if isinstance(content, tuple) else (member.name, content)
                one = tarfile.TarInfo(name)
                one.size = len(content)
                new.addfile(one, io.BytesIO(content))
    return target


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_goes_in_comes_out_and_nothing_else(run, tmp_path):
    names = restored(archived(run), tmp_path / "new")
    assert names == sorted([*SCORES, "config.yaml", "cohort.tsv"])
    assert files_below(tmp_path / "new") == {*SCORES, "config.yaml", "cohorts/mine.tsv"}
    for name, content in SCORES.items():
        assert (tmp_path / "new" / name).read_bytes() == content
    assert (tmp_path / "new" / "cohorts" / "mine.tsv").read_text() == COHORT


def test_the_same_files_give_the_same_archive_and_its_hash_stands_beside_it(run, tmp_path):
    first = archived(run)
    for path in run.rglob("*"):
        path.touch()
    assert archived(run, "again.tar").read_bytes() == first.read_bytes()
    assert subprocess.run(["sha256sum", "-c", "scores.tar.sha256"], cwd=tmp_path, check=False).returncode == 0


def test_people_can_check_it_without_us(run, tmp_path):
    (tmp_path / "by_hand").mkdir()
    subprocess.run(["tar", "xf", archived(run)], cwd=tmp_path / "by_hand", check=True)
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path / "by_hand", check=False, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.count(b": OK") == len(SCORES) + 2


def _damage(name: str, content: bytes):
    return b"\x00\x02" if name == "scores/main/one.parquet" else content


def _drop(name: str, content: bytes):
    return None if name == "models/main/baselines.json" else content


def _lead_out(name: str, content: bytes):
    content = content.replace(b"models/main/baselines.json", b"../stranger.json")
    return ("../stranger.json", content) if name == "models/main/baselines.json" else content


def _headless(name: str, content: bytes):
    return None if name == SUMS else content


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_damage, "scores/main/one.parquet is damaged"),
        (_drop, "'models/main/baselines.json' is in SHA256SUMS or in the archive, but not once in both"),
        (_lead_out, r"'\.\./stranger\.json' is no plain file inside"),
        (_headless, "no score archive"),
    ],
)
def test_a_wrong_archive_is_refused_and_nothing_is_written(run, tmp_path, change, says):
    with pytest.raises(ArchiveError, match=says):
        restored(rewritten(archived(run), change), tmp_path / "new")
    assert files_below(tmp_path / "new") == set()
    assert not (tmp_path / "stranger.json").exists()


def built(path: Path, members: dict[str, bytes], *others: tarfile.TarInfo, sums: bytes | None = None) -> Path:
    """An archive whose hashes are right, as anybody can make one."""
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in members.items()]
    lines += [f"{hashlib.sha256().hexdigest()}  {one.name}" for one in others]
    with tarfile.open(path, "w") as archive:
        for name, content in {SUMS: "\n".join(lines).encode() if sums is None else sums, **members}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in others:
            archive.addfile(member)
    return path


GOOD = {"config.yaml": yaml.safe_dump(CONFIG).encode(), "cohort.tsv": COHORT.encode()}


def test_an_archive_that_is_built_by_hand_is_restored(tmp_path):
    assert restored(built(tmp_path / "a.tar", GOOD), tmp_path / "new") == ["cohort.tsv", "config.yaml"]


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/main/neurohorizon_seed-0/a1b2/last.ckpt",
        "models/main/neurohorizon_seed-0/model.safetensors",
        "sessions/ibl/one.h5",
        "features/ibl/one.h5",
        "raw/ibl/one.json",
        "forecasts/main/one/oracle.h5",
        "cross_session/tables/summary.parquet",
        "report/results.json",
        "scores/main/one.ckpt",
        "scores/main/.one.parquet",
        "scores/ma in/one.parquet",
        "scores/main/one.parquet\n",
        "restored.txt",
        "../scores/main/one.parquet",
        "/scores/main/one.parquet",
        "scores/../scores/one.parquet",
        "./scores/main/one.parquet",
        "scores/main/one.parquet/one.parquet",
    ],
)
def test_only_files_of_sums_are_restored(tmp_path, name):
    archive = built(tmp_path / "a.tar", {**GOOD, "scores/main/one.parquet": b"", name: b"pickle"})
    with pytest.raises(ArchiveError) as error:
        restored(archive, tmp_path / "new")
    assert name.split("/")[-1].strip() in str(error.value) and "\n" not in str(error.value)
    assert files_below(tmp_path / "new") == files_below(tmp_path / "scores") == set()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_devices_and_folders_are_refused_by_name(tmp_path, kind):
    member = tarfile.TarInfo("scores/main/one.parquet")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(ArchiveError, match=r"'scores/main/one\.parquet' is no plain file"):
        restored(built(tmp_path / "a.tar", GOOD, member), tmp_path / "new")
    first = tarfile.TarInfo(SUMS)
    first.type, first.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.addfile(first)
    with pytest.raises(ArchiveError, match="no score archive"):
        restored(tmp_path / "b.tar", tmp_path / "new")


def test_a_member_that_is_there_twice_is_refused_by_name(tmp_path):
    again = tarfile.TarInfo("scores/main/one.parquet")
    archive = built(tmp_path / "a.tar", {**GOOD, again.name: b""})
    with tarfile.open(archive, "a") as file:
        file.addfile(again)
    with pytest.raises(
        ArchiveError, match=r"'scores/main/one\.parquet' is in SHA256SUMS or in the archive, but not once"
    ):
        restored(archive, tmp_path / "new")


HASH = "0" * 64


@pytest.mark.parametrize(
    ("sums", "says"),
    [
        (b"nonsense", "line 1 of SHA256SUMS is 'nonsense'; expected a hash"),
        (f"{HASH}  a\n\n".encode(), "line 2 of SHA256SUMS is ''"),
        (f"{HASH}  a\n{HASH}  a\n".encode(), "line 2 of SHA256SUMS"),
        (f"{HASH} a".encode(), "line 1 of SHA256SUMS"),
        (b"\xff\xfe", "line 1 of SHA256SUMS"),
        (b"a" * 11_000_000, "SHA256SUMS has 11000000 bytes, expected at most"),
    ],
)
def test_a_malformed_list_of_hashes_is_refused_with_its_line(tmp_path, sums, says):
    with pytest.raises(ArchiveError, match=says):
        restored(built(tmp_path / "a.tar", GOOD, sums=sums), tmp_path / "new")


def test_a_configuration_a_cohort_or_a_file_that_cannot_be_used_is_refused(tmp_path):
    with h5py.File(tmp_path / "taken.h5", "w") as file:
        file.create_dataset("spikes", (4,), "f8", external=[("/etc/passwd", 0, 32)])
    for name, content, says in (
        ("config.yaml", b"a: &a [*a]", r"config\.yaml cannot be used .*alias \*a is refused"),
        (
            "cohort.tsv",
            COHORT.replace("one", "../one").encode(),
            r"cohort\.tsv cannot be used .*'\.\./one' names files",
        ),
        ("cross_session/tables/example.h5", (tmp_path / "taken.h5").read_bytes(), r"another file \('/etc/passwd'\)"),
        ("cross_session/tables/example.h5", b"pickle", r"example\.h5 cannot be used"),
    ):
        with pytest.raises(ArchiveError, match=says) as error:
            restored(built(tmp_path / "a.tar", {**GOOD, name: content}), tmp_path / "new")
        assert ".part-" not in str(error.value), "a folder that is gone"
        assert files_below(tmp_path / "new") == set()


def test_an_empty_record_of_the_hash_is_not_the_hash(run, tmp_path):
    archive = archived(run)
    Path(f"{archive}.sha256").write_text("")
    with pytest.raises(ArchiveError, match="is not the file whose hash"):
        restored(archive, tmp_path / "new")


@pytest.mark.parametrize("length", [0, 300, 512, 900, 2300])
def test_an_archive_that_is_cut_short_is_refused_and_nothing_is_written(run, tmp_path, length):
    whole = archived(run).read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[:length])
    with pytest.raises(ArchiveError, match=r"cut.tar (is cut short|is no score archive)|not once in both"):
        restored(cut, tmp_path / "new")
    assert files_below(tmp_path / "new") == set()


def test_another_file_than_the_one_that_was_published_is_refused(run, tmp_path):
    archive = archived(run)
    archive.write_bytes(archive.read_bytes() + bytes(512))
    with pytest.raises(ArchiveError, match="download it again"):
        restored(archive, tmp_path / "new")


def test_another_configuration_is_refused_but_another_place_is_not(run, tmp_path):
    elsewhere = CONFIG | {"run": {"name": "toy", "results": "elsewhere"}, "sources": {"nwb": {"folder": "b"}}}
    assert restored(archived(run), tmp_path / "new", elsewhere)
    with pytest.raises(ArchiveError, match=r"model\.width is 64 there and 32 here"):
        restored(archived(run), tmp_path / "newer", CONFIG | {"model": {"width": 32}})


def test_a_cohort_that_is_there_is_never_overwritten(run, tmp_path):
    cohort = tmp_path / "new" / "cohorts" / "mine.tsv"
    cohort.parent.mkdir(parents=True)
    cohort.write_text("another\n")
    with pytest.raises(ArchiveError, match="move it away"):
        restored(archived(run), tmp_path / "new")
    assert cohort.read_text() == "another\n"
    assert files_below(tmp_path / "new") == {"cohorts/mine.tsv"}


def test_files_that_would_not_be_restored_are_not_archived(run, tmp_path):
    with pytest.raises(ArchiveError, match=r"forecast\.h5 is no file of sums"):
        write_archive(tmp_path / "scores.tar", scores=[run / "forecast.h5"], folder=run, cohort=tmp_path / "cohort.tsv")


def test_files_of_another_run_are_not_archived(run, tmp_path):
    with pytest.raises(ArchiveError, match="does not lie in"):
        write_archive(
            tmp_path / "scores.tar", scores=[tmp_path / "cohort.tsv"], folder=run, cohort=tmp_path / "cohort.tsv"
        )
