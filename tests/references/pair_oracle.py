"""References for pairs (U, V) of Gaussian variables, by routes that share nothing with the package or each other.

`certified`: Arb balls from `acb.integral` of the one-dimensional reduction `f(U) E[f(V) | U]`, f by exact pieces.
`polar_expectation`: mpmath's two-dimensional integral in polar coordinates around the kinks' corner.
`price_covariance`: K3 on top of certified E[f'f'].
`mehler_expectation`: K4, `Σ a_k(u) a_k(v) rho^k` with a bound on what is left out.
`arc_cosine`: Cho and Saul, NIPS 2009, for ReLU at zero mean.
`smooth_expectation`: smooth activations by the two-dimensional trapezoidal rule, which converges exponentially.
The correlation is that of the doubles handed in: `covariance / sqrt(variance_u variance_v)`, formed exactly.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import mpmath
import numpy as np
from flint import acb, arb, ctx
from scipy.special import expit, ndtr

from tests.references.oracle import NEGLIGIBLE, Piece, exact, precision

WANTED_BITS = 56


@dataclass(frozen=True)
class Pair:
    """The five numbers of one pair, in the order of the package's arguments: doubles, or balls."""

    variance_u: float | arb
    variance_v: float | arb
    covariance: float | arb
    mean_u: float | arb = 0.0
    mean_v: float | arb = 0.0

    @property
    def arguments(self) -> tuple[float | arb, ...]:
        return self.variance_u, self.variance_v, self.covariance, self.mean_u, self.mean_v

    @property
    def swapped(self) -> "Pair":
        return Pair(self.variance_v, self.variance_u, self.covariance, self.mean_v, self.mean_u)


@dataclass(frozen=True)
class Angles:
    """A pair as the integrals use it, in balls at the current precision; the signed correlation is `cosine`."""

    mean_u: arb
    mean_v: arb
    std_u: arb
    std_v: arb
    cosine: arb
    sine: arb


def angles(pair: Pair) -> Angles:
    """|covariance| beyond `sqrt(variance_u variance_v)` counts as rounding here: correlation ±1."""
    u, v, c = arb(pair.variance_u), arb(pair.variance_v), arb(pair.covariance)
    rest = u * v - c * c  # exact at the precisions used
    if not rest > 0:
        cosine, sine = arb(1 if pair.covariance > 0 else -1), arb(0)
    else:
        cosine, sine = c / (u * v).sqrt(), (rest / (u * v)).sqrt()
    return Angles(arb(pair.mean_u), arb(pair.mean_v), u.sqrt(), v.sqrt(), cosine, sine)


# --- certified: the one-dimensional reduction ----------------------------------------------------------------------


def certified(f: tuple[Piece, ...], quantity: str, pair: Pair, bits: int = WANTED_BITS) -> arb:
    """E f(U) f(V) ("value"), E f'(U) f'(V) ("slope") or Cov(f(U), f(V)) ("covariance", by subtraction).

    With relative radius 2^-bits (or below 2^-1100): the precision is raised until it is.
    """
    if quantity == "covariance" and (pair.covariance == 0 or pair.variance_u == 0 or pair.variance_v == 0):
        return arb(0)
    precision_bits = 128
    while True:
        with precision(precision_bits):
            result = quantity_at(f, quantity, angles(pair))
            if result == 0 or result.rel_accuracy_bits() >= bits or abs(result) < NEGLIGIBLE:
                return result
        precision_bits *= 2
        assert precision_bits < 10000, "the reference does not converge"


def allowance(f: tuple[Piece, ...], quantity: str, pair: Pair) -> arb:
    """The effect of relative perturbations of size 1 of means, stds, cosine and angle, added up: difference quotients.

    Of "value" (E f(U) f(V)), "slope" (E f'(U) f'(V)) or "covariance". Multiplied by 2^-52 it is what one rounding of
    each of them can do.
    """
    with precision(320):
        at, h = angles(pair), arb(2) ** -60
        moved = [replace(at, **{name: getattr(at, name) * (1 + h)}) for name in ("mean_u", "mean_v", "std_u", "std_v")]
        angle = h * min(at.sine, abs(at.cosine))
        moved.append(replace(at, cosine=at.cosine - angle * at.sine, sine=at.sine + angle * at.cosine))
        value = quantity_at(f, quantity, at)
        return sum((abs((quantity_at(f, quantity, nearby) - value) / h) for nearby in moved), arb(0))


def gradient(f: tuple[Piece, ...], quantity: str, pair: Pair) -> tuple[arb, ...]:
    """By variance_u, variance_v, covariance, mean_u, mean_v: central difference quotients.

    Good to about 1e-15, next to correlation 1 to 1e-26 (1 − |rho|)^(−5/2).
    """
    steps = ("variance_u", "variance_v", "covariance", "mean_u", "mean_v")
    with precision(200):
        h = arb(2) ** -44
        exact = replace(pair, **{name: arb(getattr(pair, name)) for name in steps})

        def slope(name: str) -> arb:
            up, down = (replace(exact, **{name: getattr(exact, name) + step}) for step in (h, -h))
            return (quantity_at(f, quantity, angles(up)) - quantity_at(f, quantity, angles(down))) / (2 * h)

        if pair == pair.swapped:
            by_variance, by_covariance, by_mean = (slope(name) for name in ("variance_u", "covariance", "mean_u"))
            return by_variance, by_variance, by_covariance, by_mean, by_mean
        return tuple(slope(name) for name in steps)


def quantity_at(f: tuple[Piece, ...], quantity: str, at: Angles) -> arb:
    """ "value", "slope" or "covariance", at the current precision."""
    if quantity != "covariance":
        return expectation_at(f, int(quantity == "slope"), at)
    first, second = _shifted(f, at.mean_u), _shifted(f, at.mean_v)
    means = mean_at(first, at.mean_u, at.std_u) * mean_at(second, at.mean_v, at.std_v)
    return expectation_at(first, 0, at, second) - means


def _shifted(f: tuple[Piece, ...], x: arb) -> tuple[Piece, ...]:
    """f − f(x), but for rounding: changes no covariance, and less cancels in it."""
    value = exact(float(_value(_piece_at(f, x), 0, x).mid()))
    return tuple(replace(piece, a=piece.a - value) for piece in f)


def _upper_tail(z: arb | acb) -> arb | acb:
    return (z / arb(2).sqrt()).erfc() / 2


def _density(z: arb | acb) -> arb | acb:
    return (-z * z / 2).exp() / (2 * arb.pi()).sqrt()


def _value(piece: Piece, order: int, x: arb | acb) -> arb | acb:
    a, b, c, k = (arb(number) for number in (piece.a, piece.b, piece.c, piece.k))
    tilt = (k * x).exp() if piece.c != 0 else arb(0)
    return b + c * k * tilt if order else a + b * x + c * tilt


def _mass(piece: Piece, centre: arb | acb, std: arb) -> arb | acb:
    if piece.lower is None and piece.upper is None:
        return arb(1)
    if piece.lower is None:
        return _upper_tail((centre - arb(piece.upper)) / std)
    low = _upper_tail((arb(piece.lower) - centre) / std)
    return low if piece.upper is None else low - _upper_tail((arb(piece.upper) - centre) / std)


def _partial_mean(piece: Piece, order: int, mean: arb | acb, std: arb) -> arb | acb:
    """E[f^(order)(Y); lower < Y < upper], Y ~ N(mean, std²)."""
    a, b, c, k = (arb(number) for number in (piece.a, piece.b, piece.c, piece.k))
    total = arb(0)
    if piece.b != 0 or (not order and piece.a != 0):
        mass = _mass(piece, mean, std)
        total += b * mass if order else (a + b * mean) * mass
    if piece.b != 0 and not order:
        ends = [arb(0) if end is None else _density((arb(end) - mean) / std) for end in (piece.lower, piece.upper)]
        total += b * std * (ends[0] - ends[1])
    if piece.c != 0:
        total += c * (k if order else 1) * _tilted_mass(piece, mean, std)
    return total


def _tilted_mass(piece: Piece, mean: arb | acb, std: arb) -> arb | acb:
    """E[e^{kY}; lower < Y < upper] by M1, far above a half-line e^{k upper − z²/2} erfcx(w)/2.

    There the tilted form is a huge number times a tiny one, of which no ball of some width knows anything.
    """
    k = arb(piece.k)
    if piece.lower is None and piece.upper is not None:
        end = arb(piece.upper)
        w = (mean + k * std * std - end) / (std * arb(2).sqrt())
        if (w.real if isinstance(w, acb) else w) > 8:
            square = acb(w * w)
            scaled = square.hypgeom_u(acb(0.5), acb(0.5)) / arb.pi().sqrt()
            z = (mean - end) / std
            result = (k * end - z * z / 2).exp() * scaled / 2
            return result if isinstance(mean, acb) else result.real
    return (k * mean + k * k * std * std / 2).exp() * _mass(piece, mean + k * std * std, std)


def mean_at(f: tuple[Piece, ...], mean: arb, std: arb, order: int = 0) -> arb:
    if std == 0:
        return _value(_piece_at(f, mean), order, mean)
    return sum((_partial_mean(piece, order, mean, std) for piece in f), arb(0))


def expectation_at(f: tuple[Piece, ...], order: int, at: Angles, g: tuple[Piece, ...] = ()) -> arb:
    """E f^(order)(U) g^(order)(V), g with the kinks of f (f if not given), as a ball, at the current precision."""
    g = g or f
    if at.std_u == 0 or at.std_v == 0:
        return mean_at(f, at.mean_u, at.std_u, order) * mean_at(g, at.mean_v, at.std_v, order)
    bits = ctx.prec // 2
    cut = (2 * bits * arb(2).log()).sqrt() + 4
    while True:
        total = sum((_integral(order, at, *cell, bits) for cell in _cells(f, g, at, cut)), arb(0))
        tail = _tail(f, g, order, at, cut)
        if tail < abs(total) * arb(2) ** -bits or tail < NEGLIGIBLE:
            return total + arb(0, tail.upper())
        cut *= 2


def _cells(
    f: tuple[Piece, ...], g: tuple[Piece, ...], at: Angles, cut: arb
) -> Iterator[tuple[arb, arb, Piece, tuple[Piece, ...]]]:
    """Intervals of the standardised U: what f is there, and the pieces V | U can be in."""
    points = [(arb(piece.upper) - at.mean_u) / at.std_u for piece in f[:-1]]
    if at.sine == 0:
        points += [(arb(piece.upper) - at.mean_v) / (at.std_v * at.cosine) for piece in f[:-1]]
    points += [arb(0), *_turns(f, g, at)]
    inside = sorted((x for x in points if -cut < x < cut), key=lambda x: x.mid())
    for low, high in pairwise([-cut, *inside, cut]):
        if not low < high:
            continue
        middle = (low + high) / 2
        second = (_piece_at(g, at.mean_v + at.std_v * at.cosine * middle),) if at.sine == 0 else g
        yield low, high, _piece_at(f, at.mean_u + at.std_u * middle), second


def _turns(f: tuple[Piece, ...], g: tuple[Piece, ...], at: Angles) -> Iterator[arb]:
    """Where the integrand turns over a length that may be short: bisection finds these too, but takes its time."""
    for pieces, mean, std in ((f, at.mean_u, at.std_u), (g, at.mean_v, at.std_v * at.cosine)):
        for piece in pieces[:-1] if std != 0 else ():
            kink = (arb(piece.upper) - mean) / std
            if pieces is g and at.sine > 0:
                width = at.sine / at.cosine
                yield from (kink + step * width for step in (-12, 12))
            if piece.c != 0:
                length = 1 / (arb(piece.k) * std)
                yield from (kink - step * length for step in (5, 60))


def _piece_at(f: tuple[Piece, ...], x: arb) -> Piece:
    """At a kink the piece on the left, as the package has it."""
    return next(piece for piece in f if piece.upper is None or x <= arb(piece.upper))


def _integral(
    order: int,
    at: Angles,
    low: arb,
    high: arb,
    first: Piece,
    second: tuple[Piece, ...],
    bits: int,
) -> arb:
    if order == 1 and first.b == 0 and first.c == 0:
        return arb(0)

    def integrand(x: acb, _: bool) -> acb:
        v = at.mean_v + at.std_v * at.cosine * x
        if at.sine == 0:
            inner = _value(second[0], order, v)
        else:
            inner = sum((_partial_mean(piece, order, v, at.std_v * at.sine) for piece in second), arb(0))
        return acb(_value(first, order, at.mean_u + at.std_u * x) * inner * _density(x))

    return acb.integral(integrand, low, high, rel_tol=arb(2) ** -bits, abs_tol=arb(2) ** -1300, eval_limit=10**6).real


def _tail(f: tuple[Piece, ...], g: tuple[Piece, ...], order: int, at: Angles, cut: arb) -> arb:
    """A bound on `E |…|; |Z_u| > cut`: Cauchy and Schwarz, `|f^(order)(x)| <= a + b |x|`, (a + b)² <= 2a² + 2b²."""
    (a, b), (c, d) = _growth(f, order), _growth(g, order)
    a, b, c, d = a + b * abs(at.mean_u), b * at.std_u, c + d * abs(at.mean_v), d * at.std_v
    beyond = 4 * (a * a + b * b) * _upper_tail(cut) + 4 * b * b * cut * _density(cut)
    return (beyond * 2 * (c * c + d * d)).sqrt()


def _growth(f: tuple[Piece, ...], order: int) -> tuple[arb, arb]:
    slope = max((abs(arb(p.b)) + abs(arb(p.c * p.k)) for p in f), key=lambda x: x.mid())
    return (slope, arb(0)) if order else (sum((abs(arb(p.a)) + abs(arb(p.c)) for p in f), arb(0)), slope)


# --- independent routes --------------------------------------------------------------------------------------------


def polar_expectation(f: tuple[Piece, ...], order: int, pair: Pair) -> mpmath.mpf:
    """The integral of f(u) f(v) against the joint density, in polar coordinates around the corner of the kinks.

    For f of two pieces with one kink: in these coordinates every sector's integrand is analytic. Good to 13 digits.
    """
    left, right = f
    with mpmath.workdps(60):
        su, sv = mpmath.sqrt(pair.variance_u), mpmath.sqrt(pair.variance_v)
        rho = pair.covariance / (su * sv)
        q = mpmath.sqrt(1 - rho**2)
    with mpmath.workdps(20):
        kink = _rational(left.upper)
        x0 = (kink - pair.mean_u) / su
        y0 = ((kink - pair.mean_v) / sv - rho * x0) / q

        def value(piece: Piece, x: mpmath.mpf) -> mpmath.mpf:
            a, b, c, k = (_rational(number) for number in (piece.a, piece.b, piece.c, piece.k))
            tilt = c * mpmath.exp(k * x) if c else c
            return b + k * tilt if order else a + b * x + tilt

        def sector(angle: mpmath.mpf, first: Piece, second: Piece) -> mpmath.mpf:
            cosine, sine = mpmath.cos_sin(angle)
            mixed = rho * cosine + q * sine

            def along_ray(r: mpmath.mpf) -> mpmath.mpf:
                square = (x0 + r * cosine) ** 2 + (y0 + r * sine) ** 2
                u, v = kink + su * r * cosine, kink + sv * r * mixed
                return value(first, u) * value(second, v) * mpmath.exp(-square / 2) * r

            nearest = -(x0 * cosine + y0 * sine)
            ends = sorted({max(mpmath.mpf(0), nearest + step) for step in (-9, -4.5, 0, 4.5, 9)})
            return sum((_gauss_legendre(along_ray, a, b) for a, b in pairwise([mpmath.mpf(0), *ends])), mpmath.mpf(0))

        turn = mpmath.atan2(-rho, q)  # V = kink at this angle and half a turn later
        edges = sorted(edge % (2 * mpmath.pi) for edge in (mpmath.pi / 2, -mpmath.pi / 2, turn, turn + mpmath.pi))
        edges.append(edges[0] + 2 * mpmath.pi)
        total = mpmath.mpf(0)
        for start, stop in pairwise(edges):
            cosine, sine = mpmath.cos_sin((start + stop) / 2)
            first, second = (right if cosine > 0 else left), (right if rho * cosine + q * sine > 0 else left)
            for a, b in pairwise(mpmath.linspace(start, stop, 3)):
                total += _gauss_legendre(lambda t, f=first, s=second: sector(t, f, s), a, b)
        return total / (2 * mpmath.pi)


def price_covariance(f: tuple[Piece, ...], pair: Pair) -> mpmath.mpf:
    """K3, `s_u s_v ∫_0^{asin rho} E[f'f']_{sin t} cos t dt`, of certified E[f'f']; 20 digits for |rho| <= 0.9."""
    with mpmath.workdps(30), precision(200):
        at = angles(pair)

        def integrand(t: mpmath.mpf) -> mpmath.mpf:
            cosine, sine = arb(str(mpmath.sin(t))), arb(str(mpmath.cos(t)))
            return mpmath.mpf(expectation_at(f, 1, replace(at, cosine=cosine, sine=sine)).str(30, radius=False)) * (
                mpmath.cos(t)
            )

        end = mpmath.asin(mpmath.mpf(at.cosine.str(30, radius=False)))
        scale = mpmath.mpf((at.std_u * at.std_v).str(30, radius=False))
        return scale * _gauss_legendre(integrand, mpmath.mpf(0), end)


def _gauss_legendre(function: Callable[[mpmath.mpf], mpmath.mpf], start: mpmath.mpf, stop: mpmath.mpf) -> mpmath.mpf:
    """24 nodes."""
    if not start < stop and not stop < start:
        return mpmath.mpf(0)
    half, middle = (stop - start) / 2, (start + stop) / 2
    nodes = _gauss_legendre_nodes()
    return half * mpmath.fsum(weight * function(middle + half * node) for node, weight in nodes)


@cache
def _gauss_legendre_nodes() -> list[tuple[mpmath.mpf, mpmath.mpf]]:
    with mpmath.workdps(40):
        return mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(4, 130)


def _rational(number: object) -> mpmath.mpf:
    return mpmath.mpf(int(number.p)) / int(number.q)


def mehler_expectation(f: tuple[Piece, ...], order: int, pair: Pair, terms: int = 60) -> tuple[mpmath.mpf, mpmath.mpf]:
    """`Σ_{k < terms} a_k(u) a_k(v) rho^k` and a bound on the rest, `|rho|^terms sqrt(E g(U)² E g(V)²)` (K4).

    `a_k = E[g(m + s Z) He_k(Z)]/sqrt(k!)`, g = f^(order), from the integrals of `Z^k` and `e^{cZ} Z^k` over the
    pieces by their recursion, with 80 digits.
    """
    with mpmath.workdps(80):
        su, sv = mpmath.sqrt(pair.variance_u), mpmath.sqrt(pair.variance_v)
        rho = pair.covariance / (su * sv)
        first = _hermite_coefficients(f, order, mpmath.mpf(pair.mean_u), su, terms)
        second = _hermite_coefficients(f, order, mpmath.mpf(pair.mean_v), sv, terms)
        total = mpmath.fsum(a * b * rho**k for k, (a, b) in enumerate(zip(first, second, strict=True)))
        scale = mpmath.mpf(1)
        for mean, std in ((pair.mean_u, su), (pair.mean_v, sv)):
            scale *= _second_moment(f, order, mpmath.mpf(mean), std)
        return total, abs(rho) ** terms * mpmath.sqrt(scale)


def _second_moment(f: tuple[Piece, ...], order: int, mean: mpmath.mpf, std: mpmath.mpf) -> mpmath.mpf:
    total = mpmath.mpf(0)
    for piece in f:
        low, high = _standardised(piece, mean, std)
        a, b, c, k = (_rational(number) for number in (piece.a, piece.b, piece.c, piece.k))
        if order:
            a, b, c = b, mpmath.mpf(0), c * k
        a, b = a + b * mean, b * std
        plain = _moments_between(low, high, mpmath.mpf(0), 3)
        once = _moments_between(low, high, k * std, 2)
        twice = _moments_between(low, high, 2 * k * std, 1)
        tilt = mpmath.exp(k * mean)
        total += a * a * plain[0] + 2 * a * b * plain[1] + b * b * plain[2]
        total += 2 * c * tilt * (a * once[0] + b * once[1]) + (c * tilt) ** 2 * twice[0]
    return total


def _standardised(piece: Piece, mean: mpmath.mpf, std: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
    low = -mpmath.inf if piece.lower is None else (_rational(piece.lower) - mean) / std
    high = mpmath.inf if piece.upper is None else (_rational(piece.upper) - mean) / std
    return low, high


def _moments_between(low: mpmath.mpf, high: mpmath.mpf, tilt: mpmath.mpf, count: int) -> list[mpmath.mpf]:
    """E[Z^k e^{tilt Z}; low < Z < high], k < count: by `Z phi = −phi'` and one integration by parts a step."""
    weight = mpmath.exp(tilt**2 / 2)
    edge = lambda z, k: mpmath.mpf(0) if mpmath.isinf(z) else z**k * mpmath.exp(tilt * z) * mpmath.npdf(z)  # noqa: E731
    moments = [weight * (mpmath.ncdf(high - tilt) - mpmath.ncdf(low - tilt))]
    for k in range(count - 1):
        step = tilt * moments[k] + edge(low, k) - edge(high, k)
        moments.append(step + k * moments[k - 1] if k else step)
    return moments


def _hermite_coefficients(
    f: tuple[Piece, ...], order: int, mean: mpmath.mpf, std: mpmath.mpf, terms: int
) -> list[mpmath.mpf]:
    """E[g(mean + std Z) He_k(Z)]/sqrt(k!), by `He_{k+1} = Z He_k − k He_{k−1}` on the moments."""
    powers = [mpmath.mpf(0)] * terms
    for piece in f:
        low, high = _standardised(piece, mean, std)
        a, b, c, k = (_rational(number) for number in (piece.a, piece.b, piece.c, piece.k))
        if order:
            a, b, c = b, mpmath.mpf(0), c * k
        plain = _moments_between(low, high, mpmath.mpf(0), terms + 1)
        tilted = _moments_between(low, high, k * std, terms)
        tilt = c * mpmath.exp(k * mean)
        for n in range(terms):
            powers[n] += (a + b * mean) * plain[n] + b * std * plain[n + 1] + tilt * tilted[n]
    coefficients, before, polynomial = [], [], [1]
    for n in range(terms):
        total = mpmath.fsum(weight * power for weight, power in zip(polynomial, powers, strict=False))
        coefficients.append(total / mpmath.sqrt(mpmath.factorial(n)))
        following = [0, *polynomial]
        for i, weight in enumerate(before):
            following[i] -= n * weight
        before, polynomial = polynomial, following
    return coefficients


def arc_cosine(order: int, pair: Pair) -> mpmath.mpf:
    """ReLU at zero mean: `s_u s_v (sin t + (pi − t) cos t)/(2 pi)` and `(pi − t)/(2 pi)`, t the angle."""
    with mpmath.workdps(50):
        product = mpmath.sqrt(mpmath.mpf(pair.variance_u) * pair.variance_v)
        angle = mpmath.acos(mpmath.mpf(pair.covariance) / product)
        if order:
            return (mpmath.pi - angle) / (2 * mpmath.pi)
        return product * (mpmath.sin(angle) + (mpmath.pi - angle) * mpmath.cos(angle)) / (2 * mpmath.pi)


# --- smooth activations --------------------------------------------------------------------------------------------


def _slope_of_tanh(x: np.ndarray) -> np.ndarray:
    return 4 * expit(2 * x) * expit(-2 * x)


def _rise_of_tanh(x: float, step: np.ndarray) -> np.ndarray:
    return np.sinh(step) / (np.cosh(x) * np.cosh(x + step))


def _rise_of_logistic(x: float, step: np.ndarray) -> np.ndarray:
    return _rise_of_tanh(x / 2, step / 2) / 2


def _rise_of_normal_distribution(x: float, step: np.ndarray) -> np.ndarray:
    return ndtr(-x) - ndtr(-x - step) if x > 0 else ndtr(x + step) - ndtr(x)


def _normal_density(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


@dataclass(frozen=True)
class Smooth:
    """An activation by hand: f, f', `rise(x, step) = f(x + step) − f(x)` without cancellation; its nearest pole."""

    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    rise: Callable[[float, np.ndarray], np.ndarray]
    pole: float | None  # distance from the real axis; None: entire, growing like `e^{y²/2}`


SMOOTH = {
    "tanh": Smooth(np.tanh, _slope_of_tanh, _rise_of_tanh, np.pi / 2),
    "logistic": Smooth(expit, lambda x: expit(x) * expit(-x), _rise_of_logistic, np.pi),
    "softplus": Smooth(lambda x: np.logaddexp(0, x), expit, lambda x, step: np.log1p(np.expm1(step) * expit(x)), np.pi),
    "silu": Smooth(
        lambda x: x * expit(x),
        lambda x: expit(x) * (1 + x * expit(-x)),
        lambda x, step: step * expit(x + step) + x * _rise_of_logistic(x, step),
        np.pi,
    ),
    "gelu": Smooth(
        lambda x: x * ndtr(x),
        lambda x: ndtr(x) + x * _normal_density(x),
        lambda x, step: step * ndtr(x + step) + x * _rise_of_normal_distribution(x, step),
        None,
    ),
}


def smooth_expectation(f: Smooth, quantity: str, pair: Pair, refinement: float = 1.0) -> tuple[float, float]:
    """E f(U) f(V) ("value"), E f'(U) f'(V) ("slope") or Cov(f(U), f(V)) ("covariance"), and its scale.

    The scale is `sqrt(E g(U)² E g(V)²)`, of the covariance `sqrt(Var Var)`.

    The trapezoidal rule in both standardised variables, its step from the strip in which the integrand is analytic.
    Good to about 1e-15 of the scale; a smaller step (`refinement`) must give the same.
    """
    with precision(300):
        at = angles(pair)
        m1, m2, s1, s2, cosine, sine = (
            float(x) for x in (at.mean_u, at.mean_v, at.std_u, at.std_v, at.cosine, at.sine)
        )
    if f.pole is None:
        step = 2 * np.pi / np.sqrt(84 * (1 + s1 * s1 + s2 * s2))
    else:
        step = 2 * np.pi * f.pole / (max(s1, s2) * 48)
    step = min(step, 0.25) / refinement
    z = step * np.arange(-round(15 / step), round(15 / step) + 1)
    weight = step * _normal_density(z)
    x, y = s1 * z[:, None], s2 * (cosine * z[:, None] + sine * z)
    if quantity == "covariance":
        u, v = f.rise(m1, x), f.rise(m2, y)
    else:
        g = f.value if quantity == "value" else f.slope
        u, v = g(m1 + x), g(m2 + y)

    def mean(values: np.ndarray) -> float:
        return float(np.sum(weight[:, None] * weight * values))

    total, squares = mean(u * v), (mean(u * u), mean(v * v))
    if quantity == "covariance":
        means = mean(u), mean(v)
        total -= means[0] * means[1]
        squares = tuple(square - first * first for square, first in zip(squares, means, strict=True))
    return total, float(np.sqrt(squares[0] * squares[1]))
