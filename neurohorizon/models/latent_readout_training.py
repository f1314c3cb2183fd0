"""Training of a latent readout on the sessions of a fold, and its file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from neurohorizon.config import LatentReadout as Settings
from neurohorizon.config import Timeline
from neurohorizon.files import file_hash, replacing
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, Use, load_inputs
from neurohorizon.inputs.windows import WindowShape, evaluation_origins, subsample
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.latent_readout import (
    GroupedWindows,
    LatentReadout,
    Population,
    grouped_windows,
    nats_gained,
)
from neurohorizon.models.own_history import OwnHistoryForecaster
from neurohorizon.models.weights import Card, card_path, load_forecaster
from neurohorizon.units.reference import read_reference

FASTER = {"log_penalty": 25.0, "scale": 5.0}
"""Learning rates of parameters of the regressions, relative to those of the layers, which have far more parameters."""


@dataclass(frozen=True, eq=False)
class ReadSession:
    """One session and use: its units, its reference window, and windows that do not overlap the reference window."""

    session_id: str
    population: Population
    reference: GroupedWindows
    windows: GroupedWindows


def train_latent_readout(
    *,
    weights: Path,
    paths: Sequence[SessionPaths],
    timeline: Timeline,
    settings: Settings,
    fold: str,
    seed: int,
    threads: int,
    code: str,
    output: Path,
) -> str:
    """Train a latent readout of a network on the training sessions of a fold, and write the best of its validations.

    The network is not changed. The readout before the first step is among the candidates, so a training that does not
    help leaves a readout of scale zero.

    Args:
        weights: The network; its card is next to it.
        paths: Files of the training sessions; excluded sessions are skipped.
        threads: Threads of processor time.

    Returns:
        The gain of the readout that was kept, for the log.

    Raises:
        ValueError: All training sessions are excluded or too short.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    network, card = load_forecaster(weights)
    shape = WindowShape.of(timeline, card.model)
    read = {
        use: [one for each in paths if (one := _read(each, use, network, card, shape, settings)) is not None]
        for use in ("early", "late", "validation")
    }
    training, validation = [*read["early"], *read["late"]], read["validation"]
    if not training or not validation:
        raise ValueError(f"fold {fold}: no training session has windows for a latent readout")
    best_state, best = optimise(_built(settings, card), training, validation, settings, seed=seed)
    description = {
        "network": file_hash(weights, "sha256"),
        "settings": settings.model_dump(mode="json"),
        "fold": fold,
        "seed": seed,
        "sessions": [one.session_id for one in validation],
        "code": code,
        "scores": {"validation_bits_per_spike_gained": best},
    }
    with replacing(card_path(output)) as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n")
    with replacing(output) as temporary:
        save_file(best_state, temporary)
    return f"kept: {best:+.4f} bits per spike over the network"


def optimise(
    readout: LatentReadout,
    training: Sequence[ReadSession],
    validation: Sequence[ReadSession],
    settings: Settings,
    *,
    seed: int,
) -> tuple[dict[str, Tensor], float]:
    """Train a readout, print each validation, and return the best weights and their gain in bits per spike.

    If no validation gains, the weights are those of a readout without effect.
    """
    best, best_state, waited = 0.0, _without_effect(readout), 0
    optimizer = torch.optim.AdamW(_groups(readout, settings), lr=settings.learning_rate)
    for step in range(settings.steps):
        rng = np.random.default_rng((seed, step))
        loss = torch.zeros(())
        chosen = rng.permutation(len(training))[: settings.sessions_per_batch]
        for index in chosen:
            loss = loss + _loss(readout, training[index], settings, rng) / len(chosen)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * group["factor"] * _schedule(step, settings.steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(readout.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % settings.validate_every_steps == 0:
            gained = bits_gained(readout, validation)
            print(f"step {step + 1}: {gained:+.4f} bits per spike over the network", flush=True)
            waited += 1
            if gained > best:
                best, waited = gained, 0
                best_state = {name: value.clone() for name, value in readout.state_dict().items()}
            if waited >= settings.patience:
                break
    return best_state, best


def load_latent_readout(path: Path, weights: Path, card: Card) -> LatentReadout:
    """Read a latent readout of a network.

    Args:
        weights: The network; its card is ``card``.

    Raises:
        ValueError: The readout was trained with another network.
    """
    description = json.loads(card_path(path).read_text())
    if description["network"] != file_hash(weights, "sha256"):
        raise ValueError(f"{path} was trained with another network than {weights}; rerun train_latent_readout")
    readout = _built(Settings.model_validate_json(json.dumps(description["settings"])), card)
    readout.load_state_dict(load_file(path))
    return readout.eval()


def reference_windows(
    network: Forecaster | OwnHistoryForecaster,
    inputs: SessionInputs,
    features: Path,
    use: Use,
    shape: WindowShape,
    settings: Settings,
) -> GroupedWindows:
    """Cut the windows of a reference window on which weights are fitted, evenly spaced.

    Args:
        inputs: The session, for one use.
        features: Its reference features, which hold the reference window of that use.
    """
    part = read_reference(features, use).intervals
    origins = subsample(evaluation_origins(part, shape, 1), settings.fit_windows)
    return grouped_windows(network, replace(inputs, part=part), origins, shape)


def bits_gained(readout: LatentReadout, sessions: Sequence[ReadSession]) -> float:
    """Return the gain over the network's forecast in bits per spike, mean over sessions."""
    scores = []
    with torch.no_grad():
        for one in sessions:
            gains = torch.cat(list(readout.gains(one.population, one.reference, one.windows)), dim=-1)
            nats = nats_gained(gains, one.windows.observed, one.windows.expected)
            scores.append(float(nats / one.windows.observed.sum().clamp_min(1)) / np.log(2))
    return float(np.mean(scores))


def _read(
    paths: SessionPaths, use: Use, network: Forecaster, card: Card, shape: WindowShape, settings: Settings
) -> ReadSession | None:
    inputs = load_inputs(paths, use, groups=card.features.groups, readout=card.model.readout)
    if inputs is None:
        return None
    origins = evaluation_origins(inputs.part, shape, shape.horizon_bins)
    if not origins.size or not evaluation_origins(read_reference(paths.features, use).intervals, shape, 1).size:
        return None
    return ReadSession(
        session_id=inputs.session_id,
        population=Population.of(network, inputs, n_modes=card.model.readout.modes),
        reference=reference_windows(network, inputs, paths.features, use, shape, settings),
        windows=grouped_windows(network, inputs, subsample(origins, settings.windows), shape),
    )


def _built(settings: Settings, card: Card) -> LatentReadout:
    readout = card.model.readout
    n_groups = len(readout.horizon_edges_bins)
    return LatentReadout(
        settings,
        n_features=len(card.feature_names) + 2 * n_groups,
        n_spans=len(readout.span_edges_bins),
        n_groups=n_groups,
        n_modes=readout.modes,
    )


def _without_effect(readout: LatentReadout) -> dict[str, Tensor]:
    state = {name: value.clone() for name, value in readout.state_dict().items()}
    return state | {"scale": torch.zeros_like(state["scale"])}


def _groups(readout: LatentReadout, settings: Settings) -> list[dict]:
    named = dict(readout.named_parameters())
    layers = [value for name, value in named.items() if name not in FASTER]
    own = [{"params": [named[name]], "weight_decay": 0.0, "factor": factor} for name, factor in FASTER.items()]
    return [{"params": layers, "weight_decay": settings.weight_decay, "factor": 1.0}, *own]


def _schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate: it rises over a fifth of the steps, then falls to a tenth."""
    return min(1.0, 5 * (step + 1) / steps) * (1 - 0.9 * step / steps)


def _loss(readout: LatentReadout, session: ReadSession, settings: Settings, rng: np.random.Generator) -> Tensor:
    """Return minus the gain of windows outside of the reference window, per expected spike."""
    reference = session.reference.some(_drawn(len(session.reference), settings.fit_windows_per_step, rng))
    windows = session.windows.some(_drawn(len(session.windows), settings.windows_per_step, rng))
    n_units = len(session.population.mean_counts)
    units = _drawn(n_units, settings.units_per_step, rng)
    dropped = torch.from_numpy((rng.random(n_units) >= settings.unit_dropout).astype(np.float32))
    weights = readout.fit(readout.latents(session.population, reference, dropped), reference, units)
    gain = readout.log_gain(readout.latents(session.population, windows, dropped), weights)
    expected = windows.expected[..., units]
    return -nats_gained(gain, windows.observed[..., units], expected) / expected.sum().clamp_min(1)


def _drawn(size: int, most: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(np.sort(rng.permutation(size)[:most]))
