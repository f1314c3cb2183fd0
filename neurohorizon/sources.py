"""Sources of recordings: one row each.

Standard library only, since the workflow reads it before any environment exists.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One source.

    Attributes:
        name: Its name in cohort tables, in folders and in the section ``sources`` of the configuration.
        simulator: Key of ``sources`` that fills its folder with simulated recordings; "" if there is none.
        images: Whether the images that its sessions were shown can be read.
        files: Whether a column ``file`` of a cohort table may name the NWB files of its sessions.
    """

    name: str
    simulator: str = ""
    images: bool = False
    files: bool = False


SOURCES = {
    one.name: one
    for one in (
        Source("ibl", simulator="simulated"),
        Source("allen", simulator="simulated_allen", images=True),
        Source("nwb", files=True),
        Source("dandi", files=True),
    )
}
"""All sources, by name."""
(WITH_IMAGES,) = (name for name, one in SOURCES.items() if one.images)
"""The source with images, whose image sets are embedded."""
