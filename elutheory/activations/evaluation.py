"""Evaluating pieces of a function on float, numpy, torch and mpmath arguments.

An expression is compiled to nested closures once a library; there is one table of operations a library. On arrays
every piece is evaluated with the arguments that are not its own replaced by a point inside it, so that neither
overflow nor a NaN gradient leaks out of a branch that was not taken.
"""

import math
import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy

from elutheory.activations.pieces import Piece, interior_point
from elutheory.activations.stable_forms import stable
from elutheory.errors import InputError

_LARGEST = sys.float_info.max
_SQRT_HALF = math.sqrt(0.5)
_Function = Callable[[Any], Any]


# --- one table of operations a library -----------------------------------------------------------------------------


def _or_infinite(function: Callable[..., float]) -> Callable[..., float]:
    """`function` with IEEE results where Python raises: overflow is inf, a domain error nan."""

    def total(*arguments: Any) -> float:
        try:
            result = function(*arguments)
        except OverflowError:
            # A power of a negative base overflows to the sign of the base; sinh to that of its argument.
            odd = function is math.sinh or (len(arguments) == 2 and arguments[1] % 2 == 1)
            return math.copysign(math.inf, arguments[0]) if odd else math.inf
        except (ValueError, ZeroDivisionError):
            return math.nan
        return math.nan if isinstance(result, complex) else result

    return total


def _float_divide(a: float, b: float) -> float:
    if b != 0.0:
        return a / b
    return math.nan if a == 0.0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _float_logistic(u: float) -> float:
    if u >= 0.0:
        return 1.0 / (1.0 + math.exp(-u))
    return math.exp(u) / (1.0 + math.exp(u))


def _gaussian(exp: _Function, floor: _Function, clip: _Function) -> _Function:
    """exp(−u²/2) to a few units in the last place: u = h + l with h² exact (16 h is an integer)."""

    def gaussian(u: Any) -> Any:
        u = clip(u)
        h = floor(u * 16.0 + 0.5) / 16.0
        return exp(h * h * -0.5) * exp((u - h) * (u + h) * -0.5)

    return gaussian


def _normal_distribution(where: Callable[..., Any], erfcx: _Function, gaussian: _Function) -> _Function:
    def normal_distribution(u: Any) -> Any:
        magnitude = where(u < 0, -u, u)
        tail = gaussian(magnitude) * erfcx(magnitude * _SQRT_HALF) * 0.5
        return where(u < 0, tail, 1.0 - tail)

    return normal_distribution


def _clip(u: float) -> float:
    return u if math.isnan(u) else min(max(u, -64.0), 64.0)


@lru_cache(maxsize=1)
def _float_operations() -> Mapping[str, Callable[..., Any]]:
    def erfcx(u: float) -> float:
        from scipy.special import erfcx

        return float(erfcx(u))

    def where(condition: bool, a: float, b: float) -> float:
        return a if condition else b

    gaussian = _gaussian(math.exp, lambda u: u if math.isnan(u) else math.floor(u), _clip)
    return {
        "power": _or_infinite(lambda base, exponent: base**exponent),
        "divide": _float_divide,
        "exp": _or_infinite(math.exp),
        "Expm1": _or_infinite(math.expm1),
        "log": lambda u: -math.inf if u == 0.0 else _or_infinite(math.log)(u),
        "Log1p": lambda u: -math.inf if u == -1.0 else _or_infinite(math.log1p)(u),
        "sqrt": _or_infinite(math.sqrt),
        "sin": _or_infinite(math.sin),
        "cos": _or_infinite(math.cos),
        "atan": math.atan,
        "asinh": math.asinh,
        "sinh": _or_infinite(math.sinh),
        "cosh": _or_infinite(math.cosh),
        "tanh": math.tanh,
        "erf": math.erf,
        "erfc": math.erfc,
        "Logistic": _float_logistic,
        "Softplus": lambda u: math.log1p(math.exp(-abs(u))) + max(u, 0.0) if u == u else u,
        "Gaussian": gaussian,
        "NormalDistribution": _normal_distribution(where, erfcx, gaussian),
    }


@lru_cache(maxsize=1)
def _numpy_operations() -> Mapping[str, Callable[..., Any]]:
    import numpy as np
    from scipy import special

    gaussian = _gaussian(np.exp, np.floor, lambda u: np.clip(u, -64.0, 64.0))
    return {
        "power": np.power,
        "divide": np.true_divide,
        "exp": np.exp,
        "Expm1": np.expm1,
        "log": np.log,
        "Log1p": np.log1p,
        "sqrt": np.sqrt,
        "sin": np.sin,
        "cos": np.cos,
        "atan": np.arctan,
        "asinh": np.arcsinh,
        "sinh": np.sinh,
        "cosh": np.cosh,
        "tanh": np.tanh,
        "erf": special.erf,
        "erfc": special.erfc,
        "Logistic": special.expit,
        "Softplus": lambda u: np.log1p(np.exp(-np.abs(u))) + np.maximum(u, 0.0),
        "Gaussian": gaussian,
        "NormalDistribution": _normal_distribution(np.where, special.erfcx, gaussian),
        "where": np.where,
        "at_least": np.maximum,
        "at_most": np.minimum,
    }


@lru_cache(maxsize=1)
def _torch_operations() -> Mapping[str, Callable[..., Any]]:
    import torch

    gaussian = _gaussian(torch.exp, torch.floor, lambda u: u.clamp(-64.0, 64.0))
    return {
        "power": torch.pow,
        "divide": lambda a, b: a / b,
        "exp": torch.exp,
        "Expm1": torch.expm1,
        "log": torch.log,
        "Log1p": torch.log1p,
        "sqrt": torch.sqrt,
        "sin": torch.sin,
        "cos": torch.cos,
        "atan": torch.atan,
        "asinh": torch.asinh,
        "sinh": torch.sinh,
        "cosh": torch.cosh,
        "tanh": torch.tanh,
        "erf": torch.erf,
        "erfc": torch.erfc,
        "Logistic": torch.sigmoid,
        "Softplus": lambda u: torch.nn.functional.softplus(u, threshold=SOFTPLUS_THRESHOLD),
        "Gaussian": gaussian,
        "NormalDistribution": _normal_distribution(torch.where, torch.special.erfcx, gaussian),
        "where": torch.where,
        "at_least": lambda x, bound: x.clamp(min=bound),
        "at_most": lambda x, bound: x.clamp(max=bound),
    }


SOFTPLUS_THRESHOLD = 40.0
"""Beyond it log(1 + exp(u)) is u in float64; torch's default of 20 leaves an error of 1e-10."""


def _mpmath_operations(context: Any) -> Mapping[str, Callable[..., Any]]:
    return {
        "power": lambda base, exponent: base**exponent,
        "divide": lambda a, b: a / b,
        "exp": context.exp,
        "Expm1": context.expm1,
        "log": context.log,
        "Log1p": context.log1p,
        "sqrt": context.sqrt,
        "sin": context.sin,
        "cos": context.cos,
        "atan": context.atan,
        "asinh": context.asinh,
        "sinh": context.sinh,
        "cosh": context.cosh,
        "tanh": context.tanh,
        "erf": context.erf,
        "erfc": context.erfc,
        "Logistic": lambda u: 1 / (1 + context.exp(-u)),
        "Softplus": lambda u: context.log1p(context.exp(-abs(u))) + max(u, 0),
        "Gaussian": lambda u: context.exp(-u * u / 2),
        # mpmath's erfc fails beyond 1e154; at 1e100 it is already 1e-(10^199).
        "NormalDistribution": lambda u: context.erfc(-min(max(u, -1e100), 1e100) / context.sqrt(2)) / 2,
        "constant": lambda number: _mpmath_constant(number, context),
    }


def _mpmath_constant(number: sympy.Expr, context: Any) -> Any:
    if isinstance(number, sympy.Rational):
        return context.mpf(number.p) / number.q
    return context.mpf(str(sympy.N(number, context.dps + 10)))


# --- compiling ----------------------------------------------------------------------------------------------------


def constant_value(number: sympy.Expr) -> float:
    """The nearest float of an expression without free symbols; inf or nan where floats overflow or fail."""
    rough = _compile(number, None, _float_operations())(None)
    if isinstance(number, sympy.Rational) or not 1e-300 < abs(rough) < 1e300:
        return rough
    return float(sympy.N(number, 25))


def _leaf(number: sympy.Expr) -> float:
    if isinstance(number, sympy.Rational):
        try:
            return number.p / number.q
        except OverflowError:
            return math.inf if number.p > 0 else -math.inf
    if number in (sympy.pi, sympy.E):
        return float(number)
    raise InputError(f"{number} cannot be evaluated; allowed constants are real numbers, pi and e.")


def _compile(expression: sympy.Basic, symbol: sympy.Symbol | None, operations: Mapping[str, Any]) -> _Function:
    """Closures for `expression`; symbol None evaluates constants step by step."""
    if expression == symbol:
        return lambda x: x
    if symbol is not None and not expression.has(symbol):
        if "constant" in operations:
            return lambda x: operations["constant"](expression)
        value = constant_value(expression)  # pyright: ignore
        return lambda x: value
    if not expression.args:
        leaf = _leaf(expression)  # pyright: ignore
        return lambda x: leaf
    if isinstance(expression, sympy.Add):
        return _compile_sum(expression, symbol, operations)
    if isinstance(expression, sympy.Mul):
        return _compile_product(expression, symbol, operations)
    if isinstance(expression, sympy.Pow):
        return _compile_power(expression.base, expression.exp, symbol, operations)
    name = type(expression).__name__
    if name not in operations:
        raise InputError(f"the function {name} in {expression} cannot be evaluated.")
    function, argument = operations[name], _compile(expression.args[0], symbol, operations)
    return lambda x: function(argument(x))


def _compile_sum(expression: sympy.Add, symbol: sympy.Symbol | None, operations: Mapping[str, Any]) -> _Function:
    first, *others = [_compile(term, symbol, operations) for term in expression.args]

    def total(x: Any) -> Any:
        result = first(x)
        for other in others:
            result = result + other(x)
        return result

    return total


def _compile_product(expression: sympy.Mul, symbol: sympy.Symbol | None, operations: Mapping[str, Any]) -> _Function:
    numerators: list[_Function] = []
    denominators: list[_Function] = []
    factors = list(expression.args)
    if symbol is not None:
        coefficient, rest = expression.as_independent(symbol, as_Add=False)
        factors = [*sympy.Mul.make_args(rest)] + ([] if coefficient == 1 else [coefficient])
    for factor in factors:
        base, exponent = factor.as_base_exp()
        varies = symbol is None or factor.has(symbol)
        if varies and isinstance(factor, sympy.Pow) and exponent.is_Rational and exponent.is_negative:
            denominators.append(_compile_power(base, -exponent, symbol, operations))
        else:
            numerators.append(_compile(factor, symbol, operations))
    divide = operations["divide"]

    def product(x: Any) -> Any:
        result: Any = numerators[0](x) if numerators else 1.0
        for numerator in numerators[1:]:
            result = result * numerator(x)
        for denominator in denominators:
            result = divide(result, denominator(x))
        return result

    return product


def _compile_power(
    base: sympy.Expr, exponent: sympy.Expr, symbol: sympy.Symbol | None, operations: Mapping[str, Any]
) -> _Function:
    power, divide, root = operations["power"], operations["divide"], operations["sqrt"]
    of_base = _compile(base, symbol, operations)
    if exponent.is_Rational and exponent.is_negative:
        positive = _compile_power(base, -exponent, symbol, operations)
        return lambda x: divide(1.0, positive(x))
    if exponent == 1:
        return of_base
    if exponent == sympy.Rational(1, 2):
        return lambda x: root(of_base(x))
    if exponent.is_Integer:
        integer = int(exponent)
        if integer == 2:
            return lambda x: (lambda u: u * u)(of_base(x))
        return lambda x: power(of_base(x), integer)
    of_exponent = _compile(exponent, symbol, operations)
    return lambda x: power(of_base(x), of_exponent(x))


# --- evaluating ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cell:
    """A piece made ready for one library: `function` of x, and what stands in for arguments outside.

    `standin_low`, `standin_high`: where the formula is 0·∞ or ∞ − ∞ at an infinite end, it is evaluated at
    (largest float)^(1/2^k) instead, for the k given here.
    """

    function: _Function
    is_constant: bool
    is_affine: bool
    upper: float
    upper_exact: sympy.Expr
    upper_closed: bool
    inside: float
    standin_low: int | None
    standin_high: int | None

    def clamped(self, x: Any, largest: Any, operations: Mapping[str, Any]) -> Any:
        if self.standin_low is not None:
            x = operations["at_least"](x, -(largest ** (0.5**self.standin_low)))
        if self.standin_high is not None:
            x = operations["at_most"](x, largest ** (0.5**self.standin_high))
        return x


def _standin(function: _Function, end: float) -> int | None:
    if not math.isnan(function(end)):
        return None
    for power in range(4):
        if not math.isnan(function(math.copysign(_LARGEST ** (0.5**power), end))):
            return power
    return None


def _cells(pieces: tuple[Piece, ...], symbol: sympy.Symbol, operations: Mapping[str, Any]) -> tuple[_Cell, ...]:
    cells = []
    for piece in pieces:
        in_floats = _compile(piece.expression, symbol, _float_operations())
        cells.append(
            _Cell(
                function=_compile(piece.expression, symbol, operations),
                is_constant=not piece.expression.has(symbol),
                is_affine=not piece.expression.diff(symbol).has(symbol),
                upper=math.inf if piece.upper is sympy.oo else constant_value(piece.upper),
                upper_exact=piece.upper,
                upper_closed=piece.upper_closed,
                inside=float(piece.lower if piece.lower == piece.upper else interior_point(piece.lower, piece.upper)),
                standin_low=_standin(in_floats, -math.inf) if piece.lower is -sympy.oo else None,
                standin_high=_standin(in_floats, math.inf) if piece.upper is sympy.oo else None,
            )
        )
    return tuple(cells)


class NumericFunction:
    """The function of the given pieces, or with `order=1` its derivative piece by piece, on numbers and arrays."""

    def __init__(self, pieces: tuple[Piece, ...], symbol: sympy.Symbol, order: int = 0) -> None:
        expressions = [stable(piece.expression) for piece in pieces]
        for _ in range(order):
            expressions = [stable(expression.diff(symbol)) for expression in expressions]  # pyright: ignore
        stable_pieces = [
            Piece(piece.lower, piece.upper, expression, piece.lower_closed, piece.upper_closed)
            for piece, expression in zip(pieces, expressions, strict=True)
        ]
        self._pieces = tuple(stable_pieces)
        self._symbol = symbol
        self._by_library: dict[Hashable, tuple[Mapping[str, Any], tuple[_Cell, ...]]] = {}

    def __call__(self, x: Any) -> Any:
        if type(x) is float:
            return self._on_float(x)
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if torch is not None and isinstance(x, torch.Tensor):
            return self._on_torch(x, torch)
        if numpy is not None and isinstance(x, numpy.ndarray | numpy.generic):
            return self._on_numpy(x, numpy)
        if (
            type(x).__module__.startswith("mpmath.")
            and hasattr(x, "context")
            and type(x).__name__ in ("mpf", "constant")
        ):
            return self._on_mpmath(x)
        if isinstance(x, int | float) and not isinstance(x, bool):
            try:
                return self._on_float(float(x))
            except OverflowError as error:
                raise InputError("the integer argument is too large for a float; pass an mpmath.mpf.") from error
        raise InputError(
            f"an activation takes a real float, int, numpy array, torch tensor or mpmath.mpf, not {type(x).__name__}."
        )

    def _prepared(self, library: Hashable, operations: Callable[[], Mapping[str, Any]]) -> Any:
        if library not in self._by_library:
            table = operations()
            self._by_library[library] = table, _cells(self._pieces, self._symbol, table)
        return self._by_library[library]

    def _on_float(self, x: float) -> float:
        if math.isnan(x):
            return x
        _, cells = self._prepared("float", _float_operations)
        cell = next(
            cell for cell in cells if x < cell.upper or (x == cell.upper and cell.upper_closed) or cell is cells[-1]
        )
        return cell.function(cell.clamped(x, _LARGEST, {"at_least": max, "at_most": min}))

    def _on_mpmath(self, x: Any) -> Any:
        context = x.context
        if context.isnan(x):
            return +x
        with context.workprec(context.prec + 40):
            _, cells = self._prepared(context, lambda: _mpmath_operations(context))

            def owns(cell: _Cell) -> bool:
                if cell.upper_exact is sympy.oo:
                    return True
                upper = _mpmath_constant(cell.upper_exact, context)
                return x < upper or (x == upper and cell.upper_closed)

            cell = next(cell for cell in cells if owns(cell))
            result = cell.function(cell.clamped(x, context.mpf(_LARGEST), {"at_least": max, "at_most": min}))
        return +result

    def _on_numpy(self, x: Any, numpy: Any) -> Any:
        if x.dtype.kind in "iu":
            x = x.astype(numpy.float64)
        if x.dtype not in (numpy.float16, numpy.float32, numpy.float64):
            raise InputError(f"numpy arguments must be float16, float32, float64 or integers, not {x.dtype}.")
        operations, cells = self._prepared("numpy", _numpy_operations)
        wide = x.astype(numpy.float32) if x.dtype == numpy.float16 else x
        # Rounding to 0 or to infinity is the right result, not news.
        with numpy.errstate(over="ignore", under="ignore"):
            result = _on_array(wide, cells, operations, float(numpy.finfo(wide.dtype).max))
            result = x.copy() if result is x else numpy.asarray(result).astype(x.dtype, copy=False)
        return result if isinstance(x, numpy.ndarray) else result[()]

    def _on_torch(self, x: Any, torch: Any) -> Any:
        if x.dtype == torch.bool or x.is_complex():
            raise InputError(f"torch arguments must be real floating point or integers, not {x.dtype}.")
        if not x.is_floating_point():
            x = x.to(torch.get_default_dtype())
        operations, cells = self._prepared("torch", _torch_operations)
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        return _on_array(wide, cells, operations, torch.finfo(wide.dtype).max).to(x.dtype)


def _on_array(x: Any, cells: tuple[_Cell, ...], operations: Mapping[str, Any], largest: float) -> Any:
    where = operations["where"]
    below = [x <= cell.upper if cell.upper_closed else x < cell.upper for cell in cells[:-1]]
    result = None
    for position in reversed(range(len(cells))):
        cell = cells[position]
        own = cell.clamped(x, largest, operations)
        if not cell.is_affine:
            if position < len(below):
                own = where(below[position], own, cell.inside)
            if position > 0:
                own = where(below[position - 1], cell.inside, own)
        value = cell.function(own)
        if result is None:  # the last piece, which a NaN falls through to
            result = where(x != x, x, value) if cell.is_constant else value
        else:
            result = where(below[position], value, result)
    return result
