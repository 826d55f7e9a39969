"""P3: how the variance of the gradient passes a layer, and the slopes of the recursion P1; batch norm and residual."""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

import random
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import mpmath
import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix
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
from elutheory.derivations.expectations.functions import NetDensity, PairDensity, Phi, densities_written_out
from elutheory.derivations.expectations.layer_checks import quadrature_check
from elutheory.derivations.expectations.layer_notation import (
    batch_variance,
    below,
    below_other,
    bias_variance,
    c,
    chi,
    delta_above,
    delta_above_average,
    delta_skip,
    delta_square,
    delta_square_average,
    delta_square_sum,
    input_value_slope_mean,
    net_overlap,
    next_overlap,
    next_second_moment,
    ones,
    outgoing_moment,
    overlap_slope,
    overlap_slope_at_q,
    product_moment,
    q,
    second_moment_slope,
    skip,
    skip_other,
    slope,
    slope_product,
    slope_square_average,
    slope_square_sum,
    unit_variances,
    weight_mean,
    weight_variance,
    width,
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
    slope_second_moment,
    unit_mean,
    unit_second_moment,
)
from elutheory.derivations.proof.steps import Assumption, Check, CheckError, Step, equation, right_side

_SOURCE = "mean-field theory of random networks (Schoenholz et al., arXiv 1611.01232)"
_Q = sympy.Rational
_u, _v, _x = sympy.symbols("u v x", real=True)
_f = sympy.Function("f")
_PLACES = tuple(
    dict(zip((_u, _v, _x, q, c), map(_Q, numbers), strict=True))
    for numbers in (
        ("2/3", "-5/7", "4/5", "9/4", "1/2"),
        ("-7/5", "1/3", "9/8", "6/5", "-1/6"),
        ("1/9", "8/3", "-2/5", "8/3", "9/5"),
    )
)


# --- P3 -------------------------------------------------------------------------------------------------------------


def _outgoing_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """A layer of some units with slopes, below one of n units with deltas; each unit has its own outgoing weights."""
    units, layer = generator.randint(2, 5), RandomLayer.draw(size, generator)
    slopes, deltas = vector(units, generator), vector(size, generator)
    backward = sum((p * inner_product(weights, deltas) ** 2 for p, weights, _ in layer.draws()), fmpq(0))
    squares = [value**2 for value in slopes]
    total = sum((value * backward for value in squares), fmpq(0))
    return {
        width: as_matrix(fmpq(units)),
        weight_variance: as_matrix(layer.weight_variance / size * units),  # fan-in m of the layer above × Var(w)
        delta_above: as_matrix(deltas),
        delta_above_average: as_matrix(inner_product(deltas, deltas) / size),
        slope: as_matrix(slopes[0]),
        delta_square: as_matrix(squares[0] * backward),
        delta_square_sum: as_matrix(total),
        delta_square_average: as_matrix(total / units),
        slope_square_sum: as_matrix(sum(squares, fmpq(0))),
        slope_square_average: as_matrix(sum(squares, fmpq(0)) / units),
    }


def _prove_elu_slope(statement: sympy.Basic) -> None:
    """The derivative by q = sigma² of M4 at mu = 0."""
    right = right_side(statement, second_moment_slope)
    second_moment: Any = moment_formulas(with_symbols("elu")).second_moment.subs(mu, 0)
    by_q = sympy.diff(second_moment, sigma) / (2 * sigma)
    if not is_identically_zero(sympy.expand(right.subs(q, sigma**2)) - weight_variance * by_q):
        raise CheckError(f"{statement} is not the derivative of M4 by q")


@cache
def gradient_recursion() -> Derivation:
    """P3: `chi = σ_w² E f'²` is the factor of the summed squared deltas, and the slope of the overlap's map at c = q.

    Between layers of different widths the mean squared delta has the further factor (units above)/(units here).

    >>> import elutheory as et
    >>> derivation = et.gradient_recursion()
    >>> derivation.number, derivation.steps[-1].name
    ('P3', 'ELU, second-moment slope')
    """
    definitions: dict[sympy.Basic, sympy.Basic] = {
        outgoing_moment: weight_variance / width * sympy.Identity(n),
        delta_square: slope**2 * InnerProduct(delta_above.T * outgoing_moment * delta_above),
        delta_square_sum: slope_square_sum * InnerProduct(delta_above.T * outgoing_moment * delta_above),
        delta_square_average: delta_square_sum / width,
        slope_square_average: slope_square_sum / width,
        delta_above_average: InnerProduct(delta_above.T * delta_above) / n,
    }
    checks = MatrixSetting(n, frozenset(), definitions, _outgoing_example).checks
    above = InnerProduct(delta_above.T * delta_above)
    pair, one = PairDensity(_u, _v, q, c), NetDensity(_x, q)
    flow = (c * _u - q * _v) / (q**2 - c**2) * pair
    slope_u, slope_v, slope_x = (sympy.Derivative(_f(at), at) for at in (_u, _v, _x))
    on_pairs = pointwise_checks(pair, _PLACES, densities_written_out)
    numbers = quadrature_check(11)
    elu = _Q(1, 2) + 2 * alpha**2 * sympy.exp(2 * q) * Phi(-2 * sympy.sqrt(q))
    elu -= alpha**2 * sympy.exp(q / 2) * Phi(-sympy.sqrt(q))
    steps = (
        Step(
            equation(delta_square, slope**2 * weight_variance * above / width),
            "Chain rule δ = f′(h) v·d with the unit's outgoing weights v, of mean 0 and variance σ_w²/m: exact.",
            checks,
            "delta",
        ),
        Step(
            equation(delta_square_sum, weight_variance * slope_square_average * above),
            "Summed over the m units of the layer, each with its own slope: the factor tends to σ_w² E[f′²], P3.",
            checks,
            "sum of squares",
        ),
        Step(
            equation(delta_square_average, n / width * weight_variance * slope_square_average * delta_above_average),
            "For means instead of sums the widths enter: the factor of the mean squared delta is chi only if n = m.",
            checks,
            "mean of squares",
        ),
        Step(
            equation(sympy.Derivative(pair, _v), flow),
            "The derivative of the pair's density p(u, v, q, c) by v.",
            on_pairs,
            "flow",
        ),
        Step(
            equation(sympy.Derivative(pair, c), sympy.Derivative(flow, _u)),
            "Price: the derivative by the overlap is the mixed derivative by u and v.",
            on_pairs,
            "Price",
        ),
        Step(
            equation(
                _f(_u) * _f(_v) * sympy.Derivative(pair, c),
                slope_u * slope_v * pair
                + sympy.Derivative(_f(_u) * _f(_v) * flow, _u)
                - sympy.Derivative(slope_u * _f(_v) * pair, _v),
            ),
            "Integrated over the plane the last two terms vanish: ∂E[f(U)f(V)]/∂c = E[f′(U)f′(V)].",
            on_pairs,
            "parts",
        ),
        Step(
            equation(overlap_slope, weight_variance * slope_product),
            "So the recursion P1 of the overlap has this slope.",
            (numbers,),
            "overlap slope",
        ),
        Step(
            equation(overlap_slope_at_q, weight_variance * slope_second_moment),
            "As c tends to q, V tends to U: the slope at c = q is the gradient's factor of P3.",
            (numbers,),
            "chi",
        ),
        Step(
            equation(
                _f(_x) ** 2 * sympy.Derivative(one, q),
                _x * _f(_x) * slope_x * one / q - sympy.Derivative(_x * _f(_x) ** 2 * one / (2 * q), _x),
            ),
            "With the density p(x, q) of N(0, q); integrated over the line: ∂E[f²]/∂q = E[U f f′]/q.",
            pointwise_checks(one, _PLACES, densities_written_out),
            "scaling",
        ),
        Step(
            equation(second_moment_slope, weight_variance * input_value_slope_mean / q),
            "The slope of P1's second moment; by Stein (M5) it is σ_w² (E[f′²] + E[f f″]), kinks of f included in f″.",
            (numbers,),
            "second-moment slope",
        ),
        Step(
            equation(second_moment_slope, weight_variance * elu),
            "ELU: in closed form.",
            (
                Check("every α, q (derivative of M4)", _prove_elu_slope, proves=True),
                quadrature_check(11, "elu"),
            ),
            "ELU, second-moment slope",
        ),
    )
    return Derivation(
        "gradient-recursion",
        "The variance of the gradient through a layer",
        "P3",
        _SOURCE,
        (
            Assumption(
                "A unit with net input h, slope f′(h), outgoing weights v to n units with deltas d; m units here."
            ),
            Assumption(
                "Gradient independence: the weights used backwards are independent of d and of the slopes, of mean 0 "
                "and variance σ_w²/m. It is an assumption at finite width; in the limit it is a theorem for the second "
                "moments (Yang, arXiv 2006.14548)."
            ),
            Assumption("In the limit of infinite width the mean of f′(h)² over the units tends to E[f′(U)²]."),
            Assumption(
                "f is continuous and piecewise smooth, of at most exponential growth; the map of (q, c) is P1's."
            ),
        ),
        steps,
    )


# --- batch normalisation --------------------------------------------------------------------------------------------


def _batch_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Activations of n units over a sample space of inputs; a net input's batch variance, averaged over weights."""
    space, layer = SampleSpace.draw(size, generator), RandomLayer.draw(size, generator)
    spread = space.variance(under_q=False)
    average = fmpq(0)
    for p, weights, bias in layer.draws():
        mean = space.expectation(lambda _, a, w=weights, b=bias: inner_product(w, a) + b)
        average += p * space.expectation(lambda _, a, w=weights, b=bias, m=mean: (inner_product(w, a) + b - m) ** 2)
    return {
        unit_variances: as_matrix([spread[j][j] for j in range(size)]),
        weight_variance: as_matrix(layer.weight_variance),
        batch_variance: as_matrix(average),
    }


def _equal_units_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Units that share their law over the inputs."""
    space, layer = SampleSpace.draw(1, generator), RandomLayer.draw(size, generator)
    ((spread,),) = space.variance(under_q=False)
    slopes = fmpq(generator.randint(1, 9), 7)
    normalising = layer.weight_variance * spread
    return {
        unit_mean: as_matrix(space.mean(under_q=False)),
        unit_second_moment: as_matrix(space.second_moment(under_q=False)),
        weight_variance: as_matrix(layer.weight_variance),
        batch_variance: as_matrix(normalising),
        slope_second_moment: as_matrix(slopes),
        chi: as_matrix(layer.weight_variance * slopes / normalising),
    }


def _prove_normalised_chi(name: str, statement: sympy.Basic) -> None:
    """The right side times Var f is E f'², both by M3 and M4 at mu = 0, sigma = 1."""
    moments = moment_formulas(with_symbols(name))
    standard: dict[Any, Any] = {mu: sympy.Integer(0), sigma: sympy.Integer(1)}
    numerator, denominator = sympy.fraction(sympy.together(right_side(statement, chi)))
    difference = numerator * moments.variance.subs(standard) - denominator * moments.slope_second_moment.subs(standard)
    if not is_identically_zero(difference):
        raise CheckError(f"{statement} is not E f'² / Var f of a standard normal net input")


def _match_normalised_chi(name: str, statement: sympy.Basic) -> None:
    function = with_symbols(name)
    for value in (_Q(1), _Q(5, 4)):
        point = Point(((mu, sympy.Integer(0)), (sigma, sympy.Integer(1)), (alpha, value)))
        moments = (INTEGRANDS[name] for name in ("mean", "second_moment", "slope_second_moment"))
        mean, square, slopes = (quadrature(function, point, of) for of in moments)
        with mpmath.workdps(2 * DIGITS):
            ratio = slopes / (square - mean**2)
        check_value(right_side(statement, chi), point, ratio)


@cache
def batch_normalised_recursion() -> Derivation:
    """P3 with net inputs normalised over the data: `chi = E f'(Z)² / Var f(Z)`, whatever σ_w²; ReLU: `π/(π − 1)`.

    >>> import elutheory as et
    >>> derivation = et.batch_normalised_recursion()
    >>> derivation.number, derivation.steps[-1].name
    ('P3 with batch normalisation', 'ELU')
    """
    any_units: dict[sympy.Basic, sympy.Basic] = {
        batch_variance: weight_variance / n * InnerProduct(ones.T * unit_variances)
    }
    equal_units: dict[sympy.Basic, sympy.Basic] = {
        unit_variances: (unit_second_moment - unit_mean**2) * ones,
        batch_variance: weight_variance / n * InnerProduct(ones.T * unit_variances),
        chi: weight_variance * slope_second_moment / batch_variance,
    }
    general = MatrixSetting(n, frozenset(), any_units, _batch_example, ones=ones).checks
    checks = MatrixSetting(n, frozenset(), equal_units, _equal_units_example, ones=ones).checks

    def closed(name: str) -> tuple[Check, ...]:
        return (
            Check("every α (M3, M4 at μ = 0, σ = 1)", partial(_prove_normalised_chi, name), proves=True),
            Check(f"α = 1, 5/4 (quadrature, {DIGITS} digits)", partial(_match_normalised_chi, name)),
        )

    elu = moment_formulas(with_symbols("elu"))
    standard: dict[Any, Any] = {mu: sympy.Integer(0), sigma: sympy.Integer(1)}
    elu_chi = elu.slope_second_moment.subs(standard) / elu.variance.subs(standard)
    steps = (
        Step(
            equation(batch_variance, weight_variance * InnerProduct(ones.T * unit_variances) / n),
            "The variance s² of a net input over the data, averaged over its weights, from the variances v of the "
            "units below: exact at every n; the bias drops out.",
            general,
            "variance over the data",
        ),
        Step(
            equation(batch_variance, weight_variance * (unit_second_moment - unit_mean**2)),
            "Normalised net inputs are N(0, 1) over the data in every unit, so all units share E[f] and E[f²].",
            checks,
            "equal units",
        ),
        Step(
            equation(chi, slope_second_moment / (unit_second_moment - unit_mean**2)),
            "The normalisation divides by s: the factor is σ_w² E[f′²]/s², and σ_w² cancels.",
            checks,
            "chi",
        ),
        Step(
            equation(chi, sympy.pi / (sympy.pi - 1)),
            "ReLU: the gradient's variance grows by 1.467 a layer, as in Yang et al., arXiv 1902.08129.",
            closed("relu"),
            "ReLU",
        ),
        Step(equation(chi, elu_chi), "ELU.", closed("elu"), "ELU"),
    )
    return Derivation(
        "batch-normalised-recursion",
        "The gradient through a batch-normalised layer",
        "P3 with batch normalisation",
        "Yang et al., arXiv 1902.08129, in the limit of large batches",
        (
            Assumption(
                "Every net input is centred and divided by its standard deviation s over the data before f acts."
            ),
            Assumption(
                "Infinite width and a batch so large that mean and standard deviation over it are constants for the "
                "gradient (what passes through them is of order 1/batch), and distinct inputs have overlap 0."
            ),
            Assumption("Gradient independence as for P3; E is over a standard normal net input Z."),
        ),
        steps,
    )


# --- residual branches ----------------------------------------------------------------------------------------------


def _residual_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """One unit with its input passed by, and averages over units whose inputs follow a small law; n units each way."""
    layer = RandomLayer.draw(size, generator)
    a, other, deltas, slopes = (vector(size, generator) for _ in range(4))
    x, x_other = vector(2, generator)
    nets = layer.net_inputs(a, other)
    law = [(fmpq(2, 5), *vector(2, generator)), (fmpq(3, 5), *vector(2, generator))]  # passed by, for two inputs
    activity = inner_product(a, other) / size
    square = inner_product(a, a) / size
    backward = [(p, inner_product(weights, deltas)) for p, weights, _ in layer.draws()]
    squares = [
        sum((p * (delta + value * message) ** 2 for p, message in backward), fmpq(0))
        for delta, value in zip(deltas, slopes, strict=True)
    ]
    return {
        skip: as_matrix(x),
        skip_other: as_matrix(x_other),
        below: as_matrix(a),
        below_other: as_matrix(other),
        weight_variance: as_matrix(layer.weight_variance),
        bias_variance: as_matrix(sum((p * value**2 for value, p in layer.bias), fmpq(0))),
        net_overlap: as_matrix(sum((p * (x + h) * (x_other + k) for p, h, k in nets), fmpq(0))),
        c: as_matrix(moment(law, 1, 2)),
        q: as_matrix(moment(law, 1, 1)),
        product_moment: as_matrix(activity),
        unit_second_moment: as_matrix(square),
        next_overlap: as_matrix(sum((p * r * (y + h) * (z + k) for p, y, z in law for r, h, k in nets), fmpq(0))),
        next_second_moment: as_matrix(sum((p * r * (y + h) ** 2 for p, y, _ in law for r, h, _ in nets), fmpq(0))),
        delta_above: as_matrix(deltas),
        delta_skip: as_matrix(deltas[0]),
        slope: as_matrix(slopes[0]),
        delta_square: as_matrix(squares[0]),
        delta_square_sum: as_matrix(sum(squares, fmpq(0))),
        slope_square_average: as_matrix(inner_product(slopes, slopes) / size),
    }


@cache
def residual_recursion() -> Derivation:
    """P1 and P3 for `x + w·f(x) + w0`: `q⁺ = q + σ_w² E f² + σ_b²`, `chi = 1 + σ_w² E f'²`.

    >>> import elutheory as et
    >>> derivation = et.residual_recursion()
    >>> derivation.number, derivation.steps[-1].name
    ('P1, P3 with residual branches', 'sum of squares')
    """
    branch = weight_variance / n * InnerProduct(below.T * below_other) + bias_variance
    back = InnerProduct(delta_above.T * outgoing_moment * delta_above)
    definitions: dict[sympy.Basic, sympy.Basic] = {
        weight_mean: sympy.ZeroMatrix(n, 1),
        outgoing_moment: weight_variance / n * sympy.Identity(n),
        net_overlap: skip * skip_other
        + skip * InnerProduct(weight_mean.T * below_other)
        + skip_other * InnerProduct(weight_mean.T * below)
        + branch,
        next_overlap: c + weight_variance * product_moment + bias_variance,
        next_second_moment: q + weight_variance * unit_second_moment + bias_variance,
        delta_square: delta_skip**2
        + 2 * delta_skip * slope * InnerProduct(weight_mean.T * delta_above)
        + slope**2 * back,
        slope_square_average: slope_square_sum / n,
        delta_square_sum: InnerProduct(delta_above.T * delta_above) + slope_square_sum * back,
    }
    checks = MatrixSetting(n, frozenset(), definitions, _residual_example, ones=ones).checks
    above = InnerProduct(delta_above.T * delta_above)
    steps = (
        Step(
            equation(net_overlap, skip * skip_other + branch),
            "The input x passed by and the branch are uncorrelated: the branch's weights have mean 0.",
            checks,
            "one unit",
        ),
        Step(
            equation(next_overlap, c + weight_variance * product_moment + bias_variance),
            "Averaged over the units, E[f(U)f(V)] being the mean product of activations: P1 with the overlap added.",
            checks,
            "overlap",
        ),
        Step(
            equation(next_second_moment, q + weight_variance * unit_second_moment + bias_variance),
            "The same for one input: the second moment grows in every layer.",
            checks,
            "second moment",
        ),
        Step(
            equation(delta_square, delta_skip**2 + slope**2 * weight_variance * above / n),
            "Backwards δ = d_j + f′(h) v·d with the outgoing weights v of unit j.",
            checks,
            "delta",
        ),
        Step(
            equation(delta_square_sum, (1 + weight_variance * slope_square_average) * above),
            "Summed over n units: the factor tends to 1 + σ_w² E[f′²].",
            checks,
            "sum of squares",
        ),
    )
    return Derivation(
        "residual-recursion",
        "Residual layers",
        "P1, P3 with residual branches",
        "Yang and Schoenholz, arXiv 1712.08969, for a branch f, then weights",
        (
            Assumption("h = x + w·a + w₀ with a = f(x), n units in and out; here m = n."),
            Assumption(
                "Weights and biases are i.i.d. of mean 0 and variances σ_w²/n and σ_b², independent of x and of d."
            ),
        ),
        steps,
    )
