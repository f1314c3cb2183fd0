"""Draw a figure of downstream decoding; the suffixes of the outputs decide the formats."""

from neurohorizon.analysis.drawing import draw_from_command_line
from neurohorizon.experiments.downstream.figures import draw_scores, draw_sessions

FIGURES = {"scores": draw_scores, "sessions": draw_sessions}

draw_from_command_line(__doc__, FIGURES)
