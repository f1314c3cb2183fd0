"""Draw a figure of downstream decoding; the suffixes of the outputs decide the formats."""

from neurohorizon.evaluation.downstream_figures import draw_scores, draw_sessions
from neurohorizon.evaluation.drawing import draw_from_command_line

FIGURES = {"scores": draw_scores, "sessions": draw_sessions}

draw_from_command_line(__doc__, FIGURES)
