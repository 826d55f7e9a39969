"""Images and labels as their files hold them, checked, and in an order that keeps the classes' shares."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas
from numpy.typing import NDArray

from elutheory.errors import InputError


@dataclass(frozen=True)
class LabelledImages:
    """Bytes (N, *shape) and labels (N,) of `source`, which errors name. Raises InputError if there is no example."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    source: str

    def __post_init__(self) -> None:
        if not self.images.size:
            raise InputError(f"{self.source} holds no image (shape {self.images.shape}); at least one is needed.")
        if len(self.images) != len(self.labels):
            raise InputError(
                f"{self.source} holds {len(self.images)} images but {len(self.labels)} labels; one label an image is "
                "needed."
            )

    def taken(self, indices: NDArray[np.intp]) -> "LabelledImages":
        """The examples of the indices, in their order."""
        return LabelledImages(self.images[indices], self.labels[indices], self.source)


def count_classes(parts: dict[str, LabelledImages]) -> int:
    """Number K of classes: the training labels are 0 … K − 1, each of them at least once.

    Raises InputError for labels outside that range, a class that the training part lacks, fewer than two classes, and
    parts whose images differ in shape.
    """
    train = parts["train"]
    found = np.unique(train.labels)
    if len(found) < 2:
        raise InputError(f"{train.source} holds one class only (label {found[0]}); at least two are needed.")
    if not np.array_equal(found, np.arange(len(found))):
        raise InputError(
            f"{train.source} has {len(found)} different labels, from {found[0]} to {found[-1]}; whole numbers from 0 "
            "without a gap are needed."
        )
    for part in parts.values():
        outside = part.labels[(part.labels < 0) | (part.labels >= len(found))]
        if len(outside):
            raise InputError(
                f"{part.source} has a label {outside[0]}; 0 to {len(found) - 1} are allowed, as in {train.source}."
            )
        if part.images.shape[1:] != train.images.shape[1:]:
            raise InputError(
                f"images in {part.source} have shape {part.images.shape[1:]}, those in {train.source} "
                f"{train.images.shape[1:]}; one shape is needed."
            )
    return len(found)


def stratified_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.intp]:
    """A permutation (N,) of which every beginning holds the classes in their shares, up to rounding.

    The example that comes r-th (from 0) of the n of its class in a seeded permutation is ranked by (r + ½) / n. The
    permutation sorts raw output of PCG64, which numpy keeps the same in all versions and on all machines.
    """
    shuffled = np.random.PCG64(seed).random_raw(len(labels)).argsort(kind="stable")
    of_class = pandas.Series(labels[shuffled]).groupby(labels[shuffled])
    rank = (of_class.cumcount() + 0.5) / of_class.transform("size")
    return shuffled[rank.to_numpy().argsort(kind="stable")]


def fingerprint(parts: dict[str, LabelledImages]) -> str:
    """SHA-256 of names, shapes and bytes of the parts."""
    digest = hashlib.sha256()
    for name, part in sorted(parts.items()):
        digest.update(f"{name} {part.images.shape} ".encode())
        digest.update(np.ascontiguousarray(part.images).data)
        digest.update(np.ascontiguousarray(part.labels, dtype="<i8").data)
    return digest.hexdigest()
