"""The composite rules of `expectations`: the sums. One-dimensional arrays, numpy or torch.

E f^(n)(m + τZ) of any activation by composite Gauss–Legendre, split at breakpoints; f, f', f'' and jumps.
"""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy
from jaxtyping import Float

from elutheory.activations.kinks import breakpoint_values, features, jumps, values
from elutheory.kernels.analytic.mehler import mehler_mixed
from elutheory.kernels.pairs import PairArguments
from elutheory.kernels.panels import Panels, panels, vanishes
from elutheory.kernels.rises import excess, excess_of_constant, left_slope, rise
from elutheory.moments.closed_forms import PiecewiseForm
from elutheory.moments.quadrature.features import features as known_transitions
from elutheory.numerics.arrays import Array, as_array_like, indices, library
from elutheory.numerics.normal_tails import normal_density
from elutheory.numerics.quadrature import gauss_legendre, increasing, integrals_from, nodes_and_weights
from elutheory.numerics.tiles import on_all_cores

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


# Panel ends are at these distances from 0, from each breakpoint and each transition, in lengths of the transition, at
# most 1, as far as panels are longer: what falls off by powers, as x/√(1 + x²) does, varies at every scale.
_RESOLVED = 0.5  # of a panel's length
_SHORT = 1e-2
_NEAREST, _FARTHEST = 1.5, 1.5 * 2.0**20
# In standard deviations: what is tried first; all that double precision holds.
REACHES = ((0.0, 3.0, 6.0, 9.0, 13.5), (0.0, 1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 11.0, 13.5, 16.5, 20.0, 25.0, 31.0, 38.5))
_SMOOTHED_AT_ONCE = 1 << 20  # 8 MiB an array
_DEGREE = 16
_CHUNK = 256
MIXED_TOLERANCE = 1e-12
"""Of derivatives, relative to the root mean squares; above, other rules have the pair."""

_FEW_PAIRS = 512  # are not worth waking threads
_NODES_AT_ONCE = 1 << 15  # a quarter of a MiB an array
_PAIRS_AT_ONCE = 1 << 10


def closed_rule(form: PiecewiseForm, quantities: tuple[str, ...], pair: PairArguments) -> list[Float[Array, " pairs"]]:
    """Each of value, slope, covariance asked for; pairs of one layout together, in chunks, on all processors."""
    xp = library(pair.mean_u)
    outputs = [xp.empty_like(pair.mean_u) for _ in quantities]
    starts = range(0, len(pair), _PAIRS_AT_ONCE)

    def carry_out(start: int) -> None:
        members = slice(start, start + _PAIRS_AT_ONCE)
        # Rounding to 0 or to infinity is the right result, not news; masked branches may do anything.
        with numpy.errstate(all="ignore"):
            chosen = pair[members].ordered().rising()
            for output, quantity in zip(outputs, quantities, strict=True):
                output[members] = _closed_chunk(form, quantity, chosen)

    if xp is numpy and len(pair) > _FEW_PAIRS:
        on_all_cores(carry_out, list(starts))
    else:
        for start in starts:
            carry_out(start)
    return outputs


def _closed_chunk(form: PiecewiseForm, quantity: str, rising: PairArguments) -> Float[Array, " pairs"]:
    """Where f is level on the right and M' would rise towards the left, all is reflected."""
    mirrored = _is_better_reflected(form, quantity, rising)
    if mirrored is None:
        return _of_one_form(form, quantity, rising)
    output = library(mirrored).empty_like(rising.mean_u)
    for members, sign in ((indices(~mirrored), 1.0), (indices(mirrored), -1.0)):
        if len(members):
            chosen = rising[members]
            if sign < 0:
                chosen = replace(chosen, mean_u=-chosen.mean_u, mean_v=-chosen.mean_v)
            output[members] = _of_one_form(form if sign > 0 else form.reflected(), quantity, chosen)  # type: ignore[attr-defined]
    return output


def _is_better_reflected(form: PiecewiseForm, quantity: str, rising: PairArguments) -> Any:
    if not form.is_piecewise_linear or not form.bends or form.bends[-1].upper_slope:
        return None
    if form.bends[0].lower_slope:
        return rising.mean_v == rising.mean_v
    if quantity == "value" and vanishes(form):
        return None
    return rising.mean_v > 0.5 * (form.bends[0].at + form.bends[-1].at)


def _of_one_form(form: PiecewiseForm, quantity: str, rising: PairArguments) -> Float[Array, " pairs"]:
    """Pairs of about as many panels together."""
    found = panels(form, (1, 1), quantity, rising)
    counts = found.counts()
    output = library(counts).empty_like(rising.mean_u)
    order = counts.argsort()
    start = 0
    while start < len(order):
        most = max(int(counts[order[start]]), 1)
        stop = start + max(1, _NODES_AT_ONCE // (_DEGREE * (most + 1)))
        members = order[start:stop]
        most = max(int(counts[members[-1]]), 1)
        output[members] = _closed(form, quantity, rising[members], found.chosen(members, most))
        start = stop
    return output


def _closed(form: PiecewiseForm, quantity: str, rising: PairArguments, at: Panels) -> Float[Array, " pairs"]:
    m2, s1, s2, sine = rising.mean_v, rising.std_u, rising.std_v, rising.sine
    xp = library(m2)
    y, weight, half = _nodes_and_weights(at)
    u = at.base_u[:, None, None] + s1[:, None, None] * y
    width = s2 * sine
    mean_v = at.base_v[:, None, None] + at.slope_v[:, None, None] * y
    inner = _slope(form, mean_v, width)
    if quantity == "slope":
        return _total(weight * form.slope(u), inner)
    fixed = width == 0
    none = xp.zeros_like(weight)
    within = [xp.where(at.inside(part)[:, :, None], weight, none) for part in range(len(at.extents))]
    if quantity == "value" and vanishes(form):
        return _total(within[0] * form.value(u), _excess(form, inner, mean_v, width))
    increments = integrals_from(at.origin, inner, half, at.edges)
    if quantity == "value":
        values_u = within[0] * form.value(u)
        centre = form.moments(m2, xp.where(fixed, 1.0 + 0.0 * width, width))[0]
        centre = xp.where(fixed, form.value(m2), centre)
        return centre * _total(values_u) + at.slope_v * _total(values_u, increments)
    x = at.anchor[:, None, None] + y
    increments = at.slope_v[:, None, None] * increments
    # On panels where E f(V) has doubled from x = 0 or is half of it, the difference is exact; the running integral is
    # not where M' is steep, nor is it node by node, but only against what is smooth on the panel.
    here = _excess(form, inner, mean_v, width)
    start = m2[:, None, None]
    there = _excess(form, _slope(form, start, width), start, width)
    straight = (left_slope(form) * at.slope_v)[:, None, None] * x
    apart = (abs(here) > 2.0 * abs(there)) | (abs(here) < 0.5 * abs(there))
    increments = xp.where(apart.all(-1)[:, :, None], straight + (here - there), increments)
    outer = rise(form, rising.mean_u, s1[:, None, None] * x)
    return _total(within[0] * outer, increments) - _total(within[1], outer) * _total(within[2], increments)


def _slope(form: PiecewiseForm, mean: Any, width: Any) -> Any:
    """E[f'(V)] of mean and standard deviation `width`, which may be 0."""
    result = form.conditional_slope(mean, width[:, None, None])
    fixed = (width == 0)[:, None, None]
    return library(mean).where(fixed, form.slope(mean), result) if fixed.any() else result


def _excess(form: PiecewiseForm, slope: Any, mean: Any, width: Any) -> Any:
    """`excess`, and what f itself is above the line left of its bends where V is fixed."""
    result = excess(form, slope, mean, width[:, None, None])
    fixed = (width == 0)[:, None, None]
    if not fixed.any():
        return result
    return library(mean).where(fixed, excess_of_constant(form, mean), result)


def _nodes_and_weights(
    at: Panels,
) -> tuple[Float[Array, "pairs panels nodes"], Float[Array, "pairs panels nodes"], Float[Array, "pairs panels"]]:
    """Nodes as distances from the anchor, weights times phi(x), half lengths."""
    nodes, weights = (as_array_like(numbers, at.edges) for numbers in gauss_legendre(_DEGREE))
    middle, half = 0.5 * (at.edges[:, 1:] + at.edges[:, :-1]), 0.5 * (at.edges[:, 1:] - at.edges[:, :-1])
    y = middle[:, :, None] + half[:, :, None] * nodes
    return y, (half[:, :, None] * weights) * normal_density(at.anchor[:, None, None] + y), half


def mixed_expectation(
    activation: "Activation", form: PiecewiseForm | None, orders: tuple[int, int], weighted: bool, pair: PairArguments
) -> Float[Array, " pairs"]:
    """E[f^(i)(U) f^(j)(V)], or weighted E[(U − mean_u) f^(i)(U) f^(j)(V)]; i up to 2, j = 1, 2 (0 without closed form).

    Point masses of f'' are included.
    """
    output = library(pair.mean_u).empty_like(pair.mean_u)
    step = _CHUNK if form is not None else 1
    left = indices(pair.mean_u == pair.mean_u)
    if form is None and not activation.breakpoints and len(output):
        output, error = mehler_mixed(activation, orders, weighted, *pair.columns)
        left = indices(~(error <= MIXED_TOLERANCE))
    for start in range(0, len(left), step):
        chunk = left[start : start + step]
        output[chunk] = (
            _nested_mixed(activation, orders, weighted, pair[chunk])
            if form is None
            else _closed_mixed(form, orders, weighted, pair[chunk].rising())
        )
    return output


def _closed_mixed(
    form: PiecewiseForm, orders: tuple[int, int], weighted: bool, rising: PairArguments
) -> Float[Array, " pairs"]:
    outer, inner = orders
    m1, m2, s1, s2, cosine, sine = rising.columns
    xp = library(m1)
    at = panels(form, orders, "slope", rising)
    at = at.chosen(slice(None), max(int(at.counts().max()), 1))
    y, weight, _ = _nodes_and_weights(at)
    width = (s2 * sine)[:, None, None]
    conditional = form.conditional_slope if inner == 1 else form.conditional_curvature
    means = conditional(at.base_v[:, None, None] + at.slope_v[:, None, None] * y, width)
    u = at.base_u[:, None, None] + s1[:, None, None] * y
    if outer == 2:
        factor = xp.where(u > form.bends[0].at, 0.0, form.tilt * form.slope(u)) if form.tilt else 0.0 * u
    else:
        factor = form.slope(u) if outer else form.value(u)
    if weighted:
        factor = factor * (s1[:, None, None] * (at.anchor[:, None, None] + y))
    result = _total(weight * factor, means)
    for bend in form.bends if outer == 2 else ():
        x = xp.clip((bend.at - m1) / s1, -1e8, 1e8)
        density = normal_density(x)
        there = conditional((m2 + s2 * cosine * x)[:, None, None], width)[:, 0, 0]
        mass = xp.where(density > 0, bend.jump * density / abs(s1) * there, 0.0 * density)
        result = result + (mass * (bend.at - m1) if weighted else mass)
    return result


def _nested_mixed(
    activation: "Activation", orders: tuple[int, int], weighted: bool, pair: PairArguments
) -> Float[Array, " pairs"]:
    outer, inner = orders
    m1, m2, s1, s2, cosine, sine = pair.columns
    anchor, origin = _anchored(activation, m1, s1, REACHES[0])
    y, weight, _ = nodes_and_weights(_nested_edges(activation, REACHES[0], pair, anchor, origin), _DEGREE, origin)
    step = s1[:, None, None] * y
    deviation = (anchor - m1)[:, None, None] + step
    slope_v, width = s2 * cosine, s2 * sine
    mean_v = (m2 + slope_v * origin)[:, None, None] + slope_v[:, None, None] * y
    conditional = _inner(activation, inner, mean_v, width)
    integrand = values(activation, outer, anchor[:, None, None] + step) * conditional
    result = _total(weight * (integrand * deviation if weighted else integrand))
    # the point masses of f^(outer) are the jumps of the derivative below it
    for at, jump in jumps(activation, outer - 1) if outer else ():
        xp = library(m1)
        at_x = xp.clip((at - m1) / s1, -1e8, 1e8)
        there = _inner(activation, inner, (m2 + slope_v * at_x)[:, None, None], width)[:, 0, 0]
        mass = jump * normal_density(at_x) / s1 * there
        mass = xp.where(normal_density(at_x) > 0, mass, xp.zeros_like(mass))
        result = result + (mass * (at - m1) if weighted else mass)
    return result


def nested_rule(
    activation: "Activation", quantity: str, degree: int, rich: bool, pair: PairArguments
) -> tuple[Float[Array, " pairs"], Float[Array, " pairs"]]:
    """value, slope or covariance for an activation without closed form, and the size that its error is relative to.

    That is √(E f(U)² E f(V)²) for the value, with f' for the slope, and the size of the integrands for the covariance.
    """
    m1, m2, s1, s2, cosine, sine = pair.columns
    reach = REACHES[rich]
    anchor, origin = _anchored(activation, m1, s1, reach)
    edges = _nested_edges(activation, reach, pair, anchor, origin)
    y, weight, half = nodes_and_weights(edges, degree, origin)
    u = anchor[:, None, None] + s1[:, None, None] * y
    slope_v, width = s2 * cosine, s2 * sine
    mean_v = (m2 + slope_v * origin)[:, None, None] + slope_v[:, None, None] * y
    order = 0 if quantity == "value" else 1
    inner = _inner(activation, order, mean_v, width, degree, reach)
    outer = values(activation, order, u)
    if quantity == "covariance":
        outer = integrals_from(-origin, outer, half, edges) * s1[:, None, None]
        inner = integrals_from(-origin, inner, half, edges) * slope_v[:, None, None]
    product = weight * (outer * inner)
    result, scale = _total(product), _total(abs(product))
    if quantity == "covariance":
        result = result - _total(weight * outer) * _total(weight * inner)
        scale = scale + _total(weight * abs(outer)) * _total(weight * abs(inner))
    else:  # of odd f next to correlation 0 the integrand vanishes, and that of bumps
        sides = [_nodes(activation, mean, std, degree, reach) for mean, std in ((m1, s1), (m2, s2))]
        roots = [_total(weight * values(activation, order, place) ** 2) ** 0.5 for place, weight in sides]
        scale = roots[0] * roots[1]
    return result, scale


def nested_nodes(activation: "Activation", degree: int) -> int:
    """Where `nested_rule` evaluates f for one pair of standard normal variables, correlated by 0.6."""
    zero, one = numpy.zeros(1), numpy.ones(1)
    pair = PairArguments(zero, zero, one, one, 0.6 * one, 0.8 * one)
    outer = _nested_edges(activation, REACHES[0], pair, zero, zero).shape[1] - 1
    inner = _nodes(activation, zero, 0.8 * one, degree, REACHES[0])[1].shape[1]
    return outer * inner * degree**2


def _inner(
    activation: "Activation",
    order: int,
    mean: Float[Array, "pairs panels nodes"],
    width: Float[Array, " pairs"],
    degree: int = _DEGREE,
    reach: tuple[float, ...] = REACHES[0],
) -> Float[Array, "pairs panels nodes"]:
    """E f^(order)(mean + width Z), point masses included; where width = 0, f^(order)(mean) without them."""
    flat = library(mean).broadcast_to(width[:, None, None], mean.shape).reshape(-1)
    return smoothed(activation, order, mean.reshape(-1), flat, degree, reach).reshape(mean.shape)


def _total(weight: Float[Array, "pairs panels nodes"], values: Any = None) -> Float[Array, " pairs"]:
    """Sum of weight times values over the nodes of each pair."""
    flat = weight.reshape(weight.shape[0], -1)
    if values is None:
        return flat.sum(-1)
    return library(weight).einsum("ij,ij->i", flat, values.reshape(flat.shape))


def _anchored(
    activation: "Activation", mean: Float[Array, " pairs"], std: Float[Array, " pairs"], reach: tuple[float, ...]
) -> tuple[Float[Array, " pairs"], Float[Array, " pairs"]]:
    """A place u of f and its own x = (u − mean)/std, from which x is measured: the mean and 0, or a transition.

    Where that is short beside its distance from the mean: mean + std x is rounded like the mean.
    """
    xp = library(mean)
    anchor, shortest = mean, std
    for place, length in transitions(activation):
        away = abs(place - mean)
        shorter = (away < reach[-1] * std) & (length < _SHORT * away) & (length < shortest)
        anchor = xp.where(shorter, 0.0 * mean + place, anchor)
        shortest = xp.where(shorter, 0.0 * mean + length, shortest)
    return anchor, (anchor - mean) / xp.where(std > 0.0, std, xp.ones_like(std))


def _nested_edges(
    activation: "Activation",
    reach: tuple[float, ...],
    pair: PairArguments,
    anchor: Float[Array, " pairs"],
    origin: Float[Array, " pairs"],
) -> Float[Array, "pairs ends"]:
    """Panel ends where M' is an integral: its transitions are as wide as the features of f, smoothed."""
    _, m2, s1, s2, cosine, sine = pair.columns
    points = panel_ends(activation, anchor, s1, reach, origin)
    scale = s2 * cosine
    width = s2 * sine
    breakpoints = breakpoint_values(activation)
    longest = max(end - start for start, end in pairwise(reach)) * float(s2.max())
    for at, length in transitions(activation):
        centre = (at - m2) / scale - origin
        points.append(centre)
        for distance in _distances(length, longest):
            step = (1.0 + (width / (_NEAREST * length)) ** 2) ** 0.5 * distance / scale
            points += [centre + step, centre - step]
        if at in breakpoints:
            points += [centre + sign * multiple * width / scale for multiple in (1.0, 3.0, 8.0) for sign in (1.0, -1.0)]
    return increasing(points, -reach[-1] - origin, reach[-1] - origin)


@lru_cache(maxsize=256)
def transitions(activation: "Activation") -> tuple[tuple[float, float], ...]:
    """(place, length <= 1): 0, the breakpoints, and where f changes faster than the panels about these resolve."""
    found = dict.fromkeys(features(activation), 1.0)
    coarse = tuple(found)
    for place, length in known_transitions(activation):
        longest = max(1.0, min(abs(place - other) for other in coarse))
        if 0.0 < length < _RESOLVED * longest:
            found[place] = min(length, found.get(place, 1.0))
    return tuple(sorted(found.items()))


def _distances(length: float, longest: float) -> list[float]:
    """Of panel ends from a transition of that length, for panels no longer than `longest`."""
    found, distance = [], _NEAREST * length
    while distance < min(longest, 1.01 * _FARTHEST):
        found.append(distance)
        distance *= 2.0
    return found


def panel_ends(
    activation: "Activation",
    anchor: Float[Array, " pairs"],
    std: Float[Array, " pairs"],
    reach: tuple[float, ...],
    origin: Float[Array, " pairs"],
) -> list[Float[Array, " pairs"]]:
    """In standard deviations from the `anchor`, itself at `origin` from the mean.

    The mean, the steps of `reach` from it, breakpoints, distances from these.
    """
    largest = float(std.max()) if len(std) else 0.0
    longest = max(end - start for start, end in pairwise(reach)) * largest
    points = [sign * end - origin for end in reach for sign in ((1.0, -1.0) if end else (1.0,))]
    breakpoints = breakpoint_values(activation)
    for point, length in transitions(activation):
        offsets = _distances(length, longest)
        for offset in ([0.0] if point in breakpoints else []) + offsets + [-offset for offset in offsets]:
            points.append((point - anchor + offset) / std)
    return points


def _nodes(
    activation: "Activation",
    mean: Float[Array, " points"],
    std: Float[Array, " points"],
    degree: int,
    reach: tuple[float, ...],
) -> tuple[Float[Array, "points panels nodes"], Float[Array, "points panels nodes"]]:
    """Where f is evaluated for one variable, and the weights times its density."""
    anchor, origin = _anchored(activation, mean, std, reach)
    ends = panel_ends(activation, anchor, std, reach, origin)
    edges = increasing(ends, -reach[-1] - origin, reach[-1] - origin)
    y, weight, _ = nodes_and_weights(edges, degree, origin)
    return anchor[:, None, None] + std[:, None, None] * y, weight


def smoothed(
    activation: "Activation",
    order: int,
    mean: Float[Array, " points"],
    std: Float[Array, " points"],
    degree: int,
    reach: tuple[float, ...],
) -> Float[Array, " points"]:
    """E f^(order)(mean + std Z), point masses included; one-dimensional, std >= 0."""
    xp = library(mean)
    output = xp.empty_like(mean)
    start, step = 0, 256
    while start < mean.shape[0]:
        chunk = slice(start, start + step)
        m, tau = mean[chunk], std[chunk]
        places, weight = _nodes(activation, m, tau, degree, reach)
        integral = (weight * values(activation, order, places)).sum(-1).sum(-1)
        if order:
            for at, jump in jumps(activation, order - 1):
                integral = integral + jump * (normal_density(xp.clip((m - at) / tau, -1e8, 1e8)) / tau)
        if order == 2:  # a jump of f is in f'' the derivative of a point mass
            for at, jump in jumps(activation, 0):
                distance = xp.clip((m - at) / tau, -1e8, 1e8)
                integral = integral - jump * (distance * normal_density(distance) / tau**2)
        output[chunk] = xp.where(tau == 0, values(activation, order, m), integral)
        start += step
        step = max(1, _SMOOTHED_AT_ONCE // (weight.shape[1] * degree))
    return output
