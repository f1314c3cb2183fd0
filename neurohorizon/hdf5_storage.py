"""Where the values of an HDF5 file are: a file can take them from any other file that its reader may open.

It can do so in three ways: raw data of a dataset in other files, a virtual dataset, and an external link
(https://docs.h5py.org/en/stable/high/dataset.html). A soft link stays in its file.
"""

import h5py


class ForeignValuesError(ValueError):
    """A file takes values from another file; the message gives the object and that file."""


def other_file(dataset: h5py.Dataset) -> str:
    """Return the name of a file other than its own from which a dataset takes values; "" if there is none."""
    if dataset.external:
        return dataset.external[0][0]
    others = [part.file_name for part in dataset.virtual_sources()] if dataset.is_virtual else []
    return next((name for name in others if name != "."), "")


def require_own_values(file: h5py.File) -> None:
    """Check that every value of a file is in the file.

    Raises:
        ForeignValuesError: It has an external link, or a dataset whose values are in another file.
    """

    # a result stops the visit; an error inside of it would be lost
    def check_link(name: str, link: object) -> str | None:
        return f"{name} is a link to another file ({link.filename!r})" if isinstance(link, h5py.ExternalLink) else None

    def check_values(name: str, found: h5py.Group | h5py.Dataset) -> str | None:
        other = other_file(found) if isinstance(found, h5py.Dataset) else ""
        return f"{name} has its values in another file ({other!r})" if other else None

    if fault := file.visititems_links(check_link) or file.visititems(check_values):
        raise ForeignValuesError(fault)
