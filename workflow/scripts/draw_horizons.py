"""Draw one figure of the experiment on horizons; the suffixes of the outputs decide the formats."""

import argparse
from pathlib import Path

import pandas as pd

from neurohorizon.evaluation.horizons_figures import (
    draw_calibration,
    draw_curves,
    draw_horizons,
    draw_main,
    draw_teacher_forced,
)
from neurohorizon.evaluation.style import save_figure

FIGURES = {
    "main": draw_main,
    "curves": draw_curves,
    "horizons": draw_horizons,
    "teacher_forced": draw_teacher_forced,
    "calibration": draw_calibration,
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("figure", choices=FIGURES)
parser.add_argument("--tables", type=Path, nargs="+", required=True, help="Parquet tables, by their names")
parser.add_argument("--output", type=Path, nargs="+", required=True, help=".svg, .pdf or .png")
arguments = parser.parse_args()

tables = {path.stem: pd.read_parquet(path) for path in arguments.tables}
save_figure(FIGURES[arguments.figure](**tables), arguments.output)
