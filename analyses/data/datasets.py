"""Labelled images as training, validation and test tensors: scikit-learn's digits, or files of well-known formats."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from analyses.data.cifar import is_cifar_folder, read_cifar_folder
from analyses.data.idx import is_idx_folder, read_idx_folder
from analyses.data.images import is_image_folder, read_image_folder
from analyses.data.labelled_images import LabelledImages, count_classes, fingerprint, stratified_order
from analyses.data.tables import is_parquet_folder, read_hugging_face, read_parquet
from elutheory.errors import InputError

SHARE = 1 / 6
"""Of the training part for validation, 10,000 of 60,000; and before that for a test part where there is none."""

_HUGGING_FACE = "huggingface:"
_LARGEST_BYTE, _LARGEST_DIGIT_VALUE = 255, 16
_FOLDERS = {
    "IDX files": (is_idx_folder, read_idx_folder),
    "CIFAR binary files": (is_cifar_folder, read_cifar_folder),
    "parquet files": (is_parquet_folder, read_parquet),
    "images with a subfolder a class": (is_image_folder, read_image_folder),
}


@dataclass(frozen=True)
class Split:
    """Inputs (N, *shape) float32 and targets (N,) int64."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Dataset:
    """A classification problem: K = `classes`, targets 0 … K − 1.

    `fingerprint`: SHA-256 of the images and labels as they were read, before splitting and standardising.
    """

    name: str
    classes: int
    train: Split
    validation: Split
    test: Split
    fingerprint: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return tuple(self.train.inputs.shape[1:])

    def standardised(self, by: Literal["feature", "dataset"] = "feature") -> "Dataset":
        """(x − mean) / standard deviation, both of the training split: of each feature, or of all values together.

        A feature that never varies in the training split becomes 0 in every split. Raises InputError where no value
        of the training split varies.
        """
        if by not in ("feature", "dataset"):
            raise InputError(f"by is {by!r}; 'feature' or 'dataset' is needed.")
        variance, mean = torch.var_mean(self.train.inputs, dim=0 if by == "feature" else None, correction=0)
        if not variance.any():
            raise InputError(f"all training inputs of {self.name} are the same; they cannot be standardised.")
        scale = torch.where(variance > 0, variance.rsqrt(), 0.0)
        return self._with_inputs(lambda inputs: (inputs - mean).mul_(scale))

    def flattened(self) -> "Dataset":
        """Inputs (N, features)."""
        return self._with_inputs(lambda inputs: inputs.flatten(1))

    def subset(self, examples: int, seed: int = 0) -> "Dataset":
        """That many training examples with the classes in their shares; validation and test stay whole.

        A smaller subset of the same seed is the beginning of a larger one. Raises InputError unless 1 ≤ examples ≤ N.
        """
        if not 1 <= examples <= len(self.train):
            raise InputError(f"examples is {examples}; 1 to {len(self.train)} training examples can be had.")
        chosen = stratified_order(self.train.targets.numpy(), _checked_seed(seed))[:examples]
        return replace(self, train=Split(self.train.inputs[chosen], self.train.targets[chosen]))

    def _with_inputs(self, change: Callable[[Tensor], Tensor]) -> "Dataset":
        parts = {name: getattr(self, name) for name in ("train", "validation", "test")}
        return replace(self, **{name: replace(part, inputs=change(part.inputs)) for name, part in parts.items()})


def load(data: str | Path, seed: int = 0) -> Dataset:
    """The data set `data`, inputs scaled to [0, 1].

    - "digits": scikit-learn's 1,797 images of 8 × 8;
    - the path of a folder of IDX files (MNIST, Fashion-MNIST; plain or gzipped), of CIFAR-10's or CIFAR-100's binary
      files, of parquet files, or of images in a folder per class (see the modules that read them); or of one parquet
      file;
    - "huggingface:NAME", a data set of the Hugging Face Hub.

    `seed` (0 to 2⁶³ − 1) decides which sixth of the training part is for validation; a test part, where the data have
    none, is a sixth that depends on no seed. Both keep the classes' shares. Raises InputError for data that are
    missing, incomplete, corrupt or of no known kind.
    """
    _checked_seed(seed)
    name, parts, largest = _read(data)
    classes = count_classes(parts)
    digest = fingerprint(parts)
    if "test" not in parts:
        parts["test"], parts["train"] = _cut(parts["train"], seed=0)
    if "validation" not in parts:
        parts["validation"], parts["train"] = _cut(parts["train"], seed)
    splits = {part: _as_split(images, largest) for part, images in parts.items()}
    return Dataset(name, classes, splits["train"], splits["validation"], splits["test"], digest)


def _read(data: str | Path) -> tuple[str, dict[str, LabelledImages], int]:
    """Name, parts and largest possible value."""
    if data == "digits":
        return "digits", _read_digits(), _LARGEST_DIGIT_VALUE
    if str(data).startswith(_HUGGING_FACE):
        return str(data), read_hugging_face(str(data).removeprefix(_HUGGING_FACE)), _LARGEST_BYTE
    path = Path(data)
    try:
        if path.is_dir():
            return path.resolve().name, _read_folder(path), _LARGEST_BYTE
        if path.is_file() and path.suffix == ".parquet":
            return path.stem, read_parquet(path), _LARGEST_BYTE
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    raise InputError(
        f"there is no data set {str(data)!r}; digits, the path of a folder ({_kinds()}) or of a parquet file, or "
        f"{_HUGGING_FACE}NAME is needed."
    )


def _read_folder(folder: Path) -> dict[str, LabelledImages]:
    found = [kind for kind, (is_of_kind, _) in _FOLDERS.items() if is_of_kind(folder)]
    if len(found) != 1:
        holds = " and ".join(found) or "no data of a known kind"
        raise InputError(f"{folder} holds {holds}; a folder of one kind is needed: {_kinds()}.")
    return _FOLDERS[found[0]][1](folder)


def _kinds() -> str:
    *most, last = _FOLDERS
    return f"{', '.join(most)} or {last}"


def _read_digits() -> dict[str, LabelledImages]:
    from sklearn.datasets import load_digits  # noqa: PLC0415 (scikit-learn takes seconds; other data need none of it)

    digits: Any = load_digits()
    return {"train": LabelledImages(digits.images.astype(np.uint8), digits.target.astype(np.int64), "digits")}


def _cut(part: LabelledImages, seed: int) -> tuple[LabelledImages, LabelledImages]:
    order = stratified_order(part.labels, seed)
    count = round(SHARE * len(order))
    if not 0 < count < len(order):
        raise InputError(f"{part.source} holds {len(order)} examples; at least 4 are needed to cut a sixth from them.")
    return part.taken(order[:count]), part.taken(order[count:])


def _as_split(part: LabelledImages, largest: int) -> Split:
    return Split(torch.from_numpy(part.images).to(torch.float32).div_(largest), torch.from_numpy(part.labels))


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed!r}; a whole number from 0 to 2⁶³ − 1 is needed.")
    return seed
