"""Draw one figure of the curves of experiment 1; the suffixes of the outputs decide the formats."""

from neurohorizon.analysis.drawing import draw_from_command_line
from neurohorizon.experiments.cross_session.curve_figures import (
    draw_elapsed,
    draw_matched_regions,
    draw_population,
    draw_reference_length,
)

FIGURES = {
    "reference_length": draw_reference_length,
    "population": draw_population,
    "elapsed": draw_elapsed,
    "matched_regions": draw_matched_regions,
}

draw_from_command_line(__doc__, FIGURES)
