"""T6: networks of finite width at initialisation, drawn without their inputs, with their exact tangent kernels.

Gaussian weights see inputs only through their Gram matrix: the first layer's net inputs are drawn from it. Of C outputs
the kernel is that of every pair of them, which at finite width are coupled, and F_0 belongs to the same network.
"""

from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Float

from elutheory.dynamics.gradient_descent.initial_functions import covariance_root
from elutheory.dynamics.infinite_width import TrainingKernel, own_part
from elutheory.errors import InputError
from elutheory.numerics.arrays import on_host

_MOST_BYTES = 2**31  # of a kernel of all outputs: 16,384 inputs times classes


@dataclass(frozen=True, eq=False)
class FiniteNetwork:
    """`blocks`, ∂f_c(x)·∂f_c'(x'), the layout in which `descent` takes it, and the `outputs` F_0."""

    blocks: Float[numpy.ndarray, "classes inputs classes inputs"]
    outputs: Float[numpy.ndarray, "classes inputs"]


def finite_network(theta: TrainingKernel, classes: int, seed: tuple[int, ...]) -> FiniteNetwork:
    """One network of the widths of `theta`, with `classes` outputs, drawn by `seed`; numpy, float64.

    Raises InputError where the kernel would take more than 2 GiB.
    """
    network, gram = theta.network, on_host(theta.gram)
    inputs = len(gram)
    size = 8 * (inputs * classes) ** 2
    if size > _MOST_BYTES:
        raise InputError(
            f"the kernel of a finite network of {classes} outputs at {inputs} inputs takes {size / 2**30:.1f} GiB; "
            f"{_MOST_BYTES / 2**30:.0f} GiB is allowed, so give fewer inputs, or leave finite_networks out."
        )
    rng = numpy.random.default_rng(seed)
    f = network.activation
    net = _normal(rng, covariance_root(network.rule(network.features).block(gram)), network.widths[0])
    nets, matrices, parts = [net], [], [own_part(network, theta.origin, 0, network.features * gram)]
    for units in (*network.widths[1:], classes):
        below = f(nets[-1])
        scale = (network.weight_variance / below.shape[1]) ** 0.5
        matrices.append(scale * rng.standard_normal((below.shape[1], units)))
        biases = network.bias_variance**0.5 * rng.standard_normal(units)
        nets.append(below @ matrices[-1] + biases)
        parts.append(own_part(network, theta.origin, len(parts), below @ below.T))
    outputs = nets.pop()
    blocks = numpy.zeros((classes, inputs, classes, inputs))
    for number in range(classes):
        blocks[number, :, number] = parts[-1]
    deltas: Any = matrices[-1].T[:, None]  # (classes, 1 or inputs, units), of the activations
    for layer in reversed(range(len(nets))):
        deltas = deltas * f.derivative(nets[layer])
        flat = deltas.reshape(classes * inputs, -1)
        blocks += (flat @ flat.T).reshape(blocks.shape) * parts[layer][None, :, None, :]
        if layer:
            deltas = deltas @ matrices[layer - 1].T
    return FiniteNetwork(blocks, numpy.ascontiguousarray(outputs.T))


def _normal(rng: numpy.random.Generator, root: Any, units: int) -> Any:
    """Net inputs (inputs, units) of the covariance that `root` is of."""
    return root @ rng.standard_normal((len(root), units))[: root.shape[1]]
