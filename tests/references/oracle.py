"""Certified Gaussian moments (python-flint): balls that contain the true value, by two routes that share nothing.

`closed_form`: M1–M4 with truncated normal moments, at a precision that is raised until every ball is small.
`integral`: `acb.integral` of the defining integrals. Neither uses a formula or a number of the package.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

from flint import acb, arb, ctx, fmpq

WANTED_BITS = 70
NEGLIGIBLE = arb(2) ** -1100


@dataclass(frozen=True)
class Piece:
    """f(x) = a + b x + c e^{k x} for lower < x < upper (None: infinite); exact rationals."""

    lower: fmpq | None
    upper: fmpq | None
    a: fmpq
    b: fmpq
    c: fmpq
    k: fmpq


def exact(number: float | str | Fraction) -> fmpq:
    """A float by its shortest decimal, as the registry reads parameters; text and fractions as they are."""
    fraction = Fraction(repr(number)) if isinstance(number, float) else Fraction(number)
    return fmpq(fraction.numerator, fraction.denominator)


def _piece(
    lower: float | None, upper: float | None, a=0.0, b=0.0, c: float | str = 0.0, k: float | fmpq = 0.0
) -> Piece:
    ends = (None if end is None else exact(end) for end in (lower, upper))
    return Piece(*ends, *(x if isinstance(x, fmpq) else exact(x) for x in (a, b, c, k)))


def pieces(name: str, **parameters: float) -> tuple[Piece, ...]:
    """The definitions, written down again by hand."""
    alpha = exact(parameters.get("alpha", 1.0))
    match name:
        case "identity":
            return (_piece(None, None, b=1.0),)
        case "relu":
            return _piece(None, 0.0), _piece(0.0, None, b=1.0)
        case "leaky_relu":
            return _piece(None, 0.0, b=parameters.get("negative_slope", 0.01)), _piece(0.0, None, b=1.0)
        case "shifted_relu":
            return _piece(None, -1.0, a=-1.0), _piece(-1.0, None, b=1.0)
        case "elu":
            return _piece(None, 0.0, a=-alpha, c=alpha, k=1.0), _piece(0.0, None, b=1.0)
        case "celu":
            return _piece(None, 0.0, a=-alpha, c=alpha, k=1 / alpha), _piece(0.0, None, b=1.0)
        case "selu":
            scale = exact("1.0507009873554804934193349852946")
            amplitude = scale * exact("1.6732632423543772848170429916717")
            return _piece(None, 0.0, a=-amplitude, c=amplitude, k=1.0), _piece(0.0, None, b=scale)
        case "hard_tanh":
            return _piece(None, -1.0, a=-1.0), _piece(-1.0, 1.0, b=1.0), _piece(1.0, None, a=1.0)
        case "relu6":
            return _piece(None, 0.0), _piece(0.0, 6.0, b=1.0), _piece(6.0, None, a=6.0)
    raise KeyError(name)


NAMES = ("mean", "second_moment", "variance", "slope_mean", "slope_second_moment", "log_slope_mean")


@contextmanager
def precision(bits: int) -> Iterator[None]:
    before, ctx.prec = ctx.prec, bits
    try:
        yield
    finally:
        ctx.prec = before


def closed_form(f: tuple[Piece, ...], mean: float, std: float) -> dict[str, arb]:
    """The six moments for std > 0, relative radius 2^-70 (or below 2^-1100); log slope None for a flat piece."""
    bits = 160
    while True:
        with precision(bits):
            result = moments_at(f, arb(mean), arb(std))
            if all(value is None or _is_small(value) for value in result.values()):
                return result
        bits *= 2


def _is_small(value: arb) -> bool:
    return value.rel_accuracy_bits() >= WANTED_BITS or abs(value) < NEGLIGIBLE or value == 0


def _upper_tail(z: arb) -> arb:
    return (z / arb(2).sqrt()).erfc() / 2


def _density(z: arb) -> arb:
    return (-z * z / 2).exp() / (2 * arb.pi()).sqrt()


def _tilted(piece: Piece, mu: arb, sigma: arb, rate: arb) -> tuple[arb, arb, arb]:
    """E[X^n e^{rate X}; lower < X < upper], n = 0, 1, 2: M1 and integration by parts."""
    centre = mu + rate * sigma * sigma
    weight = (rate * mu + rate * rate * sigma * sigma / 2).exp()
    ends = [None if end is None else (arb(end) - centre) / sigma for end in (piece.lower, piece.upper)]
    (low, high) = ends
    if low is None and high is None:
        mass = arb(1)
    elif high is None:
        mass = _upper_tail(low)
    elif low is None:
        mass = _upper_tail(-high)
    else:
        mass = _upper_tail(low) - _upper_tail(high)
    at_low, at_high = (arb(0) if end is None else _density(end) for end in ends)
    edge = sum((end * value for end, value in ((low, at_low), (high, -at_high)) if end is not None), arb(0))
    first = at_low - at_high  # E[Z; …]
    second = mass + edge  # E[Z²; …]
    return (
        weight * mass,
        weight * (centre * mass + sigma * first),
        weight * (centre * centre * mass + 2 * centre * sigma * first + sigma * sigma * second),
    )


def moments_at(f: tuple[Piece, ...], mu: arb, sigma: arb) -> dict[str, arb]:
    """The six moments at the current precision."""
    mean = second = slope = slope_second = arb(0)
    log_slope: arb | None = arb(0)
    for piece in f:
        a, b, c, k = (arb(x) for x in (piece.a, piece.b, piece.c, piece.k))
        p0, p1, p2 = _tilted(piece, mu, sigma, arb(0))
        e0 = e1 = q0 = arb(0)
        if piece.c != 0:
            e0, e1, _ = _tilted(piece, mu, sigma, k)
            q0, _, _ = _tilted(piece, mu, sigma, 2 * k)
        mean += a * p0 + b * p1 + c * e0
        second += a * a * p0 + 2 * a * b * p1 + b * b * p2 + 2 * a * c * e0 + 2 * b * c * e1 + c * c * q0
        slope += b * p0 + c * k * e0
        slope_second += b * b * p0 + 2 * b * c * k * e0 + c * c * k * k * q0
        if piece.b == 0 and piece.c == 0:
            log_slope = None
        if log_slope is not None:
            log_slope += (c * k).log() * p0 + k * p1 if piece.c != 0 else b.log() * p0
    return dict(zip(NAMES, (mean, second, second - mean * mean, slope, slope_second, log_slope), strict=True))


def allowance(f: tuple[Piece, ...], mean: float, std: float, name: str) -> arb:
    """|mean d_mean| + |std d_std| of a moment, by difference quotients: the effect of rounding the inputs."""
    bits = 400
    while True:
        with precision(bits):
            mu, sigma, h = arb(mean), arb(std), arb(2) ** -60
            at = moments_at(f, mu, sigma)[name]
            moved = (moments_at(f, mu * (1 + h), sigma)[name], moments_at(f, mu, sigma * (1 + h))[name])
            total = sum((abs((value - at) / h) for value in moved), arb(0))
            if abs(at) < NEGLIGIBLE or total.rad() <= abs(at).mid() / 1000:
                return total
        bits *= 2


def integral(
    f: tuple[Piece, ...], mean: float, std: float, integrand: Callable[[Piece, acb], acb], bits: int = 110
) -> arb:
    """E integrand(piece, X) over |Z| <= 40, by `acb.integral`; the tails beyond are below 1e-300."""
    with precision(2 * bits):
        mu, sigma, cut = arb(mean), arb(std), arb(40)
        total = arb(0)
        for piece in f:
            low = -cut if piece.lower is None else max((arb(piece.lower) - mu) / sigma, -cut)
            high = cut if piece.upper is None else min((arb(piece.upper) - mu) / sigma, cut)
            if not low < high:
                continue
            total += acb.integral(
                lambda t, _, piece=piece: integrand(piece, mu + sigma * t) * _density(t),
                low,
                high,
                rel_tol=arb(2) ** -bits,
                abs_tol=arb(2) ** -1200,
            ).real
        return total
