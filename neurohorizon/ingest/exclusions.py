"""Excludes units of a session that the configuration excludes, and records each with its reason."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from neurohorizon.config import Exclusions
from neurohorizon.ingest.findings import list_names
from neurohorizon.ingest.session_checks import mean_rates_hz
from neurohorizon.ingest.unit_checks import propose_exclusions
from neurohorizon.session import Session, SessionError

_SHOWN_IDS = 30


def exclude_units(session: Session, exclusions: Exclusions) -> Session:
    """Return a session without the units that the configuration excludes.

    The provenance ``excluded_units`` is a JSON object of each excluded id and the reason; ``repairs`` has their number.
    Valid time does not change.

    Args:
        session: The session as read.
        exclusions: Units of this session, the largest mean rate, and whether proposed units are excluded.

    Raises:
        SessionError: A listed unit does not exist, or no unit is left.
    """
    ids, rate_hz = session.units["id"], mean_rates_hz(session)
    own_hz = dict(zip(ids.tolist(), rate_hz.tolist(), strict=True))
    if absent := [one for one in exclusions.units if one not in own_hz]:
        raise SessionError(
            f"{session.session_id} has no unit {list_names(absent)}, which cohort.exclude_units lists; its units are "
            f"{list_names(ids.tolist(), _SHOWN_IDS)}"
        )
    reasons = {one: [f"listed in cohort.exclude_units ({own_hz[one]:.1f} Hz)"] for one in exclusions.units}
    most_hz = exclusions.maximum_rate_hz
    for row in np.flatnonzero(rate_hz > most_hz) if most_hz is not None else ():
        reasons.setdefault(str(ids[row]), []).append(f"{rate_hz[row]:.1f} Hz, above cohort.maximum_rate_hz")
    for one in propose_exclusions(session) if exclusions.proposed else ():
        reasons.setdefault(one.unit, []).append(f"{one.reason}: {one.detail}")
    if not reasons:
        return session
    if all(one in reasons for one in ids.tolist()):
        raise SessionError(
            f"{session.session_id}: all {len(ids)} units are excluded by cohort.exclude_units, maximum_rate_hz or "
            "exclude_proposed; keep some, or leave the session out"
        )
    return without_units(session, {name: "; ".join(found) for name, found in reasons.items()})


def without_units(session: Session, reasons: Mapping[str, str]) -> Session:
    """Return a session without some units.

    Args:
        session: The session.
        reasons: Reason for each excluded unit, by its id.

    Raises:
        SessionError: No unit is left.
    """
    ids = session.units["id"]
    kept = np.array([one not in reasons for one in ids.tolist()])
    if not kept.any():
        raise SessionError(f"{session.session_id}: all {len(ids)} units are excluded; keep some")
    fires = kept[session.spike_unit]
    listed = {name: reasons[name] for name in ids.tolist() if name in reasons}
    return replace(
        session,
        spike_times_us=session.spike_times_us[fires],
        spike_unit=(np.cumsum(kept) - 1)[session.spike_unit[fires]],
        units={name: values[kept] for name, values in session.units.items()},
        provenance={**session.provenance, "excluded_units": json.dumps(listed, ensure_ascii=False)},
        repairs={**session.repairs, "excluded_units": len(listed)},
    )
