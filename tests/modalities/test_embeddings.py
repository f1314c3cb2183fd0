from dataclasses import replace

import h5py
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from neurohorizon.modalities.embeddings import Embedding, fit_image_space, read_embedding, write_embedding
from neurohorizon.modalities.images import ImageError, ImageSet, read_images, write_images


def made_embedding(image_set, n_images, *, seed, summary_columns=5, pooled_columns=3, **changes):
    """Draw correlated vectors of decreasing variance and nonzero mean."""
    rng = np.random.default_rng(seed)
    columns = summary_columns + pooled_columns
    mixing = np.random.default_rng(0).normal(size=(columns, columns)) * np.arange(columns, 0, -1)
    values = (rng.normal(size=(n_images, columns)) @ mixing + 7).astype(np.float32)
    embedding = Embedding(
        image_set=image_set,
        images_sha256=f"{image_set} {seed}",
        encoder="dinov2",
        weights="made",
        weights_sha256="abc",
        side_px=28,
        versions={"torch": "2"},
        summary=values[:, :summary_columns],
        pooled=values[:, summary_columns:],
    )
    return replace(embedding, **changes)


def write_all(folder, embeddings):
    paths = []
    for index, embedding in enumerate(embeddings):
        paths.append(folder / f"{index}_{embedding.image_set}.h5")
        write_embedding(paths[-1], embedding)
    return paths


@pytest.fixture
def embeddings():
    return [
        made_embedding("natural_movie_one", 40, seed=1),
        made_embedding("natural_scenes", 25, seed=2),
        made_embedding("gray", 1, seed=3),
    ]


def test_what_is_written_is_read(tmp_path, embeddings):
    (path,) = write_all(tmp_path, embeddings[:1])
    found = read_embedding(path)
    for name in ("summary", "pooled"):
        np.testing.assert_array_equal(getattr(found, name), getattr(embeddings[0], name))
        assert getattr(found, name).dtype == np.float32
    for name in ("image_set", "images_sha256", "encoder", "weights", "weights_sha256", "side_px", "versions"):
        assert getattr(found, name) == getattr(embeddings[0], name)
    with h5py.File(path) as file:
        assert file["summary"].attrs["axes"] == "image, summary column"
        assert all(file[name].attrs["unit"] for name in ("summary", "pooled"))


def test_components_are_scikit_learns_up_to_their_common_scale(tmp_path, embeddings):
    space = fit_image_space(write_all(tmp_path, embeddings), 4)
    rows = np.concatenate([np.concatenate([one.summary, one.pooled], axis=1) for one in embeddings])
    standardised = StandardScaler().fit_transform(rows.astype(np.float64))
    pca = PCA(4).fit(standardised)
    found = np.concatenate([space.components[one.image_set] for one in embeddings])
    expected = pca.transform(standardised)
    expected *= np.sign((expected * found).sum(axis=0))
    np.testing.assert_allclose(found, expected / np.sqrt(expected.var(axis=0).mean()), rtol=1e-4, atol=1e-5)
    assert {name: part.shape for name, part in space.components.items()} == {
        "natural_movie_one": (40, 4),
        "natural_scenes": (25, 4),
        "gray": (1, 4),
    }
    assert all(part.dtype == np.float32 for part in space.components.values())


def test_variances_have_mean_one_and_fall(tmp_path, embeddings):
    space = fit_image_space(write_all(tmp_path, embeddings), 4)
    variances = np.concatenate(list(space.components.values())).var(axis=0)
    assert variances.mean() == pytest.approx(1, abs=1e-5)
    assert (np.diff(variances) < -0.05).all(), "proportions are kept: not whitened"


def test_the_order_of_files_changes_nothing(tmp_path, embeddings):
    paths = write_all(tmp_path, embeddings)
    space, turned = fit_image_space(paths, 3), fit_image_space(paths[::-1], 3)
    assert space.identity == turned.identity
    for name, part in space.components.items():
        np.testing.assert_array_equal(part, turned.components[name])


def test_a_column_that_does_not_vary_changes_nothing(tmp_path, embeddings):
    widened = []
    for one in embeddings:
        # the second column differs only by rounding, like a bias after batches of different size
        constant = np.full((len(one.summary), 2), 1e6, np.float32)
        constant[::2, 1] = np.nextafter(np.float32(1e6), np.float32(2e6))
        widened.append(replace(one, summary=np.concatenate([one.summary, constant], axis=1)))
    (tmp_path / "wide").mkdir()
    space = fit_image_space(write_all(tmp_path, embeddings), 8)
    wide = fit_image_space(write_all(tmp_path / "wide", widened), 8)
    for name, part in space.components.items():
        np.testing.assert_allclose(wide.components[name], part, atol=1e-5)


def test_the_scale_of_a_column_changes_nothing(tmp_path, embeddings):
    scaled = [replace(one, summary=one.summary * np.array([1e3, 1, 1, 1, 1e-3], np.float32)) for one in embeddings]
    (tmp_path / "scaled").mkdir()
    space = fit_image_space(write_all(tmp_path, embeddings), 4)
    again = fit_image_space(write_all(tmp_path / "scaled", scaled), 4)
    np.testing.assert_allclose(again.components["natural_scenes"], space.components["natural_scenes"], atol=1e-4)


def test_missing_components_are_zeros(tmp_path, embeddings):
    few = fit_image_space(write_all(tmp_path, embeddings), 12)
    found = np.concatenate(list(few.components.values()))
    assert found.shape == (66, 12)
    assert (found[:, 8:] == 0).all() and (found[:, :8].std(axis=0) > 0).all(), "eight columns, eight components"
    assert found.var(axis=0)[:8].mean() == pytest.approx(1, abs=1e-5)


def test_an_image_set_of_only_gray_is_at_the_origin(tmp_path, embeddings):
    space = fit_image_space(write_all(tmp_path, embeddings[2:]), 3)
    np.testing.assert_array_equal(space.components["gray"], np.zeros((1, 3)))


def test_the_sign_of_a_component_does_not_depend_on_the_order_of_frames(tmp_path, embeddings):
    turned = [replace(one, summary=one.summary[::-1], pooled=one.pooled[::-1]) for one in embeddings]
    (tmp_path / "turned").mkdir()
    space = fit_image_space(write_all(tmp_path, embeddings), 4)
    again = fit_image_space(write_all(tmp_path / "turned", turned), 4)
    for name, part in space.components.items():
        np.testing.assert_allclose(again.components[name][::-1], part, atol=1e-5)


def test_every_input_of_a_space_changes_its_identity(tmp_path, embeddings):
    def identity(name, components=4, **changes):
        folder = tmp_path / name
        folder.mkdir()
        return fit_image_space(write_all(folder, [replace(one, **changes) for one in embeddings]), components).identity

    first = identity("first")
    assert identity("same") == first
    assert identity("versions", versions={"torch": "3"}) == first, "a version that gives the same images' vectors"
    others = {
        identity("weights", weights_sha256="xyz"),
        identity("encoder", encoder="pixels"),
        identity("images", images_sha256="other"),
        identity("side", side_px=126),
        identity("components", components=3),
    }
    assert len(others | {first}) == 6


def test_embeddings_that_share_no_space_are_refused(tmp_path, embeddings):
    movie, scenes, gray = embeddings
    cases = {
        "gray screen": [movie, scenes],
        "more than one": [movie, movie, gray],
        "differ in encoder.*pixels": [movie, replace(gray, encoder="pixels")],
        "differ in weights_sha256": [movie, replace(gray, weights_sha256="other")],
        "differ in side_px": [movie, replace(gray, side_px=14)],
    }
    for index, (message, made) in enumerate(cases.items()):
        folder = tmp_path / str(index)
        folder.mkdir()
        with pytest.raises(ImageError, match=message):
            fit_image_space(write_all(folder, made), 2)
    with pytest.raises(ImageError, match="no embedding"):
        fit_image_space([tmp_path / "nothing.h5"], 2)


def test_an_image_set_is_read_back_and_a_changed_file_is_refused(tmp_path):
    ramp = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "images" / "scenes.h5"
    write_images(path, ImageSet("scenes", ramp))
    found = read_images(path)
    assert found.name == "scenes"
    np.testing.assert_array_equal(found.images, ramp)
    assert ImageSet("scenes", np.asfortranarray(ramp)).sha256 == found.sha256, "the hash is of values, not of layout"
    with h5py.File(path, "r+") as file:
        file["images"][1, 2, 3] = 0
    with pytest.raises(ImageError, match="changed since"):
        read_images(path)


@pytest.mark.parametrize("images", [np.zeros((2, 3, 4)), np.zeros((3, 4), np.uint8), np.zeros((0, 3, 4), np.uint8)])
def test_images_of_another_type_or_shape_are_not_written(tmp_path, images):
    with pytest.raises(ImageError, match="expected uint8"):
        write_images(tmp_path / "odd.h5", ImageSet("odd", images))


def test_the_error_for_a_truncated_file_gives_the_remedy(tmp_path):
    path = tmp_path / "cut.h5"
    write_images(path, ImageSet(name="cut", images=np.arange(6000, dtype=np.uint8).reshape(2, 50, 60)))
    path.write_bytes(path.read_bytes()[:2000])
    for read in (read_images, read_embedding):
        with pytest.raises(ImageError, match=r"cut\.h5 cannot be read .*delete it, and the workflow writes it again"):
            read(path)
