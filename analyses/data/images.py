"""Image files: decoding with pillow, and folders with a subfolder per class."""

import importlib
import warnings
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyses.data.labelled_images import LabelledImages
from elutheory.errors import InputError

PARTS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
"""Part of the data by the name of a folder, file or split."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP")
_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
MEMORY_LIMIT = 2**32
"""Bytes that the decoded images of one part may take: 16 GiB as float32."""


def optional_package(module: str, package: str | None = None) -> Any:
    """The imported module. Raises InputError, saying what to install, if its package is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            f"these data need the package {package or module}, which is not installed; pip install 'elutheory[data]'."
        ) from None


def first_line(error: Exception) -> str:
    """What a library says, to be part of a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def is_image_folder(folder: Path) -> bool:
    """Whether there are image files in its subfolders, or in theirs."""
    return any(path.suffix.lower() in SUFFIXES for depth in ("*/*", "*/*/*") for path in folder.glob(depth))


def read_image_folder(folder: Path) -> dict[str, LabelledImages]:
    """Parts by the subfolders train, validation (valid, val) and test, or "train" alone without such; below them a
    folder per class, numbered in the order of the names of the training part's; images (N, height, width) or
    (N, 3, height, width).

    Raises InputError for anything in the folders that is not as described (hidden files are passed over), files that
    cannot be decoded and images of different shapes.
    """
    subfolders = {path.name: path for path in _visible(folder)}
    parts = {PARTS[name]: path for name, path in subfolders.items() if name in PARTS}
    others = [name for name in subfolders if name not in PARTS]
    if not parts:
        return {"train": _read_classes(folder, _class_names(folder))}
    if others or "train" not in parts or len(parts) < len(subfolders):
        raise InputError(
            f"{folder} holds {', '.join(subfolders)}; train with, if any, validation and test, or one folder a class, "
            "are needed."
        )
    names = _class_names(parts["train"])
    return {part: _read_classes(path, names) for part, path in parts.items()}


def _class_names(folder: Path) -> list[str]:
    return [path.name for path in _visible(folder)]


def _read_classes(folder: Path, names: list[str]) -> LabelledImages:
    files, labels = [], []
    for path in _visible(folder):
        if not path.is_dir() or path.name not in names:
            raise InputError(f"{path} is no folder of a class of the training part; there is one folder a class.")
        of_class = _visible(path)
        files += of_class
        labels += [names.index(path.name)] * len(of_class)
    images = decode_images(((str(path), read_content(path)) for path in files), len(files), str(folder))
    return LabelledImages(images, np.array(labels, np.int64), str(folder))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def read_content(path: Path) -> bytes:
    """The file's bytes; raises InputError where it cannot be read."""
    if not path.is_file():  # a FIFO would be waited for, without end
        raise InputError(f"{path} is no readable image file: it is no regular file.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} is no readable image file: {error.strerror}.") from error


def decode_images(encoded: Iterable[tuple[str, bytes]], count: int, source: str) -> NDArray[np.uint8]:
    """(N, height, width) for gray images, (N, 3, height, width) for coloured ones, of N = `count` pairs of a name and
    a file's content in PNG, JPEG, BMP, PPM or WebP, 8 bits a channel, without transparency.

    Raises InputError for no image, one that is not such, shapes that differ, and images that together exceed the
    memory limit.
    """
    images = np.empty((0,), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pillow warns of files that are too large or half broken
        for index, (name, content) in enumerate(encoded):
            image = decoded(name, content)
            if index >= count:
                raise InputError(f"{source} holds more images than the {count} that it states.")
            if not index:
                if count * image.size > MEMORY_LIMIT:
                    raise InputError(
                        f"{source} holds {count} images like {name} (shape {image.shape}), more than "
                        f"{MEMORY_LIMIT / 2**30:.0f} GiB; take fewer or smaller ones."
                    )
                images = np.empty((count, *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise InputError(f"{name} has shape {image.shape}, the first image {images.shape[1:]}; one is needed.")
            images[index] = image
    return images


def decoded(name: str, content: bytes) -> NDArray[np.uint8]:
    """(height, width) of a gray image, (3, height, width) of a coloured one; see `decode_images`."""
    pillow = optional_package("PIL.Image", "pillow")
    try:
        with pillow.open(BytesIO(content), formats=_FORMATS) as image:
            mode = "transparent" if image.has_transparency_data else image.mode
            pixels = np.asarray(image.convert(_MODES[mode])) if mode in _MODES else None
    except Exception as error:  # a broken file makes pillow raise many kinds
        unknown = isinstance(error, pillow.UnidentifiedImageError)
        reason = "it is no image of a known format" if unknown else first_line(error)
        raise InputError(f"{name} cannot be decoded: {reason}.") from error
    if pixels is None:
        raise InputError(f"{name} is a {mode} image; gray or RGB with 8 bits and no transparency is needed.")
    return pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
