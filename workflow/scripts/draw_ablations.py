"""Draw one figure of the ablations; the suffixes of the outputs decide the formats."""

from neurohorizon.evaluation.ablations_figures import draw_forest, draw_horizons
from neurohorizon.evaluation.drawing import draw_from_command_line

FIGURES = {"forest": draw_forest, "horizons": draw_horizons}

draw_from_command_line(__doc__, FIGURES)
