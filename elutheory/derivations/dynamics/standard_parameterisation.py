"""T1: the tangent kernel in the parameterisation in which networks are trained: weights and biases themselves."""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

import random
from collections.abc import Mapping
from functools import cache
from typing import Any

import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix
from elutheory.derivations.algebra.finite_sums import SumSetting
from elutheory.derivations.algebra.sample_spaces import as_matrix, inner_product, moment, vector
from elutheory.derivations.algebra.settings import MatrixSetting
from elutheory.derivations.expectations.layer_notation import (
    activation_overlap,
    below,
    below_other,
    delta,
    delta_other,
    delta_products,
    entry_product,
    layer_kernel,
    next_tangent_entry,
    ones,
    slope_entry,
    tangent_entry,
    unit_kernel,
    weight_variance,
)
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import InnerProduct, n
from elutheory.derivations.proof.steps import Assumption, Step, equation


def _gradient_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Gradients at two inputs by every weight and bias of some units above n others; units below drawn and summed."""
    a, other = vector(size, generator), vector(size, generator)
    units = generator.randint(2, 5)
    deltas, others = vector(units, generator), vector(units, generator)
    products = [
        inner_product([d * x for x in (*a, fmpq(1))], [e * y for y in (*other, fmpq(1))])
        for d, e in zip(deltas, others, strict=True)
    ]
    values = [(fmpq(2, 5), fmpq(5, 2), fmpq(-1, 3)), (fmpq(3, 5), fmpq(-3, 4), fmpq(generator.randint(1, 5)))]
    overlaps = [(fmpq(1), fmpq(0))]
    for _ in range(size):
        overlaps = [(p * weight, total + x * y) for p, total in overlaps for weight, x, y in values]
    return {
        below: as_matrix(a),
        below_other: as_matrix(other),
        delta: as_matrix(deltas[0]),
        delta_other: as_matrix(others[0]),
        unit_kernel: as_matrix(products[0]),
        delta_products: as_matrix(inner_product(deltas, others)),
        layer_kernel: as_matrix(sum(products, fmpq(0))),
        entry_product: as_matrix(moment(values, 1, 2)),
        activation_overlap: as_matrix(moment(overlaps, 1)),
    }


def _layer_sums() -> SumSetting:
    """Layers l = 1 … L with overlaps A_l of the activations below and backward factors D_l, and one more on top."""
    layer, layers = sympy.Symbol("l", integer=True, positive=True), sympy.Symbol("L", integer=True, positive=True)
    overlap: Any
    backward: Any
    overlap, backward = sympy.IndexedBase("A"), sympy.IndexedBase("D")

    def total(factor: Any) -> Any:
        return sympy.Sum(factor * overlap[layer] * backward[layer] + factor * backward[layer], (layer, 1, layers))

    definitions: dict[sympy.Basic, Any] = {
        tangent_entry: total(sympy.Integer(1)),
        next_tangent_entry: n * entry_product + 1 + total(weight_variance * slope_entry),
    }
    return SumSetting(layer, layers, sympy.IndexedBase("p"), definitions)


@cache
def training_kernel_recursion() -> Derivation:
    """T1: `Θ⁺_ij = n E[f(U_i)f(U_j)] + 1 + σ_w² E[f'(U_i)f'(U_j)] Θ_ij`, by weights and biases as they are trained.

    The 1 is the bias's. A layer's part grows with the width below it; in P5's parameterisation all layers count alike.

    >>> import elutheory as et
    >>> derivation = et.training_kernel_recursion()
    >>> derivation.number, derivation.steps[-1].name
    ('T1', 'recursion')
    """
    overlap = InnerProduct(below.T * below_other) + 1
    rows: Any = delta * below
    rows_other: Any = delta_other * below_other
    gradients: dict[sympy.Basic, sympy.Basic] = {
        unit_kernel: InnerProduct(rows.T * rows_other) + delta * delta_other,
        layer_kernel: delta_products * InnerProduct(below.T * below_other) + delta_products,
        activation_overlap: InnerProduct(ones.T * (entry_product * ones)),
    }
    by_parameters = MatrixSetting(n, frozenset(), gradients, _gradient_example, ones=ones).checks
    steps = (
        Step(
            equation(unit_kernel, delta * delta_other * overlap),
            "The gradient by a unit's weights and bias is δ times (a, 1): the inner product of two such gradients.",
            by_parameters,
            "unit",
        ),
        Step(
            equation(layer_kernel, delta_products * overlap),
            "Summed over the units of a layer; D = Σ δδ′ is P5's, σ_w² E[f′f′] times that of the layer above.",
            by_parameters,
            "layer",
        ),
        Step(
            equation(activation_overlap, n * entry_product),
            "Averaged over n i.i.d. units below: their number multiplies the dual kernel.",
            by_parameters,
            "overlap",
        ),
        Step(
            equation(next_tangent_entry, n * entry_product + 1 + weight_variance * slope_entry * tangent_entry),
            "With one more layer, above n units, every D_l has one more factor and the new layer adds its part: T1.",
            _layer_sums().checks,
            "recursion",
        ),
    )
    return Derivation(
        "training-kernel-recursion",
        "The tangent kernel of a network as it is trained",
        "T1",
        "the neural tangent kernel (Jacot, Gabriel and Hongler, arXiv 1806.07572), standard parameterisation",
        (
            Assumption("One output; a, a′ are the activations of n units below for two inputs, δ, δ′ as in P5."),
            Assumption("Infinite width and gradient independence as in P5, for C outputs the kernel is Θ times I_C."),
            Assumption("Step 4: Θ is the sum over layers l of (A_l + 1) D_l with A_l = a·a′ below layer l."),
        ),
        steps,
    )
