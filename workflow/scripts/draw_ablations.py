"""Draw one figure of the ablations; the suffixes of the outputs decide the formats."""

import argparse
from pathlib import Path

import pandas as pd

from neurohorizon.evaluation.ablations_figures import draw_forest, draw_horizons
from neurohorizon.evaluation.style import save_figure

FIGURES = {"forest": draw_forest, "horizons": draw_horizons}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("figure", choices=FIGURES)
parser.add_argument("--tables", type=Path, nargs="+", required=True, help="Parquet tables, by their names")
parser.add_argument("--output", type=Path, nargs="+", required=True, help=".svg, .pdf or .png")
arguments = parser.parse_args()

tables = {path.stem: pd.read_parquet(path) for path in arguments.tables}
save_figure(FIGURES[arguments.figure](**tables), arguments.output)
