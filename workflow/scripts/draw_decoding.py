"""Draw the figure of decoded behaviour; the suffixes of the outputs decide the formats."""

from neurohorizon.analysis.drawing import draw_from_command_line
from neurohorizon.experiments.downstream.poyo_figures import draw_decoding

draw_from_command_line(__doc__, {"decoding": draw_decoding})
