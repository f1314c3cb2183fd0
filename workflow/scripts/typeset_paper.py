"""Typeset the paper from the results of a run."""

import argparse
from pathlib import Path

from neurohorizon.report.typesetting import typeset

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--paper", type=Path, required=True, help="Typst")
parser.add_argument("--results", type=Path, required=True, help="results, JSON")
parser.add_argument("--output", type=Path, required=True, help="PDF")
arguments = parser.parse_args()

typeset(arguments.paper, results=arguments.results, output=arguments.output)
