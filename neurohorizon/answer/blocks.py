"""Scores of blocks of time, and their bootstrap.

Windows that follow each other are alike, so they are no independent samples. They are cut into contiguous blocks of
about equal time, and whole blocks are resampled with replacement (Davison & Hinkley 1997, section 8.2). All numbers
use the same draws, so a difference of two methods is paired.
"""

from dataclasses import dataclass

import numpy as np

from neurohorizon.answer.answer import Estimate
from neurohorizon.recordings.forecast import Forecast
from neurohorizon.scores import Sums, bits_per_spike, sum_scores

SHORTEST_BLOCK_S = 30.0
MOST_BLOCKS = 20
FEWEST_BLOCKS = 8
"""Number of blocks below which there is no interval."""
INTERVAL = 0.95
_DRAWS = 2000


def cut_blocks(origin_s: np.ndarray, every_s: float) -> tuple[np.ndarray, float]:
    """Return the block of each window, rising from 0, [window], and the length of a block in seconds.

    A block has at least 30 s of the recording's time, and at least a twentieth of it. Pauses between windows, such as
    those between trials, are time too, but a longer one counts as 30 s.

    Args:
        origin_s: Origins of the windows in seconds, rising, [window].
        every_s: Seconds from window to window where there is no pause.
    """
    steps_s = np.minimum(np.diff(origin_s), SHORTEST_BLOCK_S)
    elapsed_s = np.concatenate([[0.0], np.cumsum(steps_s)])
    total_s = float(elapsed_s[-1]) + every_s
    # sums of floats may be just below a whole number of blocks
    blocks = max(1, int(total_s / max(SHORTEST_BLOCK_S, total_s / MOST_BLOCKS) + 1e-6))
    block = (elapsed_s * blocks / total_s + 1e-6).astype(np.int64)
    return np.unique(block, return_inverse=True)[1], total_s / blocks


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Score sums of one method.

    Attributes:
        gain: Nats relative to the reference mean, [block, bin, unit].
        spikes: Observed spikes, [block, bin, unit].
    """

    gain: np.ndarray
    spikes: np.ndarray

    @classmethod
    def of(cls, forecast: Forecast, block: np.ndarray) -> "BlockSums":
        """Sum the scores of a forecast within blocks of its windows, [window]."""
        return cls.of_sums([window_sums(forecast, block == one) for one in range(block[-1] + 1)])

    @classmethod
    def of_sums(cls, sums: list[Sums]) -> "BlockSums":
        """Collect the sums of blocks."""
        gain = np.stack([one.model_nats - one.reference_nats for one in sums])
        return cls(gain, np.stack([one.spikes for one in sums]))

    def of_units(self, units: np.ndarray) -> "BlockSums":
        """Take some units."""
        return BlockSums(self.gain[..., units], self.spikes[..., units])

    def of_bins(self, bins: slice) -> "BlockSums":
        """Take some bins of the horizon."""
        return BlockSums(self.gain[:, bins], self.spikes[:, bins])

    def minus(self, other: "BlockSums") -> "BlockSums":
        """Return the paired difference to another method."""
        return BlockSums(self.gain - other.gain, self.spikes)


def window_sums(forecast: Forecast, rows: np.ndarray) -> Sums:
    """Return the score sums of some windows of a forecast, [bin, unit]."""
    return sum_scores(
        counts=forecast.counts[rows],
        log_rate=forecast.log_rate[rows],
        mask=forecast.valid[rows],
        reference_log_rate=forecast.recording.inputs.reference_log_rate,
    )


class Bootstrap:
    """Draws of blocks that all numbers share; no draw, and so no interval, with fewer than eight blocks.

    Args:
        blocks: Number of blocks.
        seed: Seed of the draws.
    """

    def __init__(self, blocks: int, seed: int) -> None:
        draws = _DRAWS if blocks >= FEWEST_BLOCKS else 0
        rng = np.random.default_rng([seed, blocks])
        self._times_drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws).astype(np.float64)

    def pooled(self, sums: BlockSums) -> Estimate:
        """Return the score of all units and bins together, in bits per spike."""
        gain, spikes = sums.gain.sum((1, 2)), sums.spikes.sum((1, 2))
        return _estimate(float(_bits(gain.sum(), spikes.sum())), _bits(self._drawn(gain), self._drawn(spikes)))

    def of_each_unit(self, sums: BlockSums) -> list[Estimate]:
        """Return the score of each unit, [unit]."""
        gain, spikes = sums.gain.sum(1), sums.spikes.sum(1)
        values, drawn = _bits(gain.sum(0), spikes.sum(0)), _bits(self._drawn(gain), self._drawn(spikes))
        return [_estimate(value, drawn[:, unit]) for unit, value in enumerate(values)]

    def mean_over_units(self, sums: BlockSums) -> Estimate:
        """Return the mean of the scores of all units with a spike."""
        gain, spikes = sums.gain.sum(1), sums.spikes.sum(1)
        values, drawn = _bits(gain.sum(0), spikes.sum(0)), _bits(self._drawn(gain), self._drawn(spikes))
        # a unit that has no spike in a draw is not in its mean
        return _estimate(_mean(values[None])[0], _mean(drawn))

    def _drawn(self, values: np.ndarray) -> np.ndarray:
        return self._times_drawn @ values


def number(value: float) -> float | None:
    """Return a finite number, or None."""
    return float(value) if np.isfinite(value) else None


def _mean(values: np.ndarray) -> np.ndarray:
    """Return means over the last axis that exclude NaN; NaN if there is nothing else."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(-1)
    return np.divide(total, defined.sum(-1), out=np.full(total.shape, np.nan), where=defined.any(-1))


def _bits(gain: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    return np.asarray(bits_per_spike(model_nats=gain, null_nats=np.zeros_like(gain), spikes=spikes))


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size or not np.isfinite(drawn).all():
        return Estimate(value=number(value))
    low, high = np.quantile(drawn, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return Estimate(value=number(value), low=number(low), high=number(high))
