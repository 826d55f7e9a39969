"""K4: pair expectations of analytic functions by Mehler's series, E g(U)h(V) = Σ_k a_k b_k ρ^k, at every correlation.

a_k = E[g(m + s X) He_k(X)]/√k!, by the trapezoidal rule, whose error for an analytic g is that of the sum over every
second node, squared. By Price's theorem (K3) the covariance is s_u s_v Σ_k d_k e_k ρ^{k+1}/(k + 1) with the
coefficients of f': nothing is subtracted. What K terms leave out is at most |ρ|^K √(R_u R_v), R = E g² − Σ_{k<K} a_k²
(Parseval; Cauchy–Schwarz): the stated error is a bound of it, and where it is too large there is no number.

The coefficients belong to one input, not to a pair: a Gram matrix of n inputs takes n expansions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy

from elutheory.activations import kinks
from elutheory.kernels.analytic.scales import largest_steps
from elutheory.numerics.arrays import as_array_like, library, on_host

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

_STEPS = tuple(0.42 * 2.0 ** (-k / 2) for k in range(10))
_REACHES = (12.6, 25.2, 37.8)
_TERMS = (48, 96, 192, 384, 768)
# Of E g² by all nodes and by every second, at a step 1.4 to 2 times as fine as g asks for: its square is the error, and
# at the step that g asks for 4e-16 or less is left.
_AGREEMENT = 1e-11
_NEGLIGIBLE = 1e-28  # φ g² at the ends, relative to E g²
_ROUNDING = 4e-16  # of E g², and of what the terms sum to
_AT_ONCE = 1 << 18  # numbers an array

Function = Callable[[Any], Any]


def mehler_expectation(
    activation: "Activation", quantity: str, m1: Any, m2: Any, s1: Any, s2: Any, cosine: Any, sine: Any
) -> tuple[Any, Any]:
    """value, slope or covariance of an analytic f, and the bound of its error, inf where there is no number.

    One-dimensional float64 arrays, numpy or torch. The error is relative to √(E f(U)² E f(V)²) of the value, √(E f'² E
    f'²) of the slope, to the covariance itself.
    """
    xp = library(m1)
    function = activation if quantity == "value" else activation.derivative
    inputs, places = distinct_inputs((m1, m2), (s1, s2))
    mean, std = (as_array_like(column, m1) for column in inputs)
    expansion = Expansion(activation, function, mean, std)
    sums = mehler_sums(expansion, expansion, places[0], places[1], cosine, quantity == "covariance")
    size = abs(sums.value) if quantity == "covariance" else sums.root
    # no node sees more than 0: what there is lies elsewhere
    none = ~(size > 0)
    error = xp.where(none, sums.error * 0 + math.inf, sums.error / xp.where(none, xp.ones_like(size), size))
    constant = (s1 * s2 == 0) if quantity == "covariance" else size < 0
    error = xp.where(constant, xp.zeros_like(error), error)
    return sums.value * (s1 * s2) if quantity == "covariance" else sums.value, error


def mehler_grid(activation: "Activation", order: int, std_u: Any, std_v: Any, cosine: Any) -> tuple[Any, Any]:
    """E f^(order)(U) f^(order)(V) of centred pairs, all of std_u with all of std_v at every cosine, and their errors.

    One-dimensional numpy arrays; results of shape (len(std_u), len(std_v), len(cosine)), errors relative to the root
    mean squares, inf where there is no number. One product of matrices for every cosine.
    """
    (mean, std), (at_u, at_v) = distinct_inputs((0.0 * std_u, 0.0 * std_v), (std_u, std_v))
    expansion = Expansion(activation, activation.derivative if order else activation, mean, std)
    value = numpy.zeros((len(std_u), len(std_v), len(cosine)))
    error = numpy.full_like(value, math.inf)
    resolved = numpy.isfinite(expansion.error)
    u, v = numpy.flatnonzero(resolved[at_u]), numpy.flatnonzero(resolved[at_v])
    discretisation = expansion.error[at_u[u], None] + expansion.error[at_v[v]]
    for terms in _TERMS:
        if not len(u) or not len(v):
            break
        left, right = (expansion.coefficients(at, terms) for at in (at_u[u], at_v[v]))
        rest = [(side.rest**2 / side.root**2 + _ROUNDING) ** 0.5 for side in (left, right)]
        outside = numpy.outer(*rest)
        scaled = [side.series * side.scale[:, None] for side in (left, right)]
        settled = error[numpy.ix_(u, v)] <= 2e-15 + 2.0 * discretisation[:, :, None]
        for place in numpy.flatnonzero(~settled.all((0, 1))):
            powers = numpy.cumprod(numpy.concatenate([[1.0], numpy.full(terms - 1, cosine[place])]))
            bound = abs(powers[-1] * cosine[place]) * outside + _ROUNDING + discretisation
            at = numpy.ix_(u, v, numpy.array([place]))
            better = bound[:, :, None] < 0.5 * error[at]  # more terms than are needed only add rounding
            found = ((scaled[0] * powers) @ scaled[1].T)[:, :, None]
            value[at], error[at] = (
                numpy.where(better, found, value[at]),
                numpy.where(better, bound[:, :, None], error[at]),
            )
    return value, error


def mehler_mixed(
    activation: "Activation",
    orders: tuple[int, int],
    weighted: bool,
    m1: Any,
    m2: Any,
    s1: Any,
    s2: Any,
    cosine: Any,
    sine: Any,
) -> tuple[Any, Any]:
    """E f^(i)(U) f^(j)(V), or E (U − mean_u) f^(i)(U) f^(j)(V), and its error relative to the root mean squares."""
    at: list[Any] = []
    expansions: list[Expansion] = []
    for order, mean, std, is_weighted in ((orders[0], m1, s1, weighted), (orders[1], m2, s2, False)):
        inputs, (places,) = distinct_inputs((mean,), (std,))
        here = (as_array_like(column, m1) for column in inputs)
        expansions.append(Expansion(activation, partial(kinks.values, activation, order), *here, weighted=is_weighted))
        at.append(places)
    sums = mehler_sums(expansions[0], expansions[1], at[0], at[1], cosine)
    return sums.value, sums.error / library(m1).clip(sums.root, 1e-300, None)


def distinct_inputs(means: tuple[Any, ...], stds: tuple[Any, ...]) -> tuple[tuple[Any, Any], list[Any]]:
    """Each (mean, std) once, in numpy; and for each of the arrays which one its entries are."""
    keys: Any = numpy.concatenate([on_host(mean) + 1j * on_host(std) for mean, std in zip(means, stds, strict=True)])
    keys, places = numpy.unique(keys, return_inverse=True)
    return (keys.real.copy(), keys.imag.copy()), numpy.split(places, numpy.cumsum([len(mean) for mean in means])[:-1])


def coarsest_steps(activation: "Activation", mean: Any, std: Any) -> Any:
    """The first of the steps (indices; `len(_STEPS)`: none) that can see every feature of f within reach."""
    return (numpy.array(_STEPS)[:, None] > largest_steps(activation, mean, std)).sum(0)


@lru_cache(maxsize=32)
def _lattice(step: float, reach: float) -> tuple[Any, Any]:
    """Nodes x, an even number on either side of 0, and step × density."""
    count = math.ceil(reach / step / 2) * 2
    x = step * numpy.arange(-count, count + 1)
    return x, step / math.sqrt(2 * math.pi) * numpy.exp(-0.5 * x * x)


@lru_cache(maxsize=32)
def _basis(step: float, reach: float, terms: int) -> Any:
    """He_k(x)/√k! times weight, shape (nodes, terms)."""
    x, weight = _lattice(step, reach)
    table = numpy.empty((terms, len(x)))
    table[0] = weight
    table[1] = x * weight
    for k in range(1, terms - 1):
        table[k + 1] = (x * table[k] - math.sqrt(k) * table[k - 1]) / math.sqrt(k + 1)
    return numpy.ascontiguousarray(table.T)


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Of some inputs: `series` (inputs, terms) of g/scale, √E g²/scale, √R/scale, and the discretisation's error."""

    series: Any
    scale: Any
    root: Any
    rest: Any


class Expansion:
    """g at Gaussian inputs of the given means and standard deviations (one-dimensional arrays), to be expanded."""

    def __init__(
        self, activation: "Activation", function: Function, mean: Any, std: Any, weighted: bool = False
    ) -> None:
        """`weighted`: (U − mean) g(U) in place of g(U)."""
        self.function, self.mean, self.std, self.weighted = function, mean, std, weighted
        self.first = _room(mean, _TERMS[0])
        self.step, self.reach, self.error = self._resolved(coarsest_steps(activation, on_host(mean), on_host(std)))

    def _values(self, members: Any, step: int, reach: int) -> tuple[Any, Any, Any]:
        """g over its scale, the scale, and the weights."""
        x, weight = (as_array_like(table, self.mean) for table in _lattice(_STEPS[step], _REACHES[reach]))
        deviation = self.std[members][:, None] * x
        values = self.function(self.mean[members][:, None] + deviation)
        if self.weighted:
            values = values * deviation
        xp = library(values)
        scale = xp.amax(abs(values) * weight**0.5, -1)
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        return values / scale[:, None], scale, weight

    def _resolved(self, step: Any) -> tuple[Any, Any, Any]:
        """Step and reach (indices) at which E g² has converged, and its error; nan where it does not.

        The values serve the fewest terms, too: `first` has their coefficients.
        """
        xp = library(self.mean)
        reach, error = numpy.zeros_like(step), numpy.full(len(step), numpy.nan)
        left = numpy.flatnonzero(step < len(_STEPS))
        while len(left):
            following = []
            fine_step, _ = _for_terms(step[left], _TERMS[0])
            levels = numpy.stack([fine_step, reach[left]], axis=-1)  # as they are now: the loop moves them on
            for level in sorted(set(map(tuple, levels.tolist()))):
                own = left[(levels == level).all(-1)]
                size = max(1, _AT_ONCE // len(_lattice(_STEPS[level[0]], _REACHES[level[1]])[0]))
                for start in range(0, len(own), size):
                    members = own[start : start + size]
                    places = self._places(members)
                    values, scale, weight = self._values(places, *level)
                    squares = values * values
                    _expand(self.first, places, values, scale, squares @ weight, *level)
                    fine, coarse = squares @ weight, 2.0 * (squares[:, ::2] @ weight[::2])
                    # the weight is below 1e-300 at the furthest ends, where it says nothing
                    ends = xp.where(squares[:, 0] > squares[:, -1], squares[:, 0], squares[:, -1]) * weight[0]
                    fine, coarse, ends = (_host(array) for array in (fine, coarse, ends))
                    wide = ends > _NEGLIGIBLE * fine
                    rough = ~(abs(fine - coarse) <= _AGREEMENT * fine) & ~(fine == coarse)
                    done = ~wide & ~rough
                    error[members[done]] = ((abs(fine - coarse) / numpy.where(fine > 0, fine, 1.0)) ** 2)[done]
                    reach[members[wide]] += 1
                    step[members[rough & ~wide]] += 1
                    more = ~done & (reach[members] < len(_REACHES)) & (step[members] < len(_STEPS))
                    more &= numpy.isfinite(fine)
                    following.append(members[more])
            left = numpy.concatenate(following)
        return step, reach, error

    def _places(self, members: Any) -> Any:
        xp = library(self.mean)
        return members if xp is numpy else xp.as_tensor(members, device=self.mean.device)

    def coefficients(self, inputs: Any, terms: int) -> Coefficients:
        """Of the `inputs` (indices, numpy), whose expansion must be resolved.

        What no step sees leaves a rest without bound.
        """
        if terms == _TERMS[0]:
            found = _gathered(self.first, self._places(inputs))
        else:
            found = _room(self.mean[: len(inputs)], terms)
        step, unseen = _for_terms(self.step[inputs], terms)
        reach = self.reach[inputs]
        for level in sorted(set(zip(step.tolist(), reach.tolist(), strict=True))) if terms != _TERMS[0] else ():
            own = numpy.flatnonzero((step == level[0]) & (reach == level[1]))
            size = max(1, _AT_ONCE // len(_lattice(_STEPS[level[0]], _REACHES[level[1]])[0]))
            for start in range(0, len(own), size):
                members = own[start : start + size]
                values, scales, weight = self._values(self._places(inputs[members]), *level)
                _expand(found, self._places(members), values, scales, (values * values) @ weight, *level)
        found.rest[self._places(numpy.flatnonzero(unseen))] = math.inf
        return found


def _room(like: Any, terms: int) -> Coefficients:
    """For the coefficients of as many inputs as `like` has, still without them."""
    xp = library(like)
    if xp is numpy:
        series = numpy.empty((len(like), terms))
    else:
        series = xp.empty((len(like), terms), dtype=like.dtype, device=like.device)
    return Coefficients(series, *(xp.empty_like(series[:, 0]) for _ in range(3)))


def _for_terms(step: Any, terms: int) -> tuple[Any, Any]:
    """The step (indices) that sees so many terms where `step` resolves g, and where none does.

    He_k φ has wave numbers up to √k, and g as many again as the step that resolves it can tell from 0: a step sees the
    last of the terms where it tells both together.
    """
    steps = numpy.array(_STEPS)
    needed = 1.0 / (1.0 / steps[numpy.minimum(step, len(steps) - 1)] + math.sqrt(terms) / (2.0 * math.pi))
    found = (steps[:, None] > needed).sum(0)
    return numpy.minimum(found, len(steps) - 1), found == len(steps)


def _expand(into: Coefficients, places: Any, values: Any, scale: Any, square: Any, step: int, reach: int) -> None:
    """Sets the coefficients of these inputs from their values over `scale`, and the mean of the values' squares."""
    xp = library(values)
    basis = as_array_like(_basis(_STEPS[step], _REACHES[reach], into.series.shape[1]), values)
    found = values @ basis
    into.series[places], into.scale[places], into.root[places] = found, scale, square**0.5
    into.rest[places] = xp.clip(square - (found * found).sum(-1), 0.0, None) ** 0.5


def _host(array: Any) -> Any:
    return array if isinstance(array, numpy.ndarray) else array.detach().cpu().numpy()


@dataclass(frozen=True, eq=False)
class Sums:
    """One number a pair, its error (a bound; inf where there is no number), and √(E g(U)² E h(V)²)."""

    value: Any
    error: Any
    root: Any


def mehler_sums(u: Expansion, v: Expansion, at_u: Any, at_v: Any, cosine: Any, integrated: bool = False) -> Sums:
    """Σ_k a_k b_k ρ^k, or with `integrated` Σ_k a_k b_k ρ^{k+1}/(k + 1), of pairs of inputs.

    `at_u`, `at_v`: which input of `u` and of `v` (numpy indices); `cosine`: ρ, in the library of the expansions.
    """
    xp = library(cosine)
    value, root = xp.zeros_like(cosine), xp.zeros_like(cosine)
    error = xp.zeros_like(cosine) + math.inf
    left = numpy.flatnonzero(numpy.isfinite(u.error)[at_u] & numpy.isfinite(v.error)[at_v])
    for terms in _TERMS:
        if not len(left):
            break
        sides = []
        for side, at in ((u, at_u), (v, at_v)):
            inputs, place = numpy.unique(at[left], return_inverse=True)
            sides.append((side.coefficients(inputs, terms), place, side.error[at[left]]))
        size = max(1, _AT_ONCE // terms)
        unsettled = []
        for start in range(0, len(left), size):
            part = slice(start, start + size)
            places = u._places(left[part])
            found = [_gathered(side, u._places(place[part])) for side, place, _ in sides]
            discretisation = as_array_like(sides[0][2][part] + sides[1][2][part], cosine)
            sums = _summed(found[0], found[1], cosine[places], integrated, terms, discretisation)
            value[places], error[places], root[places] = sums.value, sums.error, sums.root
            # further terms help only where what is left out is what is wrong
            small = _host(sums.error <= (1e-14 * abs(sums.value) if integrated else 2e-15 * sums.root))
            unsettled.append(left[part][~small])
        left = numpy.concatenate(unsettled)
    return Sums(value, error, root)


def _gathered(side: Coefficients, places: Any) -> Coefficients:
    return Coefficients(side.series[places], side.scale[places], side.root[places], side.rest[places])


def _summed(u: Coefficients, v: Coefficients, cosine: Any, integrated: bool, terms: int, discretisation: Any) -> Sums:
    xp = library(cosine)
    powers = xp.ones_like(u.series)
    powers[:, 1:] = cosine[:, None]
    powers = xp.cumprod(powers, 1)
    last = abs(powers[:, -1] * cosine)
    products = u.series * v.series * powers
    if integrated:
        products *= as_array_like(1.0 / numpy.arange(1, terms + 1), cosine)
        products *= cosine[:, None]
        last = last * abs(cosine) / (terms + 1)
    root = u.root * v.root
    # R itself is known to rounding of E g² only
    rest = (u.rest**2 + _ROUNDING * u.root**2) * (v.rest**2 + _ROUNDING * v.root**2)
    size = abs(products).sum(-1) if integrated else root
    error = last * rest**0.5 + (_ROUNDING + discretisation) * size
    scale = u.scale * v.scale
    return Sums(products.sum(-1) * scale, error * scale, root * scale)
