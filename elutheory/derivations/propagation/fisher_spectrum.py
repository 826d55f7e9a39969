"""P5: the Fisher matrix's largest eigenvalue from the means of the tangent kernel's Gram matrix."""

import random
from collections.abc import Mapping
from functools import cache

import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix, RationalNumber
from elutheory.derivations.algebra.resolvents import RectangularSetting
from elutheory.derivations.algebra.sample_spaces import as_matrix, inner_product, vector
from elutheory.derivations.algebra.settings import MatrixSetting
from elutheory.derivations.expectations.layer_notation import (
    centring_matrix,
    damping,
    diagonal_sum,
    fisher,
    jacobian,
    kappa_1,
    kappa_2,
    ones,
    tangent_gram,
    tangent_rest,
    top_eigenvalue,
)
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import InnerProduct, n
from elutheory.derivations.proof.steps import Assumption, Step, equation


def _jacobian_example(entries: Matrix, _: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """F as an average over inputs of outer products, and the Gram matrix of inner products."""
    values = [[entry.value for entry in row] for row in entries]
    rows, columns = len(values), len(values[0])
    average = [
        [sum((row[i] * row[j] for row in values), fmpq(0)) / rows for j in range(columns)] for i in range(columns)
    ]
    return {
        n: ((RationalNumber.constant(rows),),),
        fisher: as_matrix(average),
        tangent_gram: as_matrix([[inner_product(a, b) for b in values] for a in values]),
    }


def _means(gram: list[list[fmpq]]) -> Mapping[sympy.Basic, Matrix]:
    """Diagonal and off-diagonal means by their own sums; one input has no pairs, and any number will do."""
    size = len(gram)
    diagonal = sum((gram[i][i] for i in range(size)), fmpq(0))
    pairs = [gram[i][j] for i in range(size) for j in range(size) if i != j] or [fmpq(5, 3)]
    return {
        tangent_gram: as_matrix(gram),
        diagonal_sum: as_matrix(diagonal),
        kappa_1: as_matrix(diagonal / size),
        kappa_2: as_matrix(sum(pairs, fmpq(0)) / len(pairs)),
    }


def _gram_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """A Gram matrix with known eigenvalues: a diagonal one, reflected at a random hyperplane."""
    eigenvalues = [fmpq(generator.randint(0, 9), 2) for _ in range(size)]
    normal = vector(size, generator)
    square = inner_product(normal, normal)
    reflection = [[fmpq(i == j) - 2 * normal[i] * normal[j] / square for j in range(size)] for i in range(size)]
    gram = [
        [sum((reflection[i][k] * eigenvalues[k] * reflection[k][j] for k in range(size)), fmpq(0)) for j in range(size)]
        for i in range(size)
    ]
    return {**_means(gram), top_eigenvalue: as_matrix(max(eigenvalues) / size)}


def _two_valued_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """A Gram matrix with equal diagonal and equal off-diagonal entries."""
    off, diagonal = fmpq(generator.randint(1, 7), 2), fmpq(generator.randint(8, 15), 2)
    centring = [[fmpq(i == j) - fmpq(1, size) for j in range(size)] for i in range(size)]
    return {
        kappa_1: as_matrix(diagonal),
        kappa_2: as_matrix(off),
        tangent_gram: as_matrix([[diagonal if i == j else off for j in range(size)] for i in range(size)]),
        centring_matrix: as_matrix(centring),
    }


@cache
def fisher_top_eigenvalue_bound() -> Derivation:
    """P5: `λ_max(F) >= κ2 + (κ1 − κ2)/n` for every Gram matrix, equality if both kinds are constant.

    κ1, κ2: the diagonal and off-diagonal means of the tangent kernel's Gram matrix over n > 1 inputs, one output.

    >>> import elutheory as et
    >>> derivation = et.fisher_top_eigenvalue_bound()
    >>> derivation.number, derivation.steps[-1].name
    ('P5', 'other vectors')
    """
    rectangular = RectangularSetting(
        jacobian,
        ones,
        damping,
        {fisher: jacobian.T * jacobian / n, tangent_gram: jacobian * jacobian.T},
        _jacobian_example,
    )
    entries = InnerProduct(ones.T * tangent_gram * ones)
    means: dict[sympy.Basic, sympy.Basic] = {
        kappa_1: diagonal_sum / n,
        kappa_2: (entries - diagonal_sum) / (n * (n - 1)),
    }
    any_gram = MatrixSetting(n, frozenset({tangent_gram}), means, _gram_example, ones=ones)
    below_top = MatrixSetting(
        n,
        frozenset({tangent_rest}),
        {**means, tangent_gram: n * top_eigenvalue * sympy.Identity(n) - tangent_rest},
        _gram_example,
        positive_scalars=frozenset({n}),
        ones=ones,
    )
    two_valued = MatrixSetting(
        n,
        frozenset(),
        {
            tangent_gram: (kappa_1 - kappa_2) * sympy.Identity(n) + kappa_2 * ones * ones.T,
            centring_matrix: sympy.Identity(n) - ones * ones.T / n,
        },
        _two_valued_example,
        ones=ones,
    )
    bound = kappa_2 + (kappa_1 - kappa_2) / n
    steps = (
        Step(
            equation(fisher * jacobian.T, jacobian.T * tangent_gram / n),
            "F = JᵀJ/n maps Jᵀx so: its non-zero eigenvalues are those of the Gram matrix over n.",
            rectangular.checks,
            "eigenvalues",
        ),
        Step(
            equation(entries / n**2, bound),
            "n diagonal and n(n − 1) other entries: the Rayleigh quotient at the constant vector.",
            any_gram.inequality_checks,
            "Rayleigh quotient",
        ),
        Step(
            sympy.Le(bound, top_eigenvalue),
            "No Rayleigh quotient exceeds the largest eigenvalue.",
            below_top.inequality_checks,
            "bound",
        ),
        Step(
            equation(tangent_gram * ones, n * bound * ones),
            "If all diagonal entries are alike and all others too, the constant vector is an eigenvector.",
            two_valued.checks,
            "constant vector",
        ),
        Step(
            equation(tangent_gram * centring_matrix, (kappa_1 - kappa_2) * centring_matrix),
            "All other eigenvalues are then the difference of the two entries: the bound is attained.",
            two_valued.checks,
            "other vectors",
        ),
    )
    return Derivation(
        "fisher-top-eigenvalue",
        "The largest eigenvalue of the Fisher matrix",
        "P5",
        "Karakida, Akaho and Amari, arXiv 1806.01316, for n inputs and one output",
        (
            Assumption(
                "J is the n×m matrix of the output's gradients for n inputs; F = JᵀJ/n is the Fisher "
                "matrix (unit noise), JJᵀ the Gram matrix."
            ),
            Assumption(
                "The mean with index 1 is that of the Gram matrix's diagonal, index 2 of its other entries; n > 1."
            ),
            Assumption("Steps 4, 5: equal diagonal and equal off-diagonal entries, as for equal norms and overlaps."),
        ),
        steps,
    )
