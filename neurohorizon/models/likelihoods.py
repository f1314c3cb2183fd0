"""Distributions of counts, Poisson or negative binomial, and the losses and gains of forecasts under them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurohorizon.models.batch import Tensors

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


QUIET_COUNTS = 0.1
"""Counts per bin that are added to the variance of a unit, so that one rare spike does not outweigh all others."""


def count_loss(forecast: CountDistribution, x: Tensors) -> Tensor:
    """Return the lost nats per spike that the reference mean expects; a Poisson forecast of that mean has loss 0.

    Args:
        forecast: Distribution of the counts, [S, W, H, O].
    """
    gained, expected, _ = gained_nats(forecast.log_rate, x, forecast.log_shape)
    return -gained / expected


def squared_loss(forecast: CountDistribution, x: Tensors) -> Tensor:
    """Return the loss in the units of :func:`count_loss` for counts that are normal around the forecast.

    The variance is not learned. It is the variance of a Poisson count at the unit's reference mean plus
    :data:`QUIET_COUNTS`.

    Args:
        forecast: Distribution of the counts, of which only the mean is used, [S, W, H, O].
    """
    mask = x.target_mask[..., None] & x.target_unit_mask[:, None, None]
    null = x.reference_log_rate.exp()[:, None, None]
    lost = ((x.counts - forecast.log_rate.exp()) ** 2 - (x.counts - null) ** 2) / (2 * (null + QUIET_COUNTS))
    return (lost * mask).sum() / (null * mask).sum()


LOSSES = {"poisson": count_loss, "negative_binomial": count_loss, "gaussian": squared_loss}
"""Loss of each ``model.likelihood``."""


def gained_nats(log_rate: Tensor, x: Tensors, log_shape: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the log-likelihood above the reference mean, and the expected and the observed spikes.

    The log-likelihoods are those of ``scores.poisson_log_likelihood`` and ``scipy.stats.nbinom`` without the factorial
    of the counts, which cancels between the forecast and the null.

    Args:
        log_rate: Natural log of expected counts per bin, [S, W, H, O].
        log_shape: Natural log of the shape of a negative binomial; None for Poisson.
    """
    mask = x.target_mask[..., None] & x.target_unit_mask[:, None, None]
    null = x.reference_log_rate[:, None, None]
    if log_shape is None:
        gained = x.counts * (log_rate - null) - (log_rate.exp() - null.exp())
    else:
        shape = log_shape.exp()
        log_total = torch.logaddexp(log_shape, log_rate)
        gained = torch.lgamma(x.counts + shape) - torch.lgamma(shape) + shape * (log_shape - log_total)
        gained = gained + x.counts * (log_rate - log_total) - (x.counts * null - null.exp())
    return (gained * mask).sum(), (null.exp() * mask).sum(), (x.counts * mask).sum()
