"""B5: the strength of the bias-shift correction for a whole data set, from its Gram matrix (push-through identity)."""

import random
from collections.abc import Mapping
from functools import cache
from typing import Any

import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix, RationalNumber
from elutheory.derivations.algebra.resolvents import RectangularSetting
from elutheory.derivations.algebra.sample_spaces import as_matrix
from elutheory.derivations.expectations.layer_notation import (
    activation_gram,
    activation_mean,
    activation_moment,
    activations,
    damping,
    input_ones,
    inputs,
)
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import InnerProduct, n
from elutheory.derivations.proof.steps import Assumption, Step, equation


def _data_example(entries: Matrix, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Gram matrix, second moment and mean of the data, each by its own sum over inputs or units."""
    rows, columns = len(entries), len(entries[0])
    values = [[entry.value for entry in row] for row in entries]
    gram = [[sum((x * y for x, y in zip(a, b, strict=True)), fmpq(0)) for b in values] for a in values]
    moment = [
        [sum((row[i] * row[j] for row in values), fmpq(0)) / rows for j in range(columns)] for i in range(columns)
    ]
    return {
        inputs: ((RationalNumber.constant(rows),),),
        damping: as_matrix(fmpq(generator.randint(1, 9), 7)),
        activation_gram: as_matrix(gram),
        activation_moment: as_matrix(moment),
        activation_mean: as_matrix([sum((row[j] for row in values), fmpq(0)) / rows for j in range(columns)]),
    }


@cache
def push_through() -> Derivation:
    """B5: `mᵀ(S + λI)⁻¹m = (1/N) 1ᵀK(K + λN I)⁻¹1` for every N and n, damping λ > 0.

    >>> import elutheory as et
    >>> derivation = et.push_through()
    >>> derivation.number, derivation.steps[-1].name
    ('B5', 'complement')
    """
    setting = RectangularSetting(
        activations,
        input_ones,
        damping * inputs,
        {
            activation_gram: activations * activations.T,
            activation_moment: activations.T * activations / inputs,
            activation_mean: activations.T * input_ones / inputs,
        },
        _data_example,
    )
    checks = setting.checks
    damped_moment: Any = activation_moment + damping * sympy.Identity(n)
    damped_gram: Any = activation_gram + damping * inputs * sympy.Identity(inputs)
    strength = InnerProduct(activation_mean.T * damped_moment.I * activation_mean)
    steps = (
        Step(
            equation(activations.T * damped_gram, inputs * damped_moment * activations.T),
            "Both sides are ΦᵀΦΦᵀ plus a multiple of Φᵀ.",
            checks,
            "intertwining",
        ),
        Step(
            equation(damped_moment.I * activations.T, inputs * activations.T * damped_gram.I),
            "Multiplied by the two inverses, which exist as the damping is positive: push-through.",
            setting.cleared_checks,
            "push-through",
        ),
        Step(
            equation(activations * damped_moment.I * activations.T, inputs * activation_gram * damped_gram.I),
            "Multiplied by Φ from the left.",
            checks,
            "Gram matrix",
        ),
        Step(
            equation(strength, InnerProduct(input_ones.T * activation_gram * damped_gram.I * input_ones) / inputs),
            "Between the mean of Φ's rows and itself: B5.",
            checks,
            "B5",
        ),
        Step(
            equation(strength, 1 - damping * InnerProduct(input_ones.T * damped_gram.I * input_ones)),
            "The same from the inverse alone; it lies between 0 and 1.",
            checks,
            "complement",
        ),
    )
    return Derivation(
        "push-through",
        "The correction's strength from the Gram matrix",
        "B5",
        "Theorem 1 of arXiv 1511.07289 for a whole data set, δ² the same for every input",
        (
            Assumption(
                "Φ is the N×n matrix of the activations of n units for N inputs; K = ΦΦᵀ, "
                "S = ΦᵀΦ/N, and m is the mean of Φ's rows."
            ),
            Assumption("The damping is positive, so both inverses exist."),
        ),
        steps,
    )
