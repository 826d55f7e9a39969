"""K1–K3 as one integral over U = mean_u + std_u x: E f(U)f(V), E f'(U)f'(V) and Cov(f(U), f(V)), no cancellation.

Given x, V is normal with mean m(x) = mean_v + std_v cosine x and standard deviation std_v sine. M'(x) = E[f'(V) | x]
has positive terms (`PiecewiseForm.conditional_slope`). With G(x) = std_v cosine ∫_o^x M' and F(x) = f(U(x)) − f(U(o)),

E f'f' = E f'(U) M'(x),   E ff = E[f(V) | x = o] E f(U) + E f(U) G(x),   Cov = E F G − E F E G.

For increasing f, F and G change sign at the origin o, near the median of x, and E F G >= 2 E F E G on either half line:
what is subtracted costs no digit. The rule is composite Gauss–Legendre; panels end at the kinks of f and at the
transitions of M'. Where f has no closed form but is analytic, Mehler's series (`mehler`) takes the place of the
integral; else, or where that series is too long, M' and the conditional mean are integrals themselves.
"""

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy
from jaxtyping import Bool, Float

from elutheory.activations.kinks import jumps
from elutheory.errors import InputError
from elutheory.kernels.analytic.graded import graded_expectations
from elutheory.kernels.analytic.lattice import lattice_expectation
from elutheory.kernels.analytic.mehler import mehler_expectation
from elutheory.kernels.arc_cosine import applies, arc_cosine
from elutheory.kernels.arc_sine import arc_sine, is_centred
from elutheory.kernels.error_function_pairs import error_function_pairs
from elutheory.kernels.exponential_half_lines import half_lines, within_reach
from elutheory.kernels.packet_pairs import packet_expectation
from elutheory.kernels.pairs import PairArguments
from elutheory.kernels.quadrature import closed_rule, nested_nodes, nested_rule
from elutheory.kernels.sinusoids import sinusoid_pairs
from elutheory.moments.closed_forms import ClosedForm, PiecewiseForm, closed_form
from elutheory.moments.closed_forms.error_function import ErrorFunction
from elutheory.moments.closed_forms.exponential_linear import ExponentialLinear
from elutheory.moments.closed_forms.sinusoid import Sinusoid
from elutheory.moments.evaluation import refuse_overflow
from elutheory.numerics.arrays import Array, indices, library
from elutheory.numerics.cost import Cost
from elutheory.numerics.tiles import on_all_cores

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

_TOLERANCE = 1e-8  # what nested quadrature must reach, relative to the size of the integrand
_ONE_DIMENSIONAL = "one-dimensional Gauss-Legendre quadrature, conditional mean in closed form"
_QUADRANTS = "closed form (bivariate normal probabilities)"
_ARC_COSINE = "closed form (arc-cosine)"
_ARC_SINE = "closed form (arc-sine)"
_ELEMENTARY = "closed form (elementary)"
_MEHLER = "Mehler's series"
_LATTICE = "trapezoidal rule in sum and difference"
_GRADED = "graded trapezoidal rules"
_NESTED = "nested Gauss-Legendre quadrature"
# Standard deviations from the mean to 0, beyond which graded rules find no covariances: beside a stated 1e-14 they were
# off by 4e-9 (erf, at 12), by all digits (at 40). Guarded by test_analytic.py, test_covariances_in_the_tails.
_FARTHEST = 5.0
_PACKETS = "closed form (Gaussian integrals)"
_CANCELLING = f"{_PACKETS} whose terms cancel, of the root mean squares"
_ANALYTIC = (
    (_PACKETS, packet_expectation),
    (_MEHLER, mehler_expectation),
    (_LATTICE, lattice_expectation),
    (_GRADED, graded_expectations),
)
_PAIRS_AT_ONCE = 16
_QUADRANTS_AT_ONCE = 1 << 11  # a third of a MiB an array of nodes
_SMALLEST = 2.3e-308
_ROUNDING = 4e-16  # of sums, relative to the size of the integrand
_GOOD = 1e-13  # above, it is tried again with more panels
_DEGREES = (14, 20)
# Per node of nested rules, as time of one core: 80 to 290 ns for 2 to 31 pieces, `test_cost_of_pairs` holds it.
_OPERATIONS_PER_NODE = 2500.0


def pair_expectation(
    activation: "Activation", order: int, mean_u: Any, mean_v: Any, std_u: Any, std_v: Any, cosine: Any, sine: Any
) -> Any:
    """E[f^(order)(U) f^(order)(V)], order 0 or 1 (K1, K2); `cosine` is the correlation, `sine` = √(1 − cosine²).

    Broadcasting float64 arrays, numpy or torch, std >= 0. `sine` is taken as it is: 1 − |cosine| may be below rounding.
    Raises InputError as `evaluate` does.
    """
    arguments = (mean_u, mean_v, std_u, std_v, cosine, sine)
    xp = library(mean_u)
    if xp is numpy:
        arrays = numpy.broadcast_arrays(*(numpy.asarray(argument, dtype=numpy.float64) for argument in arguments))
    else:
        arrays = xp.broadcast_tensors(*arguments)
    pair = PairArguments(*(array.reshape(-1) for array in arrays))
    (result,), _ = evaluate(activation, (("value", "slope")[order],), pair)
    return result.reshape(arrays[0].shape)


def centred_pair_expectation(
    activation: "Activation", order: int, std_u: Any, std_v: Any, cosine: Any, sine: Any
) -> Any:
    """`pair_expectation` of zero means."""
    zero = 0.0 * cosine
    return pair_expectation(activation, order, zero, zero, std_u, std_v, cosine, sine)


def pair_cost(activation: "Activation") -> Cost:
    """Of an expectation of one pair by nested quadrature, which kinks without a closed form need; nothing of others."""
    if not activation.breakpoints or closed_form(activation) is not None:
        return Cost()
    return Cost(operations=_OPERATIONS_PER_NODE * sum(nested_nodes(activation, degree) for degree in _DEGREES))


def evaluate(
    activation: "Activation", quantities: tuple[str, ...], pair: PairArguments
) -> tuple[list[Float[Array, " pairs"]], str]:
    """An array for each of `quantities` (value, slope, covariance) and the method, for one-dimensional arguments.

    Raises InputError: the slope or covariance of an activation that jumps; an integral that quadrature cannot find.
    """
    form = closed_form(activation)
    # Rounding to 0 or to infinity is the right result, not news; masked branches may do anything.
    with numpy.errstate(all="ignore"):
        if form is None:
            return _without_closed_form(activation, quantities, pair)
        return _closed(activation, form, quantities, pair)


def _closed(
    activation: "Activation", form: ClosedForm, quantities: tuple[str, ...], pair: PairArguments
) -> tuple[list[Float[Array, " pairs"]], str]:
    """The formula for the pairs that it holds for, an integral for the others."""
    match form:
        case PiecewiseForm():
            exact, formula, name, where = applies(form, pair), partial(arc_cosine, form), _ARC_COSINE, "at the kink"
        case ErrorFunction():
            exact, formula, name, where = is_centred(form, pair), partial(arc_sine, form), _ARC_SINE, "at the centre"
        case Sinusoid():
            return [sinusoid_pairs(form, quantity, pair) for quantity in quantities], _ELEMENTARY
        case _:
            raise TypeError(f"no rule for pairs of {form}")
    if bool(exact.all()):
        return [formula(quantity, pair) for quantity in quantities], name
    inside, outside = indices(exact), indices(~exact)
    results, method = _off_centre(activation, form, quantities, pair[outside])
    if not len(inside):
        return results, method
    outputs = [library(exact).empty_like(pair.mean_u) for _ in quantities]
    for output, quantity, result in zip(outputs, quantities, results, strict=True):
        output[outside] = result
        output[inside] = formula(quantity, pair[inside])
    return outputs, f"{name} where both means are {where}, else {method}"


def _off_centre(
    activation: "Activation", form: PiecewiseForm | ErrorFunction, quantities: tuple[str, ...], pair: PairArguments
) -> tuple[list[Float[Array, " pairs"]], str]:
    """Quadrants of a normal law, where they lose few digits; else an integral, or what serves without closed form."""
    xp = library(pair.mean_u)

    def others(asked: tuple[str, ...], rest: PairArguments) -> tuple[list[Float[Array, " pairs"]], str]:
        if isinstance(form, PiecewiseForm):
            return closed_rule(form, asked, rest), _ONE_DIMENSIONAL
        return _without_closed_form(activation, asked, rest)

    if isinstance(form, ExponentialLinear):
        rule, inside = partial(half_lines, form, quantities), indices(within_reach(form, pair))
    elif isinstance(form, ErrorFunction):
        rule, inside = partial(error_function_pairs, form, quantities), indices(pair.sine > 0.0)
    else:
        return others(quantities, pair)
    outputs = [xp.empty_like(pair.mean_u) for _ in quantities]
    known = [xp.zeros_like(pair.mean_u) > 0 for _ in quantities]

    def carry_out(start: int) -> None:
        members = inside[start : start + _QUADRANTS_AT_ONCE]
        with numpy.errstate(all="ignore"):
            for output, good, (value, accurate) in zip(outputs, known, rule(pair[members]), strict=True):
                output[members], good[members] = value, accurate

    starts = list(range(0, len(inside), _QUADRANTS_AT_ONCE))
    if xp is numpy and len(starts) > 1:
        on_all_cores(carry_out, starts)
    else:
        for start in starts:
            carry_out(start)
    methods = [_QUADRANTS] if any(bool(good.any()) for good in known) else []
    for output, good, quantity in zip(outputs, known, quantities, strict=True):
        rest = indices(~good)
        if len(rest):
            (output[rest],), method = others((quantity,), pair[rest])
            methods += [method] if method not in methods else []
    return outputs, "; else ".join(methods)


def _without_closed_form(
    activation: "Activation", quantities: tuple[str, ...], pair: PairArguments
) -> tuple[list[Float[Array, " pairs"]], str]:
    """For analytic f the first of three rules that is as accurate as promised; else nested quadrature."""
    if quantities != ("value",) and jumps(activation, 0):
        raise InputError(
            f"{activation} jumps at {jumps(activation, 0)[0][0]:.6g}, where its derivative is no function: "
            "only dual_kernel is defined."
        )
    outputs: list[Any] = []
    errors: dict[str, float] = {}
    for quantity in quantities:
        output = library(pair.mean_u).empty_like(pair.mean_u)
        left = indices(pair.mean_u == pair.mean_u)
        for method, rule in _ANALYTIC:
            if activation.breakpoints or not len(left):
                break
            value, error = rule(activation, quantity, *pair[left].columns)
            allowed = 5.0 * _GOOD if quantity == "covariance" else _GOOD
            trusted = error <= allowed
            if quantity == "covariance" and method == _GRADED:
                trusted = trusted & _within(_FARTHEST, pair[left])
            good = indices(trusted)
            if len(good):
                output[left[good]] = value[good]
                errors[method] = max(errors.get(method, 0.0), float(error[good].max()))
                left = left[indices(~trusted)]
        if len(left):  # better a formula that says how much it has lost
            value, error = packet_expectation(activation, quantity, *pair[left].columns, of_roots=True)
            good = indices(error <= _TOLERANCE)
            if len(good):
                output[left[good]] = value[good]
                errors[_CANCELLING] = float(error[good].max())
                left = left[indices(~(error <= _TOLERANCE))]
        if len(left):
            output[left], error = _nested(activation, quantity, pair[left])
            errors[_NESTED] = max(errors.get(_NESTED, 0.0), error)
        outputs.append(output)
    return outputs, "; else ".join(
        f"{method}, estimated relative error {error:.0e}" for method, error in errors.items()
    )


def _within(deviations: float, pair: PairArguments) -> Bool[Array, " pairs"]:
    """Whether both means are at most so many standard deviations from 0."""
    return (abs(pair.mean_u) <= deviations * pair.std_u) & (abs(pair.mean_v) <= deviations * pair.std_v)


def _nested(activation: "Activation", quantity: str, pair: PairArguments) -> tuple[Float[Array, " pairs"], float]:
    """The integrals and the largest estimated error, of covariances relative to themselves.

    Two rules are compared; where they differ, two richer ones.
    """
    xp = library(pair.mean_u)
    output, error = xp.empty_like(pair.mean_u), xp.zeros_like(pair.mean_u) + float("inf")
    stated = error + 0.0
    for rich in (False, True):
        left = indices(~(error <= _GOOD))
        step = 1 if rich else _PAIRS_AT_ONCE
        for start in range(0, len(left), step):
            members = left[start : start + step]
            chosen = pair[members].ordered()  # in one order, whatever the caller's
            (coarse, _), (fine, scale) = (nested_rule(activation, quantity, n, rich, chosen) for n in _DEGREES)
            difference = abs(fine - coarse)
            output[members] = fine
            settled = (fine == coarse) & ((scale > 0) | rich)  # nodes that see nothing may not reach far enough
            none = xp.zeros_like(fine)
            error[members] = xp.where(settled, none, xp.where(scale > 0, difference / (scale + _SMALLEST), math.inf))
            own = scale
            if quantity == "covariance":  # of itself: what is subtracted was rounded
                own, difference = abs(fine), difference + _ROUNDING * scale
            stated[members] = xp.where(settled, error[members], difference / (own + _SMALLEST))
    _refuse_inaccurate(activation, pair, error)
    return output, float(stated.max())


def _refuse_inaccurate(activation: "Activation", pair: PairArguments, error: Float[Array, " pairs"]) -> None:
    bad = indices(~(error <= _TOLERANCE))
    if len(bad):
        m1, m2, s1, s2, cosine, _ = (float(column[bad[0]]) for column in pair.columns)
        if not math.isfinite(float(error[bad[0]])):
            refuse_overflow(activation, f"pair expectations of {activation}", ((m1, s1), (m2, s2)))
        raise InputError(
            f"quadrature finds the pair expectation of {activation} at means {m1:.6g} and {m2:.6g}, standard "
            f"deviations {s1:.6g} and {s2:.6g}, correlation {cosine:.6g} only to about {float(error[bad[0]]):.0e}; "
            f"{_TOLERANCE:.0e} is required."
        )
