"""Windows per second: our loader, and torch_brain's loader on the same files and windows."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch_brain.data import Data, Interval
from torch_brain.datasets import Dataset, DatasetIndex
from torch_brain.samplers import RandomFixedWindowSampler
from torch_brain.utils import bin_spikes

from benchmarks.side_by_side import Pair, compare
from neurohorizon.inputs.batches import Batch, SessionInputs, collate, session_block
from neurohorizon.inputs.windows import WindowShape, cut_windows
from neurohorizon.timeline import to_s, to_us


def sampled_windows(
    sessions: Sequence[SessionInputs], shape: WindowShape, *, per_session: int, seed: int
) -> dict[str, np.ndarray]:
    """Draw windows by torch_brain's sampler, and round them to even microseconds.

    Returns:
        Forecast origins of each session, int64 microseconds, in the sampler's order, [window].
    """
    length_s = float(to_s((shape.context_bins + shape.horizon_bins) * shape.bin_us))
    parts = {s.session_id: Interval(to_s(s.part.start_us), to_s(s.part.stop_us)) for s in sessions}
    origins: dict[str, list[int]] = {name: [] for name in parts}
    generator = torch.Generator().manual_seed(seed)
    while min(len(found) for found in origins.values()) < per_session:
        sampler = RandomFixedWindowSampler(sampling_intervals=parts, window_length=length_s, generator=generator)
        for index in sampler:
            start_us = int(to_us(index.start)) // 2 * 2
            origins[index.recording_id].append(start_us + shape.context_bins * shape.bin_us)
    return {name: np.array(found[:per_session]) for name, found in origins.items()}


def our_counts(sessions: Sequence[SessionInputs], origins: dict[str, np.ndarray], shape: WindowShape) -> list:
    """Count each session's windows by our loader, each [window, bin, unit]; without history before the windows."""
    shape = replace(shape, history_edges_bins=(shape.context_bins,))
    counts = []
    for session in sessions:
        windows = cut_windows(session.spikes, session.part, origins[session.session_id], shape)
        counts.append((windows.context, windows.counts))
    return counts


def our_batch(sessions: Sequence[SessionInputs], origins: dict[str, np.ndarray], shape: WindowShape) -> Batch:
    """Load all inputs of a training step: counts, spikes, history, features and readouts, padded."""
    heads = [np.arange(min(256, session.spikes.n_units)) for session in sessions]
    return collate(
        [session_block(s, origins[s.session_id], shape, head=head) for s, head in zip(sessions, heads, strict=True)]
    )


def window_indices(origins: dict[str, np.ndarray], shape: WindowShape) -> list[DatasetIndex]:
    """Return the same windows in torch_brain's form."""
    before, after = shape.context_bins * shape.bin_us, shape.horizon_bins * shape.bin_us
    return [
        DatasetIndex(name, float(to_s(origin - before)), float(to_s(origin + after)))
        for name, found in origins.items()
        for origin in found.tolist()
    ]


def dataset_counts(dataset: Dataset, indices: Sequence[DatasetIndex], n_units: dict[str, int], bin_s: float) -> list:
    """Count windows by torch_brain's dataset and its binning, each [bin, unit]."""
    return [bin_spikes(dataset[index].spikes, n_units[index.recording_id], bin_s) for index in indices]


def memory_counts(
    recordings: dict[str, Data], indices: Sequence[DatasetIndex], n_units: dict[str, int], bin_s: float
) -> list:
    """Count the same windows from recordings that were read completely into memory."""
    return [
        bin_spikes(recordings[i.recording_id].slice(i.start, i.end).spikes, n_units[i.recording_id], bin_s)
        for i in indices
    ]


def check_equal(ours: list, other: list) -> None:
    """Assert that both counted the same spikes into the same bins of the same windows."""
    together = [np.concatenate(window) for counts in ours for window in zip(*counts, strict=True)]
    assert len(together) == len(other)
    for mine, theirs in zip(together, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert sum(int(counts.sum()) for counts in other) > 0


def keep_freed_memory() -> None:
    """Make the allocator keep freed memory, as in any process that trains.

    glibc returns large arrays to the system at once, and requests their pages again for the next batch, until an
    array of tens of megabytes was freed; this function frees one. Both sides of a pair become faster.
    """
    np.ones(3_900_000)


def compare_loaders(
    folder: Path, sessions: Sequence[SessionInputs], shape: WindowShape, *, per_session: int, batches: int, repeats: int
) -> list[Pair]:
    """Compare loaders on windows that torch_brain's sampler drew.

    A turn has several batches of different windows, since times of two milliseconds depend on other processes.

    Args:
        folder: Folder of the session files.
        sessions: Our inputs of the same sessions.
        shape: Lengths in bins.
        per_session: Windows of each session in a batch.
        batches: Batches in a turn.
        repeats: Times that each is run.
    """
    drawn = [sampled_windows(sessions, shape, per_session=per_session, seed=seed) for seed in range(batches)]
    indices = [window_indices(origins, shape) for origins in drawn]
    n_units = {session.session_id: session.spikes.n_units for session in sessions}
    bin_s = shape.bin_us / 1e6
    dataset = Dataset(folder, recording_ids=list(n_units))
    in_memory = {name: Data.load(folder / f"{name}.h5", lazy=False) for name in n_units}

    # both sides release a batch before they make the next one
    def lazily() -> None:
        for windows in indices:
            dataset_counts(dataset, windows, n_units, bin_s)

    def from_memory() -> None:
        for windows in indices:
            memory_counts(in_memory, windows, n_units, bin_s)

    def counts() -> None:
        for origins in drawn:
            our_counts(sessions, origins, shape)

    def whole() -> None:
        for origins in drawn:
            our_batch(sessions, origins, shape)

    keep_freed_memory()
    check_equal(our_counts(sessions, drawn[0], shape), dataset_counts(dataset, indices[0], n_units, bin_s))
    check_equal(our_counts(sessions, drawn[0], shape), memory_counts(in_memory, indices[0], n_units, bin_s))
    settings = {"amount": batches * len(sessions) * per_session, "unit": "windows/s", "repeats": repeats}
    theirs = ("torch_brain Dataset, windows of its RandomFixedWindowSampler, bin_spikes", lazily)
    resident = ("torch_brain Data in memory, slice, bin_spikes", from_memory)
    return [
        compare("counts of windows", ours=("cut_windows", counts), other=theirs, aim=10, **settings),
        compare(
            "counts of windows, files in memory", ours=("cut_windows", counts), other=resident, aim=None, **settings
        ),
        compare(
            "training batch compared with only counts",
            ours=("a whole training batch", whole),
            other=theirs,
            aim=None,
            **settings,
        ),
    ]
