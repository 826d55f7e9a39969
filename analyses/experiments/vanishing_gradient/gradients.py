"""Gradients by layer in deep fully connected networks with random weights, in float64 and as float32 has them.

The networks of `analyses.networks.random`, plain, one input each: h_1 = x W + b, h_{l+1} = f(h_l) W + b. Backward from
a δ of independent N(0, 1) at the last layer's net inputs, δ_l = f'(h_l) ∘ (δ_{l+1} Wᵀ). The same standard normal
numbers serve every activation. In float64 δ is rescaled at every layer, so that its size may be any number; in float32
nothing is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analyses.networks.random import Start, standard_normals
from elutheory.errors import InputError
from elutheory.numerics.tiles import on_all_cores

_SEEDS_TOGETHER = 8


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of every network (`seeds`), one of `starts`, and hidden layer, the first first.

    - `log_second_moment`: ln s_l − ln s_L, s_l the mean over units of δ_l², in float64;
    - `single`: √s_l of the same network computed in float32; 0 where all δ are, not finite where one is not.
    """

    log_second_moment: Float[np.ndarray, "seeds starts layers"]
    single: Float[np.ndarray, "seeds starts layers"]


def random_gradients(
    starts: Mapping[str, Start], inputs: Float[Tensor, "seeds features"], width: int, depth: int, seeds: Sequence[int]
) -> Gradients:
    """Network i has the random numbers of seeds[i] and sees inputs[i]; computed on the device of `inputs`.

    Raises InputError where float64 has no gradient: every unit of some layer is off.
    """
    groups = [slice(first, first + _SEEDS_TOGETHER) for first in range(0, len(seeds), _SEEDS_TOGETHER)]
    parts = [_of_group(tuple(starts.values()), inputs[group], width, depth, seeds[group]) for group in groups]
    double, single = (np.concatenate([part[place] for part in parts]) for place in range(2))
    if not np.isfinite(double).all():
        name = list(starts)[int(np.argwhere(~np.isfinite(double))[0][1])]
        raise InputError(f"all {width} units of a layer of a {name} network are off; take more units.")
    return Gradients(double - double[..., -1:], single)


def _of_group(
    starts: Sequence[Start], inputs: Tensor, width: int, depth: int, seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """ln s in float64 and √s in float32, (seeds, starts, layers)."""
    fan_ins = [inputs.shape[1], *[width] * (depth - 1)]
    shapes = [*((fan_in + 1, width) for fan_in in fan_ins), (1, width)]
    normals = [
        torch.stack(on_all_cores(lambda seed, layer=layer, shape=shape: standard_normals(seed, layer, shape), seeds))
        for layer, shape in enumerate(shapes, start=1)
    ]
    *layers, top = (drawn.to(inputs.device) for drawn in normals)
    with torch.no_grad():
        double = _log_sizes(starts, inputs.double(), layers, top.double())
        single = _sizes(starts, inputs.float(), layers, top.float())
    return (2 * double).cpu().numpy(), single.cpu().numpy()


def _log_sizes(starts: Sequence[Start], inputs: Tensor, layers: Sequence[Tensor], top: Tensor) -> Tensor:
    """ln √s, δ rescaled at every layer."""
    nets = _net_inputs(starts, inputs, layers)
    delta = top.expand_as(nets[-1])
    total = torch.zeros_like(delta[..., 0])
    logs = []
    for layer in reversed(range(len(nets))):
        if layer < len(nets) - 1:
            delta = _below(starts, delta, layers[layer + 1], nets[layer])
        size = _root_mean_square(delta)
        delta = delta / size[..., None]
        total = total + size.log()
        logs.append(total)
    return torch.stack(logs[::-1], dim=-1)


def _sizes(starts: Sequence[Start], inputs: Tensor, layers: Sequence[Tensor], top: Tensor) -> Tensor:
    """√s, δ as it comes."""
    nets = _net_inputs(starts, inputs, layers)
    delta = top.expand_as(nets[-1])
    sizes = [_root_mean_square(delta)]
    for layer in reversed(range(len(nets) - 1)):
        delta = _below(starts, delta, layers[layer + 1], nets[layer])
        sizes.append(_root_mean_square(delta))
    return torch.stack(sizes[::-1], dim=-1)


def _root_mean_square(delta: Tensor) -> Tensor:
    return delta.double().square().mean(-1).sqrt()


def _net_inputs(starts: Sequence[Start], inputs: Tensor, layers: Sequence[Tensor]) -> list[Tensor]:
    """Of every layer, (seeds, starts, units), in the dtype of the inputs."""
    modules = [start.activation.torch_module() for start in starts]
    bias_stds = inputs.new_tensor([[start.initialisation.bias_variance**0.5] for start in starts])
    values = inputs[:, None].expand(-1, len(starts), -1)
    nets = []
    for normals in layers:
        weights, biases = normals[:, :-1].to(inputs), normals[:, -1:].to(inputs)
        net = _scales(starts, weights) * (values @ weights) + bias_stds * biases
        nets.append(net)
        values = torch.stack([module(net[:, place]) for place, module in enumerate(modules)], dim=1)
    return nets


def _below(starts: Sequence[Start], delta: Tensor, normals: Tensor, net: Tensor) -> Tensor:
    """δ of the layer with the net inputs `net`, from that of the layer above and the weights between the two."""
    weights = normals[:, :-1].to(delta)
    upstream = _scales(starts, weights) * (delta @ weights.mT)
    pulled = [
        torch.func.vjp(start.activation.torch_module(), net[:, place])[1](upstream[:, place])[0]
        for place, start in enumerate(starts)
    ]
    return torch.stack(pulled, dim=1)


def _scales(starts: Sequence[Start], weights: Tensor) -> Tensor:
    """Of standard normal weights (seeds, fan_in, units): (starts, 1)."""
    variances = [[start.initialisation.weight_variance / weights.shape[1]] for start in starts]
    return weights.new_tensor(variances).sqrt()
