import os

import pytest

from neurohorizon.files import replacing


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
