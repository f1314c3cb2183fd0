"""Distributions of counts: Poisson, and negative binomial with a learned shape."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FIRST_SHAPE = 10.0
"""Shape of the negative binomial of an untrained network."""
LOG_SHAPE_RANGE = (-4.0, 7.0)
"""Range of log shapes in which the negative binomial is neither all zeros nor numerically a Poisson distribution."""


@dataclass(frozen=True)
class CountDistribution:
    """Distribution of the counts of each bin: Poisson, or negative binomial where there is a shape.

    Attributes:
        log_rate: Natural log of expected counts per bin, [S, W, H, O].
        log_shape: Natural log of the negative binomial's shape; None for Poisson, [S, W, H, O].
    """

    log_rate: Tensor
    log_shape: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "CountDistribution":
        """Return the same distributions with each tensor changed, such as reshaped."""
        return CountDistribution(change(self.log_rate), None if self.log_shape is None else change(self.log_shape))


class PoissonShape(nn.Module):
    """The shape of Poisson counts: there is none."""

    def forward(self, bins: Tensor, state: Tensor) -> None:
        """Return None."""


class NegativeBinomialShape(nn.Module):
    """The log shape of negative binomial counts, for each bin and unit; starts at one constant."""

    def __init__(self, *, width: int, head_width: int) -> None:
        super().__init__()
        self.weights = nn.Linear(width, head_width)
        self.log_shape = nn.Parameter(torch.tensor(math.log(FIRST_SHAPE)))
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(self, bins: Tensor, state: Tensor) -> Tensor:
        """Return log shapes, [S, W, R, O], from bins, [S, W, R, D], and states of units, [S, W, head width, O]."""
        return (self.log_shape + self.weights(bins) @ state).clamp(*LOG_SHAPE_RANGE)


def draw_counts(distribution: CountDistribution, generator: torch.Generator | None = None) -> Tensor:
    """Draw counts from the distribution of each bin.

    Args:
        distribution: Distributions, of any shape.
        generator: Source of the draws; None: torch's global generator.

    Returns:
        Counts as floats, of the same shape.
    """
    rate = distribution.log_rate.float().exp()
    if distribution.log_shape is not None:
        shape = distribution.log_shape.float().exp()
        # a Poisson count whose rate is gamma distributed
        rate = rate * torch._standard_gamma(shape, generator=generator) / shape
    return torch.poisson(rate, generator=generator)
