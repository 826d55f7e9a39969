"""The composite rules of `expectations`: the sums. One-dimensional arrays, numpy or torch.

E f^(n)(m + τZ) of any activation by composite Gauss–Legendre, split at breakpoints; f, f', f'' and jumps.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy
from jaxtyping import Float

from elutheory.activations.kinks import breakpoint_values, features, jumps, values
from elutheory.kernels.mehler import mehler_mixed
from elutheory.kernels.pairs import PairArguments
from elutheory.kernels.panels import GENERAL, Layout, layouts
from elutheory.moments.closed_forms import ClosedForm
from elutheory.numerics.arrays import Array, indices, library
from elutheory.numerics.normal_tails import normal_density
from elutheory.numerics.quadrature import increasing, integrals_from, nodes_and_weights
from elutheory.numerics.tiles import on_all_cores

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation


# Panel ends at these distances from 0 and from each breakpoint, in x.
DISTANCES = (1.5, 3.0, 6.0, 12.0, 24.0, 48.0, 96.0)
# In standard deviations: what is tried first; all that double precision holds.
REACHES = ((0.0, 3.0, 6.0, 9.0, 13.5), (0.0, 1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 11.0, 13.5, 16.5, 20.0, 25.0, 31.0, 38.5))
_SMOOTHED_AT_ONCE = 1 << 20  # 8 MiB an array
_DEGREE = 16
_CHUNK = 256
_MIXED_TOLERANCE = 1e-12  # of derivatives, relative to the root mean squares; above, nested quadrature
_FEW_PAIRS = 512  # are not worth waking threads
_NODES_AT_ONCE = 1 << 16  # half a MiB an array


def closed_rule(
    activation: "Activation", form: ClosedForm, quantities: tuple[str, ...], pair: PairArguments
) -> list[Float[Array, " pairs"]]:
    """Each of value, slope, covariance asked for; pairs of one layout together, in chunks, on all processors."""
    xp = library(pair.mean_u)
    outputs = [xp.empty_like(pair.mean_u) for _ in quantities]
    tasks = []
    for layout, members in layouts(form, pair):
        step = _chunk(pair.mean_u, layout.nodes)
        tasks += [(layout, members[start : start + step]) for start in range(0, len(members), step)]

    def carry_out(task: tuple[Layout, Any]) -> None:
        layout, members = task
        # Rounding to 0 or to infinity is the right result, not news; masked branches may do anything.
        with numpy.errstate(all="ignore"):
            results = _closed_chunk(activation, form, layout, quantities, pair[members])
            for output, result in zip(outputs, results, strict=True):
                output[members] = result

    if xp is numpy and len(pair) > _FEW_PAIRS:
        on_all_cores(carry_out, tasks)
    else:
        for task in tasks:
            carry_out(task)
    return outputs


def _chunk(array: Any, nodes: int) -> int:
    """Pairs at a time: a temporary fits into the cache, or on an accelerator into 256 MiB."""
    on_processor = isinstance(array, numpy.ndarray) or array.device.type == "cpu"
    return max(1, (_NODES_AT_ONCE if on_processor else 512 * _NODES_AT_ONCE) // nodes)


def _closed_chunk(
    activation: "Activation", form: ClosedForm, layout: Layout, quantities: tuple[str, ...], pair: PairArguments
) -> list[Float[Array, " pairs"]]:
    # M' is taken along increasing m(x): U falls with x where the correlation is negative
    rising = pair.rising()
    m1, m2, s1, s2, cosine, sine = rising.columns
    xp = library(m1)
    edges = layout.edges(form, rising)
    x, weight, half = nodes_and_weights(edges, layout.degree)
    u = m1[:, None, None] + s1[:, None, None] * x
    slope_v, width = s2 * cosine, s2 * sine
    inner = _inner(activation, form, 1, m2[:, None, None] + slope_v[:, None, None] * x, width)
    origin = 0.0 * m1
    slopes = weight * form.slope(u) if "slope" in quantities else None
    increments = integrals_from(origin, inner, half, edges) if {"value", "covariance"} & {*quantities} else None
    results = []
    for quantity in quantities:
        if quantity == "slope":
            results.append(_total(slopes, inner))
        elif quantity == "value":
            values_u = weight * form.value(u)
            fixed = width == 0
            centre = form.moments(m2, xp.where(fixed, 1.0 + 0.0 * width, width))[0]
            centre = xp.where(fixed, activation(m2), centre)
            results.append(centre * _total(values_u) + slope_v * _total(values_u, increments))
        else:
            outer = integrals_from(origin, form.slope(u), half, edges)
            covariance = _total(weight * outer, increments) - _total(weight, outer) * _total(weight, increments)
            results.append(covariance * (s1 * slope_v))
    return results


def mixed_expectation(
    activation: "Activation", form: ClosedForm | None, orders: tuple[int, int], weighted: bool, pair: PairArguments
) -> Float[Array, " pairs"]:
    """E[f^(i)(U) f^(j)(V)], or weighted E[(U − mean_u) f^(i)(U) f^(j)(V)]; i up to 2, j = 1, 2 (0 without closed form).

    Point masses of f'' are included.
    """
    output = library(pair.mean_u).empty_like(pair.mean_u)
    step = _CHUNK if form is not None else 1
    left = indices(pair.mean_u == pair.mean_u)
    if form is None and not activation.breakpoints and len(output):
        output, error = mehler_mixed(activation, orders, weighted, *pair.columns)
        left = indices(~(error <= _MIXED_TOLERANCE))
    for start in range(0, len(left), step):
        chunk = left[start : start + step]
        output[chunk] = _mixed_chunk(activation, form, orders, weighted, pair[chunk])
    return output


def _mixed_chunk(
    activation: "Activation", form: ClosedForm | None, orders: tuple[int, int], weighted: bool, pair: PairArguments
) -> Float[Array, " pairs"]:
    outer, inner = orders
    m1, m2, s1, s2, cosine, sine = pair.columns
    edges = GENERAL.edges(form, pair) if form is not None else _nested_edges(activation, REACHES[0], pair)
    x, weight, _ = nodes_and_weights(edges, _DEGREE)
    deviation = s1[:, None, None] * x
    slope_v, width = s2 * cosine, s2 * sine
    conditional = _inner(activation, form, inner, m2[:, None, None] + slope_v[:, None, None] * x, width)
    integrand = values(activation, outer, m1[:, None, None] + deviation) * conditional
    result = _total(weight * (integrand * deviation if weighted else integrand))
    if outer == 2:
        for at, bend in jumps(activation, 1):
            xp = library(m1)
            at_x = xp.clip((at - m1) / s1, -1e8, 1e8)
            there = _inner(activation, form, inner, (m2 + slope_v * at_x)[:, None, None], width)[:, 0, 0]
            mass = bend * normal_density(at_x) / s1 * there
            mass = xp.where(normal_density(at_x) > 0, mass, xp.zeros_like(mass))
            result = result + (mass * (at - m1) if weighted else mass)
    return result


def nested_rule(
    activation: "Activation", quantity: str, degree: int, rich: bool, pair: PairArguments
) -> tuple[Float[Array, " pairs"], Float[Array, " pairs"]]:
    """value, slope or covariance for an activation without closed form, and the size that its error is relative to.

    That is √(E f(U)² E f(V)²) for the value, the size of the integrand for the others.
    """
    m1, m2, s1, s2, cosine, sine = pair.columns
    reach = REACHES[rich]
    edges = _nested_edges(activation, reach, pair)
    x, weight, half = nodes_and_weights(edges, degree)
    u = m1[:, None, None] + s1[:, None, None] * x
    slope_v, width = s2 * cosine, s2 * sine
    mean_v = m2[:, None, None] + slope_v[:, None, None] * x
    order = 0 if quantity == "value" else 1
    inner = _inner(activation, None, order, mean_v, width, degree, reach)
    outer = values(activation, order, u)
    if quantity == "covariance":
        origin = 0.0 * m1
        outer = integrals_from(origin, outer, half, edges) * s1[:, None, None]
        inner = integrals_from(origin, inner, half, edges) * slope_v[:, None, None]
    product = weight * (outer * inner)
    result, scale = _total(product), _total(abs(product))
    if quantity == "covariance":
        result = result - _total(weight * outer) * _total(weight * inner)
    if quantity == "value":  # of odd f next to correlation 0 the integrand vanishes; a rough E f(V)² will do
        other = values(activation, 0, m2[:, None, None] + s2[:, None, None] * x)
        scale = (_total(weight * outer**2) * _total(weight * other**2)) ** 0.5
    return result, scale


def _inner(
    activation: "Activation",
    form: ClosedForm | None,
    order: int,
    mean: Float[Array, "pairs panels nodes"],
    width: Float[Array, " pairs"],
    degree: int = _DEGREE,
    reach: tuple[float, ...] = REACHES[0],
) -> Float[Array, "pairs panels nodes"]:
    """E f^(order)(mean + width Z), point masses included; where width = 0, f^(order)(mean) without them."""
    xp = library(mean)
    spread = width[:, None, None]
    if form is None:
        flat = xp.broadcast_to(spread, mean.shape).reshape(-1)
        return smoothed(activation, order, mean.reshape(-1), flat, degree, reach).reshape(mean.shape)
    result = form.conditional_slope(mean, spread) if order == 1 else form.conditional_curvature(mean, spread)
    fixed = width == 0
    return xp.where(fixed[:, None, None], values(activation, order, mean), result) if fixed.any() else result


def _total(weight: Float[Array, "pairs panels nodes"], values: Any = None) -> Float[Array, " pairs"]:
    """Sum of weight times values over the nodes of each pair."""
    flat = weight.reshape(weight.shape[0], -1)
    if values is None:
        return flat.sum(-1)
    return library(weight).einsum("ij,ij->i", flat, values.reshape(flat.shape))


def _nested_edges(
    activation: "Activation", reach: tuple[float, ...], pair: PairArguments
) -> Float[Array, "pairs ends"]:
    """Panel ends where M' is an integral: its transitions are as wide as the features of f, smoothed."""
    m1, m2, s1, s2, cosine, sine = pair.columns
    points = panel_ends(activation, m1, s1, reach)
    scale = s2 * cosine
    width = s2 * sine
    breakpoints = breakpoint_values(activation)
    for at in features(activation):
        centre = (at - m2) / scale
        points.append(centre)
        for distance in DISTANCES[:4]:
            step = (1.0 + (width / DISTANCES[0]) ** 2) ** 0.5 * distance / scale
            points += [centre + step, centre - step]
        if at in breakpoints:
            points += [centre + sign * multiple * width / scale for multiple in (1.0, 3.0, 8.0) for sign in (1.0, -1.0)]
    return increasing(points, -reach[-1], reach[-1])


def panel_ends(
    activation: "Activation", mean: Float[Array, " pairs"], std: Float[Array, " pairs"], reach: tuple[float, ...]
) -> list[Float[Array, " pairs"]]:
    """In standard deviations from the mean: 0, the steps of `reach`, breakpoints, distances from these."""
    largest = float(std.max()) if len(std) else 0.0
    longest = max(end - start for start, end in pairwise(reach)) * largest
    points = [0.0 * mean + sign * end for end in reach for sign in ((1.0, -1.0) if end else (1.0,))]
    breakpoints = breakpoint_values(activation)
    for point in features(activation):
        offsets = [distance for distance in DISTANCES if distance < longest]
        for offset in ([0.0] if point in breakpoints else []) + offsets + [-offset for offset in offsets]:
            points.append((point + offset - mean) / std)
    return points


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
        edges = increasing(panel_ends(activation, m, tau, reach), -reach[-1], reach[-1])
        z, weight, _ = nodes_and_weights(edges, degree)
        integral = (weight * values(activation, order, m[:, None, None] + tau[:, None, None] * z)).sum(-1).sum(-1)
        if order:
            for at, jump in jumps(activation, order - 1):
                integral = integral + jump * (normal_density(xp.clip((m - at) / tau, -1e8, 1e8)) / tau)
        output[chunk] = xp.where(tau == 0, values(activation, order, m), integral)
        start += step
        step = max(1, _SMOOTHED_AT_ONCE // (z.shape[1] * degree))
    return output
