"""What a convolution multiplies its weights with: its input, cut into patches."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def convolution_patches(
    convolution: Convolution, inputs: Float[Tensor, "examples channels *space"]
) -> Float[Tensor, "examples groups positions fan_in"]:
    """Patches a with output = weight.flatten(1) · a + bias at every position; stride, padding, dilation and groups.

    fan_in = channels / groups × kernel size, in the order of `weight.flatten(1)`; positions in the order of
    `output.flatten(2)`. Group of output channel u: u // (output channels / groups).
    """
    mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
    patches = nn.functional.pad(inputs, _padding(convolution), mode=mode)
    kernel = convolution.kernel_size
    for axis, (size, stride, dilation) in enumerate(
        zip(kernel, convolution.stride, convolution.dilation, strict=True), start=2
    ):
        patches = patches.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    examples, channels, *rest = patches.shape  # then one axis of positions and one of the kernel for each space axis
    space = rest[: len(kernel)]
    grouped = patches.reshape(examples, convolution.groups, channels // convolution.groups, *rest)
    last = 3 + len(kernel)
    order = (0, 1, *range(3, last), 2, *range(last, last + len(kernel)))
    fan_in = convolution.weight[0].numel()
    return grouped.permute(order).reshape(examples, convolution.groups, torch.Size(space).numel(), fan_in)


def _padding(convolution: Convolution) -> list[int]:
    """The padding as `torch.nn.functional.pad` takes it: before and after, the last axis first."""
    if convolution.padding == "valid":
        sides = [(0, 0) for _ in convolution.kernel_size]
    elif convolution.padding == "same":
        totals = [
            dilation * (size - 1) for size, dilation in zip(convolution.kernel_size, convolution.dilation, strict=True)
        ]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(int(size), int(size)) for size in convolution.padding]
    return [size for side in reversed(sides) for size in side]
