"""The forecaster that reads behaviour and images next to the spikes.

They enter in three ways: by cross-attention after every second encoder layer; images known ahead by cross-attention in
the decoder; and closed-form gains in the head. Each way starts at zero (as the gates of Flamingo do, Alayrac et al.
2022) and adds exactly zero where a modality is absent. So without modalities the network is the one that reads spikes
only, bit for bit.

Two streams pass the layers of the forecaster: ``spikes``, and ``joint``, which attends to tokens too. Shape letters are
those of :mod:`neurohorizon.models.forecaster`, with N tokens of behaviour and images.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from neurohorizon.config import Model
from neurohorizon.modalities.tokens import IMAGE_TOKEN, MODALITIES, ModalityLayout
from neurohorizon.models.batch import Tensors
from neurohorizon.models.forecaster import Encoded, Forecaster, HorizonDecoder, PopulationEncoder, UnitHead
from neurohorizon.models.layers import Attention
from neurohorizon.models.likelihoods import CountDistribution

FULL_EVIDENCE_NATS = 0.05
"""Cross-validated gain of a readout, per expected spike, at which a unit counts as following a modality."""
REPLACED = ("encoder", "decoder", "head")
"""Parts of the forecaster that hold the part of the same name that reads spikes only, as ``spikes``."""


@dataclass(frozen=True)
class Streams:
    """Latents or bins, [S, W, L or H, D].

    Attributes:
        spikes: Computed from spikes only.
        joint: Computed from tokens too; None for a batch without tokens.
    """

    spikes: Tensor
    joint: Tensor | None


class MultimodalForecaster(Forecaster):
    """Forecast counts from spikes, behaviour and images.

    Args:
        modalities: Sizes of behaviour and images.
        context_bins: Bins of the context.
        options: Other arguments of :class:`neurohorizon.models.forecaster.Forecaster`.
    """

    def __init__(
        self, *, modalities: ModalityLayout, model: Model, context_bins: int, horizon_bins: int, **options: float
    ) -> None:
        super().__init__(model=model, context_bins=context_bins, horizon_bins=horizon_bins, **options)
        # after all parts that read spikes, so that a seed gives those the same start with and without modalities
        self.tokens = ModalityTokens(modalities, width=model.width)
        self.encoder = MultimodalEncoder(self.encoder, model=model, context_bins=context_bins)
        self.decoder = MultimodalDecoder(self.decoder, model=model, horizon_bins=horizon_bins)
        self.head = MultimodalHead(self.head, model=model, modalities=modalities)

    def forward(self, x: Tensors) -> CountDistribution:
        """Forecast all bins of the horizon at once."""
        past, ahead = self.tokens.past(x), self.tokens.ahead(x)
        unit = self.unit_encoder(x.features, x.readout_cv_gain)
        latents = self.encoder(unit, x, past)
        bins = self.decoder(self.horizon_queries, latents, ahead)
        state = self.head.unit_state(x.targets_of(unit), x)
        return self.head(bins, state, x)

    def encode(self, x: Tensors) -> Encoded:
        """Refuse: tokens enter the encoder and the decoder, so decodings do not share one encoding.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "a network that reads behaviour and images only makes the parallel forecast; "
            "for sample paths and latents use the network that it was trained from"
        )

    def start_from(self, base: Forecaster) -> None:
        """Copy the weights of a trained forecaster that reads spikes only, and exclude them from training.

        Raises:
            ValueError: The forecaster has parameters that this network lacks.
        """
        weights = {spikes_name(name): value for name, value in base.state_dict().items()}
        unexpected = self.load_state_dict(weights, strict=False).unexpected_keys
        if unexpected:
            raise ValueError(
                f"the base network has parameters that this network lacks: {unexpected}. "
                "Build both from the same `model` section"
            )
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in weights)


def spikes_name(name: str) -> str:
    """Return the name in :class:`MultimodalForecaster` of a parameter of the forecaster that reads spikes only."""
    part, _, rest = name.partition(".")
    return f"{part}.spikes.{rest}" if part in REPLACED else name


@dataclass(frozen=True)
class TokenSet:
    """Embedded tokens of behaviour or images.

    Attributes:
        value: Embeddings; the first token is in every window and has no content, [S*W, N + 1, D].
        time_bins: Time from the forecast origin, [S*W, N + 1].
        mask: False where padded or not valid, [S*W, N + 1].
        present: 1 where a window has any token, else 0, [S*W, 1, 1].
    """

    value: Tensor
    time_bins: Tensor
    mask: Tensor
    present: Tensor

    def read_by(self, attention: Attention, queries: Tensor, query_time: Tensor) -> Tensor:
        """Attend to the tokens; exactly zero for windows that have none."""
        key_value = attention.key_value_of(self.value)
        mask = self.mask[:, None, None]
        return self.present * attention.attend(queries, key_value, query_time, self.time_bins, mask)


class ModalityTokens(nn.Module):
    """Embed tokens of behaviour and images by a linear map of their channels and an embedding of their type."""

    def __init__(self, modalities: ModalityLayout, *, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(modalities.channels, width)
        self.kind = nn.Embedding(modalities.token_types, width)
        self.nothing = nn.Parameter(torch.zeros(width))

    def past(self, x: Tensors) -> TokenSet | None:
        """Embed behaviour and images up to the origin; None for a batch without any."""
        return self(x.token_value, x.token_type, x.token_age_bins, x.token_mask)

    def ahead(self, x: Tensors) -> TokenSet | None:
        """Embed images of the horizon; None for a batch without any."""
        kind = torch.full_like(x.ahead_mask, IMAGE_TOKEN, dtype=torch.int64)
        return self(x.ahead_value, kind, x.ahead_age_bins, x.ahead_mask)

    def forward(self, value: Tensor, kind: Tensor, age_bins: Tensor, mask: Tensor) -> TokenSet | None:
        """Embed tokens, [S, W, N, channel], of a type and an age, [S, W, N], valid where the mask is True."""
        if not mask.shape[2]:
            return None  # no gradient, so that the optimiser leaves the parameters of tokens unchanged
        tokens = (self.value(value) + self.kind(kind)).flatten(0, 1)
        nothing = self.nothing.expand(len(tokens), 1, -1)
        mask = mask.flatten(0, 1)
        return TokenSet(
            value=torch.cat([nothing, tokens], dim=1),
            time_bins=nnf.pad(-age_bins.flatten(0, 1), (1, 0)),
            mask=nnf.pad(mask, (1, 0), value=True),
            present=mask.any(dim=1)[:, None, None].to(tokens.dtype),
        )


class MultimodalEncoder(nn.Module):
    """The encoder with a joint stream of latents that attends to tokens after every second layer."""

    def __init__(self, spikes: PopulationEncoder, *, model: Model, context_bins: int) -> None:
        super().__init__()
        self.spikes = spikes
        self.readers = token_readers(model, longest_bins=2 * context_bins, layers=model.encoder_layers // 2)

    def forward(self, unit: Tensor, x: Tensors, past: TokenSet | None) -> Streams:
        """Return latents, [S, W, L, D], of units with embeddings [S, U, D]."""
        if past is None:
            return Streams(self.spikes(unit, x), None)
        time = -self.spikes.grid_age_bins
        latents = joint = self.spikes.gather_spikes(unit, x)
        for index, layer in enumerate(self.spikes.layers):
            one_stream = joint is latents  # until the first token is read
            latents = layer(latents, time)
            joint = latents if one_stream else layer(joint, time)
            if index % 2:
                joint = joint + past.read_by(self.readers[index // 2], joint, time)
        windows = x.spike_unit.shape[:2]
        return Streams(latents.unflatten(0, windows), joint.unflatten(0, windows))


class MultimodalDecoder(nn.Module):
    """The decoder with a joint stream of bins that attends to the images of the horizon, where they are known ahead."""

    def __init__(self, spikes: HorizonDecoder, *, model: Model, horizon_bins: int) -> None:
        super().__init__()
        self.spikes = spikes
        self.readers = token_readers(model, longest_bins=2 * horizon_bins, layers=model.decoder_layers)

    def forward(self, queries: Tensor, latents: Streams, ahead: TokenSet | None) -> Streams:
        """Return representations of the horizon's bins, [S, W, H, D]."""
        queries = queries.expand(*latents.spikes.shape[:2], -1, -1)
        joint = None
        if ahead is not None:
            joint = self._with_images(queries, latents.spikes if latents.joint is None else latents.joint, ahead)
        elif latents.joint is not None:
            joint = self.spikes(queries, latents.joint)
        return Streams(self.spikes(queries, latents.spikes), joint)

    def _with_images(self, queries: Tensor, latents: Tensor, ahead: TokenSet) -> Tensor:
        windows, time = latents.shape[:2], self.spikes.bin
        bins, latents = queries.flatten(0, 1), latents.flatten(0, 1)
        for read, reader, layer in zip(self.spikes.read, self.readers, self.spikes.layers, strict=True):
            bins = bins + read(bins, latents, time, self.spikes.latent_place)
            bins = bins + ahead.read_by(reader, bins, time)
            bins = layer(bins, time)
        return bins.unflatten(0, windows)


class MultimodalHead(nn.Module):
    """The head with the closed-form gains of behaviour and images, and with the change that tokens make to bins."""

    def __init__(self, spikes: UnitHead, *, model: Model, modalities: ModalityLayout) -> None:
        super().__init__()
        self.spikes = spikes
        # no bias: a modality that is absent adds exactly zero
        self.of_modality_gain = nn.Linear(modalities.gain_inputs, model.head_width, bias=False)
        self.of_modality_cv_gain = nn.Linear(modalities.cv_gain_inputs, model.head_width, bias=False)
        self.modality_weights = nn.ModuleList(nn.Linear(model.width, model.head_width) for _ in MODALITIES)
        self.groups = modalities.groups
        self.evidence_scale = nn.Parameter(torch.full((len(MODALITIES),), FULL_EVIDENCE_NATS).reciprocal().log())
        for part in (self.of_modality_gain, self.of_modality_cv_gain, *self.modality_weights):
            nn.init.zeros_(part.weight)
        for part in self.modality_weights:
            nn.init.zeros_(part.bias)

    def unit_state(self, unit: Tensor, x: Tensors) -> Tensor:
        """Return the state of each unit at the origin of each window, [S, W, C, O]."""
        inputs = self.spikes.unit_inputs(unit, x)
        if x.modality_gain.shape[2]:
            inputs = inputs + self.of_modality_gain(x.modality_group_gain)
            inputs = inputs + self.of_modality_cv_gain(x.modality_cv_gain)[:, None]
        return self.spikes.mixed(inputs)

    def forward(self, streams: Streams, state: Tensor, x: Tensors) -> CountDistribution:
        """Return the distributions of the counts of all bins."""
        head = self.spikes
        bins = head.bin_norm(streams.spikes)
        residual = head.residual(bins, state, x)
        if streams.joint is not None:
            change = nnf.linear(head.bin_norm(streams.joint) - bins, head.rate_weights.weight) @ state
            residual = residual + self._evidence(x)[:, None, None] * change
        # a batch of sessions without modalities has no gains
        for weights, gain in zip(self.modality_weights, x.modality_gain.unbind(2), strict=False):
            residual = residual + (weights(bins) @ state) * gain
        return head.distribution(residual, bins, state, x)

    def _evidence(self, x: Tensors) -> Tensor:
        """Return how much a unit followed the modalities in its reference window, from 0 to 1, [S, O].

        Tokens change the bins of all units alike. This factor keeps the forecast of a unit that follows no modality.
        """
        nats = x.modality_cv_gain.unflatten(-1, (len(MODALITIES), -1))[..., : self.groups].mean(-1)  # [S, O, M]
        return torch.tanh((nats.clamp_min(0) * self.evidence_scale.exp()).sum(-1))


def token_readers(model: Model, *, longest_bins: int, layers: int) -> nn.ModuleList:
    """Build one cross-attention to tokens per layer; each adds zero until it is trained."""
    readers = nn.ModuleList(
        Attention(width=model.width, heads=model.heads, longest_bins=longest_bins) for _ in range(layers)
    )
    for reader in readers:
        nn.init.zeros_(reader.out.weight)
        nn.init.zeros_(reader.out.bias)
    return readers
