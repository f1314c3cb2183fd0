"""Draw one figure of the curves of experiment 1; the suffixes of the outputs decide the formats."""

import argparse
from pathlib import Path

import pandas as pd

from neurohorizon.evaluation.cross_session_figures import (
    draw_elapsed,
    draw_matched_regions,
    draw_population,
    draw_reference_length,
)
from neurohorizon.evaluation.style import save_figure

FIGURES = {
    "reference_length": draw_reference_length,
    "population": draw_population,
    "elapsed": draw_elapsed,
    "matched_regions": draw_matched_regions,
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("figure", choices=FIGURES)
parser.add_argument("--tables", type=Path, nargs="+", required=True, help="Parquet tables, by their names")
parser.add_argument("--output", type=Path, nargs="+", required=True, help=".svg, .pdf or .png")
arguments = parser.parse_args()

tables = {path.stem: pd.read_parquet(path) for path in arguments.tables}
save_figure(FIGURES[arguments.figure](**tables), arguments.output)
