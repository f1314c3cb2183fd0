"""Draw one figure of calibration; the suffixes of the outputs decide the formats."""

from neurohorizon.evaluation.calibration_figures import draw_calibration, draw_paths
from neurohorizon.evaluation.drawing import draw_from_command_line
from neurohorizon.evaluation.paths_example import read_paths_example

FIGURES = {"calibration": draw_calibration, "paths": draw_paths}

draw_from_command_line(__doc__, FIGURES, readers={".h5": read_paths_example})
