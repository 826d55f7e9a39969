"""torch's recurrent networks step by step, out of products with their weights, each of which can then be seen."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(inputs, weight, bias) to inputs · weightᵀ + bias; what `Recurrence` does with the weights."""

Steps = Callable[[Tensor, Tensor | None, tuple[int, ...], int], "StepwiseProduct"]
"""(weight, bias, shape of the inputs without their last axis, axis of the steps) to a product made step by step."""


class StepwiseProduct:
    """A product whose inputs come one step after the other; `finish` is told when the last has come."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def at(self, step: int, inputs: Tensor) -> Tensor:
        """The product at one step."""
        return nn.functional.linear(inputs, self.weight, self.bias)

    def finish(self) -> None:
        """All steps were made."""


def cell(kind: str, given: Tensor, held: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One step: the state after it, hidden first. `given` and `held`: the inputs' and the hidden state's products."""
    if kind == "lstm":
        enter, forget, content, leave = (given + held).chunk(4, -1)
        memory = forget.sigmoid() * state[1] + enter.sigmoid() * content.tanh()
        return leave.sigmoid() * memory.tanh(), memory
    if kind == "gru":
        reset, keep, new = given.chunk(3, -1)
        reset_held, keep_held, new_held = held.chunk(3, -1)
        reset, keep = (reset + reset_held).sigmoid(), (keep + keep_held).sigmoid()
        new = (new + reset * new_held).tanh()
        return ((1 - keep) * new + keep * state[0],)
    total = given + held
    return (total.tanh() if kind == "rnn_tanh" else total.relu(),)


def unrolled(
    kind: str,
    inputs: Tensor,
    initial: Any,
    weights: Sequence[Tensor],
    has_biases: bool,
    layers: int,
    dropout: float,
    training: bool,
    bidirectional: bool,
    batch_first: bool,
    *,
    product: Product,
    steps: Steps,
) -> tuple[Tensor, ...]:
    """What torch.lstm, gru, rnn_tanh and rnn_relu return for these arguments, inputs with an axis of examples."""
    states = tuple(initial) if isinstance(initial, tuple | list) else (initial,)
    directions = 2 if bidirectional else 1
    per = len(weights) // (layers * directions)
    time = 1 if batch_first else 0
    outputs, last = inputs, []
    for layer in range(layers):
        made = []
        for direction in range(directions):
            place = layer * directions + direction
            own = weights[place * per : (place + 1) * per]
            biases = (own[2], own[3]) if has_biases else (None, None)
            projection = own[-1] if per in (3, 5) else None
            state = tuple(one[place] for one in states)
            given = product(outputs, own[0], biases[0])
            held = steps(own[1], biases[1], tuple(given.shape[:2]), time)
            projected = None if projection is None else steps(projection, None, tuple(given.shape[:2]), time)
            length = given.shape[time]
            hidden: list[Any] = [None] * length
            for step in reversed(range(length)) if direction else range(length):
                state = cell(kind, given.select(time, step), held.at(step, state[0]), state)
                if projected is not None:
                    state = (projected.at(step, state[0]), *state[1:])
                hidden[step] = state[0]
            for one in (held, projected):
                if one is not None:
                    one.finish()
            made.append(torch.stack(hidden, time))
            last.append(state)
        outputs = torch.cat(made, -1)
        if dropout and training and layer < layers - 1:
            outputs = nn.functional.dropout(outputs, dropout)
    return outputs, *(torch.stack([state[number] for state in last]) for number in range(len(states)))
