"""How a function multiplies weights with activations, whatever its shapes: one layout for all that are linear in them.

Every net input of a unit is its own weights times incoming activations, once per position. A `LinearMap` lays out what
a function received as activations (examples, groups, positions, fan_in), what it returned as (examples, positions,
units), and its weight as (units, fan_in), so that nets = weight · activations, whichever function it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from elutheory.models.layers import Convolution


class LinearMap(ABC):
    """A function that is linear in its weight. The examples are the first axis of what it is given and returns."""

    @abstractmethod
    def activations(self, incoming: Tensor, net: torch.Size) -> Float[Tensor, "examples groups positions fan_in"]:
        """What went in, at every position of a net input of shape `net`."""

    @abstractmethod
    def by_position(self, net: Tensor) -> Float[Tensor, "examples positions units"]:
        """A net input, or a gradient with respect to it, with one axis of positions."""

    @abstractmethod
    def by_unit(self, weight: Tensor) -> Float[Tensor, "units fan_in"]:
        """The weight, or a gradient with respect to it, unit by unit."""

    @abstractmethod
    def as_weight(self, rows: Float[Tensor, "units fan_in"], shape: torch.Size) -> Tensor:
        """The inverse of `by_unit`, for a weight of that shape."""

    @abstractmethod
    def positions(self, incoming: torch.Size, net: torch.Size) -> tuple[int, ...]:
        """The lengths of the axes of the positions."""

    @property
    @abstractmethod
    def axis_of_units(self) -> int:
        """The axis of the weight along which the units lie."""

    @property
    def groups(self) -> int:
        """Groups of units that receive activations of their own."""
        return 1

    def refusal(self, incoming: Tensor, axis: int, examples: int) -> str | None:
        """Why that is not laid out as it should be, `axis` being that of the examples: how many axes are needed."""
        wrong = incoming.ndim < 2 or axis > incoming.ndim - 2 or incoming.shape[axis] != examples
        return "2 or more" if wrong else None


@dataclass(frozen=True)
class Dense(LinearMap):
    """weight · a along the last axis; `transposed`: the weight is (fan_in, units), else (units, fan_in)."""

    transposed: bool = False

    @property
    def axis_of_units(self) -> int:
        """Rows, or columns."""
        return 1 if self.transposed else 0

    def activations(self, incoming: Tensor, net: torch.Size) -> Float[Tensor, "examples groups positions fan_in"]:
        """(examples, ..., fan_in) with one axis of positions."""
        return incoming.reshape(len(incoming), 1, -1, incoming.shape[-1])

    def by_position(self, net: Tensor) -> Float[Tensor, "examples positions units"]:
        """(examples, ..., units) with one axis of positions."""
        return net.reshape(len(net), -1, net.shape[-1])

    def by_unit(self, weight: Tensor) -> Float[Tensor, "units fan_in"]:
        """The weight as it is, or transposed; a bilinear one with one axis for pairs of activations."""
        return weight.T if self.transposed else weight.flatten(1)

    def as_weight(self, rows: Float[Tensor, "units fan_in"], shape: torch.Size) -> Tensor:
        """The rows, or columns, of the weight."""
        return rows.T if self.transposed else rows.reshape(shape)

    def positions(self, incoming: torch.Size, net: torch.Size) -> tuple[int, ...]:
        """The axes between the examples and the activations."""
        return tuple(incoming[1:-1])


@dataclass(frozen=True)
class Lookup(LinearMap):
    """An embedding: the weight (words, units) times one-hot vectors, given as the numbers of the words.

    `padding`: the word whose vector is never trained.
    """

    padding: int | None = None

    @property
    def axis_of_units(self) -> int:
        """Columns."""
        return 1

    def words(self, incoming: Tensor) -> Int[Tensor, " words"]:
        """Those that occur, in ascending order: the others' coordinates are always 0."""
        words = torch.unique(incoming)
        return words if self.padding is None else words[words != self.padding]

    def activations(self, incoming: Tensor, net: torch.Size) -> Float[Tensor, "examples groups positions fan_in"]:
        """One-hot vectors, one coordinate for each word that occurs."""
        return self.one_hot(incoming, self.words(incoming))

    def one_hot(self, incoming: Tensor, words: Int[Tensor, " words"]) -> Tensor:
        """(examples, 1, positions, words): whether the word there is that one."""
        return (incoming.reshape(len(incoming), 1, -1, 1) == words).to(torch.uint8)

    def by_position(self, net: Tensor) -> Float[Tensor, "examples positions units"]:
        """(examples, ..., units) with one axis of positions."""
        return net.reshape(len(net), -1, net.shape[-1])

    def by_unit(self, weight: Tensor) -> Float[Tensor, "units fan_in"]:
        """A unit is an entry of the word vectors."""
        return weight.T

    def as_weight(self, rows: Float[Tensor, "units fan_in"], shape: torch.Size) -> Tensor:
        """Columns of the weight."""
        return rows.T

    def positions(self, incoming: torch.Size, net: torch.Size) -> tuple[int, ...]:
        """The axes after that of the examples."""
        return tuple(incoming[1:])

    def refusal(self, incoming: Tensor, axis: int, examples: int) -> str | None:
        """A number for every example and position."""
        return "1 or more" if axis >= incoming.ndim or incoming.shape[axis] != examples else None


@dataclass(frozen=True)
class Patches(LinearMap):
    """A convolution: weight (channels out, channels in / groups, *kernel) times a patch of the padded input.

    `padding` as `torch.nn.functional.pad` takes it, of the kind `mode`.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups_of_units: int = 1
    mode: str = "constant"

    @classmethod
    def of_call(
        cls, weight: Tensor, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> "Patches":
        """Of torch.nn.functional.conv1d, conv2d or conv3d, called with these arguments."""
        kernel = tuple(weight.shape[2:])
        stride, dilation = (_each(value, len(kernel)) for value in (stride, dilation))
        return cls(kernel, stride, _sides(kernel, padding, dilation), dilation, groups)

    @classmethod
    def of_module(cls, module: Convolution) -> "Patches":
        """Of a convolution module, its own way of padding included."""
        kernel = tuple(module.kernel_size)
        dilation = tuple(module.dilation)
        sides = _sides(kernel, module.padding, dilation)
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        return cls(kernel, tuple(module.stride), sides, dilation, module.groups, mode)

    @property
    def groups(self) -> int:
        """The convolution's groups: unit u belongs to group u // (units / groups)."""
        return self.groups_of_units

    @property
    def axis_of_units(self) -> int:
        """Channels out."""
        return 0

    def activations(self, incoming: Tensor, net: torch.Size) -> Float[Tensor, "examples groups positions fan_in"]:
        """Patches; fan_in in the order of `weight.flatten(1)`, positions in that of `output.flatten(2)`."""
        patches = nn.functional.pad(incoming, self.padding, mode=self.mode)
        for axis, (size, stride, dilation) in enumerate(
            zip(self.kernel, self.stride, self.dilation, strict=True), start=2
        ):
            patches = patches.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
        return _by_group(patches, len(self.kernel), self.groups)

    def by_position(self, net: Tensor) -> Float[Tensor, "examples positions units"]:
        """(examples, units, *space) with one axis of positions."""
        return net.flatten(2).transpose(1, 2)

    def by_unit(self, weight: Tensor) -> Float[Tensor, "units fan_in"]:
        """Output channel by output channel."""
        return weight.flatten(1)

    def as_weight(self, rows: Float[Tensor, "units fan_in"], shape: torch.Size) -> Tensor:
        """Output channel by output channel."""
        return rows.reshape(shape)

    def positions(self, incoming: torch.Size, net: torch.Size) -> tuple[int, ...]:
        """The net input's space."""
        return tuple(net[2:])

    def refusal(self, incoming: Tensor, axis: int, examples: int) -> str | None:
        """Examples, channels and space."""
        axes = len(self.kernel) + 2
        return str(axes) if incoming.ndim != axes or axis > 0 or incoming.shape[0] != examples else None


@dataclass(frozen=True)
class TransposedPatches(LinearMap):
    """A transposed convolution: the weight (channels in, channels out / groups, *kernel) times what meets a position.

    At the position p the coordinate (channel, k) is the input at q with q · stride + k · dilation − padding = p, and 0
    where there is none.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups_of_units: int = 1

    @classmethod
    def of_call(
        cls,
        weight: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> "TransposedPatches":
        """Of torch.nn.functional.conv_transpose1d, 2d or 3d, called with these arguments."""
        kernel = tuple(weight.shape[2:])
        stride, padding, dilation = (_each(value, len(kernel)) for value in (stride, padding, dilation))
        return cls(kernel, stride, padding, dilation, groups)

    @property
    def groups(self) -> int:
        """The convolution's groups: unit u belongs to group u // (units / groups)."""
        return self.groups_of_units

    @property
    def axis_of_units(self) -> int:
        """Channels out."""
        return 1

    def activations(self, incoming: Tensor, net: torch.Size) -> Float[Tensor, "examples groups positions fan_in"]:
        """Patches, the kernel turned round, of the input with zeros between and around its numbers."""
        space = len(self.kernel)
        spread = [(size - 1) * stride + 1 for size, stride in zip(incoming.shape[2:], self.stride, strict=True)]
        patches = incoming.new_zeros(*incoming.shape[:2], *spread)
        patches[(..., *(slice(None, None, stride) for stride in self.stride))] = incoming
        sides: list[int] = []
        for axis in reversed(range(space)):
            reach = self.dilation[axis] * (self.kernel[axis] - 1)
            before = reach - self.padding[axis]
            sides += [before, net[2 + axis] + reach - spread[axis] - before]
        patches = nn.functional.pad(patches, sides)
        for axis, (size, dilation) in enumerate(zip(self.kernel, self.dilation, strict=True), start=2):
            patches = patches.unfold(axis, dilation * (size - 1) + 1, 1)[..., ::dilation]
        return _by_group(patches.flip(tuple(range(-space, 0))), space, self.groups)

    def by_position(self, net: Tensor) -> Float[Tensor, "examples positions units"]:
        """(examples, units, *space) with one axis of positions."""
        return net.flatten(2).transpose(1, 2)

    def by_unit(self, weight: Tensor) -> Float[Tensor, "units fan_in"]:
        """Output channel by output channel, group after group."""
        return weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1).flatten(1)

    def as_weight(self, rows: Float[Tensor, "units fan_in"], shape: torch.Size) -> Tensor:
        """Input channel by input channel."""
        apart = rows.reshape(self.groups, shape[1], shape[0] // self.groups, *shape[2:])
        return apart.transpose(1, 2).reshape(shape)

    def positions(self, incoming: torch.Size, net: torch.Size) -> tuple[int, ...]:
        """The net input's space."""
        return tuple(net[2:])

    def refusal(self, incoming: Tensor, axis: int, examples: int) -> str | None:
        """Examples, channels and space."""
        axes = len(self.kernel) + 2
        return str(axes) if incoming.ndim != axes or axis > 0 or incoming.shape[0] != examples else None


def map_of_module(module: nn.Module) -> LinearMap:
    """How a `Linear` or `Conv1d/2d/3d` multiplies its weight with what it is called with."""
    return Patches.of_module(module) if isinstance(module, Convolution) else Dense()


def _by_group(patches: Tensor, space: int, groups: int) -> Float[Tensor, "examples groups positions fan_in"]:
    """(examples, channels, *space, *kernel) with the axes in order."""
    examples, channels, *rest = patches.shape
    grouped = patches.reshape(examples, groups, channels // groups, *rest)
    last = 3 + space
    order = (0, 1, *range(3, last), 2, *range(last, last + space))
    fan_in = channels // groups * torch.Size(rest[space:]).numel()
    return grouped.permute(order).reshape(examples, groups, torch.Size(rest[:space]).numel(), fan_in)


def _each(value: Any, count: int) -> tuple[int, ...]:
    found = tuple(int(one) for one in value) if isinstance(value, Sequence) else (int(value),)
    return found * count if len(found) == 1 else found


def _sides(kernel: tuple[int, ...], padding: Any, dilation: tuple[int, ...]) -> tuple[int, ...]:
    """The padding as `torch.nn.functional.pad` takes it: before and after, the last axis first."""
    if padding == "valid":
        sides = [(0, 0)] * len(kernel)
    elif padding == "same":
        totals = [along * (size - 1) for size, along in zip(kernel, dilation, strict=True)]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(size, size) for size in _each(padding, len(kernel))]
    return tuple(size for side in reversed(sides) for size in side)
