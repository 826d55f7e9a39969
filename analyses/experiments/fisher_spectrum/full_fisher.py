"""The Fisher matrix of all parameters of a small network, over N inputs: its eigenvalues, by two routes.

F = E_n Jₙᵀ Hₙ Jₙ with Jₙ = d outputs of input n / d parameters and Hₙ = Σ_c v_c v_cᵀ the exact Fisher information of
the outputs: diag(p) − ppᵀ (categorical), I (Gaussian of variance 1). With rows s_cn = v_cᵀJₙ, F = Σ s sᵀ/N: its
non-zero eigenvalues are those of the Gram matrix of the N × classes rows over N, whatever the number of parameters. A
layer's share in the product of two rows is (a·a' + 1)(δ·δ'), from activations and deltas alone, if every input is
computed by itself; with batch statistics, where an input's output depends on all others, the rows themselves are taken.
Rows are ordered class by class, all inputs of the first class first.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, replace_all_batch_norm_modules_, vjp, vmap

from elutheory.activations import Activation
from elutheory.fisher import LayerScores, model_scores
from elutheory.fisher.likelihoods import as_likelihood
from elutheory.kernels.expectations import centred_pair_expectation

_CHUNK_BYTES = 2**27


def linear_names(network: nn.Sequential) -> list[str]:
    """Names of the linear layers, the first one's first."""
    return [name for name, layer in network.named_children() if isinstance(layer, nn.Linear)]


def has_batch_statistics(network: nn.Module) -> bool:
    """Whether it has batch normalisation."""
    return any(isinstance(module, nn.BatchNorm1d) for module in network.modules())


def centred(network: nn.Sequential, inputs: Float[Tensor, "examples features"]) -> nn.Sequential:
    """A network of equal outputs, whose incoming activations have no mean over `inputs` (B4), biases re-expressed.

    Each linear layer W a + b becomes W (a − m) + (b + W m), with m a constant from here on.
    """
    layers: list[nn.Module] = []
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Linear):
                mean = inputs.mean(0)
                shifted = copy.deepcopy(layer)
                shifted.bias.add_(layer.weight @ mean)
                layers += [Translation(-mean), shifted]
            else:
                layers.append(layer)
            inputs = layer(inputs)
    return nn.Sequential(*layers)


class Translation(nn.Module):
    """x + offset, which is no parameter."""

    offset: Tensor

    def __init__(self, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset)

    def forward(self, inputs: Tensor) -> Tensor:
        """The inputs, each with the offset added."""
        return inputs + self.offset


def score_rows(network: nn.Module, inputs: Float[Tensor, "examples features"], likelihood: str) -> dict[str, Tensor]:
    """The rows s by parameter, (rows, *parameter), by reverse mode: one vector-Jacobian product per row.

    Batch normalisation takes the statistics of all `inputs`, through which the derivatives go too.
    """
    unrecorded = replace_all_batch_norm_modules_(copy.deepcopy(network)).train()
    parameters = {name: parameter.detach() for name, parameter in unrecorded.named_parameters()}
    pulled: Any = vjp(lambda values: functional_call(unrecorded, values, (inputs,)), parameters)
    outputs, pull_back = pulled
    columns = torch.stack(list(as_likelihood(likelihood).score_factors(outputs.detach())))
    cotangents = torch.diag_embed(columns.movedim(1, 2)).movedim(-1, 1).movedim(-1, 2)
    activations = len(inputs) * sum(len(part) for name, part in parameters.items() if name.endswith("bias"))
    each = outputs.element_size() * (activations + sum(part.numel() for part in parameters.values()))
    chunk = max(1, _CHUNK_BYTES // each)
    (rows,) = vmap(pull_back, chunk_size=chunk)(cotangents.flatten(0, 1))
    return rows


def flat(rows: dict[str, Tensor]) -> Float[Tensor, "rows parameters"]:
    """All parameters in one."""
    return torch.cat([part.flatten(1) for part in rows.values()], dim=1)


def eigenvalues_of_rows(rows: Float[Tensor, "rows parameters"], examples: int) -> Float[Tensor, " least"]:
    """Of F, descending, as many as the smaller side has: of Σ s sᵀ/N or of the rows' Gram matrix over N."""
    smaller = rows if len(rows) <= rows.shape[1] else rows.mT
    return eigenvalues_of(smaller @ smaller.mT / examples)


def gram_of_scores(layers: Iterable[LayerScores]) -> Float[Tensor, "rows rows"]:
    """Products of all rows s, over N, of fully connected layers: Σ_layers (a·a' + 1)(δ·δ')/N."""
    total: Any = 0.0
    for scores in layers:
        columns, examples = scores.deltas.shape[:2]
        incoming, deltas = scores.incoming[:, 0, 0], scores.deltas[:, :, 0].flatten(0, 1)
        spans = incoming @ incoming.mT + scores.has_bias
        total = total + (deltas @ deltas.mT).view(columns, examples, columns, examples) * spans[:, None] / examples
    return total.flatten(2, 3).flatten(0, 1)


def fisher_gram(
    network: nn.Sequential, inputs: Float[Tensor, "examples features"], likelihood: str
) -> Float[Tensor, "rows rows"]:
    """Gram matrix of the rows over N, of a network whose outputs depend on their own input alone."""
    return gram_of_scores(model_scores(network, inputs, linear_names(network), "exact", likelihood).layers.values())


def eigenvalues_of(matrix: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """Descending; what rounding leaves below zero is zero."""
    return torch.linalg.eigvalsh(matrix).flip(0).clamp(min=0)


def unit_eigenvalues(weights: Float[Tensor, "rows units fan_in"], biases: Float[Tensor, "rows units"]) -> Tensor:
    """Eigenvalues (units, fan_in + 1), ascending, of the blocks Σ s sᵀ of a layer's units, from their rows."""
    units = torch.cat([biases[:, :, None], weights], dim=2).movedim(1, 0)
    return torch.linalg.eigvalsh(units.mT @ units)


def wide_tangent_kernel(activation: Activation, inputs: Any, widths: Sequence[int]) -> Any:
    """P5: what J Jᵀ (N × N) of one output tends to with the widths, J by the weights and biases themselves; numpy.

    `inputs` (N, features), `widths` of the hidden layers; weights N(0, 2/fan_in), biases 0 (He). With K_l the second
    moments of layer l's net inputs (P4), Θ_1 = fan_in_1 K_1/2 + 1 and Θ_{l+1} = fan_in_{l+1} K_{l+1}/2 + 1 + 2 E f'f'
    Θ_l. Unlike in `elutheory.tangent_kernel`, where all parameters are N(0, 1), layers of different fan-in differ in
    weight.
    """
    nets = 2 * inputs @ inputs.T / inputs.shape[1]
    tangent = inputs.shape[1] / 2 * nets + 1
    for width in widths:
        products, slopes = (_pair_expectations(activation, order, nets) for order in (0, 1))
        nets = 2 * products
        tangent = width / 2 * nets + 1 + 2 * slopes * tangent
    return tangent


def _pair_expectations(activation: Activation, order: int, gram: Any) -> Any:
    """E f^(order)(U) f^(order)(V) of all pairs of a symmetric matrix."""
    rows, columns = np.triu_indices(len(gram))
    stds = np.sqrt(gram.diagonal())
    cosines = np.where(rows == columns, 1.0, np.clip(gram[rows, columns] / (stds[rows] * stds[columns]), -1, 1))
    found = np.empty_like(gram)
    found[rows, columns] = centred_pair_expectation(
        activation, order, stds[rows], stds[columns], cosines, np.sqrt(1 - cosines**2)
    )
    found[columns, rows] = found[rows, columns]
    return found
