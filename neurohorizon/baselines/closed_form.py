"""Baselines in closed form, all zero-shot: they use only the reference window and the context.

Their few settings are chosen only on training sessions. Like all methods, each is a function of windows and of the
inputs of their session that returns natural log rates (:data:`neurohorizon.forecasts.held_out.Method`).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from itertools import product
from operator import itemgetter
from pathlib import Path

import numpy as np

from neurohorizon.config import Baselines, Timeline
from neurohorizon.files import replacing
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, load_inputs
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows, evaluation_origins, subsample
from neurohorizon.scores import poisson_log_likelihood, scored_units
from neurohorizon.session import read_identity

MOST_SESSIONS = 100
"""Number of training sessions on which baselines are tuned, evenly spaced over the list."""
MOST_WINDOWS = 200
"""Number of windows of a training session on which baselines are tuned, evenly spaced."""


def reference_mean(windows: Windows, inputs: SessionInputs) -> np.ndarray:
    """Return the mean rate of the reference window for every bin: the null of the primary score.

    Returns:
        Natural log of expected counts per bin, [window, horizon bin, unit]; the same for all methods.
    """
    return _in_all_bins(windows, _reference(inputs))


def trailing_mean(windows: Windows, inputs: SessionInputs, *, bins: int) -> np.ndarray:
    """Return the mean of the last bins, ``(n + 1/2) / bins``: with half a spike, a silent unit's rate is not zero.

    Bins beyond the context are those of the part's valid time before it, as in a unit's own history.
    """
    spikes, valid = _recent(windows, bins)
    return _in_all_bins(windows, (spikes + 0.5) / np.maximum(valid, 1)[:, None])


def shrinkage(windows: Windows, inputs: SessionInputs, *, bins: int, weight: float) -> np.ndarray:
    """Return the mean of the last bins, shrunk towards the reference mean."""
    spikes, valid = _recent(windows, bins)
    trailing = spikes / np.maximum(valid, 1)[:, None]
    return _in_all_bins(windows, weight * trailing + (1 - weight) * _reference(inputs))


def gamma_poisson(windows: Windows, inputs: SessionInputs, *, shape: float, discount: float) -> np.ndarray:
    """Return the mean of a discounted gamma-Poisson filter that reverts to the reference mean.

    The rate has a gamma prior of the given shape and the reference mean. In each bin, the shape and rate parameters
    move by a share ``1 - discount`` towards the prior and are then updated by the count: the power steady model of
    Smith (1979, J. R. Stat. Soc. B 41) with a proper prior. Over the horizon they continue to move to the prior.
    """
    alpha, beta = gamma_poisson_law(windows, _reference(inputs), shape=shape, discount=discount)
    return _log(alpha / beta)


def gamma_poisson_law(
    windows: Windows, reference: np.ndarray, *, shape: float, discount: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return shape and rate of the gamma distribution of each bin's expected count, both [window, horizon bin, unit].

    The predictive distribution of counts is then negative binomial, with this shape and the mean of
    :func:`gamma_poisson`.
    """
    alpha, beta = _filtered(windows, reference, shape=shape, discount=discount)
    # bin h of the horizon has h steps of reversion
    kept = discount ** np.arange(windows.counts.shape[1])[:, None]
    prior_rate = shape / reference
    alpha, beta = alpha[:, None] * kept + shape * (1 - kept), beta[:, None] * kept + prior_rate * (1 - kept)
    return alpha, beta


def gamma_poisson_paths(
    windows: Windows, reference: np.ndarray, *, shape: float, discount: float, paths: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw counts of the horizon bin by bin; each drawn count updates the filter like an observed count.

    So a unit that starts to fire continues to fire within a path, and sums over bins vary as the filter predicts.

    Args:
        reference: Expected counts per bin in the reference window, [unit].

    Returns:
        Counts, int64, [window, path, horizon bin, unit].
    """
    alpha, beta = _filtered(windows, reference, shape=shape, discount=discount)
    n_windows, n_bins, n_units = windows.counts.shape
    counts = np.empty((n_windows, paths, n_bins, n_units), np.int64)
    alpha, beta = (np.repeat(value[:, None], paths, axis=1) for value in (alpha, beta))
    for step in range(n_bins):
        counts[:, :, step] = rng.poisson(rng.standard_gamma(alpha) / beta)
        alpha = discount * alpha + (1 - discount) * shape + counts[:, :, step]
        beta = discount * beta + (1 - discount) * shape / reference + 1
    return counts


def _filtered(windows: Windows, reference: np.ndarray, *, shape: float, discount: float) -> tuple[np.ndarray, ...]:
    """Return shape and rate of the gamma distribution of the expected count at the origin, both [window, unit]."""
    prior_rate = shape / reference
    alpha = np.full(windows.context.shape[::2], float(shape))
    beta = np.broadcast_to(prior_rate, alpha.shape).astype(float)
    for counts, valid in zip(windows.context.swapaxes(0, 1), windows.context_mask.T, strict=True):
        alpha = discount * alpha + (1 - discount) * shape + counts
        beta = discount * beta + (1 - discount) * prior_rate + valid[:, None]
    return alpha, beta


@dataclass(frozen=True)
class ClosedForm:
    """A baseline and its candidate settings.

    Attributes:
        log_rate: Function of windows, inputs and settings that returns log rates.
        candidates: Function of the section ``baselines`` of the configuration that returns candidate settings.
    """

    log_rate: Callable[..., np.ndarray]
    candidates: Callable[[Baselines], list[dict[str, float]]]

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of its settings."""
        return tuple(name for name, one in signature(self.log_rate).parameters.items() if one.kind is one.KEYWORD_ONLY)


CLOSED_FORMS = {
    "reference_mean": ClosedForm(reference_mean, lambda section: [{}]),
    "trailing_mean": ClosedForm(trailing_mean, lambda section: [{"bins": bins} for bins in section.trailing_bins]),
    "shrinkage": ClosedForm(
        shrinkage,
        lambda section: [
            {"bins": bins, "weight": weight} for bins, weight in product(section.trailing_bins, section.shrinkage)
        ],
    ),
    "gamma_poisson": ClosedForm(
        gamma_poisson,
        lambda section: [
            {"shape": shape, "discount": discount}
            for shape, discount in product(section.gamma_shape, section.gamma_discount)
        ],
    ),
}
"""Baselines by name, as in :mod:`neurohorizon.methods`."""


def candidates(baselines: Baselines) -> dict[str, list[dict[str, float]]]:
    """List the candidate settings of each baseline."""
    return {name: one.candidates(baselines) for name, one in CLOSED_FORMS.items()}


Tried = list[dict[str, float | int | bool | None]]
"""Candidate settings of a method, each with its score as ``bits_per_spike``: relative to the reference mean, pooled
over training sessions."""


def tune_on_files(
    paths: Sequence[SessionPaths],
    *,
    timeline: Timeline,
    baselines: Baselines,
    output: Path,
    minimum_rate_hz: float = 0.0,
) -> None:
    """Choose the settings on the training sessions of a fold, and write them with the scores of all candidates.

    Args:
        paths: Files of the training sessions; excluded sessions are skipped, and at most :data:`MOST_SESSIONS` read.
        baselines: The section ``baselines``: candidates.
        minimum_rate_hz: Lowest mean rate in the reference window of a scored unit.
    """
    shape = baseline_shape(timeline, baselines.trailing_bins)
    used = [one for one in paths if not read_identity(one.session)["left_out"]]
    few = subsample(used, MOST_SESSIONS)
    sessions = (load_inputs(one, "validation", groups=(), readout=None) for one in few)
    write_tuned(output, try_baselines(sessions, shape=shape, baselines=baselines, minimum_rate_hz=minimum_rate_hz))


def try_baselines(
    sessions: Iterable[SessionInputs], *, shape: WindowShape, baselines: Baselines, minimum_rate_hz: float = 0.0
) -> dict[str, Tried]:
    """Score every candidate of each baseline on training sessions.

    Args:
        sessions: Training sessions whose targets are their validation time; read once, one at a time.
        minimum_rate_hz: Lowest mean rate in the reference window of a scored unit, as in the scores.
    """
    options = candidates(baselines)
    gained = {name: np.zeros(len(settings)) for name, settings in options.items()}
    spikes = 0
    for session in sessions:
        origins = evaluation_origins(session.part, shape, shape.horizon_bins)
        origins = subsample(origins, MOST_WINDOWS)
        windows = cut_windows(session.spikes, session.part, origins, shape)
        reference = _reference(session)
        scored = scored_units(reference, minimum_rate_hz=minimum_rate_hz, bin_us=shape.bin_us)
        spikes += windows.counts[..., scored].sum()
        for name, settings in options.items():
            for index, chosen in enumerate(settings):
                log_rate = CLOSED_FORMS[name].log_rate(windows, session, **chosen)
                gained[name][index] += _gained_nats(windows, reference, log_rate, scored)
    scores = {name: (nats / max(spikes, 1) / np.log(2)).tolist() for name, nats in gained.items()}
    return {
        name: [one | {"bits_per_spike": score} for one, score in zip(settings, scores[name], strict=True)]
        for name, settings in options.items()
    }


def best(tried: Tried) -> dict[str, float]:
    """Return the candidate with the highest score."""
    return max(tried, key=itemgetter("bits_per_spike"))


def write_tuned(path: Path, tried: Mapping[str, Tried]) -> None:
    """Write the best settings of each method, their score, and all candidates, as JSON."""
    values = {
        name: {
            "settings": {key: value for key, value in best(options).items() if key != "bits_per_spike"},
            "bits_per_spike": best(options)["bits_per_spike"],
            "tried": options,
        }
        for name, options in tried.items()
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")


def read_tuned(path: Path) -> dict[str, dict[str, float]]:
    """Read the chosen settings of each baseline."""
    return {name: one["settings"] for name, one in json.loads(path.read_text()).items()}


def _recent(windows: Windows, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes [window, unit] and the valid bins [window] of the last bins, also before pauses."""
    if bins <= windows.context.shape[1]:
        return windows.context[:, -bins:].sum(1), windows.context_mask[:, -bins:].sum(1)
    spans = windows.history_edges_bins.index(bins) + 1
    return windows.history[..., :spans].sum(2), windows.history_bins[:, :spans].sum(1)


def baseline_shape(timeline: Timeline, trailing_bins: Iterable[int]) -> WindowShape:
    """Return the window shape of baselines: that of all methods, with the history that trailing means need."""
    edges = {timeline.context_bins, *(bins for bins in trailing_bins if bins > timeline.context_bins)}
    return replace(WindowShape.of(timeline), history_edges_bins=tuple(sorted(edges)))


def _reference(inputs: SessionInputs) -> np.ndarray:
    """Return expected counts per bin in the reference window, [unit]."""
    return np.exp(inputs.reference_log_rate.astype(float))


def _in_all_bins(windows: Windows, rate: np.ndarray) -> np.ndarray:
    """Return the log of one rate for all bins of the horizon; rates are [unit] or [window, unit]."""
    return np.broadcast_to(_log(rate)[..., None, :], windows.counts.shape)


def _log(rate: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # a rate of zero is allowed
        return np.log(rate)


def _gained_nats(windows: Windows, reference: np.ndarray, log_rate: np.ndarray, scored: np.ndarray) -> float:
    gained = poisson_log_likelihood(windows.counts, log_rate) - poisson_log_likelihood(
        windows.counts, np.log(reference)
    )
    return float((gained * windows.target_mask[..., None])[..., scored].sum())
