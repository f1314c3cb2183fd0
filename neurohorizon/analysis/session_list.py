"""The sessions of a run: names, roles, amounts of data, and reasons for exclusion."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from neurohorizon.cohort import read_cohort
from neurohorizon.files import replacing
from neurohorizon.session import read_excluded_units, read_identity, read_size

COLUMNS = (
    *("session", "source", "subject", "lab", "role", "fold", "units", "excluded_units", "spikes", "recorded_s"),
    "left_out",
)


def session_list(sessions: Iterable[str | Path], cohort: str | Path) -> pd.DataFrame:
    """Describe every session of a run, so that tables need no session file.

    Args:
        cohort: The cohort's table, which has their roles.

    Returns:
        :data:`COLUMNS`: ``role`` and ``fold`` as in the cohort; ``units`` of all regions;
        ``excluded_units`` are the ids that the configuration excludes, each with the reason, "" if there are none;
        ``spikes``, and ``recorded_s`` of valid time; ``left_out`` is the reason why a session could not be used, "" if
        it could.
    """
    roles = {row.session: {"role": row.role, "fold": row.fold} for row in read_cohort(cohort)}
    rows = []
    for path in map(Path, sessions):
        who = read_identity(path)
        excluded = " | ".join(f"{unit}: {reason}" for unit, reason in read_excluded_units(path).items())
        rows.append(who | roles[who["session"]] | read_size(path) | {"excluded_units": excluded})
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["source", "session"], ignore_index=True)


def write_session_list(sessions: Iterable[str | Path], cohort: str | Path, outputs: Iterable[str | Path]) -> None:
    """Write the list once per path, in the format of its suffix: .parquet or .tsv."""
    table = session_list(sessions, cohort)
    for path in map(Path, outputs):
        with replacing(path) as partial:
            table.to_parquet(partial) if path.suffix == ".parquet" else table.to_csv(partial, sep="\t", index=False)
