"""Draw one figure of the ablations; the suffixes of the outputs decide the formats."""

from neurohorizon.analysis.drawing import draw_from_command_line
from neurohorizon.experiments.ablations.figures import draw_forest, draw_horizons

FIGURES = {"forest": draw_forest, "horizons": draw_horizons}

draw_from_command_line(__doc__, FIGURES)
