"""Smooth activations of three shapes, recognised exactly.

Straight lines times Phi, plus lines; waves of one length; sums of polynomials times exponentials, waves and Gaussian
bumps.

Their Gaussian moments have closed forms (M1, M5), which the derivations prove and the floating point arranges.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation

Line = tuple[Any, Any]


@dataclass(frozen=True)
class LinesTimesPhi:
    """f(x) = (d₀ + d₁y) Phi(y) + e₀ + e₁y, y = a x + b, a > 0: `distribution` = (d₀, d₁), `line` = (e₀, e₁)."""

    scale: Any
    offset: Any
    distribution: Line
    line: Line


@dataclass(frozen=True)
class Wave:
    """f(x) = C + p sin(k x) + r cos(k x), k > 0: `constant`, `rate`, `sine`, `cosine`."""

    constant: Any
    rate: Any
    sine: Any
    cosine: Any


@dataclass(frozen=True)
class Packet:
    """p(y) e^{rate y − decay y²/2}, y = x − centre: `coefficients` of p from power 0 on; decay >= 0.

    A wave has an imaginary `rate`; the real part is 0 where decay > 0, and `centre` is 0 where decay = 0.
    """

    centre: Any
    decay: Any
    rate: Any
    coefficients: tuple[Any, ...]


# Of an expression that is expanded to find its packets: operations, the highest power, and the packets.
_MOST_OPERATIONS, _HIGHEST_POWER, _MOST_PACKETS = 80, 8, 9


def straight(expression: sympy.Expr, x: sympy.Symbol) -> Line | None:
    """The exact (intercept, slope) of a polynomial of degree at most 1, None for anything else."""
    if not expression.is_polynomial(x) or sympy.Poly(expression, x).degree() > 1:
        return None
    slope = sympy.diff(expression, x)
    return sympy.expand(expression - slope * x), slope


def lines_times_phi(activation: "Activation") -> LinesTimesPhi | None:
    """From erf(u) = 2 Phi(√2 u) − 1 and erfc(u) = 2 − 2 Phi(√2 u), of one u."""
    x, expression = activation.symbol, activation.expression
    arguments: set[Any] = {node.args[0] for node in expression.atoms(sympy.erf, sympy.erfc)}
    if expression.free_symbols != {x} or activation.breakpoints or len(arguments) != 1:
        return None
    argument = straight(arguments.pop(), x)
    if argument is None or argument[1] == 0:
        return None
    sign = sympy.sign(argument[1])
    b, a = (sympy.simplify(sympy.sqrt(2) * sign * number) for number in argument)
    phi = sympy.Dummy("Phi")
    signed = sign * (2 * phi - 1)
    written = expression.replace(sympy.erf, lambda _: signed).replace(sympy.erfc, lambda _: 1 - signed)
    in_y = sympy.expand(written.subs(x, (x - b) / a))
    if not in_y.is_polynomial(x, phi) or sympy.Poly(in_y, phi).degree() != 1:
        return None
    factor, rest = straight(in_y.coeff(phi, 1), x), straight(in_y.coeff(phi, 0), x)
    return LinesTimesPhi(a, b, factor, rest) if factor and rest else None


def wave(activation: "Activation") -> Wave | None:
    """From sines and cosines of one length, whatever their phases."""
    x = activation.symbol
    constant = sympy.expand(activation.expression)
    waves = constant.atoms(sympy.sin, sympy.cos)
    if constant.free_symbols != {x} or activation.breakpoints or not waves:
        return None
    rates, sine, cosine = set(), sympy.Integer(0), sympy.Integer(0)
    for one in waves:
        line, factor = straight(one.args[0], x), constant.coeff(one, 1)
        if line is None or line[1] == 0 or factor.has(x):
            return None
        phase, rate = line
        rates.add(abs(rate))
        constant = sympy.expand(constant - factor * one)
        is_sine = isinstance(one, sympy.sin)
        in_phase, ahead = (sympy.cos(phase), sympy.sin(phase)) if is_sine else (-sympy.sin(phase), sympy.cos(phase))
        sine, cosine = sine + sympy.sign(rate) * factor * in_phase, cosine + factor * ahead
    return None if constant.has(x) or len(rates) != 1 else Wave(constant, rates.pop(), sine, cosine)


def packets(activation: "Activation") -> tuple[Packet, ...] | None:
    """From sums of products of polynomials, exp of degree at most 2, sin, cos, sinh and cosh of straight lines."""
    x, expression = activation.symbol, activation.expression
    functions = sympy.exp, sympy.sin, sympy.cos, sympy.sinh, sympy.cosh
    if (
        expression.free_symbols != {x}
        or activation.breakpoints
        or not all(isinstance(node, functions) for node in expression.atoms(sympy.Function))
        or expression.count_ops() > _MOST_OPERATIONS
        or any(not _is_low(power, x) for power in expression.atoms(sympy.Pow))
    ):
        return None
    polynomials: dict[tuple[Any, Any], Any] = {}
    for term in sympy.Add.make_args(sympy.expand(expression.rewrite(sympy.exp))):
        split = _coefficient_and_exponent(term, x)
        if split is None:
            return None
        coefficient, (square, line, constant) = split
        if not (square.is_real and square.is_nonpositive):
            return None
        key = square, line
        polynomials[key] = polynomials.get(key, 0) + coefficient * sympy.exp(constant)
    found = [_packet(*key, sympy.expand(polynomial), x) for key, polynomial in polynomials.items()]
    return tuple(one for one in found if one.coefficients) if len(found) <= _MOST_PACKETS else None


def _is_low(power: sympy.Pow, x: sympy.Symbol) -> bool:
    exponent = power.exp
    return not power.has(x) or (exponent.is_Integer and abs(exponent) <= _HIGHEST_POWER)


def _coefficient_and_exponent(term: sympy.Expr, x: sympy.Symbol) -> tuple[Any, tuple[Any, Any, Any]] | None:
    """c x^n and the three coefficients, from the square's down, of the exponent in c x^n e^{…}; None for others."""
    coefficient, exponent = sympy.Integer(1), sympy.Integer(0)
    for factor in sympy.Mul.make_args(term):
        base, power = (factor.base, factor.exp) if isinstance(factor, sympy.Pow) else (factor, sympy.Integer(1))
        if isinstance(base, sympy.exp) and power.is_Integer:
            exponent = exponent + power * base.args[0]
        elif not factor.has(x) or (base == x and power.is_Integer and power >= 0):
            coefficient = coefficient * factor
        else:
            return None
    exponent = sympy.expand(exponent)
    if not exponent.is_polynomial(x) or sympy.Poly(exponent, x).degree() > 2:
        return None
    return coefficient, (exponent.coeff(x, 2), exponent.coeff(x, 1), exponent.coeff(x, 0))


def _packet(square: Any, line: Any, polynomial: Any, x: sympy.Symbol) -> Packet:
    decay, centre = -2 * square, sympy.Integer(0)
    if decay != 0:
        real = sympy.re(line)
        centre = real / decay
        polynomial = polynomial.subs(x, x + centre) * sympy.exp(real * centre / 2 + sympy.I * sympy.im(line) * centre)
        line = sympy.I * sympy.im(line)
    polynomial = sympy.expand(polynomial)
    if polynomial == 0:
        return Packet(centre, decay, line, ())
    return Packet(centre, decay, line, tuple(reversed(sympy.Poly(polynomial, x).all_coeffs())))
