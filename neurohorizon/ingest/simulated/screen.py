"""Images shown to the simulated animals, and the response of a simple visual system.

The pictures are photographs that scikit-image ships inside its package, so that the features of image encoders trained
on photographs distinguish them. The movie is a sequence of shots: each pans and zooms over one
photograph; scenes are single views of the same photographs at other places.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

HEIGHT_PX, WIDTH_PX = 120, 240
"""Size of the templates; twice as wide as high, as in the release."""
MOVIE_FRAME_S = 0.0333667
"""Time that a frame of a movie is on the screen."""
SCENES = 118
"""Natural scenes of the release."""
GRAY = 127
ORIENTATIONS_DEG = (0.0, 45.0, 90.0, 135.0)
PLACES = (2, 4)
"""Rows and columns of the places of the screen over which features are averaged."""
SHOT_S = (1.0, 2.5)
"""Shortest and longest time between two cuts of the movie."""

PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket", "coins", "gravel", "brick", "hubble_deep_field")
"""Photographs that ``skimage.data`` contains, so that nothing is downloaded."""

_WAVELENGTHS_PX = (12.0, 30.0)


@dataclass(frozen=True)
class View:
    """A part of a photograph: its centre and width as shares of the possible ones, all in [0, 1]."""

    row: float
    column: float
    width: float


def photographs() -> list[np.ndarray]:
    """Gray photographs, brightness 0 to 1, [y, x] each."""
    # scikit-image comes with AllenSDK; code that only names sessions or draws rates does not need it
    from skimage import data
    from skimage.color import rgb2gray
    from skimage.util import img_as_float

    pictures = [img_as_float(getattr(data, name)()) for name in PHOTOGRAPHS]
    return [rgb2gray(picture) if picture.ndim == 3 else picture for picture in pictures]


def natural_movie(frames: int, *, rng: np.random.Generator) -> np.ndarray:
    """A movie of shots that pan and zoom over the photographs, uint8 [frame, y, x]."""
    pictures = photographs()
    movie = np.empty((frames, HEIGHT_PX, WIDTH_PX), np.uint8)
    first, order = 0, []
    while first < frames:
        order = order or rng.permutation(len(pictures)).tolist()
        picture = pictures[order.pop()]
        length = min(round(rng.uniform(*SHOT_S) / MOVIE_FRAME_S), frames - first)
        begin, end = _random_view(rng), _random_view(rng)
        for index, share in enumerate(np.linspace(0, 0.6, length)):
            between = View(
                row=begin.row + share * (end.row - begin.row),
                column=begin.column + share * (end.column - begin.column),
                width=begin.width + share * (end.width - begin.width),
            )
            movie[first + index] = look(picture, between)
        first += length
    return movie


def natural_scenes(*, rng: np.random.Generator) -> np.ndarray:
    """Single views of the photographs, uint8 [scene, y, x]."""
    pictures = photographs()
    return np.stack([look(pictures[scene % len(pictures)], _random_view(rng)) for scene in range(SCENES)])


def grating(orientation_deg: float) -> np.ndarray:
    """One phase of a drifting grating, uint8 [y, x]; responses to it do not depend on the phase."""
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    angle = np.deg2rad(orientation_deg)
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / _WAVELENGTHS_PX[1])
    return np.rint(GRAY + 0.8 * GRAY * wave).astype(np.uint8)


def gray_screen() -> np.ndarray:
    """The screen between stimuli, uint8 [y, x]."""
    return np.full((HEIGHT_PX, WIDTH_PX), GRAY, np.uint8)


def look(picture: np.ndarray, view: View) -> np.ndarray:
    """A view of a photograph [y, x] at the size of the screen, with its brightness and contrast evened out."""
    height, width = picture.shape
    wide = min(width, 2 * height) * (0.35 + 0.6 * view.width)
    high = wide / 2
    rows = (height - high) * view.row + np.arange(HEIGHT_PX) * (high - 1) / HEIGHT_PX
    columns = (width - wide) * view.column + np.arange(WIDTH_PX) * (wide - 1) / WIDTH_PX
    blurred = gaussian_filter(picture, max(wide / WIDTH_PX - 1, 0) / 2)
    seen = map_coordinates(blurred, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
    seen = (seen - seen.mean()) / max(float(seen.std()), 0.05)
    return np.clip(np.rint(GRAY + 55 * seen), 0, 255).astype(np.uint8)


def _random_view(rng: np.random.Generator) -> View:
    return View(*rng.random(3).tolist())


def features(images: np.ndarray) -> np.ndarray:
    """Responses of complex cells and of cells for local contrast and brightness, float64 [image, feature].

    For each place of :data:`PLACES`, in its row-major order: the root of the mean energy of quadrature pairs of Gabor
    filters by wavelength and orientation (Adelson & Bergen, J. Opt. Soc. Am. A 1985), then the standard deviation
    of brightness, then its mean. All are 0 for the gray screen.
    """
    halved = images[:, ::2, ::2].astype(np.float32) / GRAY - 1.0
    spectrum = np.fft.fft2(halved)
    columns = [np.sqrt(_by_place(np.abs(np.fft.ifft2(spectrum * gabor)) ** 2)) for gabor in _gabors(halved.shape[1:])]
    mean = _by_place(halved)
    contrast = np.sqrt(np.maximum(_by_place(halved**2) - mean**2, 0))
    return np.stack([*columns, contrast, mean], axis=2).reshape(len(images), -1)


def _gabors(shape: tuple[int, int]) -> list[np.ndarray]:
    """Transfer functions of the filters: one-sided, so that the filtered image's size is its energy's root."""
    fy, fx = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), indexing="ij")
    filters = []
    for wavelength_px in _WAVELENGTHS_PX:
        centre = 2.0 / wavelength_px  # of the halved image
        for orientation in np.deg2rad(ORIENTATIONS_DEG):
            distance = (fx - centre * np.cos(orientation)) ** 2 + (fy - centre * np.sin(orientation)) ** 2
            filters.append(2 * np.exp(-distance / (2 * (0.35 * centre) ** 2)) * ((fx != 0) | (fy != 0)))
    return filters


def _by_place(maps: np.ndarray) -> np.ndarray:
    """Mean over each place, [image, place]."""
    images, height, width = maps.shape
    rows, columns = PLACES
    tiles = maps.reshape(images, rows, height // rows, columns, width // columns)
    return tiles.mean(axis=(2, 4)).reshape(images, -1)
