"""CIFAR-10 and CIFAR-100 in their binary version: records of the labels' bytes and a 3 × 32 × 32 image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analyses.data.labelled_images import LabelledImages
from elutheory.errors import InputError

_SHAPE = (3, 32, 32)
_IMAGE = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    """Files of each part, and the number of classes that each of a record's label bytes counts, the wanted one last."""

    name: str
    files: dict[str, tuple[str, ...]]
    classes: tuple[int, ...]


_LAYOUTS = (
    _Layout(
        "CIFAR-10",
        {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
        (10,),
    ),
    _Layout("CIFAR-100", {"train": ("train.bin",), "test": ("test.bin",)}, (20, 100)),
)


def is_cifar_folder(folder: Path) -> bool:
    """Whether a file in it has one of the names of the two data sets."""
    return any(_has_files_of(layout, folder) for layout in _LAYOUTS)


def read_cifar_folder(folder: Path) -> dict[str, LabelledImages]:
    """Parts "train" and "test" with images (N, 3, 32, 32); CIFAR-100 with its 100 fine labels.

    Raises InputError for a missing file, one that is no whole number of records, labels out of range and files of both
    data sets.
    """
    layouts = [layout for layout in _LAYOUTS if _has_files_of(layout, folder)]
    if len(layouts) != 1:
        raise InputError(f"{folder} holds files of CIFAR-10 and of CIFAR-100; give a folder of one of them.")
    (layout,) = layouts
    return {part: _read_part(folder, names, part, layout) for part, names in layout.files.items()}


def _has_files_of(layout: _Layout, folder: Path) -> bool:
    return any((folder / name).is_file() for names in layout.files.values() for name in names)


def _read_part(folder: Path, names: tuple[str, ...], part: str, layout: _Layout) -> LabelledImages:
    record = len(layout.classes) + _IMAGE
    files = []
    for name in names:
        path = folder / name
        if not path.is_file():
            raise InputError(f"{folder} lacks {name} of {layout.name}'s binary version.")
        try:
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error}.") from error
        if not len(content) or len(content) % record:
            raise InputError(f"{path} holds {len(content)} bytes; {layout.name} has one or more records of {record}.")
        records = content.reshape(-1, record)
        for column, classes in enumerate(layout.classes):
            if (largest := records[:, column].max()) >= classes:
                raise InputError(f"{path} has a label {largest}; {layout.name} allows 0 to {classes - 1} there.")
        files.append(records)
    images = np.concatenate([records[:, -_IMAGE:] for records in files]).reshape(-1, *_SHAPE)
    labels = np.concatenate([records[:, -_IMAGE - 1] for records in files]).astype(np.int64)
    return LabelledImages(images, labels, f"the {part} part of {folder}")
