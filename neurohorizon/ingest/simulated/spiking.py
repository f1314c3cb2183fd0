"""Neurons whose true rates are known: the parts that the simulated releases share, whatever their format.

Spikes
    Time-rescaled equilibrium renewal processes (Barbieri et al., J. Neurosci. Methods 2001, for the rescaling).
    In operational time, the integral of the rate, intervals are independent draws of a law with mean 1. The first
    one is drawn from the equilibrium law of the residual life (Cox, Renewal Theory, 1962), so the process is
    stationary there, and the expected count of any span *equals* the integral of the rate. The laws: dead time
    plus gamma (refractory units), a mixture of short and long intervals (bursting units), and an exponential
    with a dead time of a thousandth of its mean (Poisson units).

The truth
    ``expected_counts`` is that integral per bin: the expectation given the whole drive, *its future included*.
    It is a ceiling that forecasts cannot reach, since they read only the past.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy.signal import lfilter

from neurohorizon.config import Timeline
from neurohorizon.files import replacing

STEP_S = 0.01
"""The rate is constant within a step."""
STEP_MS = 10
MAXIMUM_RATE_HZ = 150.0
POOR_UNITS = 0.35
"""Units that fail the quality criteria of the release, as a share of the good ones."""

_STATE_TIMESCALE_S = 20.0
_POISSON_DEAD = 0.001  # of the mean interval: enough that no two spikes share a microsecond


@dataclass(frozen=True)
class CellType:
    """Typical rate, slowness and interval law of a kind of unit."""

    share: float
    rate_hz: float
    slowness: tuple[float, float]
    """Parameters of a beta law over [0, 1]."""


CELL_TYPES = {
    "refractory": CellType(share=0.30, rate_hz=6.0, slowness=(2.0, 4.0)),
    "bursty": CellType(share=0.25, rate_hz=2.0, slowness=(5.0, 2.0)),
    "poisson": CellType(share=0.45, rate_hz=3.0, slowness=(3.0, 3.0)),
}


@dataclass(frozen=True)
class IntervalLaw:
    """Mixture of (dead time + gamma) intervals with mean 1, in operational time.

    Attributes:
        weights: Probability of each component, [component].
        dead: Dead time of each component, [component].
        shape, scale: Gamma law beyond the dead time, [component].
    """

    weights: np.ndarray
    dead: np.ndarray
    shape: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        if not np.isclose(self.weights @ self.means, 1.0):
            raise ValueError(f"an interval law needs mean 1, found {self.weights @ self.means:.4f}")

    @property
    def means(self) -> np.ndarray:
        """Mean interval of each component, [component]."""
        return self.dead + self.shape * self.scale

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Independent intervals, [interval]."""
        part = rng.choice(len(self.weights), size=count, p=self.weights)
        return self.dead[part] + rng.gamma(self.shape[part], self.scale[part])

    def draw_first(self, rng: np.random.Generator) -> float:
        """Time to the first event of a stationary process: a uniform share of a length-biased interval.

        Length-biasing weighs a component by its mean; within it, the density x f(x) of dead time plus gamma is a
        mixture of the gamma itself (weight: dead time) and the gamma of one shape more (weight: gamma mean).
        """
        biased = self.weights * self.means
        part = rng.choice(len(self.weights), p=biased / biased.sum())
        grown = rng.random() * self.means[part] >= self.dead[part]
        interval = self.dead[part] + rng.gamma(self.shape[part] + grown, self.scale[part])
        return rng.random() * interval

    def events(self, end: float, rng: np.random.Generator) -> np.ndarray:
        """Event times in [0, end) of the stationary process."""
        times = np.array([self.draw_first(rng)])
        while times[-1] < end:
            missing = end - times[-1]
            more = self.draw(int(missing + 4 * np.sqrt(missing) + 16), rng)
            times = np.concatenate([times, times[-1] + np.cumsum(more)])
        return times[times < end]


def draw_cells(region_rate: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw cell type, slowness and mean rate in Hz of each unit, [unit] each.

    Args:
        region_rate: Factor of the unit's region on the typical rate of the cell type, [unit].
    """
    total, names = len(region_rate), list(CELL_TYPES)
    kind = rng.choice(names, size=total, p=[CELL_TYPES[name].share for name in names])
    slowness = rng.beta(*np.array([CELL_TYPES[name].slowness for name in kind]).T)
    typical = np.array([CELL_TYPES[name].rate_hz for name in kind]) * region_rate
    return kind, slowness, np.clip(typical * np.exp(0.7 * rng.standard_normal(total)), 0.4, 25.0)


def interval_laws(
    kind: np.ndarray, rate_hz: np.ndarray, slowness: np.ndarray, rng: np.random.Generator
) -> tuple[IntervalLaw, ...]:
    """Draw the interval law of each unit."""
    units = zip(kind, rate_hz, slowness, strict=True)
    return tuple(interval_law(name, rate_hz=hz, slowness=slow, rng=rng) for name, hz, slow in units)


def interval_law(kind: str, *, rate_hz: float, slowness: float, rng: np.random.Generator) -> IntervalLaw:
    """The law of one unit of a cell type; times are in mean intervals, so real ones scale with the rate."""
    if kind == "refractory":
        dead = np.clip(0.0025 * rate_hz, 0.002, 0.1)
        shape = rng.uniform(2.0, 5.0)
        return _law([1.0], [dead], [shape], [(1 - dead) / shape])
    if kind == "bursty":
        within = rng.uniform(0.2, 0.3) + 0.2 * slowness
        short = np.clip(0.008 * rate_hz, 0.005, 0.1)
        long = (1 - within * short) / (1 - within)
        return _law([within, 1 - within], [0.2 * short] * 2, [1.0, 1.0], [0.8 * short, long - 0.2 * short])
    return _law([1.0], [_POISSON_DEAD], [1.0], [1.0 - _POISSON_DEAD])


def _law(weights: list, dead: list, shape: list, scale: list) -> IntervalLaw:
    return IntervalLaw(*(np.array(values, float) for values in (weights, dead, shape, scale)))


def shared_latents(count: int, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Shared latents [step, latent], slowest first and the oscillator last, and the state [step]."""
    slow = max(count - 1, 1)
    timescales = np.geomspace(2.0, 0.1, slow) * np.exp(0.1 * rng.standard_normal(slow))
    columns = [relaxing(np.exp(-STEP_S / timescale), steps, rng).real for timescale in timescales]
    if count > 1:
        turn = 2j * np.pi * rng.uniform(4.0, 8.0) * STEP_S
        columns.append(relaxing(np.exp(turn - STEP_S / 0.5), steps, rng).real)
    state = relaxing(np.exp(-STEP_S / _STATE_TIMESCALE_S), steps, rng).real
    # squashed towards two levels, quiet and active
    return np.column_stack(columns), np.tanh(1.5 * state) / 0.7


def relaxing(factor: complex, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Stationary first-order autoregression with a real part of unit variance, [step]; complex factors turn."""
    noise = rng.standard_normal((steps, 2)) @ np.array([1, 1j])
    noise[1:] *= np.sqrt(1 - abs(factor) ** 2)
    return lfilter([1.0], [1.0, -factor], noise)


def smooth(values: np.ndarray, steps: int) -> np.ndarray:
    """Running mean over some steps, [step]."""
    return np.convolve(values, np.ones(steps) / steps, mode="same")


def drift_basis(steps: int) -> np.ndarray:
    """Slow waves over the session, [step, wave], each of unit variance over random phases."""
    phase = 2 * np.pi * np.arange(steps) / steps
    return np.column_stack([wave(turns * phase) for turns in (0.5, 1.0, 1.5) for wave in (np.cos, np.sin)])


def latent_weights(
    slowness: np.ndarray, coupling: np.ndarray, structure: np.ndarray, *, latents: int, rng: np.random.Generator
) -> np.ndarray:
    """Weights on the latents, [latent, unit]: around the unit's slowness, with its region's coupling as norm.

    Args:
        slowness: Timescales that each unit follows, 0 fast to 1 slow, [unit].
        coupling: Standard deviation that the latents give to the log rate of the unit's region, [unit].
        structure: Number of the unit's region, which chooses the usual signs, [unit].
    """
    position = np.linspace(1.0, 0.0, latents)[:, None]
    # slow latents are the stronger ones, as in recordings, where most shared variance is slow
    profile = (0.2 + position) * np.exp(-(((position - slowness) / 0.25) ** 2) / 2)
    profile = profile * np.exp(0.3 * rng.standard_normal(profile.shape))
    strength = 0.85 * np.exp(0.25 * rng.standard_normal(len(slowness)))
    coupling = strength * coupling
    # a latent pulls most units of a region the same way, and the slowest pulls nearly all the same way
    usual = np.where((structure + np.arange(latents)[:, None]) % 3 == 0, -1.0, 1.0)
    usual[0] = 1.0
    agree = np.where(np.arange(latents) == 0, 0.85, 0.75)[:, None]
    sign = np.where(rng.random(profile.shape) < agree, usual, -usual)
    return sign * profile * coupling / np.linalg.norm(profile, axis=0)


def integrate(rate_hz: np.ndarray) -> np.ndarray:
    """Integral of a rate [step, unit] at the step edges: operational time, [step + 1, unit]."""
    return np.concatenate([np.zeros((1, rate_hz.shape[1])), np.cumsum(rate_hz * STEP_S, axis=0)])


def draw_spikes(laws: Sequence[IntervalLaw], operational: np.ndarray, *, rng: np.random.Generator) -> list[np.ndarray]:
    """Spike times of each unit in seconds, in whole microseconds, from its operational time [step + 1, unit]."""
    events = [law.events(1.0 * total, rng) for law, total in zip(laws, operational[-1], strict=True)]
    edges_s = np.arange(len(operational)) * STEP_S
    # floored to the microsecond, so that no spike leaves its bin when times become integers
    return [np.floor(np.interp(times, operational[:, unit], edges_s) * 1e6) / 1e6 for unit, times in enumerate(events)]


def check_bins(timeline: Timeline) -> None:
    """Raise ValueError for bins of the truth that do not hold whole steps of the rate."""
    if timeline.bin_ms % STEP_MS:
        raise ValueError(
            f"timeline.bin_ms is {timeline.bin_ms}; simulated rates are constant within {STEP_MS} ms, "
            f"so the bin must be a multiple of {STEP_MS}"
        )


def write_truth(
    path: Path,
    *,
    session: str,
    operational: np.ndarray,
    unit_id: Sequence[str],
    kind: Sequence[str],
    timeline: Timeline,
) -> None:
    """Write the true expected counts of a session.

    The file holds ``expected_counts`` [bin, unit] from t = 0 of the session clock, and ``unit_id`` and ``cell_type``
    [unit]. ``operational`` is the integral of the rate at the step edges, [step + 1, unit]; units are in the order of
    ingestion.
    """
    steps_per_bin = timeline.bin_ms // STEP_MS
    expected = np.diff(operational[::steps_per_bin], axis=0).astype(np.float32)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        counts = file.create_dataset("expected_counts", data=expected)
        counts.attrs["axes"] = "bin, unit"
        counts.attrs["units"] = "expected spikes per bin"
        file.create_dataset("unit_id", data=list(unit_id), dtype=h5py.string_dtype()).attrs["axes"] = "unit"
        file.create_dataset("cell_type", data=list(kind), dtype=h5py.string_dtype()).attrs["axes"] = "unit"
        file.attrs["session"] = session
        file.attrs["bin_us"] = 1000 * timeline.bin_ms
