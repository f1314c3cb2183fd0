"""Draw one figure of calibration; the suffixes of the outputs decide the formats."""

from neurohorizon.analysis.drawing import draw_from_command_line
from neurohorizon.experiments.horizons.calibration_figures import draw_calibration, draw_paths
from neurohorizon.experiments.horizons.example_paths import read_paths_example

FIGURES = {"calibration": draw_calibration, "paths": draw_paths}

draw_from_command_line(__doc__, FIGURES, readers={".h5": read_paths_example})
