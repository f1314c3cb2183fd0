"""Draw one figure of the multimodal experiment; the suffixes of the outputs decide the formats."""

from neurohorizon.analysis.drawing import draw_from_command_line
from neurohorizon.experiments.multimodal.figures import (
    draw_conditions,
    draw_horizon,
    draw_main,
    draw_psth,
    draw_regions,
)

FIGURES = {
    "main": draw_main,
    "regions": draw_regions,
    "horizon": draw_horizon,
    "conditions": draw_conditions,
    "psth": draw_psth,
}

draw_from_command_line(__doc__, FIGURES)
