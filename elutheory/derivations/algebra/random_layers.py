"""Small random layers whose expectations are honest sums over every value of every weight, in exact rationals."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from flint import fmpq

Law = tuple[tuple[fmpq, fmpq], ...]  # (value, probability)


def centred_law(generator: random.Random) -> Law:
    """Two values, mean zero, skewed."""
    above, below = fmpq(generator.randint(1, 7), 4), fmpq(generator.randint(1, 7), 3)
    return ((above, below / (above + below)), (-below, above / (above + below)))


def variance(law: Law) -> fmpq:
    """The variance of a law with mean zero."""
    return sum((p * value**2 for value, p in law), fmpq(0))


def inner_product(left: Sequence[fmpq], right: Sequence[fmpq]) -> fmpq:
    return sum((x * y for x, y in zip(left, right, strict=True)), fmpq(0))


def vector(size: int, generator: random.Random) -> list[fmpq]:
    return [fmpq(generator.choice((-5, -4, -2, 3, 4, 7)), 3) for _ in range(size)]


@dataclass(frozen=True)
class RandomLayer:
    """`size` i.i.d. weights and a bias, independent, of mean zero."""

    size: int
    weight: Law
    bias: Law

    @staticmethod
    def draw(size: int, generator: random.Random) -> "RandomLayer":
        return RandomLayer(size, centred_law(generator), centred_law(generator))

    @property
    def weight_variance(self) -> fmpq:
        """fan-in × Var(w)."""
        return self.size * variance(self.weight)

    def draws(self) -> Iterator[tuple[fmpq, tuple[fmpq, ...], fmpq]]:
        """Every (probability, weights, bias)."""
        for bias, p_bias in self.bias:
            for points in product(self.weight, repeat=self.size):
                yield p_bias * prod((p for _, p in points), start=fmpq(1)), tuple(value for value, _ in points), bias

    def net_inputs(self, *inputs: Sequence[fmpq]) -> list[tuple[fmpq, ...]]:
        """Every (probability, net input for each of the inputs)."""
        return [(p, *(inner_product(weights, x) + bias for x in inputs)) for p, weights, bias in self.draws()]


def moment(draws: list[tuple[fmpq, ...]], *indices: int) -> fmpq:
    """The mean product of the entries `indices` of the draws, whose entry 0 is the probability."""
    return sum((prod((draw[index] for index in indices), start=draw[0]) for draw in draws), fmpq(0))
