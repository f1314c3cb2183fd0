"""Waiting time of a running recording for its forecast after each bin."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from benchmarks.side_by_side import seconds_of
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.stream import Stream
from neurohorizon.timeline import to_s


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Set the number of torch's threads inside a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bin_seconds(
    forecaster: Forecaster, inputs: SessionInputs, shape: WindowShape, *, bins: int, threads: int
) -> np.ndarray:
    """Play a recording bin by bin, and time each bin from its spikes' arrival to the forecast.

    Args:
        forecaster: The network.
        inputs: The recording; bins begin with its part.
        shape: Lengths in bins.
        bins: Number of timed bins; the bins of one context before them are not timed.
        threads: Number of torch's threads.

    Returns:
        Seconds of each bin, [bin].
    """
    start_us = int(inputs.part.start_us[0])
    first_us = start_us + np.arange(shape.context_bins + bins) * shape.bin_us
    arriving = [inputs.spikes.between(first, first + shape.bin_us) for first in first_us.tolist()]
    stream = Stream(forecaster, inputs, shape, start_s=start_us / 1e6)
    seconds = []
    with torch_threads(threads):
        for times_us, unit in arriving:
            times_s = to_s(times_us)

            def forecast(times_s: np.ndarray = times_s, unit: np.ndarray = unit) -> None:
                stream.push(times_s, unit)
                stream.next()

            seconds.append(seconds_of(forecast))
    return np.array(seconds[shape.context_bins :])


def waits(
    forecaster: Forecaster, inputs: SessionInputs, shape: WindowShape, *, size: str, bins: int, threads: int
) -> dict:
    """Return the median wait and the wait that one bin in a hundred exceeds, in milliseconds and in bins."""
    seconds = bin_seconds(forecaster, inputs, shape, bins=bins, threads=threads)
    middle, high = np.quantile(seconds, [0.5, 0.99]).tolist()
    return {
        "network": size,
        "units": inputs.spikes.n_units,
        "threads": threads,
        "bins": bins,
        "p50_ms": 1e3 * middle,
        "p99_ms": 1e3 * high,
        "p50_bins": 1e6 * middle / shape.bin_us,
        "p99_bins": 1e6 * high / shape.bin_us,
    }
