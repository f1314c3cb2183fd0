"""A checkpoint is read as numbers and tensors only, and one that cannot be used is set aside."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from neurohorizon.files import RECORDED_FOLDER, replacing
from neurohorizon.models.checkpoint import CheckpointError, read_checkpoint, resume_from

NETWORK = nn.Linear(3, 2)
EXPECTED = {"weights": "network", "like": NETWORK.state_dict(), "others": ("step",)}


class Bomb:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def written(path: Path, **changes: object) -> Path:
    torch.save({"network": NETWORK.state_dict(), "step": 7, **changes}, path)
    return path


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    found = resume_from(written(tmp_path / "last.ckpt"), **EXPECTED)
    assert found["step"] == 7
    torch.testing.assert_close(found["network"]["weight"], NETWORK.weight, rtol=0, atol=0)
    assert resume_from(tmp_path / "absent.ckpt", **EXPECTED) is None


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: written(path, note=Bomb(path.parent / "hit")), "or holds more than numbers, texts and tensors"),
        (lambda path: path.write_bytes(written(path).read_bytes()[:-400]), "PytorchStreamReader|zip"),
        (lambda path: path.write_bytes(b""), "EOFError|Ran out of input"),
        (lambda path: path.write_text("no checkpoint"), "no checkpoint of this training"),
        (lambda path: torch.save([1], path), "no checkpoint of this training"),
        (lambda path: torch.save({"network": NETWORK.state_dict()}, path), "it lacks one of step"),
        (lambda path: written(path, network=nn.Linear(3, 3).state_dict()), "weights are those of another network"),
        (lambda path: written(path, network=nn.Linear(3, 2, bias=False).state_dict()), "of another network"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_named_and_set_aside(tmp_path, capsys, spoil, says):
    path = tmp_path / "last.ckpt"
    spoil(path)
    with pytest.raises(CheckpointError, match=says) as error:
        read_checkpoint(path, **EXPECTED)
    assert str(error.value).startswith(str(path)) and "delete its folder, and run again" in str(error.value)
    assert resume_from(path, **EXPECTED) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(str(path)) and "it is now last.ckpt.unusable, and the training starts again" in line
    assert [one.name for one in tmp_path.iterdir()] == ["last.ckpt.unusable"]


def test_a_checkpoint_with_one_other_bit_is_set_aside(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(RECORDED_FOLDER, str(tmp_path))
    path = tmp_path / "last.ckpt"
    with replacing(path) as temporary:
        written(temporary)
    content = bytearray(path.read_bytes())
    values = NETWORK.weight.detach().numpy().tobytes()
    content[content.index(values)] ^= 1  # the file is otherwise sound
    path.write_bytes(content)
    assert resume_from(path, **EXPECTED) is None
    assert "it is not what was written): it is now last.ckpt.unusable" in capsys.readouterr().out
