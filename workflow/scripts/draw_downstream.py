"""Draw a figure of downstream decoding; the suffixes of the outputs decide the formats."""

import argparse
from pathlib import Path

import pandas as pd

from neurohorizon.evaluation.downstream_figures import draw_scores, draw_sessions
from neurohorizon.evaluation.style import save_figure

FIGURES = {"scores": draw_scores, "sessions": draw_sessions}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("figure", choices=sorted(FIGURES))
parser.add_argument("--tables", type=Path, nargs="+", required=True, help="Parquet tables, by their names")
parser.add_argument("--output", type=Path, nargs="+", required=True, help=".svg, .pdf or .png")
arguments = parser.parse_args()

figure = FIGURES[arguments.figure](**{path.stem: pd.read_parquet(path) for path in arguments.tables})
save_figure(figure, arguments.output)
