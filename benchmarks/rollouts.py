"""Sample paths with the keys and values of earlier bins kept, and by decoding the whole horizon anew at every step."""

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.side_by_side import Pair, compare
from neurohorizon.config import Rollout
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.rollout import Paths, sample_paths

AIMS = {"autoregressive": 5, "blockwise": None, "coarse_to_fine": None}
"""Decodings that feed back what they drew, and the ratio that was aimed for."""


def draw_zero_weights(forecaster: Forecaster) -> Forecaster:
    """Draw the weights that start at zero, so that what is fed back matters as in a trained network."""
    generator = torch.Generator().manual_seed(0)
    for parameter in forecaster.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02, generator=generator)
    return forecaster.eval()


def paths_of(
    forecaster: Forecaster, x: Tensors, decoding: str, *, rollout: Rollout, bin_us: int, cached: bool
) -> Callable[[], Paths]:
    """Return a call that draws the same paths each time."""

    def draw() -> Paths:
        generator = torch.Generator().manual_seed(0)
        return sample_paths(
            forecaster, x, decoding=decoding, rollout=rollout, bin_us=bin_us, generator=generator, cached=cached
        )

    return draw


def compare_rollouts(
    forecaster: Forecaster, x: Tensors, *, size: str, rollout: Rollout, bin_us: int, repeats: int
) -> list[Pair]:
    """Compare time with and without the cache, for each decoding that feeds back.

    Args:
        forecaster: A network with feedback.
        x: Windows to draw paths of.
        size: Name of the network's size.
        rollout: Paths, length of a block and cap.
        bin_us: Width of a bin.
        repeats: Times that each is run.
    """
    forecaster = draw_zero_weights(forecaster)
    pairs = []
    for decoding, aim in AIMS.items():
        with_cache, without = (
            paths_of(forecaster, x, decoding, rollout=rollout, bin_us=bin_us, cached=cached) for cached in (True, False)
        )
        pairs.append(
            compare(
                f"rollout of {len(forecaster.horizon)} bins, {size}, {decoding}",
                ours=("sample_paths, keys and values kept", with_cache),
                other=("sample_paths, the whole horizon decoded anew", without),
                amount=x.history.shape[0] * x.history.shape[1] * rollout.paths,
                unit="paths/s",
                aim=aim,
                repeats=repeats,
            )
        )
    return pairs
