"""Counts of earlier bins of the horizon, observed or drawn, that are fed back to the decoder and the head."""

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from neurohorizon.models.batch import Tensors
from neurohorizon.models.likelihoods import QUIET_COUNTS

FED_SPANS_BINS = (1, 4, 16)
"""Spans before a bin of the horizon over which a unit's own fed-back counts are summed for the head."""


@dataclass(frozen=True)
class FedBackCounts:
    """Counts of the horizon's bins; each bin receives those of the bins before it.

    Attributes:
        counts: Counts of the forecast units, [S, W, H, O]. Where a bin is not given their values have no effect.
        is_given: True where a bin's counts are fed back, [S, W, H].
    """

    counts: Tensor
    is_given: Tensor

    @classmethod
    def observed(cls, x: Tensors) -> "FedBackCounts":
        """Return the observed counts of all valid bins of a batch."""
        return cls(x.counts, x.target_mask)


class PopulationFeedback(nn.Module):
    """Pool the counts of a bin over units, each through its embedding; starts at zero."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.fed = nn.Parameter(torch.zeros(width))  # marks that counts are given, for any values
        nn.init.zeros_(self.out.weight)

    def forward(self, unit: Tensor, counts: Tensor, x: Tensors) -> Tensor:
        """Pool the counts of any R bins, [S, W, R, D].

        Args:
            unit: Embeddings of the forecast units, [S, O, D].
            counts: Counts of these units in each bin, [S, W, R, O].
        """
        mask = x.target_unit_mask
        expected = x.reference_log_rate.exp()[:, None, None]
        surplus = (counts - expected) / torch.sqrt(expected + QUIET_COUNTS) * mask[:, None, None]
        surplus = surplus / mask.sum(-1).clamp_min(1).sqrt()[:, None, None, None]
        pooled = surplus.to(unit.dtype) @ self.value(unit)[:, None]  # [S, W, R, D]
        return self.out(pooled) + self.fed

    def of_bin_before(self, unit: Tensor, fed_back: FedBackCounts, x: Tensors) -> Tensor:
        """Return the pooled counts of the bin before each bin; exactly zero where none is given, [S, W, H, D]."""
        pooled = self(unit, fed_back.counts, x) * fed_back.is_given[..., None]
        return nnf.pad(pooled, (0, 0, 1, 0))[:, :, :-1]


def history_log_ratios(fed_back: FedBackCounts, reference_log_rate: Tensor) -> list[Tensor]:
    """Return each unit's :func:`history_log_ratio` over the given bins of the spans before each bin.

    Returns:
        One tensor per span of :data:`FED_SPANS_BINS`, [S, W, H, O].
    """
    given = fed_back.is_given[..., None].to(fed_back.counts.dtype)
    counts = nnf.pad((fed_back.counts * given).cumsum(2), (0, 0, 1, 0))  # [S, W, H + 1, O]
    bins = nnf.pad(given.cumsum(2), (0, 0, 1, 0))
    rate = reference_log_rate.exp()[:, None, None]
    n_bins = fed_back.is_given.shape[2]
    until = torch.arange(n_bins, device=counts.device)
    ratios = []
    for span in FED_SPANS_BINS:
        since = (until - span).clamp_min(0)
        expected = rate * (bins[:, :, until] - bins[:, :, since])
        ratios.append(history_log_ratio(counts[:, :, until] - counts[:, :, since], expected))
    return ratios


def history_log_ratio(counts: Tensor, expected: Tensor) -> Tensor:
    """Return the log of counts over expected counts, half a spike added to both; 0 where no bin is valid."""
    return torch.log((counts + 0.5) / (expected + 0.5))
