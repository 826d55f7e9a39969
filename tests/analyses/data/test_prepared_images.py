"""Contrast normalisation and whitening by a second route, and what is kept on disk: whole, or computed again."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from analyses.data import kept_arrays, prepared_images
from analyses.data.datasets import load
from analyses.data.kept_arrays import Kept, digest_of_files, kept, kept_description
from analyses.data.whitening import contrast_normalised, fitted_whitening
from elutheory.errors import InputError

IMAGES = np.random.default_rng(0).uniform(0, 1, (40, 3, 4, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELUTHEORY_CACHE", str(tmp_path / "cache"))
    prepared_images._read_once.cache_clear()


def test_contrast_normalisation_image_by_image() -> None:
    found = contrast_normalised(IMAGES)
    for image, normalised in zip(IMAGES.astype(np.float64), found, strict=True):
        np.testing.assert_allclose(normalised, (image - image.mean()) / image.std(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, 7 / 255])
def test_a_constant_image_becomes_zero(value: float) -> None:
    constant = np.full((2, 3, 32, 32), value, np.float32)
    assert (contrast_normalised(constant) == 0).all()


def test_an_image_of_one_step_in_one_number_is_not_taken_for_constant() -> None:
    image = np.zeros((1, 3, 32, 32), np.float32)
    image[0, 1, 2, 3] = 1 / 255
    found = contrast_normalised(image)
    assert found.std() == pytest.approx(1, rel=1e-5)
    assert found.argmax() == image.argmax()


def test_whitening_is_the_inverse_root_of_the_regularised_covariance() -> None:
    """By scipy's matrix root and numpy's covariance."""
    flat = IMAGES.reshape(40, -1).astype(np.float64)
    covariance = np.cov(flat.T, bias=True)
    root = np.linalg.inv(np.real(sqrtm(covariance + 0.1 * np.eye(60))))
    found = fitted_whitening(IMAGES, 0.1)
    np.testing.assert_allclose(found.matrix, root, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.applied(IMAGES).reshape(40, -1), (flat - flat.mean(0)) @ root, atol=1e-5)


def test_whitened_images_have_the_covariance_of_a_filter() -> None:
    """Eigenvalues λ become λ/(λ + r)."""
    found = fitted_whitening(IMAGES, 0.01).applied(IMAGES).reshape(40, -1).astype(np.float64)
    before = np.linalg.eigvalsh(np.cov(IMAGES.reshape(40, -1).T.astype(np.float64), bias=True))
    after = np.linalg.eigvalsh(np.cov(found.T, bias=True))
    np.testing.assert_allclose(after, np.maximum(before, 0) / (np.maximum(before, 0) + 0.01), atol=1e-5)


def test_digits_are_prepared_from_the_training_part_alone() -> None:
    """Joined, cut, whitened by what the training part says; the test part sees the same map."""
    data = load("digits")
    found = prepared_images.prepared_images("digits", 100, 0.5)
    chosen = prepared_images.joined(data).subset(100).train
    normalised = contrast_normalised(chosen.inputs.unsqueeze(1).numpy())
    whitening = fitted_whitening(normalised, 0.5)
    np.testing.assert_array_equal(found.train.inputs.numpy(), whitening.applied(normalised))
    test = contrast_normalised(data.test.inputs.unsqueeze(1).numpy())
    np.testing.assert_array_equal(found.test.inputs.numpy(), whitening.applied(test))
    assert found.shape == (1, 8, 8)
    assert (found.name, found.classes, len(found.validation)) == ("digits", 10, 0)
    assert len(prepared_images.joined(data).train) == len(data.train) + len(data.validation)
    counts = np.bincount(data.test.targets.numpy())
    assert found.chance == pytest.approx(1 - counts.max() / counts.sum())


def coloured_parquet(folder: Path, value: int = 0) -> Path:
    """Twelve training and six test images of 6 × 5 in colour."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(value)
    for part, count in (("train", 12), ("test", 6)):
        images = []
        for _ in range(count):
            stream = io.BytesIO()
            Image.fromarray(generator.integers(0, 256, (6, 5, 3), np.uint8)).save(stream, "PNG")
            images.append({"bytes": stream.getvalue(), "path": None})
        pq.write_table(pa.table({"img": images, "label": [i % 3 for i in range(count)]}), folder / f"{part}-0.parquet")
    return folder


def test_files_are_decoded_once_and_found_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = coloured_parquet(tmp_path / "images")
    assert prepared_images.kept_shape(str(folder), 0, 0.1) is None
    first = prepared_images.prepared_images(str(folder), 0, 0.1)
    assert first.shape == (3, 6, 5)
    assert prepared_images.kept_shape(str(folder), 0, 0.1) == (12, (3, 6, 5), 3)
    prepared_images._read_once.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(prepared_images, "_prepared", lambda *_: pytest.fail("decoded again"))
        again = prepared_images.prepared_images(str(folder), 0, 0.1)
    torch.testing.assert_close(again.train.inputs, first.train.inputs, rtol=0, atol=0)
    assert (again.name, again.classes) == ("images", 3)
    again.train.inputs[0] = 7.0  # in memory alone
    prepared_images._read_once.cache_clear()
    assert prepared_images.prepared_images(str(folder), 0, 0.1).train.inputs.max() < 7
    coloured_parquet(folder, value=1)
    assert prepared_images.kept_shape(str(folder), 0, 0.1) is None
    assert prepared_images.kept_shape(str(folder), 0, 0.2) is None
    assert not (prepared_images.prepared_images(str(folder), 0, 0.1).train.inputs == first.train.inputs).all()


def made(value: float) -> Kept:
    return Kept({"a": np.full(3, value), "b": np.arange(2)}, {"value": value})


def test_what_is_kept_is_not_made_again() -> None:
    assert kept_description("toy", {"k": 1}) is None
    first = kept("toy", {"k": 1}, lambda: made(1.0))
    again = kept("toy", {"k": 1}, lambda: made(2.0))
    assert first.description == again.description == kept_description("toy", {"k": 1}) == {"value": 1.0}
    np.testing.assert_array_equal(again.arrays["a"], [1.0, 1.0, 1.0])
    assert kept("toy", {"k": 2}, lambda: made(2.0)).description == {"value": 2.0}


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "description", "other json"])
def test_what_is_damaged_is_made_again(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept("toy", {}, lambda: made(1.0))
    (folder,) = [path for path in kept_arrays.cache_folder().iterdir() if path.is_dir()]
    array, described = folder / "a.npy", folder / "description.json"
    if damage == "missing":
        array.unlink()
    elif damage == "description":
        described.write_text("{")
    elif damage == "other json":
        described.write_text(json.dumps([1]))
    else:
        content = array.read_bytes()
        array.write_bytes(content[:-4] if damage == "cut" else content[:-1] + b"\x7f")
    assert kept("toy", {}, lambda: made(2.0)).description == {"value": 2.0}
    assert "is corrupt; it is computed again." in capsys.readouterr().err
    assert kept("toy", {}, lambda: made(3.0)).description == {"value": 2.0}


def test_a_crash_while_writing_leaves_nothing_that_is_taken_for_whole() -> None:
    """After the arrays, before the description; and with a half-written folder left behind."""

    def crash() -> Kept:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept("toy", {}, crash)
    kept("toy", {}, lambda: made(1.0))
    (folder,) = [path for path in kept_arrays.cache_folder().iterdir() if path.is_dir()]
    staging = folder.with_name(f".{folder.name}.making")
    folder.rename(staging)
    (staging / "description.json").unlink()
    assert kept("toy", {}, lambda: made(2.0)).description == {"value": 2.0}
    assert not staging.exists()


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ELUTHEORY_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(InputError, match="cannot be written to"):
        kept("toy", {}, lambda: made(1.0))


def test_the_cache_is_the_users_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept_arrays.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ELUTHEORY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept_arrays.cache_folder() == tmp_path / "elutheory"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert kept_arrays.cache_folder() == Path.home() / ".cache" / "elutheory"


def test_the_digest_of_files_is_of_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    before = digest_of_files(tmp_path)
    (tmp_path / ".hidden").write_text("3")
    assert digest_of_files(tmp_path) == before
    (tmp_path / "b").rename(tmp_path / "c")
    renamed = digest_of_files(tmp_path)
    (tmp_path / "c").write_text("4")
    assert len({before, renamed, digest_of_files(tmp_path), digest_of_files(tmp_path / "a")}) == 4
