"""Image embeddings: their file, and the few numbers of each image that a model reads.

An encoder gives each image one vector that summarises it. An encoder that divides the image into patches gives a
second vector, the mean over patches. All image sets that may be shown share one space: the two vectors are
concatenated, each column is standardised over all frames, and the first principal components are kept.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import h5py
import numpy as np

from neurohorizon.files import replacing
from neurohorizon.modalities.images import ImageError

GRAY = "gray"
"""Image set of the gray screen between stimuli: one image."""
NAMES = ("image_set", "images_sha256", "encoder", "weights", "weights_sha256", "side_px")
VECTORS = ("summary", "pooled")
SMALLEST_SPREAD = 1e-6
"""A column whose deviation is below this share of its largest value varies only by rounding of float32."""
SMALLEST_SHARE = 1e-12
"""A component with less than this share of the largest variance is rounding, not a component."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """Vectors of the images of one set, by one encoder.

    Attributes:
        image_set: Name of the set.
        images_sha256: Hash of its images.
        encoder: ``dinov2``, ``imagenet`` or ``pixels``.
        weights: Name of the encoder's weights; empty for an encoder without weights.
        weights_sha256: Their hash; empty for an encoder without weights.
        side_px: Side of the square image that the encoder received.
        versions: Package -> its version when the vectors were computed.
        summary: The encoder's one vector for an image, float32, [image, summary column].
        pooled: Mean over the image's patches, float32, [image, pooled column]; no columns if there are no patches.
    """

    image_set: str
    images_sha256: str
    encoder: str
    weights: str
    weights_sha256: str
    side_px: int
    versions: dict[str, str]
    summary: np.ndarray
    pooled: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSpace:
    """Image sets as points of one space.

    Attributes:
        encoder: Encoder of the embeddings.
        identity: Hash of all inputs of the space: images, encoder, weights, number of components.
            Equal identities mean equal components.
        components: Image set -> principal components of its images, float32, [image, component]. Their variances
            over all frames have a mean of 1 and keep their proportions, since a component that is
            nearly the same in all images must stay smaller than one that distinguishes them.
            Columns beyond the last component are zeros.
    """

    encoder: str
    identity: str
    components: dict[str, np.ndarray]


def write_embedding(path: str | Path, embedding: Embedding) -> None:
    """Write the embedding of an image set, whole or not at all."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for name in NAMES:
            file.attrs[name] = getattr(embedding, name)
        file.attrs["versions"] = json.dumps(embedding.versions)
        for name in VECTORS:
            dataset = file.create_dataset(name, data=np.asarray(getattr(embedding, name), np.float32))
            dataset.attrs["axes"] = f"image, {name} column"
            dataset.attrs["unit"] = "that of the encoder"


def read_embedding(path: str | Path) -> Embedding:
    """Read the embedding of an image set.

    Raises:
        ImageError: The file does not exist, or cannot be read.
    """
    if not Path(path).is_file():
        raise ImageError(f"there is no embedding {path}: run the workflow, which writes it")
    try:
        with h5py.File(path, "r") as file:
            values = {name: file.attrs[name] for name in NAMES} | {name: file[name][:] for name in VECTORS}
            versions = json.loads(file.attrs["versions"])
            return Embedding(**values | {"side_px": int(values["side_px"])}, versions=versions)
    except (OSError, KeyError) as error:
        raise ImageError(f"{path} cannot be read ({error}): delete it, and the workflow writes it again") from error


def fit_image_space(paths: Sequence[str | Path], components: int) -> ImageSpace:
    """Compute one space of few components for all image sets of a run.

    It depends only on images, not on spikes or the choice of sessions, so training and forecasts share it.

    Args:
        paths: Embeddings by one encoder, one file for each set and for the gray screen, in any order.
        components: Number of components to keep.

    Raises:
        ImageError: The files differ in encoder, weights or image size, repeat a set, or lack the gray screen.
    """
    embeddings = sorted((read_embedding(path) for path in paths), key=attrgetter("image_set"))
    _check_they_belong_together(embeddings)
    columns = np.concatenate([np.concatenate([one.summary, one.pooled], axis=1) for one in embeddings])
    scores = _principal_components(_standardised(columns.astype(np.float64)), components)
    ends = np.cumsum([len(one.summary) for one in embeddings])
    parts = np.split(scores.astype(np.float32), ends[:-1])
    return ImageSpace(
        encoder=embeddings[0].encoder,
        identity=_identity(embeddings, components),
        components={one.image_set: part for one, part in zip(embeddings, parts, strict=True)},
    )


def _standardised(columns: np.ndarray) -> np.ndarray:
    """Give each column mean 0 and variance 1; a column that does not vary becomes 0."""
    spread = columns.std(axis=0)
    varies = spread > SMALLEST_SPREAD * np.abs(columns).max(axis=0)
    return (columns - columns.mean(axis=0)) * varies / np.where(varies, spread, 1.0)


def _principal_components(columns: np.ndarray, components: int) -> np.ndarray:
    """Return scores of the first components in descending order of variance, [row, component]."""
    left, singular, right = np.linalg.svd(columns, full_matrices=False)
    exist = int((singular[:components] ** 2 > SMALLEST_SHARE * singular[0] ** 2).sum())
    scores = np.zeros((len(columns), components))
    if exist:
        # a component's sign is arbitrary: the largest of its loadings is made positive
        largest = np.abs(right[:exist]).argmax(axis=1)
        signs = np.sign(right[np.arange(exist), largest])
        kept = left[:, :exist] * (singular[:exist] * signs)
        scores[:, :exist] = kept / np.sqrt(kept.var(axis=0).mean())
    return scores


def _check_they_belong_together(embeddings: Sequence[Embedding]) -> None:
    names = [one.image_set for one in embeddings]
    if GRAY not in names:
        raise ImageError(f"expected an embedding of the gray screen, which is shown between stimuli; found {names}")
    if len(set(names)) < len(names):
        raise ImageError(f"an image set has more than one embedding: {names}")
    for part in ("encoder", "weights_sha256", "side_px"):
        found = {one.image_set: getattr(one, part) for one in embeddings}
        if len(set(found.values())) > 1:
            raise ImageError(
                f"embeddings differ in {part}, so they share no space: {found}; delete them, and the workflow "
                "makes them again"
            )


def _identity(embeddings: Sequence[Embedding], components: int) -> str:
    first = embeddings[0]
    made_from = [first.encoder, first.weights_sha256, first.side_px, components]
    sets = [(one.image_set, one.images_sha256) for one in embeddings]
    return hashlib.sha256(json.dumps([made_from, sets]).encode()).hexdigest()
