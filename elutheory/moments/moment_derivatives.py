"""Derivatives of the closed-form moments by the mean, orders 1 to 4, from identities between moments.

∂_mean E g = E g' and, the heat equation, ∂_std E g = std ∂²_mean E g: with orders up to 4 every first and second
derivative by (mean, std) is at hand. f'' and (f'²)' contain point masses at the kinks: d = density of X there.
Notation: F = E f, S = E f², Q = E f'², W = Var f, a subscript counts derivatives.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from elutheory.moments import exponential_linear as exponential_linear_moments
from elutheory.moments import piecewise_linear as piecewise_linear_moments
from elutheory.moments.exponential_linear import ExponentialLinear
from elutheory.moments.piecewise_linear import Kink, Line, Ramp
from elutheory.numerics.normal_tails import density_derivatives


def piecewise_linear(f: Line | Kink | Ramp, quantity: str, order: int, mean: Any, std: Any) -> Any:
    """The `order`-th derivative of the moment `quantity` by the mean."""
    state = piecewise_linear_moments.decomposition(f, mean, std)
    kinks: Sequence[tuple[float, float]] = ()
    if isinstance(f, Kink):
        kinks = ((f.at, f.value),)
    elif isinstance(f, Ramp):
        kinks = ((f.lower, f.lower_value), (f.upper, f.upper_value))
    slopes = [piece.slope for piece in state.pieces]
    jumps = list(pairwise(slopes))
    bends = [f.bend] if isinstance(f, Kink) else [right - left for left, right in jumps]
    squares = [bend * (left + right) for bend, (left, right) in zip(bends, jumps, strict=True)]
    densities = [
        density_derivatives(density, mean - at, std) for density, (at, _) in zip(state.densities, kinks, strict=True)
    ]
    values = [value for _, value in kinks]
    zero = 0.0 * mean

    def at_kinks(weights: Sequence[Any], n: int) -> Any:
        return sum((weight * d[n] for weight, d in zip(weights, densities, strict=True)), zero)

    slope_mean = sum((piece.probability * piece.slope for piece in state.pieces), zero)

    def F(n: int) -> Any:
        return slope_mean if n == 1 else at_kinks(bends, n - 2)

    if quantity == "mean":
        return F(order)
    if quantity == "slope_mean":
        return F(order + 1)
    if quantity == "slope_second_moment":
        return at_kinks(squares, order - 1)
    if quantity == "log_slope_mean":
        if min(slopes) <= 0:
            return zero
        return at_kinks([math.log(right / left) for left, right in jumps], order - 1)
    pairs = [(p, q) for i, p in enumerate(state.pieces) for q in state.pieces[i + 1 :]]
    if quantity == "second_moment":
        if order == 1:
            return 2.0 * sum((p.probability * p.mean * p.slope for p in state.pieces), zero)
        weighted = [value * bend for value, bend in zip(values, bends, strict=True)]
        if order == 2:
            slope_second = sum((p.probability * (p.slope * p.slope) for p in state.pieces), zero)
            return 2.0 * (slope_second + at_kinks(weighted, 0))
        return 2.0 * (at_kinks(squares, order - 3) + at_kinks(weighted, order - 2))
    if order == 1:
        return 2.0 * sum(
            (p.probability * q.probability * ((p.mean - q.mean) * (p.slope - q.slope)) for p, q in pairs), zero
        )
    offsets = [bend * (value - state.mean) for bend, value in zip(bends, values, strict=True)]
    if order == 2:
        between = sum((p.probability * q.probability * (p.slope - q.slope) ** 2 for p, q in pairs), zero)
        return 2.0 * (between + at_kinks(offsets, 0))
    if order == 3:
        return 2.0 * (at_kinks(squares, 0) - 2.0 * F(1) * F(2) + at_kinks(offsets, 1) - F(1) * F(2))
    return 2.0 * (
        at_kinks(squares, 1) - 2.0 * (F(2) ** 2 + F(1) * F(3)) + at_kinks(offsets, 2) - 2.0 * F(1) * F(3) - F(2) ** 2
    )


def exponential_linear(f: ExponentialLinear, quantity: str, order: int, mean: Any, std: Any) -> Any:
    """The `order`-th derivative of the moment `quantity` by the mean."""
    c = exponential_linear_moments.conditional_moments(f, mean, std)
    A, B, k, g = f.upper_slope, f.amplitude, f.rate, f.lower_slope
    d = density_derivatives(c.density, mean, std)
    e1, e2 = [c.lower_exponential], [c.lower_exponential_square]  # B k E e^Y 1(Y<0), its derivatives; (B k)² E e^{2Y} 1
    for n in range(3):
        e1.append(k * e1[n] - g * d[n])
        e2.append(2.0 * k * e2[n] - g * g * d[n])

    def F(n: int) -> Any:
        return A * c.upper + e1[0] if n == 1 else f.bend * d[n - 2] + k * e1[n - 2]

    def Q(n: int) -> Any:
        return A * A * c.upper + e2[0] if n == 0 else f.bend * (A + g) * d[n - 1] + 2.0 * k * e2[n - 1]

    if quantity == "mean":
        return F(order)
    if quantity == "slope_mean":
        return F(order + 1)
    if quantity == "slope_second_moment":
        return Q(order)
    if quantity == "log_slope_mean":
        jump = math.log(A / g)
        return jump * d[0] + k * c.lower if order == 1 else jump * d[order - 1] - k * d[order - 2]
    if quantity == "second_moment":
        # J = E[f f'; X < 0] = k E[f²; X<0] + B k E[f; X<0] = e2/k − B e1
        shallow = c.lower_mean > -0.5 * B
        square = c.lower_mean * c.lower_mean + c.lower_variance
        xp = exponential_linear_moments.library(mean)
        J = xp.where(shallow, c.lower * (k * square + g * c.lower_mean), e2[0] / k - B * e1[0])
        if order == 1:
            return 2.0 * (A * (c.upper * c.upper_mean) + J)
        if order == 2:
            return 2.0 * (Q(0) + k * J)
        first = k * J + e2[0]
        return 2.0 * (Q(1) + k * first) if order == 3 else 2.0 * (Q(2) + k * (k * first + e2[1]))
    between = c.upper * c.lower
    gap = c.upper_mean - c.lower_mean
    slope_gap = f.bend - k * c.lower_mean  # A − E[f' | X < 0]
    within = c.lower * c.lower_variance
    if order == 1:
        return 2.0 * (between * gap * slope_gap + k * within)
    if order == 2:
        slopes = between * slope_gap * slope_gap + k * k * within
        curvature = k * (k * within - between * gap * (g + k * c.lower_mean)) - f.bend * d[0] * c.mean
        return 2.0 * (slopes + curvature)
    # orders 3 and 4 for f + B, which has no constant to cancel on the lower piece
    shifted = A * c.upper_sum + B * c.upper + e1[0] / k
    if order == 3:
        third = 2.0 * Q(1) + 4.0 * k * e2[0] - 2.0 * g * g * d[0] + 2.0 * B * f.bend * d[1]
        return third - 2.0 * (shifted * F(3) + 3.0 * F(1) * F(2))
    fourth = 2.0 * Q(2) + 4.0 * k * e2[1] - 2.0 * g * g * d[1] + 2.0 * B * f.bend * d[2]
    return fourth - 2.0 * (shifted * F(4) + 4.0 * F(1) * F(3) + 3.0 * F(2) ** 2)
