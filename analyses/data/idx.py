"""IDX files, plain or gzipped: the format of MNIST, Fashion-MNIST and their relatives."""

import gzip
import io
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyses.data.labelled_images import LabelledImages
from elutheory.errors import InputError

_NAME = re.compile(r"(train|t10k)-(images|labels)[-.]idx([13])-ubyte(\.gz)?")
_PARTS = {"train": "train", "t10k": "test"}
_UNSIGNED_BYTE = 0x08
_CHUNK = 2**20


def is_idx_folder(folder: Path) -> bool:
    """Whether a file in it has one of the names of the format."""
    return any(_NAME.fullmatch(path.name) for path in folder.iterdir())


def read_idx_folder(folder: Path) -> dict[str, LabelledImages]:
    """Parts "train" and "test" of train-images-idx3-ubyte and its three companions (or train-images.idx3-ubyte, .gz).

    Raises InputError for a file that is missing, there twice or no whole IDX file of bytes, and for counts that differ.
    """
    parts = {}
    for prefix, part in _PARTS.items():
        images = read_idx(_only_file(folder, prefix, "images"), dimensions=3)
        labels = read_idx(_only_file(folder, prefix, "labels"), dimensions=1)
        parts[part] = LabelledImages(images, labels.astype(np.int64), f"the {part} part of {folder}")
    return parts


def _only_file(folder: Path, prefix: str, content: str) -> Path:
    matches = [(path, _NAME.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    found = [path for path, match in matches if match and match.group(1, 2) == (prefix, content)]
    expected = f"{prefix}-{content}-idx{3 if content == 'images' else 1}-ubyte, plain or .gz"
    if not found:
        raise InputError(f"{folder} lacks {expected}.")
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise InputError(f"{folder} holds {names}; keep one file {expected}.")
    return found[0]


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of bytes in an IDX file: two zero bytes, the item type, the number of dimensions, their sizes as
    big-endian 32-bit integers, the items. A file that begins like gzip is decompressed, whatever its name.

    Raises InputError for any other item type or number of dimensions, and unless the items are as many as the header
    says; never reads more than that.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file; an IDX file is needed.")
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            shape = _read_shape(stream, path, dimensions)
            count = math.prod(shape)
            items = _read_up_to(stream, count + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {str(error).rstrip('.') or type(error).__name__}.") from error
    if len(items) != count:
        found = f"only {len(items)}" if len(items) < count else "more"
        raise InputError(f"{path} holds {found} bytes after its header, which says {count} (shape {shape}).")
    return np.frombuffer(items, np.uint8).reshape(shape)


def _read_shape(stream: io.BufferedIOBase, path: Path, dimensions: int) -> tuple[int, ...]:
    header = stream.read(4 + 4 * dimensions)
    kind = "images" if dimensions == 3 else "labels"
    if len(header) < 4 or header[:2] != b"\0\0":
        raise InputError(f"{path} begins with {header[:4].hex() or 'nothing'}; an IDX file begins with 0000.")
    if header[2] != _UNSIGNED_BYTE:
        raise InputError(f"{path} holds items of type 0x{header[2]:02x}; unsigned bytes (0x08) are needed.")
    if header[3] != dimensions:
        raise InputError(f"{path} has {header[3]} dimensions; {kind} have {dimensions}.")
    if len(header) < 4 + 4 * dimensions:
        raise InputError(f"{path} ends within its header.")
    return struct.unpack(f">{dimensions}I", header[4:])


def _read_up_to(stream: io.BufferedIOBase, size: int) -> bytearray:
    """In chunks, so that memory follows what the file holds and not what its header says."""
    content = bytearray()
    while len(content) < size and (chunk := stream.read(min(_CHUNK, size - len(content)))):
        content += chunk
    return content
