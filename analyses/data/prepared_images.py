"""Images as the paper's convolutional networks see them: contrast-normalised and ZCA-whitened, once for all runs."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from analyses.data import datasets
from analyses.data.datasets import Dataset, Split
from analyses.data.kept_arrays import Kept, digest_of_files, kept, kept_description
from analyses.data.whitening import contrast_normalised, fitted_whitening

_FORMAT = 1
"""Another number for another way to prepare images: kept ones of the old way are no longer found."""
_NAME = "whitened"


@dataclass(frozen=True)
class PreparedImages:
    """Training and test images (N, channels, height, width), float32, whitened by what was fitted on the training ones.

    `chance`: the test error of naming the most frequent class of the test part always.
    """

    name: str
    classes: int
    train: Split
    test: Split

    @property
    def validation(self) -> Split:
        """None: nothing is chosen by any, so that they are trained on."""
        return Split(self.test.inputs[:0], self.test.targets[:0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: channels, height, width."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def chance(self) -> float:
        """See above."""
        return 1 - float(self.test.targets.bincount().max()) / len(self.test)


def prepared_images(data: str, examples: int, regularisation: float) -> PreparedImages:
    """`datasets.load(data)`, its training and validation parts together, `examples` of them (0: all), whitened.

    Images without channels get one. What is prepared from files is kept on disk (`kept_arrays`), found again by the
    files' content. Raises InputError as `datasets.load` does.
    """
    key = _key(Path(data), examples, regularisation) if _is_files(data) else None
    return _read_once(data, examples, regularisation, None if key is None else tuple(key.items()))


@lru_cache(maxsize=1)
def _read_once(
    data: str, examples: int, regularisation: float, key: tuple[tuple[str, Any], ...] | None
) -> PreparedImages:
    """Of one data set at a time, in memory; `key`: of what is kept on disk, None: nothing is."""
    if key is None:
        prepared = _prepared(data, examples, regularisation)
    else:
        prepared = kept(_NAME, dict(key), lambda: _prepared(data, examples, regularisation))
    tensors = {name: torch.from_numpy(array) for name, array in prepared.arrays.items()}
    train, test = (Split(tensors[f"{part}_inputs"], tensors[f"{part}_targets"]) for part in ("train", "test"))
    return PreparedImages(prepared.description["name"], prepared.description["classes"], train, test)


def kept_shape(data: str, examples: int, regularisation: float) -> tuple[int, tuple[int, ...], int] | None:
    """Training examples, shape of an image, classes of what is kept already, without decoding; None if it is not."""
    if not _is_files(data):
        return None
    found = kept_description(_NAME, _key(Path(data), examples, regularisation))
    return None if found is None else (found["examples"], tuple(found["shape"]), found["classes"])


def _is_files(data: str) -> bool:
    return data != "digits" and (Path(data).is_dir() or Path(data).is_file())  # a FIFO would be waited for


def _key(place: Path, examples: int, regularisation: float) -> dict[str, Any]:
    digest = digest_of_files(place)
    name = place.resolve().name
    return {"format": _FORMAT, "name": name, "files": digest, "examples": examples, "regularisation": regularisation}


def _prepared(data: str, examples: int, regularisation: float) -> Kept:
    loaded = joined(datasets.load(data))
    loaded = loaded.subset(examples) if examples else loaded
    parts = {name: _with_channels(getattr(loaded, name).inputs) for name in ("train", "test")}
    train, test = (contrast_normalised(inputs.numpy()) for inputs in parts.values())
    whitening = fitted_whitening(train, regularisation)
    arrays = {
        "train_inputs": whitening.applied(train),
        "train_targets": loaded.train.targets.numpy(),
        "test_inputs": whitening.applied(test),
        "test_targets": loaded.test.targets.numpy(),
    }
    described = {"name": loaded.name, "classes": loaded.classes}
    return Kept(arrays, described | {"examples": len(train), "shape": list(train.shape[1:])})


def joined(data: Dataset) -> Dataset:
    """The data set with its validation part in the training part, behind."""
    parts = data.train, data.validation
    inputs, targets = (torch.cat([getattr(part, name) for part in parts]) for name in ("inputs", "targets"))
    return replace(data, train=Split(inputs, targets))


def _with_channels(images: torch.Tensor) -> torch.Tensor:
    return images if images.ndim == 4 else images.unsqueeze(1)
