"""Composite Gauss–Legendre in t = (x − mean)/std: panels end at kinks, and close in on where f changes fast.

Ends are kinks, geometric distances from transitions, and steps of two standard deviations. They reach nine standard
deviations, and to the end of double precision where the integrand does not vanish before. What a panel leaves is
estimated from the decay of its Legendre coefficients; panels that leave too much are halved. The errors handed on add
what rounding does to the sums. float64 numpy arrays; (n, panels, nodes) inside.
"""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

import numpy

from elutheory.activations.activation_function import Activation
from elutheory.activations.kinks import jumps
from elutheory.errors import InputError
from elutheory.moments.quadrature.features import highest_frequency, parity
from elutheory.numerics.normal_tails import DENSITY_AT_ZERO
from elutheory.numerics.quadrature import antiderivative, gauss_legendre, legendre_coefficients
from elutheory.numerics.twofold import Twofold

REACH = 38.5  # phi is subnormal beyond
_NODES = 16
_STEP = 2.25  # standard deviations; with 16 nodes the density's own error on a panel is below 1e-17
_CORE = 9.0
_NEAREST = 1.5  # lengths from a transition to the first panel's end
_RATIO = 3.0  # of successive distances from a transition: 16 nodes leave 3.7^-32 of a pole in its middle
_INNER = numpy.array([-9.0, -6.0, -3.0, -1.5, 0.0, 1.5, 3.0, 6.0, 9.0])
_AT_MEAN = 4  # of these, 0
_OUTER = numpy.array([10.5, 13.0, 17.0, 23.0, 30.0, REACH])
_NOTHING = 1e-18  # of the largest integrand, beyond the core
_SETTLED = 1e-15  # of the sums, by an estimate that is itself too large
_ROUNDS = 12  # of halving: from two standard deviations down to 5e-4
_MOST_PANELS = 2000
_NUMBERS_AT_ONCE = 24_000  # temporaries of 200 kB stay in the processor's cache
_SHORT = 1e-2
_MOVED = 4.0  # roundings are no independent draws: up to 2.3 times their root of a sum of squares was seen
_LEANING = 0.25  # |mean|/std up to which an odd function's halves cancel so far that they are added before
_EPS = 2.0**-52
_TINY = 2.0**-1022


def by_panels(integrand: Any, mean: Any, std: Any) -> tuple[Any, Any]:
    """mean, second moment, variance, slope mean, slope second moment, mean log slope; their relative errors: (6, n)."""
    found, errors = numpy.empty((6, mean.size)), numpy.empty((6, mean.size))
    with numpy.errstate(all="ignore"):
        for rows, reach in chunks(integrand, mean, std):
            found[:, rows], errors[:, rows] = _settled(integrand, mean[rows], std[rows], reach)
    return found, errors


def chunks(integrand: Any, mean: Any, std: Any) -> Iterator[tuple[Any, Any]]:
    """Rows of one reach that need about as many panels, few enough for the cache; and their reach."""
    reach = numpy.where(_is_wide(integrand, mean, std), REACH, _CORE)
    order = numpy.lexsort((std, reach))
    start = 0
    while start < mean.size:
        last = order[min(start + 256, mean.size - 1)]
        panels = _edges(integrand, mean[[last]], std[[last]], reach[[last]], numpy.zeros(1)).shape[1]
        rows = order[start : start + max(1, _NUMBERS_AT_ONCE // (_NODES * panels))]
        rows = rows[reach[rows] == reach[rows[0]]]
        yield rows, reach[rows]
        start += rows.size


def _is_wide(integrand: Any, mean: Any, std: Any) -> Any:
    """Whether anything counts beyond nine standard deviations: a transition there, or f or f' that grows towards it.

    Or what f has left of its value at the mean: of a step at seven, a share of 1e-7 of the variance lies beyond.
    """
    places, _ = integrand.places
    away = numpy.abs(places - mean[:, None]) / std[:, None]
    wide = ((away > _CORE - 1.0) & (away < REACH)).any(1)
    t = numpy.concatenate([_INNER, -_OUTER, _OUTER])
    x = mean[:, None] + std[:, None] * t
    density = numpy.exp(-0.5 * t * t)
    value = integrand.activation(x)
    for values in (value, integrand.activation.derivative(x), value - value[:, [_AT_MEAN]]):
        size = numpy.abs(values)
        for weighted in (size * density, size * size * density):
            wide |= ~(weighted[:, _INNER.size :].max(1) <= _NOTHING * weighted[:, : _INNER.size].max(1))
    return wide


def _settled(integrand: Any, mean: Any, std: Any, reach: Any) -> tuple[Any, Any]:
    """As `by_panels`, for rows of one reach: panels are halved until all are settled, or nothing more can be had."""
    symmetry = parity(integrand.activation)
    # close to the centre of an odd or even function its halves cancel: nodes about 0
    tilted = (numpy.abs(mean) <= _LEANING * std) & (symmetry != 0)
    centre = numpy.where(tilted, 0.0, centres(integrand, mean, std))
    tilt = (mean - centre) / std
    found, errors = numpy.empty((6, mean.size)), numpy.empty((6, mean.size))
    for rows, done, panels in settled_panels(integrand, mean, std, centre, tilt, reach):
        found[:, rows[done]], errors[:, rows[done]] = (
            result[:, done] for result in panels.moments_and_errors(symmetry, tilted[rows])
        )
    return found, errors


def centres(integrand: Any, mean: Any, std: Any) -> Any:
    """Where t is 0: the mean, or within reach where f changes over a length that is short beside the way to the mean.

    Of a bump of width 0.03 about 0, X's mean at 1e6 and its standard deviation 3e5, nodes that are measured from the
    mean are rounded by 1e-10.
    """
    places, lengths = integrand.places
    if not places.size:
        return mean
    if len(integrand.kinks) > 1:  # between two of them f changes over their distance
        gaps = numpy.diff(integrand.kinks)
        nearest = numpy.minimum(numpy.append(gaps, numpy.inf), numpy.append(numpy.inf, gaps))
        places, lengths = numpy.append(places, integrand.kinks), numpy.append(lengths, nearest)
    away = numpy.abs(places - mean[:, None])
    near = (away < REACH * std[:, None]) & (lengths > 0) & (lengths < numpy.minimum(_SHORT * away, std[:, None]))
    shortest = numpy.where(near, lengths, numpy.inf).argmin(1)
    return numpy.where(near.any(1), places[shortest], mean)


def settled_panels(
    integrand: Any, mean: Any, std: Any, centre: Any, tilt: Any, reach: Any
) -> Iterator[tuple[Any, Any, "Panels"]]:
    """(rows, which of them are settled, their panels), until every row was settled once; all rows of one reach."""
    edges = _edges(integrand, centre, std, reach, tilt)
    rows = numpy.arange(mean.size)
    for attempt in range(_ROUNDS + 1):
        _refuse_many(integrand.activation, mean[rows], std[rows], edges.shape[1])
        panels = Panels(integrand, mean[rows], std[rows], centre[rows], tilt[rows], edges)
        unsettled = panels.unsettled
        again = unsettled.any(1) & (attempt < _ROUNDS)
        if again.sum() > 0.7 * again.size:
            again[:] = True  # sorting out the few that are settled costs more
        if not again.all():
            yield rows, ~again, panels
        if not again.any():
            return
        middles = numpy.where(unsettled, 0.5 * (edges[:, 1:] + edges[:, :-1]), edges[:, -1:])
        edges = _compact(numpy.concatenate([edges, middles], 1)[again])
        rows = rows[again]


# --- the panels' ends ----------------------------------------------------------------------------------------------


def _edges(integrand: Any, centre: Any, std: Any, reach: Any, tilt: Any) -> Any:
    """Panel ends in t, (n, panels + 1), increasing, those that are not needed moved to the upper end."""
    places, lengths = integrand.places
    count = round(2.0 * reach[0] / _STEP)
    frequency = highest_frequency(integrand.activation)
    if frequency > 0:
        # at most half a period on a panel
        count = max(count, int(min(2.0 * reach[0] * frequency * std.max() / 3.0, 1e9)) + 1)
        _refuse_many(integrand.activation, centre, std, count)
    step = 2.0 * reach[0] / count
    fixed = numpy.linspace(-reach[0], reach[0], count + 1) + tilt[:, None]
    inner = slice(1, count)
    rows = []
    for place, length in zip(places, lengths, strict=True):
        here = ((place - centre) / std)[:, None]
        unit = (length / std)[:, None]
        steep = unit < 0.75 * step
        # an end of the grid close to a kink or a steep transition would only cut off a sliver
        sliver = steep & (numpy.abs(fixed[:, inner] - here) < 0.3 * step)
        fixed[:, inner] = numpy.where(sliver, numpy.nan, fixed[:, inner])
        rows.append(numpy.where(steep, here, numpy.nan))
        if length > 0 and steep.any():
            levels = int(numpy.ceil(numpy.log(0.75 * step / unit.min()) / numpy.log(_RATIO))) + 1
            offsets = unit * (_NEAREST * _RATIO ** numpy.arange(levels))
            offsets = numpy.where(steep & (offsets <= 0.75 * step), offsets, numpy.nan)
            rows += [here - offsets, here + offsets]
    edges = numpy.concatenate([fixed, *rows], 1)
    low, high = (tilt - reach)[:, None], (tilt + reach)[:, None]
    return _compact(numpy.where(edges < high, numpy.maximum(edges, low), high))


def _compact(edges: Any) -> Any:
    """Sorted; empty panels moved to the upper end, and cut off where every row has one."""
    edges = numpy.sort(edges, 1)
    high = edges[:, -1:]
    edges[:, 1:] = numpy.where(edges[:, 1:] == edges[:, :-1], high, edges[:, 1:])
    edges.sort(1)
    return edges[:, : int((edges < high).sum(1).max()) + 1]


def _refuse_many(activation: Activation, mean: Any, std: Any, panels: int) -> None:
    if panels > _MOST_PANELS:
        worst = int(std.argmax())
        raise InputError(
            f"quadrature of the moments of {activation} at mean = {float(mean[worst]):.6g}, "
            f"std = {float(std[worst]):.6g} would take {panels} panels; {_MOST_PANELS} are possible."
        )


# --- sums over the nodes --------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _legendre() -> tuple[Any, Any, Any]:
    """Nodes, weights, and the matrix from values at the nodes to the first and the last two Legendre coefficients."""
    nodes, weights = gauss_legendre(_NODES)
    return nodes, weights, legendre_coefficients(_NODES)[:, [0, -2, -1]]


class Panels:
    """f, f' and ln f' at the nodes x = centre + std·t of panels, X having its mean at t = tilt; sums over them."""

    def __init__(self, integrand: Any, mean: Any, std: Any, centre: Any, tilt: Any, edges: Any) -> None:
        nodes, weights, _ = _legendre()
        self.integrand, self.mean, self.std, self.centre, self.tilt = integrand, mean, std, centre, tilt
        self.edges = edges
        middle, self.half = 0.5 * (edges[:, 1:] + edges[:, :-1]), 0.5 * (edges[:, 1:] - edges[:, :-1])
        self.t = middle[:, :, None] + self.half[:, :, None] * nodes
        self.lengths = self.half[:, :, None] * weights
        self.density = DENSITY_AT_ZERO * _gaussian(self.t, tilt, _left_of(tilt, mean, std, centre))
        self.x = self._inside(centre[:, None, None] + std[:, None, None] * self.t, middle)
        self.values = self._products(*integrand(self.x))

    @staticmethod
    def _products(value: Any, slope: Any, logarithm: Any) -> list[Any]:
        """f, f², f', f'², and ln f' where it is a function."""
        found = [value, value * value, slope, slope * slope]
        return found if logarithm is None else [*found, logarithm]

    def _inside(self, x: Any, middle: Any) -> Any:
        """x, which rounding may have carried beyond a kink, on the panel's own side of it."""
        for kink in self.integrand.kinks:
            above = (middle > ((kink - self.centre) / self.std)[:, None])[:, :, None]
            low, high = numpy.nextafter(kink, -numpy.inf), numpy.nextafter(kink, numpy.inf)
            x = numpy.where(above, numpy.maximum(x, high), numpy.minimum(x, low))
        return x

    @cached_property
    def weight(self) -> Any:
        """Gauss–Legendre weights times the density."""
        return self.lengths * self.density

    @cached_property
    def _sums(self) -> list[Any]:
        return [_dot(self.weight, g) for g in self.values]

    @cached_property
    def _sizes(self) -> list[Any]:
        """Σ w |g|."""
        return [_dot(self.weight, numpy.abs(g)) for g in self.values]

    @cached_property
    def _remainders(self) -> dict[int, Any]:
        """What each panel leaves of ∫ g phi as a share of ∫ |g| phi, for g = f, f², f', f'², (n, panels).

        Legendre coefficients of an analytic integrand fall like ρ^-k, and Gauss's rule of degree n errs by those
        beyond 2 n: by the square of the last of n coefficients over the first.
        """
        sizes = [numpy.maximum(size, _TINY) for size in self._sizes]
        return {index: self._remainder(self.values[index], sizes[index], index % 2 == 0) for index in range(4)}

    def _remainder(self, g: Any, size: Any, changes_sign: bool) -> Any:
        _, weights, ends = _legendre()
        weighted = g * self.density
        coefficients = numpy.abs(weighted @ ends)
        # of f and f' the mean size takes the place of the first coefficient
        first = numpy.abs(weighted) @ (0.5 * weights) if changes_sign else coefficients[:, :, 0]
        tail = numpy.maximum(coefficients[:, :, 1], coefficients[:, :, 2])
        return numpy.where(first > 0, self.half * tail * (tail / first), 0.0) / size[:, None]

    @cached_property
    def unsettled(self) -> Any:
        """The panels that leave more than 1e-16 of the sums, (n, panels)."""
        left = [self._remainders[index] for index in range(4)]
        if jumps(self.integrand.activation, 0):
            left.append(self._remainder_of_deviations)
        return numpy.maximum.reduce(left) > _SETTLED

    @cached_property
    def _remainder_of_deviations(self) -> Any:
        """As `_remainders`, of (f − E f)²: where f jumps, slopes do not know what the variance is made of."""
        deviations = self._deviations(numpy.arange(self.mean.size))
        square = deviations * deviations
        return self._remainder(square, numpy.maximum(_dot(self.weight, square), _TINY), changes_sign=False)

    def _deviations(self, rows: Any) -> Any:
        """f(x) − E f without cancellation, at the nodes of these rows."""
        increments = self._increments(rows)
        return increments - _dot(self.weight[rows], increments)[:, None, None]

    def moments_and_errors(self, symmetry: int, tilted: Any) -> tuple[Any, Any]:
        """The moments and what they may be off by, relative to themselves, (6, n) each."""
        sums, sizes = list(self._sums), list(self._sizes)
        rows = numpy.flatnonzero(tilted)
        if rows.size:
            # E g = e^{−tilt²/2} E[g(std Z) sinh(tilt Z)] for odd g: f itself, or the slope of an even f
            odd = 0 if symmetry < 0 else 2
            halves = numpy.expm1((-2.0 * self.tilt[rows])[:, None, None] * self.t[rows])
            terms = -0.5 * self.weight[rows] * halves
            sums[odd], sizes[odd] = sums[odd].copy(), sizes[odd].copy()
            sums[odd][rows] = _dot(terms, self.values[odd][rows])
            sizes[odd][rows] = numpy.abs(sums[odd][rows])
        left = [self._remainders[index].sum(1) for index in (0, 1, 2, 3, 1)]
        errors = [
            _relative((left[index] + 2.0 * _EPS) * size, total)
            for index, (size, total) in enumerate(zip(sizes, sums, strict=True))
        ]
        moved = self._moved_by_nodes
        if moved is not None:
            for index, g in enumerate(self.values):
                errors[index] = errors[index] + _relative(_dot(moved, numpy.abs(g)), sums[index])
        for index, moved in self._moved_by_rounding(sums, odd=0 if symmetry < 0 else 2, tilted=tilted):
            errors[index] = errors[index] + moved
        self._by_stein(sums, errors, tilted)
        variance, error_of_variance = self._variance(sums[0])
        sums.insert(2, variance)
        errors.insert(2, error_of_variance + errors[3])
        if len(sums) == 5:
            sums.append(numpy.full_like(variance, self.integrand.logarithm))
            errors.append(numpy.zeros_like(variance))
        found, relative = numpy.stack(sums), numpy.stack(errors) + self._left_at_the_ends
        relative[:5] = numpy.where(numpy.isfinite(found[:5]), relative[:5], numpy.inf)
        return found, numpy.where(numpy.isnan(relative), 0.0, relative)

    @cached_property
    def _moved_by_nodes(self) -> Any:
        """What rounding of the nodes, and of kinks between them, does to the weights in the tails; None if little."""
        far = numpy.abs(self.tilt)
        if not ((far > 1.0).any() or self.integrand.kinks):
            return None
        away = numpy.abs(self.t - self.tilt[:, None, None])
        return _EPS * away * (far[:, None, None] + away) * self.weight

    def _by_stein(self, sums: list[Any], errors: list[Any], tilted: Any) -> None:
        """E f' = E (X − mean) f / std² in place of sums in which the slopes of a bump far from the mean cancel."""
        rows = numpy.flatnonzero(~tilted & (self.tilt != 0.0) & (errors[2] > _SETTLED))
        if not rows.size or jumps(self.integrand.activation, 0):
            return
        far = 1.0 + numpy.abs(self.tilt[rows])
        terms = self.weight[rows] * self.values[0][rows] * (self.t[rows] - self.tilt[rows][:, None, None])
        found, size = terms.sum((1, 2)) / self.std[rows], numpy.abs(terms).sum((1, 2)) / self.std[rows]
        left = (self._remainders[0][rows].sum(1) + 2.0 * _EPS) * size
        left = left + far * errors[0][rows] * numpy.abs(sums[0][rows]) / self.std[rows]
        error = _relative(left, found)
        better = error < errors[2][rows]
        sums[2], errors[2] = sums[2].copy(), errors[2].copy()
        sums[2][rows[better]], errors[2][rows[better]] = found[better], error[better]

    @cached_property
    def _left_at_the_ends(self) -> Any:
        """What the last nodes at either end of the panels hold of the sums: more may lie beyond them."""
        largest = numpy.zeros(self.mean.size)
        for g, size in zip(self.values, self._sizes, strict=True):
            ends = numpy.fmax(*(numpy.abs(g[:, k, k] * self.density[:, k, k]) for k in (0, -1)))
            largest = numpy.fmax(largest, numpy.where(ends > _TINY, ends / size, 0.0))
        return numpy.where(largest > _EPS, largest, 0.0)

    def _variance(self, mean_of_f: Any) -> tuple[Any, Any]:
        """Var f and its relative error by rounding."""
        deviations = self.values[0] - mean_of_f[:, None, None]
        variance = _dot(self.weight * deviations, deviations)
        second = self._sizes[1]
        error = 4.0 * _EPS * numpy.sqrt(second / numpy.maximum(variance, _TINY))
        close = numpy.flatnonzero(variance < 1e-3 * second)
        if close.size:
            # f(x) − f(mean) loses its digits: take the sum of f' from the mean outwards, exact to the last ones
            deviations[close] = self._deviations(close)
            variance[close] = _dot(self.weight[close] * deviations[close], deviations[close])
            # within a panel increments are rounded like the largest slope there
            steepest = numpy.abs(self.values[2][close] * (self.half[close] * self.std[close, None])[:, :, None]).max(2)
            rounded = _EPS * (numpy.abs(self.weight[close] * deviations[close]).sum(2) * steepest).sum(1)
            error[close] = 8.0 * _EPS + _relative(2.0 * rounded, variance[close])
        if self._moved_by_nodes is not None:
            error = error + _relative(_dot(self._moved_by_nodes * deviations, deviations), variance)
        return variance, error

    def _increments(self, rows: Any) -> Any:
        """f(x) less f at the panel end next to the mean, at every node of the given rows."""
        slopes = self.values[2][rows] * (self.half[rows] * self.std[rows, None])[:, :, None]
        matrix = antiderivative(_NODES)
        from_start, to_end = slopes @ matrix, slopes @ matrix[::-1, ::-1]
        panels = slopes @ _legendre()[1]
        right = self.edges[rows, :-1] >= self.tilt[rows, None]
        none = numpy.zeros_like(panels[:, :1])
        before = numpy.cumsum(numpy.where(right, panels, 0.0), 1)
        before = numpy.concatenate([none, before[:, :-1]], 1)[:, :, None]
        after = numpy.cumsum(numpy.where(right, 0.0, panels)[:, ::-1], 1)[:, ::-1]
        after = numpy.concatenate([after[:, 1:], none], 1)[:, :, None]
        increments = numpy.where(right[:, :, None], before + from_start, -(after + to_end))
        for at, jump in jumps(self.integrand.activation, 0):
            place = ((at - self.centre[rows]) / self.std[rows])[:, None, None]
            increments = increments + jump * (1.0 * (self.t[rows] > place))
        return increments

    def _moved_by_rounding(self, sums: list[Any], odd: int, tilted: Any) -> list[tuple[int, Any]]:
        """By how much the sums move, relative, when every x does by a rounding of its own.

        That is much where std, or a length on which f changes, is far below |x|. Sums of the `odd` one of f and f' are
        those of its halves' difference where `tilted`.
        """
        places, lengths = self.integrand.places
        if (lengths < _SHORT * numpy.abs(places))[lengths > 0].any():
            rows = numpy.arange(self.mean.size)
        else:
            # x = centre + std t is rounded like the centre, which moves it on a transition of that length
            away = numpy.abs(places - self.mean[:, None]) < REACH * self.std[:, None]
            short = (away & (lengths > 0) & (lengths < numpy.abs(self.centre)[:, None])).any(1)
            rows = numpy.flatnonzero(short | (self.std < _SHORT * numpy.abs(self.mean)))
        if not rows.size:
            return []
        x = self.x[rows]
        rounding = _EPS * numpy.maximum(numpy.abs(x), numpy.abs(self.centre[rows])[:, None, None])
        moved = numpy.where(x > 0, x + rounding, x - rounding)
        weight = self.weight[rows]
        found = []
        for index, g in enumerate(self._products(*self.integrand(moved))):
            change = numpy.zeros(self.mean.size)
            total = sums[index][rows]
            terms = weight * (g - self.values[index][rows])
            if index == odd:
                halves = -0.5 * numpy.expm1((-2.0 * self.tilt[rows])[:, None, None] * self.t[rows])
                terms = numpy.where(tilted[rows][:, None, None], terms * halves, terms)
            change[rows] = _relative(_MOVED * numpy.sqrt(_dot(terms, terms)), total)
            found.append((index, change))
        return found


def _left_of(tilt: Any, mean: Any, std: Any, centre: Any) -> Any:
    """(mean − centre)/std − tilt, which rounding has left."""
    difference, product = Twofold.sum(mean, -centre), Twofold.product(tilt, std)
    left = ((difference.high - product.high) + (difference.low - product.low)) / std
    return numpy.where(numpy.isfinite(left), left, 0.0)


def _gaussian(t: Any, tilt: Any, left: Any) -> Any:
    """e^{−d²/2}, d = t − (tilt + left): of d² = 1,000, too, to a few units in the last place."""
    apart = Twofold.sum(t, -tilt[:, None, None])
    square = Twofold.product(apart.high, apart.high)
    rest = -0.5 * square.low - apart.high * (apart.low - left[:, None, None])
    return numpy.exp(-0.5 * square.high) * (1.0 + rest)


def _dot(a: Any, b: Any) -> Any:
    """Σ a b over panels and nodes, (n,)."""
    return numpy.einsum("npk,npk->n", a, b)


def _relative(error: Any, value: Any) -> Any:
    """error/|value|; 0 where both lie below the normal numbers."""
    return numpy.where(error <= _TINY, 0.0, error / numpy.maximum(numpy.abs(value), _TINY))
