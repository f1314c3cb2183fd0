"""Behaviour and images as tokens and as closed-form gains, under a named condition.

Behaviour is read up to ``behaviour_delay_bins`` before the forecast origin and never after it. Images are read up to
the origin; the images of the horizon are read only under a condition whose name includes ``ahead``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurohorizon.config import Multimodal
from neurohorizon.modalities.conditions import Condition
from neurohorizon.modalities.signal_readout import SignalReadout
from neurohorizon.modalities.signals import ShownImages, Signal

MODALITIES = ("behaviour", "image")
IMAGE_TOKEN = 0
"""Type of an image token; behaviour series follow in the order of the configuration."""


@dataclass(frozen=True)
class ModalityLayout:
    """Sizes of the modalities that a network reads, the same for all sessions.

    Attributes:
        behaviour: Behaviour series; each has its own type of token and two channels: value and magnitude.
        components: Components of an image's embedding; 0 without images.
        token_bins: Bins that a token of behaviour summarises.
        delay_bins: Last bins before the origin, in which no behaviour is read.
        groups: Number of groups of horizon bins, as in the readouts.
    """

    behaviour: tuple[str, ...]
    components: int
    token_bins: int
    delay_bins: int
    groups: int

    @classmethod
    def of(cls, multimodal: Multimodal, horizon_edges_bins: tuple[int, ...]) -> "ModalityLayout":
        """Take sizes from the configuration."""
        return cls(
            behaviour=multimodal.behaviour,
            components=multimodal.images.components if multimodal.images else 0,
            token_bins=multimodal.token_bins,
            delay_bins=multimodal.behaviour_delay_bins,
            groups=len(horizon_edges_bins),
        )

    @property
    def channels(self) -> int:
        """Length of a token's value: the image's components, then two channels for each behaviour series."""
        return self.components + 2 * len(self.behaviour)

    @property
    def token_types(self) -> int:
        """Number of types of tokens."""
        return 1 + len(self.behaviour)

    @property
    def gain_inputs(self) -> int:
        """Length of the readouts' log gains for each unit in a window."""
        return len(MODALITIES) * self.groups

    @property
    def cv_gain_inputs(self) -> int:
        """Length of the readouts' cross-validated scores for each unit, with one flag for images known ahead."""
        return len(MODALITIES) * (2 * self.groups + 1)


@dataclass(frozen=True, eq=False)
class SessionModalities:
    """Behaviour and images of one session, scaled and fitted on one reference window.

    Attributes:
        layout: Sizes.
        behaviour: Signal of each series that the session has, on the scale of its reference window.
        images: Its images; None if none is known.
        readouts: Closed-form readouts by name: ``behaviour``, ``image``, ``image_ahead``.
        horizon_edges_bins: Ends of the groups of horizon bins.
    """

    layout: ModalityLayout
    behaviour: Mapping[str, Signal]
    images: ShownImages | None
    readouts: Mapping[str, SignalReadout]
    horizon_edges_bins: tuple[int, ...]

    def can(self, condition: Condition) -> bool:
        """Return True if the session has the modalities that a condition reads."""
        return not (condition.behaviour and not self.behaviour) and not (condition.image and self.images is None)

    def block(
        self,
        origin_us: np.ndarray,
        *,
        condition: Condition,
        context_bins: int,
        horizon_bins: int,
        bin_us: int,
        head: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Compute one session's block of a batch; the arrays are described in ``inputs.batches.Batch``.

        Args:
            origin_us: Forecast origins, int64, [window].
            condition: Modalities that may be read; modalities that the session lacks are absent.
            head: Units to forecast, [head].
        """
        context_us, horizon_us = context_bins * bin_us, horizon_bins * bin_us
        read_images = condition.image and self.images is not None
        tokens = [_Tokens.none(origin_us.size, self.layout)]
        if condition.behaviour:
            tokens += [
                self._behaviour_tokens(index, name, origin_us, context_us, bin_us)
                for index, name in enumerate(self.layout.behaviour)
                if name in self.behaviour
            ]
        ahead = _Tokens.none(origin_us.size, self.layout)
        if read_images:
            tokens.append(self._image_tokens(origin_us, origin_us - context_us, origin_us, bin_us))
        if read_images and condition.image == "ahead":
            ahead = self._image_tokens(origin_us, origin_us, origin_us + horizon_us, bin_us)
        joined = _Tokens.joined(tokens)
        gain, of_groups, cv_gain = self._gains(origin_us, condition, horizon_bins, bin_us, head)
        return {
            "token_value": joined.value,
            "token_type": joined.kind,
            "token_age_bins": joined.age_bins,
            "token_mask": joined.mask,
            "ahead_value": ahead.value,
            "ahead_age_bins": ahead.age_bins,
            "ahead_mask": ahead.mask,
            "modality_gain": gain,
            "modality_group_gain": of_groups,
            "modality_cv_gain": cv_gain,
        }

    def _behaviour_tokens(
        self, index: int, name: str, origin_us: np.ndarray, context_us: int, bin_us: int
    ) -> "_Tokens":
        token_us = self.layout.token_bins * bin_us
        delay_us = self.layout.delay_bins * bin_us
        count = (context_us - delay_us) // token_us
        stop_us = origin_us[:, None] - delay_us - np.arange(count) * token_us
        mean, known = self.behaviour[name].means(stop_us - token_us, stop_us)
        value = np.zeros((*stop_us.shape, self.layout.channels), np.float32)
        first = self.layout.components + 2 * index
        value[..., first : first + 2] = mean
        age = (origin_us[:, None] - stop_us + token_us / 2) / bin_us
        return _Tokens(value, np.full(stop_us.shape, 1 + index), age.astype(np.float32), known > 0)

    def _image_tokens(self, origin_us: np.ndarray, from_us: np.ndarray, to_us: np.ndarray, bin_us: int) -> "_Tokens":
        """Return the tokens on the screen between two times, each with the age of its first time in this span."""
        shown = self.images
        first = np.searchsorted(shown.token_stop_us, from_us, side="right")
        count = np.maximum(np.searchsorted(shown.token_start_us, to_us, side="left") - first, 0)
        place = np.arange(count.max(initial=0))
        mask = place < count[:, None]
        token = np.where(mask, first[:, None] + place, 0)
        value = np.zeros((*mask.shape, self.layout.channels), np.float32)
        value[..., : self.layout.components] = shown.token_value[token] * mask[..., None]
        first_us = np.maximum(shown.token_start_us[token], from_us[:, None])
        age = np.where(mask, (origin_us[:, None] - first_us) / bin_us, 0.0)
        return _Tokens(value, np.full(mask.shape, IMAGE_TOKEN), age.astype(np.float32), mask)

    def _gains(
        self, origin_us: np.ndarray, condition: Condition, horizon_bins: int, bin_us: int, head: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n_groups = self.layout.groups
        gain = np.zeros((origin_us.size, len(MODALITIES), horizon_bins, head.size), np.float32)
        of_groups = np.zeros((origin_us.size, head.size, len(MODALITIES), n_groups), np.float32)
        cv_gain = np.zeros((head.size, len(MODALITIES), 2 * n_groups + 1), np.float32)
        edges = np.asarray(self.horizon_edges_bins)
        group = np.searchsorted(edges, np.arange(horizon_bins), side="right")
        bins = np.diff(edges, prepend=0)
        named = ("behaviour" if condition.behaviour else "", condition.image_readout)
        for index, name in enumerate(named):
            if name not in self.readouts:
                continue
            readout = self.readouts[name]
            if name == "image_ahead":
                bin_stop_us = origin_us[:, None] + (1 + np.arange(horizon_bins)) * bin_us
                gain[:, index] = readout.log_gain(self._signals(name), bin_stop_us, head, bin_us)[..., 0]
                sums = np.add.reduceat(gain[:, index], [0, *edges[:-1]], axis=1) / bins[:, None]
                of_groups[:, :, index] = sums.transpose(0, 2, 1)
                # one value for all bins: images are known equally well at all bins
                cv_gain[:, index, :-1] = np.repeat(readout.cv_gain[head], n_groups, axis=1)
                cv_gain[:, index, -1] = cv_gain[:, index].any(axis=1)  # zero for a unit that no image drives
            else:
                read = readout.log_gain(self._signals(name), origin_us, head, bin_us)  # [window, head, group]
                gain[:, index] = read[..., group].transpose(0, 2, 1)
                of_groups[:, :, index] = read
                cv_gain[:, index, :-1] = readout.cv_gain[head]
        return gain, of_groups.reshape(origin_us.size, head.size, -1), cv_gain.reshape(head.size, -1)

    def _signals(self, readout: str) -> list[Signal]:
        if readout == "behaviour":
            return [self.behaviour[name] for name in self.layout.behaviour if name in self.behaviour]
        return [self.images.signal]


def absent_block(n_windows: int, n_head: int, horizon_bins: int) -> dict[str, np.ndarray]:
    """Return a block for a network that reads only spikes: arrays without tokens and without modalities."""
    none = np.zeros((n_windows, 0, 0), np.float32)
    flat = np.zeros((n_windows, 0), np.float32)
    return {
        "token_value": none,
        "token_type": flat.astype(np.int64),
        "token_age_bins": flat,
        "token_mask": flat.astype(bool),
        "ahead_value": none,
        "ahead_age_bins": flat,
        "ahead_mask": flat.astype(bool),
        "modality_gain": np.zeros((n_windows, 0, horizon_bins, n_head), np.float32),
        "modality_group_gain": np.zeros((n_windows, n_head, 0), np.float32),
        "modality_cv_gain": np.zeros((n_head, 0), np.float32),
    }


@dataclass(frozen=True, eq=False)
class _Tokens:
    """Tokens of windows; arrays are [window, token], values [window, token, channel]."""

    value: np.ndarray
    kind: np.ndarray
    age_bins: np.ndarray
    mask: np.ndarray

    @classmethod
    def none(cls, n_windows: int, layout: ModalityLayout) -> "_Tokens":
        flat = np.zeros((n_windows, 0), np.float32)
        return cls(
            np.zeros((n_windows, 0, layout.channels), np.float32), flat.astype(np.int64), flat, flat.astype(bool)
        )

    @classmethod
    def joined(cls, parts: list["_Tokens"]) -> "_Tokens":
        return cls(*(np.concatenate([getattr(part, name) for part in parts], axis=1) for name in cls.__annotations__))
