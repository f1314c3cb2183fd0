"""Run all pairs side by side and print their ratios; ``make bench`` runs this.

There is no verdict: a ratio above 1 means that ours is better, the spread shows the uncertainty, and the aim is printed
next to them.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from benchmarks.features import compare_features
from benchmarks.growth import Curve, memory_curves, over_context, over_sessions, over_units
from benchmarks.heads import compare_heads, head_batch
from benchmarks.loader import compare_loaders
from benchmarks.recordings import inputs_of, write_recording
from benchmarks.rollouts import compare_rollouts
from benchmarks.side_by_side import Pair
from benchmarks.streams import waits
from benchmarks.training_step import compare_steps, forecaster_of, stream_of, waiting_shares
from neurohorizon.config import Config, read_config
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.batch import Tensors
from neurohorizon.session import read_session

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
DEMO = {
    "width": 64,
    "heads": 4,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "latents_per_window": 16,
    "head_width": 64,
}
"""Return the network of ``config/demo.yaml``."""
SMALL = {
    "width": 224,
    "heads": 4,
    "encoder_layers": 4,
    "decoder_layers": 2,
    "latents_per_window": 64,
    "head_width": 256,
}
"""Return a network of five million parameters."""
PARTS = ("loader", "step", "rollout", "stream", "features", "heads", "growth", "memory")


@dataclass(frozen=True)
class Sizes:
    """Sizes of the recordings, and numbers of repeats.

    Attributes:
        units: Units of each recording.
        duration_s: Duration of each recording.
        windows: Windows of each recording in a batch.
        batches: Batches that a loader makes in a turn.
        paths: Paths of each window of a rollout.
        streamed_units: Units of recordings that are forecast while they run.
        streamed_bins: Timed bins of each of these recordings.
        repeats: Repeats of each pair.
        grown_units: Numbers of units of the growth curves.
        grown_context: Bins of context of the growth curves.
        grown_sessions: Numbers of sessions of the growth curves.
        memory_sessions: Numbers of sessions whose memory is measured.
        memory_lengths_s: Lengths of sessions whose memory is measured.
    """

    units: tuple[int, ...] = (300, 500, 800)
    duration_s: float = 600.0
    windows: int = 16
    batches: int = 8
    paths: int = 8
    streamed_units: tuple[int, ...] = (50, 200, 800)
    streamed_bins: int = 400
    repeats: int = 9
    grown_units: tuple[int, ...] = (50, 100, 200, 400, 800, 1600)
    grown_context: tuple[int, ...] = (12, 25, 50, 100, 200)
    grown_sessions: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    memory_sessions: tuple[int, ...] = (1, 2, 4, 8)
    memory_lengths_s: tuple[float, ...] = (300.0, 600.0, 1200.0, 2400.0)


def bench(config: Config, folder: Path, sizes: Sizes, parts: Sequence[str] = PARTS) -> dict:
    """Run the chosen parts on simulated recordings in a folder.

    Returns:
        ``pairs``, ``shares_of_peak``, ``waiting``, ``streams`` and ``growth``.
    """
    found: dict = {"pairs": [], "shares_of_peak": [], "waiting": {}, "streams": [], "growth": []}
    if {"loader", "step", "rollout", "features", "heads"} & set(parts):
        _say(f"making {len(sizes.units)} recordings of {sizes.units} units and {sizes.duration_s:g} s")
        paths = [
            write_recording(folder, config, name=f"made{n}", n_units=n, duration_s=sizes.duration_s, seed=n)
            for n in sizes.units
        ]
        sessions = [inputs_of(one, config) for one in paths]
        files = paths[0].session.parent
    shape = WindowShape.of(config.timeline, config.model)
    if "loader" in parts:
        _say("loaders")
        found["pairs"] += compare_loaders(
            files, sessions, shape, per_session=sizes.windows, batches=sizes.batches, repeats=sizes.repeats
        )
    if "step" in parts:
        for size, model_sizes, share in (("demo", DEMO, 1), ("small", SMALL, 4)):
            _say(f"training steps, {size}")
            pairs, shares = compare_steps(
                files,
                sessions,
                config,
                size=size,
                model_sizes=model_sizes,
                windows=max(sizes.windows // share, 1),
                repeats=sizes.repeats,
            )
            found["pairs"] += pairs
            found["shares_of_peak"] += shares
        _say("waiting for batches")
        found["waiting"] = waiting_shares(
            sessions, config, model_sizes=DEMO, windows=sizes.windows, steps=2 * sizes.repeats
        )
    few = max(sizes.repeats // 2, 1)
    if "rollout" in parts:
        for size, model_sizes in (("demo", DEMO), ("small", SMALL)):
            _say(f"rollouts, {size}")
            found["pairs"] += compare_rollouts(
                forecaster_of(config, sessions, model_sizes),
                Tensors.of(stream_of(sessions, config, windows=1).batch(0)),
                size=size,
                rollout=config.rollout.model_copy(update={"paths": sizes.paths}),
                bin_us=shape.bin_us,
                repeats=few,
            )
    if "stream" in parts:
        _say("forecasts while a recording runs")
        found["streams"] = _streams(folder / "streams", config, sizes)
    if "features" in parts:
        _say("reference features")
        session = read_session(paths[-1].session)
        found["pairs"] += compare_features(
            session.spike_times_us,
            session.spike_unit,
            session.n_units,
            session.domain,
            bin_us=shape.bin_us,
            features=config.features,
            repeats=sizes.repeats,
        )
    if "heads" in parts:
        _say("heads")
        batch = head_batch(sessions, config, windows=max(sizes.windows // 4, 1))
        found["pairs"] += compare_heads(config, batch, repeats=sizes.repeats)
    if "growth" in parts:
        _say("growth with units, context and sessions")
        curves = over_units(folder / "units", config, sizes.grown_units, duration_s=120.0, repeats=few)
        curves += over_context(
            folder / "context",
            config,
            sizes.grown_context,
            n_units=sizes.grown_units[-3],
            duration_s=120.0,
            repeats=few,
        )
        found["growth"] += curves + over_sessions(folder / "sessions64", config, sizes.grown_sessions, repeats=few)
    if "memory" in parts:
        _say("memory of ingest and features")
        found["growth"] += memory_curves(
            folder / "memory",
            config,
            numbers=sizes.memory_sessions,
            lengths_s=sizes.memory_lengths_s,
            n_units=min(sizes.units),
        )
    return found


def _streams(folder: Path, config: Config, sizes: Sizes) -> list[dict]:
    shape = WindowShape.of(config.timeline, config.model)
    found = []
    for n_units in sizes.streamed_units:
        paths = write_recording(
            folder, config, name=f"stream{n_units}", n_units=n_units, duration_s=120.0, seed=n_units
        )
        inputs = inputs_of(paths, config)
        for size, model_sizes in (("demo", DEMO), ("small", SMALL)):
            forecaster = forecaster_of(config, [inputs], model_sizes)
            found.append(waits(forecaster, inputs, shape, size=size, bins=sizes.streamed_bins, threads=2))
    return found


def table(found: dict) -> str:
    """Return the results as text."""
    lines = []
    if found["pairs"]:
        lines += [f"{'pair':<55} {'ratio':>7}  {'quartiles':<15} {'aim':>5}   ours / other, median"]
    for pair in found["pairs"]:
        lines.append(_pair_line(pair))
    if found["shares_of_peak"]:
        lines += ["", f"{'network':<55} {'GFLOP a step':>13} {'share of the measured matrix-multiply peak':>45}"]
    for row in found["shares_of_peak"]:
        lines.append(f"{row['network']:<55} {row['gigaflop_per_step']:>13.2f} {row['share_of_matmul_peak']:>45.0%}")
    for words, shares in found["waiting"].items():
        low, middle, high = np.quantile(shares, [0.25, 0.5, 0.75])
        lines.append(f"wait for the batch, {words}: {middle:.1%} of a step ({low:.1%} to {high:.1%}; aim: below 5%)")
    if found["streams"]:
        lines += ["", "forecast of the whole horizon after each bin of a running recording, 2 threads"]
        lines += [f"{'network':<12} {'units':>6} {'p50, ms':>9} {'p99, ms':>9} {'p50, bins':>10} {'p99, bins':>10}"]
    for row in found["streams"]:
        times = f"{row['p50_ms']:>9.1f} {row['p99_ms']:>9.1f} {row['p50_bins']:>10.2f} {row['p99_bins']:>10.2f}"
        lines.append(f"{row['network']:<12} {row['units']:>6} {times}")
    if found["growth"]:
        lines += ["", f"{'grows with':<26} {'quantity':<32} {'slope':>6}   from / to"]
    for curve in found["growth"]:
        first, last = curve.values[0], curve.values[-1]
        span = f"{curve.sizes[0]:g} to {curve.sizes[-1]:g}: {first:.3g} to {last:.3g} {curve.unit}"
        lines.append(f"{curve.panel:<26} {curve.name:<32} {curve.slope:>6.2f}   {span}")
    return "\n".join(lines)


def _pair_line(pair: Pair) -> str:
    low, middle, high = pair.quartiles
    aim = "" if pair.aim is None else f"{pair.aim:g}x"
    spread = f"{low:.2f} to {high:.2f}"
    values = f"{pair.ours_value:.3g} / {pair.other_value:.3g} {pair.unit}"
    return f"{pair.name:<55} {middle:>6.2f}x  {spread:<15} {aim:>5}   {values}"


def draw_growth(curves: Sequence[Curve], stem: Path) -> None:
    """Draw each panel's curves on log-log axes, with their slopes, as SVG and PNG."""
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    rows = -(-len(panels) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(13, 4.2 * rows), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, panel in zip(axes.flat, panels, strict=False):
        mine = [curve for curve in curves if curve.panel == panel]
        for curve in mine:
            label = f"{curve.name}, {curve.unit}: slope {curve.slope:.2f}"
            axis.loglog(curve.sizes, curve.values, marker="o", label=label)
        axis.set_xticks(mine[0].sizes, labels=[f"{size:g}" for size in mine[0].sizes])
        axis.minorticks_off()
        axis.set_xlabel(panel)
        axis.set_ylabel(" or ".join(dict.fromkeys(curve.unit for curve in mine)))
        axis.legend(fontsize=7, loc="upper left")
        axis.set_ylim(top=axis.get_ylim()[1] * 8)
    figure.tight_layout()
    for kind in ("svg", "png"):
        figure.savefig(f"{stem}.{kind}", dpi=120)
    plt.close(figure)


def write(found: dict, output: Path) -> None:
    """Write the table, the JSON and the plot."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "bench.txt").write_text(table(found) + "\n")
    values = {
        "machine": {
            "processors": os.cpu_count(),
            "architecture": platform.machine(),
            "threads": torch.get_num_threads(),
            "versions": {name: version(name) for name in ("torch", "torch_brain", "numpy")},
        },
        **found,
        "pairs": [pair.as_dict() for pair in found["pairs"]],
        "growth": [curve.as_dict() for curve in found["growth"]],
    }
    (output / "bench.json").write_text(json.dumps(values, indent=1) + "\n")
    if found["growth"]:
        draw_growth(found["growth"], output / "growth")


def _say(words: str) -> None:
    print(f"[bench] {words}", flush=True)


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "bench")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--repeats", type=int, default=Sizes.repeats)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(ROOT / "config" / "demo.yaml")
    with tempfile.TemporaryDirectory() as folder:
        found = bench(config, Path(folder), Sizes(repeats=arguments.repeats), arguments.only)
    write(found, arguments.output)
    print(table(found))


if __name__ == "__main__":
    main()
