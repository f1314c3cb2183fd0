import os
import random
import resource
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from factories.sessions import made_session, small_config
from safetensors.torch import save_file

from neurohorizon.files import (
    RECORDED_FOLDER,
    DamagedFileError,
    DiskFullError,
    damage,
    full_disks,
    naming_full_disk,
    record_path,
    replacing,
    replacing_folder,
    require_as_written,
)
from neurohorizon.session import write_session
from workflow.scripts.call import run
from workflow.verify import damaged_files


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "table.tsv"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.suffix == ".tsv"  # writers choose the format by it
    assert path.read_text() == "whole"
    assert [one.name for one in path.parent.iterdir()] == ["table.tsv"]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("old")

    def fail_half_way():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_mode_of_a_file_is_that_of_a_new_file_whatever_the_writers(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "weights") as temporary:
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))  # as safetensors writes
    finally:
        os.umask(before)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == mode


def test_a_writer_that_writes_nothing_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "table.tsv"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def recorded(tmp_path, monkeypatch) -> Path:
    """A folder whose files have records, as the results of a run."""
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setenv(RECORDED_FOLDER, str(folder))
    return folder


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_file_of_a_run_has_a_record_of_its_content_and_others_have_none(recorded, tmp_path):
    for text in ("one", "another one"):
        write_text(recorded / "a" / "table.tsv", text)
        assert record_path(recorded / "a" / "table.tsv").read_text() == f"{zlib.crc32(text.encode()):08x} {len(text)}"
    assert sorted(one.name for one in (recorded / "a").iterdir()) == [".table.tsv.crc32", "table.tsv"]
    write_text(tmp_path / "table.tsv", "one")
    assert not record_path(tmp_path / "table.tsv").exists()
    require_as_written(tmp_path / "table.tsv")


def test_a_file_that_is_written_outside_of_a_run_has_no_old_record(recorded, monkeypatch):
    write_text(recorded / "table.tsv", "one")
    monkeypatch.delenv(RECORDED_FOLDER)
    write_text(recorded / "table.tsv", "by hand")
    require_as_written(recorded / "table.tsv")


def test_an_error_leaves_the_old_file_with_its_record(recorded):
    write_text(recorded / "table.tsv", "old")

    def fail_half_way():
        with replacing(recorded / "table.tsv") as temporary:
            temporary.write_text("half")
            raise KeyError("half")

    with pytest.raises(KeyError):
        fail_half_way()
    require_as_written(recorded / "table.tsv")
    assert sorted(one.name for one in recorded.iterdir()) == [".table.tsv.crc32", "table.tsv"]


def test_a_file_that_another_process_writes_meanwhile_is_not_damaged(recorded, monkeypatch):
    path = recorded / "table.tsv"
    write_text(path, "one")
    read = Path.read_text

    def read_and_be_overtaken(self: Path, **options: str) -> str:
        text = read(self, **options)
        monkeypatch.setattr(Path, "read_text", read)
        write_text(path, "two")
        return text

    monkeypatch.setattr(Path, "read_text", read_and_be_overtaken)
    assert damage(path) == ""
    assert path.read_text() == "two"


def written_session(path: Path) -> None:
    write_session(path, made_session("made", small_config().splits))


def written_hdf5(path: Path) -> None:
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file["log_rate"] = np.arange(20_000.0)


def written_parquet(path: Path) -> None:
    with replacing(path) as temporary:
        pd.DataFrame({"nats": np.arange(20_000.0)}).to_parquet(temporary)


def written_weights(path: Path) -> None:
    with replacing(path) as temporary:
        save_file({"weight": torch.arange(20_000.0)}, temporary)


def written_checkpoint(path: Path) -> None:
    with replacing(path) as temporary:
        torch.save({"weight": torch.arange(20_000.0)}, temporary)


def written_array(path: Path) -> None:
    with replacing(path) as temporary:
        np.save(temporary, np.arange(20_000.0))


def written_archive(path: Path) -> None:
    with replacing(path) as temporary:
        np.savez(temporary, gain=np.arange(20_000.0))


def written_card(path: Path) -> None:
    write_text(path, "[" + ", ".join(map(str, range(20_000))) + "]\n")


KINDS: dict[str, Callable[[Path], None]] = {
    "session.h5": written_session,
    "forecast.h5": written_hdf5,
    "sums.parquet": written_parquet,
    "model.safetensors": written_weights,
    "last.ckpt": written_checkpoint,
    "values.npy": written_array,
    "values.npz": written_archive,
    "model.json": written_card,
}


def spoilt(content: bytes, rng: random.Random) -> Iterator[bytes]:
    """Yield a content with a flipped bit at its ends and at random places, and cut at random places."""
    for place in [0, len(content) - 1, *(rng.randrange(len(content)) for _ in range(20))]:
        yield content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
        yield content[:place]
    yield content + b"\0"


def test_a_file_that_an_option_names_as_text_is_checked_too(recorded):
    def list_sessions(sessions: Sequence[str | Path], names: Sequence[str], output: str) -> None:
        pass

    write_text(recorded / "a.h5", "whole")
    options = ["--sessions", str(recorded / "a.h5"), "--names", "a" * 5000 + "/", "--output", str(recorded / "list")]
    run(list_sessions, options)
    (recorded / "a.h5").write_text("whale")
    with pytest.raises(SystemExit, match=r"a\.h5 is damaged"):
        run(list_sessions, options)


@pytest.mark.parametrize("name", KINDS)
def test_a_job_refuses_a_file_of_any_kind_with_one_other_bit_and_names_it(recorded, name):
    path, read = recorded / name, []

    def score(forecasts: tuple[Path, ...], output: Path) -> None:
        read.extend(forecasts)

    KINDS[name](path)
    options = ["--forecasts", str(path), str(path), "--output", str(recorded / "sums.parquet")]
    run(score, options)
    assert read == [path, path]
    content = path.read_bytes()
    for other in spoilt(content, random.Random(name)):
        path.write_bytes(other)
        with pytest.raises(SystemExit) as error:
            run(score, options)
        first, *others = str(error.value).split("\n")
        assert first.startswith(f"score: {path} is damaged: it has CRC-32 and length ")
        assert others[0].startswith("Delete it and start the same command again") and len(others) == 2
    path.write_bytes(content)
    run(score, options)


def test_a_job_checks_all_files_of_a_folder_that_it_reads_and_none_that_it_writes(recorded):
    def draw(tables: Path, output_folder: Path, outputs: tuple[Path, ...]) -> None:
        pass

    for name in ("a", "b"):
        write_text(recorded / "tables" / f"{name}.parquet", "whole")
    tables = str(recorded / "tables")
    (recorded / "tables" / "b.parquet").write_text("other")
    run(draw, ["--tables", str(recorded), "--output-folder", tables, "--outputs", f"{tables}/b.parquet"])
    with pytest.raises(SystemExit, match=r"tables/b\.parquet is damaged"):
        run(draw, ["--tables", tables, "--output-folder", tables, "--outputs"])
    (recorded / "tables" / "b.parquet").unlink()
    run(draw, ["--tables", tables, "--output-folder", tables, "--outputs"])


def test_the_card_is_checked_with_its_weights_and_tables_with_the_folder_of_a_run(recorded):
    written_weights(recorded / "models" / "model.safetensors")
    write_text(recorded / "models" / "model.json", "{}")
    write_text(recorded / "scaling" / "tables" / "points.parquet", "whole")
    require_as_written(recorded / "models" / "model.safetensors")
    require_as_written(recorded)
    (recorded / "models" / "model.json").write_text("[]")
    (recorded / "scaling" / "tables" / "points.parquet").write_text("whale")
    with pytest.raises(DamagedFileError, match=r"models/model\.json is damaged"):
        require_as_written(recorded / "models" / "model.safetensors")
    with pytest.raises(DamagedFileError, match=r"points\.parquet is damaged"):
        require_as_written(recorded)


def test_all_damaged_files_of_a_run_are_found(recorded):
    for name in ("a", "b", "c"):
        write_text(recorded / "tables" / f"{name}.tsv", "whole")
    assert damaged_files(recorded) == (3, [])
    (recorded / "tables" / "b.tsv").write_text("whale")
    (recorded / "tables" / "c.tsv").unlink()
    count, (fault,) = damaged_files(recorded)
    assert count == 2 and "tables/b.tsv is damaged" in fault


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may be larger than 20 kB, as on a disk that is full by then."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_any_kind_without_space_is_named_and_no_half_of_it_is_left(recorded, small_files, name):
    with pytest.raises(DiskFullError) as error:
        KINDS[name](recorded / name)
    first, second = str(error.value).split("\n")
    assert first.startswith(f"{recorded / name} cannot be written: ")
    assert "it is larger than the limit for files (`ulimit -f`)" in first or "its disk took only a part of it" in first
    assert second == "Free space there, then start the same command again: it continues with the files that are there."
    assert list(recorded.iterdir()) == []


def test_a_job_without_space_names_its_output_whatever_it_was_writing(recorded):
    def sample(output: Path) -> None:
        raise RuntimeError("errno = 28, error message = 'No space left on device'")

    with pytest.raises(SystemExit, match=r"^sample: .*paths\.h5 cannot be written: its disk is full"):
        run(sample, ["--output", str(recorded / "paths.h5")])


def test_an_error_that_only_states_failure_is_named_where_the_disk_is_full(recorded, monkeypatch):
    def fail() -> None:
        with naming_full_disk(recorded / "last.ckpt"):
            raise RuntimeError("file write failed")

    with pytest.raises(RuntimeError, match=r"^file write failed$"):
        fail()
    assert full_disks(recorded, recorded / "absent") == []
    monkeypatch.setattr("neurohorizon.files._free_bytes", lambda folder: 100)
    with pytest.raises(DiskFullError, match="its disk is full"):
        fail()
    (line,) = full_disks(recorded, recorded.parent)
    assert line.startswith(f"The disk of {recorded.parent} has only 100 B left") and "start the same command" in line


def test_a_folder_without_space_is_named_and_no_half_of_it_is_left(recorded, small_files):
    def fail() -> None:
        with replacing_folder(recorded / "mouse") as folder:
            (folder / "units.npy").write_bytes(bytes(30_000))

    with pytest.raises(DiskFullError, match="mouse cannot be written: it is larger than the limit"):
        fail()
    assert list(recorded.iterdir()) == []
