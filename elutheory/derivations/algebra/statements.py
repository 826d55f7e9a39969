"""Evaluate a sympy statement about matrices in an algebra: one walk over the tree serves proofs and examples alike."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import sympy
from sympy.matrices.expressions.blockmatrix import BlockMatrix
from sympy.matrices.expressions.matexpr import MatrixExpr

from elutheory.derivations.proof.notation import InnerProduct
from elutheory.derivations.proof.steps import CheckError, UndecidedCheckError


@runtime_checkable
class Algebra(Protocol):
    """Where symbols get values that can be added, multiplied, transposed and inverted. Scalars are 1 x 1 values."""

    def number(self, value: sympy.Rational) -> Any:
        """A rational number as a scalar."""

    def letter(self, symbol: sympy.Basic) -> Any:
        """The value of a symbol or matrix symbol."""

    def identity(self, size: Any) -> Any:
        """The size x size identity."""

    def zero(self, rows: Any, columns: Any) -> Any:
        """The rows x columns matrix of zeros."""

    def blocks(self, rows: list[list[Any]]) -> Any:
        """A matrix from rows of blocks."""

    def add(self, left: Any, right: Any) -> Any:
        """The sum of two values of one shape."""

    def multiply(self, left: Any, right: Any) -> Any:
        """The matrix product."""

    def scale(self, scalar: Any, value: Any) -> Any:
        """A value times a scalar."""

    def transpose(self, value: Any) -> Any:
        """The transposed value."""

    def inverse(self, value: Any) -> Any:
        """The inverse of a square value."""

    def is_zero(self, value: Any) -> bool:
        """Whether the value is 0."""
        ...


class Evaluation:
    """Evaluates expressions in one algebra; defined symbols are unfolded, once each."""

    def __init__(self, algebra: Algebra, definitions: Mapping[sympy.Basic, sympy.Basic]) -> None:
        self.algebra = algebra
        self._definitions = definitions
        self._known: dict[sympy.Basic, Any] = {}

    def value(self, expression: sympy.Basic) -> Any:
        """The expression's value; raises `CheckError` where it is not well formed."""
        if expression not in self._known:
            self._known[expression] = self._compute(expression)
        return self._known[expression]

    def _compute(self, expression: sympy.Basic) -> Any:
        algebra = self.algebra
        match expression:
            case _ if expression in self._definitions:
                return self.value(self._definitions[expression])
            case sympy.Rational():
                return algebra.number(expression)
            case sympy.Symbol() | sympy.MatrixSymbol():
                return algebra.letter(expression)
            case InnerProduct():
                return self.value(expression.args[0])
            case sympy.Identity():
                return algebra.identity(expression.rows)
            case sympy.ZeroMatrix():
                return algebra.zero(*expression.shape)
            case BlockMatrix():
                grid: Any = expression.args[0]
                rows, columns = grid.shape
                return algebra.blocks([[self.value(grid[i, j]) for j in range(columns)] for i in range(rows)])
            case sympy.Transpose():
                return algebra.transpose(self.value(expression.args[0]))
            case sympy.Inverse():
                return algebra.inverse(self.value(expression.args[0]))
            case sympy.Pow() | sympy.MatPow():
                return self._power(*expression.args)
            case sympy.Add() | sympy.MatAdd():
                return self._fold(algebra.add, expression.args)
            case sympy.Mul() | sympy.MatMul():
                scalars = [arg for arg in expression.args if not isinstance(arg, MatrixExpr)]
                matrices = [arg for arg in expression.args if isinstance(arg, MatrixExpr)]
                if not matrices:
                    return self._fold(algebra.scale, scalars)
                product = self._fold(algebra.multiply, matrices)
                return algebra.scale(self._fold(algebra.scale, scalars), product) if scalars else product
        raise UndecidedCheckError(f"no rule to evaluate {type(expression).__name__} in {expression}")

    def _fold(self, combine: Any, arguments: Any) -> Any:
        values = [self.value(argument) for argument in arguments]
        result = values[0]
        for value in values[1:]:
            result = combine(result, value)
        return result

    def _power(self, base: sympy.Basic, exponent: sympy.Basic) -> Any:
        if not isinstance(exponent, sympy.Integer) or exponent == 0:
            raise UndecidedCheckError(f"no rule for the exponent {exponent}")
        value = self.value(base)
        if exponent < 0:
            value = self.algebra.inverse(value)
        result = value
        for _ in range(abs(int(exponent)) - 1):
            result = self.algebra.multiply(result, value)
        return result

    def difference(self, statement: sympy.Basic) -> Any:
        """Left side minus right side of an equation or inequality."""
        if not isinstance(statement, sympy.core.relational.Relational):
            raise CheckError(f"{statement} is not an equation or inequality")
        minus_one = self.algebra.number(sympy.Integer(-1))
        right = self.algebra.scale(minus_one, self.value(statement.rhs))
        return self.algebra.add(self.value(statement.lhs), right)
