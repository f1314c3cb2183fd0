"""Forecasts while a recording runs: spikes are pushed as they arrive, and every bin ends with a forecast.

Unit embeddings do not change from bin to bin and are computed once. Of the recording only the last context is kept in
memory. The numbers are those of :func:`neurohorizon.forecasts.forecast.forecast_windows`.
"""

from dataclasses import replace

import numpy as np
import torch

from neurohorizon.inputs.batches import SessionInputs, collate
from neurohorizon.inputs.running_windows import RunningWindow
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.modalities.tokens import absent_block
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.identity import identity_of, with_identity
from neurohorizon.timeline import to_us


class Stream:
    """A running forecast of one recording.

    Args:
        inputs: Reference features, log rates and readout of the recording's units. Its spikes are not read.
        shape: Lengths in bins with which the network was trained.
        start_s: Start of the first bin on the clock of the spikes, in seconds. Time before it counts as not recorded.

    Raises:
        ValueError: The network has another horizon than the shape.
    """

    def __init__(self, forecaster: Forecaster, inputs: SessionInputs, shape: WindowShape, *, start_s: float) -> None:
        horizon_bins = len(forecaster.horizon_queries)
        if horizon_bins != shape.horizon_bins:
            raise ValueError(f"the network forecasts {horizon_bins} bins, but the shape has {shape.horizon_bins}")
        forecaster = forecaster.eval()
        self.forecaster = with_identity(forecaster, identity_of(forecaster, inputs))
        self.inputs, self.shape = inputs, shape
        self.device = forecaster.horizon_queries.device
        self.n_units = len(inputs.reference_log_rate)
        self.origin_us = int(to_us(start_s))
        self.counted = RunningWindow(shape, self.n_units)
        nothing = np.zeros(0, np.int64)
        self.kept = (nothing, nothing)  # microseconds and units of the valid spikes of the context
        self.pending = (nothing, nothing)  # the same of bins that are not over
        # the arrays that do not change from bin to bin
        block = {
            "features": inputs.features,
            "target_unit": np.arange(self.n_units),
            "target_unit_mask": np.ones(self.n_units, bool),
            "reference_log_rate": inputs.reference_log_rate.astype(np.float32),
            "readout_cv_gain": inputs.readout.cv_gain,
            "counts": np.zeros((1, shape.horizon_bins, self.n_units), np.float32),
            "target_mask": np.zeros((1, shape.horizon_bins), bool),
            "origin_us": np.array([self.origin_us]),
            **absent_block(1, self.n_units, shape.horizon_bins),
            **self._window(),
        }
        self.constant = Tensors.of(collate([block]), self.device)

    @property
    def origin_s(self) -> float:
        """Start of the current bin, which is the origin of the last forecast, in seconds."""
        return self.origin_us / 1e6

    def push(self, times_s: np.ndarray, unit: np.ndarray) -> None:
        """Add spikes of bins that are not over, in any order.

        Args:
            times_s: Times in seconds, [spike].
            unit: Index of the unit of each, [spike].

        Raises:
            ValueError: A spike is of a bin that is over, or of an unknown unit. None of the spikes is added.
        """
        us, unit = to_us(np.asarray(times_s, float)), np.asarray(unit, np.int64)
        late = us < self.origin_us
        if late.any():
            raise ValueError(
                f"{late.sum()} of {us.size} spikes come too late: the bins before {self.origin_s:.3f} s are over, and "
                f"the earliest is of {us.min() / 1e6:.6f} s. Push spikes before `next` ends their bin"
            )
        if unit.size and not 0 <= unit.min() <= unit.max() < self.n_units:
            raise ValueError(f"units are numbered from 0 to {self.n_units - 1}; found {unit.min()} to {unit.max()}")
        self.pending = tuple(np.concatenate(pair) for pair in zip(self.pending, (us, unit), strict=True))

    def next(self, *, valid: bool = True) -> np.ndarray:
        """End the current bin, and forecast from its end.

        Args:
            valid: True if the bin was recorded. If not, its spikes are dropped and it counts as unknown, not silent.

        Returns:
            Natural log of expected counts per bin over the horizon from there on, float32, [horizon bin, unit].
        """
        self.end_bin(valid=valid)
        window = {name: torch.from_numpy(value[None]).to(self.device) for name, value in self._window().items()}
        x = replace(self.constant, **window)
        with torch.inference_mode():
            return self.forecaster(x).log_rate[0, 0].float().cpu().numpy()

    def end_bin(self, *, valid: bool = True) -> None:
        """End the current bin without a forecast, as for spikes that were recorded before the first forecast.

        Args:
            valid: True if the bin was recorded.
        """
        end_us = self.origin_us + self.shape.bin_us
        times, units = self.pending
        over = times < end_us
        self.pending = (times[~over], units[~over])
        times, units = (times[over], units[over]) if valid else (times[:0], units[:0])
        self.counted.add(np.bincount(units, minlength=self.n_units), valid)
        still = self.kept[0] >= end_us - self.shape.context_bins * self.shape.bin_us
        self.kept = (np.append(self.kept[0][still], times), np.append(self.kept[1][still], units))
        self.origin_us = end_us

    def _window(self) -> dict[str, np.ndarray]:
        """Return the arrays that change from bin to bin, as ``inputs.batches.session_block`` returns them."""
        times, units = self.kept
        counted, (history, history_bins) = self.counted, self.counted.history()
        age_bins = (self.origin_us - times) / self.shape.bin_us
        return {
            "spike_unit": units[None],
            "spike_age_bins": age_bins.astype(np.float32)[None],
            "spike_mask": np.ones((1, times.size), bool),
            "history": history,
            "history_bins": history_bins,
            "readout": self.inputs.readout.log_gain(counted.context, counted.context_mask, np.arange(self.n_units)),
        }
