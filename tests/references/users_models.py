"""Models as users bring them, in miniature, and their unit Fisher matrices by autograd of one output at a time."""

import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f
from torch.utils.checkpoint import checkpoint

D = torch.float64


# --- brute force ----------------------------------------------------------------------------------------------------


def information(outputs: Tensor, likelihood: str) -> Tensor:
    """E_y[score scoreᵀ] at one position."""
    if likelihood == "categorical":
        p = outputs.softmax(0)
        return torch.diag(p) - torch.outer(p, p)
    if likelihood == "bernoulli":
        return torch.diag(outputs.sigmoid() * (-outputs).sigmoid())
    return torch.eye(len(outputs), dtype=outputs.dtype)


def brute_force(
    layer: nn.Module, run: Callable[[int], Tensor], examples: int, likelihood: str, counting: Tensor | None = None
) -> Tensor:
    """F of every unit, the bias first if there is one: gradients of the parameters, output by output.

    `run` gives one example's outputs, (positions, classes); `counting` (examples, positions): those with a label.
    """
    parameters = [parameter for parameter in (layer.bias, layer.weight) if parameter is not None]
    required = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    total: Any = 0.0
    for example in range(examples):
        for position, row in enumerate(run(example)):
            if counting is not None and not counting[example, position]:
                continue
            jacobian = []
            for output in row:
                gradients = torch.autograd.grad(output, parameters, retain_graph=True)
                jacobian.append(torch.cat([gradient.reshape(len(layer.weight), -1) for gradient in gradients], dim=1))
            columns = torch.stack(jacobian)
            matrix = information(row.detach(), likelihood)
            total = total + torch.einsum("cui,cd,duj->uij", columns, matrix, columns)
    for parameter, requires_grad in zip(parameters, required, strict=True):
        parameter.requires_grad_(requires_grad)
    return total / examples


def one_of(inputs: Any, example: int, axis: int = 0) -> Any:
    """One example; of a mapping's tensors those that have as many as the first."""
    if isinstance(inputs, Mapping):
        examples = next(iter(inputs.values())).shape[axis]
        return {
            key: value.narrow(axis, example, 1)
            if isinstance(value, Tensor) and value.ndim > axis and value.shape[axis] == examples
            else value
            for key, value in inputs.items()
        }
    return inputs.narrow(axis, example, 1)


# --- convolutions ---------------------------------------------------------------------------------------------------


class ResidualBlock(nn.Module):
    """ResNet's: convolutions without bias, batch normalisation, a strided shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 3, 3, 2, 1, bias=False), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 3, 1, 1, bias=False), nn.BatchNorm2d(3)
        self.downsample, self.act = nn.Sequential(nn.Conv2d(2, 3, 1, 2, bias=False), nn.BatchNorm2d(3)), nn.ReLU(True)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return self.fc(self.pool(self.act(hidden + self.downsample(x))).flatten(1))


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer norm over channels that stand last, pointwise Linear layers, layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.LayerNorm(4)
        self.pwconv1, self.act, self.pwconv2 = nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4)
        self.gamma, self.head = nn.Parameter(torch.full((4,), 0.5)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        hidden = self.gamma * self.pwconv2(self.act(self.pwconv1(hidden)))
        return self.head((x + hidden.permute(0, 3, 1, 2)).mean((2, 3)))


class TemporalConvolutions(nn.Module):
    """Of audio: causal, dilated, cropped, residual; a label for every frame, classes on the second axis."""

    def __init__(self, wrap: Callable[[nn.Module], nn.Module] = lambda layer: layer) -> None:
        super().__init__()
        self.first = wrap(nn.Conv1d(2, 4, 2, padding=2, dilation=2))
        self.act, self.second = nn.ELU(), wrap(nn.Conv1d(4, 2, 2, padding=2, dilation=2))
        self.head = nn.Conv1d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.first(x)[..., :-2])
        return self.head(x + self.act(self.second(hidden)[..., :-2]))


class UNet(nn.Module):
    """Down, up, joined by a concatenation; logits (examples, classes, height, width), bare or in a dictionary."""

    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        self.key = key
        self.down, self.middle = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.up, self.act = nn.ConvTranspose2d(4, 3, 2, 2), nn.LeakyReLU(0.1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Any:
        first = self.act(self.down(x))
        inner = self.act(self.middle(f.max_pool2d(first, 2)))
        logits = self.head(torch.cat([first, self.up(inner)], dim=1))
        return logits if self.key is None else {self.key: logits, "aux": inner.mean()}


class ImageAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.act = nn.Conv2d(1, 3, 2, 2), nn.ELU()
        self.decoder = nn.ConvTranspose2d(3, 1, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.act(self.encoder(x)))


# --- sequences ------------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """An LSTM, and layers on all its steps or the last one."""

    def __init__(self, batch_first: bool, last: bool) -> None:
        super().__init__()
        self.batch_first, self.last = batch_first, last
        self.recurrent = nn.LSTM(3, 4, batch_first=batch_first)
        self.hidden, self.act, self.head = nn.Linear(4, 4), nn.ELU(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.recurrent(x)[0]
        x = x.select(1 if self.batch_first else 0, -1) if self.last else x
        return self.head(self.act(self.hidden(x)))


class Loop(nn.Module):
    """A recurrent network written by hand: one layer is called at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.Linear(3 + 4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 4)
        for step in x.unbind(1):
            state = self.cell(torch.cat([step, state], 1)).tanh()
        return self.head(state)


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


class Attention(nn.Module):
    """With projections of its own that are called; `visible` (examples, queries, keys) or of all examples."""

    def __init__(self, width: int, heads: int, bias: bool = True, rotary: bool = False) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=bias) for _ in range(4))

    def forward(self, x: Tensor, memory: Tensor, visible: Tensor | None = None, offset: Any = 0.0) -> Tensor:
        def split(values: Tensor) -> Tensor:
            return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(memory)), split(self.value(memory))
        if self.rotary:
            query, key = rotated(query), rotated(key)
        scores = query @ key.mT / key.shape[-1] ** 0.5 + offset
        if visible is not None:
            scores = scores.masked_fill(~(visible[:, None] if visible.ndim > 2 else visible), -torch.inf)
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


def rotated(x: Tensor) -> Tensor:
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * torch.tensor([1.0], dtype=x.dtype)
    first, second = x.chunk(2, -1)
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


class Bert(nn.Module):
    """Embeddings of tokens, positions and segments, normalised after the sum; a label for every token, or one."""

    def __init__(self, tokens: bool) -> None:
        super().__init__()
        self.tokens = tokens
        self.word, self.position, self.segment = nn.Embedding(9, 4), nn.Embedding(8, 4), nn.Embedding(2, 4)
        self.norm, self.attention, self.norm1 = nn.LayerNorm(4), Attention(4, 2), nn.LayerNorm(4)
        self.intermediate, self.act, self.output = nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 4)
        self.norm2, self.pooler, self.classifier = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Any:
        places = torch.arange(input_ids.shape[1])
        x = self.norm(self.word(input_ids) + self.position(places) + self.segment(torch.zeros_like(input_ids)))
        x = self.norm1(x + self.attention(x, x, attention_mask[:, None].bool()))
        x = self.norm2(x + self.output(self.act(self.intermediate(x))))
        logits = self.classifier(x if self.tokens else self.pooler(x[:, 0]).tanh())
        loss = None
        if labels is not None:
            loss = f.cross_entropy(logits.flatten(0, -2), labels.flatten())
        return types.SimpleNamespace(loss=loss, logits=logits, hidden=x)


class TransposedLinear(nn.Module):
    """What GPT-2 of Hugging Face calls Conv1D: weights (fan-in, units)."""

    def __init__(self, units: int, fan_in: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(0.4 * torch.randn(fan_in, units)), nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Gpt2(nn.Module):
    """Causal, normalised before; its MLP transposed, its head tied to the embedding."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(5, 4), nn.Embedding(8, 4)
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(4), Attention(4, 2), nn.LayerNorm(4)
        self.fc, self.proj, self.lm_head = TransposedLinear(6, 4), TransposedLinear(4, 6), nn.Linear(4, 5, bias=False)
        if tied:
            self.lm_head.weight = self.wte.weight

    def forward(self, input_ids: Tensor) -> Any:
        length = input_ids.shape[1]
        x = self.wte(input_ids) + self.wpe(torch.arange(length))
        x = x + self.attention(self.norm1(x), self.norm1(x), torch.ones(length, length).tril().bool())
        x = x + self.proj(f.gelu(self.fc(self.norm2(x)), approximate="tanh"))
        return types.SimpleNamespace(logits=self.lm_head(x))


class Llama(nn.Module):
    """Rotary embeddings, root-mean-square norms, gated units, no biases."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm1, self.attention = nn.Embedding(5, 4), RMSNorm(4), Attention(4, 2, False, True)
        self.norm2, self.gate_proj, self.up_proj = RMSNorm(4), nn.Linear(4, 5, bias=False), nn.Linear(4, 5, bias=False)
        self.down_proj, self.norm, self.lm_head = nn.Linear(5, 4, bias=False), RMSNorm(4), nn.Linear(4, 5, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        x, length = self.embed(input_ids), input_ids.shape[1]
        visible = torch.ones(length, length).tril().bool()
        if attention_mask is not None:
            visible = visible & attention_mask[:, None].bool()
        x = x + self.attention(self.norm1(x), self.norm1(x), visible)
        inner = self.norm2(x)
        x = x + self.down_proj(f.silu(self.gate_proj(inner)) * self.up_proj(inner))
        return types.SimpleNamespace(logits=self.lm_head(self.norm(x)))


class T5(nn.Module):
    """Encoder and decoder that share an embedding, relative position biases, cross attention, no biases."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.relative = nn.Embedding(5, 4), nn.Embedding(15, 2)
        self.encoder, self.encoder_wi, self.encoder_wo = (
            Attention(4, 2, False),
            nn.Linear(4, 5, bias=False),
            nn.Linear(5, 4, bias=False),
        )
        self.decoder, self.cross = Attention(4, 2, False), Attention(4, 2, False)
        self.wi, self.wo, self.norm = nn.Linear(4, 5, bias=False), nn.Linear(5, 4, bias=False), RMSNorm(4)
        self.lm_head = nn.Linear(4, 3, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, decoder_input_ids: Tensor) -> Any:
        x, visible = self.shared(input_ids), attention_mask[:, None].bool()
        places = torch.arange(x.shape[1])
        offset = self.relative(places[:, None] - places + 7).permute(2, 0, 1)
        x = x + self.encoder(self.norm(x), self.norm(x), visible, offset)
        x = x + self.encoder_wo(self.encoder_wi(self.norm(x)).relu())
        y, length = self.shared(decoder_input_ids), decoder_input_ids.shape[1]
        y = y + self.decoder(self.norm(y), self.norm(y), torch.ones(length, length).tril().bool())
        y = y + self.cross(self.norm(y), x, visible)
        return types.SimpleNamespace(logits=self.lm_head(y + self.wo(self.wi(self.norm(y)).relu())))


class VisionTransformer(nn.Module):
    """Patches by a strided convolution, a class token in front, the head on it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(1, 4, 2, 2), nn.Parameter(torch.randn(1, 1, 4))
        self.position = nn.Parameter(torch.randn(1, 5, 4))
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(4), Attention(4, 2), nn.LayerNorm(4)
        self.fc1, self.act, self.fc2, self.head = nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.patches(pixel_values).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        x = x + self.attention(self.norm1(x), self.norm1(x))
        x = x + self.fc2(self.act(self.fc1(self.norm2(x))))
        return self.head(x[:, 0])


class Mixer(nn.Module):
    """Linear layers across positions, then across channels."""

    def __init__(self) -> None:
        super().__init__()
        self.across_positions, self.across_channels = nn.Linear(5, 5), nn.Linear(3, 3)
        self.act, self.head = nn.GELU(), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.act(self.across_positions(x.mT)).mT
        return self.head((x + self.act(self.across_channels(x))).mean(1))


# --- other ways to put a model together -----------------------------------------------------------------------------


class LoRA(nn.Module):
    """A frozen layer and what is learnt beside it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A, self.B = nn.Linear(base.in_features, 2, bias=False), nn.Linear(2, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 0.5 * self.B(self.A(x))


class Siamese(nn.Module):
    """One encoder, called for both inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.act, self.head = nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head((self.act(self.encoder(left)) - self.act(self.encoder(right))).abs())


class FunctionalWeights(nn.Module):
    """Uses a layer's weights without calling it: transposed ("tied") or normalised ("cosine")."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.layer, self.head = how, nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "tied":
            return f.linear(self.layer(x).tanh(), self.layer.weight.T)
        return f.linear(f.normalize(self.head(x)), f.normalize(self.layer.weight))


class Experts(nn.Module):
    """Every example goes to one of two layers, together with those that do too."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(3, 2), nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        gate, out = self.router(x).softmax(-1), torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = gate.argmax(-1) == number
            out[rows] = expert(x[rows]) * gate[rows, number, None]
        return self.head(out)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block, self.head = nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 4)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Any = checkpoint(self.block, x, use_reentrant=False)
        return self.head(hidden)


class Wrapped(nn.Module):
    """A function after a network."""

    def __init__(self, network: nn.Module, after: Callable[[Any], Any]) -> None:
        super().__init__()
        self.network, self.after = network, after

    def forward(self, *inputs: Tensor) -> Any:
        return self.after(self.network(*inputs))
