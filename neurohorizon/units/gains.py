"""Log gains in closed form: regressions of units' counts on a state, shared by all readouts.

They are fitted only on the reference window, by ridge regressions that share one eigendecomposition. There is no
gradient step, and no parameter is learned across sessions. The forecaster learns the weight of a readout.
"""

from dataclasses import dataclass

import numpy as np

from neurohorizon.config import Readout

FOLDS = 4
MOST_ORIGINS = 20_000  # evenly spaced over the reference window; more change the weights little
LARGEST_LOG_GAIN = 3.0


@dataclass(frozen=True, eq=False)
class Origins:
    """Bins of a reference window at which a forecast could begin, and the limits of their intervals.

    Attributes:
        index: The bin, [origin].
        lower: First bin of its interval, [origin].
        upper: First bin after its interval, [origin].
    """

    index: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def of(cls, segment: np.ndarray, *, context_bins: int = 1) -> "Origins":
        """Choose origins with at least ``context_bins`` bins of their interval before them, evenly spaced.

        Args:
            segment: Index of the interval that each bin lies in, non-decreasing, [bin].
            context_bins: Bins needed before an origin.
        """
        first = np.searchsorted(segment, segment)
        last = np.searchsorted(segment, segment, side="right")
        index = np.flatnonzero(first + context_bins <= np.arange(segment.size))
        index = index[:: max(1, -(-index.size // MOST_ORIGINS))]
        return cls(index=index, lower=first[index], upper=last[index])

    def past(self, edges_bins: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the first and the last (excluded) bin of each span before the origins, inside their intervals."""
        spans = zip([0, *edges_bins[:-1]], edges_bins, strict=True)
        return [
            (np.maximum(self.index - far, self.lower), np.maximum(self.index - near, self.lower)) for near, far in spans
        ]


def fit_gains(
    state: np.ndarray,
    relative: np.ndarray,
    origins: Origins,
    mean_counts: np.ndarray,
    readout: Readout,
    *,
    each_unit: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Regress units' counts after forecast origins on a state at the origins.

    For each group of horizon bins, a unit's count relative to its mean, minus the prediction from its own recent
    history, is regressed on the state. The penalty is that of a Gaussian prior on log-gain weights under a Poisson
    likelihood linearised at the mean rate, so it falls with the unit's rate: ``(Z'Z + precision / mean_counts) w =
    Z'r``. The precision is chosen for each group by the expected Poisson gain on held-out blocks of the reference
    window.

    Args:
        state: Regressors, of about unit variance, [origin, state].
        relative: Counts divided by their mean, minus one, summed by :func:`cumulative`, [bin + 1, unit].
        mean_counts: Expected counts per bin, [unit].
        readout: Spans of own history, groups of horizon bins and candidate precisions.
        each_unit: True if the precision is chosen for each unit; see :func:`ridge_gain`.

    Returns:
        Log gain per unit of state, float32, [state, unit, group]; and cv_gain, cross-validated on blocks: first the
        gain in nats per expected spike for each group, then the slope of the outcome on the readout, float32,
        [unit, 2 * group].
    """
    past = origins.past(np.asarray(readout.span_edges_bins))
    # [unit, span, origin], so that the products of each unit are products of matrices
    own = np.ascontiguousarray(np.stack([mean_between(relative, *span).T for span in past], axis=1))
    groups = np.asarray(readout.horizon_edges_bins)
    block = np.arange(origins.index.size) * FOLDS // max(origins.index.size, 1)
    precisions = np.asarray(readout.ridge)
    weights = np.zeros((state.shape[1], mean_counts.size, groups.size), np.float32)
    cv_gain = np.zeros((mean_counts.size, 2, groups.size), np.float32)
    for group, (near, far) in enumerate(zip([0, *groups[:-1]], groups, strict=True)):
        start, stop = np.minimum(origins.index + near, origins.upper), np.minimum(origins.index + far, origins.upper)
        # the means of a group are over its valid bins; origins with none do not count
        share = ((stop - start) / (far - near)).astype(np.float32)
        outcome = mean_between(relative, start, stop)
        information = mean_counts * (far - near)
        surprise = outcome - _own_history(own, outcome, share, information)
        weights[:, :, group], cv_gain[:, :, group] = ridge_gain(
            state, surprise, share, information, block, precisions, each_unit=each_unit
        )
    return weights, cv_gain.reshape(mean_counts.size, -1)


def cumulative(values: np.ndarray) -> np.ndarray:
    """Sum rows up to each row, which is excluded, float64, [row + 1, column]."""
    total = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, dtype=np.float64, out=total[1:])
    return total


def mean_between(cumulative: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Return the mean of rows ``start`` to ``stop`` (excluded), 0 where there are none."""
    length = np.maximum(stop - start, 1)[:, None]
    return ((cumulative[stop] - cumulative[start]) / length).astype(np.float32)


def _own_history(own: np.ndarray, outcome: np.ndarray, share: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Predict each unit's outcome from its own recent history, by one small ridge regression per unit.

    Args:
        own: Mean relative count in each span, [unit, span, origin].
        outcome: Mean relative count in the horizon group, [origin, unit].
        share: Valid share of the group, [origin].
        information: Expected counts in the group, the Fisher information of a log gain, [unit].
    """
    weighted = own * share
    gram = (weighted @ own.swapaxes(1, 2)).astype(np.float64)
    gram += np.eye(own.shape[1]) * (30.0 / information)[:, None, None]
    slope = np.linalg.solve(gram, weighted @ outcome.T[..., None])
    return (slope.swapaxes(1, 2).astype(np.float32) @ own)[:, 0].T


def ridge_gain(
    state: np.ndarray,
    surprise: np.ndarray,
    share: np.ndarray,
    information: np.ndarray,
    block: np.ndarray,
    precisions: np.ndarray,
    *,
    each_unit: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit weights [state, unit] with the precision that predicts held-out blocks best, and their cv_gain [unit, 2].

    Args:
        state: Regressors, [origin, state].
        surprise: Outcome, relative to its mean, [origin, unit].
        share: Weight of each origin, [origin].
        information: Expected counts in a unit's outcome, [unit].
        block: Block of each origin, [origin].
        each_unit: False: one precision for all units, for a state that all units follow. True: one for each unit,
            and zero weights for a unit that no precision predicts, for a state that only some units follow.
    """
    gram = np.stack([_gram(state, share, block == fold) for fold in range(FOLDS)])
    cross = np.stack([(state * share[:, None])[block == fold].T @ surprise[block == fold] for fold in range(FOLDS)])
    agreement = np.zeros((precisions.size, surprise.shape[1]))
    power = np.zeros_like(agreement)
    for fold in range(FOLDS):
        fits = _solve(gram.sum(0) - gram[fold], cross.sum(0) - cross[fold], information, precisions)
        # sums over the origins of a block, of the prediction times the outcome and of its square, from their products
        for index, weights in enumerate(fits):
            agreement[index] += np.einsum("su,su->u", weights, cross[fold], dtype=np.float64)
            power[index] += np.einsum("su,su->u", weights, gram[fold] @ weights, dtype=np.float64)
    gain = agreement - power / 2  # of the log-likelihood per expected spike, to second order
    fits = np.stack(_solve(gram.sum(0), cross.sum(0), information, precisions))
    together = np.full(information.size, np.argmax(gain @ information))
    best, unit = np.argmax(gain, axis=0) if each_unit else together, np.arange(information.size)
    weights = fits[best, :, unit].T
    slope = agreement[best, unit] / (power[best, unit] + 1e-3 * share.sum())
    cv_gain = np.stack([gain[best, unit] / share.sum(), slope], axis=1)
    if each_unit:
        follows = gain[best, unit] > 0
        weights, cv_gain = weights * follows, cv_gain * follows[:, None]
    return weights, cv_gain


def _gram(state: np.ndarray, share: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return (state[rows] * share[rows, None]).T @ state[rows]


def _solve(gram: np.ndarray, cross: np.ndarray, information: np.ndarray, precisions: np.ndarray) -> list[np.ndarray]:
    values, vectors = np.linalg.eigh(np.asarray(gram, np.float64))
    rotated = vectors.T @ cross
    return [
        (vectors @ (rotated / (values[:, None] + precision / information))).astype(np.float32)
        for precision in precisions
    ]
