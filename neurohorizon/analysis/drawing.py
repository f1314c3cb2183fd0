"""The command of every script that draws a figure from tables."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from neurohorizon.analysis.style import save_figure


def draw_from_command_line(
    what: str,
    figures: Mapping[str, Callable[..., Figure]],
    *,
    readers: Mapping[str, Callable[[Path], object]] | None = None,
) -> None:
    """Draw the figure that the command line names, from the tables that it names.

    Args:
        what: What the command does, for its help.
        figures: Name of each figure -> the function that draws it, which takes its tables by their names.
        readers: Suffix of a table -> what reads it, beside Parquet.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("figure", choices=figures)
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="its tables, by their names")
    parser.add_argument("--output", type=Path, nargs="+", required=True, help=".svg, .pdf or .png")
    arguments = parser.parse_args()
    read = {".parquet": pd.read_parquet} | dict(readers or {})
    tables = {path.stem: read[path.suffix](path) for path in arguments.tables}
    save_figure(figures[arguments.figure](**tables), arguments.output)
