"""Checks of one recording that has no behaviour and no configuration, as the command line and Python read it."""

from neurohorizon.config import Splits, Timeline
from neurohorizon.ingest.findings import Finding
from neurohorizon.ingest.session_checks import Settings, long_valid_time, partial_probes, rates, silences
from neurohorizon.session import Session

CHECKS = (rates, long_valid_time, silences, partial_probes)
"""Checks of the workflow that apply; none of them uses its settings."""
_ELSEWHERE = {"implausible_rate"}  # such units are among the proposals
_SETTINGS = Settings(
    Timeline(bin_ms=20, context_bins=50, horizon_bins=50, evaluation_stride_bins=50),
    Splits(reference_fraction=0.5, reference_maximum_s=None, validation_fraction=0.1, gap_s=2.0),
)


def check_recording(session: Session) -> list[Finding]:
    """Return what is unusual about a recording; with a fatal finding it cannot be forecast."""
    found = [one for check in CHECKS for one in check(session, _SETTINGS)]
    return [one for one in found if one.code not in _ELSEWHERE]
