"""Networks with other unit embeddings than those of the units' own features: controls, fixed and learned embeddings."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.methods import MEAN_IDENTITY, SHUFFLED_IDENTITY
from neurohorizon.models.forecaster import Forecaster


class LearnedIdentity(nn.Module):
    """A learned embedding for each unit of one session, added to the encoder's embedding of its features."""

    def __init__(self, encoder: nn.Module, *, n_units: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.of_unit = nn.Embedding.from_pretrained(torch.zeros(n_units, width), freeze=False)

    def forward(self, features: Tensor, readout_cv_gain: Tensor) -> Tensor:
        """Return embeddings, [S, U, D], of a batch of this session only."""
        if features.shape[1] != self.of_unit.num_embeddings:
            raise ValueError(f"{self.of_unit.num_embeddings} embeddings for {features.shape[1]} units")
        return self.encoder(features, readout_cv_gain) + self.of_unit.weight


class FixedIdentity(nn.Module):
    """A table of embeddings of the units of one session, in place of the encoder of their features."""

    def __init__(self, embedding: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Parameter(embedding.detach().clone())  # [U, D]

    def forward(self, features: Tensor, readout_cv_gain: Tensor) -> Tensor:
        """Return embeddings, [S, U, D], of a batch of this session only."""
        if features.shape[1] != len(self.embedding):
            raise ValueError(f"{len(self.embedding)} embeddings for {features.shape[1]} units: another session")
        return self.embedding.expand(len(features), -1, -1)


def identity_of(forecaster: Forecaster, inputs: SessionInputs) -> Tensor:
    """Return a network's embeddings of a session's units, [U, D]."""
    return _embedded(forecaster, torch.from_numpy(inputs.features), torch.from_numpy(inputs.readout.cv_gain))


def with_identity(forecaster: Forecaster, embedding: Tensor) -> Forecaster:
    """Return a copy of a network with given embeddings of a session's units, [U, D]."""
    changed = copy.deepcopy(forecaster)
    changed.unit_encoder = FixedIdentity(embedding)
    return changed


def with_learned_identity(forecaster: Forecaster, *, n_units: int) -> Forecaster:
    """Return a copy of a network that adds learned embeddings of a session's units, which start at zero."""
    changed = copy.deepcopy(forecaster)
    width = forecaster.horizon_queries.shape[-1]
    changed.unit_encoder = LearnedIdentity(changed.unit_encoder, n_units=n_units, width=width)
    return changed


def with_control(forecaster: Forecaster, inputs: SessionInputs, control: str, *, seed: int) -> Forecaster:
    """Return a copy of a trained network with the unit embeddings of a control, for the forecast only.

    Every unit receives the embedding of another unit of its session, or all units that of the mean features of the
    training units. Reference rate, recent history and readout of a unit remain its own.
    """
    if control == SHUFFLED_IDENTITY:
        own = identity_of(forecaster, inputs)
        return with_identity(forecaster, own[torch.from_numpy(derangement(len(own), seed))])
    if control == MEAN_IDENTITY:
        n_units, n_features = inputs.features.shape
        mean = forecaster.unit_encoder.mean.cpu().expand(n_units, -1)
        return with_identity(forecaster, _embedded(forecaster, mean[:, :n_features], mean[:, n_features:]))
    raise ValueError(f"no control {control!r}; there are {SHUFFLED_IDENTITY} and {MEAN_IDENTITY}")


def derangement(n_units: int, seed: int) -> np.ndarray:
    """Draw another unit for every unit, each unit once, [unit]; a single unit keeps its place."""
    order = np.random.default_rng(seed).permutation(n_units)
    drawn = np.empty(n_units, np.int64)
    drawn[order] = np.roll(order, 1)
    return drawn


def _embedded(forecaster: Forecaster, features: Tensor, readout_cv_gain: Tensor) -> Tensor:
    device = next(forecaster.parameters()).device
    with torch.no_grad():
        return forecaster.unit_encoder(features[None].to(device), readout_cv_gain[None].to(device))[0]
