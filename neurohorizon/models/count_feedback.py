"""Counts fed back to the decoder: observed or drawn counts of earlier bins of the horizon."""

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from neurohorizon.models.losses import QUIET_COUNTS

FED_SPANS_BINS = (1, 4, 16)
"""Spans before a bin of the horizon over which a unit's own fed-back counts are summed for the head."""


@dataclass(frozen=True)
class Fed:
    """Counts of the horizon's bins that are fed back to the decoder; each bin hears those before it.

    Attributes:
        counts: Counts of the forecast units; where a bin is not known they do not matter, [S, W, H, O].
        known: Whether a bin's counts are fed back, [S, W, H].
    """

    counts: Tensor
    known: Tensor


class PopulationFeedback(nn.Module):
    """Pool the counts of a bin over units, each through its embedding; starts at zero."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.fed = nn.Parameter(torch.zeros(width))  # that counts are known, whatever they are
        nn.init.zeros_(self.out.weight)

    def forward(self, unit: Tensor, counts: Tensor, log_rate: Tensor, mask: Tensor, known: Tensor) -> Tensor:
        """Return what each bin feeds back; exactly zero where it is not known.

        Args:
            unit: Embeddings of the forecast units, [S, O, D].
            counts: Their counts in each bin, [S, W, R, O], of any rows R.
            log_rate: Their reference log rate, [S, O].
            mask: False for padded units, [S, O].
            known: Whether the counts of a row are fed back, [S, W, R].

        Returns:
            [S, W, R, D].
        """
        expected = log_rate.exp()[:, None, None]
        surplus = (counts - expected) / torch.sqrt(expected + QUIET_COUNTS) * mask[:, None, None]
        surplus = surplus / mask.sum(-1).clamp_min(1).sqrt()[:, None, None, None]
        pooled = surplus.to(unit.dtype) @ self.value(unit)[:, None]  # [S, W, R, D]
        return (self.out(pooled) + self.fed) * known[..., None]


def own_surprise(fed: Fed, log_rate: Tensor) -> list[Tensor]:
    """Return each unit's :func:`log_surprise` over the known bins of the spans before each bin, K of [S, W, H, O]."""
    known = fed.known[..., None].to(fed.counts.dtype)
    counts = nnf.pad((fed.counts * known).cumsum(2), (0, 0, 1, 0))  # [S, W, H + 1, O]
    bins = nnf.pad(known.cumsum(2), (0, 0, 1, 0))
    rate = log_rate.exp()[:, None, None]
    n_bins = fed.known.shape[2]
    until = torch.arange(n_bins, device=counts.device)
    found = []
    for span in FED_SPANS_BINS:
        since = (until - span).clamp_min(0)
        expected = rate * (bins[:, :, until] - bins[:, :, since])
        found.append(log_surprise(counts[:, :, until] - counts[:, :, since], expected))
    return found


def log_surprise(counts: Tensor, expected: Tensor) -> Tensor:
    """Return log counts against those expected, half a spike added to both; 0 where no bin is known."""
    return torch.log((counts + 0.5) / (expected + 0.5))
