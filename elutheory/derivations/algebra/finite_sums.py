"""Check statements about sums over a finite sample space, for every space at once and in examples.

For every space: a sum `sum_i p_i (...)` is a linear functional of the polynomial under it, so two expressions agree on
every sample space if they agree as rational functions of the sums of monomials, with `sum_i p_i = 1`.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import sympy

from elutheory.derivations.algebra.entries import RationalFunction, RationalNumber
from elutheory.derivations.proof.steps import Check, CheckError, UndecidedCheckError, sides

NUMBERS_OF_POINTS = (1, 2, 3)
LARGEST_RANDOM_NUMBER_OF_POINTS = 6

Polynomial = dict[tuple[sympy.Basic, ...], Any]  # monomial in indexed quantities -> coefficient


@dataclass(frozen=True, eq=False)
class SumSetting:
    """Sums over `index` = 1 … `points`; `definitions` unfold symbols and indexed bases (given as functions of index).

    `probability` is the indexed base that sums to one.
    """

    index: sympy.Symbol
    points: sympy.Symbol
    probability: sympy.IndexedBase
    definitions: Mapping[sympy.Basic, Any]

    def _value(self, expression: sympy.Basic, sums: Any) -> Polynomial:
        if not isinstance(expression, sympy.Sum) and expression not in self.definitions:
            return self._compute(expression, sums)
        if expression not in sums.known:  # sums inside sums would be done again for every point
            sums.known[expression] = self._compute(expression, sums)
        return sums.known[expression]

    def _compute(self, expression: sympy.Basic, sums: Any) -> Polynomial:
        match expression:
            case sympy.Indexed() if expression.base in self.definitions:
                return self._value(self.definitions[expression.base](*expression.indices), sums)
            case _ if expression in self.definitions:
                return self._value(self.definitions[expression], sums)
            case sympy.Rational():
                return {(): sums.constant(expression.p, expression.q)}
            case sympy.Indexed():
                return sums.indexed(expression)
            case sympy.Symbol():
                return {(): sums.named(expression)}
            case sympy.Sum():
                return self._sum(expression, sums)
            case sympy.Add():
                return _fold(_add, [self._value(argument, sums) for argument in expression.args])
            case sympy.Mul():
                return _fold(_multiply, [self._value(argument, sums) for argument in expression.args])
            case sympy.Pow() if isinstance(expression.exp, sympy.Integer) and expression.exp != 0:
                base = self._value(expression.base, sums)
                if expression.exp < 0:
                    if set(base) - {()}:
                        raise CheckError(f"{expression} under a sum is not a polynomial")
                    base = {(): base.get((), sums.constant(0)).inverse()}
                return _fold(_multiply, [base] * abs(int(expression.exp)))
        raise UndecidedCheckError(f"no rule to evaluate {type(expression).__name__} in {expression}")

    def _sum(self, expression: sympy.Sum, sums: Any) -> Polynomial:
        (limits,) = expression.limits
        bound, lower, upper = limits
        if (lower, upper) != (1, self.points):
            raise CheckError(f"{expression} does not run over the sample space")
        return sums.sum(lambda at: self._value(expression.function.xreplace({bound: at}), sums))

    def _equal(self, statement: sympy.Basic, sums: Any, where: str) -> None:
        left, right = (self._value(side, sums) for side in sides(statement))
        minus_one: Polynomial = {(): sums.constant(-1)}
        difference = _add(left, _multiply(minus_one, right))
        if not all(coefficient.is_zero for coefficient in difference.values()):
            raise CheckError(f"the two sides of {statement} differ {where}")

    @cached_property
    def _functionals(self) -> "_LinearFunctionals":
        return _LinearFunctionals(self.probability)

    @cached_property
    def _symbolic(self) -> "tuple[_Points, ...]":
        return tuple(_symbolic_points(points, self.probability) for points in NUMBERS_OF_POINTS)

    @cached_property
    def _examples(self) -> "tuple[_Points, ...]":
        numbers = range(1, LARGEST_RANDOM_NUMBER_OF_POINTS + 1)
        return tuple(_random_points(points, self.probability) for points in numbers)

    def _holds_everywhere(self, statement: sympy.Basic) -> None:
        self._equal(statement, self._functionals, "as linear functionals")

    def _holds_symbolically(self, statement: sympy.Basic) -> None:
        for points in self._symbolic:
            self._equal(statement, points, f"with {points.points} points")

    def _holds_in_examples(self, statement: sympy.Basic) -> None:
        for points in self._examples:
            self._equal(statement, points, f"in an example with {points.points} points")

    @property
    def checks(self) -> tuple[Check, ...]:
        """Proof for every finite sample space, then symbolic probabilities, then random exact rationals."""
        numbers = ", ".join(map(str, NUMBERS_OF_POINTS))
        return (
            Check("every sample space (linear functionals)", self._holds_everywhere, proves=True),
            Check(f"{numbers} points (symbolic probabilities)", self._holds_symbolically),
            Check(f"1…{LARGEST_RANDOM_NUMBER_OF_POINTS} points (random exact rationals)", self._holds_in_examples),
        )


class _LinearFunctionals:
    """Indexed quantities stay letters; the sum of a monomial is a quantity of its own."""

    def __init__(self, probability: sympy.IndexedBase) -> None:
        self.constant = RationalFunction.constant
        self._probability = probability
        self._index: dict[Any, int] = {}
        self._point = sympy.Symbol("point", integer=True)
        self.known: dict[sympy.Basic, Polynomial] = {}

    def _quantity(self, key: Any) -> RationalFunction:
        return RationalFunction.quantity(self._index.setdefault(key, len(self._index)))

    def named(self, symbol: sympy.Symbol) -> RationalFunction:
        return self._quantity(symbol)

    def indexed(self, expression: sympy.Indexed) -> Polynomial:
        return {(expression,): self.constant(1)}

    def sum(self, term: Callable[[sympy.Basic], Polynomial]) -> Polynomial:
        total = self.constant(0)
        for monomial, coefficient in term(self._point).items():
            outside = [factor for factor in monomial if not factor.has(self._point)]
            if outside or not monomial:
                raise CheckError("a term under a sum does not depend on the point alone")
            probability = monomial == (self._probability[self._point],)
            total = total + (coefficient if probability else coefficient * self._quantity(monomial))
        return {(): total}


@dataclass(frozen=True)
class _Points:
    """A fixed number of points; `value` gives every quantity its value, the last probability is one less the others."""

    points: int
    probability: sympy.IndexedBase
    constant: Callable[..., Any]
    value: Callable[[sympy.Basic], Any]
    known: dict[sympy.Basic, Polynomial] = field(default_factory=dict)

    def named(self, symbol: sympy.Basic) -> Any:
        return self.value(symbol)

    def indexed(self, expression: sympy.Indexed) -> Polynomial:
        if expression == self.probability[self.points]:
            total = self.constant(1)
            for point in range(1, self.points):
                total = total - self.value(self.probability[point])
            return {(): total}
        return {(): self.value(expression)}

    def sum(self, term: Callable[[sympy.Basic], Polynomial]) -> Polynomial:
        return _fold(_add, [term(sympy.Integer(point)) for point in range(1, self.points + 1)])


def _symbolic_points(points: int, probability: sympy.IndexedBase) -> _Points:
    index: dict[sympy.Basic, int] = {}

    def value(symbol: sympy.Basic) -> RationalFunction:
        return RationalFunction.quantity(index.setdefault(symbol, len(index)))

    return _Points(points, probability, RationalFunction.constant, value)


def _random_points(points: int, probability: sympy.IndexedBase) -> _Points:
    generator = random.Random(points)  # noqa: S311 (examples, not secrets)

    @cache
    def value(symbol: sympy.Basic) -> RationalNumber:
        if isinstance(symbol, sympy.Indexed) and symbol.base == probability:
            return RationalNumber.constant(generator.randint(1, 8), 9 * points)  # together below 1
        return RationalNumber.constant(generator.choice((-7, -5, -3, 2, 4, 6)), 5)

    return _Points(points, probability, RationalNumber.constant, value)


def _add(left: Polynomial, right: Polynomial) -> Polynomial:
    result = dict(left)
    for monomial, coefficient in right.items():
        result[monomial] = result[monomial] + coefficient if monomial in result else coefficient
    return result


def _multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for left_monomial, left_coefficient in left.items():
        for right_monomial, right_coefficient in right.items():
            monomial = tuple(sorted(left_monomial + right_monomial, key=sympy.default_sort_key))
            result = _add(result, {monomial: left_coefficient * right_coefficient})
    return result


def _fold(combine: Any, values: list[Polynomial]) -> Polynomial:
    result = values[0]
    for value in values[1:]:
        result = combine(result, value)
    return result
