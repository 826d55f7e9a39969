"""P1 and P2: one layer of random weights in second moments; what a unit with fixed weights does over the inputs."""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

import random
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix
from elutheory.derivations.algebra.finite_sums import SumSetting
from elutheory.derivations.algebra.sample_spaces import (
    RandomLayer,
    SampleSpace,
    as_matrix,
    inner_product,
    moment,
    vector,
)
from elutheory.derivations.algebra.settings import MatrixSetting
from elutheory.derivations.expectations.checks import DIGITS, Point, check_value, quadrature
from elutheory.derivations.expectations.functions import NetDensity, Phi, densities_written_out, phi
from elutheory.derivations.expectations.layer_checks import quadrature_check
from elutheory.derivations.expectations.layer_notation import (
    below,
    below_other,
    bias_mean,
    bias_moment,
    bias_variance,
    c,
    centring_matrix,
    mean_share,
    median_over_units,
    net_gram,
    net_mean_variance,
    net_overlap,
    next_overlap,
    next_second_moment,
    ones,
    overlap_average,
    overlap_variance,
    overlap_with_two_units,
    product_moment,
    product_second_moment,
    q,
    unit_mean_average,
    unit_mean_square,
    unit_mean_variance,
    value_product,
    weight_bias_moment,
    weight_mean,
    weight_moment,
    weight_variance,
    within_unit_variance,
)
from elutheory.derivations.expectations.normal_form import is_identically_zero
from elutheory.derivations.expectations.pointwise import pointwise_checks
from elutheory.derivations.moments.moments_of_activations import INTEGRANDS, moment_formulas, with_symbols
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import (
    InnerProduct,
    alpha,
    mu,
    n,
    sigma,
    slope_mean,
    unit_mean,
    unit_second_moment,
)
from elutheory.derivations.proof.steps import Assumption, Check, CheckError, Step, equation, right_side

_SOURCE = "mean-field theory of random networks (Poole et al., arXiv 1606.05340)"
_SOURCE_UNITS = "figure 2a of arXiv 1511.07289, predicted in the limit of infinite width"
_Q = sympy.Rational


# --- P1: a layer in second moments ----------------------------------------------------------------------------------


def _any_weights_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Weights and bias with a mean, correlated with each other: a sample space's activations and delta."""
    space, a, other = SampleSpace.draw(size, generator), vector(size, generator), vector(size, generator)

    def product(bias: fmpq, weights: Any) -> fmpq:
        return (inner_product(weights, a) + bias) * (inner_product(weights, other) + bias)

    correlation = [space.expectation(lambda bias, weights, j=j: bias * weights[j]) for j in range(size)]
    return {
        below: as_matrix(a),
        below_other: as_matrix(other),
        weight_moment: as_matrix(space.second_moment(under_q=False)),
        weight_bias_moment: as_matrix(correlation),
        bias_moment: as_matrix(space.c),
        net_overlap: as_matrix(space.expectation(product)),
    }


def _random_weights_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """A layer of i.i.d. weights over fixed activations, and over i.i.d. activations: every configuration is summed."""
    layer = RandomLayer.draw(size, generator)
    a, other = vector(size, generator), vector(size, generator)
    nets = layer.net_inputs(a, other)
    # E[h (h' + k')] over two units: those of h and h' are summed together, those of k' apart.
    two_units = sum((p * h * (h_other + moment(nets, 2)) for p, h, h_other in nets), fmpq(0))
    values = [(fmpq(3, 7), fmpq(5, 2), fmpq(-1, 3)), (fmpq(4, 7), fmpq(-3, 4), fmpq(generator.randint(1, 5)))]
    overlaps = [(fmpq(1), fmpq(0), fmpq(0))]  # probability, Σ f(U_j)f(V_j)/n, Σ f(U_j)²/n after some units
    for _ in range(size):
        overlaps = [
            (p * weight, overlap + x * y / size, square + x * x / size)
            for p, overlap, square in overlaps
            for weight, x, y in values
        ]
    average, square = moment(overlaps, 1), moment(overlaps, 2)
    return {
        below: as_matrix(a),
        below_other: as_matrix(other),
        weight_variance: as_matrix(layer.weight_variance),
        bias_variance: as_matrix(sum((p * value**2 for value, p in layer.bias), fmpq(0))),
        net_overlap: as_matrix(moment(nets, 1, 2)),
        overlap_with_two_units: as_matrix(two_units),
        product_moment: as_matrix(moment(values, 1, 2)),
        product_second_moment: as_matrix(moment(values, 1, 1, 2, 2)),
        unit_second_moment: as_matrix(moment(values, 1, 1)),
        overlap_average: as_matrix(average),
        overlap_variance: as_matrix(moment(overlaps, 1, 1) - average**2),
        next_overlap: as_matrix(_net_moment(layer, average)),
        next_second_moment: as_matrix(_net_moment(layer, square)),
    }


def _net_moment(layer: RandomLayer, overlap: fmpq) -> fmpq:
    """E[h h'] over the layer's draws for two inputs, unit vectors times n·overlap and 1, whose overlap is given."""
    first, second = [fmpq(0)] * layer.size, [fmpq(0)] * layer.size
    first[-1], second[-1] = layer.size * overlap, fmpq(1)
    return moment(layer.net_inputs(first, second), 1, 2)


@cache
def mean_field_recursion() -> Derivation:
    """P1: `c⁺ = σ_w² E[f(U)f(V)] + σ_b²`, `q⁺ = σ_w² E[f(U)²] + σ_b²`; every step before the limit is exact at every n.

    With Gaussian weights the net inputs, given the layer below, are exactly Gaussian: only the law of large numbers for
    `aᵀa′/n` needs a wide layer.

    >>> import elutheory as et
    >>> derivation = et.mean_field_recursion()
    >>> derivation.number, derivation.steps[-1].name
    ('P1', 'second moment')
    """
    any_weights: dict[sympy.Basic, sympy.Basic] = {
        net_overlap: InnerProduct(below.T * weight_moment * below_other)
        + InnerProduct((below.T + below_other.T) * weight_bias_moment)
        + bias_moment
    }
    cross = (InnerProduct(below.T * weight_mean) + bias_mean) * (InnerProduct(below_other.T * weight_mean) + bias_mean)
    random_weights: dict[sympy.Basic, sympy.Basic] = {
        weight_mean: sympy.ZeroMatrix(n, 1),
        bias_mean: sympy.Integer(0),
        weight_moment: weight_variance / n * sympy.Identity(n),
        net_overlap: InnerProduct(below.T * weight_moment * below_other) + bias_variance,
        overlap_with_two_units: net_overlap + cross,
        overlap_average: InnerProduct(ones.T * (product_moment * ones)) / n,
        overlap_variance: InnerProduct(
            ones.T * ((product_second_moment - product_moment**2) * sympy.Identity(n)) * ones
        )
        / n**2,
        next_overlap: weight_variance * overlap_average + bias_variance,
        next_second_moment: weight_variance * InnerProduct(ones.T * (unit_second_moment * ones)) / n + bias_variance,
    }
    general = MatrixSetting(n, frozenset({weight_moment}), any_weights, _any_weights_example)
    setting = MatrixSetting(n, frozenset(), random_weights, _random_weights_example, ones=ones)
    checks, overlap = setting.checks, weight_variance / n * InnerProduct(below.T * below_other) + bias_variance
    steps = (
        Step(
            equation(
                net_overlap,
                InnerProduct(below.T * weight_moment * below_other)
                + InnerProduct((below.T + below_other.T) * weight_bias_moment)
                + bias_moment,
            ),
            "The net inputs h = w·a + w₀ and h′ = w·a′ + w₀ of one unit, multiplied out, for any weights.",
            general.checks,
            "any weights",
        ),
        Step(
            equation(net_overlap, overlap),
            "Uncorrelated weights of mean 0 and variance σ_w²/n, bias of variance σ_b²: exact at every n.",
            checks,
            "net inputs",
        ),
        Step(
            equation(overlap_with_two_units, overlap),
            "Another unit's net input k′ adds nothing: units are uncorrelated given the layer below.",
            checks,
            "two units",
        ),
        Step(
            equation(overlap_average, product_moment),
            "Averaged over a layer below whose units are i.i.d. with net inputs U, V: exact at every n.",
            checks,
            "average",
        ),
        Step(
            equation(overlap_variance, (product_second_moment - product_moment**2) / n),
            "And it concentrates: the variance is of order 1/n (law of large numbers in mean square).",
            checks,
            "concentration",
        ),
        Step(
            equation(next_overlap, weight_variance * product_moment + bias_variance),
            "P1 for two inputs: the next layer's overlap E[h h′].",
            checks,
            "overlap",
        ),
        Step(
            equation(next_second_moment, weight_variance * unit_second_moment + bias_variance),
            "P1 for one input, U = V: the next layer's second moment E[h²].",
            checks,
            "second moment",
        ),
    )
    return Derivation(
        "mean-field-recursion",
        "One layer of random weights",
        "P1",
        _SOURCE,
        (
            Assumption(
                "n units below with activations a, a′ for two inputs; weights and biases are i.i.d., independent of "
                "them, of mean 0 and variances σ_w²/n and σ_b²."
            ),
            Assumption(
                "U, V are the net inputs of a unit below, E[f²] = E[f(U)²]. Steps 4–7 take the units below as i.i.d.: "
                "true given the layer below them for Gaussian weights, whose net inputs are exactly Gaussian there."
            ),
            Assumption(
                "Infinite width, layer after layer: by step 5 the overlap aᵀa′/n tends to its mean in mean square, so "
                "(U, V) tends to a Gaussian pair with second moments q and overlap c, and (q, c) to the recursion."
            ),
        ),
        steps,
    )


# --- P2: one unit over the inputs -----------------------------------------------------------------------------------

_m, _s, _t, _x = sympy.symbols("m s t x", real=True)
_v = sympy.Symbol("v", positive=True)
_f = sympy.Function("f")
_PLACES = tuple(
    dict(zip((_m, _s, _t, _x, mu, c, _v, q), map(_Q, numbers), strict=True))
    for numbers in (
        ("2/3", "-5/7", "4/5", "-3/8", "1/4", "3/2", "5/6", "9/4"),
        ("-7/5", "1/3", "9/8", "5/4", "-2/3", "1/6", "7/4", "6/5"),
        ("1/9", "8/3", "-2/5", "7/6", "5/7", "4/3", "2/7", "8/3"),
    )
)
_MOMENT_POINTS = (
    Point(((mu, _Q(1, 2)), (sigma, _Q(5, 4)), (alpha, _Q(3, 4)))),
    Point(((mu, _Q(-7, 4)), (sigma, _Q(1, 2)), (alpha, _Q(3, 2)))),
)


def _inputs_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """A unit's net inputs for n inputs, entry by entry."""
    common, own = fmpq(generator.randint(1, 7), 3), fmpq(generator.randint(1, 7), 4)
    gram = [[common + own * (i == j) for j in range(size)] for i in range(size)]
    centring = [[fmpq(i == j) - fmpq(1, size) for j in range(size)] for i in range(size)]
    return {
        q: as_matrix(common + own),
        c: as_matrix(common),
        net_gram: as_matrix(gram),
        centring_matrix: as_matrix(centring),
        net_mean_variance: as_matrix(sum((entry for row in gram for entry in row), fmpq(0)) / size**2),
    }


def _prove_increasing(name: str, statement: sympy.Basic) -> None:
    """The right side is ∂M/∂mu of the closed form M3, and no term of it can be zero or negative."""
    right = right_side(statement, slope_mean)
    if not is_identically_zero(sympy.diff(_closed_form(name), mu) - right):
        raise CheckError(f"{statement} is not the derivative of the mean activation")
    for term in sympy.Add.make_args(right):
        for factor in sympy.Mul.make_args(term):
            if not (factor.is_positive or isinstance(factor, Phi | phi | sympy.exp)):
                raise CheckError(f"the factor {factor} of {statement} may be zero or negative")


def _closed_form(name: str) -> Any:
    return moment_formulas(with_symbols(name)).mean


def _match_slope(name: str, statement: sympy.Basic) -> None:
    function = with_symbols(name)
    for point in _MOMENT_POINTS:
        check_value(right_side(statement, slope_mean), point, quadrature(function, point, INTEGRANDS["slope_mean"]))


def _prove_median(name: str, statement: sympy.Basic) -> None:
    """The right side is M3 at mu = 0, sigma² = q − c; M is increasing by the steps before."""
    std = sympy.Symbol("std", positive=True)
    right = right_side(statement, median_over_units).subs(q, c + std**2)
    if not is_identically_zero(right - _closed_form(name).subs({mu: 0, sigma: std})):
        raise CheckError(f"{statement} is not the mean activation at mean 0 and variance q − c")


def _unit_sums() -> SumSetting:
    j, points = sympy.Symbol("j", integer=True, positive=True), sympy.Symbol("n", integer=True, positive=True)
    probability: Any
    mean: Any
    square: Any
    probability, mean, square = (sympy.IndexedBase(name) for name in ("p", "M", "S"))

    def total(term: Any) -> Any:
        return sympy.Sum(term, (j, 1, points))

    definitions: dict[sympy.Basic, Any] = {
        unit_mean: total(probability[j] * mean[j]),
        unit_mean_average: total(probability[j] * mean[j]),
        unit_second_moment: total(probability[j] * square[j]),
        unit_mean_square: total(probability[j] * mean[j] ** 2),
        value_product: total(probability[j] * mean[j] * mean[j]),
        unit_mean_variance: total(probability[j] * (mean[j] - unit_mean) ** 2),
        within_unit_variance: total(probability[j] * (square[j] - mean[j] ** 2)),
        mean_share: unit_mean_square / unit_second_moment,
    }
    return SumSetting(j, points, probability, definitions)


@cache
def unit_mean_median() -> Derivation:
    """P2: over the inputs a unit's net input is N(√c Y, q − c); M increases in √c Y, so its median is M(0, q − c).

    >>> import elutheory as et
    >>> derivation = et.unit_mean_median()
    >>> derivation.number, derivation.steps[-1].name
    ('P2', 'ReLU, median')
    """
    inputs: dict[sympy.Basic, sympy.Basic] = {
        net_gram: (q - c) * sympy.Identity(n) + c * ones * ones.T,
        centring_matrix: sympy.Identity(n) - ones * ones.T / n,
        net_mean_variance: InnerProduct(ones.T * net_gram * ones) / n**2,
    }
    matrices = MatrixSetting(n, frozenset(), inputs, _inputs_example, ones=ones).checks
    within = NetDensity(_x - _m, _v)
    two = NetDensity(_m, c) * within

    def increasing(name: str) -> tuple[Check, ...]:
        return (
            Check("every μ, σ, α (∂M/∂μ by M3, positive terms)", partial(_prove_increasing, name), proves=True),
            Check(f"{len(_MOMENT_POINTS)} points (quadrature, {DIGITS} digits)", partial(_match_slope, name)),
        )

    def median(name: str) -> tuple[Check, ...]:
        return (
            Check("every q > c, α (M3 at μ = 0, σ² = q − c)", partial(_prove_median, name), proves=True),
            quadrature_check(11, name),
        )

    elu_slope = Phi(mu / sigma) + alpha * sympy.exp(mu + sigma**2 / 2) * Phi(-mu / sigma - sigma)
    std = sympy.sqrt(q - c)
    steps = (
        Step(
            equation(net_mean_variance, c + (q - c) / n),
            "A unit's mean net input over n inputs is N(0, c + (q − c)/n) across units, N(0, c) for many inputs.",
            matrices,
            "mean over inputs",
        ),
        Step(
            equation(net_gram * centring_matrix, (q - c) * centring_matrix),
            "C centres, C G C = (q − c) C: the deviations from that mean have variance (q − c)(1 − 1/n) "
            "and, as C takes the mean away, are independent of it.",
            matrices,
            "deviations",
        ),
        Step(
            equation(c * (_s + _t) ** 2 + (q - c) * (_s**2 + _t**2), q * (_s**2 + _t**2) + 2 * c * _s * _t),
            "Twice the logarithm of E[exp(sU + tV)]: U = √c Y + √(q−c) Z, V = √c Y + √(q−c) Z′ with Y of the unit and "
            "Z, Z′ of the inputs, all independent N(0, 1), have second moments q and overlap c.",
            pointwise_checks(sympy.Integer(1), _PLACES),
            "decomposition",
        ),
        Step(
            equation(two, NetDensity(_x, c + _v) * NetDensity(_m - c * _x / (c + _v), c * _v / (c + _v))),
            "With v = q − c: integrated over m, N(m, v) averaged over m = √c Y is N(0, q).",
            pointwise_checks(two, _PLACES, densities_written_out),
            "tower",
        ),
        Step(
            equation(
                sympy.Derivative(_f(_x) * NetDensity(_x - mu, _v), mu),
                sympy.Derivative(_f(_x), _x) * NetDensity(_x - mu, _v)
                - sympy.Derivative(_f(_x) * NetDensity(_x - mu, _v), _x),
            ),
            "Integrated over x: ∂M/∂μ = E[f′(X)], X with mean μ and variance v; positive wherever f is increasing.",
            pointwise_checks(NetDensity(_x - mu, _v), _PLACES, densities_written_out),
            "monotone",
        ),
        Step(equation(slope_mean, elu_slope), "ELU: ∂M/∂μ is a sum of positive terms.", increasing("elu"), "ELU rises"),
        Step(equation(slope_mean, Phi(mu / sigma)), "ReLU: so it is.", increasing("relu"), "ReLU rises"),
        Step(
            equation(
                median_over_units,
                alpha * (sympy.exp((q - c) / 2) * Phi(-std) - _Q(1, 2)) + std / sympy.sqrt(2 * sympy.pi),
            ),
            "ELU: the median of an increasing function of √c Y is its value at the median 0 of √c Y: M(0, q − c), P2.",
            median("elu"),
            "ELU, median",
        ),
        Step(
            equation(median_over_units, std * phi(0)),
            "ReLU: M(0, q − c), P2; φ(0) = 1/√(2π).",
            median("relu"),
            "ReLU, median",
        ),
    )
    return Derivation(
        "unit-mean-median",
        "The mean activation of a unit over the inputs, and its median over units",
        "P2",
        _SOURCE_UNITS,
        (
            Assumption(
                "Across units with random weights the net inputs for n inputs are jointly Gaussian with mean 0 and "
                "Gram matrix G: q on the diagonal, c beside it, 0 < c < q (infinite width; equal norms and overlaps)."
            ),
            Assumption("M(μ, v) = E[f(μ + √v Z)], Z standard normal; M of a unit is M(√c Y, q − c)."),
        ),
        steps,
    )


@cache
def unit_mean_spread() -> Derivation:
    """P2, P2b: average and variance over units of the mean activation, and its share of the second moment.

    >>> import elutheory as et
    >>> derivation = et.unit_mean_spread()
    >>> derivation.number, derivation.steps[-1].name
    ('P2, P2b', 'mean share')
    """
    sums, numbers = _unit_sums().checks, quadrature_check(12)
    steps = (
        Step(
            equation(unit_mean_average, unit_mean),
            "The average over units is E[f(U)] = M(0, q), by the tower of conditional means.",
            (*sums, numbers),
            "average",
        ),
        Step(
            equation(value_product, unit_mean_square),
            "Given Y, U and V are independent: E[f(U)f(V)|Y] = M².",
            (*sums, numbers),
            "overlap of activations",
        ),
        Step(
            equation(unit_mean_variance, value_product - unit_mean**2),
            "The spread of M over units is the covariance Cov(f(U), f(V)) (K3).",
            (*sums, numbers),
            "spread",
        ),
        Step(
            equation(unit_second_moment, value_product + within_unit_variance),
            "The second moment is the squared mean plus the variance over the inputs, averaged over units.",
            (*sums, numbers),
            "second moment",
        ),
        Step(
            equation(mean_share, value_product / unit_second_moment),
            "P2b: the share of the squared mean over the inputs in the activations' second moment.",
            (*sums, numbers),
            "mean share",
        ),
    )
    return Derivation(
        "unit-mean-spread",
        "Average, spread and share of the units' mean activations",
        "P2, P2b",
        _SOURCE_UNITS,
        (
            Assumption(
                "U = √c Y + √(q−c) Z and V = √c Y + √(q−c) Z′ are a unit's net inputs for two inputs; Y is the unit's."
            ),
            Assumption(
                "Given Y, U and V are independent with the same law; M is the mean of f(U) given Y. As sums: unit j "
                "has probability p_j, mean M_j and second moment S_j of its activation over the inputs."
            ),
        ),
        steps,
    )
