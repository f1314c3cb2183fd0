"""Embeddings of units that are not what a network makes of their own reference features: controls, and learned ones."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.methods import MEAN_IDENTITY, SHUFFLED_IDENTITY
from neurohorizon.models.forecaster import Forecaster


class LearnedIdentity(nn.Module):
    """An embedding of its own for each unit of one session, added to what an encoder makes of its features."""

    def __init__(self, encoder: nn.Module, *, n_units: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.of_unit = nn.Embedding.from_pretrained(torch.zeros(n_units, width), freeze=False)

    def forward(self, features: Tensor, trust: Tensor) -> Tensor:
        """Return embeddings, [S, U, D], of batches of the session alone."""
        if features.shape[1] != self.of_unit.num_embeddings:
            raise ValueError(f"{self.of_unit.num_embeddings} embeddings for {features.shape[1]} units")
        return self.encoder(features, trust) + self.of_unit.weight


class FixedIdentity(nn.Module):
    """A table of embeddings of the units of one session, in place of what the encoder makes of their features."""

    def __init__(self, embedding: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Parameter(embedding.detach().clone())  # [U, D]

    def forward(self, features: Tensor, trust: Tensor) -> Tensor:
        """Return embeddings, [S, U, D], of batches of the table's session alone."""
        if features.shape[1] != len(self.embedding):
            raise ValueError(f"{len(self.embedding)} embeddings for {features.shape[1]} units: not of this session")
        return self.embedding.expand(len(features), -1, -1)


def identity_of(forecaster: Forecaster, inputs: SessionInputs) -> Tensor:
    """Return the embeddings that a network makes of a session's units, [U, D]."""
    return _embedded(forecaster, torch.from_numpy(inputs.features), torch.from_numpy(inputs.readout.trust))


def with_identity(forecaster: Forecaster, embedding: Tensor) -> Forecaster:
    """Return a copy of a network that knows a session's units by given embeddings, [U, D]."""
    changed = copy.deepcopy(forecaster)
    changed.id_encoder = FixedIdentity(embedding)
    return changed


def with_learned_identity(forecaster: Forecaster, *, n_units: int) -> Forecaster:
    """Return a copy of a network that learns embeddings of a session's units on top of its own, begun at zero."""
    changed = copy.deepcopy(forecaster)
    width = forecaster.horizon.shape[-1]
    changed.id_encoder = LearnedIdentity(changed.id_encoder, n_units=n_units, width=width)
    return changed


def with_control(forecaster: Forecaster, inputs: SessionInputs, control: str, *, seed: int) -> Forecaster:
    """Return a copy of a trained network whose units have tampered identities, for the forecast only.

    Every unit has the identity of another unit of its session, or all have that of the mean features of the units in
    training. Everything else about a unit stays its own: its reference rate, recent history and readout.

    Args:
        forecaster: The trained network.
        inputs: Inputs of the session that is forecast.
        control: Which of ``methods.CONTROLS``.
        seed: Seed of the exchange.
    """
    if control == SHUFFLED_IDENTITY:
        own = identity_of(forecaster, inputs)
        return with_identity(forecaster, own[torch.from_numpy(exchanged(len(own), seed))])
    if control == MEAN_IDENTITY:
        n_units, n_features = inputs.features.shape
        mean = forecaster.id_encoder.mean.cpu().expand(n_units, -1)
        return with_identity(forecaster, _embedded(forecaster, mean[:, :n_features], mean[:, n_features:]))
    raise ValueError(f"no control {control!r}; there are {SHUFFLED_IDENTITY} and {MEAN_IDENTITY}")


def exchanged(n_units: int, seed: int) -> np.ndarray:
    """Draw for every unit another one, each drawn once, [unit]; a unit alone keeps its place."""
    order = np.random.default_rng(seed).permutation(n_units)
    drawn = np.empty(n_units, np.int64)
    drawn[order] = np.roll(order, 1)
    return drawn


def _embedded(forecaster: Forecaster, features: Tensor, trust: Tensor) -> Tensor:
    device = next(forecaster.parameters()).device
    with torch.no_grad():
        return forecaster.id_encoder(features[None].to(device), trust[None].to(device))[0]
