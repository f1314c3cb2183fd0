"""Training steps: our forecaster, and torch_brain's POYO with the same number of parameters on the same spikes."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torch_brain.batching import collate as brain_collate
from torch_brain.datasets import Dataset, DatasetIndex
from torch_brain.models import POYO

from benchmarks.side_by_side import Pair, compare, median_seconds, seconds_of
from neurohorizon.config import Config
from neurohorizon.inputs.batches import Batch, SessionInputs, TrainingWindows
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.likelihoods import count_loss
from neurohorizon.timeline import to_s

LATENTS_AS_PUBLISHED = (0.125, 16)
"""Step of POYO's latent grid in seconds, and latents in each step (Azabou et al. 2023)."""


def forecaster_of(config: Config, sessions: Sequence[SessionInputs], sizes: dict[str, int]) -> Forecaster:
    """Build an untrained forecaster; ``sizes`` replace the sizes of the configuration."""
    forecaster = Forecaster(
        model=config.model.model_copy(update=sizes),
        n_features=sessions[0].features.shape[1],
        context_bins=config.timeline.context_bins,
        horizon_bins=config.timeline.horizon_bins,
        dropout=config.training.dropout,
    )
    forecaster.unit_encoder.fit_scale(
        torch.from_numpy(np.concatenate([one.features for one in sessions])),
        torch.from_numpy(np.concatenate([one.readout.cv_gain for one in sessions])),
    )
    return forecaster


def parameters(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def poyo_like(
    forecaster: Forecaster,
    *,
    model_sizes: dict[str, int],
    context_s: float,
    latents: tuple[float, int],
    unit_ids: Sequence[str],
    session_ids: Sequence[str],
) -> POYO:
    """Build a POYO with the layers of our encoder, and with the width whose number of parameters is nearest to ours.

    All parameters are counted, with the table of units.
    """

    def build(dim: int) -> POYO:
        poyo = POYO(
            sequence_length=context_s,
            latent_step=latents[0],
            num_latents_per_step=latents[1],
            dim_out=1,
            dim=dim,
            depth=model_sizes["encoder_layers"],
            dim_head=model_sizes["width"] // model_sizes["heads"],
            cross_heads=model_sizes["heads"],
            self_heads=model_sizes["heads"],
        )
        poyo.unit_emb.initialize_vocab(list(unit_ids))
        poyo.session_emb.initialize_vocab(list(session_ids))
        return poyo

    wanted = parameters(forecaster)
    low, high = 8, 4096  # increases with the width
    while high - low > 4:
        middle = (low + high) // 8 * 4
        low, high = (middle, high) if parameters(build(middle)) < wanted else (low, middle)
    return min((build(low), build(high)), key=lambda poyo: abs(parameters(poyo) - wanted))


def poyo_batch(poyo: POYO, dataset: Dataset, batch: Batch, names: Sequence[str], shape: WindowShape) -> dict:
    """Tokenize the contexts of our batch by POYO's own tokenizer, with one output per horizon bin."""
    samples = []
    length = shape.context_bins * shape.bin_us
    for name, origins in zip(names, batch.origin_us.tolist(), strict=True):
        for origin in origins:
            sample = dataset[DatasetIndex(name, float(to_s(origin - length)), float(to_s(origin)))]
            tokens = poyo.tokenize(sample)
            tokens["output_timestamps"] = np.arange(shape.horizon_bins) / shape.horizon_bins * poyo.sequence_length
            samples.append(tokens)
    collated = brain_collate(samples)
    # times of mixed types become float64, and rotary embeddings would make the whole computation float64
    return {name: value.float() if value.dtype == torch.float64 else value for name, value in collated.items()}


def optimiser_step(network: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a call that does one step: forward, backward, clipping, AdamW."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()

    return step


def matmul_peak(size: int = 1024) -> float:
    """Measure the floating-point operations per second of one large matrix product."""
    left, right = torch.randn(2, size, size)
    return 2 * size**3 / median_seconds(lambda: left @ right, repeats=7)


def operations(step: Callable[[], None]) -> int:
    """Count the floating-point operations in the matrix products of one call, with those of attention."""
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # on some devices, fused attention is not counted
        step()
    return counter.get_total_flops()


def stream_of(sessions: Sequence[SessionInputs], config: Config, *, windows: int) -> TrainingWindows:
    """Return the stream of training batches of the configuration, over all sessions, all units encoded."""
    return TrainingWindows(
        sessions=tuple(sessions),
        shape=WindowShape.of(config.timeline, config.model),
        seed=0,
        sessions_per_batch=len(sessions),
        windows_per_session=windows,
        units_per_session=config.training.units_per_session,
        unit_dropout=0.0,
    )


def compare_steps(
    folder: Path,
    sessions: Sequence[SessionInputs],
    config: Config,
    *,
    size: str,
    model_sizes: dict[str, int],
    windows: int,
    repeats: int,
) -> tuple[list[Pair], list[dict]]:
    """Compare steps with POYO, once with our number of latents and once with the published number.

    Args:
        folder: Folder of the session files.
        sessions: Inputs of all of them, in each batch.
        config: Timeline and training settings.
        size: Name of the size.
        model_sizes: ``width``, ``heads``, ``encoder_layers`` and other sizes that replace those of the configuration.
        windows: Windows of each session in a batch.
        repeats: Steps of each network.

    Returns:
        Pairs; and for each network its parameters and its share of the matrix-multiply peak.
    """
    forecaster = forecaster_of(config, sessions, model_sizes)
    stream = stream_of(sessions, config, windows=windows)
    order = np.random.default_rng((stream.seed, 0)).permutation(len(sessions))  # the same draw as in the stream
    names = [sessions[index].session_id for index in order]
    batch = stream.batch(0)
    x = Tensors.of(batch)
    our_step = optimiser_step(forecaster, lambda: count_loss(forecaster(x), x))
    dataset = Dataset(folder, recording_ids=sorted(names))
    unit_ids = np.concatenate([dataset.get_recording(name).units.id.astype(str) for name in names]).tolist()
    context_s = config.timeline.context_bins * config.timeline.bin_ms / 1000
    in_batch = len(sessions) * windows
    target = (x.counts * x.target_unit_mask[:, None, None]).sum(-1).flatten(0, 1)[..., None]

    pairs, shares = [], []
    latents = {
        "as many latents": (context_s / model_sizes["latents_per_window"], 1),
        "latents as published": LATENTS_AS_PUBLISHED,
    }
    for words, grid in latents.items():
        poyo = poyo_like(
            forecaster,
            model_sizes=model_sizes,
            context_s=context_s,
            latents=grid,
            unit_ids=unit_ids,
            session_ids=names,
        )
        tokens = poyo_batch(poyo, dataset, batch, names, stream.shape)
        check_same_spikes(batch, tokens)

        def their_loss(poyo: POYO = poyo, tokens: dict = tokens) -> Tensor:
            return mse_loss(poyo(**tokens), target)

        their_step = optimiser_step(poyo, their_loss)
        pairs.append(
            compare(
                f"training step, {size}, POYO with {words}",
                ours=(f"Forecaster, {parameters(forecaster):,} parameters", our_step),
                other=(f"POYO, {parameters(poyo):,} parameters", their_step),
                amount=in_batch,
                unit="windows/s",
                aim=2,
                repeats=repeats,
            )
        )
        networks = {f"POYO {size}, {words}": their_step}
        for name, step in networks.items() if shares else {f"Forecaster {size}": our_step, **networks}.items():
            shares.append(_share_of_peak(name, step))
    return pairs, shares


def check_same_spikes(batch: Batch, tokens: dict) -> None:
    """Assert that both networks read the same number of spikes in each window; POYO adds two tokens for each unit."""
    spikes = (tokens["input_token_type"] == 0) & tokens["input_mask"]
    np.testing.assert_array_equal(batch.spike_mask.sum(-1).ravel(), spikes.sum(-1).numpy())


def _share_of_peak(name: str, step: Callable[[], None]) -> dict:
    done = operations(step)
    # the peak is measured next to each step, so that a busy machine slows both
    shares = [done / seconds_of(step) / matmul_peak() for _ in range(3)]
    return {"network": name, "gigaflop_per_step": done / 1e9, "share_of_matmul_peak": float(np.median(shares))}


class Steps(torch.utils.data.Dataset):
    """Batches of a stream, indexed by the step, for a loader in another process."""

    def __init__(self, stream: TrainingWindows, steps: int) -> None:
        self.stream, self.steps = stream, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        return self.stream.batch(step)


def waiting_shares(
    sessions: Sequence[SessionInputs], config: Config, *, model_sizes: dict[str, int], windows: int, steps: int
) -> dict[str, list[float]]:
    """Measure the share of each training step's time that is spent waiting for its batch.

    Returns:
        Shares of a loader in the same process and of a loader in a separate process, each [step].
    """
    forecaster = forecaster_of(config, sessions, model_sizes)
    stream = stream_of(sessions, config, windows=windows)
    x = Tensors.of(stream.batch(0))
    step = optimiser_step(forecaster, lambda: count_loss(forecaster(x), x))
    step()
    shares: dict[str, list[float]] = {}
    for words, workers in {"workers: 0": 0, "workers: 1": 1}.items():
        loader = iter(
            DataLoader(
                Steps(stream, steps + 2),
                batch_size=None,
                num_workers=workers,
                multiprocessing_context="spawn" if workers else None,
            )
        )
        found = []
        for _ in range(steps + 2):
            began = time.perf_counter()
            x = Tensors.of(next(loader))
            waited = time.perf_counter() - began
            worked = seconds_of(step)
            found.append(waited / (waited + worked))
        shares[words] = found[2:]  # the first two include the start of the process
    return shares
