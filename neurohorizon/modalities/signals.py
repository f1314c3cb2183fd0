"""Signals that hold their value from one change to the next: samples of behaviour, and images on the screen.

A mean over a span is exact to the microsecond. It is taken over the part of the span with known values. If there is no
such part, the mean and the known share are zero. Signals are not interpolated, so a span that ends before a forecast
origin contains no later value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from neurohorizon.modalities.embeddings import GRAY
from neurohorizon.session import Series
from neurohorizon.timeline import MICROSECONDS, Intervals, to_us

MOVIE_RATE_HZ = 30.0
"""Frames per second of the movies of the Allen release."""
MOVIES = "natural_movie"
"""Prefix of the names of image sets that are movies."""
LONGEST_HOLD_S = 1.0
"""Longest time for which a sample of behaviour is valid."""


@dataclass(frozen=True, eq=False)
class Signal:
    """A piecewise constant signal of one or more channels.

    Attributes:
        edges_us: Start of each piece, and end of the last one, int64, rising, [piece + 1].
        values: Value of each piece, 0 where unknown, float32, [piece, channel].
        known: True for pieces with a known value, [piece].
    """

    edges_us: np.ndarray
    values: np.ndarray
    known: np.ndarray

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.values.shape[1]

    @cached_property
    def _integral(self) -> np.ndarray:
        """Integral up to each edge in seconds: the channels, then the known time, [piece + 1, channel + 1]."""
        columns = np.column_stack([self.values * self.known[:, None], self.known]).astype(np.float64)
        total = np.zeros((len(self.edges_us), columns.shape[1]))
        np.cumsum(columns * (np.diff(self.edges_us) / MICROSECONDS)[:, None], axis=0, out=total[1:])
        return total

    def means(self, start_us: np.ndarray, stop_us: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average over spans.

        Args:
            start_us: Start of each span, int64, any shape.
            stop_us: End of each span, after its start, same shape.

        Returns:
            Mean over the known part of each span, float32, [..., channel]; known share of the span, float32, [...].
        """
        total = self._integral_at(stop_us) - self._integral_at(start_us)
        known_s = total[..., -1]
        # a shorter time is only rounding of the integral
        some = known_s > 1e-7
        mean = np.where(some[..., None], total[..., :-1] / np.where(some, known_s, 1.0)[..., None], 0.0)
        length_s = (np.asarray(stop_us) - start_us) / MICROSECONDS
        return mean.astype(np.float32), np.where(some, known_s / length_s, 0.0).astype(np.float32)

    def shifted(self, by_us: int) -> "Signal":
        """Move the signal to later times by this delay."""
        return replace(self, edges_us=self.edges_us + by_us)

    def _integral_at(self, us: np.ndarray) -> np.ndarray:
        us = np.clip(us, self.edges_us[0], self.edges_us[-1])
        piece = np.clip(np.searchsorted(self.edges_us, us, side="right") - 1, 0, len(self.values) - 1)
        inside_s = (us - self.edges_us[piece]) / MICROSECONDS
        known = self.known[piece][..., None]
        rate = np.concatenate([self.values[piece] * known, known], axis=-1)
        return self._integral[piece] + inside_s[..., None] * rate


def behaviour_signal(series: Series, reference: Intervals) -> Signal:
    """Convert a behaviour series to a signal of its value and its magnitude, each standardised on a reference window.

    A sample holds until the next one, and at most ``LONGEST_HOLD_S``; a sample that is not a number is unknown.
    If the reference window has no sample, or only equal values, the whole signal is unknown.

    Args:
        reference: Reference window, whose samples set the scale.

    Returns:
        Two channels for each channel of the series.
    """
    times_us = to_us(series.times_s)
    after_us = np.append(times_us[1:], times_us[-1] + int(LONGEST_HOLD_S * MICROSECONDS))
    stop_us = np.minimum(after_us, times_us + int(LONGEST_HOLD_S * MICROSECONDS))
    known = np.isfinite(series.values).all(axis=1)
    values = np.column_stack([series.values, np.abs(series.values)]).astype(np.float64)
    inside = known & reference.contains(times_us)
    mean, deviation = (
        (values[inside].mean(axis=0), values[inside].std(axis=0))
        if inside.any()
        else (np.zeros(values.shape[1]), np.zeros(values.shape[1]))
    )
    changes = deviation > 1e-6
    known &= changes.any()
    scaled = np.where(changes, (values - mean) / np.where(changes, deviation, 1.0), 0.0)
    # values far outside of the reference window's range are clipped
    scaled = np.clip(np.where(known[:, None], scaled, 0.0), -5, 5)
    return _with_pauses(times_us, stop_us, scaled.astype(np.float32), known)


@dataclass(frozen=True, eq=False)
class ShownImages:
    """Images that a session showed, with their times.

    Attributes:
        signal: Embedding of the image on the screen, in the components of the image space.
        token_start_us: Start of the pieces that one token summarises, int64, rising, [token].
        token_stop_us: Their end, [token].
        token_value: Embedding of the token's first image, float32, [token, component].
    """

    signal: Signal
    token_start_us: np.ndarray
    token_stop_us: np.ndarray
    token_value: np.ndarray


def presented_images(stimuli: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """List the images on the screen from the first presentation to the last, with the gray between presentations.

    A presentation ends at the latest when the next one begins.

    Returns:
        Columns ``start_us``, ``stop_us`` (int64), ``image_set`` ("" where unknown), ``frame``, and ``series``: the
        image set that was shown, which shuffling does not change, [piece].
    """
    start_us, stop_us = to_us(stimuli["start"]), to_us(stimuli["end"])
    stop_us = np.minimum(stop_us, np.append(start_us[1:], stop_us[-1:]))
    kept = stop_us > start_us
    start_us, stop_us = start_us[kept], stop_us[kept]
    image_set, frame = stimuli["image_set"][kept], stimuli["frame"][kept]
    pause = np.flatnonzero(start_us[1:] > stop_us[:-1])
    order = np.argsort(np.concatenate([start_us, stop_us[pause]]), kind="stable")
    shown = np.concatenate([image_set, np.full(pause.size, GRAY)])[order]
    return {
        "start_us": np.concatenate([start_us, stop_us[pause]])[order],
        "stop_us": np.concatenate([stop_us, start_us[pause + 1]])[order],
        "series": shown,
        "image_set": shown,
        "frame": np.concatenate([frame, np.zeros(pause.size, frame.dtype)])[order],
    }


def show_images(
    pieces: Mapping[str, np.ndarray], components: Mapping[str, np.ndarray], *, token_us: int
) -> ShownImages | None:
    """Add embeddings and tokens to the pieces of :func:`presented_images`.

    A token begins when the series changes. Within a series, a token also begins at the first piece after each
    ``token_us``. So frames of a movie share tokens, and each scene has its own token.

    Args:
        pieces: Images on the screen.
        components: Embedding of every image, by image set, [image, component].
        token_us: Time that a token of a movie summarises.

    Returns:
        The images; None if none is known.

    Raises:
        ValueError: The number of a frame exceeds the images of its set.
    """
    start_us, stop_us, image_set, frame = (pieces[name] for name in ("start_us", "stop_us", "image_set", "frame"))
    series = pieces["series"]
    known = np.isin(image_set, list(components)) & (frame >= 0)
    if not known.any():
        return None
    n_components = next(iter(components.values())).shape[1]
    values = np.zeros((start_us.size, n_components), np.float32)
    for name, rows in components.items():
        here = known & (image_set == name)
        if here.any() and frame[here].max() >= len(rows):
            raise ValueError(f"{name} has {len(rows)} images; frame {frame[here].max()} was shown")
        values[here] = rows[frame[here]]
    run_begins = np.ones(start_us.size, bool)
    run_begins[1:] = series[1:] != series[:-1]
    run = np.cumsum(run_begins) - 1
    # a frame lasts 33.3 ms, rounded to microseconds, and three frames last 100 ms: the tolerance is 1/20 of a token
    place = (start_us - start_us[run_begins][run] + token_us // 20) // token_us
    begins = run_begins.copy()
    begins[1:] |= place[1:] != place[:-1]
    token = np.flatnonzero(begins)
    token_stop_us = np.append(start_us[token[1:]], stop_us[-1])
    token, token_stop_us = token[known[token]], token_stop_us[known[token]]
    return ShownImages(
        signal=_with_pauses(start_us, stop_us, values, known),
        token_start_us=start_us[token],
        token_stop_us=token_stop_us,
        token_value=values[token],
    )


def shuffled_pieces(pieces: Mapping[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Put the session's images in random order: each piece receives the identity of another piece.

    Times of changes and the number of presentations of each image stay the same; only the order of images changes.
    """
    known = np.flatnonzero(pieces["image_set"] != "")
    other = pieces | {name: pieces[name].copy() for name in ("image_set", "frame")}
    mixed = rng.permutation(known)
    for name in ("image_set", "frame"):
        other[name][known] = pieces[name][mixed]
    return other


def of_movie_seconds(stimuli: Mapping[str, np.ndarray], parts_s: Sequence[tuple[float, float]]) -> np.ndarray:
    """Find the presentations that are movie frames of certain seconds.

    Args:
        parts_s: First and last second of each part of a movie, the last excluded.

    Returns:
        True for presentations that are such frames, [presentation].
    """
    movie = np.char.startswith(stimuli["image_set"].astype(str), MOVIES)
    second = stimuli["frame"] / MOVIE_RATE_HZ
    return movie & np.any([(second >= first) & (second < last) for first, last in parts_s or [(0, 0)]], axis=0)


def movie_intervals(
    stimuli: Mapping[str, np.ndarray], parts_s: Sequence[tuple[float, float]], *, after_us: int = 0
) -> Intervals:
    """Find the times when certain seconds of any movie are on the screen, each extended by ``after_us``."""
    chosen = of_movie_seconds(stimuli, parts_s)
    return Intervals.merged(to_us(stimuli["start"][chosen]), to_us(stimuli["end"][chosen]) + after_us)


def _with_pauses(start_us: np.ndarray, stop_us: np.ndarray, values: np.ndarray, known: np.ndarray) -> Signal:
    """Insert an unknown piece between two pieces that do not touch."""
    pause = np.flatnonzero(start_us[1:] > stop_us[:-1])
    edges = np.concatenate([start_us, stop_us[pause]])
    order = np.argsort(edges, kind="stable")
    filled = np.concatenate([values, np.zeros((pause.size, values.shape[1]), np.float32)])[order]
    sure = np.concatenate([known, np.zeros(pause.size, bool)])[order]
    edges = edges[order]
    # if several samples have the same time, the last one holds
    distinct = np.append(np.diff(edges) > 0, True)
    return Signal(np.append(edges[distinct], stop_us[-1]), filled[distinct], sure[distinct])
