"""Parts that the tables of all experiments share: sums, means with intervals, order of rows, files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import Formatter

import numpy as np
import pandas as pd

from neurohorizon.analysis.statistics import Estimate, bootstrap_mean, bootstrap_ratio, compare_paired, holm
from neurohorizon.analysis.wording import format_interval
from neurohorizon.files import replacing
from neurohorizon.forecasts.scoring import OF_SESSION, left_out_reason
from neurohorizon.methods import CLASS_ORDER, METHOD_ORDER, class_word
from neurohorizon.printed_names import CONTROL_CHARACTERS
from neurohorizon.scores import NULLS, bits_per_spike

PRIMARY_NULL = "reference"
ALL_SOURCES = "all"
"""Value of ``source`` in rows of the summary that are over all sessions."""

SESSION = list(OF_SESSION)
"""Columns that name a session."""
METHOD = ["method", "class"]
"""Columns that name a method."""
COMPARED = [
    *("difference", "lower", "upper", "interval", "p", "p_holm", "effect_size"),
    *("sessions", "animals", "sessions_better", "animals_better"),
]
"""Columns of a paired comparison; see :meth:`Resampling.compare`."""

Cell = str | Callable[[Mapping[str, object]], str]


class TableError(ValueError):
    """Score tables from which no table can be made, with the reason."""


@dataclass(frozen=True)
class Resampling:
    """Settings of the bootstrap over animals.

    Attributes:
        draws: Bootstrap draws.
        interval: Nominal coverage, such as 0.95.
        seed: Seed of the draws. Every estimate starts from it, so that a number does not depend on which other methods
            were run.
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

    def mean_row(self, sessions: pd.DataFrame, value: str = "bits_per_spike") -> dict[str, float]:
        """Columns of a mean over sessions: the value, lower, upper, interval, sessions, animals."""
        found = bootstrap_mean(sessions[value].to_numpy(), animal_names(sessions), self.rng(), **self.options)
        bounds = {value: found.value, "lower": found.lower, "upper": found.upper, "interval": self.interval}
        return bounds | {"sessions": found.sessions, "animals": found.animals}

    def mean_bounds(self, name: str, sessions: pd.DataFrame, values: pd.Series | np.ndarray) -> dict[str, float]:
        """Columns of one more mean of a row: its name, and bounds that begin with it; NaN without sessions."""
        found = None
        if len(sessions):
            found = bootstrap_mean(np.asarray(values), animal_names(sessions), self.rng(), **self.options)
        return bounds(name, found)

    def share(self, name: str, sessions: pd.DataFrame, part: pd.Series, whole: pd.Series) -> dict[str, float]:
        """Columns of a ratio of sums over sessions, such as a share of the oracle; NaN if ``whole`` gains nothing."""
        found, sums = None, (np.asarray(part), np.asarray(whole))
        if len(sessions) and sums[1].mean() > 0:
            found = bootstrap_ratio(*sums, animal_names(sessions), self.rng(), **self.options)
        return bounds(name, found)

    def compare(self, wide: pd.DataFrame, method: str, against: str) -> dict[str, float] | None:
        """Compare two methods session by session, from :func:`by_method`; None if no session has both.

        Columns are :data:`COMPARED`, difference first; ``p_holm`` is still missing.
        """
        if not {method, against} <= set(wide):
            return None
        both = wide.dropna(subset=[method, against])
        if both.empty:
            return None
        found = compare_paired(both[method], both[against], animal_names(both), self.rng(), **self.options)
        return found.columns(self.interval)


def bounds(name: str, estimate: Estimate | None) -> dict[str, float]:
    """Columns of an estimate whose bounds begin with its name; NaN without an estimate."""
    found = (np.nan,) * 3 if estimate is None else (estimate.value, estimate.lower, estimate.upper)
    return dict(zip((name, f"{name}_lower", f"{name}_upper"), found, strict=True))


def read_scored(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read files of sums, except those of sessions without a score.

    Raises:
        TableError: No session has a score.
    """
    parts = [pd.read_parquet(path) for path in paths if left_out_reason(path) is None]
    if not parts:
        raise TableError("no session has a score: all sessions were left out, or no file of sums was given")
    return pd.concat(parts, ignore_index=True)


def require_once(table: pd.DataFrame, key: list[str]) -> None:
    """Check that no row comes twice.

    Raises:
        TableError: Two rows have the same key.
    """
    twice = table.duplicated(key)
    if twice.any():
        row = table[twice].iloc[0]
        raise TableError(f"session {row['session']} of fold {row['fold']!r} is in more than one score file")


def end_ms(sums: pd.DataFrame) -> pd.Series:
    """End of each row's horizon bin, milliseconds from the forecast origin: the first 20 ms bin reaches to 20 ms."""
    return (sums["horizon_bin"] + 1) * sums["bin_us"] / 1000


def score(sums: pd.DataFrame, null: str = "reference_nats", model: str = "model_nats") -> np.ndarray:
    """Bits per spike of each row of a table of sums, [row]."""
    nats = {"model_nats": sums[model].to_numpy(), "null_nats": sums[null].to_numpy()}
    return bits_per_spike(**nats, spikes=sums["spikes"].to_numpy())


def over_seeds(scores: pd.DataFrame, key: list[str], **also: tuple[str, str]) -> pd.DataFrame:
    """Average scores of the same key over seeds.

    Columns: the key, ``bits_per_spike``, ``also`` (as in :meth:`pandas.core.groupby.DataFrameGroupBy.agg`), ``seeds``
    and ``seed_sd``, the standard deviation between seeds (NaN with one).
    """
    seeds = {"seeds": ("bits_per_spike", "size"), "seed_sd": ("bits_per_spike", "std")}
    grouped = scores.groupby(key, sort=False, dropna=False)
    return grouped.agg(bits_per_spike=("bits_per_spike", "mean"), **also, **seeds).reset_index()


def by_method(sessions: pd.DataFrame, values: str = "bits_per_spike", column: str = "method") -> pd.DataFrame:
    """Scores of sessions with one column per method: the columns of a session, then the methods."""
    return sessions.pivot(index=SESSION, columns=column, values=values).reset_index()


def grouped_rows(
    table: pd.DataFrame, by: list[str], row: Callable[[pd.DataFrame], Mapping[str, object]]
) -> pd.DataFrame:
    """One row for each group, in order of appearance: its key, and the columns that ``row`` computes from its rows."""
    groups = table.groupby(by, sort=False, dropna=False)
    return pd.DataFrame([dict(zip(by, key, strict=True)) | dict(row(rows)) for key, rows in groups])


def with_holm(table: pd.DataFrame, family: pd.Series | None = None) -> pd.DataFrame:
    """Add ``p_holm``, adjusted over the rows of the declared family (None: all rows) and missing outside of it."""
    inside = np.ones(len(table), bool) if family is None else family.to_numpy(bool)
    if len(table):
        table["p_holm"] = np.nan
        table.loc[inside, "p_holm"] = holm(table.loc[inside, "p"].to_numpy(dtype=float))
    return table


def smallest_adjusted_p(comparisons: pd.DataFrame) -> float:
    """Return the smallest p that a declared comparison can have after Holm's adjustment; NaN without a test."""
    declared = comparisons[comparisons["declared"].astype(bool) & comparisons["p"].notna()]
    return float(min(1.0, len(declared) * 2.0 ** (1 - declared["animals"].max()))) if len(declared) else np.nan


def left_out_table(scores: Iterable[str | Path], sessions: str | Path | None = None) -> pd.DataFrame:
    """Sessions that could not be used, with the reason.

    Args:
        scores: Score files; those of excluded sessions have no rows and name the reason.
        sessions: The list of sessions (Parquet), which also has training sessions; their fold is "".
    """
    rows = [row for row in map(left_out_reason, scores) if row is not None]
    scored = {row["session"] for row in rows}
    described = [] if sessions is None else pd.read_parquet(sessions).assign(fold="").to_dict("records")
    rows += [row for row in described if row["left_out"] and row["session"] not in scored]
    table = pd.DataFrame(rows, columns=[*SESSION, "left_out"]).rename(columns={"left_out": "reason"})
    return table.drop_duplicates().sort_values(["fold", "session"], ignore_index=True)


def over_all_sources(summary: pd.DataFrame) -> pd.DataFrame:
    """Rows of the summary that are over all sessions."""
    return summary[summary["source"] == ALL_SOURCES]


def whole_horizon(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table by horizon that are over all of it."""
    end = "last_ms" if "last_ms" in table else "horizon_ms"
    whole = table[end] == table[end].max()
    return table[whole & (table["first_ms"] == 0)] if "first_ms" in table else table[whole]


def horizon_ends_ms(horizons_ms: Iterable[float], whole_ms: float) -> list[float]:
    """Ends of the parts of the horizon that a run can distinguish: those within the whole horizon, and its own end."""
    return [*(float(end) for end in sorted(horizons_ms) if end < whole_ms), float(whole_ms)]


def horizon_parts(horizons_ms: Iterable[float], whole_ms: float) -> list[tuple[float, float]]:
    """Parts of the horizon, each from the end of the one before, milliseconds; the last is all of it."""
    parts = list(pairwise([0.0, *horizon_ends_ms(horizons_ms, whole_ms)]))
    return parts if len(parts) == 1 else [*parts, (0.0, float(whole_ms))]


def animal_names(table: pd.DataFrame) -> np.ndarray:
    """Animal of each row, str [row]: a lab and a name."""
    # two labs may use the same name for different animals
    return (table["lab"].astype(str) + "/" + table["subject"].astype(str)).to_numpy(dtype=str)


def method_order(table: pd.DataFrame) -> list[str]:
    """Methods of a table in the order of all tables: by class, then as in :data:`METHOD_ORDER`, then by name."""
    present = table[METHOD].drop_duplicates()

    def rank(row: tuple[str, str]) -> tuple[int, int, str]:
        name, kind = row
        known = METHOD_ORDER.index(name) if name in METHOD_ORDER else len(METHOD_ORDER)
        return CLASS_ORDER.index(kind), known, name

    return [name for name, _ in sorted(present.itertuples(index=False, name=None), key=rank)]


def ordered(table: pd.DataFrame, by: Sequence[str], **orders: Sequence) -> pd.DataFrame:
    """Sort rows by columns; methods and nulls are in the order of all tables.

    ``orders`` is the order of the values of a column; other values follow by name.
    """
    if table.empty:
        return table.reset_index(drop=True)
    if "method" not in orders and set(METHOD) <= set(table):
        orders["method"] = method_order(table)
    orders = {"null": NULLS} | orders

    def key(column: pd.Series) -> pd.Series:
        known = orders.get(str(column.name))
        if known is None:
            return column
        others = sorted(set(column.unique()) - set(known))
        return column.map({name: place for place, name in enumerate([*known, *others])})

    return table.sort_values(list(by), key=key, ignore_index=True, kind="stable")


def class_cell(row: Mapping[str, object]) -> str:
    """Class of a method in words."""
    return class_word(row["class"])


def adjusted_p_cell(row: Mapping[str, object]) -> str:
    """Adjusted p of a comparison; "" outside of the declared family."""
    if not row.get("declared", True):
        return ""
    return "none" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.3g}"


def interval_cell(name: str = "") -> Cell:
    """Cell with the bounds of a number; see :func:`neurohorizon.analysis.wording.interval_text`."""
    prefix = f"{name}_" if name else ""
    return lambda row: format_interval(row[f"{prefix}lower"], row[f"{prefix}upper"])


DIFFERENCE = "{method} - {against}"
"""Cell that names a paired comparison."""


def comparison_cells(interval: str, difference: str = "bits/spike", digits: int = 4) -> dict[str, Cell]:
    """Columns of a paired comparison in a text: difference, interval, adjusted p, sessions with a gain."""
    return {
        difference: f"{{difference:+.{digits}f}}",
        interval: interval_cell(),
        "Holm p": adjusted_p_cell,
        "sessions better": "{sessions_better} of {sessions}",
    }


def text_table(table: pd.DataFrame, columns: Mapping[str, Cell]) -> list[str]:
    """Rows of a table as aligned lines of text under a heading, after an empty line; no line without rows.

    Args:
        columns: Heading -> its cell: a format string with names of columns, which is empty where a number is missing,
            or a function of the row.
    """
    if table.empty:
        return []

    def text(cell: Cell, row: Mapping[str, object]) -> str:
        if callable(cell):
            return cell(row)
        named = [row[name] for _, name, _, _ in Formatter().parse(cell) if name]
        return "" if any(isinstance(value, float) and np.isnan(value) for value in named) else cell.format_map(row)

    rows = [
        tuple(CONTROL_CHARACTERS.sub(" ", text(cell, row)) for cell in columns.values())
        for row in table.to_dict("records")
    ]
    return ["", *aligned([tuple(columns), *rows])]


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines of text, the first underlined."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]


def read_tables(folder: str | Path, *names: str) -> dict[str, pd.DataFrame]:
    """Read tables of a folder by name."""
    return {name: pd.read_parquet(Path(folder) / f"{name}.parquet") for name in names}


def write_table(table: pd.DataFrame, folder: str | Path, name: str) -> None:
    """Write a table as Parquet and as TSV."""
    with replacing(Path(folder) / f"{name}.parquet") as path:
        table.to_parquet(path, index=False)
    with replacing(Path(folder) / f"{name}.tsv") as path:
        # 10 digits carry every score and hide the last bits that depend on the order of additions
        table.to_csv(path, sep="\t", index=False, float_format="%.10g", na_rep="")


def write_tables(
    tables: Mapping[str, pd.DataFrame], folder: str | Path, lines: Sequence[str], text: str = "summary.txt"
) -> None:
    """Write every table as Parquet and as TSV, and lines of text for the terminal."""
    for name, table in tables.items():
        write_table(table, folder, name)
    with replacing(Path(folder) / text) as path:
        path.write_text("\n".join(lines).strip("\n") + "\n")
