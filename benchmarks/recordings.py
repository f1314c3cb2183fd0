"""Simulated recordings of the size of real ones: session files, reference features and readouts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from factories.sessions import made_session, made_spikes

from neurohorizon.config import Config, Splits
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.sessions import SessionPaths, load_inputs
from neurohorizon.session import Session, write_session
from neurohorizon.timeline import Intervals, split_domain, to_us
from neurohorizon.units.population_readout import compute_readout_file
from neurohorizon.units.reference import compute_reference_file

CHUNK_S = 60.0
KEPT = 1 / 3
"""Share of the simulated spikes that is kept: rates from 1 to 9 Hz, like those of sorted units."""


def recording(name: str, splits: Splits, *, n_units: int, duration_s: float, seed: int) -> Session:
    """Simulate a session of a realistic size.

    Spikes are at odd microseconds and windows at even ones, so that no spike is exactly on an edge. There, counts of
    methods that use seconds depend on the last binary digit.
    """
    chunks = []
    for chunk in range(int(np.ceil(duration_s / CHUNK_S))):
        start_s = chunk * CHUNK_S
        length_s = min(CHUNK_S, duration_s - start_s)
        times_us, unit = made_spikes(n_units=n_units, duration_s=length_s, seed=1000 * seed + chunk)
        kept = np.random.default_rng((seed, chunk)).random(times_us.size) < KEPT
        inside = kept & (times_us < to_us(length_s) - 2)
        chunks.append((times_us[inside] + to_us(start_s), unit[inside]))
    times_us, unit = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    times_us |= 1
    order = np.lexsort((unit, times_us))
    domain = Intervals(np.array([0]), np.array([int(to_us(duration_s))]))
    like = made_session(name, splits, n_units=n_units, duration_s=40.0)
    return replace(
        like,
        spike_times_us=times_us[order],
        spike_unit=unit[order],
        domain=domain,
        splits=split_domain(domain, splits),
    )


def write_recording(
    folder: Path, config: Config, *, name: str, n_units: int, duration_s: float, seed: int
) -> SessionPaths:
    """Write a recording with its features and readouts by the functions of the workflow."""
    paths = SessionPaths(*(folder / kind / f"{name}.h5" for kind in ("sessions", "features", "readouts")))
    for path in (paths.session, paths.features, paths.readout):
        path.parent.mkdir(parents=True, exist_ok=True)
    session = recording(name, config.splits, n_units=n_units, duration_s=duration_s, seed=seed)
    write_session(paths.session, session)
    compute_reference_file(
        paths.session, paths.features, features=config.features, timeline=config.timeline, splits=config.splits
    )
    compute_readout_file(
        paths.session, paths.features, paths.readout, readout=config.model.readout, timeline=config.timeline
    )
    return paths


def inputs_of(paths: SessionPaths, config: Config) -> SessionInputs:
    """Load a recording for training, with targets in the second half of its training part."""
    return load_inputs(paths, "early", groups=config.features.groups, readout=config.model.readout)
