"""Draw the figure of decoded behaviour; the suffixes of the outputs decide the formats."""

from neurohorizon.evaluation.decoding_figure import draw_decoding
from neurohorizon.evaluation.drawing import draw_from_command_line

draw_from_command_line(__doc__, {"decoding": draw_decoding})
