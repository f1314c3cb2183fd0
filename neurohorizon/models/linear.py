"""Linear auto-regressions of a population on itself, class Z: fitted in closed form on a session's reference window.

``ridge_ar`` regresses every unit's counts after a forecast origin on all units' counts over several spans before it;
``reduced_rank`` lets the units share few directions of the past. Nothing is learned from other sessions but the
settings: penalty, rank, whether a unit's own past is regressed out first, and the lowest rate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import eigsh

from neurohorizon.config import Regressions
from neurohorizon.inputs.counts import reference_counts
from neurohorizon.inputs.gains import Origins, cumulative, mean_between
from neurohorizon.inputs.reference import read_reference
from neurohorizon.inputs.sessions import SessionPaths, Use
from neurohorizon.inputs.windows import Windows, history_sums
from neurohorizon.session import read_session

SOFT_COUNTS = 0.01
"""Counts per bin added to a unit's mean before its square root scales it: rare spikes are no outliers."""
OWN_PENALTY = 30.0
"""Penalty on a unit's own past where that is regressed out first, in origins, as the population readout has it."""


@dataclass(frozen=True, eq=False)
class ReferenceBins:
    """Counts of a reference window, on which a baseline may be fitted.

    Attributes:
        counts: Observed spikes per bin, [bin, unit].
        segment: Interval of valid time that each bin lies in, non-decreasing, [bin].
        mean_counts: Expected counts per bin, half a spike in the window for a silent unit, [unit].
    """

    counts: np.ndarray
    segment: np.ndarray
    mean_counts: np.ndarray


def reference_bins(paths: SessionPaths, use: Use, *, bin_us: int) -> ReferenceBins:
    """Count the spikes of the reference window that belongs to one use of a session's time."""
    session, window = read_session(paths.session), read_reference(paths.features, use)
    counts, segment = reference_counts(
        session.spike_times_us,
        session.spike_unit,
        n_units=session.n_units,
        intervals=window.intervals,
        bin_us=bin_us,
    )
    return ReferenceBins(counts=counts, segment=segment, mean_counts=np.exp(window.log_rate))


def past_means(bins: ReferenceBins, origins: Origins, edges_bins: Sequence[int]) -> np.ndarray:
    """Return counts less their mean, averaged over the valid bins of each span before origins, 0 where none is.

    Args:
        bins: The reference window.
        origins: Its forecast origins.
        edges_bins: Rising ends of the spans, in bins before the origin.

    Returns:
        float32, [origin, span, unit].
    """
    total = cumulative(bins.counts - bins.mean_counts)
    return np.stack([mean_between(total, *span) for span in origins.past(np.asarray(edges_bins))], axis=1)


def context_means(windows: Windows, mean_counts: np.ndarray, edges_bins: Sequence[int]) -> np.ndarray:
    """Return the same of the contexts of windows, [window, span, unit]."""
    sums, valid = history_sums(windows.context, windows.context_mask, tuple(edges_bins))
    valid = valid[:, :, None]
    return (sums.transpose(0, 2, 1) - valid * mean_counts) / np.maximum(valid, 1)


def outcomes(
    bins: ReferenceBins, origins: Origins, edges_bins: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Average what came after origins, over each group of horizon bins.

    Returns:
        For each group: the origins that have a valid bin in it, indices [some]; the number of these bins, [some]; and
        counts averaged over them, float32, [some, unit].
    """
    total = cumulative(bins.counts)
    groups = []
    for near, far in zip([0, *edges_bins[:-1]], edges_bins, strict=True):
        start, stop = np.minimum(origins.index + near, origins.upper), np.minimum(origins.index + far, origins.upper)
        some = np.flatnonzero(stop > start)
        groups.append((some, (stop - start)[some], mean_between(total, start[some], stop[some])))
    return groups


@dataclass(frozen=True, eq=False)
class GroupFit:
    """Ridge regressions of one group of horizon bins for every penalty, by the singular values of the past.

    Attributes:
        state_mean: Mean past, [state].
        basis: Right singular vectors of the past about its mean, [state, component].
        strength: Its singular values, [component].
        response: Left singular vectors times the outcome, [component, unit].
        outcome_mean: Mean outcome, [unit].
        own: Slope on a unit's own past; zero where it is not regressed out first, [span, unit].
    """

    state_mean: np.ndarray
    basis: np.ndarray
    strength: np.ndarray
    response: np.ndarray
    outcome_mean: np.ndarray
    own: np.ndarray

    def surprises(
        self, past: np.ndarray, penalties: Sequence[float], ranks: Sequence[int | None]
    ) -> Iterator[tuple[float, int | None, np.ndarray]]:
        """Forecast the group's mean counts less their reference mean, for every penalty and rank.

        Args:
            past: Standardised past, [window, span, unit].
            penalties: Of the ridge regression, in origins.
            ranks: Directions of the past that all units share; None: no limit.

        Yields:
            Penalty, rank and standardised surprise, [window, unit].
        """
        components = (past.reshape(len(past), -1) - self.state_mean) @ self.basis
        base = self.outcome_mean + np.einsum("wsu,su->wu", past, self.own)
        most = max((rank for rank in ranks if rank), default=0)
        for penalty in penalties:
            weights = (self.strength / (self.strength**2 + penalty))[:, None] * self.response
            shared = components @ weights
            # the fitted outcome's right singular vectors: its left factor is orthonormal
            directions = leading_right_vectors(self.strength[:, None] * weights, most) if most else None
            for rank in ranks:
                if rank is None:
                    yield penalty, rank, base + shared
                else:
                    yield penalty, rank, base + (shared @ directions[:, :rank]) @ directions[:, :rank].T


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A session's regressions, for every penalty and rank.

    Attributes:
        mean_counts: Expected counts per bin in the reference window, [unit].
        history_edges_bins: Spans of the past.
        horizon_edges_bins: Ends of the groups of horizon bins.
        groups: One fit for each group.
    """

    mean_counts: np.ndarray
    history_edges_bins: tuple[int, ...]
    horizon_edges_bins: tuple[int, ...]
    groups: tuple[GroupFit, ...]

    def rates(self, windows: Windows, *, penalty: float, floor: float, rank: int | None = None) -> np.ndarray:
        """Forecast windows of the session.

        Args:
            windows: The windows.
            penalty: Of the ridge regression, in origins.
            floor: Lowest rate, as a share of the unit's mean: a line can fall below zero.
            rank: Directions of the past that all units share; None: no limit.

        Returns:
            Expected counts, [window, horizon bin, unit].
        """
        ((_, _, lines),) = self.lines(windows, [penalty], [rank])
        return self.floored(lines, floor)[:, bins_to_groups(self.horizon_edges_bins)]

    def lines(
        self, windows: Windows, penalties: Sequence[float], ranks: Sequence[int | None]
    ) -> Iterator[tuple[float, int | None, np.ndarray]]:
        """Forecast as :meth:`rates`, with every penalty and rank, before rates have a floor, [window, group, unit]."""
        scale = unit_scale(self.mean_counts)
        past = context_means(windows, self.mean_counts, self.history_edges_bins)
        past = past * _root_lengths(self.history_edges_bins) / scale
        for parts in zip(*(group.surprises(past, penalties, ranks) for group in self.groups), strict=True):
            penalty, rank, _ = parts[0]
            yield penalty, rank, self.mean_counts + scale * np.stack([part for _, _, part in parts], axis=1)

    def floored(self, lines: np.ndarray, floor: float) -> np.ndarray:
        """Make rates of lines, [window, group, unit]."""
        return np.maximum(lines, floor * self.mean_counts)


def fit_linear(bins: ReferenceBins, settings: Regressions) -> dict[bool, LinearFit]:
    """Fit the regressions on a reference window.

    Counts are divided by the square root of their mean, so that a penalty means the same for all units. Origins have
    at least half of the longest span of valid time before them, as the network's training windows do.

    Args:
        bins: The reference window.
        settings: Spans of the past, groups of horizon bins, and the most origins to fit on.

    Returns:
        Two fits: that of all units on all, and, where ``True``, that of each unit on its own past first, and of all
        units on what that leaves.
    """
    edges = settings.history_edges_bins
    scale = unit_scale(bins.mean_counts)
    origins = fit_origins(bins, settings)
    past = (past_means(bins, origins, edges) * _root_lengths(edges) / scale).astype(np.float32)
    groups: dict[bool, list[GroupFit]] = {False: [], True: []}
    for some, n_bins, outcome in outcomes(bins, origins, settings.horizon_edges_bins):
        surprise = ((outcome - bins.mean_counts) / scale).astype(np.float32)
        share = (n_bins / n_bins.max()).astype(np.float32)
        for own_first, fit in zip((False, True), _fit_group(past[some], surprise, share), strict=True):
            groups[own_first].append(fit)
    return {
        own_first: LinearFit(
            mean_counts=bins.mean_counts,
            history_edges_bins=edges,
            horizon_edges_bins=settings.horizon_edges_bins,
            groups=tuple(fits),
        )
        for own_first, fits in groups.items()
    }


def fit_origins(bins: ReferenceBins, settings: Regressions) -> Origins:
    """Choose the origins that a regression is fitted on, evenly spaced."""
    origins = Origins.of(bins.segment, context_bins=settings.history_edges_bins[-1] // 2)
    step = max(1, -(-origins.index.size // settings.windows))
    return Origins(index=origins.index[::step], lower=origins.lower[::step], upper=origins.upper[::step])


def _fit_group(past: np.ndarray, outcome: np.ndarray, share: np.ndarray) -> tuple[GroupFit, GroupFit]:
    state = past.reshape(len(past), -1)
    state_mean = share @ state / share.sum()
    root = np.sqrt(share)[:, None]
    left, strength, basis = _thin_svd((state - state_mean) * root)
    nothing = np.zeros(past.shape[1:], np.float32)
    own = _own_slopes(past, outcome, share)
    fits = []
    for slopes, left_over in ((nothing, outcome), (own, outcome - np.einsum("tsu,su->tu", past, own))):
        outcome_mean = share @ left_over / share.sum()
        response = left.T @ ((left_over - outcome_mean) * root)
        fits.append(GroupFit(state_mean, basis, strength, response, outcome_mean, slopes))
    return tuple(fits)


def _own_slopes(past: np.ndarray, outcome: np.ndarray, share: np.ndarray) -> np.ndarray:
    weighted = past * share[:, None, None]
    gram = np.einsum("tsu,tru->usr", weighted, past) + OWN_PENALTY * np.eye(past.shape[1])
    cross = np.einsum("tsu,tu->us", weighted, outcome)
    return np.linalg.solve(gram, cross[..., None])[..., 0].T.astype(np.float32)


def _thin_svd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left vectors [row, component], singular values and right vectors [column, component], by the smaller Gram."""
    wide = values.shape[0] < values.shape[1]
    gram = np.asarray(values @ values.T if wide else values.T @ values, np.float64)
    squares, vectors = np.linalg.eigh(gram)
    # what is below float32's precision is rounding
    kept = squares > 1e-6 * squares[-1]
    strength = np.sqrt(squares[kept])
    vectors = vectors[:, kept].astype(np.float32)
    strength = strength.astype(np.float32)
    others = ((values.T if wide else values) @ vectors) / strength
    return (vectors, strength, others) if wide else (others, strength, vectors)


def leading_right_vectors(values: np.ndarray, rank: int) -> np.ndarray:
    """Leading right singular vectors, the largest first, float32, [column, rank]."""
    rank = min(rank, *values.shape)
    wide = values.shape[0] < values.shape[1]
    gram = np.asarray(values @ values.T if wide else values.T @ values, np.float64)
    if 4 * rank > len(gram):
        squares, vectors = np.linalg.eigh(gram)
        squares, vectors = squares[-rank:], vectors[:, -rank:]
    else:  # a fixed start makes the iteration repeatable
        squares, vectors = eigsh(gram, k=rank, v0=np.ones(len(gram)))
    squares, vectors = squares[::-1], vectors[:, ::-1]
    if wide:
        vectors = (values.T @ vectors) / np.sqrt(np.maximum(squares, 1e-12))
    return vectors.astype(np.float32)


def unit_scale(mean_counts: np.ndarray) -> np.ndarray:
    """Root of a unit's softened mean count, about the standard deviation of its counts, [unit]."""
    return np.sqrt(mean_counts + SOFT_COUNTS)


def bins_to_groups(edges_bins: Sequence[int]) -> np.ndarray:
    """Name the group of each horizon bin, [horizon bin]."""
    return np.repeat(np.arange(len(edges_bins)), np.diff([0, *edges_bins]))


def _root_lengths(edges_bins: Sequence[int]) -> np.ndarray:
    """Root of each span's length: its mean count varies that much less, [span, 1]."""
    return np.sqrt(np.diff([0, *edges_bins]))[:, None]
