"""The tuning table: candidate settings of every baseline, their scores on training sessions, and the chosen ones."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from neurohorizon.files import replacing

COLUMNS = ("fold", "method", "settings", "bits_per_spike", "chosen")


def make_tables(*, tuned: Sequence[Path], folder: Path) -> None:
    """Write ``tuning.parquet`` and ``tuning.tsv``, one row for each fold, method and candidate.

    Scores are bits per spike relative to the reference mean, pooled over units and training sessions; they only choose
    settings. They do not compare methods: some are scored on the validation part and some on the second half of the
    training part, as documented in the modules that tune them.

    Args:
        tuned: Files of settings, in the folder of their fold.
    """
    table = pd.DataFrame([row for path in tuned for row in _rows(path)], columns=list(COLUMNS))
    table = table.sort_values(["fold", "method"], kind="stable")
    with replacing(folder / "tuning.parquet") as path:
        table.to_parquet(path, index=False)
    with replacing(folder / "tuning.tsv") as path:
        table.to_csv(path, sep="\t", index=False, float_format="%.5f")


def _rows(path: Path) -> list[dict[str, object]]:
    rows = []
    for method, found in json.loads(path.read_text()).items():
        for candidate in found["tried"]:
            settings = {key: value for key, value in candidate.items() if key != "bits_per_spike"}
            rows.append(
                {
                    "fold": path.parent.name,
                    "method": method,
                    "settings": ", ".join(f"{key}={_plain(value)}" for key, value in settings.items()),
                    "bits_per_spike": candidate["bits_per_spike"],
                    "chosen": settings == found["settings"],
                }
            )
    return rows


def _plain(value: float | bool) -> str:
    return str(value) if isinstance(value, bool) else f"{value:g}"
