"""What the symbols of a derivation stand for, and the machine checks that follow from it."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import sympy

from elutheory.derivations.algebra.entries import ExplicitAlgebra, Matrix, RationalFunction, RationalNumber
from elutheory.derivations.algebra.normal_form import NormalFormAlgebra
from elutheory.derivations.algebra.statements import Evaluation
from elutheory.derivations.proof.steps import Check, CheckError

SYMBOLIC_SIZES = (1, 2, 3)
LARGEST_RANDOM_SIZE = 6

Sampler = Callable[[int, random.Random], Mapping[sympy.Basic, Matrix]]


@dataclass(frozen=True, eq=False)
class MatrixSetting:
    """Symbols of size n: which are positive definite matrices, which are defined, and how to draw an example.

    `definitions` unfold a symbol into others; `sample(n, random)` draws exact rational values from a random finite
    sample space, where it can also give values to defined symbols by their meaning (honest sums), so that a wrong
    definition shows.
    """

    size: sympy.Symbol
    symmetric_matrices: frozenset[sympy.Basic]
    definitions: Mapping[sympy.Basic, sympy.Basic]
    sample: Sampler
    positive_scalars: frozenset[sympy.Basic] = field(default_factory=frozenset)
    ones: sympy.Basic | None = None

    @cached_property
    def _normal_form(self) -> Evaluation:
        algebra = NormalFormAlgebra(self.symmetric_matrices, self.positive_scalars, self.ones, self.size)
        return Evaluation(algebra, self.definitions)

    @cached_property
    def _symbolic_entries(self) -> tuple[Evaluation, ...]:
        return tuple(
            Evaluation(
                ExplicitAlgebra(size, self.size, RationalFunction.constant, {}, self.symmetric_matrices, self.ones),
                self.definitions,
            )
            for size in SYMBOLIC_SIZES
        )

    @cached_property
    def _random_examples(self) -> tuple[Evaluation, ...]:
        examples = []
        for size in range(1, LARGEST_RANDOM_SIZE + 1):
            letters = self.sample(size, random.Random(size))  # noqa: S311 (examples, not secrets)
            unfolded = {symbol: value for symbol, value in self.definitions.items() if symbol not in letters}
            algebra = ExplicitAlgebra(size, self.size, RationalNumber.constant, letters, ones=self.ones)
            examples.append(Evaluation(algebra, unfolded))
        return tuple(examples)

    def _equal_in_normal_form(self, statement: sympy.Basic) -> None:
        evaluation = self._normal_form
        difference = evaluation.difference(statement)
        match statement:
            case sympy.Eq():
                if not evaluation.algebra.is_zero(difference):
                    raise CheckError(f"the two sides of {statement} have different normal forms")
            case sympy.Le():
                negated = evaluation.algebra.scale(evaluation.algebra.number(sympy.Integer(-1)), difference)
                if not evaluation.algebra.is_sharply_nonnegative(negated):  # type: ignore[attr-defined]
                    raise CheckError(f"{statement} is not a sharp inequality between non-negative quantities")
            case _:
                raise CheckError(f"{statement} is neither an equation nor «at most»")

    @staticmethod
    def _equal_in_each(evaluations: tuple[Evaluation, ...], statement: sympy.Basic) -> None:
        for evaluation in evaluations:
            if not isinstance(statement, sympy.Eq):
                raise CheckError("only equations are compared entry by entry")
            if not evaluation.algebra.is_zero(evaluation.difference(statement)):
                size = evaluation.algebra.size  # type: ignore[attr-defined]
                raise CheckError(f"the two sides of {statement} differ at n = {size}")

    def _holds_in_examples(self, statement: sympy.Basic) -> None:
        if isinstance(statement, sympy.Eq):
            return self._equal_in_each(self._random_examples, statement)
        for evaluation in self._random_examples:
            ((difference,),) = evaluation.difference(statement)
            if not difference.value <= 0:
                raise CheckError(f"{statement} does not hold in an example")
        return None

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """Proof for every n, then symbolic entries of fixed sizes, then random exact rationals."""
        return (*self.inequality_checks[:1], self._entries_check, *self.inequality_checks[1:])

    @cached_property
    def _entries_check(self) -> Check:
        sizes = ", ".join(map(str, SYMBOLIC_SIZES))
        return Check(f"n = {sizes} (symbolic entries)", lambda s: self._equal_in_each(self._symbolic_entries, s))

    @cached_property
    def inequality_checks(self) -> tuple[Check, ...]:
        """Proof for every n and random exact rationals."""
        return (
            Check("every n (normal form)", self._equal_in_normal_form, proves=True),
            Check(f"n = 1…{LARGEST_RANDOM_SIZE} (random exact rationals)", self._holds_in_examples),
        )
