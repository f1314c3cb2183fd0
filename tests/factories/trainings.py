"""Trainings of small networks on made session files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factories.sessions import MadeFiles
from neurohorizon.config import Config
from neurohorizon.models.training import train_on_files
from neurohorizon.starting_weights import Start


def train_network(
    folder: Path,
    files: Sequence[MadeFiles],
    config: Config,
    *,
    method: str = "neurohorizon",
    seed: int = 0,
    start: Start | None = None,
    **changes: Any,
) -> Path:
    """Train a network on some sessions, and return its weights, which are in the folder.

    Args:
        changes: Keys of the section ``training``.
    """
    output = folder / "model.safetensors"
    train_on_files(
        method=method,
        paths=[one.paths for one in files],
        timeline=config.timeline,
        features=config.features,
        model=config.model,
        training=config.training.model_copy(update=changes),
        fold="main",
        seed=seed,
        code="c0de",
        checkpoints=folder / "checkpoints",
        output=output,
        log=folder / "log.csv",
        start=start,
    )
    return output
