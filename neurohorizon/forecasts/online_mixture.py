"""An online mixture of forecasts: each expert is weighed by the outcomes that are complete.

Networks and closed-form methods are best in different recordings, units and minutes. The mixture receives the forecasts
of all of them, its experts, and predicts their weighted mean. A weight belongs to one unit and one group of horizon
bins. After each outcome it is multiplied by the Poisson likelihood of the counts under the expert's forecast. Nothing
is fitted with a gradient. An outcome counts only after the last bin of its group is over, so a forecast depends on its
past only.

* **Overlap.** Windows overlap, so each outcome counts with the exponent ``stride / group length``, at most 1.
* **Fixed share** (Herbster and Warmuth, 1998): after each outcome, a small share of the weight returns to the prior, so
  that another expert can take over later.
* **Pooling.** A unit with few spikes has little evidence, so a share of its weights is the mean over units.
* **Learning rate.** The likelihood of an outcome has this exponent. Below 1, a burst that no expert predicts moves the
  weights less.
* **Learners.** Weights with several shares, poolings and learning rates are learned side by side, and a second mixture
  weighs them by the same rule.
* **Halfway experts** are geometric means of two experts: half of a population readout, for example.
* **Level experts** are an expert times ``(k + observed) / (k + predicted)``, sums over the recent past
  by unit and group: a gamma-Poisson correction of slow drift.

For an exponent and a learning rate of 1, no share, and no pooling, the likelihood of the mixture of the experts'
distributions is at least that of the best expert divided by the number of experts, for each unit and group and whatever
the recording does. The score of the mean, as a Poisson rate, is at least the weighted mean of the experts' scores, but
has no such bound: no rate serves both a silent and a busy bin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Protocol

import numpy as np

from neurohorizon.config import Adaptive
from neurohorizon.forecasts.forecast_file import WINDOWS_PER_CHUNK, open_same_windows, write_forecast
from neurohorizon.methods import ADAPTIVE, FORECASTER, METHODS, OWN_HISTORY, OWN_HISTORY_READOUT, ZERO_SHOT

REDUCED_RANK = "reduced_rank"
HALFWAY = (
    (OWN_HISTORY, OWN_HISTORY_READOUT),
    (OWN_HISTORY_READOUT, FORECASTER),
    (OWN_HISTORY, FORECASTER),
    (FORECASTER, REDUCED_RANK),
    (OWN_HISTORY_READOUT, REDUCED_RANK),
)
"""Pairs of methods whose geometric mean is an expert, if both are there."""
LEVELLED = (FORECASTER, OWN_HISTORY_READOUT, OWN_HISTORY)
"""Methods whose level-corrected forecast is an expert."""
_PRECISE = np.float64


def forecast_with_mixture(
    *, forecasts: Sequence[Path], seed: int, adaptive: Adaptive, stride_bins: int, code: str, output: Path
) -> None:
    """Write the online mixture of the forecasts of one held-out session.

    Args:
        forecasts: Forecast files of the experts, of the same session and windows.
        seed: Seed of the networks among them.
        adaptive: The section ``adaptive`` of the configuration.
        stride_bins: Bins between two windows.
        code: Fingerprint of the code.
        output: Forecast file.

    Raises:
        ValueError: The files differ in their session, units or windows.
    """
    with open_same_windows(forecasts) as experts:
        first = experts[0]
        if first.left_out is not None:
            mixed = first.log_rate[:]
        else:
            mixed = mix_windows(
                {one.method: one.log_rate for one in experts},
                start_us=first.start_us,
                counts=first.counts,
                target_mask=first.target_mask,
                bin_us=first.bin_us,
                settings=adaptive,
                stride_bins=stride_bins,
            )
    found = replace(first, log_rate=mixed, method=ADAPTIVE, method_class=ZERO_SHOT, seed=seed, code=code)
    write_forecast(output, found)


class Sliced(Protocol):
    """An array, a dataset, or another object whose windows are read by a slice."""

    def __getitem__(self, windows: slice, /) -> np.ndarray:
        """Return some windows, [window, horizon bin, unit]."""


@dataclass(frozen=True)
class Pending:
    """A forecast whose outcome is not complete.

    Attributes:
        experts: Natural log of expected counts per bin, [expert, horizon bin, unit].
        learned: Expected counts per bin by learner, [learner, horizon bin, unit].
    """

    experts: np.ndarray
    learned: np.ndarray


class OnlineMixture:
    """Weights of the experts of one recording.

    Args:
        methods: Names of the methods, in the order of their forecasts.
        n_units: Number of units.
        settings: Groups of horizon bins, learners and prior.
        stride_bins: Bins between two forecasts whose outcomes are learned.
    """

    def __init__(self, methods: Sequence[str], n_units: int, settings: Adaptive, *, stride_bins: int) -> None:
        self.methods = tuple(methods)
        self.settings = settings
        self.groups = [slice(*edges) for edges in pairwise((0, *settings.horizon_edges_bins))]
        self.stride_bins = stride_bins
        place = {name: number for number, name in enumerate(self.methods)}
        self._halves = [(place[one], place[other]) for one, other in HALFWAY if one in place and other in place]
        self._levelled = [place[name] for name in LEVELLED if name in place]
        prior = np.array([settings.network_prior if METHODS[name].job == "network" else 1.0 for name in self.methods])
        prior = np.concatenate([prior, np.ones(len(self._halves) + len(self._levelled))])
        self._prior = (prior / prior.sum())[:, None]
        learners = [
            one for some in settings.learners for one in product([some.share], some.pooling, some.learning_rates)
        ]
        self._share, self._pooling, self._learning_rate = np.array(learners, _PRECISE).T[:, :, None, None]
        # [group, learner, expert, unit], [group, learner, unit] and [group, levelled expert, unit]
        shape = len(self.groups), len(learners), prior.size, n_units
        self._weight = np.broadcast_to(self._prior, shape).copy()
        self._learner_weight = np.full((shape[0], shape[1], n_units), 1 / shape[1])
        self._observed = np.zeros((len(self.groups), len(self._levelled), n_units))
        self._predicted = np.zeros_like(self._observed)

    @property
    def weights(self) -> np.ndarray:
        """Mean weight over learners, [group, expert, unit]; methods first, then halves, then levels."""
        return np.einsum("glu,gleu->geu", self._learner_weight, self._weight)

    def forecast(self, log_rate: np.ndarray) -> tuple[np.ndarray, Pending]:
        """Return the mixture's forecast from one origin, and what is needed to learn from its outcome.

        Args:
            log_rate: Forecasts of the methods, natural log of expected counts per bin, [method, horizon bin, unit].

        Returns:
            Natural log of expected counts per bin, [horizon bin, unit], and the pending forecast.
        """
        experts = self._experts(np.asarray(log_rate, _PRECISE))
        rate = np.exp(experts)
        learned = np.empty((len(self._share), *rate.shape[1:]))
        mixed = np.empty(rate.shape[1:])
        for group, bins in enumerate(self.groups):
            learned[:, bins] = np.einsum("leu,ehu->lhu", self._weight[group], rate[:, bins])
            mixed[bins] = np.einsum("lu,lhu->hu", self._learner_weight[group], learned[:, bins])
        return np.log(mixed), Pending(experts, learned)

    def learn(self, pending: Pending, group: int, counts: np.ndarray, valid: np.ndarray) -> None:
        """Update the weights of one group of horizon bins with an outcome, all of whose bins are over.

        Args:
            pending: The forecast, from :meth:`forecast`.
            group: Index of the group.
            counts: Observed counts of the group's bins, [bin, unit].
            valid: True for bins of valid time, [bin]; others do not count.
        """
        if not valid.any():
            return
        bins = self.groups[group]
        counts = counts[valid].astype(_PRECISE)
        experts, learned = pending.experts[:, bins][:, valid], pending.learned[:, bins][:, valid]
        rate = np.exp(experts)
        exponent = min(1.0, self.stride_bins / (bins.stop - bins.start))
        of_learner = exponent * (counts * np.log(learned) - learned).sum(1)
        of_expert = exponent * (counts * experts - rate).sum(1)
        weight = _normalised(np.log(self._weight[group]) + self._learning_rate * of_expert)
        weight = (1 - self._pooling) * weight + self._pooling * weight.mean(2, keepdims=True)
        self._weight[group] = (1 - self._share) * weight + self._share * self._prior
        second = self.settings.second
        weight = _normalised(np.log(self._learner_weight[group]) + second.learning_rate * of_learner)
        weight = (1 - second.pooling) * weight + second.pooling * weight.mean(1, keepdims=True)
        self._learner_weight[group] = (1 - second.share) * weight + second.share / len(weight)
        kept = np.exp(-self.stride_bins / self.settings.level_bins)
        self._observed[group] = kept * self._observed[group] + exponent * counts.sum(0)
        self._predicted[group] = kept * self._predicted[group] + exponent * rate[self._levelled].sum(1)

    def _experts(self, log_rate: np.ndarray) -> np.ndarray:
        """Return methods, halves and levels, [expert, horizon bin, unit]."""
        halves = [(log_rate[one] + log_rate[other]) / 2 for one, other in self._halves]
        spikes = self.settings.level_spikes
        level = np.log(spikes + self._observed) - np.log(spikes + self._predicted)
        lengths = np.diff((0, *self.settings.horizon_edges_bins))
        levels = log_rate[self._levelled] + np.repeat(level.swapaxes(0, 1), lengths, axis=1)
        return np.concatenate([log_rate, *(half[None] for half in halves), levels])


def _normalised(log_weight: np.ndarray) -> np.ndarray:
    """Return weights that sum to one over the last axis but one."""
    weight = np.exp(log_weight - log_weight.max(-2, keepdims=True))
    return weight / weight.sum(-2, keepdims=True)


def mix_windows(
    log_rates: Mapping[str, Sliced],
    *,
    start_us: np.ndarray,
    counts: np.ndarray,
    target_mask: np.ndarray,
    bin_us: int,
    settings: Adaptive,
    stride_bins: int,
    learned_from: np.ndarray | None = None,
) -> np.ndarray:
    """Mix the forecasts of one session's windows in the order of time.

    Args:
        log_rates: Natural log of expected counts per bin by method, [window, horizon bin, unit]; arrays, datasets or
            other objects that a slice of windows is read from: each block of windows once, in order.
        start_us: Forecast origins in microseconds, rising, [window].
        counts: Observed counts, [window, horizon bin, unit]. A forecast depends only on those of groups of bins that
            are over at its origin.
        target_mask: True for bins of valid time, [window, horizon bin].
        bin_us: Width of a bin in microseconds.
        settings: Groups of horizon bins, learners and prior.
        stride_bins: Bins between two windows whose outcomes are learned.
        learned_from: False for windows that are only forecast, [window]; None: the outcomes of all are learned.

    Returns:
        Natural log of expected counts per bin, float32, [window, horizon bin, unit].

    Raises:
        ValueError: The origins do not rise.
    """
    if (np.diff(start_us) <= 0).any():
        raise ValueError("forecast origins must rise from window to window, since the mixture learns in their order")
    mixture = OnlineMixture(tuple(log_rates), counts.shape[2], settings, stride_bins=stride_bins)
    mixed = np.empty(counts.shape, np.float32)
    pending: dict[int, Pending] = {}
    learned = [0] * len(mixture.groups)
    if learned_from is None:
        learned_from = np.ones(len(start_us), bool)
    for window, origin_us in enumerate(start_us):
        in_block = window % WINDOWS_PER_CHUNK
        if not in_block:
            block = np.stack([one[window : window + WINDOWS_PER_CHUNK] for one in log_rates.values()])
        for group, bins in enumerate(mixture.groups):
            while learned[group] < window and start_us[learned[group]] + bins.stop * bin_us <= origin_us:
                past = learned[group]
                if learned_from[past]:
                    mixture.learn(pending[past], group, counts[past, bins], target_mask[past, bins])
                learned[group] += 1
        pending = {past: one for past, one in pending.items() if past >= min(learned)}
        mixed[window], pending[window] = mixture.forecast(block[:, in_block])
    return mixed
