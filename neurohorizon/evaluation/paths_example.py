"""Sample paths of one window, kept to be shown."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.files import replacing

EXAMPLE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles over paths that are kept."""


@dataclass(frozen=True)
class PathsExample:
    """Sample paths of one window of a session.

    Attributes:
        session: Session id.
        subject: Animal.
        bin_ms: Width of a bin.
        origin_s: Time of the forecast origin in the session.
        methods: Their names, str [method].
        series: ``population``, then units by their index in the session, str [series].
        units: Units that the population is made of.
        context: Observed spikes before the origin, [context bin, series].
        observed: Spikes that came, [horizon bin, series].
        reference: Spikes per bin expected from the reference window, [series].
        quantiles: Quantiles over paths at :data:`EXAMPLE_LEVELS`, [method, level, horizon bin, series].
        paths: A few of the paths, [method, path, horizon bin, series].
    """

    session: str
    subject: str
    bin_ms: float
    origin_s: float
    methods: np.ndarray
    series: np.ndarray
    units: int
    context: np.ndarray
    observed: np.ndarray
    reference: np.ndarray
    quantiles: np.ndarray
    paths: np.ndarray


_AXES = {
    "methods": ("method", "name"),
    "series": ("series", "name"),
    "context": ("context_bin, series", "spikes per bin"),
    "observed": ("horizon_bin, series", "spikes per bin"),
    "reference": ("series", "spikes per bin"),
    "quantiles": ("method, level, horizon_bin, series", "spikes per bin"),
    "paths": ("method, path, horizon_bin, series", "spikes per bin"),
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
    """Read what :func:`write_paths_example` wrote; None for a session that has none."""
    with h5py.File(path, "r") as file:
        if not len(file):
            return None
        values = {name: file[name].asstr()[:].astype(str) for name in ("methods", "series")}
        values |= {name: file[name][:] for name in _AXES if name not in values}
        return PathsExample(**values, **dict(file.attrs))
