"""Images of any size from a folder of any shape, resized to squares, as the paper prepares ImageNet's (section 4.4)."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyses.data.images import SUFFIXES, decoded, optional_package, read_content
from elutheory.errors import InputError


def resized_images(folder: Path, count: int, side: int) -> NDArray[np.uint8]:
    """`count` images (N, 3, side, side) of the image files below the folder, spread evenly over their sorted paths.

    Each is resized bilinearly to a square, whatever its shape; gray ones get three equal channels. Hidden files and
    folders are passed over. Raises InputError for fewer files than that, and for one that cannot be decoded.
    """
    try:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}.") from error
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if len(files) < count:
        raise InputError(f"{folder} holds {len(files)} image files ({', '.join(SUFFIXES)}); {count} are needed.")
    chosen = [files[index * len(files) // count] for index in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pillow warns of files that are too large or half broken
        return np.stack([_resized(path, side) for path in chosen])


def _resized(path: Path, side: int) -> NDArray[np.uint8]:
    pillow = optional_package("PIL.Image", "pillow")
    pixels = decoded(str(path), read_content(path))
    image = pillow.fromarray(pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    resized = np.asarray(image.convert("RGB").resize((side, side), pillow.Resampling.BILINEAR))
    return resized.transpose(2, 0, 1)
