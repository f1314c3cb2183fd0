"""A context in a few spans of time, finer towards its end: the resolution at which all decoders read it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def span_counts(context: np.ndarray, edges_bins: Sequence[int]) -> np.ndarray:
    """Sum counts over spans, float64 [window, span, unit], the span at the end of the context first.

    Args:
        context: Counts, oldest bin first, [window, context bin, unit].
        edges_bins: Rising ends of the spans, in bins before the end of the context.
    """
    newest_first = context[:, ::-1]
    spans = [newest_first[:, first:last].sum(axis=1, dtype=np.float64) for first, last in pairwise((0, *edges_bins))]
    return np.stack(spans, axis=1)


def normalised(counts: np.ndarray, log_rate: np.ndarray, edges_bins: Sequence[int]) -> np.ndarray:
    """Compare counts of spans with what reference rates expect: their difference, in standard deviations.

    The standard deviation is that of a Poisson count with one spike added to its variance, so that a unit that is
    almost silent does not outweigh the others by its first spike.

    Args:
        counts: From :func:`span_counts`, [window, span, unit].
        log_rate: Natural log of the expected spikes per bin in the reference window, [unit].
    """
    expected = np.diff((0, *edges_bins))[:, None] * np.exp(np.asarray(log_rate, np.float64))
    return (counts - expected) / np.sqrt(expected + 1)


def span_means(values: np.ndarray, age_bins: np.ndarray, edges_bins: Sequence[int]) -> np.ndarray:
    """Average values of moments of the context over spans, float64 [window, span, column].

    Args:
        values: One row for each moment, [window, moment, column].
        age_bins: Age of each moment at the end of the context, [moment].
        edges_bins: Ends of the spans; a span without a moment takes the one nearest to its middle.
    """
    means = []
    for first, last in pairwise((0, *edges_bins)):
        inside = (age_bins >= first) & (age_bins < last)
        if not inside.any():
            inside = np.arange(len(age_bins)) == np.argmin(np.abs(age_bins - (first + last) / 2))
        means.append(values[:, inside].mean(axis=1, dtype=np.float64))
    return np.stack(means, axis=1)
