"""K1–K3 as one integral over U = mean_u + std_u x: E f(U)f(V), E f'(U)f'(V) and Cov(f(U), f(V)), no cancellation.

Given x, V is normal with mean m(x) = mean_v + std_v cosine x and standard deviation std_v sine. M'(x) = E[f'(V) | x]
has positive terms only (`conditional_slopes`). With G(x) = std_v cosine ∫_o^x M' and F(x) = f(U(x)) − f(U(o)),

E f'f' = E f'(U) M'(x),   E ff = E[f(V) | x = o] E f(U) + E f(U) G(x),   Cov = E F G − E F E G.

For increasing f, F and G change sign at the origin o, near the median of x, and E F G >= 2 E F E G on either half line:
what is subtracted costs no digit. The rule is composite Gauss–Legendre; panels end at the kinks of f and at the
transitions of M'. Where f has no closed form but is analytic, Mehler's series (`mehler`) takes the place of the
integral; else, or where that series is too long, M' and the conditional mean are integrals themselves.
"""

from typing import TYPE_CHECKING, Any

import numpy

from elutheory.activations.kinks import jumps
from elutheory.errors import InputError
from elutheory.kernels.arc_cosine import applies, arc_cosine
from elutheory.kernels.graded import graded_expectations
from elutheory.kernels.mehler import mehler_expectation
from elutheory.kernels.pairs import PairArguments
from elutheory.kernels.quadrature import closed_rule, nested_rule
from elutheory.moments.closed_forms import closed_form
from elutheory.numerics.arrays import indices, library

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

_TOLERANCE = 1e-8  # what nested quadrature must reach, relative to the size of the integrand
_ONE_DIMENSIONAL = "one-dimensional Gauss-Legendre quadrature, conditional mean in closed form"
_ARC_COSINE = "closed form (arc-cosine)"
_MEHLER = "Mehler's series"
_GRADED = "graded trapezoidal rules"
_NESTED = "nested Gauss-Legendre quadrature"
_PAIRS_AT_ONCE = 16
_SMALLEST = 2.3e-308
_GOOD = 1e-13  # above, it is tried again with more panels


def pair_expectation(
    activation: "Activation", order: int, mean_u: Any, mean_v: Any, std_u: Any, std_v: Any, cosine: Any, sine: Any
) -> Any:
    """E[f^(order)(U) f^(order)(V)], order 0 or 1 (K1, K2); `cosine` is the correlation, `sine` = √(1 − cosine²).

    Broadcasting float64 arrays, numpy or torch, std >= 0. `sine` is taken as it is: 1 − |cosine| may be below rounding.
    """
    pair = PairArguments(mean_u, mean_v, std_u, std_v, cosine, sine)
    return evaluate(activation, (("value", "slope")[order],), pair)[0][0]


def centred_pair_expectation(
    activation: "Activation", order: int, std_u: Any, std_v: Any, cosine: Any, sine: Any
) -> Any:
    """`pair_expectation` of zero means."""
    zero = 0.0 * cosine
    return pair_expectation(activation, order, zero, zero, std_u, std_v, cosine, sine)


def pair_value_and_slope(
    activation: "Activation", mean_u: Any, mean_v: Any, std_u: Any, std_v: Any, cosine: Any, sine: Any
) -> tuple[Any, Any]:
    """Both orders of `pair_expectation`, for little more than the cost of one."""
    pair = PairArguments(mean_u, mean_v, std_u, std_v, cosine, sine)
    value, slope = evaluate(activation, ("value", "slope"), pair)[0]
    return value, slope


def pair_covariance(
    activation: "Activation", mean_u: Any, mean_v: Any, std_u: Any, std_v: Any, cosine: Any, sine: Any
) -> Any:
    """Cov(f(U), f(V)) (K3), to relative accuracy for increasing f; arguments as in `pair_expectation`."""
    pair = PairArguments(mean_u, mean_v, std_u, std_v, cosine, sine)
    return evaluate(activation, ("covariance",), pair)[0][0]


def evaluate(activation: "Activation", quantities: tuple[str, ...], pair: PairArguments) -> tuple[list[Any], str]:
    """The arrays, one for each of `quantities` (value, slope, covariance), and the method.

    Raises InputError: the slope or covariance of an activation that jumps; an integral that quadrature cannot find.
    """
    arguments = (pair.mean_u, pair.mean_v, pair.std_u, pair.std_v, pair.cosine, pair.sine)
    xp = library(arguments[0])
    if xp is numpy:
        arrays = numpy.broadcast_arrays(*(numpy.asarray(argument, dtype=numpy.float64) for argument in arguments))
    else:
        arrays = xp.broadcast_tensors(*arguments)
    shape = arrays[0].shape
    columns = [array.reshape(-1) for array in arrays]
    form = closed_form(activation)
    # Rounding to 0 or to infinity is the right result, not news; masked branches may do anything.
    with numpy.errstate(all="ignore"):
        if form is None:
            results, method = _without_closed_form(activation, quantities, columns)
        else:
            results, method = _closed(activation, form, quantities, columns)
    return [result.reshape(shape) for result in results], method


def _closed(activation: "Activation", form: Any, quantities: tuple[str, ...], columns: list[Any]) -> tuple[Any, str]:
    exact = applies(form, *columns[:4])
    if not bool(exact.any()):
        return closed_rule(activation, form, quantities, *columns), _ONE_DIMENSIONAL
    if bool(exact.all()):
        return [arc_cosine(form, quantity, *columns[2:]) for quantity in quantities], _ARC_COSINE
    inside, outside = indices(exact), indices(~exact)
    results = closed_rule(activation, form, quantities, *(column[outside] for column in columns))
    outputs = [library(exact).empty_like(columns[0]) for _ in quantities]
    for output, quantity, result in zip(outputs, quantities, results, strict=True):
        output[outside] = result
        output[inside] = arc_cosine(form, quantity, *(column[inside] for column in columns[2:]))
    return outputs, f"{_ARC_COSINE} where both means are at the kink, else {_ONE_DIMENSIONAL}"


def _without_closed_form(
    activation: "Activation", quantities: tuple[str, ...], columns: list[Any]
) -> tuple[list[Any], str]:
    """For analytic f Mehler's series where it is as accurate as promised, else graded rules; else nested quadrature."""
    if quantities != ("value",) and jumps(activation, 0):
        raise InputError(
            f"{activation} jumps at {jumps(activation, 0)[0][0]:.6g}, where its derivative is no function: "
            "only dual_kernel is defined."
        )
    outputs: list[Any] = []
    errors: dict[str, float] = {}
    for quantity in quantities:
        output = library(columns[0]).empty_like(columns[0])
        left = indices(columns[0] == columns[0])
        for method, rule in ((_MEHLER, mehler_expectation), (_GRADED, graded_expectations)):
            if activation.breakpoints or not len(left):
                break
            value, error = rule(activation, quantity, *(column[left] for column in columns))
            allowed = 5.0 * _GOOD if quantity == "covariance" else _GOOD
            good = indices(error <= allowed)
            if len(good):
                output[left[good]] = value[good]
                errors[method] = max(errors.get(method, 0.0), float(error[good].max()))
                left = left[indices(~(error <= allowed))]
        if len(left):
            output[left], error = _nested(activation, quantity, [column[left] for column in columns])
            errors[_NESTED] = max(errors.get(_NESTED, 0.0), error)
        outputs.append(output)
    return outputs, "; else ".join(
        f"{method}, estimated relative error {error:.0e}" for method, error in errors.items()
    )


def _nested(activation: "Activation", quantity: str, columns: list[Any]) -> tuple[Any, float]:
    """The integrals and the largest estimated error. Two rules are compared; where they differ, two richer ones."""
    xp = library(columns[0])
    output, error = xp.empty_like(columns[0]), xp.zeros_like(columns[0]) + float("inf")
    for rich in (False, True):
        left = indices(~(error <= _GOOD))
        step = 1 if rich else _PAIRS_AT_ONCE
        for start in range(0, len(left), step):
            members = left[start : start + step]
            chosen = [column[members] for column in columns]
            coarse, _ = nested_rule(activation, quantity, 14, rich, *chosen)
            fine, scale = nested_rule(activation, quantity, 20, rich, *chosen)
            difference = abs(fine - coarse)
            output[members] = fine
            error[members] = xp.where(fine == coarse, xp.zeros_like(fine), difference / (scale + _SMALLEST))
    _refuse_inaccurate(activation, columns, error)
    return output, float(error.max())


def _refuse_inaccurate(activation: "Activation", columns: list[Any], error: Any) -> None:
    bad = indices(~(error <= _TOLERANCE))
    if len(bad):
        m1, m2, s1, s2, cosine, _ = (float(column[bad[0]]) for column in columns)
        raise InputError(
            f"quadrature finds the pair expectation of {activation} at means {m1:.6g} and {m2:.6g}, standard "
            f"deviations {s1:.6g} and {s2:.6g}, correlation {cosine:.6g} only to about {float(error[bad[0]]):.0e}; "
            f"{_TOLERANCE:.0e} is required."
        )
