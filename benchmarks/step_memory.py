"""Memory of one training step, by size of the network, with and without recomputed layers.

Counts the bytes of all tensors that exist at the same time: weights, gradients, the optimiser's moments, the batch, and
activations for the gradient. By default no number is computed (fake tensors), so every size fits; ``--measure`` runs
the step on the CPU and reads the peak of the allocator from PyTorch's profiler.

    python benchmarks/step_memory.py [--measure small]
"""

import argparse
import weakref
from contextlib import nullcontext
from pathlib import Path

import torch
import yaml
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neurohorizon.config import Config, Model, read_config
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.likelihoods import count_loss
from neurohorizon.models.training import checkpoint_layers
from neurohorizon.units.reference import feature_names

CONFIG = Path(__file__).resolve().parents[1] / "config"
SIZES = ("tiny", "small", "base", "large")
SPIKES = 3000
"""Spikes of a context of 1 s after padding: 512 units at 6 Hz."""


def sized(config: Config, size: str) -> Model:
    """Add a size to the model of a configuration."""
    return config.model.model_copy(update=yaml.safe_load((CONFIG / "sizes" / f"{size}.yaml").read_text())["model"])


class LiveBytes(TorchDispatchMode):
    """Track the bytes of all storages of operations until they are released."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run an operation and count its new storages."""
        made = function(*args, **kwargs or {})
        self.count(made)
        return made

    def count(self, values: object) -> None:
        """Count the storages of tensors that are not counted yet."""
        for tensor in tree_leaves(values):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata in self._known:
                continue
            self._known.add(storage._cdata)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._release, storage._cdata, storage.nbytes())

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def made_batch(config: Config, n_features: int) -> Tensors:
    """Draw a batch of the size of a configuration's training batch, in which all units are encoded and forecast."""
    training, timeline = config.training, config.timeline
    blocks = (training.sessions_per_batch, training.windows_per_session)
    sessions, units, spans = blocks[0], training.units_per_session, len(config.model.history_edges_bins)
    groups, bins = len(config.model.readout.horizon_edges_bins), timeline.horizon_bins

    def none(*axes: int, kind: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.zeros(axes, dtype=kind)

    return Tensors(
        features=torch.randn(sessions, units, n_features),
        spike_unit=torch.randint(units, (*blocks, SPIKES)),
        spike_age_bins=timeline.context_bins * torch.rand(*blocks, SPIKES),
        spike_mask=torch.ones(*blocks, SPIKES, dtype=torch.bool),
        target_unit=torch.arange(units).repeat(sessions, 1),
        target_unit_mask=torch.ones(sessions, units, dtype=torch.bool),
        reference_log_rate=torch.full((sessions, units), -2.0),
        history=torch.ones(*blocks, units, spans),
        history_bins=torch.ones(*blocks, spans),
        readout=torch.randn(*blocks, units, groups),
        readout_cv_gain=torch.randn(sessions, units, 2 * groups),
        counts=torch.ones(*blocks, bins, units),
        target_mask=torch.ones(*blocks, bins, dtype=torch.bool),
        origin_us=none(*blocks, kind=torch.int64),
        token_value=none(*blocks, 0, 0),
        token_type=none(*blocks, 0, kind=torch.int64),
        token_age_bins=none(*blocks, 0),
        token_mask=none(*blocks, 0, kind=torch.bool),
        ahead_value=none(*blocks, 0, 0),
        ahead_age_bins=none(*blocks, 0),
        ahead_mask=none(*blocks, 0, kind=torch.bool),
        modality_gain=none(*blocks, 0, bins, units),
        modality_group_gain=none(*blocks, units, 0),
        modality_cv_gain=none(sessions, units, 0),
    )


def peak_bytes(config: Config, model: Model, *, precision: str, recomputed: bool, measured: bool) -> int:
    """Return the peak bytes of a training step after the first, so that the optimiser has its moments."""
    n_features = sum(len(names) for names in feature_names(config.features).values())
    with nullcontext() if measured else FakeTensorMode():
        forecaster = Forecaster(
            model=model,
            n_features=n_features,
            context_bins=config.timeline.context_bins,
            horizon_bins=config.timeline.horizon_bins,
            dropout=config.training.dropout,
        )
        if recomputed:
            checkpoint_layers(forecaster)
        optimizer = torch.optim.AdamW(forecaster.parameters())
        x = made_batch(config, n_features)
        held = [*forecaster.parameters(), *forecaster.buffers(), *(getattr(x, name) for name in x.__dataclass_fields__)]

        def step() -> None:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                loss = count_loss(forecaster(x), x)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(forecaster.parameters(), 1.0)
            optimizer.step()

        if measured:
            return _measured(step, held, optimizer)
        with LiveBytes() as live:
            live.count(held)
            step()
            step()
        return live.peak


def _measured(step, held: list[torch.Tensor], optimizer: torch.optim.Optimizer) -> int:
    step()
    optimizer.zero_grad()
    moments = [value for state in optimizer.state.values() for value in state.values()]
    before = sum(tensor.untyped_storage().nbytes() for tensor in [*held, *moments])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    live = peak = before
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG / "config.yaml", help="configuration of the batch")
    parser.add_argument("--sizes", nargs="+", default=SIZES, choices=SIZES)
    parser.add_argument("--measure", nargs="*", default=[], choices=SIZES, help="sizes to run on this machine as well")
    arguments = parser.parse_args()
    config = read_config(arguments.config)
    training = config.training
    print(
        f"Batch: {training.sessions_per_batch} sessions of {training.windows_per_session} windows, "
        f"{training.units_per_session} units, {SPIKES} spikes in each context. GiB at the peak of a step.\n"
    )
    print("| size | precision | kept | recomputed | how |\n|---|---|---:|---:|---|")
    for size in arguments.sizes:
        for precision in ("32-true", "bf16-mixed"):
            for how in ("counted", "measured")[: 1 + (size in arguments.measure)]:
                peaks = [
                    peak_bytes(
                        config,
                        sized(config, size),
                        precision=precision,
                        recomputed=recomputed,
                        measured=how == "measured",
                    )
                    for recomputed in (False, True)
                ]
                print(f"| {size} | {precision} | {peaks[0] / 2**30:.2f} | {peaks[1] / 2**30:.2f} | {how} |", flush=True)


if __name__ == "__main__":
    main()
