"""Parts that the tables of all experiments share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from neurohorizon.files import replacing
from neurohorizon.forecasts.scoring import OF_SESSION, left_out_reason
from neurohorizon.methods import CLASS_ORDER, METHOD_ORDER

PRIMARY_NULL = "reference"
ALL_SOURCES = "all"
"""In the summary, rows over all sessions, whatever their source."""

SESSION = list(OF_SESSION)
"""Columns that name a session."""
METHOD = ["method", "class"]
"""Columns that name a method."""


class TableError(ValueError):
    """Score tables from which no table can be made: says why."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Attributes:
        draws: Bootstrap draws.
        interval: Nominal coverage, such as 0.95.
        seed: Seed of the draws. Every estimate starts from it anew, so that a number does not
            depend on which other methods were run.
    """

    draws: int
    interval: float
    seed: int

    def rng(self) -> np.random.Generator:
        """A fresh generator for one estimate."""
        return np.random.default_rng(self.seed)

    @property
    def options(self) -> dict[str, float]:
        """Keyword arguments of the functions in :mod:`neurohorizon.analysis.statistics`."""
        return {"draws": self.draws, "interval": self.interval}


def left_out_table(scores: Iterable[str | Path], sessions: str | Path | None = None) -> pd.DataFrame:
    """Sessions that could not be used, with the reason.

    Args:
        scores: Score files; those of left-out sessions have no rows and name the reason.
        sessions: The list of sessions (Parquet), which also tells of training sessions; their fold is "".
    """
    rows = [row for row in map(left_out_reason, scores) if row is not None]
    scored = {row["session"] for row in rows}
    described = [] if sessions is None else pd.read_parquet(sessions).assign(fold="").to_dict("records")
    rows += [row for row in described if row["left_out"] and row["session"] not in scored]
    table = pd.DataFrame(rows, columns=[*SESSION, "left_out"]).rename(columns={"left_out": "reason"})
    return table.sort_values(["fold", "session"], ignore_index=True)


def over_all_sources(summary: pd.DataFrame) -> pd.DataFrame:
    """Rows of the summary that are over all sessions."""
    return summary[summary["source"] == ALL_SOURCES]


def claim(summary: pd.DataFrame) -> str:
    """What the held-out sessions stand for, in a sentence."""
    shared = summary["shared_subjects"].iloc[0]
    if not shared:
        return "No animal that was forecast was trained on."
    return f"Other recordings of {shared} were trained on: the claim is unseen recordings, not unseen animals."


def counted(number: int, noun: str) -> str:
    """Number and noun, such as ``1 session`` and ``2 sessions``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as a sentence lists them, such as ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def horizon_ends_ms(horizons_ms: Iterable[float], whole_ms: float) -> list[float]:
    """Ends of the parts of the horizon that a run can tell apart: those within the whole of it, and that one itself."""
    return [*(float(end) for end in sorted(horizons_ms) if end < whole_ms), float(whole_ms)]


def horizon_parts(horizons_ms: Iterable[float], whole_ms: float) -> list[tuple[float, float]]:
    """Parts of the horizon, each from the end of the one before, milliseconds; the last is all of it."""
    parts = list(pairwise([0.0, *horizon_ends_ms(horizons_ms, whole_ms)]))
    return parts if len(parts) == 1 else [*parts, (0.0, float(whole_ms))]


def format_interval(lower: float, upper: float) -> str:
    """Bounds as text; there are none with fewer than two animals or with a score of minus infinity."""
    return "none" if np.isnan(lower) or np.isnan(upper) else f"[{lower:+.4f}, {upper:+.4f}]"


def animal_names(table: pd.DataFrame) -> np.ndarray:
    """Animal of each row, str [row]: a lab and a name."""
    # two labs may use the same name for different animals
    return (table["lab"].astype(str) + "/" + table["subject"].astype(str)).to_numpy(dtype=str)


def method_order(table: pd.DataFrame) -> list[str]:
    """Methods of a table in the order of all tables: by class, then as :data:`METHOD_ORDER` has them, then by name."""
    present = table[METHOD].drop_duplicates()

    def rank(row: tuple[str, str]) -> tuple[int, int, str]:
        name, kind = row
        known = METHOD_ORDER.index(name) if name in METHOD_ORDER else len(METHOD_ORDER)
        return CLASS_ORDER.index(kind), known, name

    return [name for name, _ in sorted(present.itertuples(index=False, name=None), key=rank)]


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines of text, the first underlined."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]


def write_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write a table as Parquet and as TSV."""
    with replacing(folder / f"{name}.parquet") as path:
        table.to_parquet(path, index=False)
    with replacing(folder / f"{name}.tsv") as path:
        # 10 digits carry every score and hide the last bits that depend on the order of additions
        table.to_csv(path, sep="\t", index=False, float_format="%.10g", na_rep="")
