"""Losses of a forecast, and its gain over the reference rate."""

import torch
from torch import Tensor

from neurohorizon.models.batch import Tensors
from neurohorizon.models.distributions import CountDistribution

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
