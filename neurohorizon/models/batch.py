"""A batch as tensors on the network's device."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from neurohorizon.inputs.batches import Batch


@dataclass(frozen=True)
class Tensors:
    """A batch on a device; fields and axes as in ``inputs.batches.Batch``."""

    features: Tensor
    spike_unit: Tensor
    spike_age_bins: Tensor
    spike_mask: Tensor
    target_unit: Tensor
    target_unit_mask: Tensor
    reference_log_rate: Tensor
    history: Tensor
    history_bins: Tensor
    readout: Tensor
    readout_cv_gain: Tensor
    counts: Tensor
    target_mask: Tensor
    token_value: Tensor
    token_type: Tensor
    token_age_bins: Tensor
    token_mask: Tensor
    ahead_value: Tensor
    ahead_age_bins: Tensor
    ahead_mask: Tensor
    modality_gain: Tensor
    modality_group_gain: Tensor
    modality_cv_gain: Tensor

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
