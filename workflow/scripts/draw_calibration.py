"""Draw one figure of calibration; the suffixes of the outputs decide the formats."""

import argparse
from pathlib import Path

import pandas as pd

from neurohorizon.evaluation.calibration_figures import draw_calibration, draw_paths
from neurohorizon.evaluation.paths_example import read_paths_example
from neurohorizon.evaluation.style import save_figure

FIGURES = {"calibration": draw_calibration, "paths": draw_paths}
READERS = {".parquet": pd.read_parquet, ".h5": read_paths_example}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("figure", choices=FIGURES)
parser.add_argument("--tables", type=Path, nargs="+", required=True, help="its tables, by their names")
parser.add_argument("--output", type=Path, nargs="+", required=True, help=".svg, .pdf or .png")
arguments = parser.parse_args()

tables = {path.stem: READERS[path.suffix](path) for path in arguments.tables}
save_figure(FIGURES[arguments.figure](**tables), arguments.output)
