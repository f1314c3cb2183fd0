"""Simulated sessions for tests: spikes of known rates, as files, with features and readouts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from factories import ROOT
from neurohorizon.config import Config, Splits, parse_config, read_config
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, load_inputs
from neurohorizon.session import Session, write_session
from neurohorizon.timeline import Intervals, split_domain, to_us
from neurohorizon.units.population_readout import compute_readout_file
from neurohorizon.units.reference import compute_reference_file


def small_config(**sections: dict) -> Config:
    """Return the demo's configuration at a size for tests; sections are updated as given."""
    values = read_config(ROOT / "config" / "demo.yaml").model_dump(mode="json")
    small = {
        "timeline": {"context_bins": 10, "horizon_bins": 6, "evaluation_stride_bins": 6},
        "splits": {"gap_s": 0.5},
        "features": {"population_modes": 3, "coupling_lags_bins": [1, 2]},
        "model": {
            "width": 16,
            "heads": 2,
            "latents_per_window": 4,
            "head_width": 16,
            "history_edges_bins": [1, 3, 10],
            "readout": {
                "modes": 3,
                "span_edges_bins": [2, 10],
                "ridge": [10.0, 100.0, 1000.0],
                "horizon_edges_bins": [2, 6],
                "leverage": 0.0,
            },
        },
        "training": {
            "steps": 20,
            "validate_every_steps": 10,
            "sessions_per_batch": 2,
            "windows_per_session": 8,
            "validation_windows": 8,
            "threads": 1,
            "warmup_steps": 2,
        },
        "baselines": {"trailing_bins": [3, 10], "shrinkage": [0.0, 0.3, 1.0]},
        "regressions": {
            "history_edges_bins": [1, 3, 10],
            "horizon_edges_bins": [2, 6],
            "ridge": [30.0, 300.0, 3000.0],
            "rank": [1, 2],
            "floor": [0.1, 0.5],
            "precision": [10.0, 100.0],
            "modes": 2,
            "mode_edges_bins": [2, 10],
            "windows": 800,
        },
        "rollout": {"paths": 8, "every_windows": 1, "block_bins": 3},
        "adaptive": {"horizon_edges_bins": [2, 6]},
        "downstream": {"span_edges_bins": [2, 10]},
        "evaluation": {"horizons_ms": [60, 120]},
    }
    for name, section in [*small.items(), *sections.items()]:
        values[name] = values[name] | section
    return parse_config(values)


def made_spikes(*, n_units: int, duration_s: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw spikes of units of rising rates that share one slow oscillation, half of them with the opposite sign.

    Returns:
        Times in microseconds, sorted, [spike]; units, [spike].
    """
    rng = np.random.default_rng(seed)
    step_s = 0.01
    time_s = np.arange(0, duration_s, step_s)
    shared = np.sin(2 * np.pi * time_s / 1.3 + seed)
    sign = np.where(np.arange(n_units) % 2, 1.0, -1.0)
    rate = np.linspace(2, 20, n_units) * np.exp(1.2 * shared[:, None] * sign)
    counts = rng.poisson(rate * step_s)
    step, unit = np.nonzero(counts)
    repeat = counts[step, unit]
    step, unit = np.repeat(step, repeat), np.repeat(unit, repeat)
    times_us = to_us(time_s[step]) + rng.integers(0, int(step_s * 1e6), step.size)
    order = np.lexsort((unit, times_us))
    return times_us[order], unit[order].astype(np.uint16)


def made_session(
    name: str,
    splits: Splits,
    *,
    n_units: int = 8,
    duration_s: float = 80.0,
    seed: int = 0,
    domain: Intervals | None = None,
) -> Session:
    """Simulate a session; spikes outside of the domain are dropped."""
    domain = domain or Intervals(to_us(np.array([0.0])), to_us(np.array([duration_s])))
    times_us, unit = made_spikes(n_units=n_units, duration_s=duration_s, seed=seed)
    inside = domain.contains(times_us)
    return Session(
        session_id=name,
        source="nwb",
        subject=f"animal-{name}",
        lab="made",
        date="2020-01-01",
        spike_times_us=times_us[inside],
        spike_unit=unit[inside],
        units={
            "id": np.array([f"{name}-{index}" for index in range(n_units)], object),
            "region": np.array(["CA1"] * n_units, object),
        },
        domain=domain,
        splits=split_domain(domain, splits),
        behaviour={},
        trials={},
        provenance={},
        left_out=None,
    )


@dataclass(frozen=True)
class MadeFiles:
    """A simulated session and its files."""

    session: Session
    paths: SessionPaths


def made_files(folder: Path, session: Session, config: Config) -> MadeFiles:
    """Write a session with its features and its readouts."""
    paths = SessionPaths(*(folder / kind / f"{session.session_id}.h5" for kind in ("sessions", "features", "readouts")))
    paths.session.parent.mkdir(parents=True, exist_ok=True)
    write_session(paths.session, session)
    compute_reference_file(
        paths.session, paths.features, features=config.features, timeline=config.timeline, splits=config.splits
    )
    compute_readout_file(
        paths.session, paths.features, paths.readout, readout=config.model.readout, timeline=config.timeline
    )
    return MadeFiles(session, paths)


def made_inputs(folder: Path, config: Config) -> list[SessionInputs]:
    """Simulate two sessions, of five and of seven units, and load them for forecasts."""
    made = [
        made_files(folder, made_session(f"s{index}", config.splits, n_units=5 + 2 * index, seed=index), config)
        for index in range(2)
    ]
    return [load_inputs(one.paths, "test", groups=config.features.groups, readout=config.model.readout) for one in made]
