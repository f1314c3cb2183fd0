"""Checkpoints that an interrupted training resumes from, read as numbers, texts and tensors only.

A checkpoint is a pickle, which can run any code when it is read; `torch.load` with ``weights_only`` refuses everything
else than such values.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from neurohorizon.files import DamagedFileError, require_as_written

_UNREADABLE = (RuntimeError, ValueError, TypeError, LookupError, EOFError, AttributeError)


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message gives the file and what to do."""


def read_checkpoint(
    path: Path,
    *,
    weights: str,
    like: Mapping[str, Tensor],
    others: Sequence[str] = (),
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Read a checkpoint.

    Args:
        weights: Key of the network's tensors by name.
        like: Tensors of the network.
        others: Further keys that it must have.
        device: Where its tensors go.

    Raises:
        CheckpointError: It is damaged, is of another network, or holds more than numbers, texts and tensors.
    """
    try:
        require_as_written(path)
        found = torch.load(path, map_location=device, weights_only=True)
        fault = "" if all(name in found for name in others) else f"it lacks one of {', '.join(others)}"
        shapes = {name: value.shape for name, value in found[weights].items()}
        if shapes != {name: value.shape for name, value in like.items()}:
            fault = "its weights are those of another network"
    except UnpicklingError:
        fault = "it is damaged, or holds more than numbers, texts and tensors"
    except DamagedFileError:
        fault = "it is not what was written"
    except _UNREADABLE as error:
        fault = f"{type(error).__name__}: {shorten(str(error), 150)}"
    if fault:
        raise CheckpointError(f"{path} is no checkpoint of this training ({fault}): delete its folder, and run again")
    return found


def resume_from(path: Path, **expected: Any) -> dict[str, Any] | None:
    """Return the checkpoint of an interrupted training; None if there is none, so that it starts at its first step.

    A file that cannot be used is set aside with a printed line: a kill or a full disk can cut a checkpoint short, and
    the training repeats the same steps.

    Args:
        expected: As for :func:`read_checkpoint`.
    """
    if not path.exists():
        return None
    try:
        return read_checkpoint(path, **expected)
    except CheckpointError as error:
        aside = path.with_name(f"{path.name}.unusable")
        with suppress(FileNotFoundError):  # another process of this training was faster
            path.replace(aside)
        print(f"{str(error).rpartition(':')[0]}: it is now {aside.name}, and the training starts again.", flush=True)
        return None
