"""P4 and P5: the Gram matrix of a whole data set through a layer, and the tangent kernel that follows from it."""

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
from elutheory.derivations.algebra.resolvents import RectangularSetting
from elutheory.derivations.algebra.sample_spaces import RandomLayer, as_matrix, inner_product, moment, vector
from elutheory.derivations.algebra.settings import MatrixSetting
from elutheory.derivations.expectations.layer_notation import (
    activations,
    below,
    below_other,
    bias_scale,
    bias_variance,
    damping,
    data_direction,
    delta,
    delta_above,
    delta_above_other,
    delta_other,
    delta_product,
    delta_product_sum,
    delta_products,
    entry_average,
    entry_product,
    first_input,
    input_ones,
    kernel_both,
    kernel_entry,
    kernel_first,
    kernel_form,
    kernel_second,
    layer_kernel,
    net_kernel,
    next_kernel_both,
    next_tangent_entry,
    ones,
    outgoing_moment,
    second_input,
    slope,
    slope_entry,
    slope_other,
    slope_product_average,
    slope_product_sum,
    tangent_entry,
    unit_gram,
    unit_kernel,
    value_gram,
    weight_scale,
    weight_variance,
    width,
)
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import InnerProduct, n
from elutheory.derivations.proof.steps import Assumption, Step, equation

_first, _second = sympy.symbols("s t", real=True)


def _rational(generator: random.Random) -> fmpq:
    return fmpq(generator.choice((-5, -4, -2, 3, 4, 7)), 3)


# --- P4 -------------------------------------------------------------------------------------------------------------


def _net_inputs_example(entries: Matrix, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """One unit's net inputs for the rows of Φ: every configuration of its weights and bias is summed."""
    rows = [[entry.value for entry in row] for row in entries]
    layer = RandomLayer.draw(len(rows[0]), generator)
    nets = layer.net_inputs(*rows)
    places = range(1, len(rows) + 1)
    return {
        weight_variance: as_matrix(layer.weight_variance),
        bias_variance: as_matrix(sum((p * value**2 for value, p in layer.bias), fmpq(0))),
        unit_gram: as_matrix([[moment(nets, i, j) for j in places] for i in places]),
    }


def _entries_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Two of n inputs: entries of a Gram matrix picked out, and a layer whose units below are drawn and summed."""
    factor = [vector(size, generator) for _ in range(size)]
    gram = [[inner_product(a, b) for b in factor] for a in factor]
    i, j = generator.randrange(size), generator.randrange(size)
    first, second = ([fmpq(k == at) for k in range(size)] for at in (i, j))
    layer = RandomLayer.draw(size, generator)
    values = [(fmpq(2, 5), fmpq(5, 2), fmpq(-1, 3)), (fmpq(3, 5), fmpq(-3, 4), _rational(generator))]
    draws = [(fmpq(1), fmpq(0))]
    for _ in range(size):
        draws = [(p * weight, overlap + x * y / size) for p, overlap in draws for weight, x, y in values]
    average = moment(draws, 1)
    above = [fmpq(0)] * size
    above[0] = size * average
    return {
        net_kernel: as_matrix(gram),
        first_input: as_matrix(first),
        second_input: as_matrix(second),
        kernel_first: as_matrix(gram[i][i]),
        kernel_second: as_matrix(gram[j][j]),
        kernel_both: as_matrix(gram[i][j]),
        _first: as_matrix(_rational(generator)),
        _second: as_matrix(_rational(generator)),
        weight_variance: as_matrix(layer.weight_variance),
        bias_variance: as_matrix(sum((p * value**2 for value, p in layer.bias), fmpq(0))),
        entry_product: as_matrix(moment(values, 1, 2)),
        entry_average: as_matrix(average),
        next_kernel_both: as_matrix(moment(layer.net_inputs(above, [fmpq(1)] + [fmpq(0)] * (size - 1)), 1, 2)),
    }


def _form_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """A unit's net inputs in a direction, over its draws: its activations below, then its weight and bias."""
    x = vector(size, generator)
    columns = [(fmpq(1, 3), vector(size, generator)), (fmpq(2, 3), vector(size, generator))]
    layer = RandomLayer.draw(1, generator)
    form = sum(
        (
            p * weight * inner_product(x, [w * a + bias for a in column]) ** 2
            for p, column in columns
            for weight, (w,), bias in layer.draws()
        ),
        fmpq(0),
    )
    return {
        data_direction: as_matrix(x),
        value_gram: as_matrix(
            [[sum((p * a[i] * a[j] for p, a in columns), fmpq(0)) for j in range(size)] for i in range(size)]
        ),
        weight_variance: as_matrix(layer.weight_variance),
        bias_variance: as_matrix(sum((p * value**2 for value, p in layer.bias), fmpq(0))),
        kernel_form: as_matrix(form),
    }


@cache
def gram_matrix_recursion() -> Derivation:
    """P4: `K⁺_ij = σ_w² E[f(U_i)f(U_j)] + σ_b²` for every pair of a data set, (U_i, U_j) ~ N(0, K's four entries).

    The net inputs of a unit for the whole data set are jointly Gaussian, so any two of them are, and P1 holds for them.

    >>> import elutheory as et
    >>> derivation = et.gram_matrix_recursion()
    >>> derivation.number, derivation.steps[-1].name
    ('P4', 'quadratic form')
    """
    net = weight_variance / n * activations * activations.T + bias_variance * input_ones * input_ones.T
    rectangular = RectangularSetting(activations, input_ones, damping, {unit_gram: net}, _net_inputs_example)
    point = _first * first_input + _second * second_input
    entries: dict[sympy.Basic, sympy.Basic] = {
        kernel_first: InnerProduct(first_input.T * net_kernel * first_input),
        kernel_second: InnerProduct(second_input.T * net_kernel * second_input),
        kernel_both: InnerProduct(first_input.T * net_kernel * second_input),
        entry_average: InnerProduct(ones.T * (entry_product * ones)) / n,
        next_kernel_both: weight_variance * entry_average + bias_variance,
    }
    form: dict[sympy.Basic, sympy.Basic] = {
        kernel_form: InnerProduct(
            data_direction.T * (weight_variance * value_gram + bias_variance * ones * ones.T) * data_direction
        )
    }
    pairs = MatrixSetting(n, frozenset({net_kernel}), entries, _entries_example, ones=ones).checks
    forms = MatrixSetting(n, frozenset({value_gram}), form, _form_example, ones=ones).checks
    steps = (
        Step(
            equation(unit_gram, net),
            "One unit's net inputs h = Φw + w₀𝟏 for all N inputs at once, given the layer below: exact at every n.",
            rectangular.checks,
            "net inputs",
        ),
        Step(
            equation(
                InnerProduct(point.T * net_kernel * point),
                _first**2 * kernel_first + 2 * _first * _second * kernel_both + _second**2 * kernel_second,
            ),
            "Twice the logarithm of E[exp(sU_i + tU_j)]: any two net inputs are a Gaussian pair with these entries.",
            pairs,
            "pairs",
        ),
        Step(
            equation(entry_average, entry_product),
            "The layer below, averaged over its n i.i.d. units; by P1 its variance is of order 1/n.",
            pairs,
            "average",
        ),
        Step(
            equation(next_kernel_both, weight_variance * entry_product + bias_variance),
            "P4: the next layer's Gram matrix, entry by entry, from the dual kernel of three entries of this one.",
            pairs,
            "entries",
        ),
        Step(
            equation(
                kernel_form,
                weight_variance * InnerProduct(data_direction.T * value_gram * data_direction)
                + bias_variance * InnerProduct(data_direction.T * ones * ones.T * data_direction),
            ),
            "In every direction x it is a second moment, not negative: K⁺ is a covariance again.",
            forms,
            "quadratic form",
        ),
    )
    return Derivation(
        "gram-matrix-recursion",
        "A whole data set through a layer of random weights",
        "P4",
        "wide networks as Gaussian processes (Lee et al., arXiv 1711.00165)",
        (
            Assumption(
                "Φ holds the activations of n units for N inputs; the weights w of a unit above and its bias w₀ are "
                "i.i.d. over units, of mean 0 and variances σ_w²/n and σ_b², Gaussian."
            ),
            Assumption(
                "e_i and e_j pick two inputs; a, a′ are the activations of the units below for them, and U their net "
                "inputs, whose Gram matrix is K. Steps 3–5 take those units as i.i.d., as P1 does."
            ),
            Assumption("Infinite width, layer after layer: the overlaps tend to their means in mean square (P1)."),
        ),
        steps,
    )


# --- P5: the tangent kernel's recursion -----------------------------------------------------------------------------


def _gradient_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Gradients at two inputs by every weight and bias of some units above n others, entry by entry."""
    a, other, r, beta = vector(size, generator), vector(size, generator), _rational(generator), _rational(generator)
    units = generator.randint(2, 5)
    deltas, others = vector(units, generator), vector(units, generator)

    def gradient(d: fmpq, values: list[fmpq]) -> list[fmpq]:
        return [*(d * r * value for value in values), d * beta]

    products = [
        inner_product(gradient(d, a), gradient(d_other, other)) for d, d_other in zip(deltas, others, strict=True)
    ]
    return {
        below: as_matrix(a),
        below_other: as_matrix(other),
        weight_scale: as_matrix(r),
        bias_scale: as_matrix(beta),
        weight_variance: as_matrix(size * r**2),
        bias_variance: as_matrix(beta**2),
        delta: as_matrix(deltas[0]),
        delta_other: as_matrix(others[0]),
        unit_kernel: as_matrix(products[0]),
        delta_products: as_matrix(inner_product(deltas, others)),
        layer_kernel: as_matrix(sum(products, fmpq(0))),
    }


def _backward_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Units with slopes at two inputs, below n units with deltas; each unit has its own outgoing weights."""
    units, layer = generator.randint(2, 5), RandomLayer.draw(size, generator)
    slopes, others = vector(units, generator), vector(units, generator)
    d, d_other = vector(size, generator), vector(size, generator)
    backward = sum(
        (p * inner_product(weights, d) * inner_product(weights, d_other) for p, weights, _ in layer.draws()), fmpq(0)
    )
    products = [x * y for x, y in zip(slopes, others, strict=True)]
    total = sum((value * backward for value in products), fmpq(0))
    return {
        width: as_matrix(fmpq(units)),
        weight_variance: as_matrix(layer.weight_variance / size * units),  # fan-in m of the layer above × Var(w)
        delta_above: as_matrix(d),
        delta_above_other: as_matrix(d_other),
        slope: as_matrix(slopes[0]),
        slope_other: as_matrix(others[0]),
        delta_product: as_matrix(products[0] * backward),
        delta_product_sum: as_matrix(total),
        slope_product_sum: as_matrix(sum(products, fmpq(0))),
        slope_product_average: as_matrix(sum(products, fmpq(0)) / units),
    }


def _layer_sums() -> SumSetting:
    """Layers l = 1 … L, with Gram matrix K_l and backward factor D_l, and one more on top of them."""
    layer, layers = sympy.Symbol("l", integer=True, positive=True), sympy.Symbol("L", integer=True, positive=True)
    kernel: Any
    backward: Any
    kernel, backward = sympy.IndexedBase("K"), sympy.IndexedBase("D")

    def total(term: Any) -> Any:
        return sympy.Sum(term, (layer, 1, layers))

    definitions: dict[sympy.Basic, Any] = {
        tangent_entry: total(kernel[layer] * backward[layer]),
        next_tangent_entry: kernel_entry + total(kernel[layer] * (weight_variance * slope_entry * backward[layer])),
    }
    return SumSetting(layer, layers, sympy.IndexedBase("p"), definitions)


@cache
def tangent_kernel_recursion() -> Derivation:
    """P5: `Θ⁺_ij = K⁺_ij + σ_w² E[f'(U_i)f'(U_j)] Θ_ij`, the tangent kernel of one output, layer by layer.

    In the parameterisation in which every layer counts alike: weights r ω and biases β ω₀ with ω, ω₀ of variance 1,
    σ_w² = n r², σ_b² = β²; what is trained are the ω.

    >>> import elutheory as et
    >>> derivation = et.tangent_kernel_recursion()
    >>> derivation.number, derivation.steps[-1].name
    ('P5', 'recursion')
    """
    overlap = weight_variance / n * InnerProduct(below.T * below_other) + bias_variance
    rows: Any = weight_scale * below
    rows_other: Any = weight_scale * below_other
    scaled, scaled_other = delta * rows, delta_other * rows_other
    gradients: dict[sympy.Basic, sympy.Basic] = {
        weight_variance: n * weight_scale**2,
        bias_variance: bias_scale**2,
        unit_kernel: InnerProduct(scaled.T * scaled_other) + delta * bias_scale * delta_other * bias_scale,
        layer_kernel: delta_products * (InnerProduct(rows.T * rows_other) + bias_scale * bias_scale),
    }
    backwards: dict[sympy.Basic, sympy.Basic] = {
        outgoing_moment: weight_variance / width * sympy.Identity(n),
        delta_product: slope * slope_other * InnerProduct(delta_above.T * outgoing_moment * delta_above_other),
        delta_product_sum: slope_product_sum * InnerProduct(delta_above.T * outgoing_moment * delta_above_other),
        slope_product_average: slope_product_sum / width,
    }
    by_parameters = MatrixSetting(n, frozenset(), gradients, _gradient_example).checks
    backward = MatrixSetting(n, frozenset(), backwards, _backward_example).checks
    above = InnerProduct(delta_above.T * delta_above_other)
    steps = (
        Step(
            equation(unit_kernel, delta * delta_other * overlap),
            "The gradient by a unit's parameters ω, ω₀ is δ times (r a, β): the inner product of two such gradients.",
            by_parameters,
            "unit",
        ),
        Step(
            equation(layer_kernel, delta_products * overlap),
            "Summed over the units of a layer, each with its own δ: the layer's part of the tangent kernel.",
            by_parameters,
            "layer",
        ),
        Step(
            equation(delta_product, slope * slope_other * weight_variance * above / width),
            "Chain rule δ = f′(h) v·d at both inputs, with the same outgoing weights v of mean 0 and variance σ_w²/m.",
            backward,
            "delta",
        ),
        Step(
            equation(delta_product_sum, weight_variance * slope_product_average * above),
            "Summed over the m units: in the limit D = Σ δδ′ of a layer is σ_w² E[f′f′] times that of the layer above.",
            backward,
            "backward",
        ),
        Step(
            equation(next_tangent_entry, kernel_entry + weight_variance * slope_entry * tangent_entry),
            "With one more layer every D_l of Θ = Σ K_l D_l has one more factor, and the new layer adds its own K: P5.",
            _layer_sums().checks,
            "recursion",
        ),
    )
    return Derivation(
        "tangent-kernel-recursion",
        "The tangent kernel from layer to layer",
        "P5",
        "the neural tangent kernel (Jacot, Gabriel and Hongler, arXiv 1806.07572)",
        (
            Assumption(
                "One output. A unit's net input is h = r ω·a + β ω₀ with n activations a below; σ_w² = n r², "
                "σ_b² = β². δ, δ′ are the output's derivatives by it, for two inputs; d, d′ those by the units above."
            ),
            Assumption(
                "Gradient independence as in P3: the weights used backwards are independent of d, d′ and of the "
                "slopes, of mean 0; in the limit of infinite width it is a theorem (Yang, arXiv 2006.14548)."
            ),
            Assumption(
                "In that limit the means over units tend to E[f′(U_i)f′(U_j)], and σ_w² a·a′/n + σ_b² to K of the "
                "layer (P4). Step 5: layer l has K_l and the factor D_l, 1 for the output; Θ of one layer is its K."
            ),
        ),
        steps,
    )
