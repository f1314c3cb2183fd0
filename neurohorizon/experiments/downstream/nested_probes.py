"""Linear probes by nested cross-validation over blocks of time.

Blocks of time are held out in turn. Within the others a second round over the same blocks chooses the penalty, so that
no scored label influences it. Contexts that end close to a held-out block are fitted on in neither round: they share
spikes, or slow changes, with it.

Inputs are centred, and divided by one number, so that their variances sum to one. Representations differ in the
relative weights of their inputs, which a scale for each input would remove. The probes are scikit-learn's. They are
fitted in coordinates of the known inputs, at most one for each context: with a penalty on the sum of squared weights
this gives the same predictions as fitting all weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score


@dataclass(frozen=True, eq=False)
class Probed:
    """Predictions of a probe for windows while they are held out.

    Attributes:
        predicted: Log odds of the class 1, or the predicted label, float64 [window].
        block: Block of time of each window, int [window].
        penalties: Chosen penalty of each block.
    """

    predicted: np.ndarray
    block: np.ndarray
    penalties: tuple[float, ...]


class OneClassError(ValueError):
    """A block of time outside of which all labels that may be fitted on are of one class."""


def probe(
    values: np.ndarray,
    label: np.ndarray,
    origin_us: np.ndarray,
    *,
    classes: bool,
    blocks: int,
    penalties: Sequence[float],
    gap_us: int,
) -> Probed:
    """Predict classes by logistic regression, both classes weighing the same, or numbers by ridge regression.

    Args:
        values: Inputs, [window, input].
        label: Classes, 0 or 1, or numbers, [window].
        origin_us: Ends of the contexts, int64, rising, [window].
        classes: Whether labels are classes.
        penalties: Candidates: weight of the sum of squared weights against the log loss, or the squared error.
        gap_us: Windows that end less than this before or after a block are not fitted on for it.

    Raises:
        OneClassError: Outside of a block there is only one class.
    """
    values, label = np.asarray(values, np.float64), np.asarray(label, np.float64)
    fit, loss = (fit_classes, _log_loss) if classes else (fit_values, _squares)
    block = numbered_blocks(len(label), blocks)
    predicted, chosen = np.zeros(len(label)), []
    for outer in range(blocks):
        held = block == outer
        known = apart(origin_us, held, gap_us)
        if classes and len(np.unique(label[known])) < 2:
            raise OneClassError(f"all labels are of one class outside of block {outer + 1} of {blocks}")
        losses = np.zeros(len(penalties))
        for inner in range(blocks):
            unseen = known & (block == inner)
            if inner == outer or not unseen.any():
                continue
            fitted = known & apart(origin_us, unseen, gap_us)
            if fitted.sum() < 2 or (classes and len(np.unique(label[fitted])) < 2):
                continue
            coordinates = in_coordinates(values[fitted], values[unseen])
            guesses = fit(coordinates[0], label[fitted], coordinates[1], penalties)
            losses += [loss(label[unseen], guess) for guess in guesses]
        best = float(penalties[int(np.argmin(losses))])
        coordinates = in_coordinates(values[known], values[held])
        predicted[held] = fit(coordinates[0], label[known], coordinates[1], [best])[0]
        chosen.append(best)
    return Probed(predicted, block, tuple(chosen))


def fit_classes(known: np.ndarray, label: np.ndarray, unseen: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Fit a logistic regression with each penalty and give the log odds of class 1, [penalty, unseen window]."""
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        return np.stack([_logistic(penalty).fit(known, label).decision_function(unseen) for penalty in penalties])


def fit_values(known: np.ndarray, label: np.ndarray, unseen: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Fit a ridge regression with each penalty and predict, [penalty, unseen window]."""
    # a penalty for each column: one matrix of products serves all candidates
    ridge = Ridge(alpha=np.asarray(penalties, np.float64), solver="cholesky")
    ridge.fit(known, np.tile(label[:, None], len(penalties)))
    return ridge.predict(unseen).reshape(len(unseen), -1).T


def numbered_blocks(n_windows: int, blocks: int) -> np.ndarray:
    """Number the blocks of time that windows lie in, each of about as many windows, [window]."""
    return np.arange(n_windows) * blocks // n_windows


def apart(origin_us: np.ndarray, held: np.ndarray, gap_us: int) -> np.ndarray:
    """True for windows that end at least a gap before the first, or after the last, of the held-out ones, [window]."""
    first, last = origin_us[held].min(), origin_us[held].max()
    return (origin_us <= first - gap_us) | (origin_us >= last + gap_us)


def in_coordinates(known: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale inputs as the module describes, in an orthonormal basis of the known inputs: no distance changes.

    ``known`` are the inputs of the fit, [window, input], ``unseen`` those of the predictions, [unseen window, input],
    whose parts outside of the basis have no weight.
    """
    mean = known.mean(axis=0)
    known, unseen = known - mean, unseen - mean
    scale = np.sqrt((known**2).sum() / len(known)) or 1.0
    known, unseen = known / scale, unseen / scale
    if known.shape[1] < len(known):
        squares, columns = np.linalg.eigh(known.T @ known)
        columns = columns[:, squares > 1e-10 * squares[-1]]
        return known @ columns, unseen @ columns
    squares, rows = np.linalg.eigh(known @ known.T)
    kept = squares > 1e-10 * squares[-1]
    lengths, rows = np.sqrt(squares[kept]), rows[:, kept]
    return rows * lengths, (unseen @ known.T) @ (rows / lengths)


def balanced_accuracy(label: np.ndarray, predicted: np.ndarray) -> float:
    """Mean share of right predictions of both classes, from log odds; 0.5 if these do not depend on the label."""
    positive, chosen = label > 0.5, predicted > 0
    return float((chosen[positive].mean() + 1 - chosen[~positive].mean()) / 2)


def auc_within(label: np.ndarray, predicted: np.ndarray, block: np.ndarray) -> float:
    """Area under the ROC curve over pairs of windows of one block, whose log odds one fit gives; NaN without a pair."""
    pairs, right = 0.0, 0.0
    for one in np.unique(block):
        of_block = label[block == one]
        between = of_block.sum() * (len(of_block) - of_block.sum())
        if between:
            pairs += between
            right += between * roc_auc_score(of_block, predicted[block == one])
    return float(right / pairs) if pairs else float("nan")


def shifted_scores(label: np.ndarray, predicted: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Balanced accuracies against labels shifted cyclically within their blocks, by 1, 2, ... windows, [shift].

    A shift keeps the number and the order of the labels in a block, but not their times: these scores need no
    information on the label of the window. The last shift is one less than the smallest block.
    """
    parts = [np.flatnonzero(block == one) for one in np.unique(block)]
    shifted = (np.concatenate([np.roll(label[part], by) for part in parts]) for by in range(1, min(map(len, parts))))
    return np.array([balanced_accuracy(labels, predicted) for labels in shifted])


def _logistic(penalty: float) -> LogisticRegression:
    return LogisticRegression(C=1 / penalty, class_weight="balanced", solver="newton-cholesky", max_iter=100, tol=1e-4)


def _log_loss(label: np.ndarray, log_odds: np.ndarray) -> float:
    """Log loss, each class of the windows that are predicted weighing the same."""
    one = np.logaddexp(0, np.where(label > 0.5, -log_odds, log_odds))
    return float(sum(one[label == kind].mean() * len(label) / 2 for kind in np.unique(label)))


def _squares(label: np.ndarray, predicted: np.ndarray) -> float:
    return float(((predicted - label) ** 2).sum())
