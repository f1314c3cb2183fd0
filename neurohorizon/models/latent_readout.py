"""Latents of the population that each unit reads by weights in closed form: ridge regression inside a network.

A trained network forecasts each unit; it does not change. A small network computes latents from the recent
counts of all units. On the reference window of a session, the log gain of each unit is regressed on these latents, and
the weights are applied to later windows. The latents have no labels and the weights need no gradient step, so a
recording that is forecast is only read. In training, the gradient passes through the solution of the regression, so the
network learns latents on which such regressions predict *other* windows (Bertinetto et al., "Meta-learning with
differentiable closed-form solvers", ICLR 2019).

Shape comments use W windows, P spans, U units, V of these units, G groups of horizon bins, M modes, J loadings and K
latents.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from neurohorizon.config import LatentReadout as Settings
from neurohorizon.inputs.batches import SessionInputs, collate, session_block
from neurohorizon.inputs.windows import WindowShape, cut_windows, history_sums
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.own_history import OwnHistoryForecaster
from neurohorizon.units.gains import LARGEST_LOG_GAIN

LARGEST_LATENT = 6.0
"""Standard deviations of the reference window beyond which a latent is clipped, since no weight was fitted there."""
UNITS_AT_ONCE = 64
"""Units whose weights are solved together, which bounds the memory."""
_WINDOWS_AT_ONCE = 64
_RESIDUAL_RANGE = (-10.0, 30.0)


@dataclass(frozen=True, eq=False)
class Population:
    """The units of a session, as the latents read them.

    Attributes:
        unit: Standardised reference features, [U, feature].
        modes: Loadings on the population modes, each with a positive sum, zero beyond the modes there are, [U, M].
        mean_counts: Expected counts per bin in the reference window, [U].
    """

    unit: Tensor
    modes: Tensor
    mean_counts: Tensor

    @classmethod
    def of(cls, network: Forecaster | OwnHistoryForecaster, inputs: SessionInputs, *, n_modes: int) -> "Population":
        """Read the units of a session; features are standardised and clipped as for the network."""
        features, cv_gain = torch.from_numpy(inputs.features), torch.from_numpy(inputs.readout.cv_gain)
        modes = torch.from_numpy(inputs.readout.modes)[:, :n_modes]
        # the sign of a principal component is arbitrary
        modes = modes * torch.where(modes.sum(0) < 0, -1.0, 1.0)
        with torch.no_grad():
            unit = network.unit_encoder.eval().inputs(torch.cat([features, cv_gain], dim=-1))
        return cls(
            unit=unit,
            modes=nnf.pad(modes, (0, n_modes - modes.shape[1])),
            mean_counts=torch.from_numpy(inputs.reference_log_rate).exp(),
        )


@dataclass(frozen=True, eq=False)
class RecentCounts:
    """Recent counts of all units of a session at forecast origins.

    Attributes:
        sums: Observed counts in each span before the origin, [W, P, U].
        bins: Valid bins of each span, [W, P].
    """

    sums: Tensor
    bins: Tensor

    def __len__(self) -> int:
        return len(self.bins)


@dataclass(frozen=True, eq=False)
class GroupedWindows(RecentCounts):
    """The same with the counts that follow, and their forecasts by a network, in each group of horizon bins.

    Attributes:
        observed: Observed counts in each group, over its valid bins, [W, G, U].
        expected: Counts that the network predicts there, [W, G, U].
    """

    observed: Tensor
    expected: Tensor

    def some(self, windows: Tensor) -> "GroupedWindows":
        """Return some of the windows."""
        return GroupedWindows(*(one[windows] for one in (self.sums, self.bins, self.observed, self.expected)))


def recent_counts(inputs: SessionInputs, origin_us: np.ndarray, shape: WindowShape) -> RecentCounts:
    """Count the spikes in the spans before forecast origins.

    Args:
        inputs: A session; its windows lie in its part.
        origin_us: Forecast origins, [window].

    Raises:
        ValueError: There are no origins.
    """
    if not origin_us.size:
        raise ValueError(f"session {inputs.session_id} has no windows for a latent readout")
    edges = tuple(int(edge) for edge in inputs.readout.span_edges_bins)
    reach = replace(shape, context_bins=edges[-1], horizon_bins=1, history_edges_bins=(edges[-1],))
    parts = []
    for first in range(0, origin_us.size, _WINDOWS_AT_ONCE):
        windows = cut_windows(inputs.spikes, inputs.part, origin_us[first : first + _WINDOWS_AT_ONCE], reach)
        parts.append(history_sums(windows.context, windows.context_mask, edges))
    sums, bins = (torch.from_numpy(np.concatenate(one)) for one in zip(*parts, strict=True))
    return RecentCounts(sums.transpose(1, 2).contiguous(), bins)


def grouped_windows(
    network: Forecaster | OwnHistoryForecaster, inputs: SessionInputs, origin_us: np.ndarray, shape: WindowShape
) -> GroupedWindows:
    """Count spikes before and after forecast origins, and add a network's forecasts over groups of horizon bins.

    Args:
        inputs: A session; its windows lie in its part.
        origin_us: Forecast origins, [window].
        shape: Window shape of the network.

    Raises:
        ValueError: There are no origins.
    """
    recent, starts = recent_counts(inputs, origin_us, shape), _group_starts(network)
    parts = []
    with torch.no_grad():
        for first in range(0, origin_us.size, _WINDOWS_AT_ONCE):
            x = Tensors.of(collate([session_block(inputs, origin_us[first : first + _WINDOWS_AT_ONCE], shape)]))
            valid = x.target_mask[0][..., None]
            both = (x.counts[0] * valid, network(x).log_rate[0].float().exp() * valid)
            parts.append([np.add.reduceat(one.numpy(), starts, axis=1) for one in both])
    observed, expected = (torch.from_numpy(np.concatenate(one)) for one in zip(*parts, strict=True))
    return GroupedWindows(recent.sums, recent.bins, observed, expected)


def _group_starts(network: Forecaster | OwnHistoryForecaster) -> list[int]:
    group = network.head.group
    return [0, *(torch.nonzero(group[1:] != group[:-1])[:, 0] + 1).tolist()]


class LatentReadout(nn.Module):
    """Latents of a population, and the penalties and scale of the regressions that read them.

    Args:
        n_features: Inputs of a unit's embedding in the network whose forecast is corrected.
        n_spans: Spans of recent counts.
        n_groups: Groups of horizon bins.
        n_modes: Population modes of a session that are read next to the learned loadings.
    """

    def __init__(self, settings: Settings, *, n_features: int, n_spans: int, n_groups: int, n_modes: int) -> None:
        super().__init__()
        self.settings = settings
        width = settings.width
        self.loading = nn.Sequential(nn.Linear(n_features, width), nn.GELU(), nn.Linear(width, settings.loadings))
        self.layers = nn.Sequential(
            nn.Linear(n_spans * (settings.loadings + n_modes + 1), 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, settings.latents),
        )
        self.log_penalty = nn.Parameter(torch.full((n_groups,), math.log(settings.penalty)))
        self.scale = nn.Parameter(torch.full((n_groups,), 0.5))

    def latents(self, population: Population, recent: RecentCounts, dropped: Tensor | None = None) -> Tensor:
        """Compute latents, [W, K].

        Args:
            dropped: 0 for units whose counts are not read, else 1, [U]; None: all are read.
        """
        bins, mean = recent.bins[..., None], population.mean_counts
        residual = (recent.sums - mean * bins) / (mean * bins.clamp_min(1)).sqrt()  # [W, P, U]
        residual = residual.clamp(*_RESIDUAL_RANGE)
        if dropped is not None:
            residual = residual * dropped
        n_units = residual.shape[-1]
        pooled = residual @ (self.loading(population.unit) / math.sqrt(n_units))  # [W, P, J]
        in_modes = residual @ population.modes / math.sqrt(10)  # [W, P, M]
        total = recent.sums.sum(-1, keepdim=True) / bins.clamp_min(1)
        level = torch.log1p(total) - torch.log1p(mean.sum())  # [W, P, 1]
        return self.layers(torch.cat([pooled, in_modes, level], dim=-1).flatten(1))

    def fit(self, latents: Tensor, windows: GroupedWindows, units: Tensor) -> "Weights":
        """Regress the log gain of some units on latents: one Newton step of a penalised Poisson regression.

        The offset is the network's forecast, ``w = (Z' diag(expected) Z + penalty I)^-1 Z' (observed - expected)``.

        Args:
            latents: Latents of the windows, [W, K].
            windows: Windows of the reference window.
            units: Indices of the units, [V].
        """
        mean, deviation = latents.mean(0), latents.std(0) + 1e-3
        z = (latents - mean) / deviation
        expected, surprise = windows.expected[..., units], (windows.observed - windows.expected)[..., units]
        size = z.shape[1]
        products = (z[:, :, None] * z[:, None, :]).flatten(1)  # [W, K*K]
        gram = (products.T @ expected.flatten(1)).T.reshape(*expected.shape[1:], size, size)  # [G, V, K, K]
        ridge = self.log_penalty.exp()[:, None, None, None] * torch.eye(size, device=z.device)
        moment = torch.einsum("wk,wgv->gvk", z, surprise)
        return Weights(mean, deviation, torch.linalg.solve(gram + ridge, moment[..., None])[..., 0])

    def log_gain(self, latents: Tensor, weights: "Weights") -> Tensor:
        """Compute the log gain of units relative to the network's forecast, [W, G, V]."""
        z = ((latents - weights.mean) / weights.deviation).clamp(-LARGEST_LATENT, LARGEST_LATENT)
        gain = torch.einsum("wk,gvk->wgv", z, weights.weights) * self.scale[:, None]
        return gain.clamp(-LARGEST_LOG_GAIN, LARGEST_LOG_GAIN)

    def gains(self, population: Population, reference: GroupedWindows, recent: RecentCounts) -> Iterator[Tensor]:
        """Yield the log gains of a session's units, some units at a time, [W, G, V]."""
        of_reference, of_recent = self.latents(population, reference), self.latents(population, recent)
        for units in torch.arange(len(population.mean_counts)).split(UNITS_AT_ONCE):
            yield self.log_gain(of_recent, self.fit(of_reference, reference, units))


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of units on latents.

    Attributes:
        mean, deviation: Of each latent in the reference window, [K].
        weights: Log gain for one standard deviation of a latent, [G, V, K].
    """

    mean: Tensor
    deviation: Tensor
    weights: Tensor


def nats_gained(log_gain: Tensor, observed: Tensor, expected: Tensor) -> Tensor:
    """Return the gain of the Poisson log-likelihood over the network's forecast, a sum over all entries.

    A log gain is the same for all bins of a group, so sums over the group suffice.
    """
    return (observed * log_gain - expected * torch.expm1(log_gain)).sum()
