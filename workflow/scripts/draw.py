"""Draw a figure with the function that the first argument names, as module:name."""

import sys
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

from neurohorizon.analysis.drawing import draw_files
from workflow.command import run

draw = resolve_name(sys.argv.pop(1))


def draw_figure(tables: Sequence[Path], output: Sequence[Path]) -> None:
    """Draw one figure from the files of its tables; the suffixes of the outputs decide the formats."""
    draw_files(draw, tables, output)


run(draw_figure)
