"""Sample paths of one window, stored for a figure."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.files import replacing

EXAMPLE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Stored quantiles over paths."""


@dataclass(frozen=True)
class PathsExample:
    """Population spikes in blocks of bins in one window of a session, and on sample paths of it.

    The series are the spikes of all scored units in a block, and those from the origin to the end of the block.

    Attributes:
        session: Session id.
        subject: Animal.
        block_ms: Length of a block.
        origin_s: Time of the forecast origin in the session.
        methods: Their names, str [method].
        units: Number of units in the population.
        reference: Spikes of the population in a block, as expected from the reference window.
        context: Observed spikes before the origin, [context block].
        observed: Observed spikes, [block, series].
        quantiles: Quantiles over paths at :data:`EXAMPLE_LEVELS`, [method, level, block, series].
        paths: A few of the paths, [method, path, block, series].
    """

    session: str
    subject: str
    block_ms: float
    origin_s: float
    methods: np.ndarray
    units: int
    reference: float
    context: np.ndarray
    observed: np.ndarray
    quantiles: np.ndarray
    paths: np.ndarray


_AXES = {
    "methods": ("method", "name"),
    "context": ("context_block", "spikes"),
    "observed": ("block, series", "spikes"),
    "quantiles": ("method, level, block, series", "spikes"),
    "paths": ("method, path, block, series", "spikes"),
}


def write_paths_example(path: Path, example: PathsExample | None) -> None:
    """Write the example of a session, whole or not at all; None for a session that has none."""
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        for name, value in vars(example).items() if example else ():
            if name not in _AXES:
                file.attrs[name] = value
                continue
            text = value.dtype.kind == "U"
            dataset = file.create_dataset(
                name, data=value.astype(object) if text else value, dtype=h5py.string_dtype() if text else None
            )
            dataset.attrs["axes"], dataset.attrs["unit"] = _AXES[name]


def read_paths_example(path: str | Path) -> PathsExample | None:
    """Read a file of :func:`write_paths_example`; None for a session that has none."""
    with h5py.File(path, "r") as file:
        if not len(file):
            return None
        values = {name: file[name].asstr()[:].astype(str) for name in ("methods",)}
        values |= {name: file[name][:] for name in _AXES if name not in values}
        return PathsExample(**values, **dict(file.attrs))
