"""Random finite sample spaces (F1, F2) and small random layers (P), in exact rationals.

Their expectations are honest sums, over every point or over every value of every weight, which use no formula that
they are there to check.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix, RationalNumber


@dataclass(frozen=True)
class SampleSpace:
    """Points z_i with probability p_i, delta_i and activations a_i in Q^n; q_i = delta_i² p_i / E_p[delta²]."""

    probabilities: tuple[fmpq, ...]
    deltas: tuple[fmpq, ...]
    activations: tuple[tuple[fmpq, ...], ...]

    @staticmethod
    def draw(n: int, generator: random.Random) -> "SampleSpace":
        """n + 3 points with small random entries."""
        points = n + 3
        weights = [generator.randint(1, 9) for _ in range(points)]
        return SampleSpace(
            tuple(fmpq(weight, sum(weights)) for weight in weights),
            tuple(fmpq(generator.choice((-1, 1)) * generator.randint(1, 7), 5) for _ in range(points)),
            tuple(tuple(fmpq(generator.randint(-9, 9), 4) for _ in range(n)) for _ in range(points)),
        )

    def expectation(self, function: Callable[[fmpq, Sequence[fmpq]], fmpq]) -> fmpq:
        """`sum_i p_i function(delta_i, a_i)`."""
        points = zip(self.probabilities, self.deltas, self.activations, strict=True)
        return sum((p * function(delta, a) for p, delta, a in points), fmpq(0))

    @property
    def n(self) -> int:
        """The number of incoming activations."""
        return len(self.activations[0])

    @property
    def c(self) -> fmpq:
        """`c = E_p[delta²]` (F1)."""
        return self.expectation(lambda delta, a: delta**2)

    def mean(self, under_q: bool) -> list[fmpq]:
        """`E_p[a]` or `E_q[a]`, n numbers."""
        return [self.expectation(lambda d, a, j=j: self._weight(d, under_q) * a[j]) for j in range(self.n)]

    def second_moment(self, under_q: bool) -> list[list[fmpq]]:
        """`E_p[aaᵀ]` or `E_q[aaᵀ]`, n x n."""
        return [
            [self.expectation(lambda d, a, i=i, j=j: self._weight(d, under_q) * a[i] * a[j]) for j in range(self.n)]
            for i in range(self.n)
        ]

    def variance(self, under_q: bool) -> list[list[fmpq]]:
        """`Var_p(a)` or `Var_q(a)`, n x n."""
        mean = self.mean(under_q)
        return [
            [
                self.expectation(lambda d, a, i=i, j=j: self._weight(d, under_q) * (a[i] - mean[i]) * (a[j] - mean[j]))
                for j in range(self.n)
            ]
            for i in range(self.n)
        ]

    def _weight(self, delta: fmpq, under_q: bool) -> fmpq:
        return delta**2 / self.c if under_q else fmpq(1)


def as_matrix(values: Any) -> Matrix:
    """A number, a column (list) or a matrix (list of lists) of rationals, as a `Matrix`."""
    if not isinstance(values, list):
        return ((RationalNumber(fmpq(values)),),)
    if not isinstance(values[0], list):
        return tuple((RationalNumber(fmpq(value)),) for value in values)
    return tuple(tuple(RationalNumber(fmpq(value)) for value in row) for row in values)


Law = tuple[tuple[fmpq, fmpq], ...]  # (value, probability)


def centred_law(generator: random.Random) -> Law:
    """A law of two values with mean zero, skewed."""
    above, below = fmpq(generator.randint(1, 7), 4), fmpq(generator.randint(1, 7), 3)
    return ((above, below / (above + below)), (-below, above / (above + below)))


def variance(law: Law) -> fmpq:
    """The variance of a law with mean zero."""
    return sum((p * value**2 for value, p in law), fmpq(0))


def inner_product(left: Sequence[fmpq], right: Sequence[fmpq]) -> fmpq:
    """The sum of the products of entries."""
    return sum((x * y for x, y in zip(left, right, strict=True)), fmpq(0))


def vector(size: int, generator: random.Random) -> list[fmpq]:
    """`size` random rationals, none of them 0."""
    return [fmpq(generator.choice((-5, -4, -2, 3, 4, 7)), 3) for _ in range(size)]


@dataclass(frozen=True)
class RandomLayer:
    """`size` i.i.d. weights and a bias, independent, of mean zero."""

    size: int
    weight: Law
    bias: Law

    @staticmethod
    def draw(size: int, generator: random.Random) -> "RandomLayer":
        """A layer with `size` units below it; weights and bias have random laws of two values."""
        return RandomLayer(size, centred_law(generator), centred_law(generator))

    @property
    def weight_variance(self) -> fmpq:
        """The fan-in times the variance of a weight."""
        return self.size * variance(self.weight)

    def draws(self) -> Iterator[tuple[fmpq, tuple[fmpq, ...], fmpq]]:
        """Every (probability, weights, bias) that the laws allow."""
        for bias, p_bias in self.bias:
            for points in product(self.weight, repeat=self.size):
                yield p_bias * prod((p for _, p in points), start=fmpq(1)), tuple(value for value, _ in points), bias

    def net_inputs(self, *inputs: Sequence[fmpq]) -> list[tuple[fmpq, ...]]:
        """Every (probability, net input for each of the inputs)."""
        return [(p, *(inner_product(weights, x) + bias for x in inputs)) for p, weights, bias in self.draws()]


def moment(draws: list[tuple[fmpq, ...]], *indices: int) -> fmpq:
    """The mean product of the entries `indices` of the draws, whose entry 0 is the probability."""
    return sum((prod((draw[index] for index in indices), start=draw[0]) for draw in draws), fmpq(0))
