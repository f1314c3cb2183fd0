"""Contexts as decoders read them: in a few spans of time, finer towards the end; and a file of latents of contexts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.files import replacing


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
    """Difference of counts of spans from those expected from reference rates, in standard deviations.

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


def write_contexts(path: Path, contexts: Mapping[str, tuple[np.ndarray, np.ndarray]] | str) -> None:
    """Write the latents of a network for contexts, or the reason why a session has none.

    Args:
        contexts: For each target the ends of its contexts, int64 [window], and the values, float32 [window, input].
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["left_out"] = contexts if isinstance(contexts, str) else ""
        for target, (origin_us, values) in ({} if isinstance(contexts, str) else contexts).items():
            group = file.create_group(target)
            for name, data, axes, unit in (
                ("origin_us", origin_us, "window", "us"),
                ("values", values.astype(np.float32), "window, input", ""),
            ):
                dataset = group.create_dataset(name, data=data)
                dataset.attrs["axes"] = axes
                dataset.attrs["unit"] = unit


def read_contexts(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]] | str:
    """Read a file of :func:`write_contexts`."""
    with h5py.File(path, "r") as file:
        if file.attrs["left_out"]:
            return str(file.attrs["left_out"])
        return {name: (group["origin_us"][:], group["values"][:]) for name, group in file.items()}
