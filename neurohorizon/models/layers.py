"""Layers of the network: attention, self-attention blocks and feed-forward blocks."""

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn


class SelfLayer(nn.Module):
    """Pre-norm self-attention and feed-forward, each added to its input."""

    def __init__(self, *, width: int, heads: int, longest_bins: int, dropout: float, causal: bool = False) -> None:
        super().__init__()
        self.attention = Attention(width=width, heads=heads, longest_bins=longest_bins, causal=causal)
        self.feed = FeedForward(width=width, dropout=dropout)

    def forward(self, tokens: Tensor, time_bins: Tensor) -> Tensor:
        """Return tokens of the same shape, [batch, token, D]."""
        tokens = tokens + self.attention(tokens, tokens, time_bins, time_bins)
        return tokens + self.feed(tokens)


class Attention(nn.Module):
    """Multi-head attention with normalised inputs and rotary time (Su et al. 2021, RoFormer).

    Wavelengths range from two bins to ``longest_bins``.
    """

    def __init__(self, *, width: int, heads: int, longest_bins: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query_norm, self.token_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)
        wavelength = torch.logspace(math.log10(2), math.log10(max(longest_bins, 3)), width // heads // 2)
        self.register_buffer("frequency", 2 * math.pi / wavelength, persistent=False)

    def forward(self, queries: Tensor, tokens: Tensor, query_time: Tensor, token_time: Tensor) -> Tensor:
        """Attend from queries to tokens; see :meth:`attend`."""
        return self.attend(queries, self.key_value_of(tokens), query_time, token_time, None)

    def key_value_of(self, tokens: Tensor) -> Tensor:
        """Return keys, not yet rotated by time, and values, [..., 2D]."""
        return self.key_value(self.token_norm(tokens))

    def attend(
        self, queries: Tensor, key_value: Tensor, query_time: Tensor, token_time: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Attend to tokens with given keys and values.

        Args:
            queries: [batch, query, D].
            key_value: [batch, token, 2D].
            query_time: Bins, [query] or [batch, query].
            token_time: Bins, [token] or [batch, token].
            mask: True where a token may be attended to, broadcast to [batch, head, query, token]; None: everywhere.
        """
        query = self._split(self.query(self.query_norm(queries)))
        key, value = (self._split(part) for part in key_value.chunk(2, dim=-1))
        query, key = self._rotate(query, query_time), self._rotate(key, token_time)
        causal = self.causal and mask is None
        mixed = nnf.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _rotate(self, tokens: Tensor, time_bins: Tensor) -> Tensor:
        angle = time_bins[..., None] * self.frequency  # [(batch,) token, D / heads / 2]
        if angle.ndim == 3:
            angle = angle[:, None]
        cosine, sine = angle.cos().to(tokens.dtype), angle.sin().to(tokens.dtype)
        left, right = tokens.chunk(2, dim=-1)
        return torch.cat([left * cosine - right * sine, left * sine + right * cosine], dim=-1)


class FeedForward(nn.Sequential):
    """Pre-norm two-layer network of four times the width."""

    def __init__(self, *, width: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )
