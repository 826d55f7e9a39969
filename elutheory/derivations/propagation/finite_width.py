"""P6: how far the statistics of a layer of finite width vary between random networks, to leading order."""

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
from elutheory.derivations.algebra.sample_spaces import RandomLayer, SampleSpace, as_matrix, inner_product
from elutheory.derivations.algebra.settings import MatrixSetting
from elutheory.derivations.expectations.functions import NetDensity, densities_written_out
from elutheory.derivations.expectations.layer_notation import (
    batch_variance,
    bias_variance,
    c,
    first_by_c,
    first_by_v,
    layer_c_variance,
    layer_covariance,
    layer_v_variance,
    mean_square_over_data,
    ones,
    second_by_c,
    second_by_v,
    statistics_covariance,
    unit_covariance,
    unit_means,
    unit_variances,
    weight_variance,
    width,
)
from elutheory.derivations.expectations.pointwise import pointwise_checks
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import InnerProduct, n
from elutheory.derivations.proof.steps import Assumption, Step, equation

_Q = sympy.Rational
_m, _x = sympy.symbols("m x", real=True)
_v = sympy.Symbol("v", positive=True)
_f, _M = sympy.Function("f"), sympy.Function("M")
_PLACES = tuple(
    dict(zip((_m, _x, _v, c), map(_Q, numbers), strict=True))
    for numbers in (("2/3", "-5/7", "4/5", "9/4"), ("-7/5", "1/3", "9/8", "6/5"), ("1/9", "8/3", "2/5", "5/3"))
)


def _layer_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Activations of n units over a sample space of inputs; a net input's mean and variance over it, over weights."""
    space, layer = SampleSpace.draw(size, generator), RandomLayer.draw(size, generator)
    spread, means = space.variance(under_q=False), space.mean(under_q=False)
    within, square = fmpq(0), fmpq(0)
    for p, weights, bias in layer.draws():
        mean = space.expectation(lambda _, a, w=weights, b=bias: inner_product(w, a) + b)
        within += p * space.expectation(lambda _, a, w=weights, b=bias, m=mean: (inner_product(w, a) + b - m) ** 2)
        square += p * mean**2
    return {
        unit_variances: as_matrix([spread[j][j] for j in range(size)]),
        unit_means: as_matrix(means),
        weight_variance: as_matrix(layer.weight_variance),
        bias_variance: as_matrix(sum((p * value**2 for value, p in layer.bias), fmpq(0))),
        batch_variance: as_matrix(within),
        mean_square_over_data: as_matrix(square),
    }


def _law_of_a_layer() -> SumSetting:
    """States j of a layer, probability p_j, at (v_j, c_j); given one, two statistics are means over independent units.

    Their expectations S_j, T_j follow (v, c) with constant slopes; W_j is the covariance of the two at one unit.
    """
    j, states = sympy.Symbol("j", integer=True, positive=True), sympy.Symbol("n", integer=True, positive=True)
    probability: Any
    v: Any
    overlap: Any
    scatter: Any
    first: Any
    second: Any
    probability, v, overlap, scatter, first, second = (
        sympy.IndexedBase(name) for name in ("p", "v", "c", "W", "S", "T")
    )
    start, other_start, v_mean, c_mean, mean, other_mean = sympy.symbols("S_0 T_0 v_mean c_mean S_mean T_mean")

    def average(term: Any) -> Any:
        return sympy.Sum(probability[j] * term, (j, 1, states))

    definitions: dict[sympy.Basic, Any] = {
        v_mean: average(v[j]),
        c_mean: average(overlap[j]),
        first: lambda at: start + first_by_v * v[at] + first_by_c * overlap[at],
        second: lambda at: other_start + second_by_v * v[at] + second_by_c * overlap[at],
        mean: average(first[j]),
        other_mean: average(second[j]),
        layer_v_variance: average((v[j] - v_mean) ** 2),
        layer_c_variance: average((overlap[j] - c_mean) ** 2),
        layer_covariance: average((v[j] - v_mean) * (overlap[j] - c_mean)),
        unit_covariance: average(scatter[j]),
        statistics_covariance: average(first[j] * second[j] + scatter[j] / width) - mean * other_mean,
    }
    return SumSetting(j, states, probability, definitions)


@cache
def finite_width_fluctuations() -> Derivation:
    """P6: between networks the covariance of a layer's (v, c) is `J V Jᵀ + σ_w⁴ Cov_Y(Var f, M²)/n`, to leading order.

    V is that of the layer below, J the derivative of the layer's map of (v, c), v = q − c. What is left out: how J and
    the scatter of the units change with (v, c), and the scatter of v itself over units, which is of order 1/n².

    >>> import elutheory as et
    >>> derivation = et.finite_width_fluctuations()
    >>> derivation.number, derivation.steps[-1].name
    ('P6', 'Var f by c')
    """
    exact: dict[sympy.Basic, sympy.Basic] = {
        batch_variance: weight_variance / n * InnerProduct(ones.T * unit_variances),
        mean_square_over_data: weight_variance / n * InnerProduct(unit_means.T * unit_means) + bias_variance,
    }
    layer = MatrixSetting(n, frozenset(), exact, _layer_example, ones=ones).checks
    units, within = NetDensity(_m, c), NetDensity(_x - _m, _v)
    on_units = pointwise_checks(units, _PLACES, densities_written_out)
    on_inputs = pointwise_checks(within, _PLACES, densities_written_out)
    mean, slope = _M(_m), sympy.Derivative(_M(_m), _m)
    curvature = sympy.Derivative(_M(_m), (_m, 2))
    by_c = first_by_v * second_by_c + first_by_c * second_by_v
    steps = (
        Step(
            equation(batch_variance, weight_variance * InnerProduct(ones.T * unit_variances) / n),
            "Given the layer below, the variance over the data of a net input, averaged over its weights: the next "
            "layer's v is the mean over the units below of σ_w² times their variances. Exact at every n.",
            layer,
            "variance over the data",
        ),
        Step(
            equation(
                mean_square_over_data, weight_variance * InnerProduct(unit_means.T * unit_means) / n + bias_variance
            ),
            "And the next layer's c, the square of its mean over the data, is that of σ_w² M², plus σ_b².",
            layer,
            "mean over the data",
        ),
        Step(
            equation(
                statistics_covariance,
                first_by_v * second_by_v * layer_v_variance
                + by_c * layer_covariance
                + first_by_c * second_by_c * layer_c_variance
                + unit_covariance / width,
            ),
            "Total covariance of two such means S, T over m units, independent given (v, c): that of their "
            "expectations, J V Jᵀ, plus the units' own over m. P6 is this for σ_w² Var f and σ_w² M².",
            _law_of_a_layer().checks,
            "fluctuations",
        ),
        Step(
            equation(sympy.Derivative(within, _v), sympy.Derivative(within, (_m, 2)) / 2),
            "A unit with the mean m over the data has the mean activation M(m, v) = ∫ f(x) p(x − m, v) dx: "
            "∂M/∂v is half of ∂²M/∂m².",
            on_inputs,
            "heat equation",
        ),
        Step(
            equation(
                mean * curvature * units,
                _m / c * mean * slope * units - slope**2 * units + sympy.Derivative(mean * slope * units, _m),
            ),
            "Integrated over the units, m with density p(m, c): ∂E[M²]/∂v = E[M M″] = E[m M M′]/c − E[M′²].",
            on_units,
            "M² by v",
        ),
        Step(
            equation(
                mean**2 * sympy.Derivative(units, c),
                slope**2 * units
                + mean * curvature * units
                + sympy.Derivative(mean**2 * sympy.Derivative(units, _m) / 2 - mean * slope * units, _m),
            ),
            "Integrated: ∂E[M²]/∂c = E[M′²] + E[M M″], the one before plus E[f′(U)f′(V)].",
            on_units,
            "M² by c",
        ),
        Step(
            equation(_f(_m) * sympy.Derivative(units, c), (_m**2 / c - 1) / (2 * c) * _f(_m) * units),
            "For Var f, or any f(m): ∂E[f]/∂c = E[(m²/c − 1) f]/(2c); and E[Var f] + E[M²] depends on q = v + c alone.",
            on_units,
            "Var f by c",
        ),
    )
    return Derivation(
        "finite-width-fluctuations",
        "The statistics of a layer of finite width",
        "P6",
        "mean-field theory of random networks at finite width, to leading order",
        (
            Assumption(
                "Many inputs of second moment q and overlap c = q − v. Given the layers below, the units of a layer "
                "are independent: over the data unit i has the mean √c Y_i and the variance v of its net input."
            ),
            Assumption(
                "Var f and M are variance and mean over the data of its activation, functions of (√c Y_i, v). Step 3: "
                "state j of the layer has probability p_j; W is the covariance of the two statistics at one unit."
            ),
            Assumption(
                "Leading order in 1/m: S and T follow (v, c) with the slopes J, taken at the infinite width's (v, c), "
                "as is Cov_Y(Var f, M²) for the mean of W. What that leaves out has relative size depth/width."
            ),
        ),
        steps,
    )
