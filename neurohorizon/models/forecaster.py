"""The forecaster: from the spikes of a context to the expected counts of every unit over the horizon.

Shape comments use S sessions, W windows of each, N spikes, U units, O units to forecast, L latents, H bins of the
horizon, R of these bins, P spans of a unit's own history, G groups of horizon bins, F reference features, D width and
C width of the head.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from neurohorizon.config import Model
from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import (
    FED_SPANS_BINS,
    FedBackCounts,
    PopulationFeedback,
    history_log_ratio,
    history_log_ratios,
)
from neurohorizon.models.layers import Attention, FeedForward, SelfLayer
from neurohorizon.models.likelihoods import CountDistribution, NegativeBinomialShape, PoissonShape

TRAINING_RANGE = (0.01, 0.99)
"""Quantiles of a reference feature over the training units to which the feature is clipped."""
ALL_BINS = slice(None)


class Forecaster(nn.Module):
    """Forecast counts of units from their reference statistics and the recent spikes of their population.

    No parameter belongs to a unit, a session or an animal. The output is a residual on the reference log rate and
    starts at zero, so an untrained network forecasts the reference mean exactly.

    Args:
        n_features: Number of reference features of a unit.
        context_bins: Bins of the context.
        dropout: Share dropped in the feed-forward layers while training.
        feature_noise: Standard deviation of noise on the standardised features while training.
    """

    def __init__(
        self,
        *,
        model: Model,
        n_features: int,
        context_bins: int,
        horizon_bins: int,
        dropout: float = 0.0,
        feature_noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.unit_encoder = UnitEncoder.of(model, n_features=n_features, noise=feature_noise)
        self.horizon_queries = nn.Parameter(torch.randn(horizon_bins, model.width) * 0.5)
        self.encoder = PopulationEncoder(model=model, context_bins=context_bins, dropout=dropout)
        self.decoder = HorizonDecoder(model=model, horizon_bins=horizon_bins, dropout=dropout)
        self.head = UnitHead(model=model, horizon_bins=horizon_bins)
        self.feedback = PopulationFeedback(width=model.width) if model.feedback else None

    def forward(self, x: Tensors) -> CountDistribution:
        """Forecast all bins of the horizon at once, from spikes before the origin only."""
        # fmt: off
        unit = self.unit_encoder(x.features, x.readout_cv_gain)  # [S, U, D]     features of each unit
        latents = self.encoder(unit, x)                          # [S, W, L, D]  spikes of the context
        bins = self.decoder(self.horizon_queries, latents)       # [S, W, H, D]  bins to forecast
        state = self.head.unit_state(x.targets_of(unit), x)      # [S, W, C, O]  own history, features, readout
        return self.head(bins, state, x)                         # [S, W, H, O]  reference log rate + residual
        # fmt: on

    def encode(self, x: Tensors) -> "Encoded":
        """Compute the parts of :meth:`forward` that several decodings of a batch share."""
        unit = self.unit_encoder(x.features, x.readout_cv_gain)
        target = x.targets_of(unit)
        return Encoded(unit=target, latents=self.encoder(unit, x), state=self.head.unit_state(target, x))

    def decode(self, encoded: "Encoded", x: Tensors) -> CountDistribution:
        """Compute the rest of :meth:`forward`."""
        bins = self.decoder(self.horizon_queries, encoded.latents)
        return self.head(bins, encoded.state, x)

    def decode_given(self, encoded: "Encoded", x: Tensors, fed_back: FedBackCounts) -> CountDistribution:
        """Forecast each bin given the counts of the bins before it.

        Raises:
            ValueError: The network has no feedback.
        """
        if self.feedback is None:
            raise ValueError(
                "this network has no feedback: it only makes the parallel forecast. "
                "Use one that was trained with model.feedback: true"
            )
        queries = self.horizon_queries + self.feedback.of_bin_before(encoded.unit, fed_back, x)
        bins = self.decoder(queries, encoded.latents)
        ratios = history_log_ratios(fed_back, x.reference_log_rate)
        return self.head(bins, encoded.state, x, history_log_ratios=ratios)


@dataclass(frozen=True)
class Encoded:
    """A batch as the decoder and the head read it, the same for every decoding.

    Attributes:
        unit: Embeddings of the units to forecast, [S, O, D].
        latents: Latents of the context's spikes, [S, W, L, D].
        state: States of the units at each origin, [S, W, C, O].
    """

    unit: Tensor
    latents: Tensor
    state: Tensor

    def first_windows(self, n: int) -> "Encoded":
        """Return the first windows of each session."""
        return replace(self, latents=self.latents[:, :n], state=self.state[:, :n])


class UnitEncoder(nn.Module):
    """Turn a unit's reference features into its embedding: three layers, GELU, LayerNorm.

    Features are standardised over the units of the training sessions; :meth:`fit_scale` sets the scale. Values outside
    the range of these units are clipped, because the network was never trained there.
    """

    def __init__(self, *, n_inputs: int, width: int, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("deviation", torch.ones(n_inputs))
        self.register_buffer("lowest", torch.full((n_inputs,), -math.inf))
        self.register_buffer("highest", torch.full((n_inputs,), math.inf))
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.norm = nn.LayerNorm(width)

    @staticmethod
    def of(model: Model, *, n_features: int, noise: float) -> "UnitEncoder":
        """Build the encoder of a configuration: without ``model.identity``, one that ignores features."""
        kind = UnitEncoder if model.identity else SharedUnitEncoder
        n_inputs = n_features + 2 * len(model.readout.horizon_edges_bins)
        return kind(n_inputs=n_inputs, width=model.width, noise=noise)

    def fit_scale(self, features: Tensor, readout_cv_gain: Tensor) -> None:
        """Set mean, deviation and range from the units of the training sessions, [unit, feature]."""
        inputs = torch.cat([features, readout_cv_gain], dim=-1)
        self.mean.copy_(inputs.mean(0))
        self.deviation.copy_(inputs.std(0).clamp_min(1e-3))
        lowest, highest = np.quantile(inputs.numpy(), TRAINING_RANGE, axis=0)
        self.lowest.copy_(torch.from_numpy(lowest))
        self.highest.copy_(torch.from_numpy(highest))

    def forward(self, features: Tensor, readout_cv_gain: Tensor) -> Tensor:
        """Return embeddings, [S, U, D]."""
        if readout_cv_gain.shape[1] != features.shape[1]:
            raise ValueError(f"readout_cv_gain has {readout_cv_gain.shape[1]} units, features {features.shape[1]}")
        return self.norm(self.layers(self.inputs(torch.cat([features, readout_cv_gain], dim=-1))))

    def inputs(self, values: Tensor) -> Tensor:
        """Standardise features; while training, add noise."""
        inputs = (values.clamp(self.lowest, self.highest) - self.mean) / self.deviation
        if self.training and self.noise:
            inputs = inputs + self.noise * torch.randn_like(inputs)
        return inputs


class SharedUnitEncoder(UnitEncoder):
    """Give all units one embedding, independent of their features."""

    def inputs(self, values: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(values)


class PopulationEncoder(nn.Module):
    """Perceiver: latents on a time grid gather the context's spikes, then attend to each other."""

    def __init__(self, *, model: Model, context_bins: int, dropout: float) -> None:
        super().__init__()
        width, n_latents = model.width, model.latents_per_window
        self.latents = nn.Parameter(torch.randn(n_latents, width) * 0.5)
        self.spike_type = nn.Parameter(torch.randn(width) * 0.02)
        self.silence = nn.Parameter(torch.randn(width) * 0.02)  # a token in every window, so that none is empty
        grid_age = (torch.arange(n_latents) + 0.5) / n_latents * context_bins
        self.register_buffer("grid_age_bins", grid_age.flip(0), persistent=False)
        self.gather = Attention(width=width, heads=model.heads, longest_bins=2 * context_bins)
        self.gather_feed = FeedForward(width=width, dropout=dropout)
        self.layers = nn.ModuleList(
            SelfLayer(width=width, heads=model.heads, longest_bins=2 * context_bins, dropout=dropout)
            for _ in range(model.encoder_layers)
        )

    def forward(self, unit: Tensor, x: Tensors) -> Tensor:
        """Return latents, [S, W, L, D], of units with embeddings [S, U, D]."""
        latents = self.gather_spikes(unit, x)
        for layer in self.layers:
            latents = layer(latents, -self.grid_age_bins)
        return latents.unflatten(0, x.spike_unit.shape[:2])

    def gather_spikes(self, unit: Tensor, x: Tensors) -> Tensor:
        """Return latents that attended to the context's spikes, [S*W, L, D]."""
        sessions, windows, n_spikes = x.spike_unit.shape
        batch, n_units = sessions * windows, unit.shape[1]
        # a spike's key and value are its unit's: project units, then pick
        key_value = self.gather.key_value_of((unit + self.spike_type).flatten(0, 1))  # [S*U, 2D]
        row = x.spike_unit + torch.arange(sessions, device=unit.device)[:, None, None] * n_units
        # the silence is one more row of the table, so that one step picks all tokens
        table = torch.cat([key_value, self.gather.key_value_of(self.silence)[None]])
        row = nnf.pad(row.reshape(batch, n_spikes), (0, 1), value=len(key_value))
        tokens = table.index_select(0, row.flatten()).reshape(batch, n_spikes + 1, -1)  # [S*W, N+1, 2D]
        age = nnf.pad(x.spike_age_bins.reshape(batch, n_spikes), (0, 1))
        mask = nnf.pad(x.spike_mask.reshape(batch, n_spikes), (0, 1), value=True)

        latents = self.latents.expand(batch, -1, -1)
        latents = latents + self.gather.attend(latents, tokens, -self.grid_age_bins, -age, mask[:, None, None])
        return latents + self.gather_feed(latents)


class HorizonDecoder(nn.Module):
    """Queries of the horizon's bins attend to the latents and to each other.

    With ``model.causal`` a bin attends to itself and earlier bins only, as feedback requires.
    """

    def __init__(self, *, model: Model, horizon_bins: int, dropout: float) -> None:
        super().__init__()
        width, n_latents = model.width, model.latents_per_window
        sizes = {"width": width, "heads": model.heads, "longest_bins": 2 * horizon_bins}
        self.register_buffer("bin", torch.arange(horizon_bins) + 0.5, persistent=False)
        self.register_buffer("latent_place", torch.arange(n_latents) - n_latents + 0.5, persistent=False)
        self.read = nn.ModuleList(Attention(**sizes) for _ in range(model.decoder_layers))
        self.layers = nn.ModuleList(
            SelfLayer(**sizes, dropout=dropout, causal=model.causal) for _ in range(model.decoder_layers)
        )

    def forward(self, queries: Tensor, latents: Tensor) -> Tensor:
        """Return representations of the horizon's bins.

        Args:
            queries: Queries of the bins, the same for all windows, [H, D], or not, [S, W, H, D].
            latents: Latents of each window, [S, W, L, D].

        Returns:
            [S, W, H, D].
        """
        windows = latents.shape[:2]
        bins, latents = queries.expand(*windows, -1, -1).flatten(0, 1), latents.flatten(0, 1)
        for read, layer in zip(self.read, self.layers, strict=True):
            bins = bins + read(bins, latents, self.bin, self.latent_place)
            bins = layer(bins, self.bin)
        return bins.unflatten(0, windows)


class UnitHead(nn.Module):
    """Combine bins with each unit's features, own recent history and readout into its residual log rate.

    The inputs of a unit in a window pass a small network once per window, not once per bin; each bin then weighs the
    result. So the output is one matrix product, and no tensor of bins x units x width is ever made.
    """

    def __init__(self, *, model: Model, horizon_bins: int) -> None:
        super().__init__()
        edges = model.readout.horizon_edges_bins
        n_spans, width = len(model.history_edges_bins), model.head_width
        self.history_inputs = own_history if model.own_history else no_history
        group = torch.bucketize(torch.arange(horizon_bins), torch.tensor(edges), right=True)
        self.register_buffer("group", group, persistent=False)  # [H]
        self.of_history = nn.Linear(2 * n_spans + len(edges), width)
        self.of_identity = nn.Linear(model.width, width)
        self.mix = nn.Linear(width, width)
        self.bin_norm = nn.LayerNorm(model.width)
        self.rate_weights = nn.Linear(model.width, width)
        self.readout_weights = nn.Linear(model.width, width)
        self.fed_weights = nn.ModuleList(nn.Linear(model.width, width) for _ in FED_SPANS_BINS if model.feedback)
        for part in (self.rate_weights, self.readout_weights, *self.fed_weights):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
        negative_binomial = model.likelihood == "negative_binomial"
        self.shape = NegativeBinomialShape(width=model.width, head_width=width) if negative_binomial else PoissonShape()

    def unit_state(self, unit: Tensor, x: Tensors) -> Tensor:
        """Return the state of each unit at the origin of each window, [S, W, C, O].

        Args:
            unit: Embeddings of the units to forecast, [S, O, D].
        """
        return self.mixed(self.unit_inputs(unit, x))

    def unit_inputs(self, unit: Tensor, x: Tensors) -> Tensor:
        """Project own history, readout and embedding, [S, W, O, C]."""
        history = torch.cat([self.history_inputs(x), x.readout], dim=-1)
        return self.of_history(history) + self.of_identity(unit)[:, None]

    def mixed(self, inputs: Tensor) -> Tensor:
        """Pass projected inputs, [S, W, O, C], through the small network, [S, W, C, O]."""
        return nnf.gelu(self.mix(nnf.gelu(inputs))).transpose(-1, -2)

    def forward(
        self,
        bins: Tensor,
        state: Tensor,
        x: Tensors,
        *,
        place: Tensor | slice = ALL_BINS,
        history_log_ratios: Sequence[Tensor] = (),
    ) -> CountDistribution:
        """Return the distributions of the counts of some bins.

        Args:
            bins: Representations of R bins, [S, W, R, D].
            state: States of the units, [S, W, C, O].
            place: Index of each of these bins in the horizon, [R].
            history_log_ratios: Of fed-back counts, one for each of the spans ``FED_SPANS_BINS``, [S, W, R, O]; empty
                where nothing is fed back.
        """
        bins = self.bin_norm(bins)
        residual = self.residual(bins, state, x, place)
        for weights, ratio in zip(self.fed_weights, history_log_ratios, strict=bool(history_log_ratios)):
            residual = residual + (weights(bins) @ state) * ratio
        return self.distribution(residual, bins, state, x)

    def residual(self, bins: Tensor, state: Tensor, x: Tensors, place: Tensor | slice = ALL_BINS) -> Tensor:
        """Return residual log rates of normalised bins, with the share of the readout, [S, W, R, O]."""
        readout = x.readout[..., self.group[place]].transpose(-1, -2)
        return self.rate_weights(bins) @ state + (self.readout_weights(bins) @ state) * readout

    def distribution(self, residual: Tensor, bins: Tensor, state: Tensor, x: Tensors) -> CountDistribution:
        """Add residuals to the reference log rate."""
        return CountDistribution(x.reference_log_rate[:, None, None] + residual, self.shape(bins, state))


def own_history(x: Tensors) -> Tensor:
    """Return each unit's :func:`history_log_ratio` in each span, and log valid bins of the span, [S, W, O, 2P]."""
    bins = x.history_bins[:, :, None]  # [S, W, 1, P]
    expected = x.reference_log_rate.exp()[:, None, :, None] * bins
    ratio = history_log_ratio(x.history, expected)
    return torch.cat([ratio, torch.log1p(bins).expand_as(ratio)], dim=-1)


def no_history(x: Tensors) -> Tensor:
    """Return zeros in place of :func:`own_history`."""
    return torch.cat([torch.zeros_like(x.history)] * 2, dim=-1)
