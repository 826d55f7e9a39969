"""Evaluating pieces of a function on float, numpy, torch and mpmath arguments.

An expression is compiled to nested closures once per library, over that library's table of `operations`. On arrays
every piece is evaluated with the arguments that are not its own replaced by a point inside it, so that neither
overflow nor a NaN gradient leaks out of a branch that was not taken.
"""

import math
import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from elutheory.activations.operations import on_floats, on_mpmath
from elutheory.activations.pieces import Piece, degree_bound, interior_point
from elutheory.activations.stable_forms import from_zero, stable
from elutheory.errors import InputError

_LARGEST = sys.float_info.max
# Far out a function that has a limit, infinite ones included, keeps its sign at these multiples, or has vanished. Of
# an oscillating one that happens once in 512.
_NEARBY = (1.0, 0.93, 0.87, 0.79, 0.71, 0.66, 0.59, 0.53, 0.47, 0.41)
_VANISHED = 1e-30
_Function = Callable[[Any], Any]


# --- compiling ----------------------------------------------------------------------------------------------------


def constant_value(number: sympy.Expr) -> float:
    """The nearest float of an expression without free symbols; inf or nan where floats overflow or fail."""
    rough = _compile(number, None, on_floats.OPERATIONS)(None)
    if isinstance(number, sympy.Rational) or not 1e-300 < abs(rough) < 1e300:
        return rough
    return float(sympy.N(number, 25))


def _leaf(number: sympy.Expr) -> float:
    if isinstance(number, sympy.Rational):
        try:
            return number.p / number.q
        except OverflowError:
            return math.inf if number.p > 0 else -math.inf
    if number in (sympy.pi, sympy.E) or isinstance(number, sympy.ComplexRootOf):
        return float(sympy.N(number, 25))
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
    if not expression.args or isinstance(expression, sympy.ComplexRootOf):
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
    """None too where f has no limit, as sin has none."""
    if not math.isnan(function(end)):
        return None
    for power in range(4):
        farthest = math.copysign(_LARGEST ** (0.5**power), end)
        if not math.isnan(function(farthest)):
            nearby = [function(farthest * factor) for factor in _NEARBY]
            settled = max(map(abs, nearby)) < _VANISHED or max(nearby) * min(nearby) > 0.0
            return power if settled else None
    return None


def _cells(pieces: tuple[Piece, ...], symbol: sympy.Symbol, operations: Mapping[str, Any]) -> tuple[_Cell, ...]:
    cells = []
    for piece in pieces:
        in_floats = _compile(piece.expression, symbol, on_floats.OPERATIONS)
        cells.append(
            _Cell(
                function=_compile(piece.expression, symbol, operations),
                is_constant=not piece.expression.has(symbol),
                is_affine=degree_bound(piece.expression, symbol) in (0, 1),
                upper=math.inf if piece.upper is sympy.oo else constant_value(piece.upper),
                upper_exact=piece.upper,
                upper_closed=piece.upper_closed,
                inside=float(piece.lower if piece.lower == piece.upper else interior_point(piece.lower, piece.upper)),
                standin_low=_standin(in_floats, -math.inf) if piece.lower is -sympy.oo else None,
                standin_high=_standin(in_floats, math.inf) if piece.upper is sympy.oo else None,
            )
        )
    return tuple(cells)


def _numpy_operations() -> Mapping[str, Any]:
    # numpy and scipy are not loaded for floats
    from elutheory.activations.operations.on_numpy import OPERATIONS  # noqa: PLC0415

    return OPERATIONS


def _torch_operations() -> Mapping[str, Any]:
    # torch is not loaded for numpy users
    from elutheory.activations.operations.on_torch import OPERATIONS  # noqa: PLC0415

    return OPERATIONS


def _torch_differentiable() -> Callable[..., Any]:
    # torch is not loaded for numpy users
    from elutheory.activations.operations.differentiated import differentiable  # noqa: PLC0415

    return differentiable


class NumericFunction:
    """The function of the given pieces, or with `order=1` its derivative piece by piece, on numbers and arrays."""

    def __init__(self, pieces: tuple[Piece, ...], symbol: sympy.Symbol, order: int = 0) -> None:
        expressions = [stable(piece.expression) for piece in pieces]
        for _ in range(order):
            expressions = [stable(expression.diff(symbol)) for expression in expressions]  # pyright: ignore
        expressions = [from_zero(expression, symbol) for expression in expressions]
        stable_pieces = [
            Piece(piece.lower, piece.upper, expression, piece.lower_closed, piece.upper_closed)
            for piece, expression in zip(pieces, expressions, strict=True)
        ]
        self._pieces = tuple(stable_pieces)
        self._symbol = symbol
        self.expressions = tuple(expressions)
        self._order = order
        self._derivative: NumericFunction | None = None
        self._by_library: dict[Hashable, tuple[Mapping[str, Any], tuple[_Cell, ...]]] = {}

    def __call__(self, x: Any) -> Any:
        """The function's value at x, of the kind that x is; raises InputError for what is no number or array."""
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

    def differentiated(self) -> "NumericFunction":
        """The derivative, piece by piece."""
        if self._derivative is None:
            derivative = NumericFunction(self._pieces, self._symbol, order=1)
            derivative._order = self._order + 1
            self._derivative = derivative
        return self._derivative

    def _prepared(self, library: Hashable, operations: Callable[[], Mapping[str, Any]]) -> Any:
        if library not in self._by_library:
            table = operations()
            self._by_library[library] = table, _cells(self._pieces, self._symbol, table)
        return self._by_library[library]

    def _on_float(self, x: float) -> float:
        if math.isnan(x):
            return x
        _, cells = self._prepared("float", lambda: on_floats.OPERATIONS)
        cell = next(
            cell for cell in cells if x < cell.upper or (x == cell.upper and cell.upper_closed) or cell is cells[-1]
        )
        return cell.function(cell.clamped(x, _LARGEST, {"at_least": max, "at_most": min}))

    def _on_mpmath(self, x: Any) -> Any:
        context = x.context
        if context.isnan(x):
            return +x
        with context.workprec(context.prec + 40):
            _, cells = self._prepared(context, lambda: on_mpmath.operations(context))

            def owns(cell: _Cell) -> bool:
                if cell.upper_exact is sympy.oo:
                    return True
                upper = on_mpmath.constant(cell.upper_exact, context)
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
        # Rounding to 0 or to infinity is the right result, not news, and neither is nan where there is no limit.
        with numpy.errstate(over="ignore", under="ignore", invalid="ignore"):
            result = _on_array(wide, cells, operations, float(numpy.finfo(wide.dtype).max))
            result = x.copy() if result is x else numpy.asarray(result).astype(x.dtype, copy=False)
        return result if isinstance(x, numpy.ndarray) else result[()]

    def _on_torch(self, x: Any, torch: Any) -> Any:
        if x.dtype == torch.bool or x.is_complex():
            raise InputError(f"torch arguments must be real floating point or integers, not {x.dtype}.")
        if not x.is_floating_point():
            x = x.to(torch.get_default_dtype())
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        return _torch_differentiable()(self, wide).to(x.dtype)

    def on_tensor(self, x: Any) -> Any:
        """The values at a floating-point tensor of 32 bits or more; autograd through them loses digits in the tails.

        Derivatives are sums that cancel near their own zeros: those of float32 are evaluated in float64 and rounded,
        where the device has that (Apple's has not).
        """
        torch = sys.modules["torch"]
        operations, cells = self._prepared("torch", _torch_operations)
        wide = x.double() if self._order and x.device.type != "mps" else x
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
