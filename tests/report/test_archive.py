"""The score archive: what goes in comes out, whole and proven, and nothing else is written."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from neurohorizon.report.archive import SUMS, ArchiveError, restore_archive, write_archive

CONFIG = {
    "run": {"name": "toy", "results": "results/toy"},
    "model": {"width": 64},
    "sources": {"nwb": {"folder": "a"}},
}
SCORES = {
    "scores/main/one.parquet": b"\x00\x01",
    "multimodal/scores/main/one.parquet": b"",
    "models/main/b.json": b"{}",
}


@pytest.fixture
def run(tmp_path) -> Path:
    """A folder with scores, a configuration, and a file that is none of them."""
    folder = tmp_path / "run"
    for name, content in SCORES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "forecast.h5").write_text("large")
    (tmp_path / "cohort.tsv").write_text("session\none\n")
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
    assert (tmp_path / "new" / "cohorts" / "mine.tsv").read_text() == "session\none\n"


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
    return None if name == "models/main/b.json" else content


def _lead_out(name: str, content: bytes):
    content = content.replace(b"models/main/b.json", b"../stranger.json")
    return ("../stranger.json", content) if name == "models/main/b.json" else content


def _headless(name: str, content: bytes):
    return None if name == SUMS else content


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_damage, "scores/main/one.parquet is damaged"),
        (_drop, "models/main/b.json is in SHA256SUMS or in the archive, but not once in both"),
        (_lead_out, "../stranger.json is no plain file inside"),
        (_headless, "no score archive"),
    ],
)
def test_a_wrong_archive_is_refused_and_nothing_is_written(run, tmp_path, change, says):
    with pytest.raises(ArchiveError, match=says):
        restored(rewritten(archived(run), change), tmp_path / "new")
    assert files_below(tmp_path / "new") == set()
    assert not (tmp_path / "stranger.json").exists()


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


def test_files_of_another_run_are_not_archived(run, tmp_path):
    with pytest.raises(ArchiveError, match="does not lie in"):
        write_archive(
            tmp_path / "scores.tar", scores=[tmp_path / "cohort.tsv"], folder=run, cohort=tmp_path / "cohort.tsv"
        )
