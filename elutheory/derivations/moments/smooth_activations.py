"""Gaussian moments of straight lines times Phi (erf, GELU) and of waves (sin, cos) by M1 and M5, and their proof.

By Stein's identity (M5) every moment of Y^k Phi(Y)^n phi(Y)^m, Y ~ N(M, S²), comes down to E Phi = Phi(h), E Phi² =
Phi2(h, h; r), h = M/√(1 + S²), r = S²/(1 + S²), and to phi, which tilts Y (M1). All is analytic at S = 0, so that a
formula which solves the heat equation, and is the function itself at S = 0, is its expectation.
"""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

from collections.abc import Callable
from typing import Any

import sympy

from elutheory.activations.activation_function import Activation
from elutheory.activations.smooth_shapes import LinesTimesPhi, Wave, lines_times_phi, wave
from elutheory.derivations.expectations.checks import not_zero
from elutheory.derivations.expectations.functions import Phi, Phi2, phi
from elutheory.derivations.proof.notation import mu, sigma
from elutheory.derivations.proof.steps import UndecidedCheckError

Formulas = dict[str, Any]

_M, _S = sympy.Symbol("M", real=True), sympy.Symbol("S", positive=True)
_first, _second = sympy.symbols("p w", positive=True)  # √(1 + S²), √(1 + 2S²)


def smooth_formulas(function: Activation, shift: Any = 0) -> Formulas | None:
    """The moments of f − shift in mu and sigma, by name, and `curvature` = E f''; None for another shape of f."""
    if (shape := lines_times_phi(function)) is not None:
        return _of_lines_times_phi(shape, shift)
    return None if (shape := wave(function)) is None else _of_wave(shape, shift)


def smooth_log_slope(function: Activation) -> tuple[Any, str]:
    """ln f' in the activation's symbol, where f is a multiple of Phi; else None, and why in words."""
    if (shape := lines_times_phi(function)) is None:
        return None, "f falls somewhere"
    y, (d0, d1), e1 = shape.scale * function.symbol + shape.offset, shape.distribution, shape.line[1]
    if d1 == e1 == 0 and d0 > 0:
        return sympy.log(shape.scale * d0 / sympy.sqrt(2 * sympy.pi)) - y**2 / 2, ""
    rises = e1 > 0 and e1 + d1 > 0
    return None, "ln f' has no closed form here" if rises else "f falls somewhere"


def log_slope_formula(function: Activation) -> Any:
    """E ln f' of a multiple of Phi."""
    logarithm, _ = smooth_log_slope(function)
    by_x = sympy.Poly(sympy.expand(logarithm), function.symbol)
    powers = _powers(mu, sigma**2, 3)
    return sum(coefficient * powers[power] for (power,), coefficient in by_x.terms())


def _of_wave(shape: Wave, shift: Any) -> Formulas:
    """E e^{ikX} = e^{ik mu − k² sigma²/2}."""
    k, p, r, level = shape.rate, shape.sine, shape.cosine, shape.constant - shift
    damped = sympy.exp(-(k**2) * sigma**2 / 2)
    g, h = p * sympy.sin(k * mu) + r * sympy.cos(k * mu), p * sympy.cos(k * mu) - r * sympy.sin(k * mu)
    # g² = (p² + r²)/2 + the wave of twice the rate
    twice = (
        sympy.exp(-2 * k**2 * sigma**2)
        * ((r**2 - p**2) * sympy.cos(2 * k * mu) + 2 * p * r * sympy.sin(2 * k * mu))
        / 2
    )
    product = (
        sympy.exp(-2 * k**2 * sigma**2)
        * ((p**2 - r**2) * sympy.sin(2 * k * mu) + 2 * p * r * sympy.cos(2 * k * mu))
        / 2
    )
    half = (p**2 + r**2) / sympy.Integer(2)
    return {
        "mean": level + damped * g,
        "second_moment": level**2 + 2 * level * damped * g + half + twice,
        "slope_mean": k * damped * h,
        "slope_second_moment": k**2 * (half - twice),
        "value_slope_mean": k * (level * damped * h + product),
        "curvature": -(k**2) * damped * g,
    }


def _of_lines_times_phi(shape: LinesTimesPhi, shift: Any) -> Formulas:
    a, (d0, d1), (e0, e1) = shape.scale, shape.distribution, shape.line
    e0 = e0 - shift
    M, S2 = a * mu + shape.offset, a**2 * sigma**2
    line, factor = [e0, e1], [d0, d1]
    once = _with_distribution(M, S2, 3)  # E Y^k Phi
    density = phi(M / sympy.sqrt(1 + S2)) / sympy.sqrt(1 + S2)
    tilted = M / (1 + S2), S2 / (1 + S2)
    with_density = [density * power for power in _powers(*tilted, 3)]  # E Y^k phi
    both = [density * power for power in _with_distribution(*tilted, 3)]  # E Y^k Phi phi
    squared_density = phi(sympy.sqrt(2) * M / sympy.sqrt(1 + 2 * S2)) / sympy.sqrt(2 * sympy.pi * (1 + 2 * S2))
    densities = [squared_density * power for power in _powers(M / (1 + 2 * S2), S2 / (1 + 2 * S2), 3)]  # E Y^k phi²
    h = M / sympy.sqrt(1 + S2)
    twice = [Phi2(h, h, S2 / (1 + S2))]  # E Y^k Phi²
    for k in range(2):
        twice.append(M * twice[k] + S2 * ((k * twice[k - 1] if k else 0) + 2 * both[k]))
    plain = _powers(M, S2, 3)

    def total(polynomial: list[Any], moments: list[Any]) -> Any:
        return sum((number * moment for number, moment in zip(polynomial, moments, strict=False)), sympy.Integer(0))

    bend = [2 * d1, -d0, -d1]
    return {
        "mean": total(factor, once) + total(line, plain),
        "second_moment": total(_times(factor, factor), twice)
        + 2 * total(_times(factor, line), once)
        + total(_times(line, line), plain),
        "slope_mean": a * (d1 * once[0] + total(factor, with_density) + e1),
        "slope_second_moment": a**2
        * (
            d1**2 * twice[0]
            + 2 * d1 * total(factor, both)
            + total(_times(factor, factor), densities)
            + 2 * e1 * (d1 * once[0] + total(factor, with_density))
            + e1**2
        ),
        "value_slope_mean": a
        * (
            d1 * total(factor, twice)
            + total(_times(factor, factor), both)
            + e1 * total(factor, once)
            + d1 * total(line, once)
            + total(_times(line, factor), with_density)
            + e1 * total(line, plain)
        ),
        "curvature": a**2 * total(bend, with_density),
    }


def _times(left: list[Any], right: list[Any]) -> list[Any]:
    return [left[0] * right[0], left[0] * right[1] + left[1] * right[0], left[1] * right[1]]


def _powers(mean: Any, variance: Any, count: int) -> list[Any]:
    """E Y^k, k < count, Y ~ N(mean, variance)."""
    powers = [sympy.Integer(1), mean]
    while len(powers) < count:
        powers.append(mean * powers[-1] + (len(powers) - 1) * variance * powers[-2])
    return powers


def _with_distribution(mean: Any, variance: Any, count: int) -> list[Any]:
    """E Y^k Phi(Y), k < count, by Stein: E Y g = mean E g + variance E g'."""
    root = sympy.sqrt(sympy.cancel(1 + variance))
    density = phi(mean / root) / root
    tilted = _powers(mean / root**2, variance / root**2, count)
    moments = [Phi(mean / root)]
    for k in range(count - 1):
        moments.append(mean * moments[k] + variance * ((k * moments[k - 1] if k else 0) + density * tilted[k]))
    return moments


# --- the proof ----------------------------------------------------------------------------------------------------


def check_smooth_expectation(function: Activation, formula: Any, integrand: Any) -> None:
    """Prove `formula` = E g(X), g = `integrand` in the activation's symbol, or raise CheckError.

    It is an UndecidedCheckError where no rule shows that two expressions are equal, and no number that they differ.
    """
    heat = sympy.diff(formula, sigma) - sigma * sympy.diff(formula, mu, 2)
    if not is_smoothly_zero(function, heat):
        raise not_zero(heat, f"{formula} does not satisfy the heat equation")
    start = sympy.limit(formula, sigma, 0) if formula.subs(sigma, 0) is sympy.nan else formula.subs(sigma, 0)
    start = start.replace(Phi, lambda u: (1 + sympy.erf(u / sympy.sqrt(2))) / 2)
    start = start.replace(phi, lambda u: sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi))
    end = integrand.subs(function.symbol, mu).replace(sympy.erfc, lambda u: 1 - sympy.erf(u))
    difference = sympy.simplify(sympy.expand(_in_periods(function, start - end), trig=True))
    if difference != 0:
        raise not_zero(difference, f"{formula} is not {integrand} at sigma = 0")


def _in_periods(function: Activation, expression: Any) -> Any:
    """With mu and sigma in periods of a wave: sin(100 mu) would be multiplied out as a polynomial of sin(mu)."""
    shape = wave(function)
    return expression if shape is None else expression.subs({mu: mu / shape.rate, sigma: sigma / shape.rate})


def is_smoothly_zero(function: Activation, expression: Any) -> bool:
    """Whether an expression in Phi2(h, h; r), Phi, phi and exp, or in waves, vanishes for every mu and sigma."""
    if (shape := lines_times_phi(function)) is None:
        return sympy.simplify(sympy.expand(_in_periods(function, expression), trig=True)) == 0
    expression = expression.subs({mu: (_M - shape.offset) / shape.scale, sigma: _S / shape.scale}, simultaneous=True)
    expression = expression.replace(phi, lambda u: sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi))
    expression = expression.replace(
        lambda node: (
            isinstance(node, sympy.Pow) and (2 * node.exp).is_Integer and not node.exp.is_Integer and node.has(_S)
        ),
        lambda node: _root(node.base) ** (2 * node.exp),
    )
    squares = {_S**2 + 1: _first**2, 2 * _S**2 + 1: _second**2}  # denominators are then monomials
    expression = expression.replace(lambda node: node in squares, lambda node: squares[node])
    generators: dict[Any, Any] = {}

    def named(key: Any) -> Any:
        return generators.setdefault(key, sympy.Dummy(f"g{len(generators)}"))

    def reduced(value: Any) -> Any:
        return sympy.cancel(sympy.together(_reduced(value)))

    expression = expression.replace(Phi2, lambda h, k, r: named(("Phi2", reduced(h), reduced(k), reduced(r))))
    expression = expression.replace(Phi, lambda u: named(("Phi", _in_first(u))))
    terms = sympy.Add.make_args(sympy.expand(expression, power_exp=False, power_base=False))
    expression = sympy.Add(*(_with_one_exponential(term, lambda u: named(("exp", reduced(u)))) for term in terms))
    whole = sympy.Poly(sympy.expand(expression), *generators.values()) if generators else None
    coefficients = whole.coeffs() if whole is not None else [expression]
    return all(sympy.expand(_reduced(sympy.numer(sympy.together(one)))) == 0 for one in coefficients)


def _with_one_exponential(term: Any, named: Callable[[Any], Any]) -> Any:
    """A product with `named` of the sum of its exponents in place of its exponentials."""
    factors = sympy.Mul.make_args(term)
    exponents = [factor.args[0] for factor in factors if isinstance(factor, sympy.exp)]
    others = sympy.Mul(*(factor for factor in factors if not isinstance(factor, sympy.exp)))
    return others * named(sympy.Add(*exponents)) if exponents else others


def _root(base: Any) -> Any:
    """√ of powers of 1 + S² and 1 + 2S², in p and w."""
    fraction = sympy.together(base)
    factors: list[Any] = [sympy.factor_list(part(fraction)) for part in (sympy.numer, sympy.denom)]
    root: Any = sympy.Integer(1)
    for (constant, parts), sign in zip(factors, (1, -1), strict=True):
        root *= sympy.sqrt(constant) ** sign
        for part, power in parts:
            known = {sympy.expand(_S**2 + 1): _first, sympy.expand(2 * _S**2 + 1): _second}
            if sympy.expand(part) not in known:
                raise UndecidedCheckError(f"no rule decides the equality of expressions with the root of {base}")
            root *= known[sympy.expand(part)] ** (sign * power)
    return root


def _reduced(expression: Any) -> Any:
    """Even powers of S and p by w: S² = (w² − 1)/2, p² = (w² + 1)/2."""

    def power(node: Any) -> Any:
        square = (_second**2 - 1) / 2 if node.base == _S else (_second**2 + 1) / 2
        half, odd = divmod(int(node.exp), 2)
        return square**half * node.base**odd

    return expression.replace(
        lambda node: isinstance(node, sympy.Pow) and node.base in (_S, _first) and node.exp.is_Integer, power
    )


def _in_first(argument: Any) -> Any:
    """An argument of Phi, odd in p: p times what is even in it."""
    return sympy.cancel(sympy.together(_reduced(sympy.expand(argument * _first))))
