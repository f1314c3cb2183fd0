"""The forecaster: spikes of a context in, every unit's expected counts over the horizon out.

Shape comments use S sessions, W windows of each, N spikes, U units heard, O units forecast, L latents,
H horizon bins, P history spans, G groups of horizon bins, F reference features, D width, K spans of fed-back bins;
beside the spikes: N tokens of behaviour and images, C channels of a token, M modalities.

One decoder has several uses (:mod:`neurohorizon.models.rollout`). Its queries of the horizon's bins can be fed the
counts of earlier bins, observed or drawn. Fed nothing, it is the parallel forecast of all bins at once.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neurohorizon.config import Model
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.windows import WindowShape
from neurohorizon.modalities.tokens import IMAGE_TOKEN, MODALITIES, ModalityLayout

if TYPE_CHECKING:
    from neurohorizon.models.stream import Stream


from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import FED_SPANS_BINS, Fed, PopulationFeedback, log_surprise, own_surprise
from neurohorizon.models.distributions import Outlook
from neurohorizon.models.layers import Attention, FeedForward, SelfLayer

FULL_EVIDENCE_NATS = 0.05
"""Cross-validated gain of a readout, per expected spike, from which on a unit counts as following a modality."""
TRAINING_RANGE = (0.01, 0.99)
"""Quantiles of a reference feature over the units of training, within which the network is told it."""
FIRST_SHAPE = 10.0
"""Shape of the negative binomial of an untrained network."""
LOG_SHAPE_RANGE = (-4.0, 7.0)
"""Shapes are kept where the negative binomial is neither all zeros nor numerically a Poisson distribution."""


@dataclass(frozen=True)
class Encoded:
    """What the decoder and the head need of a batch, the same for every decoding of it.

    Attributes:
        unit: Embeddings of the forecast units, [S, O, D].
        state: What is known of each unit in each window, [S, W, head width, O].
        latents: Latents of the context's spikes; None without a population, [S, W, L, D].
        beside_latents: Latents that heard behaviour and images too; None where there are none.
        ahead: Images of the horizon; None where they are not known.
    """

    unit: Tensor
    state: Tensor
    latents: Tensor | None = None
    beside_latents: Tensor | None = None
    ahead: "TokenSet | None" = None

    def first_windows(self, n: int) -> "Encoded":
        """Return the same with the first windows of each session, for a network that reads spikes alone."""
        if self.beside_latents is not None or self.ahead is not None:
            raise ValueError("windows of a network that hears behaviour or images are not taken apart")
        latents = None if self.latents is None else self.latents[:, :n]
        return replace(self, state=self.state[:, :n], latents=latents)


class Forecaster(nn.Module):
    """Forecast counts of units known only by their reference statistics.

    No parameter belongs to a unit, a session or an animal. The output is a residual on the reference log rate
    and starts at zero, so an untrained network forecasts the reference mean exactly.

    Behaviour and images enter beside the spikes, where the network has a layout for them: by cross-attention after
    every second encoder layer, images known ahead in the decoder, and closed-form gains in the head. Each of these
    starts at zero (as the gates of Flamingo do, Alayrac et al. 2022) and adds exactly zero where a modality is absent,
    so the network without modalities is the one that reads spikes alone, bit for bit.

    Args:
        model: Parts and sizes.
        n_features: Number of reference features of a unit.
        horizon_bins: Bins of the horizon.
        dropout: Share dropped in the feed-forward layers while training.
        feature_noise: Standard deviation of noise on the standardised features while training.
        modalities: Sizes of behaviour and images; None for spikes alone.
    """

    def __init__(
        self,
        *,
        model: Model,
        n_features: int,
        horizon_bins: int,
        dropout: float = 0.0,
        feature_noise: float = 0.0,
        modalities: ModalityLayout | None = None,
    ) -> None:
        super().__init__()
        width = model.width
        n_groups = len(model.readout.horizon_edges_bins)
        self.population, self.likelihood = model.population, model.likelihood
        self.id_encoder = IDEncoder(
            n_inputs=n_features + 2 * n_groups, width=width, noise=feature_noise, told=model.identity
        )
        self.horizon = nn.Parameter(torch.randn(horizon_bins, width) * 0.5)
        if model.population:
            self.encoder = PopulationEncoder(model=model, dropout=dropout)
            self.decoder = HorizonDecoder(model=model, horizon_bins=horizon_bins, dropout=dropout)
        self.head = UnitHead(model=model, horizon_bins=horizon_bins)
        self.feedback = PopulationFeedback(width=width) if model.feedback else None
        if modalities:
            # after all parts that read spikes, so that a seed gives these the same start with and without
            self.tokens = ModalityTokens(modalities, width=width)
            self.encoder.hear(model=model)
            self.decoder.hear(model=model, horizon_bins=horizon_bins)
            self.head.hear(model=model, modalities=modalities)

    def forward(self, x: Tensors, fed: Fed | None = None) -> Tensor:
        """Return the natural log of expected counts per bin, [S, W, H, O]; see :meth:`decode`."""
        return self.decode(self.encode(x), x, fed).log_rate

    def encode(self, x: Tensors, unit: Tensor | None = None) -> Encoded:
        """Read the context, once for all decodings.

        Args:
            x: The batch.
            unit: Embeddings of its units where they are known already, [S, U, D].
        """
        if unit is None:
            unit = self.id_encoder(x.features, x.readout_trust)
        forecast_unit = torch.take_along_dim(unit, x.target_unit[..., None], dim=1)  # [S, O, D]
        state = self.head.unit_state(forecast_unit, x)
        if not self.population:
            return Encoded(forecast_unit, state)
        beside = ahead = None
        if x.token_value.shape[2]:
            beside = self.tokens(x.token_value, x.token_type, x.token_age_bins, x.token_mask)
        if x.ahead_value.shape[2]:
            kind = torch.full_like(x.ahead_mask, IMAGE_TOKEN, dtype=torch.int64)
            ahead = self.tokens(x.ahead_value, kind, x.ahead_age_bins, x.ahead_mask)
        latents, beside_latents = self.encoder(unit, x, beside)  # [S, W, L, D]
        heard = beside is not None or ahead is not None
        return Encoded(forecast_unit, state, latents, beside_latents if heard else None, ahead)

    def decode(self, encoded: Encoded, x: Tensors, fed: Fed | None = None) -> Outlook:
        """Forecast all bins of the horizon.

        Args:
            encoded: What :meth:`encode` returned for the batch.
            x: The batch.
            fed: Counts of the horizon fed back, each to the bins after it; None for the parallel forecast.

        Raises:
            ValueError: Counts are fed to a network without feedback.
        """
        bins = self.horizon.expand(*x.history.shape[:2], -1, -1)  # [S, W, H, D]
        surprise = None
        if fed is not None:
            if self.feedback is None:
                raise ValueError("this network has no feedback (model.feedback); it knows the parallel forecast alone")
            pooled = self.feedback(encoded.unit, fed.counts, x.reference_log_rate, x.target_unit_mask, fed.known)
            bins = bins + nnf.pad(pooled, (0, 0, 1, 0))[:, :, :-1]  # a bin hears the one before it
            surprise = own_surprise(fed, x.reference_log_rate)
        heard = None
        if encoded.latents is not None:
            if encoded.beside_latents is not None:
                heard = self.decoder(bins, encoded.beside_latents, encoded.ahead)
            bins = self.decoder(bins, encoded.latents)
        place = torch.arange(bins.shape[2], device=bins.device)
        return self.head(bins, encoded.state, x, place, surprise=surprise, heard=heard)

    def stream(self, inputs: SessionInputs, shape: WindowShape, *, start_s: float) -> "Stream":
        """Forecast while a recording runs; see :class:`neurohorizon.models.stream.Stream`."""
        from neurohorizon.models.stream import Stream  # which stands on this module

        return Stream(self, inputs, shape, start_s=start_s)


class IDEncoder(nn.Module):
    """Turn a unit's reference features into its embedding: three layers, GELU, LayerNorm.

    Features are standardised over the units of the training sessions; :meth:`fit_scale` sets the scale. What lies
    outside of these units' range counts as its edge: another recording may be far away, where no unit taught what
    the network says. Told nothing, it gives all units the same embedding.
    """

    def __init__(self, *, n_inputs: int, width: int, noise: float, told: bool = True) -> None:
        super().__init__()
        self.noise, self.told = noise, told
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("deviation", torch.ones(n_inputs))
        self.register_buffer("lowest", torch.full((n_inputs,), -math.inf))
        self.register_buffer("highest", torch.full((n_inputs,), math.inf))
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.norm = nn.LayerNorm(width)

    def fit_scale(self, features: Tensor, trust: Tensor) -> None:
        """Set mean, deviation and range from the units of the training sessions, [unit, feature]."""
        inputs = torch.cat([features, trust], dim=-1)
        self.mean.copy_(inputs.mean(0))
        self.deviation.copy_(inputs.std(0).clamp_min(1e-3))
        lowest, highest = np.quantile(inputs.numpy(), TRAINING_RANGE, axis=0)
        self.lowest.copy_(torch.from_numpy(lowest))
        self.highest.copy_(torch.from_numpy(highest))

    def forward(self, features: Tensor, trust: Tensor) -> Tensor:
        """Return embeddings, [S, U, D]."""
        if trust.shape[1] != features.shape[1]:
            raise ValueError(f"trust of {trust.shape[1]} units for features of {features.shape[1]}")
        inputs = torch.cat([features, trust], dim=-1).clamp(self.lowest, self.highest)
        inputs = (inputs - self.mean) / self.deviation if self.told else torch.zeros_like(inputs)
        if self.training and self.noise and self.told:
            inputs = inputs + self.noise * torch.randn_like(inputs)
        return self.norm(self.layers(inputs))


@dataclass(frozen=True)
class TokenSet:
    """Embedded tokens of behaviour or images.

    Attributes:
        value: Embeddings; the first token is always there and says nothing, [S*W, N + 1, D].
        time_bins: Time from the forecast origin, [S*W, N + 1].
        mask: False where padded or not known, [S*W, N + 1].
        present: 1 where a window has any token, else 0, [S*W, 1, 1].
    """

    value: Tensor
    time_bins: Tensor
    mask: Tensor
    present: Tensor


class ModalityTokens(nn.Module):
    """Embed tokens of behaviour and images: a linear map for each channel, and what type of token it is."""

    def __init__(self, modalities: ModalityLayout, *, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(modalities.channels, width)
        self.kind = nn.Embedding(modalities.token_types, width)
        self.nothing = nn.Parameter(torch.zeros(width))

    def forward(self, value: Tensor, kind: Tensor, age_bins: Tensor, mask: Tensor) -> TokenSet:
        """Embed tokens [S, W, N, C] of a type and an age [S, W, N], valid where the mask says so."""
        tokens = (self.value(value) + self.kind(kind)).flatten(0, 1)
        nothing = self.nothing.expand(len(tokens), 1, -1)
        mask = mask.flatten(0, 1)
        return TokenSet(
            value=torch.cat([nothing, tokens], dim=1),
            time_bins=nnf.pad(-age_bins.flatten(0, 1), (1, 0)),
            mask=nnf.pad(mask, (1, 0), value=True),
            present=mask.any(dim=1)[:, None, None].to(tokens.dtype),
        )


class PopulationEncoder(nn.Module):
    """Perceiver: latents on a time grid gather the context's spikes, then attend to each other."""

    def __init__(self, *, model: Model, dropout: float) -> None:
        super().__init__()
        width, n_latents = model.width, model.latents_per_window
        self.latents = nn.Parameter(torch.randn(n_latents, width) * 0.5)
        self.spike_type = nn.Parameter(torch.randn(width) * 0.02)
        self.silence = nn.Parameter(torch.randn(width) * 0.02)  # a token that is always there
        grid_age = (torch.arange(n_latents) + 0.5) / n_latents * model.heard_bins
        self.register_buffer("grid_age_bins", grid_age.flip(0), persistent=False)
        self.gather = Attention(width=width, heads=model.heads, longest_bins=2 * model.heard_bins)
        self.gather_feed = FeedForward(width=width, dropout=dropout)
        self.layers = nn.ModuleList(
            SelfLayer(width=width, heads=model.heads, longest_bins=2 * model.heard_bins, dropout=dropout)
            for _ in range(model.encoder_layers)
        )

    def hear(self, *, model: Model) -> None:
        """Add cross-attention to behaviour and images after every second layer."""
        self.beside = nn.ModuleList(
            _silent(Attention(width=model.width, heads=model.heads, longest_bins=2 * model.heard_bins))
            for _ in range(model.encoder_layers // 2)
        )

    def forward(self, unit: Tensor, x: Tensors, beside: TokenSet | None = None) -> tuple[Tensor, Tensor]:
        """Return latents of spikes alone and those that heard behaviour and images too, [S, W, L, D] both."""
        grid = self.grid_age_bins
        latents = self.gather_spikes(unit, x)
        heard = latents
        for index, layer in enumerate(self.layers):
            same = heard is latents  # until the first token is heard
            latents = layer(latents, -grid)
            heard = latents if same else layer(heard, -grid)
            if beside is not None and index % 2:
                heard = heard + _heard(self.beside[index // 2], heard, -grid, beside)
        shape = (*x.spike_unit.shape[:2], *latents.shape[1:])
        return latents.reshape(shape), heard.reshape(shape)

    def gather_spikes(self, unit: Tensor, x: Tensors) -> Tensor:
        """Return latents that gathered the context's spikes, [S*W, L, D]."""
        sessions, windows, n_spikes = x.spike_unit.shape
        batch, n_units = sessions * windows, unit.shape[1]
        # a spike's key and value are its unit's: project units, then pick
        key_value = self.gather.key_value_of((unit + self.spike_type).flatten(0, 1))  # [S*U, 2D]
        row = x.spike_unit + torch.arange(sessions, device=unit.device)[:, None, None] * n_units
        # the silence is one more row to pick, so that the tokens are laid out once
        table = torch.cat([key_value, self.gather.key_value_of(self.silence)[None]])
        row = nnf.pad(row.reshape(batch, n_spikes), (0, 1), value=len(key_value))
        tokens = table.index_select(0, row.flatten()).reshape(batch, n_spikes + 1, -1)  # [S*W, N+1, 2D]
        age = nnf.pad(x.spike_age_bins.reshape(batch, n_spikes), (0, 1))
        mask = nnf.pad(x.spike_mask.reshape(batch, n_spikes), (0, 1), value=True)

        latents = self.latents.expand(batch, -1, -1)
        latents = latents + self.gather.attend(latents, tokens, -self.grid_age_bins, -age, mask[:, None, None])
        return latents + self.gather_feed(latents)


class HorizonDecoder(nn.Module):
    """Queries of the horizon's bins read the latents, each bin attending to itself and earlier ones only.

    Without ``model.causal``, which no feedback allows, bins attend to later ones too.
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

    def hear(self, *, model: Model, horizon_bins: int) -> None:
        """Add cross-attention to the images of the horizon, where these are known ahead."""
        self.ahead = nn.ModuleList(
            _silent(Attention(width=model.width, heads=model.heads, longest_bins=2 * horizon_bins))
            for _ in range(model.decoder_layers)
        )

    def forward(self, bins: Tensor, latents: Tensor, ahead: TokenSet | None = None) -> Tensor:
        """Return representations of the horizon's bins, [S, W, H, D]."""
        sessions, windows, n_bins, width = bins.shape
        bins = bins.reshape(sessions * windows, n_bins, width)
        latents = latents.reshape(sessions * windows, -1, width)
        for index, (read, layer) in enumerate(zip(self.read, self.layers, strict=True)):
            bins = bins + read(bins, latents, self.bin, self.latent_place)
            if ahead is not None:
                bins = bins + _heard(self.ahead[index], bins, self.bin, ahead)
            bins = layer(bins, self.bin)
        return bins.reshape(sessions, windows, n_bins, width)

    def start(self, latents: Tensor) -> "DecoderCache":
        """Begin a decoding in steps: project the latents, [S, W, L, D], once."""
        latents = latents.flatten(0, 1)
        return DecoderCache([read.key_value_of(latents) for read in self.read], [None] * len(self.layers))

    def step(self, bins: Tensor, first: int, cache: "DecoderCache") -> tuple[Tensor, "DecoderCache"]:
        """Decode some bins after those in the cache, as :meth:`forward` does all at once.

        Args:
            bins: Queries of consecutive bins for several paths of each window, [S*W, paths, bin, D].
            first: The first of these bins, as many as the cache holds.
            cache: What :meth:`start` or the step before returned.

        Returns:
            Representations of the bins, and a cache that holds them too.
        """
        batch, paths, n_bins, width = bins.shape
        time = self.bin[first : first + n_bins]
        # paths of a window read the same latents: they are queries beside each other
        every_time = time.repeat(paths)
        causal = torch.ones(n_bins, first + n_bins, dtype=torch.bool, device=bins.device).tril(first)
        past = []
        for read, layer, latents, before in zip(self.read, self.layers, cache.latents, cache.past, strict=True):
            flat = bins.reshape(batch, paths * n_bins, width)
            flat = flat + read.attend(flat, latents, every_time, self.latent_place, None)
            bins = flat.reshape(batch * paths, n_bins, width)
            own = layer.attention.key_value_of(bins)
            every = own if before is None else torch.cat([before, own], dim=1)
            bins = bins + layer.attention.attend(bins, every, time, self.bin[: first + n_bins], causal)
            bins = bins + layer.feed(bins)
            bins = bins.reshape(batch, paths, n_bins, width)
            past.append(every)
        return bins, DecoderCache(cache.latents, past)


@dataclass(frozen=True)
class DecoderCache:
    """Keys and values of a decoding in steps, a pair for each layer.

    Attributes:
        latents: Of the latents, [S*W, L, 2D].
        past: Of the bins so far, [S*W*paths, bin, 2D]; None before the first.
    """

    latents: list[Tensor]
    past: list[Tensor | None]


class UnitHead(nn.Module):
    """From bins, a unit's identity, its own recent history and the readout to its residual log rate.

    What is known of a unit in a window passes a small network once, not once a bin; each bin then weighs the
    result. So the output is one matrix product, and no tensor of bins x units x width is ever made.
    """

    def __init__(self, *, model: Model, horizon_bins: int) -> None:
        super().__init__()
        edges = model.readout.horizon_edges_bins
        n_spans, width = len(model.history_edges_bins), model.head_width
        self.own_history = model.own_history
        group = torch.bucketize(torch.arange(horizon_bins), torch.tensor(edges), right=True)
        self.register_buffer("group", group, persistent=False)  # [H]
        self.of_history = nn.Linear(2 * n_spans + len(edges), width)
        self.of_identity = nn.Linear(model.width, width)
        self.mix = nn.Linear(width, width)
        self.bin_norm = nn.LayerNorm(model.width)
        self.rate_weights = nn.Linear(model.width, width)
        self.trust_weights = nn.Linear(model.width, width)
        started_at_zero = [self.rate_weights, self.trust_weights]
        self.fed_weights = self.shape_weights = None
        if model.feedback:
            self.fed_weights = nn.ModuleList(nn.Linear(model.width, width) for _ in FED_SPANS_BINS)
            started_at_zero += self.fed_weights
        if model.likelihood == "negative_binomial":
            self.shape_weights = nn.Linear(model.width, width)
            self.log_shape = nn.Parameter(torch.tensor(math.log(FIRST_SHAPE)))
            started_at_zero.append(self.shape_weights)
        for part in started_at_zero:
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)

    def hear(self, *, model: Model, modalities: ModalityLayout) -> None:
        """Add what the readouts of behaviour and images give, each with its own trust."""
        # no bias: a modality that is absent adds exactly zero
        self.of_modality_gain = nn.Linear(modalities.gain_inputs, model.head_width, bias=False)
        self.of_modality_trust = nn.Linear(modalities.trust_inputs, model.head_width, bias=False)
        self.modality_weights = nn.ModuleList(nn.Linear(model.width, model.head_width) for _ in MODALITIES)
        self.groups = modalities.groups
        self.evidence_scale = nn.Parameter(torch.full((len(MODALITIES),), FULL_EVIDENCE_NATS).reciprocal().log())
        for part in (self.of_modality_gain, self.of_modality_trust, *self.modality_weights):
            nn.init.zeros_(part.weight)
        for part in self.modality_weights:
            nn.init.zeros_(part.bias)

    def unit_state(self, unit: Tensor, x: Tensors) -> Tensor:
        """Return what is known of each unit at the origin of each window, [S, W, head width, O].

        Args:
            unit: Embeddings of the forecast units, [S, O, D].
            x: The batch.
        """
        known = self.of_history(_history_inputs(x, own=self.own_history)) + self.of_identity(unit)[:, None]
        if x.modality_gain.shape[2]:
            known = known + self.of_modality_gain(x.modality_group_gain)
            known = known + self.of_modality_trust(x.modality_trust)[:, None]
        return nnf.gelu(self.mix(nnf.gelu(known))).transpose(-1, -2)

    def forward(
        self,
        bins: Tensor,
        state: Tensor,
        x: Tensors,
        place: Tensor,
        *,
        surprise: list[Tensor] | None = None,
        heard: Tensor | None = None,
    ) -> Outlook:
        """Return the distribution of the counts of some bins.

        Args:
            bins: Representations of R bins, [S, W, R, D].
            state: What :meth:`unit_state` returned, [S, W, head width, O].
            x: The batch.
            place: Which bin of the horizon each is, [R].
            surprise: What :func:`own_surprise` says of fed-back counts, K of [S, W, R, O]; None where nothing is fed.
            heard: The same bins where they heard behaviour and images too.
        """
        bins = self.bin_norm(bins)
        residual = self.rate_weights(bins) @ state
        trust = self.trust_weights(bins) @ state
        readout = x.readout[..., self.group[place]].transpose(-1, -2)  # [S, W, R, O]
        residual = residual + trust * readout
        for weights, one in zip(self.fed_weights or (), surprise or (), strict=surprise is not None):
            residual = residual + (weights(bins) @ state) * one
        if heard is not None:
            change = nnf.linear(self.bin_norm(heard) - bins, self.rate_weights.weight) @ state
            residual = residual + self._evidence(x)[:, None, None] * change
        for index in range(x.modality_gain.shape[2]):
            gain = x.modality_gain[:, :, index, place]
            residual = residual + (self.modality_weights[index](bins) @ state) * gain
        log_shape = None
        if self.shape_weights is not None:
            log_shape = (self.log_shape + self.shape_weights(bins) @ state).clamp(*LOG_SHAPE_RANGE)
        return Outlook(x.reference_log_rate[:, None, None] + residual, log_shape)

    def _evidence(self, x: Tensors) -> Tensor:
        """Return how far a unit's reference window says that it follows what is read beside the spikes, 0 to 1, [S, O].

        Tokens change what is forecast of all units alike; a unit that follows none of it is to be left alone.
        """
        nats = x.modality_trust.unflatten(-1, (len(MODALITIES), -1))[..., : self.groups].mean(-1)  # [S, O, M]
        return torch.tanh((nats.clamp_min(0) * self.evidence_scale.exp()).sum(-1))


def _history_inputs(x: Tensors, *, own: bool = True) -> Tensor:
    """Return log counts against their expectation, the spans' valid bins, and the readout, [S, W, O, 2P + G].

    All but the readout is zero where a unit's own history is not read.
    """
    bins = x.history_bins[:, :, None]  # [S, W, 1, P]
    expected = x.reference_log_rate.exp()[:, None, :, None] * bins
    surprise = log_surprise(x.history, expected)
    history = torch.cat([surprise, torch.log1p(bins).expand_as(surprise)], dim=-1)
    return torch.cat([history if own else torch.zeros_like(history), x.readout], dim=-1)


def checkpoint_layers(forecaster: Forecaster) -> None:
    """Let the layers of a network keep their inputs alone, and compute the rest again when its gradient is due.

    Numbers, gradients and dropout stay what they are; memory is exchanged for about a third more time.
    """
    for part in forecaster.modules():
        if isinstance(part, SelfLayer):
            part.forward = partial(checkpoint, part.forward, use_reentrant=False)
        elif isinstance(part, HorizonDecoder):
            for read in part.read:
                read.forward = partial(checkpoint, read.forward, use_reentrant=False)
        elif isinstance(part, PopulationEncoder):
            part.gather_spikes = partial(checkpoint, part.gather_spikes, use_reentrant=False)


def _silent(attention: Attention) -> Attention:
    """Make an attention that adds nothing until it is trained."""
    nn.init.zeros_(attention.out.weight)
    nn.init.zeros_(attention.out.bias)
    return attention


def _heard(attention: Attention, queries: Tensor, query_time: Tensor, tokens: TokenSet) -> Tensor:
    """Attend to tokens; exactly zero for windows that have none."""
    key_value = attention.key_value_of(tokens.value)
    mask = tokens.mask[:, None, None]
    return tokens.present * attention.attend(queries, key_value, query_time, tokens.time_bins, mask)
