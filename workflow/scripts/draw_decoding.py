"""Draw the figure of decoded behaviour; the suffixes of the outputs decide the formats."""

import argparse
from pathlib import Path

import pandas as pd

from neurohorizon.evaluation.decoding_figure import draw_decoding
from neurohorizon.evaluation.style import save_figure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--tables", type=Path, nargs="+", required=True, help="Parquet tables, by their names")
parser.add_argument("--output", type=Path, nargs="+", required=True, help=".svg, .pdf or .png")
arguments = parser.parse_args()

save_figure(draw_decoding(**{path.stem: pd.read_parquet(path) for path in arguments.tables}), arguments.output)
