"""Draw one figure from its tables; the suffixes of the outputs decide the formats."""

import argparse
from pathlib import Path

import pandas as pd

from neurohorizon.evaluation.example import read_example
from neurohorizon.evaluation.figures import draw_example, draw_horizon, draw_main, draw_paired
from neurohorizon.evaluation.style import save_figure

FIGURES = {
    "paired": (draw_paired, {"sessions": pd.read_parquet, "summary": pd.read_parquet}),
    "horizon": (draw_horizon, {"horizon": pd.read_parquet}),
    "example": (draw_example, {"example": read_example}),
    "main": (
        draw_main,
        {
            "example": read_example,
            "horizon": pd.read_parquet,
            "sessions": pd.read_parquet,
            "summary": pd.read_parquet,
        },
    ),
}

parser = argparse.ArgumentParser(description=__doc__)
figures = parser.add_subparsers(dest="figure", required=True)
for name, (_, tables) in FIGURES.items():
    figure = figures.add_parser(name)
    for table in tables:
        figure.add_argument(f"--{table}", type=Path, required=True)
    figure.add_argument("--output", type=Path, nargs="+", required=True, help=".svg, .pdf or .png")
arguments = parser.parse_args()

draw, tables = FIGURES[arguments.figure]
read = {name: reader(getattr(arguments, name)) for name, reader in tables.items()}
save_figure(draw(**read), arguments.output)
