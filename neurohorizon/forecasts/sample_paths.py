"""Sample paths of one session by a network, drawn for one block of windows after the other."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from neurohorizon.config import Rollout
from neurohorizon.forecasts.forecast import forecast_windows
from neurohorizon.forecasts.shared_gain import SharedGain, fit_shared_gain
from neurohorizon.inputs.batches import SessionInputs, collate, session_block
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows, spread_origins
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.rollout import Paths, sample_paths

_COUNTS_PER_BLOCK = 2**22  # counts of all paths of a block of windows: this bounds the memory


@dataclass(frozen=True)
class PathDrawer:
    """Sample paths of one session by a network, drawn for one block of windows after the other.

    Attributes:
        forecaster: The network.
        inputs: Inputs of the session.
        shape: Lengths in bins.
        seed: Seed of the network; the draws of each block are seeded by it.
        rollout: Number of paths, length of a block of bins and cap of the rates.
    """

    forecaster: Forecaster
    inputs: SessionInputs
    shape: WindowShape
    seed: int
    rollout: Rollout

    @property
    def windows_per_block(self) -> int:
        """Number of windows that are drawn at once."""
        per_window = self.rollout.paths * self.shape.horizon_bins * self.inputs.spikes.n_units
        return max(1, _COUNTS_PER_BLOCK // per_window)

    def forecast(self, origin_us: np.ndarray, decoding: str) -> np.ndarray:
        """Forecast windows by the mean over sample paths of their expected counts.

        Args:
            origin_us: Forecast origins, [window].
            decoding: Rollout mode of the paths; see :mod:`neurohorizon.models.rollout`.

        Returns:
            Natural log of expected counts per bin, float32, [window, horizon bin, unit].
        """
        parts = [np.zeros((0, self.shape.horizon_bins, self.inputs.spikes.n_units), np.float32)]
        for block in self.cut_blocks(origin_us):
            with torch.inference_mode():
                parts.append(single_session(self.draw(*self.on_device(block), block, decoding).log_mean()))
        return np.concatenate(parts)

    def cut_blocks(self, origin_us: np.ndarray) -> Iterator[Windows]:
        """Cut windows at some origins, in blocks of the windows that are drawn at once."""
        for first in range(0, origin_us.size, self.windows_per_block):
            yield self.cut(origin_us[first : first + self.windows_per_block])

    def cut(self, origin_us: np.ndarray) -> Windows:
        """Cut windows at some origins, without the far history, which the network reads from separate blocks."""
        shape = replace(self.shape, history_edges_bins=(self.shape.context_bins,))
        return cut_windows(self.inputs.spikes, self.inputs.part, origin_us, shape)

    def on_device(self, block: Windows) -> tuple[Forecaster, Tensors]:
        """Return the network and a batch of the windows, both on the device of the computation."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        batch = collate([session_block(self.inputs, block.origin_us, self.shape)])
        return self.forecaster.to(device).eval(), Tensors.of(batch, device)

    def draw(self, forecaster: Forecaster, x: Tensors, block: Windows, decoding: str) -> Paths:
        """Draw the paths of a block from the result of :meth:`on_device`."""
        generator = torch.Generator(device=x.reference_log_rate.device)
        # the seed of a torch generator has 64 bits
        generator.manual_seed(int(np.random.SeedSequence(self.words(decoding, block)).generate_state(1, np.uint64)[0]))
        return sample_paths(
            forecaster, x, decoding=decoding, rollout=self.rollout, bin_us=self.shape.bin_us, generator=generator
        )

    def words(self, name: str, block: Windows) -> list[int]:
        """Return the seed of the draws of a method in a block of windows."""
        return seed_words(self.seed, self.inputs.session_id, name, block.origin_us[0])


def reference_gain(forecaster: Forecaster, inputs: SessionInputs, shape: WindowShape, windows: int) -> SharedGain:
    """Fit the gain that units share on a network's forecasts of the reference window.

    Args:
        inputs: Inputs whose part is the reference window.
        windows: Maximum number of windows, evenly spaced.
    """
    origins = spread_origins(inputs.part, shape, windows)
    near = replace(shape, history_edges_bins=(shape.context_bins,))
    observed = cut_windows(inputs.spikes, inputs.part, origins, near)
    log_rate = forecast_windows(forecaster, inputs, origins, shape)
    return fit_shared_gain(log_rate, observed.counts, observed.target_mask)


def seed_words(seed: int, session: str, name: str, origin_us: int) -> list[int]:
    """Return a generator whose seed depends only on the names of its draws."""
    text = f"{seed}/{session}/{name}/{int(origin_us)}"
    return list(hashlib.sha256(text.encode()).digest())


def single_session(log_mean: torch.Tensor) -> np.ndarray:
    """Return the only session of a batch as float32, [window, horizon bin, unit]."""
    return log_mean[0].float().cpu().numpy()
