"""Draw one figure of experiment 1; the suffixes of the outputs decide the formats."""

from neurohorizon.analysis.drawing import draw_from_command_line
from neurohorizon.experiments.cross_session.figures import draw_example, draw_horizon, draw_main, draw_paired
from neurohorizon.forecasts.example import read_example

FIGURES = {"paired": draw_paired, "horizon": draw_horizon, "example": draw_example, "main": draw_main}

draw_from_command_line(__doc__, FIGURES, readers={".h5": read_example})
