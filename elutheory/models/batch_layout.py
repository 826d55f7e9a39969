"""How a batch and what a model makes of it are laid out: examples, positions that count, classes, outputs, labels.

One description, `BatchLayout`, is used by scores, diagnosis, statistics and optimizer alike. Inside of the package
every tensor then has its examples first, its positions in one axis, and its classes last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from elutheory.errors import InputError
from elutheory.models.data import number_of_examples, rows_of

IGNORED = -100
"""Targets that are left out, as by torch's losses (`ignore_index`)."""

_MASKS = ("attention_mask", "decoder_attention_mask")
_MASKED = -1e4  # what additive masks have where nothing is left: −inf, or the least number of float16 to float64

Output = int | str | Callable[[Any], Any] | None
Mask = str | Tensor | Callable[[Any], Tensor] | bool | None


@dataclass(frozen=True, eq=False)
class BatchLayout:
    """What is where in a batch and in what the model returns.

    - `batch_axis`: the axis of the inputs' tensors that counts the examples;
    - `class_axis`: that of the outputs which counts the classes; None: told by the layer that made them or by the
      targets;
    - `output`: which of the things returned are the outputs: an index, a key or attribute, or a callable; None: a
      tensor, or the `logits` of an object;
    - `mask`: which positions count, True or 1 (padding: False or 0): a key of the batch, a tensor of the data's
      examples and positions, or a callable of a batch's inputs; None: the batch's `attention_mask` if it has one;
      False: none.
    """

    batch_axis: int = 0
    class_axis: int | None = None
    output: Output = None
    mask: Mask = None

    def __post_init__(self) -> None:
        for name in ("batch_axis", "class_axis"):
            axis = getattr(self, name)
            if isinstance(axis, bool) or not isinstance(axis, int | None) or (name == "batch_axis" and axis is None):
                raise InputError(f"{name} is {axis!r}; the number of an axis is needed.")
        if self.batch_axis < 0:
            raise InputError(f"batch_axis is {self.batch_axis}; an axis counted from the front, 0 or more, is needed.")
        if isinstance(self.output, bool) or not (
            self.output is None or isinstance(self.output, int | str) or callable(self.output)
        ):
            raise InputError(f"output is {self.output!r}; an index, a key or a callable is needed.")
        mask: Any = self.mask
        if not (mask is None or mask is False or isinstance(mask, str | Tensor) or callable(mask)):
            raise InputError(f"mask is {mask!r}; a key of the batch, a tensor, a callable or False is needed.")

    def selected(self, returned: Any) -> Tensor:
        """The tensor of outputs in what a model returned. Raises InputError where it is none, or not to be told."""
        if self.output is None:
            found = returned if isinstance(returned, Tensor) else _entry(returned, "logits")
            if not isinstance(found, Tensor):
                raise InputError(
                    f"the model returned a {_described(returned)}; a tensor of outputs, or an object with such logits, "
                    "is needed, or output= to say which of it they are (an index, a key or a callable)."
                )
            return found
        if isinstance(self.output, int):
            found = returned[self.output] if isinstance(returned, Sequence) and self.output < len(returned) else None
        else:
            found = _entry(returned, self.output) if isinstance(self.output, str) else self.output(returned)
        if not isinstance(found, Tensor):
            raise InputError(
                f"output={self.output!r} is no tensor of what the model returned, a {_described(returned)}."
            )
        return found

    def masks(self, inputs: Any) -> list[Bool[Tensor, "examples ..."]]:
        """The masks of a batch, examples first; [] if there are none. Raises InputError for what is no mask."""
        if self.mask is False or isinstance(self.mask, Tensor):
            found = {} if self.mask is False else {"mask": self.mask}
        elif self.mask is None:
            found = attention_masks(inputs, self.batch_axis)
        elif isinstance(self.mask, str):
            if not isinstance(inputs, Mapping) or self.mask not in inputs:
                raise InputError(f"the batch has no {self.mask!r}, which mask= names.")
            found = {self.mask: inputs[self.mask]}
        else:
            found = {"mask": self.mask(inputs)}  # pyright: ignore[reportCallIssue]
        return [self._examples_first(key, mask) for key, mask in found.items()]

    def _examples_first(self, name: str, mask: Any) -> Tensor:
        if not isinstance(mask, Tensor) or not _counts(mask):
            counted = additive_mask(mask) if isinstance(mask, Tensor) else None
            if counted is None:
                raise InputError(
                    f"the mask {name!r} must be a tensor of True and False, of 1 and 0, or of 0 and −inf as attention "
                    "adds them: which positions count."
                )
            mask = counted
        return mask.bool().movedim(self.batch_axis, 0) if mask.ndim > self.batch_axis else mask.bool()


def attention_masks(inputs: Any, batch_axis: int) -> dict[str, Bool[Tensor, "examples ..."]]:
    """The masks of a batch that attention takes, by key: of examples and positions.

    Those of pairs of positions, (examples, …, queries, keys), tell it too: a position counts that any other may attend
    to. What is neither, as a causal mask that all examples share, is none.
    """
    found = {}
    for key in _MASKS if isinstance(inputs, Mapping) else ():
        mask = inputs.get(key)
        if not isinstance(mask, Tensor) or not 2 <= mask.ndim <= 4:
            continue
        counted = mask.bool() if _counts(mask) else additive_mask(mask)
        if counted is None or (mask.ndim > 2 and (batch_axis or mask.shape[-2] not in (1, mask.shape[-1]))):
            continue
        if mask.shape[batch_axis] == number_of_examples(inputs, batch_axis):
            found[key] = counted if mask.ndim == 2 else counted.flatten(1, -2).any(1)
    return found


def additive_mask(mask: Tensor) -> Bool[Tensor, "*shape"] | None:
    """Which places of a mask that attention adds to its scores are left: 0 there, and −inf or so where they are not.

    None for numbers that are something else.
    """
    if not mask.is_floating_point():
        return None
    left = mask == 0
    return left if bool((left | (mask <= _MASKED)).all()) else None


def labels_in(inputs: Any) -> Tensor | None:
    """The labels that a batch brings with it, as Hugging Face's do; None if it has none."""
    labels = inputs.get("labels") if isinstance(inputs, Mapping) else None
    return labels if isinstance(labels, Tensor) else None


def axis_of_examples(batch: torch.Size, alone: torch.Size, examples: int, otherwise: int) -> int | None:
    """The one axis that has `examples` in a batch and 1 for an example alone; None if there is no such axis.

    A batch of one does not tell: it has it at `otherwise`, the inputs' own, or first.
    """
    if len(batch) != len(alone):
        return None
    different = [axis for axis, (many, one) in enumerate(zip(batch, alone, strict=True)) if many != one]
    if examples == 1 and not different:
        return otherwise if len(batch) > otherwise + 1 and batch[otherwise] == 1 else 0
    if len(different) != 1 or (batch[different[0]], alone[different[0]]) != (examples, 1):
        return None
    return different[0]


def mask_of_positions(
    masks: Sequence[Bool[Tensor, "examples ..."]], positions: tuple[int, ...]
) -> Bool[Tensor, "examples positions"] | str | None:
    """Which of a tensor's positions count: None: all; a text: why that is not known."""
    if not masks or not positions:
        return None
    fitting = [mask for mask in masks if tuple(mask.shape[1:]) == positions]
    if not fitting:
        shapes = " and ".join(str(tuple(mask.shape[1:])) for mask in masks)
        return f"has positions of shape {positions}, of which a mask of shape {shapes} does not say which count"
    if any(not torch.equal(mask, fitting[0]) for mask in fitting[1:]):
        return f"has positions of shape {positions}, for which there are two masks"
    return fitting[0].flatten(1)


def canonical(values: Tensor, batch_axis: int, class_axis: int) -> Tensor:
    """(examples, classes), or (examples, positions, classes): all positions in one axis."""
    place = class_axis % values.ndim
    others = [axis for axis in range(values.ndim) if axis not in (batch_axis, place)]
    moved = values.permute(batch_axis, *others, place)
    return moved if moved.ndim < 3 else moved.flatten(1, -2)


def canonical_targets(targets: Tensor, outputs: torch.Size, batch_axis: int, class_axis: int, by_class: bool) -> Tensor:
    """Targets in the layout of `canonical` outputs: classes are numbers (`by_class`), or every output has its own.

    Classes that are not numbers but probabilities have the outputs' shape. One output per example or position may come
    with targets that have no axis for it, or one more. As they are if they have another shape, which the likelihood
    then refuses.
    """
    place = class_axis % len(outputs)
    if not by_class:
        if targets.shape == outputs[:-1] and outputs[-1] == 1 and place == len(outputs) - 1:
            targets = targets[..., None]
        if len(outputs) == 1:
            return targets.reshape(-1, 1) if targets.shape in (outputs, (*outputs, 1)) else targets
    if targets.shape == outputs:
        return canonical(targets, batch_axis, class_axis)
    if not by_class:
        return targets
    without = torch.Size(length for axis, length in enumerate(outputs) if axis != place)
    if targets.shape != without:
        return targets
    moved = targets.movedim(batch_axis - (place < batch_axis), 0)
    return moved if moved.ndim < 2 else moved.flatten(1)


def axis_of_classes(outputs: torch.Size, targets: torch.Size | None, followed: int | None, batch_axis: int) -> int:
    """Which axis counts the classes: that of the layer which made the outputs, and the one that targets lack.

    Raises InputError where neither tells, or where they contradict one another.
    """
    axes = [axis for axis in range(len(outputs)) if axis != batch_axis]
    if len(axes) == 1:
        return axes[0]
    lacking = []
    if targets is not None and len(targets) == len(outputs) - 1:
        lacking = [axis for axis in axes if targets == outputs[:axis] + outputs[axis + 1 :]]
    told = None if followed is None else followed % len(outputs)
    if told is not None and (not lacking or told in lacking):
        return told
    if told is None and len(lacking) == 1:
        return lacking[0]
    why = (
        "the layer that made them and the targets disagree on it"
        if told is not None
        else "neither a layer that could be followed to them nor targets tell it"
    )
    raise InputError(
        f"which axis of the outputs, of shape {tuple(outputs)}, counts the classes is not known ({why}); give "
        "class_axis=."
    )


def kept_rows(inputs: Any, targets: Any, masks: Sequence[Tensor], batch_axis: int) -> Tensor | None:
    """Which examples count: those with a position that counts and a target that is not IGNORED; None: all of them."""
    keep: Tensor | None = None
    whole = [mask.flatten(1).any(1) if mask.ndim > 1 else mask for mask in masks]
    if isinstance(targets, Tensor) and not targets.is_floating_point() and (targets == IGNORED).any():
        first = targets.movedim(batch_axis, 0) if targets.ndim > batch_axis else targets
        whole.append((first != IGNORED).flatten(1).any(1) if first.ndim > 1 else first != IGNORED)
    for one in whole:
        if not one.all():
            keep = one if keep is None else keep & one.to(keep.device)
    return keep


def selected_rows(values: Any, keep: Tensor, batch_axis: int) -> Any:
    """Those examples of a batch's inputs or targets; targets without that axis have their examples first."""
    if isinstance(values, Tensor) and values.ndim <= batch_axis:
        batch_axis = 0
    return rows_of(values, keep.nonzero()[:, 0], batch_axis)


def _entry(returned: Any, key: str) -> Any:
    return returned.get(key) if isinstance(returned, Mapping) else getattr(returned, key, None)


def _described(returned: Any) -> str:
    kind = type(returned).__name__
    if isinstance(returned, Mapping):
        return f"{kind} with {', '.join(map(repr, returned))}"
    return f"{kind} of {len(returned)}" if isinstance(returned, tuple | list) else kind


def _counts(mask: Tensor) -> bool:
    """Whether it holds nothing but 0 and 1; of real numbers, which may be added, not 0 alone."""
    if mask.dtype == torch.bool:
        return True
    if mask.is_complex() or not bool(((mask == 0) | (mask == 1)).all()):
        return False
    return not mask.is_floating_point() or bool((mask == 1).any())


# --- a mask of all the data, cut into batches together with the targets -----------------------------------------------


def with_mask(data: Any, targets: Any, mask: Mask) -> tuple[Any, Any]:
    """Data and targets such that a tensor `mask` of all the data is cut along; `without_mask` takes them apart again.

    Raises InputError for a tensor of a mask where the data come as batches.
    """
    if not isinstance(mask, Tensor):
        return data, targets
    if not isinstance(data, Tensor | Mapping | tuple):
        raise InputError("mask is a tensor, but the data come as batches; give a key of the batches, or a callable.")
    if isinstance(data, tuple) and len(data) == 2:
        if targets is not None and data[1] is not None:
            raise InputError("targets are given twice, with the inputs and apart; give them once.")
        data, targets = data[0], data[1] if targets is None else targets
    return data, {"targets": targets, "mask": mask}


def without_mask(targets: Any, mask: Mask) -> tuple[Any, Mask]:
    """A batch's targets and its mask."""
    return (targets["targets"], targets["mask"]) if isinstance(targets, Mapping) else (targets, mask)
