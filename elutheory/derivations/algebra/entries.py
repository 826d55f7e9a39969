"""Matrices of one fixed size with explicit entries: exact rational numbers, or rational functions of named quantities.

The rational functions are over Q and kept in lowest terms, so that equal functions are equal data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sympy
from flint import Ordering, fmpq, fmpq_mpoly_ctx

from elutheory.derivations.proof.steps import CheckError, UndecidedCheckError

Matrix = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class RationalNumber:
    """An exact rational number with the operations of `RationalFunction`."""

    value: fmpq

    @staticmethod
    def constant(numerator: int, denominator: int = 1) -> "RationalNumber":
        """The number numerator / denominator."""
        return RationalNumber(fmpq(numerator, denominator))

    def __add__(self, other: "RationalNumber") -> "RationalNumber":
        return RationalNumber(self.value + other.value)

    def __sub__(self, other: "RationalNumber") -> "RationalNumber":
        return RationalNumber(self.value - other.value)

    def __mul__(self, other: "RationalNumber") -> "RationalNumber":
        return RationalNumber(self.value * other.value)

    @property
    def is_zero(self) -> bool:
        """Whether it is 0."""
        return self.value == 0

    def inverse(self) -> "RationalNumber":
        """The reciprocal; raises CheckError for 0."""
        if self.is_zero:
            raise CheckError("a division by zero")
        return RationalNumber(1 / self.value)


@dataclass
class ExplicitAlgebra:
    """Matrices with `size` in place of n; `constant` embeds a rational number in the field of entries.

    A letter has the value given in `letters`; without one it gets entries of its own, the same above and below the
    diagonal if it is in `symmetric_matrices`.
    """

    size: int
    size_symbol: sympy.Basic
    constant: Callable[..., Any]
    letters: Mapping[sympy.Basic, Matrix] = field(default_factory=dict)
    symmetric_matrices: frozenset[sympy.Basic] = frozenset()
    ones: sympy.Basic | None = None
    _index: dict[Any, int] = field(default_factory=dict)

    def _entry(self, key: Any) -> Any:
        if self.constant is not RationalFunction.constant:
            raise CheckError(f"{key[0]} has no value in this example")
        if len(self._index) >= LARGEST_NUMBER_OF_QUANTITIES:
            raise UndecidedCheckError(f"more than {LARGEST_NUMBER_OF_QUANTITIES} different entries")
        return RationalFunction.quantity(self._index.setdefault(key, len(self._index)))

    def number(self, value: Any) -> Matrix:
        """A rational number as a 1 x 1 matrix."""
        return ((self.constant(value.p, value.q),),)

    def letter(self, symbol: sympy.Basic) -> Matrix:
        """The value of a symbol: the one given, the size, the vector of ones, or entries of its own.

        Raises CheckError for a symbol without a value among rational numbers, and where there are too many entries.
        """
        if symbol in self.letters:
            return self.letters[symbol]
        if symbol == self.size_symbol:
            return ((self.constant(self.size),),)
        if isinstance(symbol, sympy.Symbol):
            return ((self._entry((symbol,)),),)
        if not isinstance(symbol, sympy.MatrixSymbol):
            raise CheckError(f"{symbol} is neither a scalar nor a matrix")
        if symbol == self.ones:
            return ((self.constant(1),),) * self.size
        rows, columns = self._dimension(symbol.shape[0]), self._dimension(symbol.shape[1])
        symmetric = symbol in self.symmetric_matrices
        return tuple(
            tuple(self._entry((symbol, *(sorted((i, j)) if symmetric else (i, j)))) for j in range(columns))
            for i in range(rows)
        )

    def _dimension(self, expression: Any) -> int:
        return int(expression.subs(self.size_symbol, self.size))

    def identity(self, size: sympy.Expr) -> Matrix:
        """The size x size identity; sizes may be sympy's, with n in them."""
        n = self._dimension(size)
        return tuple(tuple(self.constant(int(i == j)) for j in range(n)) for i in range(n))

    def zero(self, rows: sympy.Expr, columns: sympy.Expr) -> Matrix:
        """The rows x columns matrix of zeros; sizes may be sympy's, with n in them."""
        return ((self.constant(0),) * self._dimension(columns),) * self._dimension(rows)

    def blocks(self, rows: list[list[Matrix]]) -> Matrix:
        """One matrix from blocks; raises CheckError where the heights in a row of blocks differ."""
        result: list[tuple[Any, ...]] = []
        for row in rows:
            if len({len(block) for block in row}) != 1:
                raise CheckError("the blocks of a row differ in height")
            result.extend(tuple(entry for line in lines for entry in line) for lines in zip(*row, strict=True))
        return tuple(result)

    def add(self, left: Matrix, right: Matrix) -> Matrix:
        """The sum, entry by entry; raises CheckError for matrices of different shapes."""
        if (len(left), len(left[0])) != (len(right), len(right[0])):
            raise CheckError("matrices of different shapes added")
        return tuple(tuple(x + y for x, y in zip(*rows, strict=True)) for rows in zip(left, right, strict=True))

    def multiply(self, left: Matrix, right: Matrix) -> Matrix:
        """The matrix product, (r, m) times (m, c) -> (r, c); raises CheckError where m differs."""
        if len(left[0]) != len(right):
            raise CheckError("matrices whose shapes do not fit multiplied")
        columns = tuple(zip(*right, strict=True))
        return tuple(tuple(self._inner_product(row, column) for column in columns) for row in left)

    def _inner_product(self, row: tuple[Any, ...], column: tuple[Any, ...]) -> Any:
        total = self.constant(0)
        for x, y in zip(row, column, strict=True):
            total = total + x * y
        return total

    def scale(self, scalar: Matrix, value: Matrix) -> Matrix:
        """A matrix times a scalar, which is a 1 x 1 matrix; raises CheckError for any other."""
        if (len(scalar), len(scalar[0])) != (1, 1):
            raise CheckError("only a scalar can scale a matrix")
        return tuple(tuple(scalar[0][0] * x for x in row) for row in value)

    def transpose(self, value: Matrix) -> Matrix:
        """The transposed matrix, (r, c) -> (c, r)."""
        return tuple(zip(*value, strict=True))

    def inverse(self, value: Matrix) -> Matrix:
        """The inverse by Gauss-Jordan elimination; raises CheckError for a matrix that is singular or not square."""
        n = len(value)
        if n != len(value[0]):
            raise CheckError("only a square matrix has an inverse")
        rows = [[*row, *unit] for row, unit in zip(value, self.identity(sympy.Integer(n)), strict=True)]
        for column in range(n):
            pivot = next((i for i in range(column, n) if not rows[i][column].is_zero), None)
            if pivot is None:
                raise CheckError("a singular matrix inverted")
            rows[column], rows[pivot] = rows[pivot], rows[column]
            factor = rows[column][column].inverse()
            rows[column] = [factor * x for x in rows[column]]
            for i in range(n):
                if i != column and not rows[i][column].is_zero:
                    multiple = rows[i][column]
                    rows[i] = [x - multiple * y for x, y in zip(rows[i], rows[column], strict=True)]
        return tuple(tuple(row[n:]) for row in rows)

    def is_zero(self, value: Matrix) -> bool:
        """Whether every entry is 0."""
        return all(x.is_zero for row in value for x in row)


LARGEST_NUMBER_OF_QUANTITIES = 64


@cache
def _context() -> Any:
    names = tuple(f"q{index}" for index in range(LARGEST_NUMBER_OF_QUANTITIES))
    return fmpq_mpoly_ctx.get(names, Ordering.degrevlex)


@dataclass(frozen=True)
class RationalFunction:
    """`numerator / denominator`, two polynomials without common factor; the denominator's leading coefficient is 1."""

    numerator: Any
    denominator: Any

    @staticmethod
    def constant(numerator: int, denominator: int = 1) -> "RationalFunction":
        """The constant numerator / denominator."""
        context = _context()
        return RationalFunction(context.constant(fmpq(numerator, denominator)), context.constant(fmpq(1)))

    @staticmethod
    def quantity(index: int) -> "RationalFunction":
        """The quantity with this index (0 ... LARGEST_NUMBER_OF_QUANTITIES - 1)."""
        return RationalFunction(_context().gens()[index], _context().constant(fmpq(1)))

    @property
    def is_zero(self) -> bool:
        """Whether it is 0 everywhere."""
        return self.numerator == 0

    def has_nonnegative_coefficients(self) -> bool:
        """Sufficient for being >= 0 wherever all quantities are: no negative coefficient above or below the bar."""
        return all(value >= 0 for part in (self.numerator, self.denominator) for value in part.coeffs())

    def indices(self) -> set[int]:
        """The quantities that occur."""
        used: set[int] = set()
        for part in (self.numerator, self.denominator):
            used.update(index for index, degree in enumerate(part.degrees()) if degree > 0)
        return used

    def __add__(self, other: "RationalFunction") -> "RationalFunction":
        if self.denominator == other.denominator:
            return _lowest_terms(self.numerator + other.numerator, self.denominator)
        return _lowest_terms(
            self.numerator * other.denominator + other.numerator * self.denominator,
            self.denominator * other.denominator,
        )

    def __neg__(self) -> "RationalFunction":
        return RationalFunction(-self.numerator, self.denominator)

    def __sub__(self, other: "RationalFunction") -> "RationalFunction":
        return self + (-other)

    def __mul__(self, other: "RationalFunction") -> "RationalFunction":
        return _lowest_terms(self.numerator * other.numerator, self.denominator * other.denominator)

    def inverse(self) -> "RationalFunction":
        """The reciprocal; raises CheckError for the function 0."""
        if self.is_zero:
            raise CheckError("a division by zero")
        return _lowest_terms(self.denominator, self.numerator)


def _lowest_terms(numerator: Any, denominator: Any) -> RationalFunction:
    common = numerator.gcd(denominator)
    if common != 1:
        numerator, denominator = numerator / common, denominator / common
    leading = denominator.leading_coefficient()
    if leading != 1:
        numerator, denominator = numerator / leading, denominator / leading
    return RationalFunction(numerator, denominator)
