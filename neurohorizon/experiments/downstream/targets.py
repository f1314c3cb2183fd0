"""Targets of downstream decoding, of a trial or of the wheel, and the moments at which their contexts end.

A decoder reads the spikes of a context. The context ends at a declared moment, the same for every decoder, so that all
read the same spikes:

=================  ===================================  ============================================================
target             the context ends                     so that
=================  ===================================  ============================================================
``stimulus_side``  100 ms after the stimulus onset      it contains the first response to the stimulus. Trials of zero
                                                        contrast are left out.
``choice``         when the wheel first moves           it precedes the movement and its outcome.
``reward``         200 ms after the feedback            it contains the first response to reward or error.
``block``          100 ms before the stimulus onset     it precedes the stimulus. Trials of the unbiased block are left
                                                        out.
``wheel_*``        every few bins                       the label is of the context's last bins.
=================  ===================================  ============================================================

These are the ends of the windows in which the International Brain Laboratory decodes the same variables (Brain-Wide
Map, 2025). It leaves out trials whose wheel first moves less than 80 ms or more than 2 s after the stimulus, or never;
``downstream.first_movement_s`` does the same. A label may be of an event after the context, such as a choice: then all
decoders decode ahead. Decoders read spikes, and never a label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neurohorizon.experiments.downstream.labels import MINIMUM_LABELS, LabelSeries
from neurohorizon.inputs.windows import WindowShape, evaluation_origins
from neurohorizon.session import Series, read_behaviour, read_trials
from neurohorizon.timeline import Intervals, to_us

MINIMUM_OF_A_CLASS = 10
"""Fewest trials of each of two classes."""
MINIMUM_RUNS = 4
"""Fewest runs of equal labels, one after the other. With fewer, as in the blocks of a short recording, labels may
be decoded from slow changes over time only."""
RESPONSE = ("stimOn_times", "firstMovement_times")
"""Columns of the stimulus and of the first movement of the wheel."""
WHEEL = "wheel"
"""Behaviour series that the labels of the wheel are taken from."""


@dataclass(frozen=True)
class TrialTarget:
    """A label of trials, with the moment at which its context ends.

    Attributes:
        event: Column of the event's time.
        delay_s: From the event to the end of the context.
        needs: Columns from which the label is computed.
    """

    event: str
    delay_s: float
    needs: tuple[str, ...]


TRIAL_TARGETS = {
    "choice": TrialTarget("firstMovement_times", 0.0, ("choice",)),
    "reward": TrialTarget("feedback_times", 0.2, ("feedbackType",)),
    "stimulus_side": TrialTarget("stimOn_times", 0.1, ("contrastLeft", "contrastRight")),
    "block": TrialTarget("stimOn_times", -0.1, ("probabilityLeft",)),
}


@dataclass(frozen=True, eq=False)
class Labelled:
    """Contexts of a session with labels of one target.

    Attributes:
        target: Name of the target.
        origin_us: Ends of the contexts, int64, rising, [window].
        label: The labels, float64 [window]: 1 or 0 for a target of trials, else in ``unit``.
        unit: Unit of the labels; "" for the classes of a trial.
        left_out: Why there is nothing to decode; "" otherwise.
    """

    target: str
    origin_us: np.ndarray
    label: np.ndarray
    unit: str = ""
    left_out: str = ""

    @property
    def of_trials(self) -> bool:
        """Whether the labels are classes of trials."""
        return self.target in TRIAL_TARGETS

    @property
    def runs(self) -> int:
        """How many runs of equal labels follow each other."""
        return int(np.count_nonzero(np.diff(self.label))) + 1 if len(self.label) else 0


def read_labels(
    path: Path,
    *,
    targets: Sequence[str],
    part: Intervals,
    shape: WindowShape,
    stride_bins: int,
    label_bins: int,
    first_movement_s: tuple[float, float] | None,
) -> list[Labelled]:
    """Read the labels of each target in a part of a session.

    Args:
        part: Valid time that contains the contexts, each within one interval.
        shape: Lengths of a window; only its context counts.
        stride_bins: Distance of the contexts with a label of the wheel at their end.
        label_bins: Bins at the end of a context over which a label of the wheel is averaged.
        first_movement_s: Earliest and latest first movement after the stimulus of a trial; None takes all trials.
    """
    trials, series = read_trials(path), read_behaviour(path).get(WHEEL)
    return [
        trial_labels(trials, target, part=part, shape=shape, first_movement_s=first_movement_s)
        if target in TRIAL_TARGETS
        else wheel_labels(series, target, part=part, shape=shape, stride_bins=stride_bins, label_bins=label_bins)
        for target in targets
    ]


def trial_labels(
    trials: Mapping[str, np.ndarray],
    target: str,
    *,
    part: Intervals,
    shape: WindowShape,
    first_movement_s: tuple[float, float] | None = None,
) -> Labelled:
    """Take the labels of one target from trials, sorted by the ends of their contexts; see :func:`read_labels`."""
    spec = TRIAL_TARGETS[target]
    masked = RESPONSE if first_movement_s else ()
    missing = [name for name in dict.fromkeys((spec.event, *spec.needs, *masked)) if name not in trials]
    if missing:
        return Labelled(target, *_NOTHING, left_out=f"its trials have no {', '.join(missing)}")
    label = _classes(trials, target)
    event_s = trials[spec.event].astype(np.float64)
    known = np.isfinite(event_s) & np.isfinite(label)
    if first_movement_s:
        stimulus, movement = (trials[name].astype(np.float64) for name in RESPONSE)
        # not a number, where there is no movement, is outside
        known &= (movement - stimulus >= first_movement_s[0]) & (movement - stimulus <= first_movement_s[1])
    origin_us, label = to_us(event_s[known] + spec.delay_s), label[known]
    inside = _inside(part, origin_us, shape)
    origin_us, label = origin_us[inside], label[inside]
    order = np.argsort(origin_us, kind="stable")
    found = Labelled(target, origin_us[order], label[order])
    return replace(found, left_out=_too_few(found))


def wheel_labels(
    series: Series | None, target: str, *, part: Intervals, shape: WindowShape, stride_bins: int, label_bins: int
) -> Labelled:
    """Take the labels of the wheel: the mean velocity at the end of contexts, or the mean of its absolute value."""
    if series is None:
        return Labelled(target, *_NOTHING, left_out=f"the session has no behaviour series {WHEEL}")
    if target == "wheel_speed":
        series = replace(series, values=np.abs(series.values))
    labels = LabelSeries.of(series, name=WHEEL, still_s=None)
    origin_us = evaluation_origins(part, replace(shape, horizon_bins=0), stride_bins)
    value, known = labels.at(origin_us, label_bins * shape.bin_us)
    label = value[known, 0].astype(np.float64)
    reason = ""
    if len(label) < MINIMUM_LABELS:
        reason = f"{len(label)} known labels of the {WHEEL}; at least {MINIMUM_LABELS} needed"
    elif np.ptp(label) == 0:
        reason = f"the {WHEEL} never moves"
    return Labelled(target, origin_us[known], label, series.unit, reason)


_NOTHING = (np.zeros(0, np.int64), np.zeros(0))


def _classes(trials: Mapping[str, np.ndarray], target: str) -> np.ndarray:
    """Class of each trial: 1, 0, or NaN where it has none, [trial]."""
    if target == "stimulus_side":
        left, right = (np.nan_to_num(trials[name].astype(np.float64)) for name in ("contrastLeft", "contrastRight"))
        signed = left - right
    elif target == "block":
        # a probability of 0.8 is not exactly so in every release
        signed = np.round(trials["probabilityLeft"].astype(np.float64) - 0.5, 6)
    else:
        signed = trials[TRIAL_TARGETS[target].needs[0]].astype(np.float64)
    return np.where(signed > 0, 1.0, np.where(signed < 0, 0.0, np.nan))


def _inside(part: Intervals, origin_us: np.ndarray, shape: WindowShape) -> np.ndarray:
    first, last = part.index_of(origin_us - shape.context_bins * shape.bin_us), part.index_of(origin_us - 1)
    return (first >= 0) & (first == last)


def _too_few(found: Labelled) -> str:
    positive = int(found.label.sum())
    fewest = min(positive, len(found.label) - positive)
    if fewest < MINIMUM_OF_A_CLASS:
        return f"{fewest} trials of one class; at least {MINIMUM_OF_A_CLASS} needed"
    if found.runs < MINIMUM_RUNS:
        return (
            f"{found.runs} runs of equal labels; at least {MINIMUM_RUNS} needed to tell them from the passing of time"
        )
    return ""
