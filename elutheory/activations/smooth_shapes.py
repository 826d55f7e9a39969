"""Smooth activations of two shapes, recognised exactly: straight lines times Phi, plus lines; waves of one length.

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
