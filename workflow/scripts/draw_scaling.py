"""Draw one figure of the scaling experiment; the suffixes of the outputs decide the formats."""

from neurohorizon.analysis.drawing import draw_from_command_line
from neurohorizon.experiments.scaling.figures import draw_curve, draw_horizon, draw_main

FIGURES = {"main": draw_main, "curve": draw_curve, "horizon": draw_horizon}

draw_from_command_line(__doc__, FIGURES)
