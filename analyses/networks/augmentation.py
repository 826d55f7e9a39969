"""Random crops of padded images, and their mirror images, drawn by seed and update: the same on every device."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

_DRAWS = 1 << 41
"""Beside a seed: not the numbers that order its batches."""


def crops_and_flips(padding: int) -> Callable[[Tensor, Sequence[int], int], Tensor]:
    """`augment` of `analyses.networks.training.train`, for images (networks, examples, channels, height, width).

    Zeros, `padding` of them, are put around an image; a part of the image's old size is cut out at a place drawn
    uniformly, and mirrored left to right with probability ½.
    """

    def augment(images: Tensor, seeds: Sequence[int], update: int) -> Tensor:
        return torch.stack(
            [
                cropped(of_one, padding, *draws(seed, update, len(of_one), 2 * padding))
                for of_one, seed in zip(images, seeds, strict=True)
            ]
        )

    return augment


def draws(seed: int, update: int, examples: int, room: int) -> tuple[Tensor, Tensor]:
    """Places (examples, 2) of the upper left corners, from 0 to `room`, and which images are mirrored."""
    mixed = np.random.SeedSequence((seed, update, _DRAWS)).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(mixed >> 1))
    places = torch.randint(0, room + 1, (examples, 2), generator=generator)
    return places, torch.randint(0, 2, (examples,), generator=generator).bool()


def cropped(
    images: Tensor, padding: int, places: Tensor, mirrored: Tensor, size: tuple[int, int] | None = None
) -> Tensor:
    """Parts (N, channels, height, width) of the padded images, at these places, some of them mirrored.

    `size`: height and width of the parts; None: of the images.
    """
    height, width = images.shape[-2:] if size is None else size
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    rows = places[:, :1] + torch.arange(height)
    columns = torch.arange(width).expand(len(images), width)
    columns = places[:, 1:] + torch.where(mirrored[:, None], columns.flip(1), columns)
    pixels = (rows[:, :, None] * padded.shape[-1] + columns[:, None, :]).flatten(1).to(images.device)
    taken = padded.flatten(2).gather(2, pixels[:, None].expand(-1, images.shape[1], -1))
    return taken.unflatten(2, (height, width))
