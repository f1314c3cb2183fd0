"""Image sets: one HDF5 file for the frames of a movie or for the scenes that were shown."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.files import replacing


class ImageError(ValueError):
    """Images that cannot be used; the message gives what was found, what was expected and what to do."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images that share a name, in the order of their numbers in stimulus tables.

    Attributes:
        name: Name of the set, such as ``natural_movie_one``; ``gray`` is the screen between stimuli.
        images: Brightness from 0 (black) to 255 (white), uint8, [image, y, x].
    """

    name: str
    images: np.ndarray

    @property
    def sha256(self) -> str:
        """Hash of the images' bytes, in the order of their axes."""
        return hashlib.sha256(np.ascontiguousarray(self.images)).hexdigest()


def write_images(path: str | Path, images: ImageSet) -> None:
    """Write an image set, whole or not at all.

    Raises:
        ImageError: The images are not gray or not uint8, or there are no images.
    """
    if images.images.ndim != 3 or images.images.dtype != np.uint8 or not images.images.size:
        raise ImageError(
            f"image set {images.name}: expected uint8 of [image, y, x], found {images.images.dtype} of shape "
            f"{images.images.shape}"
        )
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["image_set"] = images.name
        file.attrs["sha256"] = images.sha256
        dataset = file.create_dataset("images", data=images.images)
        dataset.attrs["axes"] = "image, y, x"
        dataset.attrs["unit"] = "brightness, 0 to 255"


def read_images(path: str | Path) -> ImageSet:
    """Read an image set.

    Raises:
        ImageError: The file does not exist, cannot be read, or was changed since it was written.
    """
    if not Path(path).is_file():
        raise ImageError(f"there is no image set {path}: run the workflow, which writes it")
    try:
        with h5py.File(path, "r") as file:
            images = ImageSet(file.attrs["image_set"], file["images"][:])
            expected = file.attrs["sha256"]
    except (OSError, KeyError) as error:
        raise ImageError(f"{path} cannot be read ({error}): delete it, and the workflow writes it again") from error
    if images.sha256 != expected:
        raise ImageError(f"{path} was changed since it was written: delete it, and the workflow writes it again")
    return images
