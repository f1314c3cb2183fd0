"""Windows of sessions as one padded batch: the inputs of a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from neurohorizon.inputs.windows import Spikes, WindowShape, cut_windows, sample_origins
from neurohorizon.modalities.conditions import CONDITIONS, Condition
from neurohorizon.modalities.tokens import SessionModalities, absent_block
from neurohorizon.session import SpikeReader
from neurohorizon.timeline import Intervals, concatenated_ranges
from neurohorizon.units.population_readout import PopulationReadout

Array = TypeVar("Array")


@dataclass(frozen=True)
class SessionInputs:
    """Inputs that a model may use from one session, for forecasts in one part of its time.

    Attributes:
        session_id: Name of the session.
        spikes: Its spikes.
        part: The valid time in which windows lie; bins outside of it are masked.
        features: Reference features, [unit, feature].
        reference_log_rate: Natural log of the expected spikes per bin in the reference window, float32, [unit].
        readout: Closed-form readout fitted on the same reference window; None for a network without a readout.
        modalities: Behaviour and images; None for a network that reads only spikes.
    """

    session_id: str
    spikes: Spikes | SpikeReader
    part: Intervals
    features: np.ndarray
    reference_log_rate: np.ndarray
    readout: PopulationReadout | None
    modalities: SessionModalities | None = None


@dataclass(frozen=True)
class Batch(Generic[Array]):
    """Windows of several sessions, padded to common numbers of units and spikes.

    Axes: ``session`` blocks of ``window`` windows each. ``unit`` indexes all units of a session, which the
    encoder reads; ``head`` indexes the units that are forecast.

    Attributes:
        features: Reference features, float32, [session, unit, feature].
        spike_unit: Unit of each context spike that an encoder reads, int64, 0 where padded, [session, window, spike].
        spike_age_bins: Age of each context spike at the origin in bins, float32, [session, window, spike].
        spike_mask: False where padded, [session, window, spike].
        target_unit: Index into ``unit`` of each unit that is forecast, int64, [session, target unit].
        target_unit_mask: False where padded, [session, target unit].
        reference_log_rate: Reference log rate of the forecast units, float32, [session, target unit].
        history: Counts in spans of recent history, float32, [session, window, head, span].
        history_bins: Valid bins in each span, float32, [session, window, span].
        readout: Log gain of the closed-form readout, float32, [session, window, head, group].
        readout_cv_gain: Its scores on held-out blocks of the reference window, float32, [session, unit, 2 * group].
        counts: Observed counts, float32, [session, window, horizon bin, target unit].
        target_mask: False where not valid time or padded, [session, window, horizon bin].
        origin_us: Forecast origins, int64, [session, window].
        token_value: Behaviour and images up to the origin, float32, [session, window, token, channel]; no tokens
            if a modality is absent, and no channels for a network that reads only spikes.
        token_type: Number of the type: image or one of the behaviour series, int64, [session, window, token].
        token_age_bins: Age at the origin in bins, float32, [session, window, token].
        token_mask: False where padded or unknown, [session, window, token].
        ahead_value: Images of the horizon, if they are known ahead, float32, [session, window, ahead, channel].
        ahead_age_bins: Their age at the origin, not above 0, float32, [session, window, ahead].
        ahead_mask: False where padded, [session, window, ahead].
        modality_gain: Log gain of each modality's readout, float32, [session, window, modality, horizon bin, head].
        modality_group_gain: Its mean over groups of horizon bins, float32, [session, window, head, modality * group].
        modality_cv_gain: Scores of the readouts on held-out blocks of the reference window, and a flag for each
            modality that is known ahead, float32, [session, head, modality * (2 * group + 1)].
    """

    features: Array
    spike_unit: Array
    spike_age_bins: Array
    spike_mask: Array
    target_unit: Array
    target_unit_mask: Array
    reference_log_rate: Array
    history: Array
    history_bins: Array
    readout: Array
    readout_cv_gain: Array
    counts: Array
    target_mask: Array
    origin_us: Array
    token_value: Array
    token_type: Array
    token_age_bins: Array
    token_mask: Array
    ahead_value: Array
    ahead_age_bins: Array
    ahead_mask: Array
    modality_gain: Array
    modality_group_gain: Array
    modality_cv_gain: Array


def session_block(
    session: SessionInputs,
    origin_us: np.ndarray,
    shape: WindowShape,
    *,
    encoded_units: np.ndarray | None = None,
    head: np.ndarray | None = None,
    condition: Condition = CONDITIONS["spikes"],
) -> dict[str, np.ndarray]:
    """Compute one session's block of a batch, unpadded and without the session axis.

    Args:
        origin_us: Forecast origins, [window].
        encoded_units: True for units whose spikes the encoder and the readout receive, [unit]; None: all.
        head: Indices of the units to forecast, [head]; None: all.
        condition: Modalities that are read in addition to the spikes, if the session has them.
    """
    windows = cut_windows(session.spikes, session.part, origin_us, shape)
    head = np.arange(session.spikes.n_units) if head is None else head

    spike = slice(None) if encoded_units is None else np.flatnonzero(encoded_units[windows.spike_unit])
    spike_window = windows.spike_window[spike]
    per_window = np.bincount(spike_window, minlength=origin_us.size)
    # spikes are sorted by window, so a spike's place is its rank within the window
    place, _ = concatenated_ranges(np.zeros_like(per_window), per_window)
    size = (origin_us.size, int(per_window.max(initial=0)))
    unit, age, mask = np.zeros(size, np.int64), np.ones(size, np.float32), np.zeros(size, bool)
    unit[spike_window, place] = windows.spike_unit[spike]
    age[spike_window, place] = windows.spike_age_bins[spike]
    mask[spike_window, place] = True
    if session.modalities is None:
        modalities = absent_block(origin_us.size, head.size, shape.horizon_bins)
    else:
        modalities = session.modalities.block(
            origin_us,
            condition=condition,
            context_bins=shape.context_bins,
            horizon_bins=shape.horizon_bins,
            bin_us=shape.bin_us,
            head=head,
        )
    return {
        "features": session.features,
        "spike_unit": unit,
        "spike_age_bins": age,
        "spike_mask": mask,
        "target_unit": head.astype(np.int64),
        "target_unit_mask": np.ones(head.size, bool),
        "reference_log_rate": session.reference_log_rate[head].astype(np.float32),
        "history": windows.history[:, head],
        "history_bins": windows.history_bins,
        "readout": session.readout.log_gain(windows.context, windows.context_mask, head, encoded_units),
        "readout_cv_gain": session.readout.cv_gain,
        "counts": windows.counts[:, :, head].astype(np.float32),
        "target_mask": windows.target_mask,
        "origin_us": windows.origin_us,
        **modalities,
    }


def collate(blocks: Sequence[dict[str, np.ndarray]]) -> Batch[np.ndarray]:
    """Pad the blocks of several sessions to common sizes and stack them; padding is zero or False."""
    stacked = {}
    for name in blocks[0]:
        arrays = [block[name] for block in blocks]
        size = tuple(np.max([array.shape for array in arrays], axis=0))
        stacked[name] = np.zeros((len(arrays), *size), arrays[0].dtype)
        for row, array in zip(stacked[name], arrays, strict=True):
            row[tuple(slice(n) for n in array.shape)] = array
    return Batch(**stacked)


@dataclass(frozen=True)
class TrainingWindows:
    """An endless seeded stream of training batches; batch ``step`` depends only on the seed and the step.

    Attributes:
        sessions: Inputs of the training sessions, each with a part that its reference window does not overlap.
        shape: Lengths in bins.
        seed: Seed of the stream.
        sessions_per_batch: Sessions drawn for each batch.
        windows_per_session: Windows drawn from each of them.
        units_per_session: Maximum number of units that are forecast in each session of a batch.
        unit_dropout: Share of the units whose spikes neither the encoder nor the readout receives.
        modality_dropout: Share of a session's blocks in which each of its modalities is absent.
    """

    sessions: tuple[SessionInputs, ...]
    shape: WindowShape
    seed: int
    sessions_per_batch: int
    windows_per_session: int
    units_per_session: int
    unit_dropout: float
    modality_dropout: float = 0.0

    def batch(self, step: int) -> Batch:
        """Draw the batch of one training step."""
        rng = np.random.default_rng((self.seed, step))
        chosen = rng.permutation(len(self.sessions))[: self.sessions_per_batch]
        return collate([self._block(self.sessions[index], rng) for index in chosen])

    def _block(self, session: SessionInputs, rng: np.random.Generator) -> dict[str, np.ndarray]:
        origins = sample_origins(
            session.part,
            self.shape,
            self.windows_per_session,
            rng,
            minimum_context_bins=max(self.shape.context_bins // 2, 1),
            minimum_horizon_bins=max(self.shape.horizon_bins // 2, 1),
        )
        n_units = session.spikes.n_units
        encoded_units = rng.random(n_units) >= self.unit_dropout if self.unit_dropout else None
        head = np.sort(rng.permutation(n_units)[: self.units_per_session])
        condition = drawn_condition(rng, self.modality_dropout) if session.modalities else CONDITIONS["spikes"]
        return session_block(session, origins, self.shape, encoded_units=encoded_units, head=head, condition=condition)


def drawn_condition(rng: np.random.Generator, dropout: float) -> Condition:
    """Draw the condition of a training block: each modality is absent at random; half of all images are known ahead."""
    behaviour, images, ahead = rng.random() >= dropout, rng.random() >= dropout, rng.random() < 0.5
    return Condition("drawn", behaviour=behaviour, image=("ahead" if ahead else "past") if images else "")
