"""Text to sympy, through a whitelist over Python's syntax tree; nothing is ever executed.

Allowed: numbers, the variable, pi, e, `+ - * / **`, the functions of `FUNCTIONS`, and `where(condition, a, b)` whose
condition compares with `< <= > >=` (chains too) and joins with `and`, `or`, `not`.
"""

import ast
import difflib
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NoReturn

import sympy
from sympy.functions.elementary.piecewise import ExprCondPair

from elutheory.activations.evaluation import constant_value
from elutheory.activations.pieces import degree_bound
from elutheory.errors import InputError

LONGEST_TEXT = 1000
DEEPEST_NESTING = 50
DEEPEST_CALLS = 20
"""Of functions in functions; each is several levels to sympy, and derivatives grow with the square."""
MOST_FACTORS = 20
"""That vary, in one product: its derivatives grow with the cube."""
LARGEST_EXPONENT = 100
LARGEST_NUMBER = 1e300
LARGEST_SIZE = 4000
"""Operations and numbers of an expression written out: relu(u) has u twice, so that twelve nested ones are too many."""
_SMALLEST_DECIMAL, _LARGEST_DECIMAL = Decimal("1e-300"), Decimal("1e300")
_LARGEST_BITS = 4096
# Beyond it exp is no number between 1e-300 and 1e300; what is made of exp has digits enough here.
_LARGEST_EXPONENTIAL = 690
_LARGEST_ERROR_FUNCTION = 26  # 26² < 690
_EXPONENTIALS = ("exp", "expm1", "sinh", "cosh", "tanh", "logistic", "sigmoid", "softplus")

CONSTANTS: Mapping[str, sympy.Expr] = MappingProxyType({"pi": sympy.pi, "e": sympy.E})
"""The named numbers."""

_Unary = Callable[[sympy.Expr], sympy.Expr]


def _piecewise(then: sympy.Expr, condition: Any, otherwise: sympy.Expr) -> Any:
    """A Piecewise as it is written: sympy would fold the ones inside of its condition, a second for seven relu."""
    if condition in (sympy.true, sympy.false):
        return then if condition == sympy.true else otherwise
    pairs = ((then, condition), (otherwise, sympy.true))
    return sympy.Basic.__new__(sympy.Piecewise, *(sympy.Tuple.__new__(ExprCondPair, *pair) for pair in pairs))


_UNARY: Mapping[str, _Unary] = MappingProxyType(
    {
        "exp": sympy.exp,
        "expm1": lambda u: sympy.exp(u) - 1,
        "log": sympy.log,
        "log1p": lambda u: sympy.log(1 + u),
        "sqrt": sympy.sqrt,
        "abs": sympy.Abs,
        "sign": sympy.sign,
        "sin": sympy.sin,
        "cos": sympy.cos,
        "atan": sympy.atan,
        "asinh": sympy.asinh,
        "sinh": sympy.sinh,
        "cosh": sympy.cosh,
        "tanh": sympy.tanh,
        "erf": sympy.erf,
        "erfc": sympy.erfc,
        "relu": lambda u: _piecewise(u, sympy.Gt(u, 0, evaluate=not u.free_symbols), sympy.Integer(0)),
        "logistic": lambda u: 1 / (1 + sympy.exp(-u)),
        "sigmoid": lambda u: 1 / (1 + sympy.exp(-u)),
        "softplus": lambda u: sympy.log(1 + sympy.exp(u)),
    }
)

FUNCTIONS: tuple[str, ...] = (*_UNARY, "max", "min", "where")
"""The functions that may be called."""

_COMPARISONS = {ast.Lt: sympy.Lt, ast.LtE: sympy.Le, ast.Gt: sympy.Gt, ast.GtE: sympy.Ge}


def parse_expression(text: str, variable: str = "x") -> sympy.Expr:
    """The sympy expression of `text` in the real symbol `variable`; decimals are read exactly.

    Raises InputError naming the offending part and its column, before anything is computed: anything outside the
    whitelist, more than 1000 characters, nesting deeper than 50 (functions: 20), products of more than 20 varying
    factors, more than 4000 operations and numbers with every relu written out, exponents and degrees of polynomials
    beyond ±100, constants beyond 1e300, constant arguments of exponentials beyond ±690, and constants that are not
    finite real numbers.
    """
    if not isinstance(text, str):
        raise InputError(f"expected text, not {type(text).__name__}.")
    if not variable.isidentifier() or variable in CONSTANTS or variable in FUNCTIONS:
        raise InputError(f"the variable must be an identifier other than a function's or constant's, not {variable!r}.")
    stripped = text.strip()
    if not stripped:
        raise InputError("the expression is empty; write for example where(x > 0, x, exp(x) - 1).")
    if len(stripped) > LONGEST_TEXT:
        raise InputError(f"the expression has {len(stripped)} characters; at most {LONGEST_TEXT} are allowed.")
    _refuse_characters(stripped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = ast.parse(stripped, mode="eval")
    except SyntaxError as error:
        message = (error.msg or "invalid syntax").rstrip(".")
        raise InputError(f"syntax error at column {error.offset or 1}: {message}.") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"the expression is nested too deeply; at most {DEEPEST_NESTING} levels.") from error
    parser = _Parser(stripped, sympy.Symbol(variable, real=True))
    parser.refuse_large(tree.body)
    parser.refuse_deep_calls(tree.body)
    return parser.number(tree.body, 0)


def _refuse_characters(text: str) -> None:
    depth = 0
    for column, character in enumerate(text, start=1):
        if not character.isascii() or not character.isprintable() or character in "#\"'`\\$?@;":
            raise InputError(f"the character {character!r} at column {column} is not allowed in an expression.")
        depth += (character in "([{") - (character in ")]}")
        if depth > DEEPEST_NESTING:
            raise InputError(f"column {column}: parentheses nest deeper than the {DEEPEST_NESTING} levels allowed.")


@dataclass(frozen=True)
class _Parser:
    text: str
    symbol: sympy.Symbol

    def number(self, node: ast.expr, depth: int) -> sympy.Expr:
        if depth > DEEPEST_NESTING:
            self._refuse(node, f"is nested too deeply; at most {DEEPEST_NESTING} levels are allowed")
        result = self._number(node, depth + 1)
        return self._checked(node, result) if not result.has(self.symbol) else self._finite(node, result)

    def _number(self, node: ast.expr, depth: int) -> sympy.Expr:
        match node:
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                return self._literal(node)
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.number(operand, depth)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.number(operand, depth)
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                return self._sum(node, depth)
            case ast.BinOp(op=ast.Mult() | ast.Div()):
                return self._product(node, depth)
            case ast.BinOp(op=ast.Pow(), left=left, right=right):
                return self._power(node, self.number(left, depth), self.number(right, depth))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(node, name, arguments, depth)
            case _:
                self._refuse(node, f"is not allowed; allowed are numbers, {self.symbol}, + - * / **, {_listed()}")

    def _sum(self, node: ast.expr, depth: int) -> sympy.Expr:
        """A flat sum is one level, however many terms it has."""
        terms = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            term = self.number(node.right, depth)
            terms.append(term if isinstance(node.op, ast.Add) else -term)
            node = node.left
        return sympy.Add(self.number(node, depth), *reversed(terms))

    def _product(self, whole: ast.expr, depth: int) -> sympy.Expr:
        node, factors = whole, []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            factor = self.number(node.right, depth)
            if isinstance(node.op, ast.Div) and factor.is_zero:
                self._refuse(node.right, "is zero; division by zero is not allowed")
            factors.append(factor if isinstance(node.op, ast.Mult) else 1 / factor)
            node = node.left
        factors.append(self.number(node, depth))
        if sum(factor.has(self.symbol) for factor in factors) > MOST_FACTORS:
            self._refuse(whole, f"has more than {MOST_FACTORS} factors with {self.symbol}")
        self._checked(whole, sympy.Mul(*(factor for factor in factors if not factor.has(self.symbol))))
        return sympy.Mul(*reversed(factors))

    def refuse_large(self, root: ast.expr) -> None:
        """Raises InputError where the expression written out is too large; sizes of the parts first."""
        sizes: dict[ast.AST, int] = {}
        for node in reversed(_in_order(root)):
            inside = sum(sizes[child] for child in ast.iter_child_nodes(node))
            is_relu = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "relu"
            sizes[node] = 1 + inside * (2 if is_relu else 1)
            if sizes[node] > LARGEST_SIZE:
                self._refuse(root, f"has more than {LARGEST_SIZE} operations and numbers with every relu written out")

    def refuse_deep_calls(self, root: ast.expr) -> None:
        """Raises InputError where functions stand in functions too deeply."""
        depths: dict[ast.AST, int] = {root: 0}
        for node in _in_order(root):
            depth = depths[node] + isinstance(node, ast.Call)
            if depth > DEEPEST_CALLS and isinstance(node, ast.Call):
                self._refuse(node, f"is nested too deeply; at most {DEEPEST_CALLS} functions may stand in each other")
            depths |= dict.fromkeys(ast.iter_child_nodes(node), depth)

    def condition(self, node: ast.expr, depth: int) -> Any:
        if depth > DEEPEST_NESTING:
            self._refuse(node, f"is nested too deeply; at most {DEEPEST_NESTING} levels are allowed")
        match node:
            case ast.BoolOp(op=operator, values=values):
                join = sympy.And if isinstance(operator, ast.And) else sympy.Or
                return join(*(self.condition(value, depth + 1) for value in values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return sympy.Not(self.condition(operand, depth + 1))
            case ast.Compare(left=left, ops=operators, comparators=others):
                sides = [self.number(side, depth + 1) for side in (left, *others)]
                for operator in operators:
                    if type(operator) not in _COMPARISONS:
                        self._refuse(node, "uses a comparison other than < <= > >=")
                return sympy.And(
                    *(
                        self._compared(type(operator), a, b)
                        for operator, a, b in zip(operators, sides[:-1], sides[1:], strict=True)
                    )
                )
            case _:
                self._refuse(node, "is not a condition; compare with < <= > >= and join with and, or, not")

    def _compared(self, operator: type[ast.cmpop], a: sympy.Expr, b: sympy.Expr) -> Any:
        """A comparison as it is written: sympy would look for its truth, which takes long in nested cases."""
        varies = a.has(self.symbol) or b.has(self.symbol)
        return _COMPARISONS[operator](a, b, evaluate=False) if varies else _COMPARISONS[operator](a, b)

    def _literal(self, node: ast.Constant) -> sympy.Expr:
        if isinstance(node.value, int):
            if node.value.bit_length() > _LARGEST_BITS:
                self._refuse(node, f"is too large; numbers go up to {LARGEST_NUMBER:g}")
            return sympy.Integer(node.value)
        decimal = Decimal(self._source(node).replace("_", ""))
        if decimal and not _SMALLEST_DECIMAL <= decimal.copy_abs() <= _LARGEST_DECIMAL:
            self._refuse(node, f"is out of range; numbers go from {1 / LARGEST_NUMBER:g} to {LARGEST_NUMBER:g}")
        return sympy.Rational(str(decimal))

    def _name(self, node: ast.expr, name: str) -> sympy.Expr:
        if name == self.symbol.name:
            return self.symbol
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in FUNCTIONS:
            self._refuse(node, f"is a function; call it, as in {name}({self.symbol})")
        self._refuse(node, f"is not a known name; known are {self.symbol}, {', '.join(CONSTANTS)}, {_listed()}")

    def _power(self, node: ast.expr, base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
        if not exponent.has(self.symbol):
            if abs(constant_value(exponent)) > LARGEST_EXPONENT:
                self._refuse(node, f"has an exponent beyond ±{LARGEST_EXPONENT}")
            if base.is_zero and constant_value(exponent) <= 0:
                self._refuse(node, "divides by zero, which is not allowed")
        if base.has(self.symbol) and exponent.is_Integer:
            degree = degree_bound(base, self.symbol)
            inner = base.exp if isinstance(base, sympy.Pow) and base.exp.is_Integer else 1
            if abs(exponent) * max(degree or 1, abs(inner)) > LARGEST_EXPONENT:
                self._refuse(node, f"has an exponent or a degree beyond ±{LARGEST_EXPONENT}")
        if not base.has(self.symbol):
            if constant_value(base) < 0 and not exponent.is_Integer:
                self._refuse(node, "raises a negative number to a power that is not an integer")
            if isinstance(base, sympy.Rational) and exponent.is_Rational:
                bits = max(abs(base.p).bit_length(), base.q.bit_length())
                if bits * abs(constant_value(exponent)) > _LARGEST_BITS:
                    self._refuse(node, f"is too large; numbers go up to {LARGEST_NUMBER:g}")
        return base**exponent

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr], depth: int) -> sympy.Expr:
        if name == "where":
            if len(arguments) != 3:
                self._refuse(node, "must have three arguments: where(condition, a, b)")
            condition = self.condition(arguments[0], depth)
            a, b = (self.number(argument, depth) for argument in arguments[1:])
            return _piecewise(a, condition, b)
        if name in ("max", "min"):
            if len(arguments) < 2:
                self._refuse(node, f"must have at least two arguments: {name}(a, b)")
            values = [self.number(argument, depth) for argument in arguments]
            largest_or_smallest = sympy.Max if name == "max" else sympy.Min
            varies = any(value.has(self.symbol) for value in values)
            return largest_or_smallest(*dict.fromkeys(values), evaluate=not varies)
        if name not in _UNARY:
            near = difflib.get_close_matches(name, FUNCTIONS, n=1)
            suggestion = f"did you mean {near[0]}? " if near else ""
            self._refuse(node, f"calls an unknown function; {suggestion}known are {_listed()}")
        if len(arguments) != 1:
            self._refuse(node, f"must have one argument: {name}({self.symbol})")
        argument = self.number(arguments[0], depth)
        if not argument.has(self.symbol):
            at = constant_value(argument)
            if (name, at) in (("log", 0.0), ("log1p", -1.0)) or (name == "sqrt" and at < 0):
                self._refuse(node, f"is outside the domain of {name}")
            bound = _LARGEST_EXPONENTIAL if name in _EXPONENTIALS else _LARGEST_ERROR_FUNCTION
            if (name in _EXPONENTIALS or name in ("erf", "erfc")) and not abs(at) <= bound:
                self._refuse(node, f"has a constant argument beyond ±{bound}")
        return _UNARY[name](argument)

    def _checked(self, node: ast.expr, constant: sympy.Expr) -> sympy.Expr:
        self._finite(node, constant)
        value = math.nan if constant.has(sympy.I) else constant_value(constant)
        if not abs(value) <= LARGEST_NUMBER:
            self._refuse(node, f"is not a real number up to {LARGEST_NUMBER:g}")
        return constant

    def _finite(self, node: ast.expr, expression: sympy.Expr) -> sympy.Expr:
        if expression.has(sympy.nan, sympy.zoo, sympy.oo, sympy.I) or expression.is_extended_real is False:
            self._refuse(node, "is not a finite real number")
        return expression

    def _source(self, node: ast.expr) -> str:
        return self.text[node.col_offset : node.end_col_offset]

    def _refuse(self, node: ast.expr, reason: str) -> NoReturn:
        source = self._source(node)
        shown = source if len(source) <= 40 else source[:37] + "..."
        raise InputError(f"{shown!r} at column {node.col_offset + 1} {reason}.")


def _in_order(root: ast.expr) -> list[ast.AST]:
    """All nodes, every one before its parts."""
    found: list[ast.AST] = [root]
    for node in found:
        found.extend(ast.iter_child_nodes(node))
    return found


def _listed() -> str:
    return ", ".join(FUNCTIONS)
