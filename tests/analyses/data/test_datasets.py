"""Data sets: files written here byte by byte against what is loaded; every way a file can be wrong; the splits."""

import gzip
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analyses.data import datasets
from analyses.data import images as image_files
from analyses.data.idx import read_idx
from analyses.data.labelled_images import stratified_order
from elutheory.errors import InputError

NUMBERS = np.random.default_rng(0)
TRAIN, TEST = 60, 12
PARTS = ("train", "validation", "test")


def labels(count: int, classes: int = 3) -> np.ndarray:
    return np.arange(count, dtype=np.uint8) % classes


def pixels(*shape: int) -> np.ndarray:
    """All different, so that an example is recognised by its pixels."""
    return NUMBERS.integers(0, 256, shape, dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


TRAIN_IMAGES, TEST_IMAGES = pixels(TRAIN, 4, 5), pixels(TEST, 4, 5)
IDX_FILES = {
    "train-images-idx3-ubyte": idx_bytes(TRAIN_IMAGES),
    "train-labels-idx1-ubyte": idx_bytes(labels(TRAIN)),
    "t10k-images-idx3-ubyte": idx_bytes(TEST_IMAGES),
    "t10k-labels-idx1-ubyte": idx_bytes(labels(TEST)),
}


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def by_pixels(images: np.ndarray, targets: np.ndarray) -> set[tuple[bytes, int]]:
    return {(np.ascontiguousarray(image).tobytes(), int(target)) for image, target in zip(images, targets, strict=True)}


def read_back(split: datasets.Split) -> set[tuple[bytes, int]]:
    """The bytes that the inputs were scaled from."""
    stored = (split.inputs.double() * 255).numpy()
    assert np.allclose(stored, stored.round(), atol=1e-4)
    return by_pixels(stored.round().astype(np.uint8), split.targets.numpy())


def assert_holds(data: datasets.Dataset, images: np.ndarray, targets: np.ndarray, test: set | None = None) -> None:
    """Every example in one split, and `test` in the test split."""
    parts = [read_back(getattr(data, part)) for part in PARTS]
    assert sum(map(len, parts)) == len(parts[0] | parts[1] | parts[2])
    everything = by_pixels(images, targets)
    if test is not None:
        assert parts[2] == test
        assert parts[0] | parts[1] == everything
    else:
        assert parts[0] | parts[1] | parts[2] == everything


def refused(data: str | Path, *words: str) -> None:
    """One sentence with these words."""
    with pytest.raises(InputError) as caught:
        datasets.load(data)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    for word in words:
        assert word in message


# Splits


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    data = datasets.load("digits")
    assert (data.name, data.classes, data.shape) == ("digits", 10, (8, 8))
    assert [len(getattr(data, part)) for part in PARTS] == [1247, 250, 300]
    found = torch.cat([getattr(data, part).inputs.flatten(1) for part in PARTS]) * 16
    found_targets = torch.cat([getattr(data, part).targets for part in PARTS])
    assert data.train.inputs.dtype == torch.float32
    assert data.train.targets.dtype == torch.int64
    rows = np.column_stack([found.numpy(), found_targets.numpy()])
    expected = np.column_stack([images, targets])
    assert np.array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])


def test_splits_depend_on_the_seed_alone_and_the_test_part_on_nothing() -> None:
    first, again, other = datasets.load("digits", seed=3), datasets.load("digits", seed=3), datasets.load("digits")
    for part in PARTS:
        assert torch.equal(getattr(first, part).inputs, getattr(again, part).inputs)
    assert not torch.equal(first.validation.inputs, other.validation.inputs)
    assert torch.equal(first.test.inputs, other.test.inputs)
    assert first.fingerprint == other.fingerprint
    assert len(first.fingerprint) == 64


def test_the_permutation_is_that_of_pcg64_on_every_machine() -> None:
    """First outputs of PCG64 (128-bit state, XSL-RR) by plain integer arithmetic from its state and increment; the
    numbers, which pin how a seed becomes a state, were recorded with numpy 2.4 on x86-64."""
    state = np.random.PCG64(5).state["state"]
    value, increment, outputs = state["state"], state["inc"], []
    for _ in range(40):
        value = (value * 0x2360ED051FC65DA44385DF649FCCF645 + increment) % 2**128
        mixed, turn = (value >> 64) ^ (value % 2**64), value >> 122
        outputs.append(((mixed >> turn) | (mixed << (64 - turn))) % 2**64)
    one_class = np.zeros(40, np.int64)
    assert stratified_order(one_class, 5).tolist() == sorted(range(40), key=outputs.__getitem__)
    assert stratified_order(np.arange(12) % 2, 0).tolist() == [11, 2, 3, 8, 1, 6, 0, 7, 4, 5, 10, 9]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 2**63 - 1))
def test_beginnings_hold_the_classes_in_their_shares(classes: list[int], seed: int) -> None:
    """Of n of N examples, class k with n_k of them has n · n_k / N up to ½ + K n_k / 2N, by the ranks' definition."""
    found = np.array(classes)
    order = stratified_order(found, seed)
    assert sorted(order) == list(range(len(found)))
    sizes = np.bincount(found)
    present = np.count_nonzero(sizes)
    for count in range(1, len(found) + 1):
        taken = np.bincount(found[order[:count]], minlength=len(sizes))
        allowed = 0.5 + present * sizes / (2 * len(found)) + 1e-9
        assert (abs(taken - count * sizes / len(found)) <= allowed).all()


def test_all_splits_have_the_classes_shares() -> None:
    data = datasets.load("digits", seed=1)
    shares = [getattr(data, part).targets.bincount() / len(getattr(data, part)) for part in PARTS]
    for share in shares:
        assert torch.allclose(share, shares[0], atol=1 / 250)


def test_subsets_are_nested_and_stratified() -> None:
    data = datasets.load("digits")
    small, large = data.subset(100, seed=2), data.subset(400, seed=2)
    assert torch.equal(small.train.inputs, large.train.inputs[:100])
    assert not torch.equal(small.train.inputs, data.subset(100, seed=3).train.inputs)
    assert small.validation is data.validation
    assert small.test is data.test
    assert small.train.targets.bincount().tolist() == [10] * 10
    for count in (0, 1248):
        with pytest.raises(InputError, match="1 to 1247"):
            data.subset(count)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True, None])
def test_seeds_out_of_range_are_refused(seed: object) -> None:
    with pytest.raises(InputError, match="seed is"):
        datasets.load("digits", seed=seed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="seed is"):
        datasets.load("digits").subset(10, seed=seed)  # type: ignore[arg-type]


# Standardising


@pytest.mark.parametrize("by", ["feature", "dataset"])
def test_standardising_uses_the_training_split_alone(by: str) -> None:
    data = datasets.load("digits")
    before = data.train.inputs.clone()
    done = data.standardised(by)  # type: ignore[arg-type]
    assert torch.equal(data.train.inputs, before)
    train = data.train.inputs.double().numpy()
    axis = 0 if by == "feature" else None
    mean, std = train.mean(axis), train.std(axis)
    for part in PARTS:
        inputs = getattr(data, part).inputs.double().numpy()
        expected = np.divide(
            inputs - mean, std, out=np.zeros_like(inputs), where=np.broadcast_to(std > 0, inputs.shape)
        )
        assert getattr(done, part).inputs.dtype == torch.float32
        assert np.allclose(getattr(done, part).inputs.numpy(), expected, rtol=1e-5, atol=1e-5)
    constant = (train == train[0]).all(0)
    assert constant.any()
    if by == "feature":
        assert not done.test.inputs[:, constant].any()
        assert not done.train.inputs[:, constant].any()


def test_a_feature_constant_at_any_byte_becomes_zero_also_where_it_varies_later(tmp_path: Path) -> None:
    images = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), TRAIN, axis=0)
    images[:, 0, 0] = np.arange(TRAIN)
    files = {"train-images-idx3-ubyte": idx_bytes(images), "t10k-images-idx3-ubyte": idx_bytes(pixels(TEST, 16, 16))}
    data = datasets.load(write(tmp_path, IDX_FILES | files)).standardised()
    assert data.train.inputs[:, 0, 0].std(correction=0).item() == pytest.approx(1, rel=1e-5)
    for part in PARTS:
        assert not getattr(data, part).inputs.flatten(1)[:, 1:].any()
        assert getattr(data, part).inputs.isfinite().all()


def test_standardising_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="by is 'pixel'"):
        datasets.load("digits").standardised("pixel")  # type: ignore[arg-type]
    images = np.full((TRAIN, 4, 5), 7, np.uint8)
    data = datasets.load(write(tmp_path, IDX_FILES | {"train-images-idx3-ubyte": idx_bytes(images)}))
    for by in ("feature", "dataset"):
        with pytest.raises(InputError, match="are the same"):
            data.standardised(by)  # type: ignore[arg-type]


def test_flattened_keeps_order_and_targets() -> None:
    data = datasets.load("digits")
    flat = data.flattened()
    assert flat.shape == (64,)
    assert torch.equal(flat.test.inputs, data.test.inputs.reshape(300, 64))
    assert flat.test.targets is data.test.targets


# IDX


def zipped(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content) for name, content in files.items()}


def dotted(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.replace("-idx", ".idx"): content for name, content in files.items()}


@pytest.mark.parametrize("variant", [dict, zipped, dotted, lambda files: zipped(dotted(files))])
def test_idx_folders(tmp_path: Path, variant: Callable) -> None:
    data = datasets.load(write(tmp_path, variant(IDX_FILES)))
    assert (data.classes, data.shape, data.name) == (3, (4, 5), tmp_path.name)
    assert [len(getattr(data, part)) for part in PARTS] == [50, 10, 12]
    assert_holds(data, TRAIN_IMAGES, labels(TRAIN), by_pixels(TEST_IMAGES, labels(TEST)))
    assert data.fingerprint == datasets.load(write(tmp_path / "plain", IDX_FILES)).fingerprint
    offset = 16  # two zeros, type, dimensions, three sizes: parsed here apart from the reader
    first = np.frombuffer(IDX_FILES["t10k-images-idx3-ubyte"], np.uint8, offset=offset)[:20].reshape(4, 5)
    assert np.array_equal(data.test.inputs[0].numpy(), first.astype(np.float32) / np.float32(255))


def test_the_fingerprint_follows_every_byte(tmp_path: Path) -> None:
    images = TRAIN_IMAGES.copy()
    images[-1, -1, -1] ^= 1
    first = datasets.load(write(tmp_path / "a", IDX_FILES)).fingerprint
    other = IDX_FILES | {"train-images-idx3-ubyte": idx_bytes(images)}
    assert datasets.load(write(tmp_path / "b", other)).fingerprint != first


def header(kind: int, dimensions: int, *sizes: int, zeros: int = 0) -> bytes:
    return struct.pack(f">HBB{len(sizes)}I", zeros, kind, dimensions, *sizes)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
WRONG_IDX = {
    "magic number": (IMAGES, header(8, 3, TRAIN, 4, 5, zeros=1) + bytes(1200), "begins with 00010803"),
    "text": (IMAGES, b"<html>not found</html>", "begins with 3c68746d"),
    "empty": (IMAGES, b"", "begins with nothing"),
    "item type": (IMAGES, header(0x0D, 3, TRAIN, 4, 5) + bytes(4800), "type 0x0d"),
    "dimensions": (IMAGES, header(8, 2, TRAIN, 20) + bytes(1200), "2 dimensions; images have 3"),
    "mislabelled labels": (LABELS, IDX_FILES[IMAGES], "3 dimensions; labels have 1"),
    "mislabelled images": (IMAGES, IDX_FILES[LABELS], "1 dimensions; images have 3"),
    "cut header": (IMAGES, IDX_FILES[IMAGES][:10], "within its header"),
    "cut items": (IMAGES, IDX_FILES[IMAGES][:-1], "only 1199 bytes"),
    "trailing": (IMAGES, IDX_FILES[IMAGES] + b"\0", "more bytes"),
    "huge": (IMAGES, header(8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(1200), "only 1200 bytes"),
    "no example": (IMAGES, header(8, 3, 0, 4, 5), "no image"),
    "no pixel": (IMAGES, header(8, 3, TRAIN, 0, 5), "no image"),
    "counts": (LABELS, idx_bytes(labels(59)), "60 images but 59 labels"),
    "one class": (LABELS, idx_bytes(np.ones(TRAIN, np.uint8)), "one class only (label 1)"),
    "gap": (LABELS, idx_bytes(np.where(labels(TRAIN) == 2, 255, labels(TRAIN)).astype(np.uint8)), "0 to 255"),
    "test label": ("t10k-labels-idx1-ubyte", idx_bytes(labels(TEST, 4)), "a label 3; 0 to 2 are allowed"),
    "shapes": ("t10k-images-idx3-ubyte", idx_bytes(pixels(TEST, 5, 4)), "one shape is needed"),
    "gzip cut": (IMAGES, gzip.compress(IDX_FILES[IMAGES])[:-9], "cannot be read"),
    "gzip checksum": (IMAGES, gzip.compress(IDX_FILES[IMAGES])[:-8] + bytes(8), "CRC"),
    "gzip huge": (IMAGES, gzip.compress(header(8, 3, 2**32 - 1, 28, 28) + bytes(1200)), "only 1200 bytes"),
}


@pytest.mark.parametrize("case", WRONG_IDX)
def test_wrong_idx_files_are_refused(tmp_path: Path, case: str) -> None:
    name, content, message = WRONG_IDX[case]
    refused(write(tmp_path, IDX_FILES | {name: content}), message)


def test_a_file_much_longer_than_its_header_says_is_not_read_to_its_end(tmp_path: Path) -> None:
    bomb = gzip.compress(header(8, 1, 10) + bytes(2**28), compresslevel=1)
    (tmp_path / "labels").write_bytes(bomb)
    command = (
        "import resource, sys\nfrom pathlib import Path\nfrom analyses.data.idx import read_idx\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**27,) * 2)\nread_idx(Path(sys.argv[1]), 1)"
    )
    done = subprocess.run([sys.executable, "-c", command, tmp_path / "labels"], capture_output=True, text=True)
    assert "holds more bytes" in done.stderr.splitlines()[-1]


def test_incomplete_and_double_idx_folders_are_refused(tmp_path: Path) -> None:
    files = dict(IDX_FILES)
    del files[LABELS]
    refused(write(tmp_path / "lacks", files), "lacks train-labels-idx1-ubyte, plain or .gz")
    refused(write(tmp_path / "twice", IDX_FILES | zipped(IDX_FILES)), f"holds {IMAGES} and {IMAGES}.gz")


SMALL = idx_bytes(pixels(3, 2, 2))


@given(data=st.data(), compressed=st.booleans())
def test_damaged_idx_files_load_the_same_or_are_refused(
    fuzz_folder: Path, data: st.DataObject, compressed: bool
) -> None:
    path = fuzz_folder / "file"
    content = bytearray(gzip.compress(SMALL, mtime=0) if compressed else SMALL)
    header_bytes = len(content) if compressed else 16
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, header_bytes - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(content)
    try:
        array = read_idx(path, dimensions=3)
    except InputError:
        return
    assert idx_bytes(array) == SMALL


# CIFAR


def cifar_files(count: int = 4) -> tuple[dict[str, bytes], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """CIFAR-10's six files of `count` records, and (images, labels) of each."""
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    content = {name: (pixels(count, 3, 32, 32), labels(count)) for name in names}
    files = {
        name: b"".join(bytes([label]) + image.tobytes() for image, label in zip(*both, strict=True))
        for name, both in content.items()
    }
    return files, content


def cifar_100_files() -> tuple[dict[str, bytes], dict[str, tuple[np.ndarray, np.ndarray]]]:
    content = {"train.bin": (pixels(102, 3, 32, 32), labels(102, 100)), "test.bin": (pixels(5, 3, 32, 32), labels(5))}
    files = {
        name: b"".join(bytes([label // 5, label]) + image.tobytes() for image, label in zip(*both, strict=True))
        for name, both in content.items()
    }
    return files, content


def test_cifar_10(tmp_path: Path) -> None:
    files, content = cifar_files()
    data = datasets.load(write(tmp_path, files))
    assert (data.classes, data.shape) == (3, (3, 32, 32))
    batches = [both for name, both in content.items() if name != "test_batch.bin"]
    images, targets = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    assert_holds(data, images, targets, by_pixels(*content["test_batch.bin"]))
    raw = np.frombuffer(files["test_batch.bin"], np.uint8)
    red, green, blue = (raw[1 + 1024 * channel : 1025 + 1024 * channel].reshape(32, 32) for channel in range(3))
    assert np.array_equal((data.test.inputs[0] * 255).round().numpy(), np.stack([red, green, blue]))


def test_cifar_100_has_fine_labels(tmp_path: Path) -> None:
    files, content = cifar_100_files()
    data = datasets.load(write(tmp_path, files))
    assert (data.classes, data.shape) == (100, (3, 32, 32))
    assert_holds(data, *content["train.bin"], by_pixels(*content["test.bin"]))


def test_wrong_cifar_folders_are_refused(tmp_path: Path) -> None:
    files, _ = cifar_files()
    hundred, _ = cifar_100_files()
    first = "data_batch_1.bin"
    changes = {
        "is cut": ({first: files[first][:-1]}, "holds 12291 bytes; CIFAR-10 has one or more records of 3073"),
        "empty": ({first: b""}, "holds 0 bytes"),
        "label": ({first: b"\x0a" + files[first][1:]}, "has a label 10; CIFAR-10 allows 0 to 9"),
        "other": ({first: hundred["test.bin"]}, "bytes; CIFAR-10 has"),
        "both": (hundred, "of CIFAR-10 and of CIFAR-100"),
    }
    for name, (change, message) in changes.items():
        refused(write(tmp_path / name, files | change), message)
    del files[first]
    refused(write(tmp_path / "lacks", files), "lacks data_batch_1.bin")
    coarse = b"\x14" + hundred["train.bin"][1:]
    refused(write(tmp_path / "coarse", hundred | {"train.bin": coarse}), "a label 20; CIFAR-100 allows 0 to 19")


# Image folders


def png(image: np.ndarray, mode: str | None = None, kind: str = "PNG") -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    picture = Image.fromarray(image if image.ndim == 2 else image.transpose(1, 2, 0))
    (picture.convert(mode) if mode else picture).save(stream, kind)
    return stream.getvalue()


def image_files_of(images: np.ndarray, targets: np.ndarray, folder: str = "") -> dict[str, bytes]:
    """Classes named so that their order is that of the labels."""
    return {
        f"{folder}{'abc'[label]}/{index}.png": png(image)
        for index, (image, label) in enumerate(zip(images, targets, strict=True))
    }


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_image_folders(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images, test_images = pixels(TRAIN, *shape), pixels(TEST, *shape)
    files = image_files_of(images, labels(TRAIN)) | {".hidden": b"", "a/.hidden": b""}
    data = datasets.load(write(tmp_path / "one", files))
    assert (data.classes, data.shape) == (3, shape)
    assert [len(getattr(data, part)) for part in PARTS] == [42, 8, 10]
    assert_holds(data, images, labels(TRAIN))
    parts = image_files_of(images, labels(TRAIN), "train/") | image_files_of(test_images, labels(TEST), "test/")
    data = datasets.load(write(tmp_path / "two", parts))
    assert_holds(data, images, labels(TRAIN), by_pixels(test_images, labels(TEST)))
    validation = image_files_of(test_images[:6], labels(6), "val/")
    data = datasets.load(write(tmp_path / "two", validation))
    assert read_back(data.validation) == by_pixels(test_images[:6], labels(6))
    assert len(data.train) == TRAIN


def test_wrong_image_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = image_files_of(pixels(9, 4, 5), labels(9))
    first, coloured = "a/0.png", pixels(3, 4, 5)
    cases = {
        "size": ({first: png(pixels(5, 4))}, "shape (4, 5), the first image (5, 4)"),
        "colour": ({first: png(coloured)}, "the first image (3, 4, 5)"),
        "alpha": ({first: png(pixels(4, 4, 5))}, "0.png is a transparent image"),
        "deep": ({first: png(pixels(4, 5).astype(np.uint16))}, "0.png is a I;16 image"),
        "text": ({first: b"no image"}, "0.png cannot be decoded: it is no image of a known format"),
        "nothing": ({first: b""}, "0.png cannot be decoded"),
        "cut": ({first: png(pixels(4, 5))[:-30]}, "0.png cannot be decoded"),
        "stray file": ({"notes.txt": b""}, "notes.txt is no folder of a class"),
        "nested": ({"a/deeper/1.png": png(pixels(4, 5))}, "deeper is no readable image file"),
        "both": ({"train/a/0.png": files[first]}, "holds a, b, c, train"),
    }
    for name, (change, message) in cases.items():
        refused(write(tmp_path / name, files | change), message)
    one = {name: content for name, content in files.items() if name.startswith("a/")}
    refused(write(tmp_path / "one class", one), "one class only")
    test = {"test/d/0.png": files[first]} | {f"train/{name}": content for name, content in files.items()}
    refused(write(tmp_path / "new class", test), "is no folder of a class of the training part")
    refused(write(tmp_path / "no train", {"test/a/0.png": files[first]}), "train with")
    few = image_files_of(pixels(2, 4, 5), labels(2))
    refused(write(tmp_path / "few", few), "holds 2 examples")
    monkeypatch.setattr(image_files, "MEMORY_LIMIT", 9 * 20 - 1)
    refused(write(tmp_path / "large", files), "holds 9 images like", "GiB")


def test_images_of_suspicious_size_are_refused_before_they_are_decoded() -> None:
    """A PNG of a few bytes whose header says 10,000 × 9,500 pixels, above pillow's bound of 2²⁸ / 3."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 10_000, 9_500, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99)))]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=r"file cannot be decoded: .*95000000 pixels"):
            image_files.decode_images([("file", content)], 1, "folder")


@given(st.data())
def test_damaged_image_files_decode_or_are_refused(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([png(TRAIN_IMAGES[0], kind=kind) for kind in ("PNG", "BMP", "PPM")])))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        images = image_files.decode_images([("file", bytes(content))], 1, "folder")
    except InputError:
        return
    assert images.dtype == np.uint8
    assert len(images) == 1


# Parquet and Hugging Face


def parquet_bytes(
    images: np.ndarray, targets: np.ndarray, image: str = "image", label: str = "label", kind: str = "PNG"
) -> bytes:
    """As the Hub stores them: the image column is a struct of its file's bytes and its path."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    encoded = [{"bytes": png(picture, kind=kind), "path": None} for picture in images]
    kept = targets if targets.dtype == np.uint64 else targets.astype(np.int64)
    table = arrow.table({image: encoded, label: kept})
    stream = io.BytesIO()
    parquet.write_table(table, stream, write_page_checksum=True, compression="none")
    return stream.getvalue()


def test_parquet_files(tmp_path: Path) -> None:
    half = TRAIN // 2
    files = {
        "train-00000-of-00002.parquet": parquet_bytes(TRAIN_IMAGES[:half], labels(TRAIN)[:half]),
        "train-00001-of-00002.parquet": parquet_bytes(TRAIN_IMAGES[half:], labels(TRAIN)[half:]),
        "test-00000-of-00001.parquet": parquet_bytes(TEST_IMAGES, labels(TEST)),
    }
    data = datasets.load(write(tmp_path, files))
    assert (data.classes, data.shape) == (3, (4, 5))
    assert_holds(data, TRAIN_IMAGES, labels(TRAIN), by_pixels(TEST_IMAGES, labels(TEST)))
    coloured = pixels(30, 3, 4, 5)
    write(tmp_path, {"whole.parquet": parquet_bytes(coloured, labels(30), "img", "fine_label")})
    data = datasets.load(tmp_path / "whole.parquet")
    assert data.name == "whole"
    assert_holds(data, coloured, labels(30))


def test_wrong_parquet_files_are_refused(tmp_path: Path) -> None:
    good = parquet_bytes(TRAIN_IMAGES, labels(TRAIN))
    damaged = bytearray(parquet_bytes(TRAIN_IMAGES, labels(TRAIN), kind="PPM"))
    damaged[damaged.index(TRAIN_IMAGES[3].tobytes())] ^= 255  # a pixel, which only the page's checksum guards
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    missing = io.BytesIO()
    parquet.write_table(arrow.table({"image": [b"", None], "label": [0, 1]}), missing)
    cases = {
        "cut": (good[:-20], "cannot be read as parquet"),
        "text": (b"nothing", "cannot be read as parquet"),
        "damaged": (bytes(damaged), "cannot be read as parquet"),
        "images": (parquet_bytes(TRAIN_IMAGES, labels(TRAIN), image="picture"), "has the columns picture, label"),
        "labels": (parquet_bytes(TRAIN_IMAGES, labels(TRAIN), label="name"), "has the columns image, name"),
        "undecodable": (missing.getvalue(), "the image in row 0 of"),
        "around 0": (parquet_bytes(TRAIN_IMAGES, labels(TRAIN, 2) * np.int64(2) - 1), "from -1 to 1"),
        "negative": (parquet_bytes(TRAIN_IMAGES, -labels(TRAIN).astype(np.int64)), "from -2 to 0"),
        "unsigned": (parquet_bytes(TRAIN_IMAGES, labels(TRAIN).astype(np.uint64) + np.uint64(2**63)), "below 2⁶³"),
        "no row": (parquet_bytes(TRAIN_IMAGES[:0], labels(0)), "has the columns"),
    }
    for name, (content, message) in cases.items():
        write(tmp_path, {f"{name}.parquet": content})
        refused(tmp_path / f"{name}.parquet", message)
    refused(tmp_path, ".parquet belongs to no part")
    refused(write(tmp_path / "test only", {"test.parquet": good}), "begins with train")


@pytest.mark.parametrize("name", ["cats/picture.png", "train.parquet", "train-images-idx3-ubyte"])
def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    folders = {"cats": {"cats/a.png": png(TRAIN_IMAGES[0]), "dogs/a.png": png(TRAIN_IMAGES[1])}}
    write(tmp_path, folders.get(name.partition("/")[0], {}))
    os.mkfifo(tmp_path / name)
    refused(tmp_path, "no regular file")


@given(data=st.data())
def test_damaged_parquet_files_load_the_same_or_are_refused(fuzz_folder: Path, data: st.DataObject) -> None:
    good = parquet_bytes(TRAIN_IMAGES[:6], labels(6))
    path = fuzz_folder / "file.parquet"
    path.write_bytes(good)
    expected = datasets.load(path).fingerprint
    content = bytearray(good)
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(content)
    try:
        found = datasets.load(path)
    except InputError:
        return
    assert found.fingerprint == expected


@pytest.mark.parametrize("count", [-1, 0, 2])
def test_more_images_than_stated_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"more images than the {count}"):
        image_files.decode_images([("file", png(TRAIN_IMAGES[0]))] * 3, count, "folder")


def hub_split(images: np.ndarray, targets: np.ndarray) -> object:
    hub = pytest.importorskip("datasets")
    features = hub.Features({"img": hub.Image(), "label": hub.ClassLabel(names=["a", "b", "c"])})
    encoded = [{"bytes": png(image), "path": None} for image in images]
    return hub.Dataset.from_dict({"img": encoded, "label": targets.tolist()}, features=features)


def test_hugging_face_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own classes; only the way to the Hub is replaced."""
    hub = pytest.importorskip("datasets")
    splits = {"train": hub_split(TRAIN_IMAGES, labels(TRAIN)), "test": hub_split(TEST_IMAGES, labels(TEST))}
    asked = []

    def load_dataset(name: str) -> object:
        asked.append(name)
        return hub.DatasetDict(splits | {"extra": splits["test"]})

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    data = datasets.load("huggingface:owner/name")
    assert asked == ["owner/name"]
    assert (data.name, data.classes, data.shape) == ("huggingface:owner/name", 3, (4, 5))
    assert_holds(data, TRAIN_IMAGES, labels(TRAIN), by_pixels(TEST_IMAGES, labels(TEST)))
    del splits["train"]
    refused("huggingface:owner/name", "has the splits test, extra; a split train is needed")


def test_hugging_face_offline_and_impossible_names(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("datasets")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.config, "HF_HUB_OFFLINE", True)
    refused("huggingface:nobody/nothing-of-this-name", "huggingface:nobody/nothing-of-this-name cannot be loaded: ")
    for name in ("", "..", "/etc", "a/b/c", "a b"):
        refused(f"huggingface:{name}", "names no data set")


@pytest.mark.parametrize(
    ("module", "package"), [("PIL.Image", "pillow"), ("pyarrow.parquet", "pyarrow"), ("datasets", "datasets")]
)
def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, package: str) -> None:
    write(tmp_path, {"images/a/0.png": png(pixels(2, 2)), "file.parquet": b""})
    monkeypatch.setitem(sys.modules, module, None)
    data = {"pillow": tmp_path / "images", "pyarrow": tmp_path / "file.parquet", "datasets": "huggingface:name"}[
        package
    ]
    refused(data, f"need the package {package}, which is not installed; pip install 'elutheory[data]'")


# Recognising


def test_names_and_folders_of_no_known_kind_are_refused(tmp_path: Path) -> None:
    refused("imagenet", "there is no data set 'imagenet'", "digits", "path", "huggingface:NAME")
    refused(tmp_path, "no data of a known kind", "IDX files", "CIFAR", "parquet", "images")
    refused(write(tmp_path, {"notes.txt": b""}), "no data of a known kind")
    refused(write(tmp_path, IDX_FILES | cifar_files()[0]), "holds IDX files and CIFAR binary files")
    refused("\0", "there is no data set")
    refused("a" * 5000, "cannot be read")


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    refused(write(tmp_path, IDX_FILES) / IMAGES, "there is no data set")
