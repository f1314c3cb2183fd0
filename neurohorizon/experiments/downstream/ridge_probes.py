"""Linear probes: ridge regression from features of a context to behaviour, on labelled seconds of a session."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge

from neurohorizon.config import Poyo, Timeline
from neurohorizon.experiments.downstream.contexts import normalised, span_counts
from neurohorizon.experiments.downstream.decoding_file import (
    ASSOCIATION,
    COUNT,
    EXCHANGED_ASSOCIATION,
    FORECAST,
    FORECAST_MODE,
    LATENT,
    POPULATION_MODE,
    RELATIVE_FORECAST,
    blank,
    filled,
    unscored,
    write_decodings,
)
from neurohorizon.experiments.downstream.labels import (
    LabelledSession,
    decoding_shape,
    label_span_us,
    labelled_origins,
    read_labelled,
    scored_origins,
)
from neurohorizon.experiments.downstream.latents import FrozenFeatures, frozen_features
from neurohorizon.experiments.downstream.modes import (
    NO_MODES,
    association_profiles,
    forecast_modes,
    local_level,
    population_modes,
    relative_forecasts,
)
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, load_inputs
from neurohorizon.inputs.windows import WindowShape, cut_windows
from neurohorizon.models.forecaster import Forecaster
from neurohorizon.models.weights import Card, load_forecaster
from neurohorizon.session import read_splits
from neurohorizon.timeline import Intervals

NORMALISED_COUNTS = "normalised_counts"
_OF_NETWORK = "spikes of its reference window; spikes of other sessions"
_OF_SESSION = "spikes of its reference window"
_SAW = {
    LATENT: _OF_NETWORK,
    FORECAST: _OF_NETWORK,
    RELATIVE_FORECAST: f"{_OF_NETWORK}; spikes of the last minute",
    FORECAST_MODE: f"{_OF_NETWORK}; spikes of the last minute",
    POPULATION_MODE: _OF_SESSION,
    ASSOCIATION: _OF_SESSION,
    EXCHANGED_ASSOCIATION: _OF_SESSION,
    COUNT: "",
}
BLOCKS = 5
"""Blocks of time among which a penalty is chosen."""
LARGEST = 5.0
"""Standardised inputs are clipped here, so that the fit does not extrapolate far beyond the labelled seconds."""


def probe_session(
    *,
    weights: Path,
    paths: SessionPaths,
    poyo: Poyo,
    timeline: Timeline,
    fold: str,
    seed: int,
    code: str,
    output: Path,
) -> None:
    """Decode the test part of a held-out session by ridge: on a forecaster's latents and forecasts, and on counts.

    Forecasts are decoded directly, relative to the local level of each unit, and in population modes; counts directly,
    in population modes, and projected on the association profiles of units. Control: the profiles exchanged between
    units. All decoders are fitted on the same labelled seconds of the reference window; the forecaster is unchanged and
    was not trained on the session.

    Args:
        poyo: Decoded series, and the candidate penalties.
        timeline: Bins, and the context that is decoded from; forecasts may have a longer one for a unit's own history.

    Raises:
        ValueError: The forecaster was trained on the session.
    """
    session = read_labelled(paths.session, target=poyo.target, still_s=poyo.still_s)
    decodings = {
        method: blank(session, poyo=poyo, fold=fold, method=method, seed=seed, part="test", code=code, saw=saw)
        for method, saw in _SAW.items()
    }
    learned, scored = labelled_origins(session, poyo, timeline), scored_origins(session, "test", poyo, timeline)
    if reason := unscored(session, learned, scored):
        write_decodings(output, [replace(one, left_out=reason) for one in decodings.values()])
        return
    frozen = read_frozen(weights, paths)
    if session.session_id in frozen.card.sessions:
        raise ValueError(f"{weights} was trained on {session.session_id}: its latents would not be zero-shot")
    span_us = label_span_us(poyo, timeline)
    label = session.labels.at(learned, span_us)[0]
    parts = ((session.splits.reference, learned), (session.splits.test, scored))
    known, unseen = (probe_inputs(frozen, session, part, origins, poyo, timeline) for part, origins in parts)
    normalised_counts = [one.pop(NORMALISED_COUNTS) for one in (known, unseen)]
    profiles = association_profiles(normalised_counts[0][:, 0], label)
    exchanged = np.random.default_rng(seed).permutation(profiles)
    for method, one in ((ASSOCIATION, profiles), (EXCHANGED_ASSOCIATION, exchanged)):
        known[method], unseen[method] = (_flat(counts @ one) for counts in normalised_counts)
    found = []
    for method, decoding in decodings.items():
        if not known[method].shape[1]:
            found.append(replace(decoding, left_out=NO_MODES))
            continue
        predicted, penalty = ridge_probe(
            known[method],
            label,
            unseen[method],
            learned,
            penalties=poyo.ridge,
            gap_us=timeline.context_bins * timeline.bin_ms * 1000,
        )
        labels = {"learned": learned, "scored": scored, "span_us": span_us}
        found.append(filled(decoding, session, predicted=predicted, chosen=f"penalty {penalty:g}", **labels))
    write_decodings(output, found)


def ridge_probe(
    known: np.ndarray,
    label: np.ndarray,
    unseen: np.ndarray,
    origin_us: np.ndarray,
    *,
    penalties: Sequence[float],
    gap_us: int,
) -> tuple[np.ndarray, float]:
    """Fit a ridge regression whose penalty is chosen by blocks of time, and predict.

    Args:
        known: Inputs of the labelled windows, [window, input].
        label: Their labels, [window, channel].
        unseen: Inputs of the windows that are decoded, [unseen window, input].
        origin_us: Ends of the labelled windows, int64 [window], rising.
        penalties: Candidates, per labelled window.
        gap_us: Windows that end less than this before or after a block are not fitted on while the block is predicted,
            since they share spikes with it.

    Returns:
        Decoded values, float32 [unseen window, channel], and the penalty.
    """
    errors = block_errors(known, label, origin_us, penalties=penalties, gap_us=gap_us)
    best = float(penalties[int(np.argmin(errors))])
    return _ridge(known, label, unseen, [best])[0].astype(np.float32), best


def block_errors(
    known: np.ndarray, label: np.ndarray, origin_us: np.ndarray, *, penalties: Sequence[float], gap_us: int
) -> np.ndarray:
    """Sum the squared errors of each penalty over blocks of time, each predicted from the others, [penalty].

    Arguments as in :func:`ridge_probe`.
    """
    errors = np.zeros(len(penalties))
    for block in np.array_split(np.arange(len(origin_us)), BLOCKS):
        others = (origin_us <= origin_us[block[0]] - gap_us) | (origin_us >= origin_us[block[-1]] + gap_us)
        if others.sum() < 2:
            continue
        guesses = _ridge(known[others], label[others], known[block], penalties)
        errors += ((guesses - label[block]) ** 2).sum(axis=(1, 2))
    return errors


def _ridge(known: np.ndarray, label: np.ndarray, unseen: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Predict with each penalty, on inputs standardised by those of the fit, [penalty, new window, channel]."""
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    scale = np.where(deviation > 1e-6, deviation, 1.0)
    known, unseen = (np.clip((values - mean) / scale, -LARGEST, LARGEST) for values in (known, unseen))
    channels = label.shape[1]
    # a penalty for each column: one Gram matrix serves all candidates
    ridge = Ridge(alpha=np.repeat(np.asarray(penalties) * len(known), channels), solver="cholesky")
    ridge.fit(known, np.tile(label, (1, len(penalties))).astype(known.dtype))
    guesses = ridge.predict(unseen).reshape(len(unseen), len(penalties), channels)
    return guesses.transpose(1, 0, 2)


def binned_counts(context: np.ndarray, bins: int) -> np.ndarray:
    """Count the spikes of each unit in bins as long as a label, the newest first, [window, bin, unit].

    Args:
        context: Counts, oldest bin first, [window, context bin, unit].
        bins: Bins of a label.
    """
    return np.add.reduceat(context[:, ::-1], np.arange(0, context.shape[1], bins), axis=1)


@dataclass(frozen=True, eq=False)
class Frozen:
    """A trained forecaster and the reference window of a session.

    Attributes:
        forecaster: The network.
        card: Its card.
        inputs: The session, described by its reference window.
        shape: Lengths of windows that the network was trained with.
        encoded_units: True for units that fire in the reference window, [unit]. The spikes of other units are not
            read: no label was available with them.
    """

    forecaster: Forecaster
    card: Card
    inputs: SessionInputs
    shape: WindowShape
    encoded_units: np.ndarray

    @property
    def log_rate(self) -> np.ndarray:
        """Natural log of the expected spikes per bin of the encoded units in the reference window, [encoded unit]."""
        return self.inputs.reference_log_rate[self.encoded_units]

    @property
    def modes(self) -> np.ndarray:
        """Loading of each encoded unit on each population mode of the session's readout, [encoded unit, mode]."""
        readout = self.inputs.readout
        return np.zeros((self.encoded_units.sum(), 0)) if readout is None else readout.modes[self.encoded_units]

    @property
    def horizon_groups(self) -> list[range]:
        """Bins of the horizon in each group of the readout."""
        return [range(first, last) for first, last in pairwise((0, *self.card.model.readout.horizon_edges_bins))]

    def features(self, part: Intervals, origin_us: np.ndarray, groups: Sequence[Sequence[int]] = ()) -> FrozenFeatures:
        """Latents of contexts, and forecasts of groups of horizon bins."""
        options = {"groups": groups, "encoded_units": self.encoded_units}
        return frozen_features(self.forecaster, self.inputs, part, origin_us, self.shape, **options)

    def level(self, part: Intervals, origin_us: np.ndarray) -> np.ndarray:
        """Local level of the encoded units at the ends of contexts, [window, encoded unit]."""
        level = local_level(self.inputs.spikes, part, origin_us, self.inputs.reference_log_rate, self.shape.bin_us)
        return level[:, self.encoded_units]


def read_frozen(weights: Path, paths: SessionPaths) -> Frozen:
    """Read a forecaster, and a session that was not left out."""
    forecaster, card = load_forecaster(weights)
    inputs = load_inputs(paths, "test", groups=card.features.groups, readout=card.model.readout)
    encoded_units = np.zeros(inputs.spikes.n_units, bool)
    for start_us, stop_us in read_splits(paths.session).reference:
        encoded_units[inputs.spikes.between(start_us, stop_us)[1]] = True
    return Frozen(forecaster, card, inputs, WindowShape.of(card.timeline, card.model), encoded_units)


def probe_inputs(
    frozen: Frozen, session: LabelledSession, part: Intervals, origin_us: np.ndarray, poyo: Poyo, timeline: Timeline
) -> dict[str, np.ndarray]:
    """Represent the spikes of contexts for each decoder that reads no label, float32 [window, input].

    Latents are those of the last quarter of the context, forecasts those of the first bin of each group of the readout;
    relative forecasts and forecast modes are means over these groups. :data:`NORMALISED_COUNTS` are of spans of the
    readout, [window, span, encoded unit].
    """
    card, groups, log_rate = frozen.card, frozen.horizon_groups, frozen.log_rate
    features = frozen.features(part, origin_us, [*((group[0],) for group in groups), *groups])
    last = -(-card.model.latents_per_window // 4)
    forecasts, means = np.split(features.log_rate, 2, axis=1)
    relative = relative_forecasts(means, frozen.level(part, origin_us), log_rate)
    context = cut_windows(session.spikes, part, origin_us, decoding_shape(timeline)).context
    edges = card.model.readout.span_edges_bins
    counts = span_counts(context[:, :, frozen.encoded_units], edges)
    found = {
        LATENT: features.latents[:, -last:],
        FORECAST: forecasts,
        RELATIVE_FORECAST: relative,
        FORECAST_MODE: forecast_modes(relative, log_rate, frozen.modes),
        POPULATION_MODE: population_modes(counts / np.diff((0, *edges))[:, None], log_rate, frozen.modes),
        COUNT: binned_counts(context, poyo.target_bins),
    }
    return {name: _flat(values) for name, values in found.items()} | {
        NORMALISED_COUNTS: normalised(counts, log_rate, edges)
    }


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).astype(np.float32)
