"""Inputs of a session for one use of its time, read from its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from neurohorizon.config import Features, Readout, Timeline
from neurohorizon.inputs.batches import SessionInputs
from neurohorizon.inputs.windows import Spikes
from neurohorizon.session import Session, SpikeReader, read_identity, read_splits
from neurohorizon.timeline import Intervals, to_s
from neurohorizon.units.counts import reference_counts
from neurohorizon.units.population_readout import PopulationReadout, fit_readout, read_readout, zero_readout
from neurohorizon.units.reference import read_reference, reference_features

Use = Literal["early", "late", "validation", "test"]


@dataclass(frozen=True)
class SessionPaths:
    """Files of one session.

    Attributes:
        session: Spikes, units and valid time.
        features: Reference features.
        readout: Closed-form readouts; None for a model without readouts.
    """

    session: Path
    features: Path
    readout: Path | None = None


def load_inputs(
    paths: SessionPaths, use: Use, *, groups: Sequence[str], readout: Readout | None
) -> SessionInputs | None:
    """Load a session for one use, whose targets never overlap its reference window.

    ``early`` and ``late`` are the two halves of a training session's training part: each is the reference window
    of targets in the other half. The reference window of ``validation`` is the whole training part, and its targets
    come after it. The reference window of ``test`` is that of a held-out session, and its targets come after it.

    Args:
        groups: Groups of reference features to load.
        readout: Shape of the zero readout, for a session without a readout file; None: no readout, for a
            network that does not read one.

    Returns:
        The inputs; None for an excluded session.
    """
    identity = read_identity(paths.session)
    if identity["left_out"]:
        return None
    window = read_reference(paths.features, use)
    columns = [index for index, group in enumerate(window.groups) if group in groups]
    return SessionInputs(
        session_id=identity["session"],
        spikes=SpikeReader(paths.session),
        part=_target_part(paths, use),
        features=np.ascontiguousarray(window.values[:, columns]),
        reference_log_rate=window.reference_log_rate.astype(np.float32),
        readout=_readout(paths, use, window.reference_log_rate, readout),
    )


def known_by(
    session: Session,
    reference: Intervals,
    targets: Intervals,
    *,
    timeline: Timeline,
    features: Features,
    readout: Readout,
) -> SessionInputs:
    """Compute the inputs of a session in memory; they equal the result of :func:`load_inputs` on its files.

    Args:
        reference: The reference window of its units.
        targets: The part in which windows lie.
        features: Groups of reference features, and their settings.

    Raises:
        SessionError: The reference window is too short.
    """
    bin_us = timeline.bin_ms * 1000
    times_us, unit, n_units = session.spike_times_us, session.spike_unit, session.n_units
    known = reference_features(times_us, unit, n_units, reference, bin_us=bin_us, features=features)
    counts, segment = reference_counts(times_us, unit, n_units=n_units, intervals=reference, bin_us=bin_us)
    return SessionInputs(
        session_id=session.session_id,
        spikes=Spikes(to_s(times_us), unit, n_units),
        part=targets,
        features=known.values,
        reference_log_rate=known.reference_log_rate.astype(np.float32),
        readout=fit_readout(counts, segment, known.reference_log_rate, readout),
    )


def feature_columns(features: Path, groups: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the features in some groups, in the order that models use."""
    window = read_reference(features, "test")
    return tuple(name for name, group in zip(window.names, window.groups, strict=True) if group in groups)


def _readout(paths: SessionPaths, use: Use, log_rate: np.ndarray, readout: Readout | None) -> PopulationReadout | None:
    if paths.readout is not None:
        return read_readout(paths.readout, use)
    return zero_readout(log_rate, readout) if readout else None


def _target_part(paths: SessionPaths, use: Use) -> Intervals:
    if use in ("validation", "test"):
        return getattr(read_splits(paths.session), use)
    return read_reference(paths.features, {"early": "late", "late": "early"}[use]).intervals
