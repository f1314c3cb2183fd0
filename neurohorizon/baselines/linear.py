"""Zero-shot linear auto-regressions of a population, solved in closed form on a session's reference window.

``ridge_ar`` regresses every unit's counts after a forecast origin on all units' counts over several spans of the
context; in ``reduced_rank`` the units share few directions of it. Only settings are chosen on other sessions: the
penalty, the rank, the lowest rate, and whether each unit is first regressed on its own history, which reaches as far
back as the network's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse.linalg import eigsh

from neurohorizon.config import Regressions, Timeline
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.windows import Windows, WindowShape, cut_windows, history_sums, subsample
from neurohorizon.timeline import Intervals, bin_domain

SOFT_COUNTS = 0.01
"""Counts per bin added to a unit's mean before its square root is the scale, so that rare spikes are no outliers."""
OWN_PENALTY = 30.0
"""Penalty on a unit's own past if that is regressed out first, in origins, as in the population readout."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Windows inside a session's reference window, on which a regression may be fitted.

    Attributes:
        windows: Context, target and own history of each window.
        mean_counts: Expected counts per bin, half a spike in the reference window for a silent unit, [unit].
    """

    windows: Windows
    mean_counts: np.ndarray


def regression_shape(timeline: Timeline, regressions: Regressions) -> WindowShape:
    """Return the window shape of regressions: that of all methods, with the spans of history that regressions read."""
    return replace(WindowShape.of(timeline), history_edges_bins=regressions.history_edges_bins)


def reference_windows(inputs: SessionInputs, reference: Intervals, *, shape: WindowShape, most: int) -> Reference:
    """Cut windows from a session's reference window.

    Origins are evenly spaced. As in the network's training windows, at least half a context of valid time comes before
    an origin and a valid bin after it.

    Args:
        inputs: Inputs of the session that belong to this reference window.
    """
    bins = bin_domain(reference, shape.bin_us)
    place = np.arange(len(bins)) - np.searchsorted(bins.segment, bins.segment)
    origins = bins.start_us[place >= shape.context_bins // 2]
    windows = cut_windows(inputs.spikes, reference, subsample(origins, most), shape)
    return Reference(windows, np.exp(inputs.reference_log_rate.astype(float)))


def context_means(windows: Windows, mean_counts: np.ndarray, edges_bins: Sequence[int]) -> np.ndarray:
    """Return counts minus their mean, averaged over the valid bins of spans of the context, 0 if no bin is valid.

    Args:
        mean_counts: Expected counts per bin, [unit].
        edges_bins: Rising ends of the spans, in bins before the origin, all within the context.

    Returns:
        Averages, float32, [window, span, unit].
    """
    last = edges_bins[-1]
    sums, valid = history_sums(windows.context[:, -last:], windows.context_mask[:, -last:], tuple(edges_bins))
    return _less_mean(sums, valid, mean_counts).transpose(0, 2, 1)


def history_means(windows: Windows, mean_counts: np.ndarray) -> np.ndarray:
    """Return the same average for each unit's own history, also before the context, [window, span, unit]."""
    return _less_mean(windows.history, windows.history_bins, mean_counts).transpose(0, 2, 1)


def _less_mean(sums: np.ndarray, valid: np.ndarray, mean_counts: np.ndarray) -> np.ndarray:
    valid = valid[:, None]
    return ((sums - valid * mean_counts[:, None]) / np.maximum(valid, 1)).astype(np.float32)


def group_sums(windows: Windows, edges_bins: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Sum the target over each group of horizon bins.

    Returns:
        Counts, [window, group, unit], and valid bins, float64, [window, group].
    """
    starts = [0, *edges_bins[:-1]]
    sums = np.add.reduceat(windows.counts, starts, axis=1)
    return sums, np.add.reduceat(windows.target_mask.astype(float), starts, axis=1)


def outcomes(windows: Windows, edges_bins: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Average the target over each group of horizon bins.

    Returns:
        For each group: indices of the windows with a valid bin in it, [some]; the number of these bins, [some]; and
        counts averaged over these bins, [some, unit].
    """
    sums, n_bins = group_sums(windows, edges_bins)
    groups = []
    for group in range(len(edges_bins)):
        some = np.flatnonzero(n_bins[:, group])
        groups.append((some, n_bins[some, group], sums[some, group] / n_bins[some, group, None]))
    return groups


@dataclass(frozen=True, eq=False)
class GroupFit:
    """Ridge regressions of one group of horizon bins for every penalty, from one singular value decomposition.

    Attributes:
        state_mean: Mean past, [state].
        basis: Right singular vectors of the centred past, [state, component].
        strength: Its singular values, [component].
        response: Left singular vectors times the outcome, [component, unit].
        outcome_mean: Mean outcome, [unit].
        own: Slope on a unit's own history; zero if it is not regressed out first, [span, unit].
    """

    state_mean: np.ndarray
    basis: np.ndarray
    strength: np.ndarray
    response: np.ndarray
    outcome_mean: np.ndarray
    own: np.ndarray

    def surprises(
        self, past: np.ndarray, own: np.ndarray, penalties: Sequence[float], ranks: Sequence[int | None]
    ) -> Iterator[tuple[float, int | None, np.ndarray]]:
        """Forecast the group's mean counts minus their reference mean, for every penalty and rank.

        Args:
            past: Standardised past of all units, [window, span, unit].
            own: Standardised history of each unit, [window, span, unit].
            penalties: Penalties of the ridge regression, in origins.
            ranks: Numbers of directions of the past that all units share; None: no limit.

        Yields:
            Penalty, rank and standardised surprise, [window, unit].
        """
        most = max((rank for rank in ranks if rank), default=0)
        components, base = self._projected(past, own)
        for penalty in penalties:
            weights, directions = self.solve(penalty, most)
            shared = components @ weights
            for rank in ranks:
                yield penalty, rank, base + (shared if rank is None else _within(shared, directions[:, :rank]))

    def solve(self, penalty: float, rank: int | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the weights of components, [component, unit], and the directions that units share, [unit, rank]."""
        weights = (self.strength / (self.strength**2 + penalty))[:, None] * self.response
        # right singular vectors of the fitted outcome, since its left factor is orthonormal
        directions = leading_right_vectors(self.strength[:, None] * weights, rank) if rank else None
        return weights, directions

    def solved_surprise(
        self, past: np.ndarray, own: np.ndarray, weights: np.ndarray, directions: np.ndarray | None
    ) -> np.ndarray:
        """Forecast as in :meth:`surprises` with one result of :meth:`solve`, [window, unit]."""
        components, base = self._projected(past, own)
        shared = components @ weights
        return base + (shared if directions is None else _within(shared, directions))

    def _projected(self, past: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return components of the past, [window, component], and the part that does not depend on the penalty."""
        components = (past.reshape(len(past), -1) - self.state_mean) @ self.basis
        return components, self.outcome_mean + np.einsum("wsu,su->wu", own, self.own)


def _within(shared: np.ndarray, directions: np.ndarray) -> np.ndarray:
    return (shared @ directions) @ directions.T


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A session's regressions, for every penalty and rank.

    Attributes:
        mean_counts: Expected counts per bin in the reference window, [unit].
        history_edges_bins: Spans of a unit's own history; spans within the context are also those of all units' past.
        horizon_edges_bins: Ends of the groups of horizon bins.
        groups: One fit for each group.
    """

    mean_counts: np.ndarray
    history_edges_bins: tuple[int, ...]
    horizon_edges_bins: tuple[int, ...]
    groups: tuple[GroupFit, ...]
    _solved: dict[tuple[float, int | None], list[tuple[np.ndarray, np.ndarray | None]]] = field(default_factory=dict)

    def rates(self, windows: Windows, *, penalty: float, floor: float, rank: int | None = None) -> np.ndarray:
        """Forecast windows of the session; the equations of a penalty and a rank are solved once.

        Args:
            penalty: Penalty of the ridge regression, in origins.
            floor: Lowest rate, as a share of the unit's mean, since a linear forecast can be negative.
            rank: Number of directions of the past that all units share; None: no limit.

        Returns:
            Expected counts, [window, horizon bin, unit].
        """
        if (penalty, rank) not in self._solved:
            self._solved[penalty, rank] = [group.solve(penalty, rank) for group in self.groups]
        past, own = _standardised(windows, self.mean_counts, self.history_edges_bins)
        parts = zip(self.groups, self._solved[penalty, rank], strict=True)
        lines = self._lines([group.solved_surprise(past, own, *solved) for group, solved in parts])
        return self.floored(lines, floor)[:, bins_to_groups(self.horizon_edges_bins)]

    def lines(
        self, windows: Windows, penalties: Sequence[float], ranks: Sequence[int | None]
    ) -> Iterator[tuple[float, int | None, np.ndarray]]:
        """Forecast as in :meth:`rates` for every penalty and rank, without a floor, [window, group, unit]."""
        past, own = _standardised(windows, self.mean_counts, self.history_edges_bins)
        for parts in zip(*(group.surprises(past, own, penalties, ranks) for group in self.groups), strict=True):
            penalty, rank, _ = parts[0]
            yield penalty, rank, self._lines([part for _, _, part in parts])

    def _lines(self, surprises: Sequence[np.ndarray]) -> np.ndarray:
        return self.mean_counts + unit_scale(self.mean_counts) * np.stack(surprises, axis=1)

    def floored(self, lines: np.ndarray, floor: float) -> np.ndarray:
        """Convert linear forecasts to rates, [window, group, unit]."""
        return np.maximum(lines, floor * self.mean_counts)


def fit_linear(reference: Reference, settings: Regressions) -> dict[bool, LinearFit]:
    """Fit the regressions on a reference window.

    Counts are divided by the square root of their mean, so that a penalty means the same for all units.

    Args:
        settings: Spans of history and groups of horizon bins.

    Returns:
        Two fits. ``False``: all units on the recent past of all units. ``True``: each unit first on its own history,
        which reaches further back; then all units on the residuals.
    """
    scale = unit_scale(reference.mean_counts)
    past, own = _standardised(reference.windows, reference.mean_counts, settings.history_edges_bins)
    groups: dict[bool, list[GroupFit]] = {False: [], True: []}
    for some, n_bins, outcome in outcomes(reference.windows, settings.horizon_edges_bins):
        surprise = ((outcome - reference.mean_counts) / scale).astype(np.float32)
        share = (n_bins / n_bins.max()).astype(np.float32)
        for own_first, fit in zip((False, True), _fit_group(past[some], own[some], surprise, share), strict=True):
            groups[own_first].append(fit)
    return {
        own_first: LinearFit(
            mean_counts=reference.mean_counts,
            history_edges_bins=settings.history_edges_bins,
            horizon_edges_bins=settings.horizon_edges_bins,
            groups=tuple(fits),
        )
        for own_first, fits in groups.items()
    }


def _standardised(
    windows: Windows, mean_counts: np.ndarray, edges_bins: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the past of all units and the history of each, scaled by the root of mean counts, [window, span, unit]."""
    context_bins = windows.context.shape[1]
    within = [edge for edge in edges_bins if edge <= context_bins]
    scale = unit_scale(mean_counts)
    past = context_means(windows, mean_counts, within) * _root_lengths(within, context_bins) / scale
    own = history_means(windows, mean_counts) * _root_lengths(edges_bins, context_bins) / scale
    own *= span_ease(edges_bins, context_bins)[:, None]
    return past.astype(np.float32), own.astype(np.float32)


def _fit_group(past: np.ndarray, own: np.ndarray, outcome: np.ndarray, share: np.ndarray) -> tuple[GroupFit, GroupFit]:
    state = past.reshape(len(past), -1)
    state_mean = share @ state / share.sum()
    root = np.sqrt(share)[:, None]
    left, strength, basis = _thin_svd((state - state_mean) * root)
    nothing = np.zeros(own.shape[1:], np.float32)
    slopes_of_own = _own_slopes(own, outcome, share)
    fits = []
    for slopes, left_over in (
        (nothing, outcome),
        (slopes_of_own, outcome - np.einsum("tsu,su->tu", own, slopes_of_own)),
    ):
        outcome_mean = share @ left_over / share.sum()
        response = left.T @ ((left_over - outcome_mean) * root)
        fits.append(GroupFit(state_mean, basis, strength, response, outcome_mean, slopes))
    return tuple(fits)


def _own_slopes(own: np.ndarray, outcome: np.ndarray, share: np.ndarray) -> np.ndarray:
    weighted = own * share[:, None, None]
    gram = np.einsum("tsu,tru->usr", weighted, own) + OWN_PENALTY * np.eye(own.shape[1])
    cross = np.einsum("tsu,tu->us", weighted, outcome)
    return np.linalg.solve(gram, cross[..., None])[..., 0].T.astype(np.float32)


def _thin_svd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute left vectors [row, component], singular values, right vectors [column, component] by the smaller Gram."""
    wide = values.shape[0] < values.shape[1]
    gram = np.asarray(values @ values.T if wide else values.T @ values, np.float64)
    squares, vectors = np.linalg.eigh(gram)
    # smaller values are rounding of float32
    kept = squares > 1e-6 * squares[-1]
    strength = np.sqrt(squares[kept])
    vectors = vectors[:, kept].astype(np.float32)
    strength = strength.astype(np.float32)
    others = ((values.T if wide else values) @ vectors) / strength
    return (vectors, strength, others) if wide else (others, strength, vectors)


def leading_right_vectors(values: np.ndarray, rank: int) -> np.ndarray:
    """Compute the leading right singular vectors, the largest first, float32, [column, rank]."""
    rank = min(rank, *values.shape)
    wide = values.shape[0] < values.shape[1]
    gram = np.asarray(values @ values.T if wide else values.T @ values, np.float64)
    if 4 * rank > len(gram):
        squares, vectors = np.linalg.eigh(gram)
        squares, vectors = squares[-rank:], vectors[:, -rank:]
    else:  # a fixed start makes the iteration reproducible
        squares, vectors = eigsh(gram, k=rank, v0=np.ones(len(gram)))
    squares, vectors = squares[::-1], vectors[:, ::-1]
    if wide:
        vectors = (values.T @ vectors) / np.sqrt(np.maximum(squares, 1e-12))
    return vectors.astype(np.float32)


def unit_scale(mean_counts: np.ndarray) -> np.ndarray:
    """Return the root of a unit's softened mean count, about the standard deviation of its counts, [unit]."""
    return np.sqrt(mean_counts + SOFT_COUNTS)


def bins_to_groups(edges_bins: Sequence[int]) -> np.ndarray:
    """Return the index of the group of each horizon bin, [horizon bin]."""
    return np.repeat(np.arange(len(edges_bins)), np.diff([0, *edges_bins]))


def span_ease(edges_bins: Sequence[int], context_bins: int) -> np.ndarray:
    """Return the scale of each span of history, so that one penalty is stronger for spans beyond the context, [span].

    A reference window contains fewer independent values of a longer span: the penalty increases with the length.
    """
    return np.sqrt(np.minimum(1, context_bins / np.diff([0, *edges_bins])))


def _root_lengths(edges_bins: Sequence[int], context_bins: int) -> np.ndarray:
    """Return the root of each span's length, since its mean count varies less by this factor, [span, 1].

    Slow drift is not scaled up.
    """
    return np.sqrt(np.minimum(np.diff([0, *edges_bins]), context_bins))[:, None]
