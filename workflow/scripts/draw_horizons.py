"""Draw one figure of the experiment on horizons; the suffixes of the outputs decide the formats."""

from neurohorizon.analysis.drawing import draw_from_command_line
from neurohorizon.experiments.horizons.figures import (
    draw_calibration,
    draw_curves,
    draw_horizons,
    draw_main,
    draw_teacher_forced,
)

FIGURES = {
    "main": draw_main,
    "curves": draw_curves,
    "horizons": draw_horizons,
    "teacher_forced": draw_teacher_forced,
    "calibration": draw_calibration,
}

draw_from_command_line(__doc__, FIGURES)
