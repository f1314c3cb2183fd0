"""A small simulated IBL release, and rows of its sessions in a cohort table."""

from neurohorizon.cohort import Row
from neurohorizon.config import SimulatedSource, Splits, Timeline
from neurohorizon.ingest.simulated.ibl import SimulatedSession

SPLITS = Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.2, gap_s=2.0)
TIMELINE = Timeline(bin_ms=20, context_bins=50, horizon_bins=50, evaluation_stride_bins=25)
SIMULATED = SimulatedSource(
    labs=3,
    animals_per_lab=1,
    sessions_per_animal=1,
    units=(15, 25),
    duration_s=60.0,
    latents=3,
    drift=0.1,
    silent_units=1,
)


def row_of(session: SimulatedSession, **extras: str) -> Row:
    """Return the row of a session that is trained on."""
    return Row(
        session=session.session,
        source="ibl",
        subject=session.subject,
        lab=session.lab,
        date=session.date,
        role="train",
        fold="",
        why="",
        extras=extras,
    )
