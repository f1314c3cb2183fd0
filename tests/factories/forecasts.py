"""A simulated run with known expected scores: Poisson counts, and forecasts from shares of the true rates."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurohorizon.forecasts.forecast_file import Forecast, write_forecast
from neurohorizon.forecasts.scoring import score_session
from neurohorizon.methods import METHODS
from neurohorizon.session import Session, write_session
from neurohorizon.timeline import Intervals, Splits

BIN_US = 20_000
CONTEXT_BINS = HORIZON_BINS = 50
FIRST_TEST_BIN = 1600

_SHARES = {  # method: (share of the true modulation at the origin, half-life in bins)
    "reference_mean": (0.0, 1.0),
    "trailing_mean": (0.2, 30.0),
    "shrinkage": (0.4, 30.0),
    "gamma_poisson": (0.45, 30.0),
    "own_history": (0.6, 40.0),
    "neurohorizon": (0.8, 60.0),
    "oracle": (1.0, np.inf),
    "ar_glm": (0.5, 40.0),
    "ridge_ar": (0.55, 40.0),
    "reduced_rank": (0.58, 40.0),
    "own_history_readout": (0.7, 50.0),
    "neurohorizon_autoregressive": (0.75, 50.0),
    "neurohorizon_blockwise": (0.77, 50.0),
    "neurohorizon_coarse_to_fine": (0.76, 50.0),
    "history_glm": (0.6, 40.0),
    "coupled_glm": (0.75, 50.0),
    "learned_embedding": (0.9, 60.0),
    "shuffled_identity": (0.5, 40.0),
    "mean_identity": (0.6, 40.0),
}
_OF_ANY_OTHER = (0.3, 30.0)
EVERY_METHOD = {  # method: (class, share, half-life)
    name: (METHODS[name].kind, *_SHARES.get(name, _OF_ANY_OTHER))
    for name in (*_SHARES, *(METHODS.keys() - _SHARES.keys()))
}
KNOWLEDGE = {name: EVERY_METHOD[name] for name in list(_SHARES)[:7]}
"""The first seven methods, in the same form."""


@dataclass(frozen=True)
class MadeSession:
    """True rates and counts of a simulated session.

    Attributes:
        name: Session id.
        subject: Animal.
        lab: Lab.
        log_rate: True natural log of expected spikes per bin, [bin, unit].
        counts: Observed spikes, [bin, unit].
        reference_log_rate: Natural log of the true mean rate, [unit].
        starts: First target bin of each window, [window].
    """

    name: str
    subject: str
    lab: str
    log_rate: np.ndarray
    counts: np.ndarray
    reference_log_rate: np.ndarray
    starts: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """Bins of each window's horizon, [window, horizon_bin]."""
        return self.starts[:, None] + np.arange(HORIZON_BINS)


def make_session(number: int, *, units: int = 18, bins: int = 4000) -> MadeSession:
    """Simulate one session; two sessions per animal, three animals per lab. Unit 0 is silent, unit 1 fires once."""
    rng = np.random.default_rng([7, number])
    latents = np.zeros((bins, 3))
    for step in range(1, bins):
        latents[step] = 0.98 * latents[step - 1] + rng.normal(0, 0.2, 3)
    base = np.log(rng.gamma(2.0, 4.0, units) * BIN_US / 1e6 + 1e-3)
    modulation = latents @ rng.normal(0, 0.45, (3, units))
    log_rate = base + modulation - np.log(np.exp(modulation).mean(axis=0))
    counts = rng.poisson(np.exp(log_rate))
    counts[:, :2] = 0
    counts[FIRST_TEST_BIN + 200, 1] = 1
    log_rate[:, 0] = -np.inf
    log_rate[:, 1] = base[1] = base[0] = np.log(1 / bins)
    animal = number // 2
    return MadeSession(
        name=f"animal-{animal}_2024-01-{1 + number % 2:02d}",
        subject=f"animal-{animal}",
        lab=f"lab-{animal // 3}",
        log_rate=log_rate,
        counts=counts,
        reference_log_rate=base,
        starts=np.arange(FIRST_TEST_BIN, bins - HORIZON_BINS, 25),
    )


def plain_forecast(method: str, log_rate: np.ndarray, *, seed: int | None = None, **windows: np.ndarray) -> Forecast:
    """Return log rates of one session, [window, horizon bin, unit], as the zero-shot forecast of a method.

    Args:
        windows: ``start_us``, ``counts`` and ``target_mask``.
    """
    units = log_rate.shape[2]
    return Forecast(
        session="s",
        subject="m",
        lab="",
        source="nwb",
        fold="main",
        method=method,
        method_class="zero_shot",
        bin_us=BIN_US,
        seed=seed,
        unit_id=np.array([f"u{unit}" for unit in range(units)]),
        region=np.full(units, "CA1"),
        log_rate=log_rate,
        reference_log_rate=np.zeros(units),
        **windows,
    )


def forecast_of(made: MadeSession, method: str, *, seed: int | None = None, fold: str = "fold-0") -> Forecast:
    """Forecast from the method's share of the truth, which decays over the horizon; a seed adds a little noise."""
    kind, share, half_life = EVERY_METHOD[method]
    trust = share * 0.5 ** (np.arange(HORIZON_BINS) / half_life)
    with np.errstate(invalid="ignore"):
        modulation = made.log_rate[made.targets] - made.reference_log_rate
    if share < 1:
        modulation[..., 0] = 0.0  # only the oracle uses that unit 0 never fires
        log_rate = made.reference_log_rate + trust[None, :, None] * modulation
    else:
        log_rate = made.log_rate[made.targets]
    if seed is not None:
        log_rate = log_rate + np.random.default_rng(seed).normal(0, 0.05, log_rate.shape)
    mask = np.ones(made.targets.shape, bool)
    mask[3, 40:] = False
    counts = np.where(mask[..., None], made.counts[made.targets], 0)
    units = made.counts.shape[1]
    return Forecast(
        session=made.name,
        subject=made.subject,
        lab=made.lab,
        source="ibl",
        fold=fold,
        method=method,
        method_class=kind,
        seed=seed,
        code="0" * 8,
        bin_us=BIN_US,
        unit_id=np.array([f"unit-{unit:03d}" for unit in range(units)]),
        region=np.array(["VISp", "CA1", "LP"])[np.arange(units) % 3],
        start_us=made.starts * BIN_US,
        target_mask=mask,
        counts=counts.astype(np.uint8),
        log_rate=log_rate.astype(np.float32),
        reference_log_rate=made.reference_log_rate,
    )


def write_made_session(path: Path, made: MadeSession) -> None:
    """Write the session file of the forecasts, with spikes spread inside their bins."""
    rng = np.random.default_rng(0)
    bins, units = np.nonzero(made.counts)
    repeats = made.counts[bins, units]
    times_us = np.repeat(bins, repeats) * BIN_US + rng.integers(0, BIN_US, repeats.sum())
    order = np.argsort(times_us, kind="stable")

    def span(first: int, last: int) -> Intervals:
        return Intervals(np.array([first * BIN_US]), np.array([last * BIN_US]))

    last, half = len(made.counts), FIRST_TEST_BIN - 100
    parts = Splits(
        reference=span(0, half),
        test=span(FIRST_TEST_BIN, last),
        train=span(0, half),
        validation=span(half + 100, last),
    )
    forecast = forecast_of(made, "reference_mean")
    write_session(
        path,
        Session(
            session_id=made.name,
            source="ibl",
            subject=made.subject,
            lab=made.lab,
            date=made.name[-10:],
            spike_times_us=times_us[order],
            spike_unit=np.repeat(units, repeats)[order],
            units={"id": forecast.unit_id, "region": forecast.region},
            domain=span(0, last),
            splits=parts,
        ),
    )


def write_run(
    folder: Path,
    *,
    sessions: int,
    methods: tuple[str, ...] = tuple(KNOWLEDGE),
    seeds: tuple[int, ...] = (0,),
    left_out: int = 0,
) -> list[Path]:
    """Write forecasts and score files of a simulated run; return the score files, those of excluded sessions last."""
    paths = []
    for number in range(sessions + left_out):
        made = make_session(number)
        forecasts = []
        for method in methods:
            for seed in seeds if method in ("neurohorizon", "own_history") else (None,):
                forecast = forecast_of(made, method, seed=seed)
                if number >= sessions:
                    names = (
                        "session",
                        "subject",
                        "lab",
                        "source",
                        "fold",
                        "method",
                        "method_class",
                        "bin_us",
                        "seed",
                    )
                    kept = {name: getattr(forecast, name) for name in names}
                    forecast = Forecast(**kept, left_out="no spikes in the reference window")
                path = folder / "forecasts" / made.name / f"{method}{'' if seed is None else f'_seed-{seed}'}.h5"
                write_forecast(path, forecast)
                forecasts.append(path)
        paths.append(folder / "scores" / f"{made.name}.parquet")
        score_session(forecasts=forecasts, output=paths[-1])
    return paths


def expected_bits_per_spike(made: MadeSession, method: str) -> float:
    """Compute the expected gain relative to the reference null per expected spike, only from the true rates."""
    forecast = forecast_of(made, method)
    true = np.exp(made.log_rate[made.targets])
    true[..., 1] = 0.0  # its one spike was set by hand
    gap = forecast.log_rate.astype(float) - made.reference_log_rate
    gap[..., 0] = np.where(np.isinf(gap[..., 0]), 0.0, gap[..., 0])
    gain = true * gap - np.exp(forecast.log_rate.astype(float)) + np.exp(made.reference_log_rate)
    valid = forecast.target_mask
    return float(gain[valid].sum() / true[valid].sum() / np.log(2))
