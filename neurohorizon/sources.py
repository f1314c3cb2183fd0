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
IBL_ARCHIVE_URL = "https://ibl-brain-wide-map-public.s3.amazonaws.com/resources/ibl-agent-data"
"""Folder of the IBL's public archive of the Brain-Wide Map."""
IBL_ARCHIVE_VERSIONS = {"bwm_ephys": "1.2.1", "bwm_behavior": "2.0.0"}
"""Its files, ``{name}-{version}.tar``. 1.2.1 adds data of the passive period to 1.2.0, and nothing else."""
(WITH_IMAGES,) = (name for name, one in SOURCES.items() if one.images)
"""The source with images, whose image sets are embedded."""
