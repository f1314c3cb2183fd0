"""Decoding in steps with cached keys and values: a step computes only its new bins."""

from dataclasses import dataclass

import torch
from torch import Tensor

from neurohorizon.models.batch import Tensors
from neurohorizon.models.count_feedback import FED_SPANS_BINS, history_log_ratio
from neurohorizon.models.forecaster import Forecaster, HorizonDecoder
from neurohorizon.models.likelihoods import CountDistribution


@dataclass(frozen=True)
class DecoderCache:
    """Keys and values of a decoding in steps, a tensor for each layer.

    Attributes:
        latents: Keys and values of the latents, [S*W, L, 2D].
        past: Keys and values of the bins so far, [S*W*paths, bin, 2D]; None before the first.
    """

    latents: list[Tensor]
    past: list[Tensor | None]

    @classmethod
    def start(cls, decoder: HorizonDecoder, latents: Tensor) -> "DecoderCache":
        """Project the latents, [S, W, L, D], once for all steps."""
        latents = latents.flatten(0, 1)
        return cls([read.key_value_of(latents) for read in decoder.read], [None] * len(decoder.layers))

    def step(self, decoder: HorizonDecoder, queries: Tensor, first: int) -> tuple[Tensor, "DecoderCache"]:
        """Decode the next bins, with the numbers that a decoding of all bins at once has.

        Args:
            queries: Queries of consecutive bins for several paths of each window, [S*W, paths, bin, D].
            first: Index of the first of these bins, which is the number of bins in the cache.

        Returns:
            Representations of the bins, and a cache that holds them too.
        """
        batch, paths, n_bins, width = queries.shape
        time = decoder.bin[first : first + n_bins]
        # paths of a window read the same latents: they are queries of one product
        every_time = time.repeat(paths)
        causal = torch.ones(n_bins, first + n_bins, dtype=torch.bool, device=queries.device).tril(first)
        bins, past = queries, []
        for read, layer, latents, before in zip(decoder.read, decoder.layers, self.latents, self.past, strict=True):
            flat = bins.reshape(batch, paths * n_bins, width)
            flat = flat + read.attend(flat, latents, every_time, decoder.latent_place, None)
            bins = flat.reshape(batch * paths, n_bins, width)
            own = layer.attention.key_value_of(bins)
            every = own if before is None else torch.cat([before, own], dim=1)
            bins = bins + layer.attention.attend(bins, every, time, decoder.bin[: first + n_bins], causal)
            bins = bins + layer.feed(bins)
            bins = bins.reshape(batch, paths, n_bins, width)
            past.append(every)
        return bins, DecoderCache(self.latents, past)


class CachedDecoding:
    """Decode several paths of each window in steps, each step with the counts of the bins before it fed back.

    Args:
        forecaster: A network with feedback.
    """

    def __init__(self, forecaster: Forecaster, x: Tensors, paths: int) -> None:
        self.forecaster, self.x, self.paths = forecaster, x, paths
        self.encoded = forecaster.encode(x)
        self.cache = DecoderCache.start(forecaster.decoder, self.encoded.latents)
        self.shape = (*x.history.shape[:2], paths)
        self.rate = x.reference_log_rate.exp()[:, None, None]
        self.fed_back: list[Tensor] = []  # counts of each bin so far, [S, W, path, O]
        self.pooled: Tensor | None = None  # pooled counts of the bin before, [S, W, path, D]

    def predict(self, first: int, n_bins: int) -> CountDistribution:
        """Return the distributions of the next bins, [S, W, path, bin, O]."""
        queries = self._queries(first, [self.pooled, *[None] * (n_bins - 1)])
        bins, cache = self.cache.step(self.forecaster.decoder, queries, first)
        if n_bins == 1:
            self.cache = cache  # counts of this bin enter the query of the next bin, not its own
        rows = bins.reshape(*self.shape[:2], -1, bins.shape[-1])  # paths and bins are rows of the head
        place = torch.arange(first, first + n_bins, device=rows.device).repeat(self.paths)
        ratios = self._history_log_ratios(first, n_bins)
        forecast = self.forecaster.head(rows, self.encoded.state, self.x, place=place, history_log_ratios=ratios)
        return forecast.map(lambda rows: rows.unflatten(2, (self.paths, n_bins)))

    def feed_back(self, counts: Tensor, first: int, n_bins: int) -> None:
        """Feed back the counts of the predicted bins, [S, W, path, bin, O]."""
        self.fed_back += counts.unbind(3)
        pooled = [self.forecaster.feedback(self.encoded.unit, one, self.x) for one in counts.unbind(3)]
        if n_bins > 1:
            queries = self._queries(first, [self.pooled, *pooled[:-1]])
            _, self.cache = self.cache.step(self.forecaster.decoder, queries, first)
        self.pooled = pooled[-1]

    def _queries(self, first: int, before: list[Tensor | None]) -> Tensor:
        """Return queries of bins, plus the pooled counts of the bin before each where given, [S*W, path, bin, D]."""
        queries = self.forecaster.horizon_queries[first : first + len(before)]
        given = [
            query.expand(*self.shape, -1) if one is None else query + one
            for query, one in zip(queries, before, strict=True)
        ]
        return torch.stack(given, dim=3).flatten(0, 1)

    def _history_log_ratios(self, first: int, n_bins: int) -> list[Tensor]:
        """Return the log ratio over each span before each bin, of rows [S, W, path * bin, O]."""
        none = self.rate.new_zeros(*self.shape, self.rate.shape[-1])
        ratios = []
        for span in FED_SPANS_BINS:
            rows = []
            for place in range(first, first + n_bins):
                before = self.fed_back[max(place - span, 0) :]
                sums = torch.stack(before).sum(0) if before else none
                rows.append(history_log_ratio(sums, self.rate * len(before)))
            ratios.append(torch.stack(rows, dim=3).flatten(2, 3))
        return ratios
