"""Certified moments and pair expectations of functions without closed forms: Arb integrals, for pairs one in another.

Every function is written down by hand, f and f' on each of its pieces, as what Arb evaluates on complex balls; nothing
is shared with the package. Integrals are over z of a standard normal variable, from −46 (pairs: 11) to 46, or 60 where
a mean is far out; what lies beyond is below 1e-26 of the root mean squares.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from flint import acb, arb, fmpq

from tests.references.pair_oracle import Angles

Piece = Callable[[acb, bool], acb]
"""x, and whether the value must be that of an analytic function on the whole ball, or not finite."""

NOT_ANALYTIC = acb(arb("nan"), arb("nan"))
BITS = 47  # of the root mean squares' product


@dataclass(frozen=True)
class Function:
    """The pieces of f and f' between `ends`; `places` are where f changes, and on what lengths (0: a kink)."""

    ends: tuple[fmpq, ...]
    f: tuple[Piece, ...]
    slope: tuple[Piece, ...]
    places: tuple[tuple[float, float], ...] = ()

    @property
    def jumps(self) -> bool:
        """Whether f is not continuous: then f' is not what its pieces say."""
        return any(
            abs(left(acb(arb(end)), False) - right(acb(arb(end)), False)) > 1e-9
            for end, left, right in zip(self.ends, self.f, self.f[1:], strict=False)
        )


def smooth(f: Callable[[acb], acb], slope: Callable[[acb], acb], *places: tuple[float, float]) -> Function:
    """Of one piece."""
    return Function((), (lambda x, _: f(x),), (lambda x, _: slope(x),), places)


def pieces(*parts: tuple[object, Piece, Piece], places: tuple[tuple[float, float], ...] = ()) -> Function:
    """Of (upper end, f, f'), the last end None."""
    ends = tuple(fmpq(*end) if isinstance(end, tuple) else fmpq(end) for end, _, _ in parts[:-1])  # type: ignore[arg-type]
    kinks = tuple((float(end.p) / float(end.q), 0.0) for end in ends)
    return Function(ends, tuple(part[1] for part in parts), tuple(part[2] for part in parts), kinks + places)


# --- functions that do not overflow on wide balls ------------------------------------------------------------------


def _sides(x: acb, below: Callable[[acb], acb], above: Callable[[acb], acb], width: float) -> acb:
    """Of two formulas for Re x < 0 and > 0, which agree where |Im x| < width, the one for the ball's side."""
    if x.real > 0:
        return above(x)
    if x.real < 0:
        return below(x)
    return (above if x.real.mid() > 0 else below)(x) if abs(x.imag) < width else NOT_ANALYTIC


def logistic(x: acb) -> acb:
    return _sides(x, lambda x: x.exp() / (1 + x.exp()), lambda x: 1 / (1 + (-x).exp()), 3.0)


def logistic_slope(x: acb) -> acb:
    return _sides(x, lambda x: x.exp() / (1 + x.exp()) ** 2, lambda x: (-x).exp() / (1 + (-x).exp()) ** 2, 3.0)


def tanh(x: acb) -> acb:
    def above(x: acb) -> acb:
        decay = (-2 * x).exp()
        return (1 - decay) / (1 + decay)

    return _sides(x, lambda x: -above(-x), above, 1.5)


def tanh_slope(x: acb) -> acb:
    return 4 * logistic_slope(2 * x)


def log1p(x: acb, analytic: bool) -> acb:
    return NOT_ANALYTIC if analytic and not 1 + x.real > 0 else x.log1p()


def softplus(x: acb, analytic: bool) -> acb:
    return _sides(x, lambda x: log1p(x.exp(), analytic), lambda x: x + log1p((-x).exp(), analytic), 3.0)


def tanh_of_softplus(x: acb) -> acb:
    def below(x: acb) -> acb:
        growth = x.exp() * (x.exp() + 2)
        return growth / (growth + 2)

    def above(x: acb) -> acb:
        decay = (-x).exp()
        return (1 + 2 * decay) / (1 + 2 * decay + 2 * decay * decay)

    return _sides(x, below, above, 1.5)


def tanh_of_softplus_slope(x: acb) -> acb:
    def below(x: acb) -> acb:
        growth = x.exp()
        return 4 * growth * (growth + 1) / (growth * (growth + 2) + 2) ** 2

    def above(x: acb) -> acb:
        decay = (-x).exp()
        return 4 * decay * decay * (1 + decay) / (1 + 2 * decay + 2 * decay * decay) ** 2

    return _sides(x, below, above, 1.5)


def density(x: acb) -> acb:
    return (-x * x / 2).exp() / (2 * acb.pi()).sqrt()


def distribution(x: acb) -> acb:
    return (-x / acb(2).sqrt()).erfc() / 2


def erf_slope(x: acb) -> acb:
    return 2 * (-x * x).exp() / acb.pi().sqrt()


def _gelu_argument(x: acb) -> acb:
    return 2 * (2 / acb.pi()).sqrt() * (x + arb("0.044715") * x**3)


def _gelu_tanh_slope(x: acb) -> acb:
    rate = 2 * (2 / acb.pi()).sqrt() * (1 + 3 * arb("0.044715") * x * x)
    return logistic(_gelu_argument(x)) + x * logistic_slope(_gelu_argument(x)) * rate


def _quick(x: acb) -> acb:
    return arb("1.702") * x


# --- the registry, and users' own ------------------------------------------------------------------------------------


def _line(slope: object, intercept: object = 0) -> tuple[Piece, Piece]:
    return (lambda x, _: slope * x + intercept), (lambda x, _: acb(slope))


def _exponential(amplitude: Callable[[], arb]) -> tuple[Piece, Piece]:
    return (lambda x, _: amplitude() * (x.exp() - 1)), (lambda x, _: amplitude() * x.exp())


_IDENTITY, _NOTHING = _line(1), _line(0)
_SELU_SCALE = fmpq(10507009873554804934193349852946, 10**31)
_SELU_ALPHA = fmpq(16732632423543772848170429916717, 10**31)
_AT_0 = ((0.0, 1.0),)

FUNCTIONS: dict[str, Function] = {
    "identity": Function((), (_IDENTITY[0],), (_IDENTITY[1],)),
    "relu": pieces((0, *_NOTHING), (None, *_IDENTITY)),
    "leaky_relu": pieces((0, *_line(fmpq(1, 100))), (None, *_IDENTITY)),
    "shifted_relu": pieces((-1, *_line(0, -1)), (None, *_IDENTITY)),
    "elu": pieces((0, *_exponential(lambda: arb(1))), (None, *_IDENTITY), places=_AT_0),
    "celu": pieces((0, *_exponential(lambda: arb(1))), (None, *_IDENTITY), places=_AT_0),
    "selu": pieces(
        (0, *_exponential(lambda: arb(_SELU_SCALE * _SELU_ALPHA))), (None, *_line(_SELU_SCALE)), places=_AT_0
    ),
    "hard_tanh": pieces((-1, *_line(0, -1)), (1, *_IDENTITY), (None, *_line(0, 1))),
    "relu6": pieces((0, *_NOTHING), (6, *_IDENTITY), (None, *_line(0, 6))),
    "prelu": pieces((0, *_line(fmpq(1, 4))), (None, *_IDENTITY)),
    "squared_relu": pieces((0, *_NOTHING), (None, lambda x, _: x * x, lambda x, _: 2 * x)),
    "hard_sigmoid": pieces((-3, *_NOTHING), (3, *_line(fmpq(1, 6), fmpq(1, 2))), (None, *_line(0, 1))),
    "hard_swish": pieces(
        (-3, *_NOTHING), (3, lambda x, _: x * (x + 3) / 6, lambda x, _: (2 * x + 3) / 6), (None, *_IDENTITY)
    ),
    "tanh": smooth(tanh, tanh_slope, *_AT_0),
    "logistic": smooth(logistic, logistic_slope, *_AT_0),
    "softplus": Function((), (softplus,), (lambda x, _: logistic(x),), _AT_0),
    "silu": smooth(lambda x: x * logistic(x), lambda x: logistic(x) + x * logistic_slope(x), *_AT_0),
    "mish": smooth(
        lambda x: x * tanh_of_softplus(x), lambda x: tanh_of_softplus(x) + x * tanh_of_softplus_slope(x), *_AT_0
    ),
    "gelu": smooth(lambda x: x * distribution(x), lambda x: distribution(x) + x * density(x), *_AT_0),
    "gelu_tanh": smooth(lambda x: x * logistic(_gelu_argument(x)), _gelu_tanh_slope, *_AT_0),
    "quick_gelu": smooth(
        lambda x: x * logistic(_quick(x)),
        lambda x: logistic(_quick(x)) + _quick(x) * logistic_slope(_quick(x)),
        (0.0, 0.6),
    ),
    "erf": smooth(lambda x: x.erf(), erf_slope, (0.0, 0.7)),
    "sin": smooth(lambda x: x.sin(), lambda x: x.cos()),
    "cos": smooth(lambda x: x.cos(), lambda x: -x.sin()),
    "x*exp(-x**2)": smooth(lambda x: x * (-x * x).exp(), lambda x: (1 - 2 * x * x) * (-x * x).exp(), (0.0, 0.7)),
    "where(x>0, x**2, sin(x))": pieces(
        (0, lambda x, _: x.sin(), lambda x, _: x.cos()), (None, lambda x, _: x * x, lambda x, _: 2 * x)
    ),
    "tanh(3*x-1)": smooth(lambda x: tanh(3 * x - 1), lambda x: 3 * tanh_slope(3 * x - 1), (1 / 3, 1 / 3)),
    "max(x,-0.5)": pieces(((-1, 2), *_line(0, fmpq(-1, 2))), (None, *_IDENTITY)),
    "sign(x)": pieces((0, *_line(0, -1)), (None, *_line(0, 1))),
    "where(x>1, 2, where(x>-1, x, -1))": pieces((-1, *_line(0, -1)), (1, *_IDENTITY), (None, *_line(0, 2))),
    "log(1+exp(2*x))": Function(
        (), (lambda x, analytic: softplus(2 * x, analytic),), (lambda x, _: 2 * logistic(2 * x),), ((0.0, 0.5),)
    ),
    "x/(1+abs(x))": pieces(
        (0, lambda x, _: x / (1 - x), lambda x, _: 1 / (1 - x) ** 2),
        (None, lambda x, _: x / (1 + x), lambda x, _: 1 / (1 + x) ** 2),
        places=_AT_0,
    ),
    "x*exp(-abs(x))": pieces(
        (0, lambda x, _: x * x.exp(), lambda x, _: (1 + x) * x.exp()),
        (None, lambda x, _: x * (-x).exp(), lambda x, _: (1 - x) * (-x).exp()),
        places=_AT_0,
    ),
    "sin(x)*exp(-x**2/8)": smooth(
        lambda x: x.sin() * (-x * x / 8).exp(), lambda x: (x.cos() - x / 4 * x.sin()) * (-x * x / 8).exp(), *_AT_0
    ),
    "where(abs(x)<1, 1-x**2, 0)": pieces(
        (-1, *_NOTHING), (1, lambda x, _: 1 - x * x, lambda x, _: -2 * x), (None, *_NOTHING)
    ),
    "x*erf(x)**2": smooth(
        lambda x: x * x.erf() ** 2, lambda x: x.erf() ** 2 + 2 * x * x.erf() * erf_slope(x), (0.0, 0.7)
    ),
    "1/(1+exp(-5*(x-2)))": smooth(
        lambda x: logistic(5 * (x - 2)), lambda x: 5 * logistic_slope(5 * (x - 2)), (2.0, 0.2)
    ),
    "where(x>0,tanh(x),-tanh(x)) - x/10": pieces(
        (0, lambda x, _: -tanh(x) - x / 10, lambda x, _: -tanh_slope(x) - fmpq(1, 10)),
        (None, lambda x, _: tanh(x) - x / 10, lambda x, _: tanh_slope(x) - fmpq(1, 10)),
        places=_AT_0,
    ),
    "log(1+abs(x))*sign(x)": pieces(
        (0, lambda x, analytic: -log1p(-x, analytic), lambda x, _: 1 / (1 - x)),
        (None, lambda x, analytic: log1p(x, analytic), lambda x, _: 1 / (1 + x)),
        places=_AT_0,
    ),
}
"""By the registry's names, and by the texts that the parser takes."""

WAVES = ("sin", "cos", "where(x>0, x**2, sin(x))")
"""Do not settle: drawn up to a standard deviation of 16."""


# --- one variable ----------------------------------------------------------------------------------------------------


def _graded(centre: arb, length: arb, reach: float) -> list[arb]:
    """Points about `centre`, from `length` outwards by factors of 8."""
    if not length > 0 or length > reach:
        return [centre]
    found, step = [centre], length
    while step < 2 * reach:
        found += [centre - step, centre + step]
        step *= 8
    return found


def _panels(points: Iterable[arb], low: arb, high: arb) -> Iterable[tuple[arb, arb]]:
    places = sorted((p.mid() for p in points if low < p.mid() < high), key=float)
    inside = [place for before, place in zip([low, *places], places, strict=False) if before < place]
    return pairwise([low, *inside, high])


def single(function: Function, factors: list[tuple[Piece, ...]], mean: arb, std: arb, reach: int = 46) -> arb:
    """E of the product of `factors` (pieces each) of X ~ N(mean, std²), to about 70 bits of the largest panel."""
    kinks = [(arb(end) - mean) / std for end in function.ends]
    points = kinks + [arb(k) for k in range(-reach + 4, reach, 4)]
    for place, length in function.places:
        points += _graded((arb(place) - mean) / std, arb(length) / std, reach)
    parts = []
    for low, high in _panels(points, arb(-reach), arb(reach)):
        index = sum(1 for kink in kinks if kink.mid() < (low + high) / 2)

        def integrand(z: acb, analytic: bool, index: int = index) -> acb:
            value = density(z)
            for factor in factors:
                value *= factor[index](mean + std * z, analytic)
            return value

        parts.append((integrand, low, high))
    size = arb(0)
    for integrand, low, high in parts:
        for share in (0.02, 0.3, 0.5, 0.7, 0.98):
            value = abs(integrand(acb(low + (high - low) * share), False)) * (high - low)
            size = value.mid() if value.is_finite() and value.mid() > size else size
    tolerance = size * arb(2) ** -72 if size > 0 else arb(2) ** -3000
    tolerances = {"abs_tol": tolerance, "rel_tol": arb(2) ** -72, "eval_limit": 20000}
    total = sum((acb.integral(*part, **tolerances) for part in parts), acb(0))
    return total.real


def less(pieces_of: tuple[Piece, ...], constant: arb) -> tuple[Piece, ...]:
    """f − constant."""
    return tuple(lambda x, analytic, g=g: g(x, analytic) - constant for g in pieces_of)


def value_at(function: Function, x: arb) -> arb:
    """f(x)."""
    index = sum(1 for end in function.ends if x.mid() > arb(end).mid())
    return function.f[index](acb(x), False).real


def moments(function: Function, mean: arb, std: arb) -> dict[str, arb]:
    """E f, E f², Var f, E f', E f'² by the names of `GaussianMoments`; the variance about f(mean)."""
    f, slope = function.f, function.slope
    deviation = less(f, value_at(function, mean).mid())
    apart = single(function, [deviation], mean, std)
    return {
        "mean": single(function, [f], mean, std),
        "second_moment": single(function, [f, f], mean, std),
        "variance": single(function, [deviation, deviation], mean, std) - apart * apart,
        "slope_mean": single(function, [slope], mean, std),
        "slope_second_moment": single(function, [slope, slope], mean, std),
    }


# --- pairs -----------------------------------------------------------------------------------------------------------


def _conditional(function: Function, factor: tuple[Piece, ...], at: Angles, reach: int, tolerance: arb) -> Piece:
    """x ↦ E g(mean_v + std_v cosine x + std_v sine Z), analytic in x; a ball about 0 that holds it, of wide balls."""
    tau, slope, R = at.std_v * at.sine, at.std_v * at.cosine, arb(reach)
    ends = [arb(end) for end in function.ends]
    cells = [arb(k + 0.5, 0.5) for k in range(-reach, reach)]

    def bound(centre: acb) -> acb:
        total, kinks = arb(0), [(end - centre) / tau for end in ends]
        if all(kink.real > R or kink.real < -R for kink in kinks):  # one piece is all that is within reach
            g = factor[sum(1 for kink in kinks if kink.real < 0)]
            for cell in cells:
                value = abs(g(centre + tau * cell, True))
                if not value.is_finite():
                    return NOT_ANALYTIC
                total += value * abs(density(acb(cell)))
            return _about_zero(total)
        # the path runs parallel to the real axis, along which the pieces have real arguments
        raised = centre.imag / tau
        lift = (raised * raised / 2).exp()
        for cell in cells:
            y = centre.real + tau * cell
            for low, g, high in zip([None, *ends], factor, [*ends, None], strict=True):
                if (low is not None and y < low) or (high is not None and y > high):
                    continue
                part = y if low is None else y.max(low)
                value = abs(g(acb(part if high is None else part.min(high)), False))
                if not value.is_finite():
                    return NOT_ANALYTIC
                total += value * abs(density(acb(cell))) * lift
        return _about_zero(total)

    def of_constant(centre: acb, analytic: bool) -> acb:
        if analytic and any((centre.real - end).contains(0) for end in ends):
            return NOT_ANALYTIC
        return factor[sum(1 for end in ends if centre.real.mid() > end.mid())](centre, analytic)

    def path(low: acb | None, high: acb | None) -> tuple[acb, acb, arb]:
        """Start, direction and length of a line; where an end is none it ends beyond reach."""
        if low is None and high is None:
            return acb(-R), acb(1), 2 * R
        if high is None:
            return low, acb(1), arb(abs(low.real.mid()) + R)
        if low is None:
            return high, acb(-1), arb(abs(high.real.mid()) + R)
        return low, high - low, arb(1)

    def mean(x: acb, analytic: bool) -> acb:
        centre = at.mean_v + slope * x
        if tau == 0:
            return of_constant(centre, analytic)
        if max(x.real.rad(), x.imag.rad()) > arb(2) ** -50:
            return bound(centre)
        kinks, first = [], 0
        for end in ends:
            kink = (end - centre) / tau
            if kink.real < -R:
                first += 1
            elif kink.real > R:
                break
            elif abs(kink) < 3 * R:
                kinks.append(kink)
            else:
                return NOT_ANALYTIC
        total = acb(0)
        for index, (low, high) in enumerate(pairwise([None, *kinks, None])):
            start, direction, length = path(low, high)

            def integrand(
                t: acb, inner: bool, start: acb = start, direction: acb = direction, index: int = index
            ) -> acb:
                z = start + direction * t
                return density(z) * factor[first + index](centre + tau * z, analytic or inner)

            points = [arb(k) for k in ((-4, 0, 4) if reach < 20 else range(-reach + 6, reach, 6))]
            for place, width in function.places:
                if width:
                    points += _graded(((arb(place) - centre.real) / tau).mid(), (arb(width) / tau).mid(), 2 * reach)
            along = direction.real.mid()
            inside = [(point - start.real.mid()) / along for point in points] if along != 0 else []
            part = acb(0)
            for left, right in _panels(inside, arb(0), length):
                part += acb.integral(integrand, left, right, abs_tol=tolerance, rel_tol=arb(2) ** -66, eval_limit=3000)
            # against the direction the path is run through twice backwards
            total += part if low is None and high is not None else part * direction
        return total

    return mean


def _about_zero(size: arb) -> acb:
    largest = size.abs_upper()
    return acb(arb(0, largest), arb(0, largest)) if largest.is_finite() else NOT_ANALYTIC


def pair(function: Function, quantity: str, at: Angles, bits: int = BITS) -> tuple[arb, arb]:
    """value, slope or covariance of a pair, and √(E g(U)² E g(V)²), to 2^-bits of which the former is found.

    g is f, f', or f less f at the mean, of which in the end the product of the means is taken off.
    """
    factors = [function.slope] * 2 if quantity == "slope" else [function.f] * 2
    if quantity == "covariance":
        factors = [less(function.f, value_at(function, mean).mid()) for mean in (at.mean_u, at.mean_v)]
    far = bool(max(abs(at.mean_u / at.std_u), abs(at.mean_v / at.std_v)) > 4)
    reach = 60 if far else 11
    roots = [
        single(function, [g, g], mean, std, 60).sqrt()
        for g, mean, std in zip(factors, (at.mean_u, at.mean_v), (at.std_u, at.std_v), strict=True)
    ]
    size = roots[0] * roots[1]
    inner = _conditional(function, factors[1], at, reach if far else 10, roots[1].mid() * arb(2) ** -(bits + 10))
    slope = at.std_v * at.cosine
    kinks = [(arb(end) - at.mean_u) / at.std_u for end in function.ends]
    points = kinks + [arb(k) for k in (range(-reach + 6, reach, 6) if far else (-4, 0, 4))]
    for place, length in function.places:
        points += _graded((arb(place) - at.mean_u) / at.std_u, arb(length) / at.std_u, reach)
        if slope != 0:
            width = (arb(length) ** 2 + (at.std_v * at.sine) ** 2).sqrt() / abs(slope)
            points += _graded((arb(place) - at.mean_v) / slope, width, reach)
    total, tolerance = acb(0), size.mid() * arb(2) ** -(bits + 2)
    for low, high in _panels(points, arb(-reach), arb(reach)):
        index = sum(1 for kink in kinks if kink.mid() < (low + high) / 2)

        def integrand(x: acb, analytic: bool, index: int = index) -> acb:
            weight = density(x) * factors[0][index](at.mean_u + at.std_u * x, analytic)
            return weight * inner(x, analytic) if weight.is_finite() else NOT_ANALYTIC

        total += acb.integral(integrand, low, high, abs_tol=tolerance, rel_tol=arb(2) ** -bits, eval_limit=20000)
    found = total.real
    if quantity == "covariance":
        means = [
            single(function, [g], mean, std, 60)
            for g, mean, std in zip(factors, (at.mean_u, at.mean_v), (at.std_u, at.std_v), strict=True)
        ]
        found = found - means[0] * means[1]
    return found, size
