"""Conditions of the multimodal experiment: modalities that a forecast reads in addition to the spikes.

Standard library only, since the workflow reads it before any environment exists.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Condition:
    """Modalities that a forecast may read in addition to the spikes.

    Attributes:
        name: Its name in files and tables.
        behaviour: True if behaviour is read.
        image: Images that are read, ``past``: up to the origin, ``ahead``: those of the horizon too; "": none.
        control: ``shuffled``: the session's images are shown in random order; ``shifted``: behaviour is from an
            earlier time. The readouts are fitted on data that were changed in the same way.
    """

    name: str
    behaviour: bool = False
    image: Literal["", "past", "ahead"] = ""
    control: Literal["", "shuffled", "shifted"] = ""

    @property
    def image_readout(self) -> str:
        """Name of the readout that images are read with."""
        return {"": "", "past": "image", "ahead": "image_ahead"}[self.image]


CONDITIONS = {
    one.name: one
    for one in (
        Condition("spikes"),
        Condition("behaviour", behaviour=True),
        Condition("image", image="past"),
        Condition("image_ahead", image="ahead"),
        Condition("both", behaviour=True, image="past"),
        Condition("behaviour_shifted", behaviour=True, control="shifted"),
        Condition("image_shuffled", image="past", control="shuffled"),
        Condition("image_ahead_shuffled", image="ahead", control="shuffled"),
    )
}
OF_ENCODERS = ("spikes", "image", "image_ahead")
"""Conditions that are forecast with every image encoder; the others only with the first."""
OF_BEHAVIOUR = ("spikes", "behaviour", "behaviour_shifted")
"""Conditions that are forecast for sessions without images."""
NO_ENCODER = "none"
"""Name in place of an image encoder if there are no images."""
LEARNED_CONDITIONS = tuple(CONDITIONS[name] for name in ("behaviour", "image", "image_ahead", "both"))
"""Conditions on which a network with modalities is validated, in turn."""
