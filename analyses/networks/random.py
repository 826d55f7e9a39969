"""Deep fully connected networks with random weights, many seeds and activations in one batched computation.

h_1 = x W + b, h_{l+1} = f(h_l) W + b with weights N(0, σ_w²/fan_in) and biases N(0, σ_b²); batch-normalised: f(BN(h))
for f(h), statistics over all inputs, gain 1, shift 0; residual: h_{l+1} = h_l + f(h_l) W + b. One linear output
f(h_L)·v, v ~ N(0, 1/width). The same standard normal numbers serve every activation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from elutheory.activations import Activation
from elutheory.errors import InputError
from elutheory.numerics.tiles import on_all_cores
from elutheory.propagation import Initialisation

STATISTICS = {
    "mean": "mean activation over units and inputs",
    "unit_mean_median": "median over units of a unit's mean activation over the inputs",
    "unit_mean_std": "standard deviation over units of the same means",
    "q": "second moment of the net inputs",
    "c": "mean over units and pairs of different inputs of the product of two net inputs",
    "mean_share": "|E a|²/E|a|² of the layer's activations a, expectations over the inputs (P2b)",
    "gradient_variance": "second moment of the output's derivative by the net inputs, over that of the last layer",
    "top_fisher_share": "largest eigenvalue over trace, of the Fisher matrix of the layer's weights and biases",
    "bias_shift_strength": "m·(Var + λI)⁻¹m of the layer's activations, from B5's value v as v/(1 − v)",
}


@dataclass(frozen=True)
class Architecture:
    """`depth` hidden layers of `width` units."""

    width: int
    depth: int
    batch_norm: bool = False
    residual: bool = False


@dataclass(frozen=True)
class Start:
    """An activation and the variances its networks start from."""

    activation: Activation
    initialisation: Initialisation


Measured = dict[str, dict[str, Float[np.ndarray, "seeds layers"]]]


def measure_networks(
    starts: Mapping[str, Start],
    architecture: Architecture,
    inputs: Float[Tensor, "examples features"],
    seeds: Sequence[int],
    *,
    damping: float,
    memory: float,
) -> Measured:
    """STATISTICS of every one of `starts`, seed and hidden layer: result[start][statistic], (seeds, layers) in float64.

    Networks are computed in the dtype and on the device of `inputs`, statistics in float64, in groups of seeds that fit
    into `memory` bytes. Weights are drawn by CPU generators, one per seed and layer, in float32: neither the grouping
    nor the device changes them. The Fisher matrix is of one output of unit variance, by its N × N Gram matrix
    (A Aᵀ + 1) ∘ Δ Δᵀ; of B5, λ = `damping` × the mean second moment of a unit. Batch-normalised networks: the gradient
    is of the sum of all outputs with N(0, 1) weights, and there is no Fisher matrix of single inputs (nan).

    Raises InputError if one network exceeds `memory`, or if net inputs or gradients leave the range of the dtype.
    """
    groups = seed_groups(len(starts), architecture, inputs, seeds, memory)
    parts = [_Group(starts, architecture, inputs, group, damping).statistics() for group in groups]
    return {
        start: {name: np.concatenate([part[start][name] for part in parts]) for name in STATISTICS} for start in starts
    }


def seed_groups(
    starts: int, architecture: Architecture, inputs: Tensor, seeds: Sequence[int], memory: float
) -> list[Sequence[int]]:
    """The seeds in groups whose networks fit into `memory` bytes together."""
    examples, features = inputs.shape
    width = architecture.width
    values = starts * architecture.depth * examples * width + 2 * (max(features, width) + 1) * width
    values += 3 * examples * width
    doubles = 5 * examples * width + 4 * examples**2
    each = inputs.element_size() * values + 8 * doubles
    if each > memory:
        raise InputError(
            f"one seed's networks of width {width} and depth {architecture.depth} take {each / 1e9:.2g} GB and "
            f"{memory / 1e9:.2g} GB are allowed; allow more, or take fewer examples or activations."
        )
    size = int(memory // each)
    return [seeds[first : first + size] for first in range(0, len(seeds), size)]


def standard_normals(seed: int, layer: int, shape: tuple[int, ...]) -> Tensor:
    """The numbers of one layer of the network `seed`, float32: always the same."""
    state = int(np.random.SeedSequence([seed, layer]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.randn(shape, generator=torch.Generator().manual_seed(state), dtype=torch.float32)


class _Group:
    """The networks of some seeds; tensors are (seeds, examples, units)."""

    def __init__(
        self,
        starts: Mapping[str, Start],
        architecture: Architecture,
        inputs: Tensor,
        seeds: Sequence[int],
        damping: float,
    ) -> None:
        self._starts, self._architecture, self._seeds, self._damping = starts, architecture, seeds, damping
        self._inputs = inputs.expand(len(seeds), *inputs.shape)
        self._modules = {name: start.activation.torch_module() for name, start in starts.items()}

    def statistics(self) -> Measured:
        """result[start][statistic], (seeds, layers)."""
        with torch.no_grad():
            nets = self._forward()
            found = {name: [] for name in self._starts}
            for visits in self._backward(nets):
                for name, statistics in visits.items():
                    found[name].append(statistics)
        return {
            name: {
                statistic: torch.stack([layer[statistic] for layer in reversed(layers)], dim=1).cpu().numpy()
                for statistic in STATISTICS
            }
            for name, layers in found.items()
        }

    def _normals(self, layer: int, *shape: int) -> Tensor:
        drawn = on_all_cores(lambda seed: standard_normals(seed, layer, shape), self._seeds)
        return torch.stack(drawn).to(self._inputs)

    def _layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Standard normal weights (seeds, fan_in, units) and biases (seeds, 1, units)."""
        fan_in = self._inputs.shape[2] if layer == 1 else self._architecture.width
        normals = self._normals(layer, fan_in + 1, self._architecture.width)
        return normals[:, :-1], normals[:, -1:]

    def _block(self, name: str) -> Callable[[Tensor], Tensor]:
        """Net inputs to activations."""
        module = self._modules[name]
        if not self._architecture.batch_norm:
            return module

        def normalised(net: Tensor) -> Tensor:
            variance, mean = torch.var_mean(net, dim=1, correction=0, keepdim=True)
            return module((net - mean) * variance.rsqrt())

        return normalised

    def _forward(self) -> dict[str, list[Tensor]]:
        """The net inputs of every start and layer."""
        nets: dict[str, list[Tensor]] = {name: [] for name in self._starts}
        for layer in range(1, self._architecture.depth + 1):
            weights, biases = self._layer(layer)
            for name, start in self._starts.items():
                values = self._block(name)(nets[name][-1]) if nets[name] else self._inputs
                offset = start.initialisation.bias_variance**0.5 * biases
                if self._architecture.residual and nets[name]:
                    offset = nets[name][-1] + offset
                nets[name].append(torch.baddbmm(offset, values, weights, alpha=_scale(start, weights)))
        for name, layers in nets.items():
            self._refuse_overflow(name, layers[-1])
        return nets

    def _backward(self, nets: dict[str, list[Tensor]]) -> Iterator[dict[str, dict[str, Tensor]]]:
        """The statistics of every start, from the last layer to the first; `nets` is used up."""
        depth, width, batch_norm = (getattr(self._architecture, name) for name in ("depth", "width", "batch_norm"))
        read_out = (self._normals(depth + 1, 1, width) * width**-0.5).expand(-1, self._inputs.shape[1], -1)
        if batch_norm:
            read_out = read_out * self._normals(depth + 2, self._inputs.shape[1], 1)
        deltas: dict[str, Tensor] = {}
        last: dict[str, Tensor] = {}
        weights = None
        for layer in range(depth, 0, -1):
            visits = {}
            below = {}
            for name, start in self._starts.items():
                net = nets[name].pop()
                activations, pull_back, *_ = torch.func.vjp(self._block(name), net)
                upstream = read_out if weights is None else _scale(start, weights) * torch.bmm(deltas[name], weights.mT)
                (delta,) = pull_back(upstream)
                if weights is not None and self._architecture.residual:
                    delta = delta + deltas[name]
                deltas[name] = delta
                below[name] = self._block(name)(nets[name][-1]) if nets[name] else self._inputs
                visits[name] = layer_statistics(net, activations, self._damping)
                variance = delta.double().square().mean((1, 2))
                visits[name]["gradient_variance"] = variance / last.setdefault(name, variance)
                visits[name]["top_fisher_share"] = (
                    torch.full_like(variance, torch.nan) if batch_norm else top_fisher_share(below[name], delta)
                )
                if layer == 1:
                    self._refuse_overflow(name, delta)
            weights = self._layer(layer)[0] if layer > 1 else None
            yield visits

    def _refuse_overflow(self, name: str, values: Tensor) -> None:
        if not bool(values.isfinite().all()):
            raise InputError(
                f"{name} networks of depth {self._architecture.depth} leave the range of {values.dtype} with the "
                f"initialisation {self._starts[name].initialisation.name}; take fewer layers."
            )


def _scale(start: Start, weights: Tensor) -> float:
    """Of standard normal weights (seeds, fan_in, units)."""
    return (start.initialisation.weight_variance / weights.shape[1]) ** 0.5


def layer_statistics(
    net: Float[Tensor, "seeds examples units"], activations: Float[Tensor, "seeds examples units"], damping: float
) -> dict[str, Float[Tensor, " seeds"]]:
    """Those of STATISTICS that need no gradient, in float64."""
    net, activations = net.double(), activations.double()
    count = net.shape[1]
    unit_means = activations.mean(1)
    second_moment = activations.square().mean((1, 2))
    q = net.square().mean((1, 2))
    return {
        "mean": unit_means.mean(1),
        "unit_mean_median": unit_means.quantile(0.5, dim=1),
        "unit_mean_std": unit_means.std(1),
        "q": q,
        "c": (count * net.mean(1).square().mean(1) - q) / (count - 1),
        "mean_share": unit_means.square().mean(1) / second_moment,
        "bias_shift_strength": _bias_shift_strength(activations, damping),
    }


def _bias_shift_strength(activations: Tensor, damping: float) -> Tensor:
    """m·(Var + λI)⁻¹m, λ = damping × mean second moment of a unit, by the smaller matrix: over units or over inputs.

    Over inputs: 1 + m·(Var + λI)⁻¹m = 1/(1 − value) (L2), 1 − value = (λ/N) 1ᵀ(ΦΦᵀ/N + λI)⁻¹1 (B5).
    """
    _, count, units = activations.shape
    ridge = damping * activations.square().mean((1, 2))[:, None, None]
    if units < count:
        mean = activations.mean(1, keepdim=True)
        centred = activations - mean
        variance = centred.mT @ centred / count
        return (mean @ _damped_solve(variance, ridge, mean.mT))[:, 0, 0]
    ones = torch.ones_like(activations[:, :, :1])
    gram = activations @ activations.mT / count
    rest = ridge[:, 0, 0] * _damped_solve(gram, ridge, ones).mean((1, 2))
    return 1 / rest - 1


def _damped_solve(matrices: Tensor, ridge: Tensor, right: Tensor) -> Tensor:
    damped = matrices + ridge * torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    return torch.cholesky_solve(right, torch.linalg.cholesky(damped))


def top_fisher_share(
    incoming: Float[Tensor, "seeds examples fan_in"], deltas: Float[Tensor, "seeds examples units"]
) -> Float[Tensor, " seeds"]:
    """Largest eigenvalue over trace of E[(δ ⊗ (a, 1))(δ ⊗ (a, 1))ᵀ], from the Gram matrix of its vectors."""
    incoming, deltas = incoming.double(), deltas.double()
    deltas = deltas / deltas.square().mean((1, 2), keepdim=True).sqrt()
    gram = (incoming @ incoming.mT + 1) * (deltas @ deltas.mT)
    return torch.linalg.eigvalsh(gram)[:, -1] / gram.diagonal(dim1=1, dim2=2).sum(1)
