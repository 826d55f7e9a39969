"""A random finite sample space in exact arithmetic: its expectations are honest sums (F1, F2)."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
        return len(self.activations[0])

    @property
    def c(self) -> fmpq:
        return self.expectation(lambda delta, a: delta**2)

    def mean(self, under_q: bool) -> list[fmpq]:
        return [self.expectation(lambda d, a, j=j: self._weight(d, under_q) * a[j]) for j in range(self.n)]

    def second_moment(self, under_q: bool) -> list[list[fmpq]]:
        return [
            [self.expectation(lambda d, a, i=i, j=j: self._weight(d, under_q) * a[i] * a[j]) for j in range(self.n)]
            for i in range(self.n)
        ]

    def variance(self, under_q: bool) -> list[list[fmpq]]:
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
