"""Repeats of movies: forecasts from other repeats, and how well forecasts follow the response that repeats share.

A bin of the timeline is aligned neither to the frames of a movie nor to the bins of another repeat. Spikes are
therefore counted by phase, their time in the movie, in steps of ``PHASE_STEP_US``; sums between two phases are read
from the running total, linear between steps. Time outside of valid time counts as not seen.

**The forecast ``psth``** (class fitted: it uses the whole session, later parts included) of a bin that shows a movie
is the unit's mean rate in all other repeats at the same phase, smoothed over phase by a Gaussian of ``SMOOTHING_US``
and shrunk to the unit's reference mean as by a gamma prior: ``(strength * mean + spikes) / (strength + repeats)``. Each
unit's strength is the one of ``STRENGTHS`` with which the repeats of the reference window forecast each other best.
Elsewhere it is the reference mean.

**PSTH R2** compares means over repeats in steps of phase of ``R2_PHASE_US``: finer ones hold hardly any spikes of few
repeats. A target bin belongs to the step that holds its centre. With ``n`` target bins in a step,
``1 - sum(n * (observed - forecast) ** 2) / sum(n * (observed - mean of observed) ** 2)``, sums over phases and units; a
unit's squares are divided by its reference mean, the variance of its counts if they were Poisson, so that units of
all rates weigh alike. It is taken against two things:

``same``
    The counts of the same bins, averaged as the forecasts are.
``other``
    The repeats outside of test time, not smoothed. Forecasts cannot depend on the noise of these repeats.

Both contain the noise of few repeats and the state of the animal in them, so that not even true rates reach 1: compare
with the ceiling's. The row ``psth`` of the R2 is computed only from repeats outside of test time, smoothed and shrunk
as above, since the forecast of that name uses the repeats that ``same`` averages; it has no R2 against ``other``, from
which it is computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_array

from neurohorizon.forecasts.forecast_file import Forecast, read_forecast, write_forecast
from neurohorizon.scores import poisson_log_likelihood
from neurohorizon.session import Session, read_session
from neurohorizon.timeline import Intervals, to_us

PSTH = "psth"
PHASE_STEP_US = 5_000
SMOOTHING_US = 20_000
R2_PHASE_US = 100_000
"""Width of the steps of phase over which PSTH R2 is taken."""
STRENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 1e9)
"""Weights of the reference mean, in repeats; the last leaves nothing else."""

_MOVIE = "natural_movie"
_LONGEST_PAUSE_US = 100_000  # between frames of one repeat


@dataclass(frozen=True, eq=False)
class Repeat:
    """One showing of a movie.

    Attributes:
        movie: Image set of its frames.
        time_us: Start of each frame and end of the last one, microseconds, rising, [frame + 1].
        phase_us: Time in the movie at these times, microseconds, rising, [frame + 1].
    """

    movie: str
    time_us: np.ndarray
    phase_us: np.ndarray

    def phase_at(self, us: np.ndarray) -> np.ndarray:
        """Phase at a time, microseconds; its first and last phase where the repeat is not on."""
        return np.interp(us, self.time_us, self.phase_us)

    def time_at(self, phase_us: np.ndarray) -> np.ndarray:
        """Time of a phase, microseconds; its start and end for phases that it does not show."""
        return np.interp(phase_us, self.phase_us, self.time_us)


def find_repeats(stimuli: Mapping[str, np.ndarray]) -> list[Repeat]:
    """Find the repeats of every movie, in order of time.

    A repeat is a run of presentations of one image set whose frames rise and follow each other without a pause. A frame
    lasts the median time from one frame to the next, over all repeats of its movie; there is none of a movie without
    two frames in a row.
    """
    start_us, stop_us = to_us(stimuli["start"]), to_us(stimuli["end"])
    image_set, frame = stimuli["image_set"], stimuli["frame"].astype(np.int64)
    is_movie = np.char.startswith(image_set, _MOVIE)
    follows = np.zeros(len(start_us), bool)
    follows[1:] = is_movie[1:] & (image_set[1:] == image_set[:-1]) & (np.diff(frame) > 0)
    follows[1:] &= start_us[1:] - stop_us[:-1] < _LONGEST_PAUSE_US
    in_a_row = np.append(False, np.diff(frame) == 1) & follows
    lasts_us = np.append(0, np.diff(start_us))
    movies = np.unique(image_set[in_a_row]).tolist()
    frame_us = {movie: float(np.median(lasts_us[in_a_row & (image_set == movie)])) for movie in movies}
    repeats = []
    for rows in np.split(np.arange(len(start_us)), np.flatnonzero(~follows)):
        if rows.size and image_set[rows[0]] in frame_us:
            movie = str(image_set[rows[0]])
            time_us = np.append(start_us[rows], max(stop_us[rows[-1]], start_us[rows[-1]] + 1))
            phase_us = np.append(frame[rows], frame[rows[-1]] + 1) * frame_us[movie]
            repeats.append(Repeat(movie, time_us, phase_us))
    return repeats


@dataclass(frozen=True, eq=False)
class MovieCounts:
    """Spikes of all repeats of one movie by phase.

    Attributes:
        repeats: The repeats.
        spikes: Spikes in each step of phase, [repeat, step, unit].
        seen: Share of each step that the repeat showed in valid time, float64, [repeat, step].
    """

    repeats: Sequence[Repeat]
    spikes: np.ndarray
    seen: np.ndarray

    @property
    def duration_us(self) -> int:
        """Length of the movie in whole steps, microseconds."""
        return self.seen.shape[1] * PHASE_STEP_US

    @cached_property
    def raw(self) -> np.ndarray:
        """Spikes of each unit and last the seen time in steps, float32, [repeat, step, unit + 1]."""
        return np.concatenate([self.spikes, self.seen[..., None]], axis=2, dtype=np.float32)

    @cached_property
    def smooth(self) -> np.ndarray:
        """The same, smoothed over phase; time and spikes alike, so that edges and gaps take from neither."""
        return gaussian_filter1d(self.raw, SMOOTHING_US / PHASE_STEP_US, axis=1, mode="constant")


def movie_counts(session: Session, repeats: Sequence[Repeat], intervals: Intervals) -> MovieCounts:
    """Count spikes of repeats of one movie by phase, inside some valid time."""
    steps = int(np.ceil(max(repeat.phase_us[-1] for repeat in repeats) / PHASE_STEP_US - 1e-6))
    edge_us = np.arange(steps + 1) * PHASE_STEP_US
    spikes = np.zeros((len(repeats), steps, session.n_units), np.uint16)
    seen = np.zeros((len(repeats), steps))
    for row, repeat in enumerate(repeats):
        near = slice(*np.searchsorted(session.spike_times_us, repeat.time_us[[0, -1]]))
        times_us, unit = session.spike_times_us[near], session.spike_unit[near]
        inside = intervals.contains(times_us)
        step = np.minimum(repeat.phase_at(times_us[inside]) // PHASE_STEP_US, steps - 1).astype(np.int64)
        np.add.at(spikes[row], (step, unit[inside].astype(np.int64)), 1)
        time_us = repeat.time_at(edge_us)
        # phases before the first frame and after the last have no time
        length_us = np.diff(time_us)
        valid_us = np.diff(_valid_before(intervals, time_us))
        shown = np.diff(np.clip(edge_us, repeat.phase_us[0], repeat.phase_us[-1])) / PHASE_STEP_US
        seen[row] = np.divide(valid_us * shown, length_us, out=np.zeros(steps), where=length_us > 0)
    return MovieCounts(repeats, spikes, seen)


def _valid_before(intervals: Intervals, us: np.ndarray) -> np.ndarray:
    """Valid time before each time, microseconds."""
    edge_us = np.stack([intervals.start_us, intervals.stop_us], axis=1).ravel()
    total_us = np.repeat(np.cumsum(intervals.stop_us - intervals.start_us), 2)
    total_us[::2] -= intervals.stop_us - intervals.start_us
    return np.interp(us, edge_us, total_us) if edge_us.size else np.zeros(np.shape(us))


def _between(by_step: np.ndarray, first_us: np.ndarray, last_us: np.ndarray) -> np.ndarray:
    """Sum between two phases, float64, [phase, column], from [step, column]."""
    total = np.zeros((len(by_step) + 1, by_step.shape[1]))
    np.cumsum(by_step, axis=0, out=total[1:])

    def at(phase_us: np.ndarray) -> np.ndarray:
        place = np.clip(phase_us / PHASE_STEP_US, 0, len(by_step))
        low = np.minimum(place.astype(np.int64), len(by_step) - 1)
        share = (place - low)[:, None]
        return total[low] * (1 - share) + total[low + 1] * share

    return at(last_us) - at(first_us)


def _shrunk(found: np.ndarray, *, mean: np.ndarray, strength: np.ndarray, bin_us: int) -> np.ndarray:
    """Expected counts per bin of a gamma prior around the mean, given spikes and seen steps, [phase, unit]."""
    repeats = found[:, -1:] * (PHASE_STEP_US / bin_us)
    return (strength * mean + found[:, :-1]) / (strength + repeats)


def choose_strength(movies: Sequence[MovieCounts], *, mean: np.ndarray, bin_us: int) -> np.ndarray:
    """Choose each unit's weight of its reference mean: the best forecast of each repeat by the others.

    Args:
        movies: Repeats in the reference window, counted only in the reference window.
        mean: Mean spikes per bin in the reference window, [unit].

    Returns:
        One of ``STRENGTHS`` for each unit, [unit]; the largest where no two repeats can be compared.
    """
    nats = np.zeros((len(STRENGTHS), len(mean)))
    for movie in movies:
        first_us = np.arange(movie.duration_us // bin_us) * float(bin_us)
        together = movie.smooth.sum(axis=0)
        for row in range(len(movie.repeats)):
            own = _between(movie.raw[row], first_us, first_us + bin_us)
            others = _between(together - movie.smooth[row], first_us, first_us + bin_us)
            whole = (own[:, -1] * PHASE_STEP_US > 0.999 * bin_us) & (others[:, -1] * PHASE_STEP_US > 0.5 * bin_us)
            for place, strength in enumerate(STRENGTHS):
                rate = _shrunk(others[whole], mean=mean, strength=strength, bin_us=bin_us)
                nats[place] += poisson_log_likelihood(own[whole, :-1], np.log(rate)).sum(axis=0)
    # the last of equals, such as where there is one repeat or none
    return np.array(STRENGTHS)[len(STRENGTHS) - 1 - np.argmax(nats[::-1], axis=0)]


def psth_rates(session: Session, start_us: np.ndarray, *, mean: np.ndarray, bin_us: int) -> np.ndarray:
    """Expected counts of bins from the other repeats of the same movie.

    Args:
        start_us: First microsecond of each bin, int64, [bin].
        mean: Mean spikes per bin in the reference window, [unit].

    Returns:
        float64 [bin, unit]; the mean where no movie is shown at the bin's centre, or no other repeat.
    """
    rates = np.broadcast_to(mean, (len(start_us), len(mean))).copy()
    by_movie = _by_movie(find_repeats(session.stimuli))
    strength = _session_strength(session, by_movie, mean=mean, bin_us=bin_us)
    for repeats in by_movie:
        movie = movie_counts(session, repeats, session.domain)
        together = movie.smooth.sum(axis=0)
        for row, repeat in enumerate(repeats):
            centre_us = start_us + bin_us / 2
            here = (centre_us >= repeat.time_us[0]) & (centre_us < repeat.time_us[-1])
            if here.any():
                first_us, last_us = repeat.phase_at(start_us[here]), repeat.phase_at(start_us[here] + bin_us)
                others = _between(together - movie.smooth[row], first_us, last_us)
                rates[here] = _shrunk(others, mean=mean, strength=strength, bin_us=bin_us)
    return rates


def _by_movie(repeats: Sequence[Repeat]) -> list[list[Repeat]]:
    names = sorted({repeat.movie for repeat in repeats})
    return [[repeat for repeat in repeats if repeat.movie == name] for name in names]


def forecast_psth(*, session: Path, task: Path, code: str, output: Path) -> None:
    """Write the forecast ``psth`` of a session: each movie bin by all other repeats of the movie.

    Args:
        task: Any forecast of the session: it defines the windows and the reference mean.

    Raises:
        ValueError: The files are of different units.
    """
    other = read_forecast(task)
    forecast = replace(other, method=PSTH, method_class="fitted", seed=None, encoder="", code=code)
    if other.left_out is None:
        recording = read_session(session)
        _require_units(recording, other)
        bins = np.arange(other.log_rate.shape[1])
        start_us, place = np.unique(other.start_us[:, None] + bins * other.bin_us, return_inverse=True)
        mean = np.exp(other.reference_log_rate.astype(np.float64))
        log_rate = np.log(psth_rates(recording, start_us, mean=mean, bin_us=other.bin_us)).astype(np.float32)
        forecast = replace(forecast, log_rate=log_rate[place].reshape(other.log_rate.shape))
    write_forecast(output, forecast)


def _require_units(session: Session, forecast: Forecast) -> None:
    if forecast.unit_id.tolist() != session.units["id"].tolist():
        raise ValueError(f"the forecast of {forecast.session} and session {session.session_id} differ in their units")


@dataclass(frozen=True, eq=False)
class MovieTargets:
    """The target bins of a session that show a movie, and rates at these phases in repeats outside of test time.

    Attributes:
        window: Window of each bin, [target].
        bin: Its horizon bin, [target].
        cell: Its cell: movie, step of phase, and whether the movie is held out there, [target].
        movie: Movie of each cell, by its place in ``movies``, [cell].
        movies: Names of the movies.
        phase_us: Start of the phases of each cell, microseconds, [cell].
        heldout: Whether the cell is held out, [cell].
        other: Mean spikes per bin at these phases in repeats outside of test time, [cell, unit]; NaN where none is.
        expected: The same, smoothed and shrunk as the forecast ``psth``, [cell, unit].
    """

    window: np.ndarray
    bin: np.ndarray
    cell: np.ndarray
    movie: np.ndarray
    movies: Sequence[str]
    phase_us: np.ndarray
    heldout: np.ndarray
    other: np.ndarray
    expected: np.ndarray


def movie_targets(session: Session, forecast: Forecast, heldout: Intervals) -> MovieTargets | None:
    """Find the valid target bins that show a movie at their centre; None without such a bin.

    ``heldout`` is the time of the parts of movies that nothing was fitted on.
    """
    _require_units(session, forecast)
    bin_us, by_movie = forecast.bin_us, _by_movie(find_repeats(session.stimuli))
    window, horizon_bin = np.nonzero(forecast.target_mask)
    centre_us = forecast.start_us[window] + horizon_bin * bin_us + bin_us // 2
    target, keys = [np.zeros(0, np.int64)], [np.zeros((0, 3), np.int64)]
    for number, repeats in enumerate(by_movie):
        for repeat in repeats:
            here = np.flatnonzero((centre_us >= repeat.time_us[0]) & (centre_us < repeat.time_us[-1]))
            phase = (repeat.phase_at(centre_us[here]) // R2_PHASE_US).astype(np.int64)
            target.append(here)
            keys.append(np.stack([np.full(here.size, number), phase, heldout.contains(centre_us[here])], axis=1))
    if not sum(map(len, target)):
        return None
    target = np.concatenate(target)
    cells, cell = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    other = np.zeros((len(cells), session.n_units))
    expected = np.zeros_like(other)
    mean = np.exp(forecast.reference_log_rate.astype(np.float64))
    strength = _session_strength(session, by_movie, mean=mean, bin_us=bin_us)
    for number, repeats in enumerate(by_movie):
        counts = movie_counts(session, repeats, session.domain.without(session.splits.test))
        rows = cells[:, 0] == number
        first_us = cells[rows, 1] * float(R2_PHASE_US)
        found = _between(counts.raw.sum(axis=0), first_us, first_us + R2_PHASE_US)
        seen = found[:, -1:] * (PHASE_STEP_US / bin_us)
        other[rows] = np.divide(found[:, :-1], seen, out=np.full((rows.sum(), len(mean)), np.nan), where=seen > 0.5)
        found = _between(counts.smooth.sum(axis=0), first_us, first_us + R2_PHASE_US)
        bins = R2_PHASE_US / bin_us
        expected[rows] = _shrunk(found, mean=mean * bins, strength=strength, bin_us=R2_PHASE_US) / bins
    return MovieTargets(
        window=window[target],
        bin=horizon_bin[target],
        cell=cell.reshape(-1),
        movie=cells[:, 0],
        movies=[repeats[0].movie for repeats in by_movie],
        phase_us=cells[:, 1] * R2_PHASE_US,
        heldout=cells[:, 2].astype(bool),
        other=other,
        expected=expected,
    )


def _session_strength(
    session: Session, by_movie: Sequence[Sequence[Repeat]], *, mean: np.ndarray, bin_us: int
) -> np.ndarray:
    reference = [movie_counts(session, repeats, session.splits.reference) for repeats in by_movie]
    return choose_strength(reference, mean=mean, bin_us=bin_us)


@dataclass(frozen=True)
class RepeatSums:
    """Sums of a PSTH R2, which is ``1 - residual / total``.

    Attributes:
        against: ``same`` or ``other``.
        heldout: Whether of the parts of movies that nothing was fitted on, or of the rest.
        part_ms: Part of the horizon, milliseconds.
        residual: Squares between forecast and PSTH over the unit's reference mean, float64, [unit].
        total: Squares of the PSTH around its mean over the movie, over the same, float64, [unit].
    """

    against: str
    heldout: bool
    part_ms: tuple[float, float]
    residual: np.ndarray
    total: np.ndarray


def repeat_sums(targets: MovieTargets, forecast: Forecast, parts_ms: Sequence[tuple[float, float]]) -> list[RepeatSums]:
    """Compare a forecast with the response that repeats of a movie share, in parts of the horizon; see the module."""
    bin_ms, mean = forecast.bin_us / 1000, np.exp(forecast.reference_log_rate.astype(np.float64))
    sums = []
    for part_ms in parts_ms:
        inside = (targets.bin * bin_ms >= part_ms[0] - 1e-9) & ((targets.bin + 1) * bin_ms <= part_ms[1] + 1e-9)
        weight, forecasts, observed = phase_means(targets, forecast, inside)
        compared = {"same": (weight, observed)}
        if forecast.method == PSTH:
            forecasts = targets.expected
        else:
            is_known = ~np.isnan(targets.other).any(axis=1)
            compared["other"] = (weight * is_known, np.nan_to_num(targets.other))
        for against, (weight, psth) in compared.items():
            residual = weight[:, None] * (psth - forecasts) ** 2 / mean
            total = weight[:, None] * (psth - _means_of(targets.movie, psth, weight)) ** 2 / mean
            for heldout in (False, True):
                parts = (values[targets.heldout == heldout].sum(axis=0) for values in (residual, total))
                sums.append(RepeatSums(against, heldout, part_ms, *parts))
    return sums


def phase_means(
    targets: MovieTargets, forecast: Forecast, inside: np.ndarray | slice = slice(None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average a forecast, and the observed counts, over all target bins of each cell that are ``inside``, [target].

    Returns:
        Target bins in each cell, float64 [cell]; expected and observed spikes per bin, float64 [cell, unit], 0 where
        the cell has none.
    """
    cell, place = targets.cell[inside], (targets.window[inside], targets.bin[inside])
    weight = np.bincount(cell, minlength=len(targets.movie)).astype(np.float64)
    members = csr_array((np.ones(cell.size), (cell, np.arange(cell.size))), shape=(weight.size, cell.size))
    rate = np.exp(forecast.log_rate[place].astype(np.float64))
    sums = (members @ rate, members @ forecast.counts[place].astype(np.float64))
    return weight, *(one / np.maximum(weight, 1)[:, None] for one in sums)


def _means_of(movie: np.ndarray, psth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean over all rows of the same movie, [row, unit]."""
    means = np.zeros_like(psth)
    for number in np.unique(movie):
        rows = movie == number
        means[rows] = (weight[rows, None] * psth[rows]).sum(axis=0) / max(weight[rows].sum(), 1.0)
    return means


def example_unit(session: Session, candidates: np.ndarray) -> int | None:
    """Choose the candidate whose response to a movie is the most repeatable, in the reference window only.

    This is the correlation of its smoothed mean rates in the odd and in the even repeats of the movie with the most
    repeats. None where there is no movie, or no two repeats of one in the reference window.
    """
    by_movie = _by_movie(find_repeats(session.stimuli))
    if not by_movie or not candidates.any():
        return None
    movie = movie_counts(session, max(by_movie, key=len), session.splits.reference)
    whole = np.flatnonzero(movie.seen.mean(axis=1) > 0.9)
    if whole.size < 2:
        return None
    odd, even = (movie.smooth[whole[first::2], :, :-1].sum(axis=0, dtype=np.float64) for first in (0, 1))
    odd, even = odd - odd.mean(axis=0), even - even.mean(axis=0)
    scale = np.sqrt((odd**2).sum(axis=0) * (even**2).sum(axis=0))
    alike = np.divide((odd * even).sum(axis=0), scale, out=np.full(scale.shape, -1.0), where=scale > 0)
    return int(np.argmax(np.where(candidates, alike, -np.inf)))
