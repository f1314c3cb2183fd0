"""Losses of a forecast and the gain over the reference rate."""

import torch
from torch import Tensor

from neurohorizon.models.batch import Tensors

QUIET_COUNTS = 0.1
"""Counts per bin added to a unit's variance when its fed-back counts are pooled, so that a rare spike does not drown
all others."""


def count_loss(log_rate: Tensor, x: Tensors, log_shape: Tensor | None = None) -> Tensor:
    """Return nats lost per spike that the reference mean expects; a Poisson forecast of that mean loses nothing.

    Args:
        log_rate: Natural log of expected counts per bin, [S, W, H, O].
        x: The batch.
        log_shape: Natural log of the shape of a negative binomial; None for Poisson.
    """
    gained, expected, _ = gained_nats(log_rate, x, log_shape)
    return -gained / expected


def squared_loss(log_rate: Tensor, x: Tensors) -> Tensor:
    """Return what :func:`count_loss` is for counts that are normal around the forecast.

    The variance is not learned: it is that of a Poisson count at the unit's reference mean, and a little more, so that
    a rare spike does not drown all others.

    Args:
        log_rate: Natural log of expected counts per bin, [S, W, H, O].
        x: The batch.
    """
    mask = x.target_mask[..., None] & x.target_unit_mask[:, None, None]
    null = x.reference_log_rate.exp()[:, None, None]
    lost = ((x.counts - log_rate.exp()) ** 2 - (x.counts - null) ** 2) / (2 * (null + QUIET_COUNTS))
    return (lost * mask).sum() / (null * mask).sum()


def gained_nats(log_rate: Tensor, x: Tensors, log_shape: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the log-likelihood above the reference mean, and the expected and the observed spikes.

    The same log-likelihoods as ``scores.poisson_log_likelihood`` and ``scipy.stats.nbinom``, less the factorial of
    the counts, which both they and the null have.

    Args:
        log_rate: Natural log of expected counts per bin, [S, W, H, O].
        x: The batch.
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
