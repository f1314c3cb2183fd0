"""Batches as tensors on the network's device, and the loading of training batches."""

from collections.abc import Iterator
from dataclasses import fields

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from neurohorizon.config import Training
from neurohorizon.inputs.batches import Batch, TrainingWindows


class Tensors(Batch[Tensor]):
    """A batch on the network's device."""

    @classmethod
    def of(cls, batch: Batch, device: torch.device | str = "cpu") -> "Tensors":
        """Move a batch to a device."""
        return cls(**{f.name: torch.from_numpy(getattr(batch, f.name)).to(device) for f in fields(cls)})

    def first_windows(self, n: int) -> "Tensors":
        """Return the first windows of each session."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Tensors(**{name: one if name in OF_SESSION else one[:, :n] for name, one in values.items()})

    def targets_of(self, unit: Tensor) -> Tensor:
        """Pick the embeddings of the units to forecast, [S, O, D], from those of all units, [S, U, D]."""
        return torch.take_along_dim(unit, self.target_unit[..., None], dim=1)


OF_SESSION = (
    "features",
    "target_unit",
    "target_unit_mask",
    "reference_log_rate",
    "readout_cv_gain",
    "modality_cv_gain",
)
"""Fields of a batch that all windows of a session share."""


class NumberedDataset(Dataset):
    """Training batches by their number, made on demand."""

    def __init__(self, stream: TrainingWindows) -> None:
        self.stream = stream

    def __getitem__(self, number: int) -> Batch:
        return self.stream.batch(number)


class ListDataset(Dataset):
    """Batches in memory."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


def process_place() -> tuple[int, int]:
    """Return the index of this training process, and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def batch_numbers(epoch: int, *, steps: int, accumulated: int, rank: int, ranks: int) -> range:
    """Return the numbers of the batches of one process in one epoch; no two processes or epochs share a number.

    Args:
        steps: Steps of the optimiser in an epoch.
        accumulated: Batches of each process in a step.
    """
    per_epoch = steps * accumulated * ranks
    return range(epoch * per_epoch + rank, (epoch + 1) * per_epoch, ranks)


class EpochBatches(Sampler[int]):
    """Batches of the current epoch. Lightning sets the epoch, except for the first one after a resumption."""

    def __init__(self, training: Training, *, steps_done: int) -> None:
        self.steps, self.accumulated = training.validate_every_steps, training.accumulate_batches
        self.epoch = steps_done // self.steps

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next batches."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.accumulated

    def __iter__(self) -> Iterator[int]:
        rank, ranks = process_place()
        return iter(batch_numbers(self.epoch, steps=self.steps, accumulated=self.accumulated, rank=rank, ranks=ranks))


class ShareOfBatches(Sampler[int]):
    """Every n-th batch of n processes, so that they share a validation."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def _share(self) -> range:
        rank, ranks = process_place()
        return range(rank, self.batches, ranks)

    def __len__(self) -> int:
        return len(self._share())

    def __iter__(self) -> Iterator[int]:
        return iter(self._share())


def batch_loader(dataset: Dataset, sampler: Sampler, *, workers: int) -> DataLoader:
    """Load whole batches in the order of a sampler."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
    )
