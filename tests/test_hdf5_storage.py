"""A file that takes values from another file is refused, with the object and the other file."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from neurohorizon.hdf5_storage import ForeignValuesError, other_file, require_own_values


def virtual(file: h5py.File, name: str, source: str) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(source, "secret", (4,))
    file.create_virtual_dataset(name, layout)


def external(file: h5py.File, name: str, source: str) -> None:
    file.create_dataset(name, (4,), "f8", external=[(source, 0, 32)])


def linked(file: h5py.File, name: str, source: str) -> None:
    file[name] = h5py.ExternalLink(source, "/secret")


@pytest.fixture
def other(tmp_path) -> Path:
    """A file of this machine that is no part of a recording, and holds 4 numbers."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["secret"] = np.arange(4.0)
    return path


@pytest.mark.parametrize("take", [virtual, external, linked])
def test_values_of_another_file_are_found_wherever_they_are(tmp_path, other, take):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/b/own"] = np.arange(3.0)
        file["a/b/group"] = file["a"]  # a circle
        require_own_values(file)
        take(file, "a/b/taken", str(other))
        with pytest.raises(ForeignValuesError, match=rf"a/b/taken .* another file \('{other}'\)"):
            require_own_values(file)


def test_a_file_of_its_own_values_is_accepted(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["secret"] = np.arange(4.0)
        file["soft"] = h5py.SoftLink("/secret")
        file["gone"] = h5py.SoftLink("/nothing")
        virtual(file, "virtual", ".")
        file.create_dataset("chunked", data=np.arange(100), chunks=(10,), compression="gzip")
        require_own_values(file)
        assert [other_file(file[name]) for name in ("secret", "virtual", "chunked")] == [""] * 3
