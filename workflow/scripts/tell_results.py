"""Collect what all experiments of a run say: for the paper, the notebook of results and the report's first page."""

import argparse
from pathlib import Path

from neurohorizon.report.results import write_overview, write_results

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--run", type=Path, required=True, help="folder of the run")
parser.add_argument("--names", nargs="+", required=True, help="experiments, in the order of figures and captions")
parser.add_argument("--figures", type=Path, nargs="+", required=True, help="SVG, with a PNG beside it")
parser.add_argument("--captions", type=Path, nargs="+", required=True, help="captions of the report")
parser.add_argument("--cards", type=Path, nargs="+", required=True, help="cards of the trained networks")
parser.add_argument("--output", type=Path, required=True, help="results, JSON")
parser.add_argument("--overview", type=Path, required=True, help="first page, HTML")
arguments = parser.parse_args()

write_results(
    arguments.run,
    figures=dict(zip(arguments.names, arguments.figures, strict=True)),
    captions=dict(zip(arguments.names, arguments.captions, strict=True)),
    cards=arguments.cards,
    output=arguments.output,
)
write_overview(arguments.output, arguments.overview)
