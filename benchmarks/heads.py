"""Comparison of heads: bins weigh a vector of each unit, or each pair of bin and unit is an input."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from benchmarks.memory import peak_of
from benchmarks.side_by_side import Pair, compare
from benchmarks.training_step import stream_of
from neurohorizon.config import Config
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import UnitHead, own_history


class TogetherHead(nn.Module, ABC):
    """A network of the widths of ``UnitHead`` on each pair of bin and unit: bin, identity and history concatenated.

    Shapes as in ``models.forecaster``; the outputs are a rate and a weight of the readout.
    """

    def __init__(self, *, width: int, head_width: int, n_history: int, horizon_group: Tensor) -> None:
        super().__init__()
        self.parts = (width, width, n_history)
        self.bin_norm = nn.LayerNorm(width)
        self.first = nn.Linear(sum(self.parts), head_width)
        self.mix = nn.Linear(head_width, head_width)
        self.out = nn.Linear(head_width, 2)
        self.register_buffer("group", horizon_group)

    def forward(self, bins: Tensor, unit: Tensor, x: Tensors) -> Tensor:
        """Return residual log rates, [S, W, H, O]."""
        history = torch.cat([own_history(x), x.readout], dim=-1)
        hidden = nnf.gelu(self._first(self.bin_norm(bins), unit, history))  # [S, W, H, O, D]
        rate, weight = self.out(nnf.gelu(self.mix(hidden))).unbind(-1)
        return rate + weight * x.readout[..., self.group].transpose(-1, -2)

    @abstractmethod
    def _first(self, bins: Tensor, unit: Tensor, history: Tensor) -> Tensor:
        """Return the first layer of bins, units and histories, [S, W, H, O, D]."""


class ConcatenatingHead(TogetherHead):
    """A head that stores the inputs of every bin and unit, and multiplies them."""

    def _first(self, bins: Tensor, unit: Tensor, history: Tensor) -> Tensor:
        size = (*bins.shape[:3], unit.shape[1])
        parts = (bins[:, :, :, None], unit[:, None, None], history[:, :, None])
        return self.first(torch.cat([part.expand(*size, -1) for part in parts], dim=-1))


class SummingHead(TogetherHead):
    """A head with the same output that projects bins, units and histories once each, and adds the projections."""

    def _first(self, bins: Tensor, unit: Tensor, history: Tensor) -> Tensor:
        of_bin, of_unit, of_history = self.first.weight.split(self.parts, dim=1)
        of_both = unit[:, None] @ of_unit.T + history @ of_history.T + self.first.bias
        return (bins @ of_bin.T)[:, :, :, None] + of_both[:, :, None]


class ShippedHead(UnitHead):
    """The forecaster's head with the arguments of the other heads."""

    def forward(self, bins: Tensor, unit: Tensor, x: Tensors) -> Tensor:
        """Return log rates, [S, W, H, O]."""
        return super().forward(bins, self.unit_state(unit, x), x).log_rate


def heads_of(config: Config, sizes: dict[str, int]) -> dict[str, nn.Module]:
    """Build the heads; the two on pairs of bin and unit have the same weights."""
    model = config.model.model_copy(update=sizes)
    torch.manual_seed(0)
    shipped = ShippedHead(model=model, horizon_bins=config.timeline.horizon_bins)
    together = {
        "width": model.width,
        "head_width": model.head_width,
        "n_history": shipped.of_history.in_features,
        "horizon_group": shipped.group,
    }
    concatenating, summing = ConcatenatingHead(**together), SummingHead(**together)
    summing.load_state_dict(concatenating.state_dict())
    return {"shipped": shipped, "summing": summing, "concatenating": concatenating}


def head_inputs(x: Tensors, config: Config, sizes: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Draw representations of bins and units for a batch, [S, W, H, D] and [S, O, D]."""
    width = config.model.model_copy(update=sizes).width
    sessions, windows, _, units = x.counts.shape
    generator = torch.Generator().manual_seed(1)
    bins = torch.randn(sessions, windows, config.timeline.horizon_bins, width, generator=generator)
    return bins, torch.randn(sessions, units, width, generator=generator)


def forward_backward(head: nn.Module, bins: Tensor, unit: Tensor, x: Tensors) -> None:
    """Do one pass forward and backward, with gradients of the inputs."""
    bins, unit = bins.detach().requires_grad_(), unit.detach().requires_grad_()
    head(bins, unit, x).square().mean().backward()


def run_head(name: str, config: Config, x: Tensors) -> None:
    """Do one pass of one head in a separate process, whose memory is measured."""
    torch.set_num_threads(1)
    forward_backward(heads_of(config, {})[name], *head_inputs(x, config, {}), x)


def prepare_head(name: str, config: Config, x: Tensors) -> None:
    """Do one pass on one window, before the memory of a head is measured."""
    run_head(name, config, x.first_windows(1))


def compare_heads(config: Config, x: Tensors, *, repeats: int) -> list[Pair]:
    """Compare time and peak memory of the heads on one batch, forward and backward."""
    heads = heads_of(config, {})
    bins, unit = head_inputs(x, config, {})
    torch.testing.assert_close(heads["summing"](bins, unit, x), heads["concatenating"](bins, unit, x))

    def passes(name: str) -> tuple[str, object]:
        return WORDS[name], lambda: forward_backward(heads[name], bins, unit, x)

    windows = x.counts.shape[0] * x.counts.shape[1]
    pairs = [
        compare(
            f"head, time of forward and backward, {rival}",
            ours=passes("shipped"),
            other=passes(rival),
            amount=windows,
            unit="windows/s",
            aim=None,
            repeats=repeats,
        )
        for rival in ("summing", "concatenating")
    ]
    peaks = {name: [peak_of(run_head, (name, config, x), before=prepare_head) for _ in range(3)] for name in heads}
    for rival in ("summing", "concatenating"):
        ratios = tuple(theirs / ours for ours, theirs in zip(peaks["shipped"], peaks[rival], strict=True))
        values = [sorted(peaks[name])[1] for name in ("shipped", rival)]
        pairs.append(Pair(f"head, peak memory, {rival}", WORDS["shipped"], WORDS[rival], "MB", None, ratios, *values))
    return pairs


WORDS = {
    "shipped": "UnitHead: bins weigh a vector of each unit",
    "summing": "bin and unit together, first layer as a sum of projections",
    "concatenating": "bin and unit together, concatenated",
}


def head_batch(sessions: list[SessionInputs], config: Config, *, windows: int) -> Tensors:
    """Return one training batch for the heads."""
    return Tensors.of(stream_of(sessions, config, windows=windows).batch(0))
