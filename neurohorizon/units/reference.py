"""Reference features: the description of a unit from the spikes of a reference window only.

A reference window is a set of intervals of valid time. The pauses between them are unknown time, not silence: no
inter-spike interval, autocorrelation lag or counting window crosses a pause.

Features are finite and on the scale of a network's input (logs, Fisher z, square roots). The network standardises them
over the units of its training sessions. For each group:

* ``rate``: ``log_rate_hz``, natural log of the mean rate in whole bins. A silent unit counts as half a spike.
* ``isi``: ``log_isi_cv``, log of the coefficient of variation of the ``n`` inter-spike intervals, shrunk towards
  that of a Poisson process by one interval: ``log((n cv^2 + 1) / (n + 1)) / 2``, so 0 for a unit without intervals.
  ``isi_k``, square root of the share of the intervals in bin ``k`` of 20 equal bins of log duration from 1 ms
  to 10 s; shorter and longer intervals count in the first and the last bin. One interval, spread evenly over the bins,
  is added, so that a unit without intervals has the same value in all bins.
* ``autocorrelation``: ``autocorrelation_k``, Fisher z of the autocorrelation of binned counts at lags 1 to 10
  bins, by ``sum over pairs (x_t - m)(x_{t+k} - m) / pairs / variance``, correlations within +-0.99; 0 where
  the counts do not vary or no interval is as long as the lag.
* ``fano``: ``log_fano``, log of the variance (of n - 1) over the mean of the counts in windows of 10 bins,
  within +-3; 0, as for a Poisson process, for a silent unit. The window is shorter if no interval has 10 bins.
* ``relational``: coupling to the other units; see :mod:`neurohorizon.units.relational`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.config import Features, Splits, Timeline
from neurohorizon.files import replacing
from neurohorizon.session import Session, SessionError, read_session
from neurohorizon.timeline import MICROSECONDS, Intervals, cut_domain, to_s, to_us
from neurohorizon.units.counts import SortedSpikes, SparseCounts, lagged_products, sort_spikes, sparse_counts
from neurohorizon.units.relational import relational_features, relational_names

WINDOW_NAMES = ("test", "early", "late", "validation")
"""Reference windows of a session file.

``test``: the reference window, for forecasts of the test part. ``early`` and ``late``: the two halves of the
training part, so that training targets in one half use the features of the other. ``validation``: the whole
training part, for forecasts of the validation part.
"""
AUTOCORRELATION_LAGS = 10
ISI_BINS = 20
ISI_EDGES_US = np.rint(np.geomspace(1e3, 1e7, ISI_BINS + 1)).astype(np.int64)
"""Edges of the histogram of inter-spike intervals, [edge]."""
FANO_WINDOW_BINS = 10
MINIMUM_VALID_S = 10.0
"""Shortest reference window, in seconds of whole bins."""
SILENT_SPIKES = 0.5
"""Spikes of a unit that is silent in the reference window, in log rates."""
LARGEST_LOG = 3.0
LARGEST_CORRELATION = 0.99
SPIKES_PER_BLOCK = 2**16

_ISI_STEP_BITS = 9
_ISI_TABLE = np.searchsorted(
    ISI_EDGES_US[1:-1], np.arange((ISI_EDGES_US[-1] >> _ISI_STEP_BITS) + 1) << _ISI_STEP_BITS, side="right"
)
_ISI_UPPER_US = np.append(ISI_EDGES_US[1:-1], np.iinfo(np.int64).max)

MARGINAL_FEATURES = {
    "rate": ("log_rate_hz",),
    "isi": ("log_isi_cv", *(f"isi_{index}" for index in range(ISI_BINS))),
    "autocorrelation": tuple(f"autocorrelation_{lag}" for lag in range(1, AUTOCORRELATION_LAGS + 1)),
    "fano": ("log_fano",),
}
MARGINAL_GROUPS = tuple(MARGINAL_FEATURES)
"""Groups of features that need no other unit: 33 features in all."""


@dataclass(frozen=True, eq=False)
class ReferenceWindow:
    """Description of a session's units from one reference window.

    Attributes:
        values: Features, float32, [unit, feature].
        names: Name of each feature, [feature].
        groups: Group of each feature, [feature].
        reference_log_rate: Natural log of expected spikes per bin: the mean count in whole bins, and that of half a
            spike per window for a silent unit, float64, [unit].
        valid_s: Seconds of valid time in whole bins.
        intervals: The window itself.
    """

    values: np.ndarray
    names: tuple[str, ...]
    groups: tuple[str, ...]
    reference_log_rate: np.ndarray
    valid_s: float
    intervals: Intervals


def feature_names(features: Features) -> dict[str, tuple[str, ...]]:
    """Return the names of the features of each chosen group, in the order of their columns."""
    relational = relational_names(lags_bins=features.coupling_lags_bins, population_modes=features.population_modes)
    names = {**MARGINAL_FEATURES, "relational": relational}
    return {group: names[group] for group in features.groups}


def reference_features(
    times_us: np.ndarray,
    unit_index: np.ndarray,
    n_units: int,
    reference: Intervals,
    *,
    bin_us: int,
    features: Features,
) -> ReferenceWindow:
    """Compute the features of every unit from the spikes inside a reference window, as defined above.

    Args:
        times_us: Spike times of the session, int64 microseconds, sorted, [spike]. Those outside ``reference``
            are not used.
        unit_index: Unit of each spike, [spike].
        n_units: Units, silent ones included.
        features: Groups to compute, and the settings of the relational group.

    Raises:
        SessionError: The window holds less than ``MINIMUM_VALID_S`` of whole bins.
        ValueError: Spikes are not sorted integers, or name a unit that does not exist.
    """
    times_us, unit_index = np.asarray(times_us), np.asarray(unit_index)
    _check_spikes(times_us, unit_index, n_units)
    spikes = sort_spikes(times_us, unit_index, n_units=n_units, intervals=reference)
    counts = sparse_counts(spikes, bin_us=bin_us)
    valid_us = counts.n_bins * bin_us
    if valid_us < MINIMUM_VALID_S * MICROSECONDS:
        raise SessionError(
            f"the reference window holds {valid_us / MICROSECONDS:g} s in whole bins of {bin_us / 1000:g} ms "
            f"({len(reference)} intervals, {reference.duration_us / MICROSECONDS:g} s in all); features need "
            f"{MINIMUM_VALID_S:g} s: exclude this session, or give its reference window more time"
        )
    number = np.bincount(counts.unit, counts.count, minlength=n_units)
    log_rate = np.log(np.maximum(number, SILENT_SPIKES) / counts.n_bins)
    # a block is small enough for the cache, and large enough that the work on spikes exceeds that on bins
    blocks = spikes.unit_blocks(max(SPIKES_PER_BLOCK, 2 * counts.n_bins))
    block_counts = [counts.of_units(units) for units in blocks]
    compute = {
        "rate": lambda: log_rate[:, None] + np.log(MICROSECONDS / bin_us),
        "isi": lambda: np.concatenate([isi_features(spikes.of_units(units)) for units in blocks]),
        "autocorrelation": lambda: np.concatenate([autocorrelation_features(one) for one in block_counts]),
        "fano": lambda: np.concatenate([fano_features(one) for one in block_counts]),
        "relational": lambda: relational_features(
            counts,
            bin_us=bin_us,
            lags_bins=features.coupling_lags_bins,
            population_modes=features.population_modes,
        ),
    }
    values = [np.zeros((n_units, 0)), *(compute[group]() for group in features.groups)]
    return ReferenceWindow(
        values=np.concatenate(values, axis=1).astype(np.float32),
        **_columns(features),
        reference_log_rate=log_rate,
        valid_s=valid_us / MICROSECONDS,
        intervals=reference,
    )


def isi_features(spikes: SortedSpikes) -> np.ndarray:
    """Compute the ``isi`` group, coefficient of variation then histogram, float64, [unit, feature]."""
    n_units = spikes.n_units
    apart = (spikes.unit[1:] != spikes.unit[:-1]) | (spikes.interval[1:] != spikes.interval[:-1])
    isi_us, unit, apart = np.diff(spikes.times_us), spikes.unit[1:], np.flatnonzero(apart)
    # differences between units or across pauses are excluded: they add 0 to sums, and their bin is after all others
    isi_us[apart] = 0
    cell = unit * ISI_BINS + _isi_bin(isi_us)
    cell[apart] = n_units * ISI_BINS
    histogram = np.bincount(cell, minlength=n_units * ISI_BINS + 1)[:-1].reshape(n_units, ISI_BINS)
    number = histogram.sum(axis=1)
    isi_s = isi_us / MICROSECONDS
    mean = np.bincount(unit, isi_s, minlength=n_units) / np.maximum(number, 1)
    mean_square = np.bincount(unit, isi_s**2, minlength=n_units) / np.maximum(number, 1)
    squared_cv = np.divide(mean_square, mean**2, out=np.full(n_units, 2.0), where=mean > 0) - 1
    log_cv = 0.5 * np.log((number * np.maximum(squared_cv, 0) + 1) / (number + 1))
    share = (histogram + 1 / ISI_BINS) / (number[:, None] + 1)
    return np.concatenate([log_cv[:, None], np.sqrt(share)], axis=1)


def _isi_bin(isi_us: np.ndarray) -> np.ndarray:
    """Return the histogram bin of each inter-spike interval, [interval]."""
    # edges are further apart than a step of the table, so it is the table's bin or the next one
    low = np.take(_ISI_TABLE, isi_us >> _ISI_STEP_BITS, mode="clip")
    return low + (isi_us >= _ISI_UPPER_US[low])


def autocorrelation_features(counts: SparseCounts) -> np.ndarray:
    """Compute the ``autocorrelation`` group, float64, [unit, lag]."""
    lags = AUTOCORRELATION_LAGS
    products = lagged_products(counts, lags)
    # spikes in the first bins of the pairs at each lag, and in their last
    leading = _sum_at_least(counts, counts.length - 1 - counts.position, lags)
    trailing = _sum_at_least(counts, counts.position, lags)
    pairs = np.maximum(counts.segment_bins[:, None] - np.arange(lags + 1), 0).sum(axis=0)
    mean = leading[:, :1] / max(counts.n_bins, 1)
    covariance = products - mean * (leading + trailing) + pairs * mean**2
    covariance /= np.maximum(pairs, 1)
    # integers, so that the test for constant counts is exact
    varies = (counts.n_bins * products[:, 0] > leading[:, 0] ** 2)[:, None] & (pairs > 0)
    correlation = np.divide(covariance, covariance[:, :1], out=np.zeros_like(covariance), where=varies)[:, 1:]
    return np.arctanh(np.clip(correlation, -LARGEST_CORRELATION, LARGEST_CORRELATION))


def fano_features(counts: SparseCounts) -> np.ndarray:
    """Compute the ``fano`` group, float64, [unit, 1]."""
    bins = max(min(FANO_WINDOW_BINS, int(counts.length.max(initial=1))), 1)
    per_segment = np.bincount(counts.segment, minlength=1) // bins
    n_windows = int(per_segment.sum())
    place = counts.position // bins
    window = (per_segment.cumsum() - per_segment)[counts.segment] + place
    window = np.where(place < per_segment[counts.segment], window, -1)[counts.bin]
    inside = window >= 0
    unit, window, count = counts.unit[inside], window[inside], counts.count[inside]
    opens = np.ones(unit.size, bool)
    opens[1:] = (unit[1:] != unit[:-1]) | (window[1:] != window[:-1])
    first = np.flatnonzero(opens)
    in_window = np.add.reduceat(count, first) if first.size else count
    total = np.bincount(unit[first], in_window, minlength=counts.n_units)
    squares = np.bincount(unit[first], in_window**2, minlength=counts.n_units)
    mean = total / max(n_windows, 1)
    variance = np.maximum(squares - total * mean, 0) / max(n_windows - 1, 1)
    return _bounded_log(variance, mean, (total > 0) & (n_windows >= 2))[:, None]


def reference_windows(session: Session, *, gap_us: int) -> dict[str, Intervals]:
    """Name the reference windows of a session; see ``WINDOW_NAMES``.

    Args:
        gap_us: Clock time excluded between the halves of the training part.
    """
    train = session.splits.train
    early, late = cut_domain(train, first_us=train.duration_us // 2, gap_us=gap_us)
    return {"test": session.splits.reference, "early": early, "late": late, "validation": train}


def compute_reference_file(
    session: Path, output: Path, *, features: Features, timeline: Timeline, splits: Splits
) -> None:
    """Compute the features of a session file for every named reference window, and write them.

    The file of an excluded session has no units and holds the reason.

    Raises:
        SessionError: The session cannot be read, or a reference window is too short; the message names it.
    """
    read = read_session(session)
    bin_us = timeline.bin_ms * 1000
    windows = {}
    for name, intervals in reference_windows(read, gap_us=int(to_us(splits.gap_s))).items():
        if read.left_out is not None:
            windows[name] = _nothing(features)
            continue
        try:
            spikes = (read.spike_times_us, read.spike_unit, read.n_units)
            windows[name] = reference_features(*spikes, intervals, bin_us=bin_us, features=features)
        except SessionError as error:
            raise SessionError(f"session {read.session_id}, window {name!r}: {error}") from error
    _write(output, read, windows, bin_us=bin_us, features=features)


def read_reference(path: str | Path, name: str) -> ReferenceWindow:
    """Read one named reference window of a feature file.

    Raises:
        SessionError: The file or the window does not exist.
    """
    if not Path(path).is_file():
        raise SessionError(f"there is no feature file {path}")
    with h5py.File(path, "r") as file:
        if name not in file["windows"]:
            raise SessionError(f"{path} has no reference window {name!r}; it has {sorted(file['windows'])}")
        window = file["windows"][name]
        return ReferenceWindow(
            values=window["values"][:],
            names=tuple(file["feature_name"].asstr()[:]),
            groups=tuple(file["feature_group"].asstr()[:]),
            reference_log_rate=window["reference_log_rate"][:],
            valid_s=float(window.attrs["valid_s"]),
            intervals=Intervals(to_us(window["start"][:]), to_us(window["end"][:])),
        )


def _columns(features: Features) -> dict[str, tuple[str, ...]]:
    """Return the name and the group of each feature."""
    names = feature_names(features)
    return {
        "names": tuple(name for group in names.values() for name in group),
        "groups": tuple(group for group, members in names.items() for _ in members),
    }


def _nothing(features: Features) -> ReferenceWindow:
    columns = _columns(features)
    values = np.zeros((0, len(columns["names"])), np.float32)
    return ReferenceWindow(
        values=values, **columns, reference_log_rate=np.zeros(0), valid_s=0.0, intervals=Intervals.empty()
    )


def _write(
    path: Path, session: Session, windows: dict[str, ReferenceWindow], *, bin_us: int, features: Features
) -> None:
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["session"] = session.session_id
        file.attrs["left_out"] = session.left_out or ""
        file.attrs["bin_us"] = bin_us
        file.attrs["features"] = json.dumps(features.model_dump(mode="json"))
        any_window = next(iter(windows.values()))
        _dataset(file, "unit_id", session.units["id"].astype(object), axes="unit", unit="")
        _dataset(file, "feature_name", np.array(any_window.names, object), axes="feature", unit="")
        _dataset(file, "feature_group", np.array(any_window.groups, object), axes="feature", unit="")
        for name, window in windows.items():
            group = file.create_group(f"windows/{name}")
            group.attrs["valid_s"] = window.valid_s
            _dataset(group, "values", window.values, axes="unit, feature", unit="see feature_name")
            _dataset(group, "reference_log_rate", window.reference_log_rate, axes="unit", unit="log(spikes/bin)")
            _dataset(group, "start", to_s(window.intervals.start_us), axes="interval", unit="s")
            _dataset(group, "end", to_s(window.intervals.stop_us), axes="interval", unit="s")


def _dataset(group: h5py.Group, name: str, values: np.ndarray, *, axes: str, unit: str) -> None:
    kind = h5py.string_dtype() if values.dtype == object else None
    dataset = group.create_dataset(name, data=values, dtype=kind)
    dataset.attrs["axes"] = axes
    dataset.attrs["unit"] = unit


def _check_spikes(times_us: np.ndarray, unit_index: np.ndarray, n_units: int) -> None:
    if times_us.shape != unit_index.shape or times_us.ndim != 1:
        raise ValueError(f"spike times {times_us.shape} and units {unit_index.shape} must be two equal lists")
    if not times_us.size:
        return
    if not (np.issubdtype(times_us.dtype, np.integer) and np.issubdtype(unit_index.dtype, np.integer)):
        raise ValueError(
            f"spike times and units must be integers, found {times_us.dtype} and {unit_index.dtype}; "
            "to_us converts seconds"
        )
    if (times_us[1:] < times_us[:-1]).any():
        raise ValueError("spike times must be sorted; session.order_spikes does it")
    if unit_index.min() < 0 or unit_index.max() >= n_units:
        raise ValueError(f"spikes name units {unit_index.min()} to {unit_index.max()}; there are {n_units}")


def _bounded_log(numerator: np.ndarray, denominator: np.ndarray, known: np.ndarray) -> np.ndarray:
    ratio = np.divide(numerator, denominator, out=np.ones_like(numerator), where=known)
    return np.log(np.clip(ratio, np.exp(-LARGEST_LOG), np.exp(LARGEST_LOG)))


def _sum_at_least(counts: SparseCounts, bins: np.ndarray, most: int) -> np.ndarray:
    """Sum the counts where ``bins``, [bin], is at least 0, 1, ... ``most``; exact, float64, [unit, most + 1]."""
    width = most + 1
    total = np.bincount(counts.unit, counts.count, minlength=counts.n_units)
    # few bins are near an end of their interval
    few = np.flatnonzero((bins < most)[counts.bin])
    cell = counts.unit[few] * width + bins[counts.bin[few]] + 1
    below = np.bincount(cell, counts.count[few], minlength=counts.n_units * width)
    return total[:, None] - below.reshape(counts.n_units, width).cumsum(axis=1)
