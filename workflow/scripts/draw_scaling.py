"""Draw one figure of the scaling experiment; the suffixes of the outputs decide the formats."""

import argparse
from pathlib import Path

import pandas as pd

from neurohorizon.evaluation.scaling_figures import draw_curve, draw_horizon, draw_main
from neurohorizon.evaluation.style import save_figure

FIGURES = {"main": draw_main, "curve": draw_curve, "horizon": draw_horizon}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("figure", choices=FIGURES)
parser.add_argument("--tables", type=Path, nargs="+", required=True, help="its tables, by their names")
parser.add_argument("--output", type=Path, nargs="+", required=True, help=".svg, .pdf or .png")
arguments = parser.parse_args()

tables = {path.stem: pd.read_parquet(path) for path in arguments.tables}
save_figure(FIGURES[arguments.figure](**tables), arguments.output)
