"""T5: the constant direction takes the mean's part of the kernel, and centring takes that part away."""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

import random
from collections.abc import Mapping
from functools import cache
from typing import Any

import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix
from elutheory.derivations.algebra.resolvents import RectangularSetting
from elutheory.derivations.algebra.sample_spaces import as_matrix
from elutheory.derivations.expectations.layer_notation import (
    activation_gram,
    activation_mean,
    activations,
    centred_gram,
    damping,
    input_ones,
    inputs,
)
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import InnerProduct
from elutheory.derivations.proof.steps import Assumption, Step, equation


def _data_example(entries: Matrix, _: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Activations less their mean over the inputs, unit by unit, and the inner products of the rows."""
    values = [[entry.value for entry in row] for row in entries]
    count = len(values)
    means = [sum(column, fmpq(0)) / count for column in zip(*values, strict=True)]
    centred = [[x - mean for x, mean in zip(row, means, strict=True)] for row in values]

    def gram(rows: list[list[fmpq]]) -> list[list[fmpq]]:
        return [[sum((x * y for x, y in zip(a, b, strict=True)), fmpq(0)) for b in rows] for a in rows]

    return {
        activation_mean: as_matrix(means),
        activation_gram: as_matrix(gram(values)),
        centred_gram: as_matrix(gram(centred)),
    }


@cache
def centred_training_kernel() -> Derivation:
    """T5: of a layer's overlaps the constant direction holds `N |m|²`, m the mean activations; centring leaves 0 there.

    All other directions lose nothing by it. A layer's part of the training kernel is the overlaps times D, entry by
    entry: it is exact for that, too, where D is the same for all pairs of inputs.

    >>> import elutheory as et
    >>> derivation = et.centred_training_kernel()
    >>> derivation.number, derivation.steps[-1].name
    ('T5', 'kept')
    """
    rows: Any = activations - input_ones * activation_mean.T
    definitions: dict[sympy.Basic, sympy.Basic] = {
        activation_mean: activations.T * input_ones / inputs,
        activation_gram: activations * activations.T,
        centred_gram: rows * rows.T,
    }
    checks = RectangularSetting(activations, input_ones, damping, definitions, _data_example).checks
    centring: Any = sympy.Identity(inputs) - input_ones * input_ones.T / inputs
    steps = (
        Step(
            equation(
                InnerProduct(input_ones.T * activation_gram * input_ones) / inputs,
                inputs * InnerProduct(activation_mean.T * activation_mean),
            ),
            "The constant direction's Rayleigh quotient, a lower bound of λ_1: N times the squared mean activations.",
            checks,
            "constant direction",
        ),
        Step(
            equation(
                centred_gram,
                activation_gram
                - input_ones * activation_mean.T * activations.T
                - activations * activation_mean * input_ones.T
                + InnerProduct(activation_mean.T * activation_mean) * input_ones * input_ones.T,
            ),
            "The overlaps ⟨a − m, a′ − m⟩ of centred activations (B4), multiplied out.",
            checks,
            "centred overlaps",
        ),
        Step(
            equation(centred_gram * input_ones, sympy.ZeroMatrix(inputs, 1)),
            "Centring removes the constant direction's eigenvalue: it is 0, T5.",
            checks,
            "removed",
        ),
        Step(
            equation(centred_gram, centring * activation_gram * centring),
            "It is K between two projections away from 𝟏: every direction orthogonal to 𝟏 keeps what it has.",
            checks,
            "kept",
        ),
    )
    return Derivation(
        "centred-training-kernel",
        "The mean's part in a layer's overlaps",
        "T5",
        "Theorem 2 of arXiv 1511.07289 and Karakida et al., arXiv 1806.01316, for the training kernel",
        (
            Assumption("Φ holds the activations of n units for N inputs, m is the mean of its rows, K = ΦΦᵀ."),
            Assumption(
                "A layer's part of Θ is (K + 1) D entry by entry (T1), (K̃ + 1) D when its activations are centred: the "
                "bias's 1 stays. With D the same for all pairs, the steps are those of the layer's part."
            ),
        ),
        steps,
    )
