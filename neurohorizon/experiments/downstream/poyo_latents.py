"""Latents of another network for contexts, kept for probes: one file a session, a group for each target."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.files import replacing


def write_contexts(path: Path, contexts: Mapping[str, tuple[np.ndarray, np.ndarray]] | str) -> None:
    """Write the latents of a network for contexts, or the reason why a session has none.

    Args:
        contexts: For each target the ends of its contexts, int64 [window], and the values, float32 [window, input].
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["left_out"] = contexts if isinstance(contexts, str) else ""
        for target, (origin_us, values) in ({} if isinstance(contexts, str) else contexts).items():
            group = file.create_group(target)
            for name, data, axes, unit in (
                ("origin_us", origin_us, "window", "us"),
                ("values", values.astype(np.float32), "window, input", ""),
            ):
                dataset = group.create_dataset(name, data=data)
                dataset.attrs["axes"] = axes
                dataset.attrs["unit"] = unit


def read_contexts(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]] | str:
    """Read what :func:`write_contexts` wrote."""
    with h5py.File(path, "r") as file:
        if file.attrs["left_out"]:
            return str(file.attrs["left_out"])
        return {name: (group["origin_us"][:], group["values"][:]) for name, group in file.items()}
