"""T5 in a user's own model: how much of its tangent kernel is spent on one direction, the constant one."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from elutheory.dynamics.measured_networks import empirical_training_kernel, inputs_at_once
from elutheory.errors import InputError
from elutheory.models.batch_layout import Output
from elutheory.models.data import number_of_examples, rows_of

EXAMPLES, FEWEST = 64, 8
"""So many are taken, fewer where their gradients do not fit into memory; of fewer than FEWEST there is no share.

A share of N examples is at least 1/N; `test_shares_of_the_training_kernel` has them at 64."""
_MOST_OUTPUTS = 100  # each is a backward pass


@dataclass(frozen=True)
class TrainingKernelShares:
    """Of the kernel's trace over `examples`: the top eigenvector's and the constant direction's; None with `why`."""

    top: float | None
    constant: float | None
    examples: int
    why: str = ""


def training_kernel_shares(
    model: nn.Module, inputs: Any, outputs: Tensor, output: Output, batch_axis: int
) -> TrainingKernelShares:
    """Over the first of these inputs; `outputs`: the model's at one of them, examples first, classes last."""
    if outputs.ndim != 2 or batch_axis != 0:
        return _without("the kernel is measured of outputs (examples, classes)")
    if outputs.shape[1] > _MOST_OUTPUTS:
        return _without(f"the model has {outputs.shape[1]:,} outputs, more than {_MOST_OUTPUTS}")
    try:
        count = min(EXAMPLES, number_of_examples(inputs), inputs_at_once(model, inputs, output=output))
        if count < FEWEST:
            return _without(f"gradients of {FEWEST} examples are needed, and of {count} there are or fit into memory")
        theta = empirical_training_kernel(model, rows_of(inputs, slice(count)), output=output)
    except InputError as refusal:
        return _without(str(refusal).rstrip("."))
    return TrainingKernelShares(theta.top_share, theta.constant_share, count)


def _without(why: str) -> TrainingKernelShares:
    return TrainingKernelShares(None, None, 0, why)
