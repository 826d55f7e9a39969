"""A noncommutative normal form: equal matrix expressions of symbolic size become equal data.

Letters are symmetric invertible n x n matrices and n-vectors. A value is a sum of words (products of letters) with
rational functions of scalars as coefficients. Three rules make the form normal: `M M⁻¹ = 1`; a row followed by a column
with only matrices between them is a scalar, which commutes; and a scalar equals its own transpose. Inverses of a word
plus terms of rank one are found by the Sherman-Morrison formula and accepted only after multiplying back.
"""

from dataclasses import dataclass, field
from typing import Any

import sympy

from elutheory.derivations.algebra.entries import LARGEST_NUMBER_OF_QUANTITIES, RationalFunction
from elutheory.derivations.proof.steps import CheckError, UndecidedCheckError

Letter = tuple[str, str]  # name and kind: "matrix", "inverse", "column", "row"
Word = tuple[Letter, ...]

_TRANSPOSED = {"matrix": "matrix", "inverse": "inverse", "column": "row", "row": "column"}
_INVERTED = {"matrix": "inverse", "inverse": "matrix"}


def _transpose(word: Word) -> Word:
    return tuple((name, _TRANSPOSED[kind]) for name, kind in reversed(word))


@dataclass(frozen=True)
class Form:
    """A rows x columns matrix as a sum of coefficient times word; the empty word is the identity (or the number 1)."""

    rows: Any  # sympy: a number or n
    columns: Any
    terms: dict[Word, RationalFunction]


@dataclass(frozen=True)
class BlockForm:
    """A matrix of forms."""

    rows: tuple[tuple[Form, ...], ...]


@dataclass
class NormalFormAlgebra:
    """The algebra of forms over given letters; scalars are rational functions of named scalars and closed words.

    `symmetric_matrices` are invertible, symmetric and positive definite. `ones` names the vector of n ones, if used:
    its inner product with itself is `size`.
    """

    symmetric_matrices: frozenset[sympy.Basic]
    positive_scalars: frozenset[sympy.Basic]
    ones: sympy.Basic | None = None
    size: sympy.Basic | None = None
    _index: dict[Any, int] = field(default_factory=dict)

    def _quantity(self, key: Any) -> RationalFunction:
        if key not in self._index:
            if len(self._index) >= LARGEST_NUMBER_OF_QUANTITIES:
                raise UndecidedCheckError(f"more than {LARGEST_NUMBER_OF_QUANTITIES} different scalars")
            self._index[key] = len(self._index)
        return RationalFunction.quantity(self._index[key])

    def number(self, value: sympy.Rational) -> Form:
        """A rational number as a 1 x 1 form."""
        return _scalar(RationalFunction.constant(value.p, value.q))

    def letter(self, symbol: sympy.Basic) -> Form:
        """A scalar, a known symmetric matrix or a vector; raises CheckError for any other symbol."""
        if isinstance(symbol, sympy.Symbol):
            return _scalar(self._quantity(symbol))
        if not isinstance(symbol, sympy.MatrixSymbol):
            raise CheckError(f"{symbol} is neither a scalar nor a matrix")
        kind = "matrix" if symbol in self.symmetric_matrices else "column"
        if kind == "column" and symbol.shape[1] != 1:
            raise CheckError(f"{symbol} is neither a known symmetric matrix nor a vector")
        return Form(symbol.shape[0], symbol.shape[1], {((symbol.name, kind),): RationalFunction.constant(1)})

    def identity(self, size: sympy.Expr) -> Form:
        """The size x size identity: the empty word."""
        return Form(size, size, {(): RationalFunction.constant(1)})

    def zero(self, rows: sympy.Expr, columns: sympy.Expr) -> Form:
        """The rows x columns matrix of zeros: no word."""
        return Form(rows, columns, {})

    def blocks(self, rows: list[list[Form]]) -> BlockForm:
        """A matrix of forms."""
        return BlockForm(tuple(tuple(row) for row in rows))

    def add(self, left: Any, right: Any) -> Any:
        """The sum of two forms or of two block forms; raises CheckError for different shapes."""
        if isinstance(left, BlockForm) and isinstance(right, BlockForm):
            if [len(row) for row in left.rows] != [len(row) for row in right.rows]:
                raise CheckError("the block matrices have different numbers of blocks")
            pairs = zip(left.rows, right.rows, strict=True)
            return BlockForm(tuple(tuple(map(self.add, *pair)) for pair in pairs))
        left, right = _plain(left), _plain(right)
        if (left.rows, left.columns) != (right.rows, right.columns):
            raise CheckError(f"a {left.rows} x {left.columns} and a {right.rows} x {right.columns} matrix added")
        terms = dict(left.terms)
        for word, coefficient in right.terms.items():
            terms[word] = terms[word] + coefficient if word in terms else coefficient
        return Form(left.rows, left.columns, {w: k for w, k in terms.items() if not k.is_zero})

    def multiply(self, left: Any, right: Any) -> Any:
        """The product of two forms or of two block forms; raises CheckError where they do not multiply."""
        if isinstance(left, BlockForm) and isinstance(right, BlockForm):
            if len(left.rows[0]) != len(right.rows):
                raise CheckError("the block matrices cannot be multiplied")
            columns = list(zip(*right.rows, strict=True))
            return BlockForm(tuple(tuple(self._sum_of_products(row, col) for col in columns) for row in left.rows))
        left, right = _plain(left), _plain(right)
        if left.columns != right.rows:
            raise CheckError(f"{left.rows} x {left.columns} times {right.rows} x {right.columns} does not multiply")
        result = Form(left.rows, right.columns, {})
        for left_word, left_coefficient in left.terms.items():
            for right_word, right_coefficient in right.terms.items():
                scalar, word = self._reduce(left_word + right_word)
                coefficient = left_coefficient * right_coefficient * scalar
                result = self.add(result, Form(left.rows, right.columns, {word: coefficient}))
        return result

    def _sum_of_products(self, row: tuple[Form, ...], column: tuple[Form, ...]) -> Form:
        products = [self.multiply(*pair) for pair in zip(row, column, strict=True)]
        total = products[0]
        for product in products[1:]:
            total = self.add(total, product)
        return total

    def _reduce(self, letters: Word) -> tuple[RationalFunction, Word]:
        """Cancel inverses, then take every closed row ... column segment out as a scalar."""
        word: list[Letter] = []
        scalar = RationalFunction.constant(1)
        for name, kind in letters:
            if word and word[-1][0] == name and _INVERTED.get(word[-1][1]) == kind:
                word.pop()
                continue
            word.append((name, kind))
            if kind == "column":
                start = next((i for i in range(len(word) - 1, -1, -1) if word[i][1] == "row"), None)
                if start is not None:
                    closed = tuple(word[start:])
                    del word[start:]
                    scalar = scalar * self._closed_word(closed)
        return scalar, tuple(word)

    def _closed_word(self, word: Word) -> RationalFunction:
        if self.ones is not None and [name for name, _ in word] == [self.ones.name] * 2:  # type: ignore[attr-defined]
            return self._quantity(self.size)
        return self._quantity(min(word, _transpose(word)))

    def scale(self, scalar: Any, value: Any) -> Any:
        """A form or a block form times a 1 x 1 form; raises CheckError for any other factor."""
        factor = _plain(scalar)
        if (factor.rows, factor.columns) != (1, 1):
            raise CheckError("only a scalar can scale a matrix")
        number = factor.terms.get(())
        if isinstance(value, BlockForm):
            return BlockForm(tuple(tuple(self.scale(scalar, block) for block in row) for row in value.rows))
        terms = {} if number is None else {word: number * k for word, k in value.terms.items()}
        return Form(value.rows, value.columns, terms)

    def transpose(self, value: Any) -> Any:
        """The transposed form or block form: words reversed, rows and columns exchanged."""
        if isinstance(value, BlockForm):
            columns = zip(*value.rows, strict=True)
            return BlockForm(tuple(tuple(self.transpose(block) for block in column) for column in columns))
        return Form(value.columns, value.rows, {_transpose(word): k for word, k in value.terms.items()})

    def inverse(self, value: Any) -> Form:
        """The inverse of a scalar, or of an invertible word plus terms of rank one (Sherman-Morrison), multiplied back.

        Raises CheckError for anything else.
        """
        value = _plain(value)
        if value.rows != value.columns:
            raise CheckError("only a square matrix has an inverse")
        if value.rows == 1:
            return _scalar(value.terms.get((), RationalFunction.constant(0)).inverse())
        invertible = [word for word in value.terms if all(kind in _INVERTED for _, kind in word)]
        if len(invertible) != 1:
            raise CheckError("only one invertible word plus terms of rank one has an inverse here")
        (base,) = invertible
        result = Form(
            value.rows,
            value.columns,
            {tuple((name, _INVERTED[kind]) for name, kind in reversed(base)): value.terms[base].inverse()},
        )
        for word, coefficient in value.terms.items():
            if word != base:
                result = self._sherman_morrison(result, word, coefficient)
        product = self.multiply(value, result)
        if not self.is_zero(self.add(product, self.scale(self.number(sympy.Integer(-1)), self.identity(value.rows)))):
            raise CheckError("the proposed inverse does not multiply back to the identity")
        return result

    def _sherman_morrison(self, inverse: Form, word: Word, coefficient: RationalFunction) -> Form:
        """`(M + k x yᵀ)⁻¹` from `M⁻¹`."""
        split = next((i for i, (_, kind) in enumerate(word) if kind == "row"), None)
        if split is None:
            raise CheckError("a term that is neither invertible nor of rank one")
        one = sympy.Integer(1)
        left = Form(inverse.rows, one, {word[:split]: coefficient})
        right = Form(one, inverse.columns, {word[split:]: RationalFunction.constant(1)})
        image = self.multiply(inverse, left)
        denominator = self.add(self.number(one), self.multiply(right, image))
        correction = self.multiply(image, self.multiply(right, inverse))
        factor = self.scale(self.number(-one), self.inverse(denominator))
        return self.add(inverse, self.scale(factor, correction))

    def is_zero(self, value: Any) -> bool:
        """Whether no word is left: the two sides of an equation are equal for every n."""
        if isinstance(value, BlockForm):
            return all(self.is_zero(block) for row in value.rows for block in row)
        return all(k.is_zero for k in value.terms.values())

    def is_sharply_nonnegative(self, value: Any) -> bool:
        """A scalar that is >= 0, and whose infimum over the quantities in it is 0: the inequality cannot be improved.

        Non-negativity by non-negative coefficients in quantities that are non-negative themselves; sharpness by
        numerator of lower degree than the denominator (all quantities to infinity) or no constant term (all to 0).
        """
        value = _plain(value)
        if (value.rows, value.columns) != (1, 1) or set(value.terms) - {()}:
            return False
        scalar = value.terms.get((), RationalFunction.constant(0))
        keys = [key for key, index in self._index.items() if index in scalar.indices()]
        if not all(self._is_nonnegative(key) for key in keys) or not scalar.has_nonnegative_coefficients():
            return False
        lower_degree = scalar.numerator.total_degree() < scalar.denominator.total_degree()
        return lower_degree or all(any(exponents) for exponents in scalar.numerator.monoms())

    def _is_nonnegative(self, key: Any) -> bool:
        if isinstance(key, tuple):  # xᵀ ... x, read the same from both ends, of positive definite letters
            return key == _transpose(key)
        return key in self.positive_scalars


def _scalar(value: RationalFunction) -> Form:
    one = sympy.Integer(1)
    return Form(one, one, {} if value.is_zero else {(): value})


def _plain(value: Any) -> Form:
    if not isinstance(value, Form):
        raise CheckError("a block matrix where a plain matrix or scalar belongs")
    return value
