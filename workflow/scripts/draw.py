"""Draw a figure with the function that the first argument names, as module:name."""

from collections.abc import Sequence
from pathlib import Path

from neurohorizon.analysis.drawing import draw_files
from workflow.command import named_function, run

draw = named_function()


def draw_figure(tables: Sequence[Path], output: Sequence[Path]) -> None:
    """Draw one figure from the files of its tables; the suffixes of the outputs decide the formats."""
    draw_files(draw, tables, output)


run(draw_figure)
