"""Poisson regressions on recent history, fitted by scikit-learn.

``ar_glm`` (zero-shot) is one regression for all units of all training sessions: it predicts a unit's counts from its
own history and its statistics. ``history_glm`` and ``coupled_glm`` (fitted) are fitted for each unit of the session
that is forecast, on its reference window. ``history_glm`` uses only the unit's own history; ``coupled_glm`` uses
population modes too.

The prior of weights is normal about zero, with the same precision for all units, so that the penalty has less effect
for units with more spikes. Intercepts have no penalty. scikit-learn's penalty is relative to the mean deviance,
therefore it is divided by the exposure.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.linear_model import PoissonRegressor

from neurohorizon.baselines.linear import (
    Reference,
    bins_to_groups,
    context_means,
    group_sums,
    leading_right_vectors,
    outcomes,
    span_ease,
    unit_scale,
)
from neurohorizon.config import Regressions
from neurohorizon.files import replacing
from neurohorizon.inputs.windows import Windows
from neurohorizon.units.gains import LARGEST_LOG_GAIN

HALF_SPIKE = 0.5
"""Added to counts and expected counts before their ratio, so that silence of a slow unit gives a small log ratio."""
FEWEST_SPIKES = 5
"""A unit with fewer spikes in the fitted bins keeps its reference mean."""
MODE_BINS = 5
"""Population modes are computed from means over this number of bins."""
STATISTICS = ("log_rate_hz", "log_isi_cv", *(f"autocorrelation_{lag}" for lag in range(1, 11)), "log_fano")
"""Reference features that the pooled regression reads, if the run has them."""
MOST_ROWS = 40_000
"""Number of pairs of window and unit on which the pooled regression is fitted, evenly spaced."""


def surprises(windows: Windows, mean_counts: np.ndarray, units: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Compare units' spikes in the spans of their history with the expectation of their means, [window, unit, span].

    Returns:
        Natural log of the ratio, with half a spike added to both; 0 if no bin is valid.
    """
    expected = windows.history_bins[:, None] * mean_counts[units, None]
    return np.log((windows.history[:, units] + HALF_SPIKE) / (expected + HALF_SPIKE)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class UnitGlms:
    """Regressions of every unit of one session.

    Attributes:
        mean_counts: Expected counts per bin in the reference window, [unit].
        settings: Spans and groups.
        modes: Loading of each unit on each population mode; empty for a model of the unit's history only, [unit, mode].
        mode_scale: Divisor of a mode's mean over each span, [span, mode].
        units: The units that have a regression, [some].
        intercept: Natural log of expected counts per bin, [group, some].
        own: Weights of the unit's own surprises, [group, some, span].
        coupling: Weights of the modes, [group, some, span * mode].
    """

    mean_counts: np.ndarray
    settings: Regressions
    modes: np.ndarray
    mode_scale: np.ndarray
    units: np.ndarray
    intercept: np.ndarray
    own: np.ndarray
    coupling: np.ndarray

    def rates(self, windows: Windows) -> np.ndarray:
        """Forecast windows of the session: expected counts, [window, horizon bin, unit]."""
        return self.group_rates(windows)[:, bins_to_groups(self.settings.horizon_edges_bins)]

    def group_rates(self, windows: Windows) -> np.ndarray:
        """Forecast expected counts of each group of bins, [window, group, unit].

        Units without a regression keep their reference mean; log rates differ from it by at most ``LARGEST_LOG_GAIN``.
        """
        own = surprises(windows, self.mean_counts, self.units)
        log_rate = self.intercept + np.einsum("wus,gus->wgu", own, self.own)
        if self.modes.size:
            state = _mode_state(windows, self.mean_counts, self.modes, self.settings) / self.mode_scale
            log_rate += np.einsum("wk,guk->wgu", state.reshape(len(state), -1), self.coupling)
        reference = np.log(self.mean_counts)
        result = np.broadcast_to(reference, (*log_rate.shape[:2], reference.size)).copy()
        result[:, :, self.units] += np.clip(log_rate - reference[self.units], -LARGEST_LOG_GAIN, LARGEST_LOG_GAIN)
        return np.exp(result)


def fit_unit_glms(
    reference: Reference,
    settings: Regressions,
    *,
    precision: float,
    mode_precision: float | None = None,
    units: np.ndarray | None = None,
) -> UnitGlms:
    """Fit a Poisson regression for each unit and group of horizon bins on a reference window.

    Args:
        settings: Spans, groups and modes.
        precision: Precision of the prior on weights of the unit's own history; higher for spans beyond the context.
        mode_precision: Precision of the prior on weights of population modes; None: no modes.
        units: Indices of the units to fit; None: all.
    """
    windows, mean_counts = reference.windows, reference.mean_counts
    units = np.arange(mean_counts.size) if units is None else units
    modes, mode_scale, ease = np.zeros((mean_counts.size, 0)), np.ones((0, 0)), 1.0
    coupling = np.zeros((len(windows.context), 0))
    if mode_precision is not None:
        modes = _population_modes(reference, settings.modes)
        state = _mode_state(windows, mean_counts, modes, settings)
        mode_scale = np.maximum(state.std(axis=0), 1e-6)
        # one penalty for all columns: a column with a smaller scale has a larger effective penalty
        ease = np.sqrt(precision / mode_precision)
        coupling = (state / mode_scale).reshape(len(state), -1) * ease
    groups = outcomes(windows, settings.horizon_edges_bins)
    known = np.all([(n_bins @ mean)[units] >= FEWEST_SPIKES for _, n_bins, mean in groups], axis=0)
    units = units[known]
    spans = span_ease(settings.history_edges_bins, windows.context.shape[1])
    own = surprises(windows, mean_counts, units) * spans
    own_end = 1 + own.shape[2]
    weights = np.zeros((len(groups), units.size, own_end + coupling.shape[1]))
    for group, (some, n_bins, mean) in enumerate(groups):
        for place, unit in enumerate(units):
            columns = np.concatenate([own[some, place], coupling[some]], axis=1)
            weights[group, place] = fit_poisson(columns, mean[:, unit], n_bins, precision)
    return UnitGlms(
        mean_counts=mean_counts,
        settings=settings,
        modes=modes,
        mode_scale=mode_scale,
        units=units,
        intercept=weights[:, :, 0],
        own=weights[:, :, 1:own_end] * spans,
        coupling=weights[:, :, own_end:] * ease,
    )


def fit_poisson(inputs: np.ndarray, mean: np.ndarray, exposure: np.ndarray, precision: float) -> np.ndarray:
    """Fit one regression of ``mean``, counts per ``exposure``, log-linear in the inputs.

    Args:
        inputs: Inputs, [row, input].
        mean: Counts per unit of exposure, [row].
        exposure: Bins, or expected counts, of each row, [row].
        precision: Precision of the normal prior on each weight.

    Returns:
        The intercept and the weights, [1 + input].
    """
    regressor = PoissonRegressor(alpha=precision / exposure.sum(), solver="newton-cholesky")
    with config_context(assume_finite=True, skip_parameter_validation=True):
        regressor.fit(np.asarray(inputs, np.float64), np.asarray(mean, np.float64), sample_weight=exposure)
    return np.concatenate([[regressor.intercept_], regressor.coef_])


@dataclass(frozen=True, eq=False)
class UnitRows:
    """Windows of one session for the pooled regression.

    Attributes:
        windows: The windows.
        mean_counts: Expected counts per bin in the reference window, [unit].
        statistics: Reference features named in ``STATISTICS``, [unit, statistic].
        names: Names of these features.
    """

    windows: Windows
    mean_counts: np.ndarray
    statistics: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PooledGlm:
    """The regression that all units share.

    Attributes:
        history_edges_bins: Spans of the unit's own history.
        horizon_edges_bins: Ends of the groups of horizon bins.
        statistics: Names of the reference features.
        centre: Their means over training units, [statistic].
        scale: Their standard deviations, [statistic].
        intercept: Log gain relative to the reference mean, [group].
        weights: Weights of the inputs, in the order of :meth:`names`, [group, input].
    """

    history_edges_bins: tuple[int, ...]
    horizon_edges_bins: tuple[int, ...]
    statistics: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    intercept: np.ndarray
    weights: np.ndarray

    def rates(self, rows: UnitRows) -> np.ndarray:
        """Forecast windows of a session: expected counts, [window, horizon bin, unit]."""
        return self.group_rates(rows)[:, bins_to_groups(self.horizon_edges_bins)]

    def group_rates(self, rows: UnitRows) -> np.ndarray:
        """Forecast expected counts of each group of bins, [window, group, unit]."""
        history = surprises(rows.windows, rows.mean_counts)
        statistics = (rows.statistics - self.centre) / self.scale
        n_spans = history.shape[2]
        own, known, products = np.split(self.weights.T, [n_spans, n_spans + statistics.shape[1]])
        # the products of all windows would take gigabytes; the weights of a unit's spans, given its statistics, do not
        of_unit = own + np.einsum("uk,hkg->uhg", statistics, products.reshape(n_spans, statistics.shape[1], -1))
        gain = self.intercept + statistics @ known + np.einsum("wuh,uhg->wug", history, of_unit, optimize=True)
        gain = np.clip(gain, -LARGEST_LOG_GAIN, LARGEST_LOG_GAIN)
        return (rows.mean_counts[:, None] * np.exp(gain)).transpose(0, 2, 1)

    def names(self) -> list[str]:
        """List the names of the inputs."""
        history = [f"history_{last}" for last in self.history_edges_bins]
        return [*history, *self.statistics, *(f"{one} * {other}" for one in history for other in self.statistics)]

    def values(self) -> dict[str, Any]:
        """Return it as values of JSON that name the term of each weight."""
        return {
            "history_edges_bins": list(self.history_edges_bins),
            "statistics": {
                name: {"centre": float(centre), "scale": float(scale)}
                for name, centre, scale in zip(self.statistics, self.centre, self.scale, strict=True)
            },
            "groups": [
                {
                    "last_bin": last,
                    "intercept": float(intercept),
                    "weights": dict(zip(self.names(), map(float, weights), strict=True)),
                }
                for last, intercept, weights in zip(self.horizon_edges_bins, self.intercept, self.weights, strict=True)
            ],
        }

    def write(self, path: Path) -> None:
        """Write it as JSON; see :meth:`values`."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.values(), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "PooledGlm":
        """Read a file of :meth:`write`."""
        return cls.of(json.loads(path.read_text()))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "PooledGlm":
        """Return the regression of :meth:`values`."""
        statistics = values["statistics"].values()
        return cls(
            history_edges_bins=tuple(values["history_edges_bins"]),
            horizon_edges_bins=tuple(group["last_bin"] for group in values["groups"]),
            statistics=tuple(values["statistics"]),
            centre=np.array([one["centre"] for one in statistics]),
            scale=np.array([one["scale"] for one in statistics]),
            intercept=np.array([group["intercept"] for group in values["groups"]]),
            weights=np.array([list(group["weights"].values()) for group in values["groups"]]),
        )


def pooled_inputs(rows: UnitRows, centre: np.ndarray, scale: np.ndarray, step: int = 1) -> np.ndarray:
    """Build the inputs: a unit's surprises, its standardised statistics and their products.

    Args:
        step: Every step-th pair of window and unit is kept.

    Returns:
        Inputs, [pair, input].
    """
    history = surprises(rows.windows, rows.mean_counts)
    n_windows, n_units, n_spans = history.shape
    statistics = ((rows.statistics - centre) / scale)[np.arange(0, n_windows * n_units, step) % n_units]
    history = history.reshape(-1, n_spans)[::step]
    products = history[:, :, None] * statistics[:, None, :]
    return np.concatenate([history, statistics, products.reshape(len(history), -1)], axis=1)


def fit_pooled_glms(
    sessions: Iterable[UnitRows], settings: Regressions, precisions: Sequence[float]
) -> Iterator[PooledGlm]:
    """Fit the pooled regression on training sessions, once for each precision.

    The exposure of a row is the expected count of the reference mean, so that the reference is the offset.

    Args:
        sessions: Windows of the training sessions, which are iterated over twice, so that a collection that cuts them
            when they are needed holds those of one session at a time.
        precisions: Precisions of the prior on weights.
    """
    of_units, n_rows, names = [], 0, ()
    for one in sessions:
        of_units.append(one.statistics)
        n_rows += one.windows.counts.shape[0] * one.mean_counts.size
        names = names or one.names
    of_units = np.concatenate(of_units)
    centre, scale = of_units.mean(axis=0), np.maximum(of_units.std(axis=0), 1e-6)
    step = -(-n_rows // MOST_ROWS)
    inputs, counts, exposure = [], [], []
    for one in sessions:
        summed, n_bins = group_sums(one.windows, settings.horizon_edges_bins)
        valid = n_bins[..., None] * one.mean_counts
        # every step-th pair of window and unit, counted from zero in each session; copies, to free the others
        inputs.append(pooled_inputs(one, centre, scale, step))
        counts.append(summed.transpose(0, 2, 1).reshape(-1, summed.shape[1])[::step].copy())
        exposure.append(valid.transpose(0, 2, 1).reshape(-1, summed.shape[1])[::step].copy())
    inputs, counts, exposure = np.concatenate(inputs), np.concatenate(counts), np.concatenate(exposure)
    for precision in precisions:
        fits = []
        for group in range(exposure.shape[1]):
            some = exposure[:, group] > 0
            gain = counts[some, group] / exposure[some, group]
            fits.append(fit_poisson(inputs[some], gain, exposure[some, group], precision))
        fits = np.stack(fits)
        yield PooledGlm(
            history_edges_bins=settings.history_edges_bins,
            horizon_edges_bins=settings.horizon_edges_bins,
            statistics=names,
            centre=centre,
            scale=scale,
            intercept=fits[:, 0],
            weights=fits[:, 1:],
        )


def _population_modes(reference: Reference, n_modes: int) -> np.ndarray:
    """Compute the leading principal directions of the population's means over ``MODE_BINS`` bins, [unit, mode]."""
    last = min(MODE_BINS, reference.windows.context.shape[1])
    past = context_means(reference.windows, reference.mean_counts, (last,))[:, 0] / unit_scale(reference.mean_counts)
    return leading_right_vectors(past.astype(np.float32), n_modes)


def _mode_state(windows: Windows, mean_counts: np.ndarray, modes: np.ndarray, settings: Regressions) -> np.ndarray:
    """Compute the activity of the modes over their spans, [window, span, mode]."""
    return (context_means(windows, mean_counts, settings.mode_edges_bins) / unit_scale(mean_counts)) @ modes
