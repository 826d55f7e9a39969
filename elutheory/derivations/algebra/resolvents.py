"""A rectangular matrix of symbolic size with the inverses of its damped Gram matrices, in normal form.

Words are products of Φ, Φᵀ, vectors, and the resolvents R = (ΦᵀΦ + νI)⁻¹ and Q = (ΦΦᵀ + νI)⁻¹. Where ΦᵀΦ stands next to
R, or ΦΦᵀ next to Q, it cancels: `ΦᵀΦ R = I − νR`. With `swaps`, also `R Φᵀ = Φᵀ Q` and `Φ R = Q Φ`: the push-through
identity, proved by clearing the resolvents.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import ExplicitAlgebra, Matrix, RationalFunction, RationalNumber
from elutheory.derivations.algebra.normal_form import Form, NormalFormAlgebra, Word
from elutheory.derivations.algebra.statements import Evaluation
from elutheory.derivations.proof.steps import Check, CheckError, UndecidedCheckError, sides

_ONE = RationalFunction.constant(1)
_PHI, _PHI_T = ("Φ", "matrix"), ("Φᵀ", "matrix")
_R, _Q = ("R", "matrix"), ("Q", "matrix")
_TRANSPOSED = {_PHI: _PHI_T, _PHI_T: _PHI}
_TURNED = {"row": "column", "column": "row", "matrix": "matrix"}
_SWAPS: dict[Word, Word] = {(_R, _PHI_T): (_PHI_T, _Q), (_PHI, _R): (_Q, _PHI)}
_CANCELLED: dict[Word, tuple[str, str]] = {  # the product -> I − ν times the resolvent
    (_R, _PHI_T, _PHI): _R,
    (_PHI_T, _PHI, _R): _R,
    (_PHI_T, _Q, _PHI): _R,  # after a swap
    (_Q, _PHI, _PHI_T): _Q,
    (_PHI, _PHI_T, _Q): _Q,
}
SYMBOLIC_SHAPES = ((1, 1), (1, 2), (2, 1), (2, 2), (3, 2))
RANDOM_SHAPES = ((1, 1), (1, 3), (3, 1), (2, 4), (5, 3), (4, 4))


def _transpose(word: Word) -> Word:
    return tuple(_TRANSPOSED.get((name, kind), (name, _TURNED[kind])) for name, kind in reversed(word))


@dataclass
class ResolventAlgebra:
    """The algebra of Φ = `rectangle`, the vector `ones` of its rows, and the resolvents at ν = `damping`."""

    rectangle: sympy.MatrixSymbol
    ones: sympy.MatrixSymbol
    damping: sympy.Expr
    swaps: bool = True
    _scalars: NormalFormAlgebra = field(default_factory=lambda: NormalFormAlgebra(frozenset(), frozenset()))

    def number(self, value: sympy.Rational) -> Form:
        """A rational number as a 1 x 1 form."""
        return self._scalars.number(value)

    def letter(self, symbol: sympy.Basic) -> Form:
        """Φ, or a scalar or vector."""
        if symbol == self.rectangle:
            return Form(*self.rectangle.shape, {(_PHI,): _ONE})
        return self._scalars.letter(symbol)

    def identity(self, size: sympy.Expr) -> Form:
        """The size x size identity: the empty word."""
        return self._scalars.identity(size)

    def zero(self, rows: sympy.Expr, columns: sympy.Expr) -> Form:
        """The rows x columns matrix of zeros: no word."""
        return self._scalars.zero(rows, columns)

    def blocks(self, rows: list[list[Form]]) -> Form:
        """Refused with CheckError: no statement about resolvents has blocks."""
        raise UndecidedCheckError("block matrices have no rule here")

    def add(self, left: Form, right: Form) -> Form:
        """The sum of two forms of one shape."""
        return self._scalars.add(left, right)

    def scale(self, scalar: Form, value: Form) -> Form:
        """A form times a scalar."""
        return self._scalars.scale(scalar, value)

    def is_zero(self, value: Form) -> bool:
        """Whether no word is left."""
        return self._scalars.is_zero(value)

    def transpose(self, value: Form) -> Form:
        """The transposed form: words reversed, Φ and Φᵀ exchanged; the resolvents are symmetric."""
        return Form(value.columns, value.rows, {_transpose(word): k for word, k in value.terms.items()})

    def multiply(self, left: Form, right: Form) -> Form:
        """The product in normal form; raises CheckError where the shapes do not multiply."""
        if left.columns != right.rows:
            raise CheckError(f"{left.rows} x {left.columns} times {right.rows} x {right.columns} does not multiply")
        result = Form(left.rows, right.columns, {})
        for left_word, left_coefficient in left.terms.items():
            for right_word, right_coefficient in right.terms.items():
                coefficient = left_coefficient * right_coefficient
                reduced = {word: coefficient * k for word, k in self._reduce(left_word + right_word).items()}
                result = self.add(result, Form(left.rows, right.columns, reduced))
        return result

    def inverse(self, value: Form) -> Form:
        """The inverse of a scalar, of `k (ΦᵀΦ + νI)` or of `k (ΦΦᵀ + νI)`; raises CheckError for any other form."""
        if value.rows == value.columns == 1:
            return self._scalars.inverse(value)
        for gram, resolvent in (((_PHI_T, _PHI), _R), ((_PHI, _PHI_T), _Q)):
            factor = value.terms.get(gram)
            if factor is not None and set(value.terms) == {gram, ()}:
                if not (value.terms[()] - factor * self._damping).is_zero:
                    raise CheckError(f"only the damping {self.damping} has a resolvent here")
                return Form(value.rows, value.columns, {(resolvent,): factor.inverse()})
        raise CheckError("only a damped Gram matrix has an inverse here")

    @property
    def _damping(self) -> RationalFunction:
        return Evaluation(self, {}).value(self.damping).terms[()]

    def _reduce(self, word: Word) -> dict[Word, RationalFunction]:
        """The normal form of one product: rules applied until none fits, closed products taken out as scalars."""
        for start in range(len(word)):
            for length in (2, 3):
                part = word[start : start + length]
                before, after = word[:start], word[start + length :]
                if part in _CANCELLED:
                    resolvent = self._reduce((*before, _CANCELLED[part], *after))
                    without = self._reduce(before + after)
                    minus = -self._damping
                    return _sum(without, {key: minus * k for key, k in resolvent.items()})
                if self.swaps and part in _SWAPS:
                    return self._reduce(before + _SWAPS[part] + after)
        rows = [index for index, (_, kind) in enumerate(word) if kind == "row"]
        columns = [index for index, (_, kind) in enumerate(word) if kind == "column"]
        for end in columns:
            if starts := [index for index in rows if index < end]:
                scalar = self._closed(word[starts[-1] : end + 1])
                return {key: scalar * k for key, k in self._reduce(word[: starts[-1]] + word[end + 1 :]).items()}
        return {word: _ONE}

    def _closed(self, word: Word) -> RationalFunction:
        if [name for name, _ in word] == [self.ones.name] * 2:
            return self._scalars._quantity(self.ones.shape[0])
        return self._scalars._quantity(min(word, _transpose(word)))


def _sum(left: Mapping[Word, RationalFunction], right: Mapping[Word, RationalFunction]) -> dict[Word, RationalFunction]:
    result = dict(left)
    for word, coefficient in right.items():
        result[word] = result[word] + coefficient if word in result else coefficient
    return {word: k for word, k in result.items() if not k.is_zero}


@dataclass(frozen=True, eq=False)
class RectangularSetting:
    """Statements about a rectangular matrix of any shape; `definitions` unfold symbols into it.

    `sample(shape, random)` gives further symbols their meaning by honest sums in the random examples.
    """

    rectangle: sympy.MatrixSymbol
    ones: sympy.MatrixSymbol
    damping: sympy.Expr
    definitions: Mapping[sympy.Basic, sympy.Basic]
    sample: Callable[[Matrix, random.Random], Mapping[sympy.Basic, Matrix]]

    def _difference(self, statement: sympy.Basic, swaps: bool) -> tuple[Evaluation, Any]:
        sides(statement)  # an equation, or CheckError
        evaluation = Evaluation(ResolventAlgebra(self.rectangle, self.ones, self.damping, swaps), self.definitions)
        return evaluation, evaluation.difference(statement)

    def _equal(self, statement: sympy.Basic) -> None:
        evaluation, difference = self._difference(statement, swaps=True)
        if not evaluation.algebra.is_zero(difference):
            raise CheckError(f"the two sides of {statement} have different normal forms")

    def _equal_cleared(self, statement: sympy.Basic) -> None:
        """Without the swap: the difference times ΦᵀΦ + νI from the left and ΦΦᵀ + νI from the right is zero."""
        evaluation, difference = self._difference(statement, swaps=False)
        algebra = evaluation.algebra
        rows, columns = self.rectangle.shape
        left = self.rectangle.T * self.rectangle + self.damping * sympy.Identity(columns)
        right = self.rectangle * self.rectangle.T + self.damping * sympy.Identity(rows)
        product = algebra.multiply(evaluation.value(left), algebra.multiply(difference, evaluation.value(right)))
        if not algebra.is_zero(product):
            raise CheckError(f"the two sides of {statement} differ once the resolvents are cleared")

    def _equal_at(self, shape: tuple[int, int], letters: Mapping[Any, Matrix], constant: Any, statement: Any) -> None:
        sizes: dict[Any, Any] = {
            size: sympy.Integer(number) for size, number in zip(self.rectangle.shape, shape, strict=True)
        }
        named = {symbol.xreplace(sizes): value for symbol, value in letters.items()}
        named[self.ones.xreplace(sizes)] = ((constant(1),),) * shape[0]
        unfolded = {
            symbol.xreplace(sizes): formula.xreplace(sizes)
            for symbol, formula in self.definitions.items()
            if symbol not in letters
        }
        evaluation = Evaluation(ExplicitAlgebra(shape[0], self.rectangle.shape[0], constant, named), unfolded)
        sides(statement)
        if not evaluation.algebra.is_zero(evaluation.difference(_with_sizes(statement, sizes))):
            raise CheckError(f"the two sides of {statement} differ for a {shape[0]} x {shape[1]} matrix")

    def _equal_symbolically(self, statement: sympy.Basic) -> None:
        for shape in SYMBOLIC_SHAPES:
            self._equal_at(shape, {}, RationalFunction.constant, statement)

    def _equal_in_examples(self, statement: sympy.Basic) -> None:
        for seed, shape in enumerate(RANDOM_SHAPES):
            generator = random.Random(seed)  # noqa: S311 (examples, not secrets)
            rows, columns = shape
            entries: Matrix = tuple(
                tuple(RationalNumber(fmpq(generator.randint(-7, 7), 3)) for _ in range(columns)) for _ in range(rows)
            )
            letters = {self.rectangle: entries, **self.sample(entries, generator)}
            self._equal_at(shape, letters, RationalNumber.constant, statement)

    @property
    def checks(self) -> tuple[Check, ...]:
        """Proof for every shape, then symbolic entries of fixed shapes, then random exact rationals."""
        return (Check("every shape (normal form with resolvents)", self._equal, proves=True), *self._fixed_shapes)

    @property
    def cleared_checks(self) -> tuple[Check, ...]:
        """Checks of the push-through identity itself, which the normal form uses: the proof multiplies it out."""
        proof = Check("every shape (resolvents cleared)", self._equal_cleared, proves=True)
        return (proof, *self._fixed_shapes)

    @property
    def _fixed_shapes(self) -> tuple[Check, ...]:
        return (
            Check(f"{_written(SYMBOLIC_SHAPES)} (symbolic entries)", self._equal_symbolically),
            Check(f"{_written(RANDOM_SHAPES)} (random exact rationals)", self._equal_in_examples),
        )


def _written(shapes: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{rows}×{columns}" for rows, columns in shapes)


def _with_sizes(statement: sympy.Eq, sizes: Mapping[Any, Any]) -> sympy.Basic:
    try:
        left, right = (side.xreplace(dict(sizes)) for side in statement.args)
    except ValueError as error:  # shapes that fit only while they are symbols
        raise CheckError(f"{statement} does not multiply: {error}") from error
    return sympy.Eq(left, right, evaluate=False)  # pyright: ignore[reportReturnType]
