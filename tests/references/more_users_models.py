"""Further models as users bring them, in miniature: of other families than those in `users_models.py`."""

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Function(nn.Module):
    """A function without parameters, in a Sequential."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


class SelfAttention(nn.Module):
    """torch's attention, examples second, and a head on every step."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.attention, self.head = nn.Linear(3, 4), nn.MultiheadAttention(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.before(x).tanh()
        return self.head(hidden + self.attention(hidden, hidden, hidden, need_weights=False)[0])


class BothWays(nn.Module):
    """A bidirectional recurrent network; its last hidden states stand (layers, examples, units)."""

    def __init__(self, kind: Callable[..., nn.Module] = nn.GRU) -> None:
        super().__init__()
        self.before, self.head = nn.Linear(3, 3), nn.Linear(8, 2)
        self.recurrent = kind(3, 4, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        state = self.recurrent(self.before(x).tanh())[1]
        state = state[0] if isinstance(state, tuple) else state
        return self.head(state.transpose(0, 1).flatten(1))


class Packed(nn.Module):
    """Sequences of their own lengths, packed; a label for every one, or for every step."""

    def __init__(self, every_step: bool) -> None:
        super().__init__()
        self.every_step = every_step
        self.before, self.recurrent, self.head = nn.Linear(3, 3), nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, sequences: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.before(sequences).tanh()
        packed = pack_padded_sequence(hidden, lengths, batch_first=True, enforce_sorted=False)
        outputs, (state, _) = self.recurrent(packed)
        if not self.every_step:
            return self.head(state[-1])
        return self.head(pad_packed_sequence(outputs, batch_first=True, total_length=sequences.shape[1])[0])


class Squeezed(nn.Module):
    """Squeeze and excitation on a depthwise separable convolution, and a convolution as classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.pointwise = nn.Conv2d(2, 4, 2, groups=2), nn.Conv2d(4, 4, 1, bias=False)
        self.squeeze, self.excite, self.classifier = nn.Linear(4, 2), nn.Linear(2, 4), nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = f.silu(self.pointwise(self.depthwise(x)))
        gate = self.excite(self.squeeze(hidden.mean((2, 3))).relu()).sigmoid()
        return self.classifier(f.adaptive_avg_pool2d(hidden * gate[..., None, None], 1)).flatten(1)


class Dense(nn.Module):
    """Every layer sees all before it; the last adds in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(3, 2), nn.Linear(5, 2), nn.Linear(7, 7)
        self.head, self.act = nn.Linear(7, 2), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.act(self.first(x))], 1)
        x = torch.cat([x, self.act(self.second(x))], 1)
        hidden = self.third(x)
        hidden += x
        return self.head(hidden.tanh())


class Paired(nn.Module):
    """Two branches of inputs that meet in a bilinear form."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.meet = nn.Linear(3, 3), nn.Linear(3, 2), nn.Bilinear(3, 2, 2)

    def forward(self, left: Tensor, right: Tensor, scale: float = 1.0, unused: Any = None) -> Tensor:
        return self.meet(self.left(left).tanh(), scale * self.right(right).tanh())


class Graph(nn.Module):
    """A graph per example: nodes, an adjacency matrix, a mean over nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        x = (adjacency @ self.first(nodes)).relu()
        return self.head((adjacency @ self.second(x)).tanh().mean(1))


class Pooled(nn.Module):
    """Attention over positions with a mask that is added to its scores."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.score, self.head = nn.Linear(3, 4), nn.Linear(3, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        weights = (self.score(x).squeeze(2) + attention_mask).softmax(1)
        return self.head((weights[:, :, None] * self.value(x).tanh()).sum(1))


class Headed(nn.Module):
    """Several heads, returned in whatever the user likes."""

    def __init__(self, wrap: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.classes, self.value = nn.Linear(3, 4), nn.Linear(4, 3), nn.Linear(4, 1)
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        hidden = self.body(x).tanh()
        return self.wrap(self.classes(hidden), self.value(hidden))


def as_object(classes: Tensor, value: Tensor) -> Any:
    return types.SimpleNamespace(scores=classes, value=value)


class Blocks(nn.Module):
    """Pre-normalised residual blocks in a list, whose normalisation they share; drops none of them in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.LayerNorm(3), nn.Linear(3, 2)
        self.blocks = nn.ModuleList(nn.ModuleDict({"up": nn.Linear(3, 4), "down": nn.Linear(4, 3)}) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            if self.training and float(torch.rand(())) < 0.5:
                continue
            assert isinstance(block, nn.ModuleDict)
            x = x + block["down"](f.mish(block["up"](self.norm(x))))
        return self.head(x)
