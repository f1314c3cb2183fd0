"""Shares of processor time in a training step, a batch, reference features and a forecast.

``PYTHONPATH=.:tests python benchmarks/profiles.py step batch features forecast``
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.bench import DEMO, ROOT, SMALL
from benchmarks.loader import keep_freed_memory
from benchmarks.recordings import inputs_of, write_recording
from benchmarks.training_step import forecaster_of, optimiser_step, stream_of
from neurohorizon.config import Config, read_config
from neurohorizon.forecasts.forecast import forecast_windows
from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.models.batch import Tensors
from neurohorizon.models.likelihoods import count_loss
from neurohorizon.session import read_session
from neurohorizon.units.reference import reference_features

KINDS = {
    "attention": ("scaled_dot_product", "flash", "softmax"),
    "matrix products": ("::mm", "addmm", "bmm", "linear"),
    "picking units and spikes": ("index", "gather", "take", "scatter"),
    "normalisation": ("norm",),
    "activations and dropout": ("gelu", "dropout", "bernoulli"),
    "optimiser": ("foreach", "Optimizer", "fused", "lerp", "addcdiv", "addcmul"),
    "copies": ("copy", "cat", "clone", "repeat", "stack", "zero", "fill"),
}
"""Kinds of operations, by parts of their names; the first match is used, and the rest is elementwise."""


def kind_of(operation: str) -> str:
    """Name the kind of an operation of torch."""
    fits = (kind for kind, words in KINDS.items() if any(word in operation for word in words))
    return next(fits, "elementwise and the rest")


def shares_of_operations(call: Callable[[], object], *, repeats: int) -> dict[str, float]:
    """Return the share of processor time of each kind of operation in a call, largest first."""
    call()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(repeats):
            call()
    times: dict[str, float] = {}
    for event in profiled.key_averages():
        kind = kind_of(event.key)
        times[kind] = times.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(times.values())
    return {kind: spent / total for kind, spent in sorted(times.items(), key=lambda item: -item[1])}


def shares_of_functions(call: Callable[[], object], *, repeats: int, most: int) -> dict[str, float]:
    """Return the share of processor time of each function in a call, without functions that it calls, largest first."""
    call()
    profiled = cProfile.Profile(time.thread_time)
    profiled.enable()
    for _ in range(repeats):
        call()
    profiled.disable()
    stats = pstats.Stats(profiled)
    own = {f"{Path(file).name}:{name}": times[2] for (file, _, name), times in stats.stats.items()}
    largest = sorted(own.items(), key=lambda item: -item[1])[:most]
    return {name: spent / stats.total_tt for name, spent in largest}


def profiles(config: Config, folder: Path, parts: list[str], *, repeats: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Profile parts on one simulated recording of 500 units; yield titles and shares."""
    paths = write_recording(folder, config, name="made", n_units=500, duration_s=300.0, seed=1)
    inputs = inputs_of(paths, config)
    stream = stream_of([inputs], config, windows=48)
    x = Tensors.of(stream.batch(0))
    for size, model_sizes in (("demo", DEMO), ("small", SMALL)) if "step" in parts else ():
        forecaster = forecaster_of(config, [inputs], model_sizes)
        step = optimiser_step(forecaster, lambda network=forecaster: count_loss(network(x), x))
        yield f"training step, {size}", shares_of_operations(step, repeats=repeats)
    if "batch" in parts:
        keep_freed_memory()
        steps = iter(range(10**6))
        yield "training batch", shares_of_functions(lambda: stream.batch(next(steps)), repeats=10 * repeats, most=10)
    if "features" in parts:
        session = read_session(paths.session)
        arguments = (session.spike_times_us, session.spike_unit, session.n_units, session.domain)
        settings = {"bin_us": stream.shape.bin_us, "features": config.features}
        call = shares_of_functions(lambda: reference_features(*arguments, **settings), repeats=repeats, most=14)
        yield "reference features", call
    if "forecast" in parts:
        shape = WindowShape.of(config.timeline, config.model)
        origins = evaluation_origins(inputs.part, shape, config.timeline.evaluation_stride_bins)
        forecaster = forecaster_of(config, [inputs], DEMO).eval()

        def forecast() -> None:
            forecast_windows(forecaster, inputs, origins, shape)

        yield "forecast, functions", shares_of_functions(forecast, repeats=2, most=10)
        yield "forecast, operations", shares_of_operations(forecast, repeats=2)


def main() -> None:
    """Parse the arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=("step", "batch", "features", "forecast"))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(ROOT / "config" / "demo.yaml")
    with tempfile.TemporaryDirectory() as folder:
        for title, shares in profiles(config, Path(folder), arguments.parts, repeats=arguments.repeats):
            print(title)
            for name, share in shares.items():
                print(f"  {share:>6.1%}  {name}")


if __name__ == "__main__":
    main()
